// The player page, /live/NAME: picture, state, distance from live, quality counters, addresses for other players.

import { elsewhere, placeOf } from "./page/addresses";
import { h, main, say } from "./page/dom";
import { bitrate, codecNames, count, frameRate, NOTHING, seconds } from "./page/format";
import type { Session, Stats } from "./watch/session";
import { stage } from "./watch/stage";
import { showsPicture, words, type WatchState } from "./watch/state";

const REFRESH_MS = 500;
const STEADY_KEY = "relaybox.steady";

declare global {
  interface Window {
    /** For tests and for the curious. */
    relaybox?: { readonly hls: unknown; stats(): Stats };
  }
}

const here = placeOf(location.pathname);
const { name } = here;
document.title = `${name} · Relaybox`;

const pill = h("span", { class: "pill", "data-state": "connecting" });
const theatre = stage(here, { onstate: showState });
const { session } = theatre;

const figures = {
  latency: figure("Behind live", "From the streamer's encoder to this screen, by the times written in the playlist"),
  quality: figure("Picture"),
  rate: figure("Bit rate"),
  dropped: figure("Dropped frames"),
  rebuffers: figure("Rebuffers"),
  buffer: figure("In reserve", "Media that is loaded and not yet shown"),
};

const figureRow = h("dl", { class: "figures", hidden: true }, ...Object.values(figures).map((f) => f.element));

main().append(
  theatre.element,
  h(
    "div",
    { class: "under-stage" },
    h("div", { class: "title-row" }, h("h1", {}, name), pill, viewersText(session)),
    distance(session),
  ),
  figureRow,
  h("details", { class: "panel fold" }, h("summary", {}, "Watch on another device or in VLC"), elsewhere(here)),
);

window.relaybox = {
  get hls() {
    return session.hls;
  },
  stats: () => session.stats(),
};
setInterval(refresh, REFRESH_MS);
addEventListener("pagehide", (event) => {
  if (!event.persisted) session.close();
});

function showState(state: WatchState): void {
  pill.dataset["state"] = state;
  const short: Partial<Record<WatchState, string>> = { waiting: "Not live yet", starting: "Starting", interrupted: "Interrupted", ended: "Ended", failed: "Failed", unsupported: "Can't play", unreachable: "No answer", unknown: "Not found", locked: "Not open" };
  say(pill, short[state] ?? words(state).title.replace("…", ""));
}

function viewersText(of: Session): HTMLElement {
  const element = h("span", { class: "viewers" });
  setInterval(() => {
    const status = of.status;
    say(element, status?.state === "live" && status.viewers > 0 ? `${count(status.viewers, "viewer")}` : "");
  }, REFRESH_MS);
  return element;
}

function figure(label: string, title?: string): { element: HTMLElement; set(value: string, note?: string): void } {
  const value = h("dd", {}, NOTHING);
  const note = h("dd", { class: "note" });
  const element = h("div", { class: "figure", title: title ?? null }, h("dt", {}, label), value, note);
  return {
    element,
    set(text, small = "") {
      say(value, text);
      say(note, small);
    },
  };
}

function refresh(): void {
  const s = session.stats();
  const playing = showsPicture(s.state);
  figureRow.hidden = s.frames === 0 && s.bitrate_bps === null;
  figures.latency.set(playing ? seconds(s.latency_ms, 2) : NOTHING, playing && s.target_latency_ms ? `target ${seconds(s.target_latency_ms, 1)} from the edge` : "");
  figures.quality.set(s.width && playing ? `${s.width}×${s.height}` : NOTHING, playing ? [shownRate(s.frame_rate), codecNames(s.codecs)].filter((t) => t !== NOTHING).join(", ") : "");
  figures.rate.set(playing ? bitrate(s.bitrate_bps) : NOTHING, "");
  figures.dropped.set(String(s.dropped_frames), s.frames > 0 ? `of ${s.frames.toLocaleString("en")}` : "");
  figures.rebuffers.set(String(s.rebuffers), s.rebuffers > 0 ? `${seconds(s.rebuffer_ms)} in all` : "");
  figures.buffer.set(playing ? seconds(s.buffer_ms, 1) : NOTHING, "");
}

/** What the stream has; and what this device shows of it, where that is clearly less. */
function shownRate(measured: number | null): string {
  const declared = session.status?.video?.frame_rate ?? null;
  if (declared === null) return frameRate(measured === null ? null : Math.round(measured));
  return measured !== null && measured < 0.9 * declared ? `${Math.round(measured)} of ${frameRate(declared)}` : frameRate(declared);
}

/** Low delay, or more in reserve for a weak line. Kept for the next visit. */
function distance(of: Session): HTMLElement {
  const steady = remembered();
  of.setSteady(steady);
  const option = (label: string, value: boolean): HTMLElement => {
    const input = h("input", { type: "radio", name: "distance", checked: value === steady });
    input.addEventListener("change", () => {
      of.setSteady(value);
      remember(value);
    });
    return h("label", {}, input, h("span", {}, label));
  };
  return h("fieldset", { class: "segmented" }, h("legend", {}, "Distance from live"), option("Low delay", false), option("Steady, 5 s", true));
}

function remembered(): boolean {
  try {
    return localStorage.getItem(STEADY_KEY) === "1";
  } catch {
    return false;
  }
}

function remember(steady: boolean): void {
  try {
    localStorage.setItem(STEADY_KEY, steady ? "1" : "0");
  } catch {
    // Storage may be switched off: the choice then lasts for this visit.
  }
}
