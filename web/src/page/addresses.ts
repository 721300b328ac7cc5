// The addresses under which a stream is watched and published, as seen from where this page was opened.

import { copyField } from "./copy";
import { h } from "./dom";

export function playlistPath(name: string): string {
  return `/live/${encodeURIComponent(name)}/index.m3u8`;
}

export function playerPath(name: string): string {
  return `/live/${encodeURIComponent(name)}`;
}

export function statusPath(name: string): string {
  return `/live/${encodeURIComponent(name)}/status.json`;
}

/** RTMP's own port is left out, as people expect it. */
export function rtmpAddress(port: number): string {
  const host = location.hostname;
  return `rtmp://${host}${port === 1935 ? "" : `:${port}`}/live`;
}

/** Copyable addresses for other players. */
export function elsewhere(name: string): HTMLElement {
  const base = `${location.origin}/live/${encodeURIComponent(name)}`;
  return h(
    "div",
    { class: "elsewhere" },
    copyField("Phone, tablet, TV (HLS)", `${base}/index.m3u8`).element,
    copyField("VLC, lowest delay (HTTP-FLV)", `${base}.flv`).element,
    h("p", { class: "hint" }, "On a phone, open this page in its browser. In VLC: Media, Open Network Stream, then paste."),
  );
}
