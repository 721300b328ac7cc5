// Watching one stream by name for as long as the page is open: waits for it to start, plays it, notices its end, and
// begins again. It asks the box before it opens a playlist, so that "not yet", "no such stream" and "held" are told
// apart in words. Never gives up on a stream that may still come; gives up on one that keeps failing to play.

import { problem, retryAfter, type StreamStatus } from "../page/api";
import { Boxes } from "./boxes";
import { BoxClock } from "./clock";
import { Counters } from "./counters";
import { run, Unanswered } from "./errand";
import { HlsPlayback, type Outcome } from "./hls-playback";
import type { Source } from "./loader";
import { NativePlayback } from "./native-playback";
import type { WatchState } from "./state";

/** Between two questions whether the stream is there. */
const ASK_MS = 1500;
const ASK_MS_MAX = 10_000;
/** While it plays, for what a viewer sees beside the picture, and for the clock. */
const STATUS_MS = 5000;
const TICK_MS = 100;
/** The picture has not moved for this long: it stalls, whatever the browser says. */
const STANDSTILL_MS = 600;
/** Playings in a row that broke before they had shown `PROVEN_MS` of picture. */
const FAILURES_MAX = 8;
const PROVEN_MS = 3000;
const BACKOFF_MS = 400;
/** A stall this long is not waited out: the playing is begun anew. */
const STUCK_MS = 12_000;
/** Nor one this long in which nothing at all was loaded, though the box says that the stream is live. */
const DESERTED_MS = 4000;
/** The box holds a playlist up to 10 s. */
const HELD_MS = 15_000;
/** A status is there at once, wherever a box is. */
const STATUS_PATIENCE_MS = 1000;

type Playback = HlsPlayback | NativePlayback;
type Door = { kind: "open" } | { kind: "shut"; state: WatchState; waitMs: number };

export interface Stats {
  state: WatchState;
  latency_ms: number | null;
  target_latency_ms: number | null;
  buffer_ms: number;
  width: number;
  height: number;
  frame_rate: number | null;
  bitrate_bps: number | null;
  codecs: string | null;
  frames: number;
  dropped_frames: number;
  rebuffers: number;
  rebuffer_ms: number;
  first_frame_ms: number | null;
  reloads: number;
  /** Why the last playing that broke did so. */
  trouble: string | null;
  /** The box that answered last, and how often the viewer moved from one to another. */
  box: string | null;
  moves: number;
  /** What was held against the streamer's signature; null where nothing is. */
  checked: number | null;
}

