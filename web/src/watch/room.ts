// What a page around one player consists of: picture, state, distance from live, quality counters, addresses for other
// players. Shared by the box's player page and the coordinator's watch page, which differ in where the stream is.

import { h, main, say } from "../page/dom";
import { bitrate, codecNames, count, frameRate, NOTHING, seconds } from "../page/format";
import type { Source } from "./loader";
import type { Session, Stats } from "./session";
import { stage } from "./stage";
import { showsPicture, words, type WatchState } from "./state";

const REFRESH_MS = 500;
const STEADY_KEY = "relaybox.steady";

declare global {
  interface Window {
    /** For tests and for the curious. */
    relaybox?: { readonly hls: unknown; stats(): Stats };
  }
}

/** Fills the page; `below` stands under the figures. */
export function openRoom(name: string, source: Source, ...below: HTMLElement[]): Session {
  document.title = `${name} · Relaybox`;
  const pill = h("span", { class: "pill", "data-state": "connecting" });
  const { element, session } = stage(name, source, { onstate: (state) => showState(pill, state) });
  const figures = new Figures(session);
  const title = h("div", { class: "title-row" }, h("h1", {}, name), pill, viewersText(session));
  main().append(element, h("div", { class: "under-stage" }, title, distance(session)), figures.element, ...below);
  window.relaybox = {
    get hls() {
      return session.hls;
    },
    stats: () => session.stats(),
  };
  setInterval(() => figures.refresh(), REFRESH_MS);
  addEventListener("pagehide", (event) => {
    if (!event.persisted) session.close();
  });
  return session;
}

function showState(pill: HTMLElement, state: WatchState): void {
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

interface Figure {
  element: HTMLElement;
  set(value: string, note?: string): void;
}

function figure(label: string, title?: string): Figure {
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

class Figures {
  readonly #latency = figure("Behind live", "From the streamer's encoder to this screen, by the times written in the playlist");
  readonly #quality = figure("Picture");
  readonly #rate = figure("Bit rate");
  readonly #dropped = figure("Dropped frames");
  readonly #rebuffers = figure("Rebuffers");
  readonly #buffer = figure("In reserve", "Media that is loaded and not yet shown");
  readonly element = h("dl", { class: "figures", hidden: true }, ...[this.#latency, this.#quality, this.#rate, this.#dropped, this.#rebuffers, this.#buffer].map((f) => f.element));

  constructor(private readonly session: Session) {}

  refresh(): void {
    const s = this.session.stats();
    const playing = showsPicture(s.state);
    this.element.hidden = s.frames === 0 && s.bitrate_bps === null;
    this.#latency.set(playing ? seconds(s.latency_ms, 2) : NOTHING, playing && s.target_latency_ms ? `target ${seconds(s.target_latency_ms, 1)} from the edge` : "");
    this.#quality.set(s.width && playing ? `${s.width}×${s.height}` : NOTHING, playing ? [this.#shownRate(s.frame_rate), codecNames(s.codecs)].filter((t) => t !== NOTHING).join(", ") : "");
    this.#rate.set(playing ? bitrate(s.bitrate_bps) : NOTHING, "");
    this.#dropped.set(String(s.dropped_frames), s.frames > 0 ? `of ${s.frames.toLocaleString("en")}` : "");
    this.#rebuffers.set(String(s.rebuffers), s.rebuffers > 0 ? `${seconds(s.rebuffer_ms)} in all` : "");
    this.#buffer.set(playing ? seconds(s.buffer_ms, 1) : NOTHING, "");
  }

  /** What the stream has; and what this device shows of it, where that is clearly less. */
  #shownRate(measured: number | null): string {
    const declared = this.session.status?.video?.frame_rate ?? null;
    if (declared === null) return frameRate(measured === null ? null : Math.round(measured));
    return measured !== null && measured < 0.9 * declared ? `${Math.round(measured)} of ${frameRate(declared)}` : frameRate(declared);
  }
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
