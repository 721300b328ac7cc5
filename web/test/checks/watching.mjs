// The player page with its default settings, watched from outside: does it wait, start by itself, keep going, stay in
// step, stay close to live, and come back after the publisher did.

import { join } from "node:path";
import { motion, percentile, skews } from "../figures.mjs";
import { PICTURE } from "../source.mjs";
import { expect, until } from "../waiting.mjs";
import { PROBE } from "./calibration.mjs";

const SKEW_MS_MAX = 40;
const LATENCY_MS_MAX = 1500;
/** What a viewer does not call a freeze. */
const FREEZE_MS_MAX = 500;
/** Left out of the figures: the player finds its place. */
const SETTLE_MS = 3000;

const stats = (page) => page.evaluate(() => window.relaybox.stats());

export async function waits(page, url) {
  await page.goto(url);
  await page.getByText("Waiting for the stream to start").waitFor({ timeout: 8000 });
}

/** Returns the milliseconds from `publishedAt` to the first picture. */
export async function startsByItself(page, publishedAt) {
  await page.waitForFunction(() => window.relaybox.stats().frames > 0, null, { timeout: 15_000, polling: 50 });
  const tookMs = performance.now() - publishedAt;
  const { first_frame_ms: openMs } = await stats(page);
  return `picture ${(tookMs / 1000).toFixed(1)} s after the publisher began, ${Math.round(openMs)} ms after the playlist was opened`;
}

/** Watches for `seconds`; gives figures, or an error that names what is not as promised. */
export async function watch(page, seconds, biasMs, pictures) {
  await page.addScriptTag({ path: PROBE });
  await page.evaluate((picture) => window.startProbe(document.querySelector("video"), picture), PICTURE);
  const before = await stats(page);
  const from = (await page.evaluate(() => performance.now())) + SETTLE_MS;
  await until((seconds + 10) * 1000, "the time of measuring", () => page.evaluate((at) => performance.now() > at, from + seconds * 1000));
  const seen = await page.evaluate(() => window.probe);
  const after = await stats(page);
  await page.screenshot({ path: join(pictures, "watching.png") });

  const pairs = skews(seen, from).map((ms) => ms - biasMs);
  const moved = motion(seen, from);
  const result = {
    skewMs: percentile(pairs, 0.5),
    worstSkewMs: pairs.reduce((worst, ms) => (Math.abs(ms) > Math.abs(worst) ? ms : worst), 0),
    pairs: pairs.length,
    ...moved,
    ownLatencyMs: after.latency_ms,
    targetMs: after.target_latency_ms,
    dropped: after.dropped_frames - before.dropped_frames,
    rebuffers: after.rebuffers - before.rebuffers,
    reloads: after.reloads,
    seconds,
  };
  return result;
}

/** One function per promise, on the figures of `watch`. */
export const promises = {
  "sound and picture leave together": (r) => {
    expect(r.pairs >= r.seconds / 2, `only ${r.pairs} flashes with a beep in ${r.seconds} s`);
    expect(Math.abs(r.skewMs) <= SKEW_MS_MAX, `the beep comes ${r.skewMs.toFixed(1)} ms after the flash (median of ${r.pairs})`);
    return `skew ${r.skewMs.toFixed(1)} ms, worst ${r.worstSkewMs.toFixed(1)} ms of ${r.pairs}`;
  },
  "glass to glass": (r) => {
    expect(r.p50 <= LATENCY_MS_MAX, `p50 ${Math.round(r.p50)} ms`);
    return `p50 ${Math.round(r.p50)} ms, p95 ${Math.round(r.p95)} ms; the page's own figure ${Math.round(r.ownLatencyMs)} ms, hls.js aims at ${Math.round(r.targetMs)} ms from the edge`;
  },
  "no rebuffer": (r) => {
    expect(r.rebuffers === 0 && r.reloads === 0, `${r.rebuffers} rebuffers, ${r.reloads} reloads in ${r.seconds} s`);
    return `none in ${r.seconds} s`;
  },
  "keeps playing": (r) => {
    expect(r.longestGapMs < FREEZE_MS_MAX, `the picture stood still for ${Math.round(r.longestGapMs)} ms`);
    expect(r.backwards === 0, `${r.backwards} frames came out of order`);
    expect(r.shown > 0.5 * r.seconds * PICTURE.rate, `only ${r.shown} frames in ${r.seconds} s`);
    return `${r.shown} of ${r.made} frames seen, ${r.dropped} dropped, longest stand ${Math.round(r.longestGapMs)} ms`;
  },
};

/** After the publisher went away and came back: the page plays again, without a hand on it. */
export async function comesBack(page, stopPublisher, startPublisher) {
  await stopPublisher();
  await page.waitForFunction(() => !["playing", "catching-up"].includes(window.relaybox.stats().state), null, { timeout: 15_000 });
  const { frames, state } = await stats(page);
  const at = performance.now();
  startPublisher();
  await page.waitForFunction((n) => ["playing", "catching-up"].includes(window.relaybox.stats().state) && window.relaybox.stats().frames > n + 30, frames, { timeout: 25_000 });
  return `said "${state}", played again ${((performance.now() - at) / 1000).toFixed(1)} s after the publisher was back`;
}

/**
 * Another publisher with the same key takes over, and sends groups of pictures longer than the playlist's target
 * duration: the box opens a new playlist, and the page goes on with that.
 */
export async function followsNewPlaylist(page, takeOver) {
  const before = await stats(page);
  takeOver();
  await page.waitForFunction((n) => window.relaybox.stats().reloads > n, before.reloads, { timeout: 40_000 });
  const { frames } = await stats(page);
  await page.waitForFunction((n) => window.relaybox.stats().state === "playing" && window.relaybox.stats().frames > n + 60, frames, { timeout: 20_000 });
  const after = await stats(page);
  return `${after.reloads - before.reloads} reload, ${after.rebuffers - before.rebuffers} rebuffers`;
}

/** The steady setting moves to about five seconds behind and plays on. */
export async function steadies(page) {
  await page.getByLabel("Steady, 5 s").check();
  await page.waitForFunction(() => window.relaybox.stats().latency_ms > 4000 && window.relaybox.stats().state === "playing", null, { timeout: 10_000 });
  const far = await stats(page);
  await page.getByLabel("Low delay").check();
  await page.waitForFunction(() => window.relaybox.stats().latency_ms > 100 && window.relaybox.stats().latency_ms < 2000 && window.relaybox.stats().state === "playing", null, { timeout: 10_000 });
  const near = await stats(page);
  return `${(far.latency_ms / 1000).toFixed(1)} s behind, and back to ${(near.latency_ms / 1000).toFixed(1)} s`;
}