export class Session {
  readonly #clock = new BoxClock();
  readonly #counters: Counters;
  readonly #stop = new AbortController();
  #playback: Playback | null = null;
  #state: WatchState = "connecting";
  #status: StreamStatus | null = null;
  #seen = false;
  #steady = false;
  #failures = 0;
  #reloads = -1;
  #trouble: string | null = null;
  #refusal: string | null = null;
  #frameRate: number | null = null;
  #stalledAt = 0;
  #movedTo = { time: 0, atMs: 0 };
  #wake: () => void = () => {};

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly source: Source,
    private readonly changed: (state: WatchState) => void,
    private readonly leaving: () => void = () => {},
  ) {
    this.#counters = new Counters(video);
    this.#watchVideo();
  }

  get hls(): HlsPlayback["hls"] | null {
    return this.#playback instanceof HlsPlayback ? this.#playback.hls : null;
  }

  get boxes(): Boxes {
    return this.source.boxes;
  }

  get state(): WatchState {
    return this.#state;
  }

  get status(): StreamStatus | null {
    return this.#status;
  }

  /** Why the box does not let this viewer watch, in its words. */
  get refusal(): string | null {
    return this.#refusal;
  }

  start(): void {
    const ticking = setInterval(() => this.#tick(), TICK_MS);
    this.#stop.signal.addEventListener("abort", () => clearInterval(ticking));
    void this.#follow();
    void this.#keepAsking();
  }

  close(): void {
    this.#stop.abort();
    this.#wake();
    this.#playback?.destroy();
    this.#playback = null;
  }

  /** Try at once, whatever was being waited for. */
  retry(): void {
    this.#failures = 0;
    this.#wake();
  }

  setSteady(steady: boolean): void {
    this.#steady = steady;
    this.#playback?.setSteady(steady);
  }

  jumpToLive(): void {
    this.#playback?.jumpToLive();
    this.#begin();
  }

  /** Some devices start nothing by themselves, not even without sound (a phone that saves power): then a press does. */
  #begin(): void {
    this.video.play().catch((error: unknown) => {
      if (error instanceof DOMException && error.name === "NotAllowedError") this.#enter("paused");
    });
  }

  stats(): Stats {
    const { video } = this;
    const counters = this.#counters;
    const playback = this.#playback;
    return {
      state: this.#state,
      latency_ms: playback?.latencyMs(this.#clock.now()) ?? null,
      target_latency_ms: playback?.targetLatencyMs ?? null,
      buffer_ms: (playback?.bufferS ?? 0) * 1000,
      width: video.videoWidth,
      height: video.videoHeight,
      frame_rate: this.#frameRate,
      bitrate_bps: counters.bitrateBps,
      codecs: playback?.codecs ?? this.#status?.codecs ?? null,
      frames: counters.frames,
      dropped_frames: counters.droppedFrames,
      rebuffers: counters.rebuffers,
      rebuffer_ms: counters.rebufferMs,
      first_frame_ms: counters.firstFrameMs,
      reloads: Math.max(0, this.#reloads),
      trouble: this.#trouble,
      box: this.boxes.current?.base ?? null,
      moves: this.boxes.moves,
      checked: this.source.inspector?.checked ?? null,
    };
  }

  async #follow(): Promise<void> {
    let misses = 0;
    while (!this.#stop.signal.aborted) {
      const door = await this.#knock();
      if (this.#stop.signal.aborted) return;
      if (door.kind === "shut") {
        this.#enter(door.state);
        await this.#pause(Math.min(door.waitMs * 1.25 ** misses, ASK_MS_MAX));
        misses += 1;
        continue;
      }
      misses = 0;
      const outcome = await this.#play();
      await this.#settle(outcome);
    }
  }

  /** Is the stream there, and is its playlist ready? */
  async #knock(): Promise<Door> {
    try {
      const status = await this.#askStatus();
      if (status.state === "offline") return { kind: "shut", state: this.#seen ? "ended" : "waiting", waitMs: ASK_MS };
    } catch (error) {
      const unanswered = error instanceof Unanswered ? error : null;
      if (unanswered?.status === 403 && unanswered.response) {
        this.#refusal = (await problem(unanswered.response)).message;
        return { kind: "shut", state: "locked", waitMs: 4 * ASK_MS };
      }
      const missing = unanswered?.status === 404;
      return { kind: "shut", state: missing ? "unknown" : "unreachable", waitMs: missing ? 2 * ASK_MS : ASK_MS };
    }
    // Somebody publishes. The box holds this request until the first whole group of pictures is there.
    if (!this.#seen) this.#enter("starting");
    try {
      await this.#ask("/index.m3u8", HELD_MS);
      return { kind: "open" };
    } catch (error) {
      const response = error instanceof Unanswered ? error.response : null;
      if (!response) return { kind: "shut", state: "unreachable", waitMs: ASK_MS };
      const wait = retryAfter(response.headers.get("retry-after"));
      return { kind: "shut", state: this.#seen ? "interrupted" : "starting", waitMs: wait === null ? ASK_MS : Math.max(200, wait * 1000) };
    }
  }

  /** Also the way back: the box that stands first is asked, and stayed with if it answers. */
  async #askStatus(): Promise<StreamStatus> {
    const sentMs = Date.now();
    const { response, body } = await this.#ask("/status.json", HELD_MS, true);
    this.#clock.observe(response.headers.get("date"), sentMs, Date.now());
    this.#status = JSON.parse(new TextDecoder().decode(body)) as StreamStatus;
    return this.#status;
  }

  async #ask(rest: string, limitMs: number, anew = false): ReturnType<typeof run> {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), limitMs);
    this.#stop.signal.addEventListener("abort", () => limit.abort(), { signal: limit.signal });
    try {
      return await run(this.boxes, { rest, anew, signal: limit.signal, patienceMs: anew ? STATUS_PATIENCE_MS : limitMs });
    } finally {
      clearTimeout(timer);
      limit.abort();
    }
  }

  async #play(): Promise<Outcome> {
    this.#reloads += 1;
    this.#counters.opened();
    if (HlsPlayback.supported()) this.#playback = new HlsPlayback(this.video, this.#counters, this.source, this.#steady);
    else if (NativePlayback.supported()) this.#playback = new NativePlayback(this.video, this.#nativeUrl());
    else return { kind: "unsupported" };
    this.#begin();
    const startedAt = performance.now();
    const outcome = await this.#playback.over;
    this.leaving();
    if (this.#counters.firstFrameMs !== null && performance.now() - startedAt > PROVEN_MS) this.#failures = 0;
    this.#playback?.destroy();
    this.#playback = null;
    return outcome;
  }

  /** A browser's own HLS follows no errands: it gets the best box there is. */
  #nativeUrl(): string {
    return `${this.boxes.order(performance.now())[0]?.base ?? ""}/index.m3u8`;
  }

  async #settle(outcome: Outcome): Promise<void> {
    switch (outcome.kind) {
      case "played-out":
        // Superseded, if the box still says live: the next knock finds the new playlist at once.
        return;
      case "past":
        this.#enter(this.#seen ? "ended" : "waiting");
        await this.#pause(ASK_MS);
        return;
      case "unsupported":
        this.#enter("unsupported");
        await this.#pause(Infinity);
        return;
      case "broken": {
        this.#failures += 1;
        this.#trouble = outcome.reason;
        if (this.#failures >= FAILURES_MAX) {
          this.#enter("failed");
          await this.#pause(Infinity);
          return;
        }
        if (this.#seen) this.#enter("interrupted");
        const backoff = Math.min(BACKOFF_MS * 2 ** (this.#failures - 1), ASK_MS_MAX);
        await this.#pause(outcome.retryAfterS === null ? backoff : Math.min(outcome.retryAfterS * 1000, ASK_MS_MAX));
      }
    }
  }

  async #keepAsking(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const stalled = this.#state === "buffering" || this.#state === "interrupted";
      await new Promise((resolve) => setTimeout(resolve, stalled ? ASK_MS : STATUS_MS));
      if (!this.#playback || document.hidden || this.#stop.signal.aborted) continue;
      const status = await this.#askStatus().catch(() => null);
      if (this.#state === "buffering" && status && status.state !== "live") this.#enter("interrupted");
    }
  }

  #watchVideo(): void {
    const { signal } = this.#stop;
    const on = (event: string, act: () => void): void => this.video.addEventListener(event, act, { signal });
    on("playing", () => {
      this.#counters.pictureShown();
      this.#counters.resumed();
      this.#seen = true;
      if (this.#playback) this.#enter("playing");
    });
    on("waiting", () => {
      if (!this.video.seeking) this.#stall();
    });
    on("pause", () => {
      if (this.#playback && !this.video.ended) this.#enter("paused");
    });
  }

  #stall(): void {
    const moving = this.#state === "playing" || this.#state === "catching-up";
    if (!this.#playback || !moving || this.#playback.ending || this.video.paused) return;
    this.#counters.stalled();
    this.#stalledAt = performance.now();
    this.#enter("buffering");
  }

  /** Browsers tell of a stall by an event, but not of one that a seek ended in. */
  #noticeStandstill(): void {
    const { currentTime } = this.video;
    const now = performance.now();
    if (currentTime !== this.#movedTo.time) this.#movedTo = { time: currentTime, atMs: now };
    else if (now - this.#movedTo.atMs > STANDSTILL_MS) this.#stall();
  }

  /** On a slow line something still comes: that is waited for longer. */
  #isStuck(): boolean {
    const stalledMs = performance.now() - this.#stalledAt;
    const deserted = this.#status?.state === "live" && this.#counters.idleMs > DESERTED_MS;
    return stalledMs > (deserted ? DESERTED_MS : STUCK_MS);
  }

  #tick(): void {
    const playback = this.#playback;
    if (!playback) return;
    playback.tick();
    this.#noticeStandstill();
    if (this.#state === "buffering" && this.#isStuck()) playback.giveUp("nothing came");
    this.#frameRate = this.#counters.sampleFrameRate();
    if (this.#state === "playing" && playback.catchingUp) this.#enter("catching-up");
    else if (this.#state === "catching-up" && !playback.catchingUp) this.#enter("playing");
  }

  #enter(state: WatchState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.changed(state);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = Number.isFinite(ms) ? setTimeout(resolve, ms) : undefined;
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
