// One request to whichever box answers. It goes to the best box; when that fails the next one is asked at once, and when it
// only keeps silent, the next one is asked beside it, so that a box that died costs a viewer no picture. Whoever answers
// first has answered. It refuses to ask more than all boxes once: trying again is its caller's affair.

import type { BoxAddress, Boxes } from "./boxes";

export interface Wish {
  /** Below the stream's base, with its slash: `/index.m3u8`. */
  rest: string;
  /** Silence for so long after asking, beyond the box's own habit, has the next box asked beside it. */
  patienceMs: number;
  /** What takes its time by nature (a request that the box holds) tells nothing about the box's habit. */
  held?: boolean;
  signal?: AbortSignal;
  /** Ask the box that stands first, and not the one that answered last. */
  anew?: boolean;
  check?: Check;
  /** The first byte of any answer. */
  begins?: () => void;
}

/**
 * Called as a request goes out; what it gives is called with what came, and throws [Forged] if this box must not be asked
 * again. Null where there is nothing to check.
 */
export type Check = (rest: string, box: BoxAddress, signal: AbortSignal) => ((body: ArrayBuffer) => Promise<unknown>) | null;

export interface Answer {
  box: BoxAddress;
  response: Response;
  body: ArrayBuffer;
}

/** All boxes refused, or none answered: `status` 0. */
export class Unanswered extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly response: Response | null,
  ) {
    super(message);
  }
}

/** What a box gave is not what the streamer's box signed. */
export class Forged extends Error {}

/** A box can't show that what it has is what the streamer's box signed. */
export class Behind extends Error {}

/** Boxes that are asked only because another one keeps silent. */
const BESIDE_MAX = 2;
/** No byte of a body for so long: the box has stalled in the middle. */
const STALL_MS = 400;
/** A single part that is not whole by then comes from a box that is too slow, or wants to be. */
const PART_MS_MAX = 1500;
const IS_PART = /\.\d+\.m4s$/;
/** A box that was beaten is still heard for so long: if it answers, it was late and not silent. */
const GRACE_MS = 300;

export function run(boxes: Boxes, wish: Wish): Promise<Answer> {
  return new Errand(boxes, wish).answer;
}

class Errand {
  readonly answer: Promise<Answer>;
  readonly #left: BoxAddress[];
  readonly #attempts = new Set<Attempt>();
  #done = false;
  #beside = 0;
  #worst: Unanswered | null = null;
  #resolve: (answer: Answer) => void = () => {};
  #reject: (error: unknown) => void = () => {};

