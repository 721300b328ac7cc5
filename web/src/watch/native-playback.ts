// One playing of a stream by the browser's own HLS, for browsers without Media Source Extensions (older iPhones).
// Such a browser keeps its own distance from the live edge: the steady setting does nothing here.

import type { Outcome } from "./hls-playback";

const TYPE = "application/vnd.apple.mpegurl";

/** Safari's, in Safari only: where in wall-clock time the media's zero lies. */
type DatedVideo = HTMLVideoElement & { getStartDate?: () => Date };

export class NativePlayback {
  readonly over: Promise<Outcome>;
  readonly codecs = null;
  readonly catchingUp = false;
  readonly targetLatencyMs = null;
  #finish: (outcome: Outcome) => void = () => {};
  readonly #listening = new AbortController();

  static supported(): boolean {
    return document.createElement("video").canPlayType(TYPE) !== "";
  }

  constructor(
    private readonly video: DatedVideo,
    url: string,
  ) {
    this.over = new Promise((resolve) => {
      this.#finish = resolve;
    });
    const { signal } = this.#listening;
    video.addEventListener("ended", () => this.#finish({ kind: "played-out" }), { signal });
    video.addEventListener("error", () => this.#finish({ kind: "broken", reason: video.error?.message || "media error", status: 0, retryAfterS: null }), { signal });
    video.src = url;
  }

  get bufferS(): number {
    const { buffered, currentTime } = this.video;
    return buffered.length ? Math.max(0, buffered.end(buffered.length - 1) - currentTime) : 0;
  }

  latencyMs(nowMs: number): number | null {
    const zero = this.video.getStartDate?.().getTime() ?? NaN;
    return Number.isFinite(zero) ? nowMs - (zero + this.video.currentTime * 1000) : null;
  }

  readonly ending = false;

  giveUp(reason: string): void {
    this.#finish({ kind: "broken", reason, status: 0, retryAfterS: null });
  }

  setSteady(): void {}

  jumpToLive(): void {
    const { seekable } = this.video;
    if (seekable.length) this.video.currentTime = seekable.end(seekable.length - 1);
  }

  tick(): void {}

  destroy(): void {
    this.#listening.abort();
    this.video.removeAttribute("src");
    this.video.load();
    this.#finish({ kind: "played-out" });
  }
}
