// How far flash and beep lie apart for a file that is in step by construction: that is what Chromium's own picture and
// sound paths differ by, and what is taken off every skew measured after it.

import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { openPage } from "../browser.mjs";
import { percentile, skews } from "../figures.mjs";
import { PICTURE, record } from "../source.mjs";
import { expect, until } from "../waiting.mjs";

export const PROBE = join(dirname(fileURLToPath(import.meta.url)), "../probe.js");
const PAIRS = 5;
/** Half of the pairs lie nearer to the median: one late callback on a busy machine spoils nothing. */
const APART_MS_MAX = 8;
const PLANTED_MS = 100;

/** Beep minus flash for a file in step. */
export async function calibrate(world) {
  const bias = await measure(world, "in-step.mp4", 0);
  expect(Math.abs(bias) < 120, `${bias.toFixed(0)} ms is more than a browser's own paths differ by`);
  return bias;
}

/** A sound planted late has to be seen as late by as much: a probe that sees nothing would pass everything. */
export async function seesPlantedShift(world, biasMs) {
  const seen = (await measure(world, "late.mp4", PLANTED_MS)) - biasMs;
  expect(Math.abs(seen - PLANTED_MS) < 10, `a sound ${PLANTED_MS} ms late was measured as ${seen.toFixed(1)} ms late`);
  return `${PLANTED_MS} ms measured as ${seen.toFixed(1)} ms`;
}

async function measure({ browser, bench, folder }, name, lateMs) {
  const path = join(folder, name);
  const made = await record(path, 12, { lateMs });
  expect(made.code === 0, `ffmpeg could not make the file: ${made.said}`);
  bench.offer(`/${name}`, path);
  const page = await openPage(browser);
  try {
    await page.goto(bench.url);
    await page.addScriptTag({ path: PROBE });
    await page.evaluate(
      async ([picture, src]) => {
        const video = document.querySelector("video");
        video.src = src;
        await window.startProbe(video, picture);
        await video.play();
      },
      [PICTURE, `/${name}`],
    );
    const found = await until(15_000, "flashes and beeps of the file", async () => {
      const pairs = skews(await page.evaluate(() => window.probe));
      return pairs.length >= PAIRS ? pairs : null;
    });
    const middle = percentile(found, 0.5);
    const apart = found.map((ms) => Math.abs(ms - middle));
    expect(percentile(apart, 0.5) < APART_MS_MAX, `the probe is not steady here: ${found.map((ms) => ms.toFixed(0)).join(", ")} ms`);
    return middle;
  } finally {
    await page.context().close();
  }
}
