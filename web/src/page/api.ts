// What the box answers as JSON, and the one way in which pages ask for it.

export interface Video {
  codec: string;
  width: number;
  height: number;
  frame_rate: number | null;
}

export interface Audio {
  codec: string;
  sample_rate: number;
  channels: number;
}

/** "waiting": somebody publishes, but there is nothing to watch yet. */
export type StreamState = "live" | "waiting" | "offline";

export interface ListedStream {
  name: string;
  state: StreamState;
  since_unix_ms: number | null;
  video: Video | null;
  audio: Audio | null;
  viewers: number;
}

/** A stream that the box takes from another server: "held" while a publisher here has it. */
export interface Source {
  /** "pulled from HOST". */
  text: string;
  state: "connecting" | "waiting" | "live" | "held" | "failed";
  trouble: string | null;
}

export interface StreamStatus extends ListedStream {
  codecs: string | null;
  bitrate_bps: number | null;
  keyframe_interval_ms: number | null;
  keyframe_interval_ms_max: number | null;
  skew_ms: number | null;
  drift_ppm: number | null;
  target_duration_s: number | null;
  part_target_ms: number | null;
  encoder: string | null;
  /** Null for a stream that is published here, and for viewers. */
  source: Source | null;
}

export interface WatchList {
  box: string;
  /** What somebody at the box has to mend; told on the home network alone. */
  notices?: string[];
  streams: ListedStream[];
}

export interface Box {
  name: string;
  version: string;
  uptime_s: number;
  cache_bytes: number;
  cache_bytes_max: number;
  rtmp_port: number | null;
  rtmps_port: number | null;
  https_port: number | null;
  health: { ok: boolean; problems: { code: string; text: string }[] };
}

export interface Sample {
  at_unix_ms: number;
  bitrate_bps: number | null;
  frame_rate: number | null;
  skew_ms: number | null;
}

export interface Advice {
  code: string;
  severity: "info" | "warn" | "error";
  text: string;
}

/** Who may watch without a link: everybody; the mesh and the home network; nobody. */
export type Access = "open" | "mesh" | "link";

/** A link that was just made: the box keeps none. */
export interface Link {
  path: string;
  /** At the coordinator's watch page, where there is one: it finds a box by itself. */
  watch_url: string | null;
  id: string;
  label: string | null;
  expires_unix_s: number;
}

export interface StudioStream {
  status: StreamStatus;
  key: string;
  access: Access;
  /** Set in the box's settings file, and not to be changed here. */
  access_fixed: boolean;
  history: Sample[];
  advice: Advice[];
  /** Since the box started; null until other boxes take it. */
  offload: { watched_bytes: number; given_bytes: number } | null;
}

export interface QuietHours {
  /** HH:MM on the clock on the wall. */
  from: string;
  to: string;
  limit_kbps: number;
}

/** What the box gives other boxes; null at a box that is in no mesh. */
export interface Giving {
  wish: { limit_kbps: number | null; paused: boolean; zone: string | null; quiet: QuietHours[] };
  /** What the settings file allows at most. */
  ceiling_kbps: number | null;
  /** At most, just now; null: as much as goes. */
  now_kbps: number | null;
  why: "free" | "limit" | "quiet" | "paused";
  until: string | null;
  /** Null while the box does not know the time. */
  local_time: string | null;
  zone_here: string | null;
  sending_bps: number;
}

export interface RefusalNote {
  at_unix_ms: number;
  peer: string;
  code: string;
  text: string;
}

/** How far the box is set up; told to whoever may set it up. */
export interface Setup {
  name: string;
  /** Nobody has set it up: no PIN is needed. */
  first: boolean;
  joined: boolean;
  wifi: { state: "idle" | "trying" | "connected" | "hotspot"; name: string | null; around: string[] } | null;
  resettable: boolean;
}

export interface Studio {
  server_port: number;
  streams: StudioStream[];
  refusals: RefusalNote[];
}

/** An answer that is not the one asked for, or none at all (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retryAfterS: number | null,
  ) {
    super(message);
  }
}

/** Above what the box holds a request before it says 503. */
const TIMEOUT_MS = 15_000;

export type Question = RequestInit & {
  /** Sent as the body. */
  json?: unknown;
  /** Called with the answer as it came, for its headers. */
  seen?: (response: Response) => void;
};

export async function ask<T>(path: string, init: Question = {}): Promise<T> {
  const { json, seen, ...rest } = init;
  const request: RequestInit = { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS), ...rest };
  if (json !== undefined) {
    request.body = JSON.stringify(json);
    request.headers = { "content-type": "application/json" };
  }
  let response: Response;
  try {
    response = await fetch(path, request);
  } catch {
    throw new ApiError(0, "The box does not answer.", null);
  }
  seen?.(response);
  if (!response.ok) throw await problem(response);
  if (response.status === 204) return undefined as T;
  const text = await response.text();
  try {
    return (text ? JSON.parse(text) : undefined) as T;
  } catch {
    throw new ApiError(0, "The box gave an answer that can't be read.", null);
  }
}

/** Retry-After in seconds, if it is given as a number (RFC 9110 10.2.3). */
export function retryAfter(value: string | null): number | null {
  if (value === null || !/^\d{1,5}$/.test(value.trim())) return null;
  return Number(value);
}

/** RFC 9457: the detail says what is wrong in plain words. */
export async function problem(response: Response): Promise<ApiError> {
  const wait = retryAfter(response.headers.get("retry-after"));
  let detail = `The box answered ${response.status}.`;
  if (response.headers.get("content-type")?.startsWith("application/problem+json")) {
    const body: { detail?: string; title?: string } = await response.json().catch(() => ({}));
    detail = body.detail || body.title || detail;
  }
  return new ApiError(response.status, detail, wait);
}
