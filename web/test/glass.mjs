// A box's own player page, watched from outside for a while, for whoever compares boxes: prints one line of JSON.
//
//   XTASK=path/to/xtask node web/test/glass.mjs URL [--seconds N]
//
// Milliseconds: p50 and p95 from the clock in the picture to the screen, skew of sound against picture (median, worst),
// the longest stand; rebuffers and pairs are counts. Needs Debian's chromium and ffmpeg.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startBench } from "./bench-page.mjs";
import { launch, openPage } from "./browser.mjs";
import { calibrate } from "./checks/calibration.mjs";
import { watch } from "./checks/watching.mjs";

/** Calibrating, the page, and the first picture. */
const AROUND_MS = 120_000;
const PICTURE_MS = 30_000;

const url = process.argv[2];
const flag = process.argv.indexOf("--seconds");
const seconds = flag > 0 ? Number(process.argv[flag + 1]) : 30;
if (!url?.startsWith("http") || !(seconds >= 5 && seconds <= 3600)) throw new Error("a page's URL, and --seconds 5 to 3600");

const stops = [];
const watchdog = setTimeout(() => {
  console.error("this took too long");
  void end(1);
}, AROUND_MS + seconds * 1000);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => void end(1));

try {
  console.log(JSON.stringify(await look()));
} catch (error) {
  console.error(error.message);
  await end(1);
}
await end(0);

async function look() {
  const folder = await mkdtemp(join(tmpdir(), "relaybox-glass-"));
  stops.push(() => rm(folder, { recursive: true, force: true }));
  const bench = await startBench();
  stops.push(() => bench.stop());
  const browser = await launch();
  stops.push(() => browser.close());
  const biasMs = await calibrate({ browser, bench, folder });
  const page = await openPage(browser, { bypassCSP: true });
  await page.goto(url);
  await page.waitForFunction(() => window.relaybox.stats().frames > 0, null, { timeout: PICTURE_MS });
  const { p50, p95, skewMs, worstSkewMs, pairs, rebuffers, longestGapMs } = await watch(page, seconds, biasMs, folder);
  return { p50_ms: p50, p95_ms: p95, skew_ms: skewMs, worst_skew_ms: worstSkewMs, pairs, rebuffers, stand_ms: longestGapMs };
}

async function end(status) {
  clearTimeout(watchdog);
  for (const stop of stops.reverse()) await stop().catch(() => {});
  process.exit(status);
}
