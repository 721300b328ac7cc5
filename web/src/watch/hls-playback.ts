// One playing of a stream by hls.js: from the multivariant playlist to the end of that playlist. It mends what can be
// mended in place (media errors, short network faults); everything else ends it with a reason, and the session
// decides what follows.

import Hls, { ErrorTypes, Events, type ErrorData, type HlsConfig } from "hls.js/light";
import { retryAfter } from "../page/api";
import { loaderOf, PLAYLIST_URL, type Source } from "./loader";
import type { Counters } from "./counters";
import { Margin, pace } from "./pace";

/**
 * Why a playing is over: the playlist ended and was played out; or it had ended before it was opened, so that there is
 * only the past to see; or it broke.
 */
export type Outcome = { kind: "played-out" } | { kind: "past" } | { kind: "broken"; reason: string; status: number; retryAfterS: number | null } | { kind: "unsupported" };

/** The distance kept in the steady setting. */
export const STEADY_S = 5;

/** Media errors mended in place within half a minute, before the whole playing is begun anew. */
const MENDS_MAX = 3;
const MEND_WINDOW_MS = 30_000;
/** With less than this left of an ended playlist it counts as played out. */
const PLAYED_OUT_S = 0.08;

/** This many ticks in a row must want a jump. */
const JUMP_TICKS = 10;
/** This many ticks in a row without movement, though this much is in the buffer. */
const STUCK_TICKS = 12;
const STUCK_BUFFER_S = 1;
/** Catching up on less than this is not worth a word. */
const BEHIND_SAID_S = 1;

const CONFIG: Partial<HlsConfig> = {
  lowLatencyMode: true,
  // Latency comes from PART-HOLD-BACK, so liveSyncDuration stays unset. After a stall hls.js moves the target away from
  // the edge: by less than its own whole second, which would double the distance.
  liveSyncOnStallIncrease: 0.2,
  // Below the length of any part: with the default of 250 ms a 200 ms part at a segment's border is skipped.
  maxFragLookUpTolerance: 0.02,
  backBufferLength: 20,
  maxBufferLength: 12,
  // The media is fMP4 already: nothing is remuxed, so a worker would only add a hop.
  enableWorker: false,
  enableID3MetadataCues: false,
  enableEmsgMetadataCues: false,
  enableDateRangeMetadataCues: false,
  fragLoadPolicy: policy(8000, 20_000, 4, 250, 2000),
  // A playlist request is held by the box until its part exists; with a stalled producer it says 503 instead.
  playlistLoadPolicy: policy(10_000, 20_000, 6, 400, 2000),
  manifestLoadPolicy: policy(15_000, 20_000, 1, 500, 2000),
};

function policy(firstByteMs: number, loadMs: number, retries: number, delayMs: number, delayMsMax: number): HlsConfig["fragLoadPolicy"] {
  const retry = { maxNumRetry: retries, retryDelayMs: delayMs, maxRetryDelayMs: delayMsMax };
  return {
    default: { maxTimeToFirstByteMs: firstByteMs, maxLoadTimeMs: loadMs, timeoutRetry: { ...retry, maxNumRetry: 2 }, errorRetry: retry },
  };
}

export class HlsPlayback {
  readonly hls: Hls;
  /** Resolves once, when nothing more can come of this playing. */
  readonly over: Promise<Outcome>;
  #finish: (outcome: Outcome) => void = () => {};
  #mends: number[] = [];
  #wasLive = false;
  #listEnded = false;
  #catchingUp = false;
  #jumpsWanted = 0;
  #margin = new Margin();
  #stuckTicks = 0;
  codecs: string | null = null;

  static supported(): boolean {
    return Hls.isSupported();
  }

  constructor(
    private readonly video: HTMLVideoElement,
    private readonly counters: Counters,
    private readonly source: Source,
    private steady: boolean,
  ) {
    this.hls = new Hls({ ...CONFIG, loader: loaderOf(source) });
    this.over = new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#listen();
    if (steady) this.hls.targetLatency = STEADY_S;
    this.hls.loadSource(PLAYLIST_URL);
    this.hls.attachMedia(video);
  }

