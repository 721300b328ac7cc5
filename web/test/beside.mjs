// The player page beside hls.js on nginx-rtmp's HLS: the same picture at the same time, each in a browser of its own,
// both with their default settings.
//
//   RELAYD=path/to/relayd node web/test/beside.mjs [--seconds N]
//
// Ten minutes unless told otherwise. Prints both lines, and ends with status 1 if the page breaks a promise. Needs
// Debian's chromium, ffmpeg, nginx and libnginx-mod-rtmp.

import { tmpdir } from "node:os";
import { startBench } from "./bench-page.mjs";
import { launch, openPage } from "./browser.mjs";
import { PROBE } from "./checks/calibration.mjs";
import { promises, watch } from "./checks/watching.mjs";
import { startDaemon } from "./daemon.mjs";
import { motion } from "./figures.mjs";
import { startNginx } from "./nginx.mjs";
import { PICTURE, publish } from "./source.mjs";
import { until } from "./waiting.mjs";

const NAME = "demo";
const RELAYD = process.env.RELAYD;
const flag = process.argv.indexOf("--seconds");
const seconds = flag > 0 ? Number(process.argv[flag + 1]) : 600;
if (!RELAYD || !(seconds >= 10 && seconds <= 3600)) throw new Error("RELAYD=path/to/relayd, and --seconds 10 to 3600");

const stops = [];
const keep = (thing) => {
  stops.push(() => thing.stop());
  return thing;
};
let failed = true;
try {
  failed = await compare();
} finally {
  for (const stop of stops.reverse()) await stop().catch(() => {});
}
process.exit(failed ? 1 : 0);

async function compare() {
  const daemon = keep(await startDaemon(RELAYD, { name: NAME, key: "beside-key" }));
  const nginx = keep(await startNginx());
  const bench = keep(await startBench());
  const browsers = [await launch(), await launch()];
  browsers.forEach((browser) => stops.push(() => browser.close()));
  keep(publish(daemon.publishUrl));
  keep(publish(nginx.publishUrl));

  const ours = await openPage(browsers[0], { bypassCSP: true });
  await ours.goto(`${daemon.http}/live/${NAME}`);
  await ours.waitForFunction(() => window.relaybox.stats().frames > 0, null, { timeout: 30_000 });
  const theirs = await openPage(browsers[1]);
  await playPeer(theirs, bench.url, nginx.playlist);

  const [page, peer] = await Promise.all([watch(ours, seconds, 0, tmpdir()), watchPeer(theirs)]);
  line("the page on LL-HLS", page, page.rebuffers);
  line("hls.js on nginx-rtmp", peer, peer.rebuffers);
  let broken = false;
  for (const name of ["glass to glass", "no rebuffer"]) {
    try {
      console.log(`ok  ${name}: ${promises[name](page)}`);
    } catch (error) {
      console.log(`FAILED  ${name}: ${error.message}`);
      broken = true;
    }
  }
  return broken;
}

/** nginx-rtmp has a playlist only once it has segments; hls.js is told when. */
async function playPeer(page, url, playlist) {
  await until(60_000, "nginx's playlist", () => fetch(playlist).then((answer) => answer.ok, () => false));
  await page.goto(url);
  await page.addScriptTag({ url: "/hls.js" });
  await page.evaluate((from) => {
    const hls = new window.Hls();
    const video = document.querySelector("video");
    hls.loadSource(from);
    hls.attachMedia(video);
    void video.play();
  }, playlist);
  await page.waitForFunction(() => document.querySelector("video").getVideoPlaybackQuality().totalVideoFrames > 30, null, { timeout: 60_000 });
}

async function watchPeer(page) {
  await page.addScriptTag({ path: PROBE });
  await page.evaluate((picture) => {
    const video = document.querySelector("video");
    window.waits = 0;
    video.addEventListener("waiting", () => (window.waits += 1));
    return window.startProbe(video, picture);
  }, PICTURE);
  const from = (await page.evaluate(() => performance.now())) + 3000;
  await until((seconds + 10) * 1000, "the time of measuring", () => page.evaluate((at) => performance.now() > at, from + seconds * 1000));
  const { seen, rebuffers } = await page.evaluate(() => ({ seen: window.probe, rebuffers: window.waits }));
  return { ...motion(seen, from), rebuffers };
}

function line(who, { p50, p95, shown, made, longestGapMs }, rebuffers) {
  const figures = `p50 ${Math.round(p50)} ms, p95 ${Math.round(p95)} ms, ${rebuffers} rebuffers, longest stand ${Math.round(longestGapMs)} ms`;
  console.log(`${who}: glass to glass ${figures}, ${shown} of ${made} frames, ${seconds} s`);
}
