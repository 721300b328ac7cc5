// The box's page: who it is, what is live, how to watch and how to stream. Health only if the box lets this visitor
// read it; otherwise that part stays away.

import { ask, type Box, type Giving, type ListedStream, type WatchList } from "./page/api";
import { elsewhere, place } from "./page/addresses";
import { h, main, renew, say } from "./page/dom";
import { bytes, count, duration, picture } from "./page/format";
import { factsOf } from "./studio/giving";
import { SetupPanel } from "./studio/setup";

const LIST_MS = 2000;
const BOX_MS = 10_000;

const title = h("h1", {}, location.hostname);
const summary = h("p", { class: "lede" }, "Looking for streams…");
const notices = h("div", { class: "trouble", "aria-live": "polite" });
const trouble = h("div", { class: "trouble", "aria-live": "polite" });
const live = h("ul", { class: "streams", "aria-label": "Live now" });
const quiet = h("ul", { class: "streams-quiet", "aria-label": "Not live" });
const empty = h("div", { class: "empty", hidden: true });
const setup = new SetupPanel({ onlyFirst: true });
const about = h("section", { class: "about", hidden: true, "aria-labelledby": "about" });

empty.append(
  h("h2", {}, "Nothing is live right now"),
  h("p", {}, "When a stream starts, it appears here by itself."),
  h("a", { class: "button", href: "/studio" }, "Set up a stream"),
);
main().append(h("div", { class: "intro" }, title, summary), notices, setup.element, trouble, live, empty, quiet, about);

void repeat(refreshList, LIST_MS);
void repeat(refreshBox, BOX_MS);
void repeat(() => setup.refresh(), BOX_MS);

async function repeat(refresh: () => Promise<void>, everyMs: number): Promise<void> {
  for (;;) {
    if (!document.hidden) await refresh();
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

async function refreshList(): Promise<void> {
  let list: WatchList;
  try {
    list = await ask<WatchList>("/live/index.json");
  } catch {
    say(summary, "The box does not answer. Trying again…");
    return;
  }
  say(title, list.box);
  const mend = list.notices ?? [];
  renew(notices, JSON.stringify(mend), () =>
    mend.length === 0 ? [] : [h("section", { class: "alert" }, h("h2", {}, "Something to mend"), h("ul", {}, ...mend.map((text) => h("li", { class: "notice" }, text))))],
  );
  document.title = `${list.box} · Relaybox`;
  const on = list.streams.filter((stream) => stream.state === "live");
  const off = list.streams.filter((stream) => stream.state !== "live");
  say(summary, on.length === 0 ? "Live video from this box." : `${count(on.length, "stream")} live now.`);
  empty.hidden = on.length > 0;
  sync(live, on, liveCard, refreshCard);
  renew(quiet, off.map((stream) => stream.name + stream.state).join("/"), () =>
    off.map((stream) => h("li", {}, h("a", { href: place(stream.name).base }, stream.name), h("span", {}, stream.state === "waiting" ? "starting" : "not live"))),
  );
  quiet.hidden = off.length === 0;
}

/** Keeps a row for each stream, so that an open fold stays open while figures change. */
function sync(list: HTMLElement, streams: ListedStream[], make: (stream: ListedStream) => HTMLElement, refresh: (row: HTMLElement, stream: ListedStream) => void): void {
  const rows = new Map([...list.children].map((row) => [(row as HTMLElement).dataset["name"], row as HTMLElement]));
  for (const stream of streams) {
    const row = rows.get(stream.name) ?? list.appendChild(make(stream));
    rows.delete(stream.name);
    refresh(row, stream);
  }
  for (const gone of rows.values()) gone.remove();
}

function liveCard(stream: ListedStream): HTMLElement {
  return h(
    "li",
    { class: "panel stream", "data-name": stream.name },
    h(
      "div",
      { class: "stream-head" },
      h("div", { class: "stream-name" }, h("h2", {}, stream.name), h("span", { class: "pill", "data-state": "live" }, "Live")),
      h("p", { class: "stream-facts" }),
      h("a", { class: "button primary", href: place(stream.name).base, "aria-label": `Watch ${stream.name}` }, "Watch"),
    ),
    h("details", { class: "fold" }, h("summary", {}, "On a phone, a TV or in VLC"), elsewhere(place(stream.name))),
  );
}

function refreshCard(row: HTMLElement, stream: ListedStream): void {
  const facts = [
    picture(stream),
    stream.since_unix_ms ? `for ${duration((Date.now() - stream.since_unix_ms) / 1000)}` : "",
    stream.viewers > 0 ? count(stream.viewers, "viewer") : "",
  ];
  const element = row.querySelector(".stream-facts");
  if (element) say(element, facts.filter(Boolean).join(" · "));
}

async function refreshBox(): Promise<void> {
  let box: Box;
  try {
    box = await ask<Box>("/api/v1/box");
  } catch {
    // Not for this visitor (403), or no answer, of which the list tells already.
    about.hidden = true;
    trouble.replaceChildren();
    return;
  }
  const { ok, problems } = box.health;
  renew(trouble, JSON.stringify(problems), () =>
    ok && problems.length === 0 ? [] : [h("section", { class: "alert" }, h("h2", {}, "The box needs a look"), h("ul", {}, ...problems.map((p) => h("li", {}, p.text))))],
  );
  const facts: [string, string][] = [
    ["Running for", duration(box.uptime_s)],
    ["Version", box.version],
    ["Kept for viewers", `${bytes(box.cache_bytes)} of ${bytes(box.cache_bytes_max)}`],
    ["Takes streams on", [box.rtmp_port ? `RTMP ${box.rtmp_port}` : "", box.rtmps_port ? `RTMPS ${box.rtmps_port}` : ""].filter(Boolean).join(", ") || "nothing"],
  ];
  const giving = await ask<Giving | null>("/api/v1/giving").catch(() => null);
  about.hidden = false;
  renew(about, JSON.stringify([facts, giving && factsOf(giving)]), () => [
    h("h2", { id: "about" }, "About this box"),
    h("dl", {}, ...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    giving && h("p", { class: "hint" }, factsOf(giving), " ", h("a", { href: "/studio#giving" }, "Change it")),
  ]);
}
