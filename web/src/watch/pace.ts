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
  /** Kept beyond the target, see [Margin]. */
  marginS: number;
}

export function pace({ latencyS, targetS, bufferS, rate, marginS }: Position): Pace {
  const behind = latencyS - targetS - marginS;
  if (behind > JUMP_BEHIND_S || behind < -JUMP_AHEAD_S) return { kind: "jump" };
  if (bufferS < THIN_S) return { kind: "rate", rate: THIN_RATE };
  if (behind > CALM_S || (rate > 1 && behind > 0.05)) return { kind: "rate", rate: faster(behind, bufferS > RESERVE_SHARE * targetS) };
  if (behind < -CALM_S || (rate < 1 && behind < -0.05)) return { kind: "rate", rate: SLOWER };
  return { kind: "rate", rate: 1 };
}

/**
 * What is kept beyond the distance that the playlist asks for: PART-HOLD-BACK is the least, for a device and a line
 * that are never late. Each time the buffer runs thin the margin grows, and while it does not it slowly goes back.
 */
export class Margin {
  /** What a busy browser is late by now and then: with 0.05 ten minutes had a stop of 250 ms. */
  static readonly LEAST_S = 0.25;
  static readonly MOST_S = 0.6;
  static readonly STEP_UP_S = 0.1;
  static readonly STEP_DOWN_S = 0.05;
  /** One thin stretch counts once. */
  static readonly UP_EVERY_MS = 2000;
  static readonly DOWN_EVERY_MS = 45_000;

  #marginS = Margin.LEAST_S;
  #changedAtMs = -Infinity;

  /** To be called with every look at the buffer while playing. */
  observe(bufferS: number, nowMs: number): number {
    const since = nowMs - this.#changedAtMs;
    if (bufferS < THIN_S && since >= Margin.UP_EVERY_MS) this.#change(Margin.STEP_UP_S, nowMs);
    else if (bufferS >= THIN_S && since >= Margin.DOWN_EVERY_MS) this.#change(-Margin.STEP_DOWN_S, nowMs);
    return this.#marginS;
  }

  #change(byS: number, nowMs: number): void {
    this.#marginS = Math.min(Margin.MOST_S, Math.max(Margin.LEAST_S, this.#marginS + byS));
    this.#changedAtMs = nowMs;
  }
}

function faster(behind: number, hasReserve: boolean): number {
  if (!hasReserve) return 1;
  return behind > HURRY_BEHIND_S ? HURRY : FASTER;
}
