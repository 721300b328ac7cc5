// The coordinator's page for one stream, /watch/NAME: asks which boxes carry it, plays it from the best of them that this
// browser reaches, and goes to another one when that dies.

import { ask } from "./page/api";
import { h, renew } from "./page/dom";
import { Boxes, type BoxAddress, type Fault } from "./watch/boxes";
import { BoxClock } from "./watch/clock";
import { Inspector } from "./watch/inspector";
import type { Source } from "./watch/loader";
import { isReachable } from "./watch/reach";
import { openRoom } from "./watch/room";
import { verifierOf } from "./watch/seals";

/** What the coordinator says; boxes best first, each with the addresses under which it serves viewers, best first. */
interface Steering {
  name: string;
  ttl_s: number;
  /** With which the stream is signed, in base64url. */
  key: string | null;
  boxes: { id: string; name: string; near: boolean; urls: string[] }[];
}

/** When the coordinator does not answer: it may be away for days, and the boxes go on. */
const AGAIN_MS = 5000;
const TTL_S_MIN = 2;

const [, opener, token, , linked] = location.pathname.split("/");
const isLinked = opener === "t";
const name = decodeURIComponent((isLinked ? linked : token) ?? "");
/** Below each box: the link goes along, and every box checks it for itself. */
const below = isLinked ? `/t/${token}/live/${name}` : `/live/${name}`;

const source: Source = { boxes: new Boxes([]), partMs: null };
const { boxes } = source;
/** The coordinator's: a box that replays old media would show an old clock too. */
const clock = new BoxClock();
let key: string | null = null;
const list = h("ul", { class: "box-list" });
const session = openRoom(name, source, h("section", { class: "panel", "aria-labelledby": "boxes" }, h("h2", { id: "boxes" }, "Boxes that carry it"), list));
let known: Steering["boxes"] = [];
void follow();
setInterval(show, 1000);

async function follow(): Promise<void> {
  for (;;) {
    let waitMs = AGAIN_MS;
    try {
      const sentMs = Date.now();
      const noteClock = (response: Response): void => clock.observe(response.headers.get("date"), sentMs, Date.now());
      const steering = await ask<Steering>(`${location.pathname.replace(/\/$/, "")}/boxes.json`, { seen: noteClock });
      await trust(steering.key);
      waitMs = 1000 * Math.max(TTL_S_MIN, steering.ttl_s);
      known = steering.boxes;
      const first = boxes.all.length === 0;
      boxes.update(known.flatMap(addresses));
      if (first && boxes.all.length > 0) session.retry();
    } catch {
      // What was said last still stands.
    }
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

/** What boxes give is held against this key, before the first of them is asked. */
async function trust(said: string | null): Promise<void> {
  if (said === null || said === key) return;
  source.inspector = new Inspector(await verifierOf(said), () => clock.now());
  key = said;
}

function addresses({ id, name: called, urls }: Steering["boxes"][number]): BoxAddress[] {
  return urls.filter((url) => isReachable(url)).map((url) => ({ id, name: called, base: url + below }));
}

function show(): void {
  const current = boxes.current?.id ?? null;
  const rows = known.map(({ id, name: called, near, urls }): Row => {
    const faults = boxes.all.filter((box) => box.id === id).map((box) => boxes.faultOf(box));
    return { called, near, url: urls[0] ?? null, reachable: faults.length > 0, isCurrent: id === current, fault: faults.find((fault) => fault !== null) ?? null };
  });
  renew(list, JSON.stringify(rows), () => (rows.length === 0 ? [h("li", { class: "hint" }, "No box carries this stream at the moment.")] : rows.map(row)));
}

interface Row {
  called: string;
  near: boolean;
  url: string | null;
  reachable: boolean;
  isCurrent: boolean;
  fault: Fault | null;
}

const FAULTS: Record<Fault, string> = { silent: "did not answer", broken: "broke off", behind: "did not have it yet", forged: "gave what the streamer did not sign: not asked any more" };

function row({ called, near, url, reachable, isCurrent, fault }: Row): HTMLElement {
  const said = isCurrent ? "You watch from here" : fault ? FAULTS[fault] : near ? "In your home" : "Ready";
  const own = url && h("a", { href: url + below }, "its own page");
  return h("li", { "data-current": isCurrent }, h("strong", {}, called), h("span", {}, reachable ? said : "This page can't reach it:"), reachable ? null : own);
}
