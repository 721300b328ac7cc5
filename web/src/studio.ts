// The streamer's page: behind the box's PIN. Shows each stream as the box sees it, once a second, and changes what
// a streamer may change.

import { ApiError, ask, type Studio } from "./page/api";
import { h, main, renew, say } from "./page/dom";
import { clockTime } from "./page/format";
import { creation } from "./studio/creation";
import { StreamCard } from "./studio/card";
import { GivingPanel } from "./studio/giving";
import { SetupPanel } from "./studio/setup";
import { login } from "./studio/login";

const REFRESH_MS = 1000;
/** Rounds between two looks at how far the box is set up. */
const SETUP_EVERY = 5;

const room = main();
void open();

/** Asks with whatever session there is, and shows the PIN form if there is none. */
async function open(): Promise<void> {
  for (;;) {
    try {
      const studio = await ask<Studio>("/api/v1/studio");
      room.replaceChildren();
      await work(studio);
    } catch (error) {
      if (!isLocked(error)) {
        room.replaceChildren(h("p", { class: "lede", role: "status" }, "The box does not answer. Trying again…"));
        await pause(REFRESH_MS * 2);
        continue;
      }
    }
    await login(room);
  }
}

function isLocked(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 401 || error.status === 403);
}

/** Returns when the session is over. */
async function work(first: Studio): Promise<void> {
  const cards = new Map<string, StreamCard>();
  const list = h("div", { class: "cards" });
  const lost = h("p", { class: "alert bad", role: "status", hidden: true });
  const giving = new GivingPanel();
  const setup = new SetupPanel({ onlyFirst: false });
  const refusals = h("section", { class: "refusals", "aria-labelledby": "refusals" });
  const leave = h("button", { type: "button", class: "button quiet" }, "Lock");
  leave.addEventListener("click", () => void ask("/api/v1/session", { method: "DELETE" }).catch(() => {}));
  room.replaceChildren(h("div", { class: "studio-head" }, h("h1", {}, "Studio"), leave), lost, list, creation(() => {}), giving.element, setup.element, refusals);

  let studio: Studio | null = first;
  let round = 0;
  try {
    for (;;) {
      if (studio) {
        refresh(studio, cards, list);
        showRefusals(refusals, studio);
        void giving.refresh();
        if (round++ % SETUP_EVERY === 0) void setup.refresh();
      }
      lost.hidden = studio !== null;
      if (!studio) say(lost, "The box does not answer. What you see is from before; trying again…");
      await pause(REFRESH_MS);
      studio = document.hidden && studio ? studio : await next();
    }
  } catch (error) {
    if (!isLocked(error)) throw error;
  } finally {
    for (const card of cards.values()) card.close();
  }
}

/** The next state, or null if the box did not answer; throws when the session is over. */
async function next(): Promise<Studio | null> {
  try {
    return await ask<Studio>("/api/v1/studio");
  } catch (error) {
    if (isLocked(error)) throw error;
    return null;
  }
}

function refresh(studio: Studio, cards: Map<string, StreamCard>, list: HTMLElement): void {
  const names = new Set(studio.streams.map((stream) => stream.status.name));
  for (const [name, card] of cards) {
    if (names.has(name)) continue;
    card.close();
    cards.delete(name);
  }
  for (const stream of studio.streams) {
    const { name } = stream.status;
    const known = cards.get(name);
    const card = known ?? new StreamCard(name, studio.server_port);
    if (!known) {
      cards.set(name, card);
      list.append(card.element);
    }
    card.show(stream);
  }
}

function showRefusals(element: HTMLElement, { refusals }: Studio): void {
  const newest = [...refusals].sort((a, b) => b.at_unix_ms - a.at_unix_ms);
  renew(element, JSON.stringify(newest), () => [
    h("h2", { id: "refusals" }, "Refused publishers"),
    newest.length === 0
      ? h("p", { class: "hint" }, "No one was turned away since the box started. A wrong key or an unsupported codec would be listed here, with the reason.")
      : h(
          "ul",
          {},
          ...newest.map((r) =>
            h("li", {}, h("time", { datetime: new Date(r.at_unix_ms).toISOString() }, clockTime(r.at_unix_ms)), h("span", {}, r.text), h("code", {}, r.peer)),
          ),
        ),
  ]);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