  #listen(): void {
    const { hls } = this;
    hls.on(Events.LEVEL_UPDATED, (_, { details }) => {
      if (details.partTarget > 0) this.source.partMs = details.partTarget * 1000;
      if (!details.live && !this.#wasLive) this.#finish({ kind: "past" });
      if (details.live) this.#wasLive = true;
      else this.#listEnded = true;
    });
    hls.on(Events.BUFFER_CODECS, (_, tracks) => {
      const of = [tracks.video, tracks.audio, tracks.audiovideo].filter(Boolean);
      this.codecs = of.map((track) => track?.levelCodec || track?.codec).join(",") || null;
    });
    hls.on(Events.FRAG_LOADED, (_, { frag, part }) => {
      const stats = part ? part.stats : frag.stats;
      const mediaS = part ? part.duration : frag.duration;
      if (typeof frag.sn === "number" && mediaS > 0) this.counters.loaded(stats.loaded, mediaS);
    });
    hls.on(Events.ERROR, (_, data) => this.#failed(data));
  }

  #failed(data: ErrorData): void {
    if (!data.fatal) return;
    if (data.type === ErrorTypes.MEDIA_ERROR && this.#mayMend()) {
      this.hls.recoverMediaError();
      void this.video.play().catch(() => {});
      return;
    }
    const status = data.response?.code ?? 0;
    const request: unknown = data.networkDetails;
    const wait = request instanceof Response ? retryAfter(request.headers.get("retry-after")) : null;
    const incompatible = data.details === "manifestIncompatibleCodecsError" || data.details === "bufferAddCodecError";
    this.#finish(incompatible ? { kind: "unsupported" } : { kind: "broken", reason: `${data.details}: ${data.error.message.split("\n")[0]}`, status, retryAfterS: wait });
  }

  #mayMend(): boolean {
    const now = performance.now();
    this.#mends = this.#mends.filter((at) => now - at < MEND_WINDOW_MS);
    if (this.#mends.length >= MENDS_MAX) return false;
    this.#mends.push(now);
    return true;
  }

  get bufferS(): number {
    const { buffered, currentTime } = this.video;
    for (let i = 0; i < buffered.length; i += 1) {
      if (buffered.start(i) <= currentTime + 0.1 && buffered.end(i) >= currentTime) return buffered.end(i) - currentTime;
    }
    return 0;
  }

  /** Behind the live edge, as PROGRAM-DATE-TIME says; null while nothing plays. */
  latencyMs(nowMs: number): number | null {
    const shown = this.hls.playingDate;
    return shown && this.video.readyState >= 2 ? nowMs - shown.getTime() : null;
  }

  get targetLatencyMs(): number | null {
    const target = this.hls.targetLatency;
    return target === null ? null : target * 1000;
  }

  /** The playlist is complete: running dry is its end, not a stall. */
  get ending(): boolean {
    return this.#listEnded;
  }

  giveUp(reason: string): void {
    this.#finish({ kind: "broken", reason, status: 0, retryAfterS: null });
  }

  get catchingUp(): boolean {
    return this.#catchingUp;
  }

  setSteady(steady: boolean): void {
    if (steady === this.steady) return;
    this.steady = steady;
    const details = this.hls.latestLevelDetails;
    const edge = details ? details.partHoldBack || details.holdBack : 0;
    this.hls.targetLatency = steady ? STEADY_S : edge || 2;
    this.jumpToLive();
  }

  jumpToLive(): void {
    const target = this.hls.liveSyncPosition;
    if (target !== null && Number.isFinite(target)) this.video.currentTime = target;
  }

  /** To be called a few times a second while playing: holds the distance, and notices the end of an ended playlist. */
  tick(): void {
    const { hls, video } = this;
    if (this.#listEnded) {
      this.#catchingUp = false;
      video.playbackRate = 1;
      if (video.ended || this.bufferS < PLAYED_OUT_S) this.#finish({ kind: "played-out" });
      return;
    }
    const targetS = hls.targetLatency;
    this.#unstick();
    if (video.paused || video.seeking || video.readyState < 3 || targetS === null || hls.latency <= 0) return;
    const { bufferS } = this;
    const marginS = this.#margin.observe(bufferS, performance.now());
    const step = pace({ latencyS: hls.latency, targetS, bufferS, rate: video.playbackRate, marginS });
    // The edge is an estimate, and may be wrong for a playlist or two: a jump has to be wanted for a while.
    this.#jumpsWanted = step.kind === "jump" ? this.#jumpsWanted + 1 : 0;
    this.#catchingUp = hls.latency - targetS > BEHIND_SAID_S && (step.kind === "jump" || step.rate > 1);
    if (this.#jumpsWanted > JUMP_TICKS) this.jumpToLive();
    else if (step.kind === "rate" && video.playbackRate !== step.rate) video.playbackRate = step.rate;
  }

  /** Media is loaded and yet nothing moves, as a decoder may after its configuration changed: a seek wakes it. */
  #unstick(): void {
    const { video } = this;
    const stuck = !video.paused && video.readyState < 3 && this.bufferS > STUCK_BUFFER_S;
    this.#stuckTicks = stuck ? this.#stuckTicks + 1 : 0;
    if (this.#stuckTicks < STUCK_TICKS) return;
    this.#stuckTicks = 0;
    this.jumpToLive();
  }

  destroy(): void {
    this.counters.sourceChanges();
    this.hls.destroy();
    this.video.playbackRate = 1;
    this.#finish({ kind: "played-out" });
  }
}
