// A viewer of /watch whose box dies: it goes on with another one, within a second, with one short pause at most; in the
// steady setting with none.

import { openPage } from "../browser.mjs";
import { expect, until } from "../waiting.mjs";
import { startBox, startStand } from "../watch/stand.mjs";

/** From the death to the first answer of another box. */
const MOVED_MS_MAX = 1000;
const PAUSE_MS_MAX = 500;
/** A picture lasts 33 ms; six of them missing are seen. Less than that a busy test machine makes by itself. */
const PAUSE_MS_LEAST = 200;
/** After the death: longer than what the page has in reserve. */
const WATCHED_MS = 9000;
const STARTED_FRAMES = 90;

const stats = (page) => page.evaluate(() => window.relaybox.stats());

/** Keeps the times at which pictures were shown, and when the page moved to which box. */
const RECORDER = () => {
  const video = document.querySelector("video");
  window.seen = { frames: [], moves: [], seeks: [] };
  video.addEventListener("seeking", () => window.seen.seeks.push(performance.now()));
  const frame = (now) => {
    window.seen.frames.push(now);
    video.requestVideoFrameCallback(frame);
  };
  video.requestVideoFrameCallback(frame);
  let box = null;
  setInterval(() => {
    const at = window.relaybox.stats().box;
    if (at !== box) window.seen.moves.push({ at: performance.now(), box: at });
    box = at;
  }, 10);
};

/** `die` is "kill" or "mute". With a `key` each part is checked too. */
export async function moves({ browser, daemon, name, key, complaints }, die, { steady = false } = {}) {
  const boxes = [await startBox(daemon.http, "ana"), await startBox(daemon.http, "bob")];
  const stand = await startStand(name, boxes, key);
  const page = await openPage(browser, { complaints, bypassCSP: true });
  try {
    // As the page remembers it: the change itself is another check's affair.
    await page.addInitScript((value) => localStorage.setItem("relaybox.steady", value), steady ? "1" : "0");
    await page.goto(stand.url);
    await page.waitForFunction((n) => window.relaybox.stats().frames > n, STARTED_FRAMES, { timeout: 20_000 });
    const behindMs = steady ? 4000 : 0;
    await page.waitForFunction((ms) => window.relaybox.stats().state === "playing" && window.relaybox.stats().buffer_ms > 0.6 * ms && window.relaybox.stats().latency_ms > ms, behindMs, { timeout: 15_000 });
    await page.evaluate(RECORDER);
    await page.waitForFunction(() => window.seen.frames.length > 60, null, { timeout: 10_000 });
    const before = await stats(page);
    const own = boxes.find((box) => before.box.startsWith(box.url));
    const diedAt = await page.evaluate(() => performance.now());
    own[die]();
    await until(WATCHED_MS + 5000, "the time of watching", () => page.evaluate((at) => performance.now() > at, diedAt + WATCHED_MS));
    const seen = await page.evaluate(() => window.seen);
    return verdict(seen, before, await stats(page), diedAt, own, steady);
  } finally {
    await page.context().close();
    await stand.stop();
    for (const box of boxes) await box.stop();
  }
}

function verdict(seen, before, after, diedAt, own, steady) {
  const move = seen.moves.find(({ at, box }) => at >= diedAt && !box.startsWith(own.url));
  expect(move, "the page stayed with the dead box");
  const movedMs = move.at - diedAt;
  const frames = seen.frames.filter((at) => at > diedAt - 1000);
  const gaps = frames.slice(1).map((at, i) => at - frames[i]);
  const pauses = gaps.flatMap((ms, i) => (ms > PAUSE_MS_LEAST ? [`${Math.round(ms)} ms at ${Math.round(frames[i] - diedAt)} ms`] : []));
  const longest = Math.round(Math.max(...gaps, diedAt + WATCHED_MS - frames.at(-1)));
  const seeks = seen.seeks.map((at) => Math.round(at - diedAt));
  const said = `moved after ${Math.round(movedMs)} ms; pauses ${pauses.length ? pauses.join(", ") : "none"} (longest gap ${longest} ms); ${Math.round(before.buffer_ms)} ms in reserve before${seeks.length ? `; seeks at ${seeks.join(", ")} ms` : ""}`;
  expect(movedMs <= MOVED_MS_MAX, said);
  expect(longest <= PAUSE_MS_MAX && pauses.length <= 1, said);
  expect(!steady || pauses.length === 0, said);
  expect(after.reloads === before.reloads, `the playing was begun anew (${after.trouble}); ${said}`);
  return said;
}

/** Nobody dies: the page stays where it is, though boxes are asked beside each other now and then. */
export async function stays({ browser, daemon, name, key, complaints }, seconds) {
  const boxes = [await startBox(daemon.http, "ana"), await startBox(daemon.http, "bob")];
  const stand = await startStand(name, boxes, key);
  const page = await openPage(browser, { complaints });
  try {
    await page.goto(stand.url);
    await page.waitForFunction((n) => window.relaybox.stats().frames > n, STARTED_FRAMES, { timeout: 20_000 });
    const before = await stats(page);
    await page.waitForFunction((n) => window.relaybox.stats().frames > n, before.frames + 28 * seconds, { timeout: 2000 * seconds });
    const after = await stats(page);
    expect(after.rebuffers === before.rebuffers, `${after.rebuffers - before.rebuffers} rebuffers`);
    return `${after.moves} moves in ${seconds} s, ${after.rebuffers - before.rebuffers} rebuffers, ${Math.round(after.latency_ms)} ms behind live`;
  } finally {
    await page.context().close();
    await stand.stop();
    for (const box of boxes) await box.stop();
  }
}
