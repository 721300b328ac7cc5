// The boxes that a viewer may take a stream from, and in which order they are asked. Boxes with the same parts answer the
// same bytes, so that any of them can answer any request. Pure: it is told what happened and when.

export interface BoxAddress {
  /** Tells one box from another, also under several addresses. */
  id: string;
  /** Where the stream lies at the box, absolute: `http://192.168.1.7:8080/live/NAME`. */
  base: string;
  /** As people call it. */
  name: string;
}

/** Why a box was left. */
export type Fault = "silent" | "broken" | "behind" | "forged";

/** A box that failed is asked again after so long, if others do well. It doubles with each failure in a row. */
const LEAVE_MS = 5000;
const LEAVE_MS_MAX = 60_000;
/** One that gave forged data: for as long as anybody watches. */
const FOREVER_MS = Infinity;
/** More boxes are of no use to one viewer. */
const BOXES_MAX = 16;

/** Failures are forgotten when there was none for so long. */
const FORGIVEN_MS = 30_000;

interface Record {
  failedAtMs: number;
  leftUntilMs: number;
  failures: number;
  fault: Fault | null;
  /** Smoothed time to the first byte of what is there already. */
  answersInMs: number | null;
}

const FRESH: Record = { failedAtMs: -Infinity, leftUntilMs: -Infinity, failures: 0, fault: null, answersInMs: null };

export class Boxes {
  #boxes: BoxAddress[] = [];
  readonly #records = new Map<string, Record>();
  /** The box that answered last: it is stayed with while it does well, whatever the order says meanwhile. */
  #current: string | null = null;
  /** How often the viewer had to go elsewhere. */
  moves = 0;

  constructor(boxes: readonly BoxAddress[]) {
    this.update(boxes);
  }

  /** Best first, as the coordinator orders them. What is known of a box stays. */
  update(boxes: readonly BoxAddress[]): void {
    this.#boxes = boxes.slice(0, BOXES_MAX);
    const bases = new Set(this.#boxes.map((box) => box.base));
    for (const base of this.#records.keys()) if (!bases.has(base) && this.#records.get(base)?.fault !== "forged") this.#records.delete(base);
    if (this.#current !== null && !bases.has(this.#current)) this.#current = null;
  }

  get all(): readonly BoxAddress[] {
    return this.#boxes;
  }

  get current(): BoxAddress | null {
    return this.#boxes.find((box) => box.base === this.#current) ?? null;
  }

  /**
   * Whom to ask, best first: who answers now (unless asked `anew`), then by the given order, then those that failed, the
   * oldest failure first.
   */
  order(nowMs: number, anew = false): BoxAddress[] {
    const rank = (box: BoxAddress, at: number): number => {
      const { leftUntilMs } = this.#of(box);
      if (leftUntilMs > nowMs) return BOXES_MAX + Math.min(leftUntilMs - nowMs, 2 * LEAVE_MS_MAX);
      return box.base === this.#current && !anew ? -1 : at;
    };
    const usable = this.#boxes.filter((box) => this.#of(box).fault !== "forged");
    return usable.map((box, at) => ({ box, rank: rank(box, at) })).sort((a, b) => a.rank - b.rank).map(({ box }) => box);
  }

  faultOf(box: BoxAddress): Fault | null {
    return this.#of(box).fault;
  }

  answersInMs(box: BoxAddress): number | null {
    return this.#of(box).answersInMs;
  }

  /** `ms`: to the first byte, where that tells anything. */
  answered(box: BoxAddress, ms: number | null, nowMs: number): void {
    const record = this.#of(box);
    const answersInMs = ms === null ? record.answersInMs : record.answersInMs === null ? ms : 0.8 * record.answersInMs + 0.2 * ms;
    const forgiven = nowMs - record.failedAtMs > FORGIVEN_MS;
    this.#records.set(box.base, forgiven ? { ...FRESH, answersInMs } : { ...record, answersInMs, leftUntilMs: -Infinity });
    if (this.#current !== null && this.#current !== box.base) this.moves += 1;
    this.#current = box.base;
  }

  failed(box: BoxAddress, fault: Fault, nowMs: number): void {
    const record = this.#of(box);
    const failures = record.failures + 1;
    const waitMs = fault === "forged" ? FOREVER_MS : fault === "behind" ? 0 : Math.min(LEAVE_MS * 2 ** (failures - 1), LEAVE_MS_MAX);
    this.#records.set(box.base, { ...record, failedAtMs: nowMs, failures, fault, leftUntilMs: nowMs + waitMs });
  }

  #of(box: BoxAddress): Record {
    return this.#records.get(box.base) ?? FRESH;
  }
}
