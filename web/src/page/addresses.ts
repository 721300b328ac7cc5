// The addresses under which a stream is watched and published, as seen from where this page was opened.

import { Boxes } from "../watch/boxes";
import type { Source } from "../watch/loader";
import { copyField } from "./copy";
import { h } from "./dom";

/** A stream as it is watched here: all of it lies below `base`, which carries the link that opens it, if there is one. */
export interface Place {
  name: string;
  base: string;
}

export function place(name: string): Place {
  return { name, base: `/live/${encodeURIComponent(name)}` };
}

/** Of a page at `/live/NAME` or `/t/TOKEN/live/NAME`, as written. */
export function placeOf(path: string): Place {
  const [, opener, token, , linked] = path.split("/");
  const raw = opener === "t" ? linked : token;
  return { name: decoded(raw ?? ""), base: path.replace(/\/$/, "") };
}

function decoded(raw: string): string {
  try {
    return decodeURIComponent(raw);
  } catch {
    return raw;
  }
}

/** The one box that this page came from. */
export function thisBox({ base }: Place): Source {
  return { boxes: new Boxes([{ id: "", base: `${location.origin}${base}`, name: "the box" }]), partMs: null };
}

/** RTMP's own port is left out, as people expect it. */
export function rtmpAddress(port: number): string {
  const host = location.hostname;
  return `rtmp://${host}${port === 1935 ? "" : `:${port}`}/live`;
}

/** Copyable addresses for other players. */
export function elsewhere(of: Place): HTMLElement {
  const base = `${location.origin}${of.base}`;
  return h(
    "div",
    { class: "elsewhere" },
    copyField("Phone, tablet, TV (HLS)", `${base}/index.m3u8`).element,
    copyField("VLC, lowest delay (HTTP-FLV)", `${base}.flv`).element,
    h("p", { class: "hint" }, "On a phone, open this page in its browser. In VLC: Media, Open Network Stream, then paste."),
  );
}
