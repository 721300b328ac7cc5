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

export async function calibrate({ browser, bench, folder }) {
  const path = join(folder, "in-step.mp4");
  const made = await record(path, 12);
  expect(made.code === 0, `ffmpeg could not make the file: ${made.said}`);
  bench.offer("/in-step.mp4", path);
  const page = await openPage(browser);
  try {
    await page.goto(bench.url);
    await page.addScriptTag({ path: PROBE });
    await page.evaluate(async (picture) => {
      const video = document.querySelector("video");
      video.src = "/in-step.mp4";
      await window.startProbe(video, picture);
      await video.play();
    }, PICTURE);
    const found = await until(15_000, "flashes and beeps of the file", async () => {
      const pairs = skews(await page.evaluate(() => window.probe));
      return pairs.length >= PAIRS ? pairs : null;
    });
    const bias = percentile(found, 0.5);
    const spread = Math.max(...found) - Math.min(...found);
    expect(Math.abs(bias) < 120 && spread < 25, `the probe is not steady here: ${found.map((ms) => ms.toFixed(0)).join(", ")} ms`);
    return bias;
  } finally {
    await page.context().close();
  }
}
