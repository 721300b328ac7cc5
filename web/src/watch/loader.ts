// How hls.js gets what it asks for: by an errand to the boxes. hls.js sees one address that no server has, so that playlists
// and parts are the same to it whichever box they came from.

import type { HlsConfig, Loader, LoaderCallbacks, LoaderConfiguration, LoaderContext, LoaderStats } from "hls.js";
import type { Boxes } from "./boxes";
import { run, Unanswered } from "./errand";
import type { Inspector } from "./inspector";

/** RFC 6761: never the name of anything. */
const NOWHERE = "http://stream.invalid";

/** Where a stream's multivariant playlist is, as hls.js sees it. */
export const PLAYLIST_URL = `${NOWHERE}/index.m3u8`;

/** What is there already has to begin within this time, or another box is asked too. */
const THERE_MS = 250;
/** A playlist that is held until its next part exists: this much longer than a part lasts. */
const HELD_MS = 250;
/** Before a playlist says how long its parts are. */
const PART_MS = 500;
/** The multivariant playlist waits at the box for the first group of pictures. */
const FIRST_MS = 1500;

export interface Source {
  boxes: Boxes;
  /** Length of a part, as soon as it is known. */
  partMs: number | null;
  /** Set where the stream's key is known: what boxes give is held against it. */
  inspector?: Inspector;
}

export function loaderOf(source: Source): HlsConfig["loader"] {
  return class extends BoxLoader {
    constructor() {
      super(source);
    }
  };
}

class BoxLoader implements Loader<LoaderContext> {
  context: LoaderContext | null = null;
  readonly stats: LoaderStats = freshStats();
  #abort = new AbortController();
  #response: Response | null = null;
  #callbacks: LoaderCallbacks<LoaderContext> | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly source: Source) {}

  load(context: LoaderContext, config: LoaderConfiguration, callbacks: LoaderCallbacks<LoaderContext>): void {
    this.context = context;
    this.#callbacks = callbacks;
    const { stats } = this;
    stats.loading.start = performance.now();
    const { maxTimeToFirstByteMs, maxLoadTimeMs } = config.loadPolicy;
    this.#limit(Math.min(maxTimeToFirstByteMs || maxLoadTimeMs, maxLoadTimeMs));
    void this.#run(context, maxLoadTimeMs);
  }

  async #run(context: LoaderContext, loadMs: number): Promise<void> {
    const { stats } = this;
    try {
      const rest = restOf(context.url);
      const begins = (): void => {
        if (stats.loading.first > 0) return;
        stats.loading.first = performance.now();
        this.#limit(loadMs - (stats.loading.first - stats.loading.start));
      };
      const { boxes, inspector } = this.source;
      const held = rest.includes("_HLS_msn=");
      const answer = await run(boxes, { rest, held, patienceMs: this.#patience(rest, held), signal: this.#abort.signal, begins, ...(inspector && { check: inspector.begin }) });
      clearTimeout(this.#timer);
      this.#response = answer.response;
      stats.loading.end = performance.now();
      stats.loaded = stats.total = answer.body.byteLength;
      const data = context.responseType === "arraybuffer" ? answer.body : new TextDecoder().decode(answer.body);
      this.#callbacks?.onSuccess({ url: context.url, data, code: answer.response.status }, stats, context, answer.response);
    } catch (error) {
      clearTimeout(this.#timer);
      if (stats.aborted || this.#abort.signal.aborted) return;
      const known = error instanceof Unanswered ? error : new Unanswered(0, String(error), null);
      this.#callbacks?.onError({ code: known.status, text: known.message }, context, known.response, stats);
    }
  }

  #patience(rest: string, held: boolean): number {
    if (!rest.includes(".m3u8")) return THERE_MS;
    if (rest.startsWith("/index.m3u8")) return FIRST_MS;
    return held ? (this.source.partMs ?? PART_MS) + HELD_MS : THERE_MS;
  }

  #limit(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const { context } = this;
      this.#stop();
      if (context) this.#callbacks?.onTimeout(this.stats, context, null);
    }, ms);
  }

  #stop(): void {
    clearTimeout(this.#timer);
    if (this.stats.loading.end > 0) return;
    this.stats.aborted = true;
    this.#abort.abort();
  }

  abort(): void {
    const { context } = this;
    const running = this.stats.loading.end === 0 && !this.#abort.signal.aborted;
    this.#stop();
    if (running && context) this.#callbacks?.onAbort?.(this.stats, context, null);
  }

  destroy(): void {
    this.#callbacks = null;
    this.#stop();
    this.context = null;
  }

  getCacheAge(): number | null {
    const age = this.#response?.headers.get("age");
    return age ? Number(age) : null;
  }

  getResponseHeader(name: string): string | null {
    return this.#response?.headers.get(name) ?? null;
  }
}

function restOf(url: string): string {
  if (!url.startsWith(`${NOWHERE}/`)) throw new Unanswered(0, "the playlist leads elsewhere", null);
  return url.slice(NOWHERE.length);
}

function freshStats(): LoaderStats {
  const zero = (): { start: number; first: number; end: number } => ({ start: 0, first: 0, end: 0 });
  return { aborted: false, loaded: 0, retry: 0, total: 0, chunkCount: 0, bwEstimate: 0, loading: zero(), parsing: { start: 0, end: 0 }, buffering: zero() };
}
