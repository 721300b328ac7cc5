// Figures as people read them. Pure functions.

import type { StreamStatus } from "./api";

export const NOTHING = "–";

export function bitrate(bps: number | null | undefined): string {
  if (bps === null || bps === undefined || !Number.isFinite(bps)) return NOTHING;
  if (bps < 1_000_000) return `${Math.round(bps / 1000)} kbit/s`;
  return `${(bps / 1_000_000).toFixed(bps < 10_000_000 ? 2 : 1)} Mbit/s`;
}

export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** A duration in its two largest units: "3 d 4 h", "12 min", "45 s". */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [d, h, m] = [Math.floor(whole / 86_400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (d > 0) return h > 0 ? `${d} d ${h} h` : `${d} d`;
  if (h > 0) return m > 0 ? `${h} h ${m} min` : `${h} h`;
  return m > 0 ? `${m} min` : `${whole} s`;
}

export function seconds(ms: number | null | undefined, digits = 1): string {
  return ms === null || ms === undefined || !Number.isFinite(ms) ? NOTHING : `${(ms / 1000).toFixed(digits)} s`;
}

export function frameRate(rate: number | null | undefined): string {
  if (rate === null || rate === undefined || !Number.isFinite(rate)) return NOTHING;
  const rounded = Math.round(rate * 100) / 100;
  return `${Number.isInteger(rounded) ? rounded : rounded.toFixed(Math.abs(rate - Math.round(rate)) < 0.06 ? 2 : 1)} fps`;
}

export function skew(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return NOTHING;
  const whole = Math.round(ms);
  return `${whole > 0 ? "+" : whole < 0 ? "−" : ""}${Math.abs(whole)} ms`;
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

/** Video before audio, as encoders' settings have it. */
const CODECS: [RegExp, string][] = [
  [/^avc[13]/, "H.264"],
  [/^(hvc1|hev1)/, "HEVC"],
  [/^av01/, "AV1"],
  [/^mp4a\.40/, "AAC"],
  [/^opus/i, "Opus"],
];

/** RFC 6381 codec strings in the words of an encoder's settings: "H.264 + AAC". */
export function codecNames(codecs: string | null | undefined): string {
  if (!codecs) return NOTHING;
  const order = (codec: string): number => CODECS.findIndex(([pattern]) => pattern.test(codec));
  const sorted = codecs.split(",").map((codec) => codec.trim()).sort((a, b) => order(a) - order(b));
  return sorted.map((codec) => CODECS[order(codec)]?.[1] ?? codec).join(" + ");
}

/** "1280×720 · 30 fps · H.264 + AAC", as far as it is known. */
export function picture(status: Pick<StreamStatus, "video" | "audio">): string {
  const { video, audio } = status;
  const parts: string[] = [];
  if (video) parts.push(`${video.width}×${video.height}`);
  if (video?.frame_rate) parts.push(frameRate(video.frame_rate));
  const codecs = [video?.codec, audio?.codec].filter(Boolean).join(" + ");
  if (codecs) parts.push(codecs);
  if (!video && audio) parts.unshift("Sound only");
  return parts.join(" · ");
}

export function clockTime(unixMs: number): string {
  return new Date(unixMs).toLocaleTimeString("en-GB");
}
