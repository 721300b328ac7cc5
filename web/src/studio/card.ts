// One stream on the streamer's page: preview, facts, graphs, advice, and what OBS needs.

import { ApiError, ask, type Advice, type Source, type StudioStream } from "../page/api";
import { place, rtmpAddress, thisBox } from "../page/addresses";
import { copyField } from "../page/copy";
import { h, renew, say } from "../page/dom";
import { bitrate, bytes, count, duration, frameRate, NOTHING, picture, seconds, skew } from "../page/format";
import { Audience } from "./audience";
import { confirmed } from "./confirm";
import { Graph } from "./graph";

const STATE_WORDS = { live: "Live", waiting: "Starting", offline: "Offline" } as const;
const SOURCE_WORDS: Record<Source["state"], string> = {
  connecting: "The box is connecting.",
  waiting: "The server is there, and nothing comes yet.",
  live: "The picture appears with its first whole group of pictures.",
  held: "An encoder here has it now.",
  failed: "It does not come now.",
};

export class StreamCard {
  readonly element: HTMLElement;
  readonly #pill = h("span", { class: "pill" });
  readonly #facts = h("p", { class: "card-facts" });
  readonly #screen = h("div", { class: "screen" });
  readonly #advice = h("ul", { class: "advice", "aria-label": "Advice" });
  readonly #details = h("dl", { class: "details" });
  readonly #error = h("p", { class: "error-text", role: "alert" });
  readonly #graphs = {
    bitrate: new Graph({ label: "Bit rate", format: bitrate, span: { low: 0, high: 500_000 } }),
    frames: new Graph({ label: "Frame rate", format: frameRate, span: { low: 0, high: 10 } }),
    skew: new Graph({ label: "Sound against picture", format: skew, span: { low: -60, high: 60 }, fine: { low: -40, high: 40 } }),
  };
  readonly #key;
  readonly #setup: HTMLDetailsElement;
  readonly #audience: Audience;
  readonly #live = h("div", { class: "card-live" });
  #closePreview: (() => void) | null = null;
  #was: string | null = null;

  constructor(
    private readonly name: string,
    port: number,
  ) {
    this.#key = copyField("Stream key", "", { secret: true });
    this.#setup = this.#setupFold(port);
    this.#audience = new Audience(name, this.#path);
    this.#live.append(this.#screen, h("div", { class: "graphs" }, ...Object.values(this.#graphs).map((graph) => graph.element)));
    this.element = h(
      "section",
      { class: "panel card", "aria-label": `Stream ${name}` },
      h(
        "div",
        { class: "card-head" },
        h("div", { class: "title-row" }, h("h2", {}, name), this.#pill),
        this.#facts,
        h("a", { class: "button quiet", href: place(name).base }, "Open player"),
      ),
      this.#advice,
      this.#live,
      this.#details,
      this.#audience.element,
      this.#setup,
    );
  }

  #setupFold(port: number): HTMLDetailsElement {
    const rotate = h("button", { type: "button", class: "button" }, "New key…");
    const remove = h("button", { type: "button", class: "button danger" }, "Remove stream…");
    rotate.addEventListener("click", () => void this.#rotate());
    remove.addEventListener("click", () => void this.#remove());
    return h(
      "details",
      { class: "fold setup" },
      h("summary", {}, "Connect OBS"),
      h("p", { class: "hint" }, "In OBS: Settings, Stream, Service “Custom…”. Paste both, then Start Streaming."),
      h("div", { class: "setup-fields" }, copyField("Server", rtmpAddress(port)).element, this.#key.element),
      h("div", { class: "setup-actions" }, rotate, remove),
      this.#error,
    );
  }

  show(stream: StudioStream): void {
    const { status } = stream;
    const live = status.state === "live";
    this.#pill.dataset["state"] = status.state;
    say(this.#pill, STATE_WORDS[status.state]);
    say(this.#facts, this.#factsOf(stream));
    this.#key.set(stream.key);
    this.#audience.show(stream);
    this.#live.hidden = !live;
    this.#details.hidden = !live;
    if (this.#was !== status.state) {
      // The addresses are wanted while nothing is live; later they are in the way.
      this.#setup.open = !live && !status.source;
      this.#was = status.state;
      void this.#preview(live);
    }
    showAdvice(this.#advice, stream.advice);
    if (live) this.#figures(stream);
  }

  #factsOf({ status }: StudioStream): string {
    const { source } = status;
    if (status.state !== "live" && source) return `This stream is ${source.text}. ${SOURCE_WORDS[source.state]}`;
    if (status.state !== "live") return status.state === "waiting" ? "The encoder is connected. The picture appears with its first whole group of pictures." : "Start streaming in OBS and the picture appears here.";
    const since = status.since_unix_ms ? duration((Date.now() - status.since_unix_ms) / 1000) : "";
    const from = source && (source.state === "held" ? "from an encoder here" : source.text);
    return [since && `${since} on air`, from, picture(status), count(status.viewers, "viewer"), status.encoder ?? ""].filter(Boolean).join(" · ");
  }

  #figures({ status, history, offload }: StudioStream): void {
    const series = (pick: (s: StudioStream["history"][number]) => number | null): { atMs: number; value: number | null }[] =>
      history.map((sample) => ({ atMs: sample.at_unix_ms, value: pick(sample) }));
    this.#graphs.bitrate.show(series((s) => s.bitrate_bps));
    this.#graphs.frames.show(series((s) => s.frame_rate));
    this.#graphs.skew.show(series((s) => s.skew_ms));
    const keyframes = status.keyframe_interval_ms === null ? NOTHING : `${seconds(status.keyframe_interval_ms)}${longest(status.keyframe_interval_ms, status.keyframe_interval_ms_max)}`;
    const facts: [string, string][] = [
      ["Keyframe every", keyframes],
      ["Audio clock", status.drift_ppm === null ? NOTHING : `${status.drift_ppm >= 0 ? "+" : "−"}${Math.abs(Math.round(status.drift_ppm))} ppm`],
      ["Length of a part", status.part_target_ms === null ? NOTHING : `${Math.round(status.part_target_ms)} ms`],
      ["Longest segment", status.target_duration_s === null ? NOTHING : `${status.target_duration_s} s`],
    ];
    if (offload) facts.push(["Watched at friends’ boxes", bytes(offload.watched_bytes)], ["Sent from here for it", given(offload)]);
    renew(this.#details, JSON.stringify(facts), () => facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  }

  /** The player is loaded only for a stream that is live, and let go when it ends. */
  async #preview(live: boolean): Promise<void> {
    this.#closePreview?.();
    this.#closePreview = null;
    this.#screen.replaceChildren();
    if (!live) return;
    const { stage } = await import("../watch/stage");
    if (this.#was !== "live" || this.#closePreview) return;
    const { element, session } = stage(this.name, thisBox(place(this.name)), { preview: true });
    this.#screen.replaceChildren(element);
    this.#closePreview = () => session.close();
  }

  async #rotate(): Promise<void> {
    const sure = await confirmed({ title: `New key for ${this.name}?`, text: "The old key stops working at once. An encoder that is streaming with it is cut off and must be given the new one.", action: "Make a new key" });
    if (!sure) return;
    await this.#change(async () => {
      const { key } = await ask<{ key: string }>(`${this.#path}/key`, { method: "POST" });
      this.#key.set(key);
    });
  }

  async #remove(): Promise<void> {
    const sure = await confirmed({ title: `Remove ${this.name}?`, text: "Its key and its address stop working at once, and viewers are cut off. This can't be undone.", action: "Remove stream" });
    if (sure) await this.#change(() => ask(this.#path, { method: "DELETE" }));
  }

  get #path(): string {
    return `/api/v1/studio/streams/${encodeURIComponent(this.name)}`;
  }

  async #change(act: () => Promise<void>): Promise<void> {
    say(this.#error, "");
    try {
      await act();
    } catch (problem) {
      say(this.#error, problem instanceof ApiError ? problem.message : String(problem));
    }
  }

  close(): void {
    this.#closePreview?.();
    this.#closePreview = null;
    this.#was = null;
    this.element.remove();
  }
}

function longest(typicalMs: number, maxMs: number | null): string {
  return maxMs !== null && maxMs > typicalMs * 1.2 ? `, at most ${seconds(maxMs)}` : "";
}

function showAdvice(list: HTMLElement, advice: Advice[]): void {
  list.hidden = advice.length === 0;
  const label = { info: "Note", warn: "Improve", error: "Fix" } as const;
  renew(list, JSON.stringify(advice), () =>
    advice.map(({ severity, text }) => h("li", { "data-severity": severity }, h("strong", {}, label[severity] ?? "Note"), h("span", {}, text))),
  );
}

/** What left this box for friends, and which share of what they watched that is. */
function given({ watched_bytes: watched, given_bytes: gave }: NonNullable<StudioStream["offload"]>): string {
  return watched > 0 ? `${bytes(gave)}, ${Math.round((100 * gave) / watched)} %` : bytes(gave);
}
