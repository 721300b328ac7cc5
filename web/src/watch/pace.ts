// How playback stays at its distance from the live edge: slightly faster or slower while it is near, one jump when it
// is far off. hls.js itself speeds up only with more than a second in the buffer, which low latency never has.
// Pure: the caller applies what is decided.

export type Pace = { kind: "rate"; rate: number } | { kind: "jump" };

/** Behind the target by more than this: jump. Speeding up would take longer than a viewer's patience. */
const JUMP_BEHIND_S = 2.5;
/** Behind by more than this: hurry, though it may be noticed. */
const HURRY_BEHIND_S = 0.8;
/** Ahead of the target by more than this (the viewer chose the steady distance): jump back. */
const JUMP_AHEAD_S = 1.5;
/**
 * Kept beyond what the playlist asks for: PART-HOLD-BACK is the least, and a busy device takes a part late now and then.
 */
const MARGIN_S = 0.15;
/** With less than this in the buffer playback slows down, so that a late part is a little delay and not a stall. */
const THIN_S = 0.25;
const THIN_RATE = 0.9;
/** Within this of the target nothing is done: parts arrive in steps, and the figure moves by one of them. */
const CALM_S = 0.15;
/** Changes of pitch-corrected speed that are not noticed. */
const FASTER = 1.06;
const HURRY = 1.15;
const SLOWER = 0.96;
/** What must be in the buffer before playback may go faster, as a share of the target: a slow line is no reason to hurry. */
const RESERVE_SHARE = 0.6;

export interface Position {
  latencyS: number;
  targetS: number;
  bufferS: number;
  /** The rate in force, so that a correction is carried through to the target and not stopped at the edge of calm. */
  rate: number;
}

export function pace({ latencyS, targetS, bufferS, rate }: Position): Pace {
  const behind = latencyS - targetS - MARGIN_S;
  if (behind > JUMP_BEHIND_S || behind < -JUMP_AHEAD_S) return { kind: "jump" };
  if (bufferS < THIN_S) return { kind: "rate", rate: THIN_RATE };
  if (behind > CALM_S || (rate > 1 && behind > 0.05)) return { kind: "rate", rate: faster(behind, bufferS > RESERVE_SHARE * targetS) };
  if (behind < -CALM_S || (rate < 1 && behind < -0.05)) return { kind: "rate", rate: SLOWER };
  return { kind: "rate", rate: 1 };
}

function faster(behind: number, hasReserve: boolean): number {
  if (!hasReserve) return 1;
  return behind > HURRY_BEHIND_S ? HURRY : FASTER;
}