  constructor(
    private readonly boxes: Boxes,
    private readonly wish: Wish,
  ) {
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#left = boxes.order(performance.now(), wish.anew);
    wish.signal?.addEventListener("abort", () => this.#stop(), { once: true });
    if (wish.signal?.aborted) this.#stop();
    else this.#next();
  }

  #next(): boolean {
    const box = this.#left.shift();
    if (!box || this.#done) return false;
    const usual = this.boxes.answersInMs(box) ?? 0;
    this.#attempts.add(new Attempt(box, this.wish, 2 * usual, this));
    return true;
  }

  /** The box keeps silent: somebody else is asked beside it. */
  silent(): void {
    if (this.#beside >= BESIDE_MAX) return;
    this.#beside += 1;
    this.#next();
  }

  succeeded(attempt: Attempt, answer: Answer): void {
    this.#attempts.delete(attempt);
    if (this.#done) return;
    this.#done = true;
    this.boxes.answered(answer.box, this.wish.held ? null : attempt.firstByteMs, performance.now());
    for (const other of this.#attempts) other.beaten();
    this.#resolve(answer);
  }

  failed(attempt: Attempt, error: Unanswered | Forged): void {
    this.#attempts.delete(attempt);
    const { status } = error instanceof Forged ? { status: 0 } : error;
    const fault = error instanceof Forged ? "forged" : status === 404 || status === 503 ? "behind" : "broken";
    // What a box refuses to this viewer is no fault of the box.
    if (status !== 403) this.boxes.failed(attempt.box, fault, performance.now());
    if (this.#done) return;
    if (!(error instanceof Forged)) this.#worst = worse(this.#worst, error);
    if (this.#next() || this.#attempts.size > 0) return;
    this.#done = true;
    this.#reject(this.#worst ?? new Unanswered(0, "no box gave what the streamer's box signed", null));
  }

  /** Somebody else answered, and this box did not begin to, or was far too slow. */
  late(attempt: Attempt): void {
    this.#attempts.delete(attempt);
    this.boxes.failed(attempt.box, "silent", performance.now());
  }

  #stop(): void {
    this.#done = true;
    for (const attempt of this.#attempts) attempt.abort();
    this.#attempts.clear();
    this.#reject(new DOMException("aborted", "AbortError"));
  }
}

/** A refusal in words says more than no answer, and one that asks to wait more than one that there is nothing. */
function worse(one: Unanswered | null, other: Unanswered): Unanswered {
  const rank = ({ status }: Unanswered): number => (status === 503 ? 3 : status === 403 ? 2 : status > 0 ? 1 : 0);
  return one && rank(one) >= rank(other) ? one : other;
}

class Attempt {
  firstByteMs: number | null = null;
  readonly #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #over = false;
  /** All bytes are there, and it can't show yet that they are good. */
  #unproven = false;
  readonly #slowAtMs: number;

  constructor(
    readonly box: BoxAddress,
    private readonly wish: Wish,
    usualMs: number,
    private readonly errand: Errand,
  ) {
    this.#slowAtMs = IS_PART.test(wish.rest) ? performance.now() + PART_MS_MAX : Infinity;
    this.#wait(wish.patienceMs + usualMs);
    void this.#go();
  }

  abort(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  /** Another box was quicker. One that has begun to answer did nothing wrong, unless it keeps back what proves it. */
  beaten(): void {
    clearTimeout(this.#timer);
    const slow = this.#unproven || performance.now() > this.#slowAtMs;
    if (slow) this.errand.late(this);
    if (slow || this.firstByteMs !== null) return this.abort();
    this.#timer = setTimeout(() => {
      if (this.firstByteMs === null) this.errand.late(this);
      this.abort();
    }, GRACE_MS);
  }

  /** Silent once is said once: a box that is slow throughout has one other asked beside it at a time. */
  #wait(ms: number): void {
    clearTimeout(this.#timer);
    const slowMs = Math.max(0, this.#slowAtMs - performance.now());
    if (!this.#over) this.#timer = setTimeout(() => this.errand.silent(), Math.min(ms, slowMs));
  }

  async #go(): Promise<void> {
    const startedMs = performance.now();
    try {
      const verify = this.wish.check?.(this.wish.rest, this.box, this.#abort.signal) ?? null;
      const response = await fetch(this.box.base + this.wish.rest, reach(this.box.base, this.#abort.signal));
      this.firstByteMs = performance.now() - startedMs;
      this.wish.begins?.();
      this.#wait(STALL_MS);
      if (!response.ok) throw new Unanswered(response.status, `${response.status} from ${this.box.name}`, response);
      const body = await this.#body(response);
      if (verify) {
        this.#unproven = true;
        this.#wait(STALL_MS);
        await verify(body);
      }
      clearTimeout(this.#timer);
      if (!this.#over) this.errand.succeeded(this, { box: this.box, response, body });
    } catch (error) {
      clearTimeout(this.#timer);
      if (this.#over) return;
      this.errand.failed(this, this.#known(error));
    }
  }

  #known(error: unknown): Unanswered | Forged {
    if (error instanceof Unanswered || error instanceof Forged) return error;
    return error instanceof Behind ? new Unanswered(404, error.message, null) : new Unanswered(0, `${this.box.name} does not answer`, null);
  }

  async #body(response: Response): Promise<ArrayBuffer> {
    const reader = response.body?.getReader();
    if (!reader) return response.arrayBuffer();
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      pieces.push(value);
      bytes += value.byteLength;
      this.#wait(STALL_MS);
    }
    const only = pieces[0];
    if (pieces.length === 1 && only && only.byteLength === only.buffer.byteLength) return only.buffer as ArrayBuffer;
    const whole = new Uint8Array(bytes);
    let at = 0;
    for (const piece of pieces) {
      whole.set(piece, at);
      at += piece.byteLength;
    }
    return whole.buffer;
  }
}

/**
 * A page from the internet may ask a box at home only if the browser's user agrees, and only if it says that the box is at
 * home (Chrome's local network access); other browsers pass over the word.
 */
export function reach(base: string, signal: AbortSignal): RequestInit {
  const init: RequestInit & { targetAddressSpace?: string } = { signal, credentials: new URL(base).origin === location.origin ? "same-origin" : "omit" };
  if (location.protocol === "https:" && base.startsWith("http://")) init.targetAddressSpace = "local";
  return init;
}
