// What a viewer's quality is measured by: pictures dropped, stalls, bit rate, frame rate. Counts; decides nothing.

/** Bit rate and frame rate are means over this long. */
const WINDOW_MS = 8000;
/** More loads than come in the window: 8 s of one-frame parts at 60 fps. */
const LOADS_MAX = 512;

/** Four seconds of samples for the frame rate. */
const FRAME_SAMPLES_MAX = 40;

interface Load {
  atMs: number;
  bytes: number;
  mediaS: number;
}

export class Counters {
  rebuffers = 0;
  #rebufferMs = 0;
  #stalledAt: number | null = null;
  #loads: Load[] = [];
  #frames: { atMs: number; count: number }[] = [];
  firstFrameMs: number | null = null;
  #openedAt = performance.now();
  #loadedAt = -Infinity;
  #droppedBefore = 0;
  #decodedBefore = 0;

  constructor(private readonly video: HTMLVideoElement) {}

  /** A new attempt to play: the time to the first picture counts from here, unless there was one. */
  opened(): void {
    if (this.firstFrameMs === null) this.#openedAt = performance.now();
  }

  pictureShown(): void {
    this.firstFrameMs ??= performance.now() - this.#openedAt;
  }

  stalled(): void {
    if (this.#stalledAt !== null) return;
    this.#stalledAt = performance.now();
    this.rebuffers += 1;
  }

  resumed(): void {
    if (this.#stalledAt === null) return;
    this.#rebufferMs += performance.now() - this.#stalledAt;
    this.#stalledAt = null;
  }

  get rebufferMs(): number {
    return this.#rebufferMs + (this.#stalledAt === null ? 0 : performance.now() - this.#stalledAt);
  }

  loaded(bytes: number, mediaS: number): void {
    const atMs = performance.now();
    this.#loadedAt = atMs;
    this.#loads.push({ atMs, bytes, mediaS });
    while (this.#loads.length > LOADS_MAX || (this.#loads[0] && this.#loads[0].atMs < atMs - WINDOW_MS)) this.#loads.shift();
  }

  /** Since something was loaded; infinite before anything was. */
  get idleMs(): number {
    return performance.now() - this.#loadedAt;
  }

  /** Of the media itself: bytes per second of play time, whatever the speed of the network. */
  get bitrateBps(): number | null {
    const mediaS = this.#loads.reduce((sum, load) => sum + load.mediaS, 0);
    if (mediaS < 1) return null;
    return (8 * this.#loads.reduce((sum, load) => sum + load.bytes, 0)) / mediaS;
  }

  /** The element forgets its counts when it gets a new source: carry them over. */
  sourceChanges(): void {
    const quality = this.video.getVideoPlaybackQuality?.();
    this.#droppedBefore += quality?.droppedVideoFrames ?? 0;
    this.#decodedBefore += quality?.totalVideoFrames ?? 0;
    this.#frames = [];
    this.#loads = [];
  }

  get droppedFrames(): number {
    return this.#droppedBefore + (this.video.getVideoPlaybackQuality?.().droppedVideoFrames ?? 0);
  }

  get frames(): number {
    return this.#decodedBefore + (this.video.getVideoPlaybackQuality?.().totalVideoFrames ?? 0);
  }

  /** Frames per second shown by the element, over the last seconds; to be called about ten times a second. */
  sampleFrameRate(): number | null {
    const atMs = performance.now();
    const count = this.frames - this.droppedFrames;
    this.#frames.push({ atMs, count });
    while (this.#frames.length > FRAME_SAMPLES_MAX) this.#frames.shift();
    const first = this.#frames[0];
    if (!first || atMs - first.atMs < 1500) return null;
    return (1000 * (count - first.count)) / (atMs - first.atMs);
  }
}
