// How far this device's clock is from the box's, so that a latency computed from PROGRAM-DATE-TIME is true on a phone
// whose clock is wrong. It reads nothing but the Date header, which has whole seconds: each answer gives an
// interval, and their intersection narrows down.

export class BoxClock {
  #low = -Infinity;
  #high = Infinity;

  /** `sentMs` and `receivedMs` are this device's clock around the request; `date` is the answer's Date header. */
  observe(date: string | null, sentMs: number, receivedMs: number): void {
    const stampedMs = date === null ? NaN : Date.parse(date);
    if (!Number.isFinite(stampedMs)) return;
    // The box wrote the header at some instant of [stamped, stamped + 1 s), which was between sending and receiving here.
    const low = stampedMs - receivedMs;
    const high = stampedMs + 1000 - sentMs;
    const apart = low > this.#high || high < this.#low;
    this.#low = apart ? low : Math.max(low, this.#low);
    this.#high = apart ? high : Math.min(high, this.#high);
  }

  /** Box minus device. Zero while the two may agree. */
  get offsetMs(): number {
    if (!Number.isFinite(this.#low) || (this.#low <= 0 && this.#high >= 0)) return 0;
    return (this.#low + this.#high) / 2;
  }

  now(): number {
    return Date.now() + this.offsetMs;
  }
}
