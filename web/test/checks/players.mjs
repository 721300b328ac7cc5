// Other players, from a page of another origin: shaka-player on HLS, mpegts.js on HTTP-FLV.

import { openPage } from "../browser.mjs";
import { expect } from "../waiting.mjs";

/** Three seconds of the test picture: so far played, it plays. */
const PLAYED_FRAMES = 90;

const START = {
  shaka: {
    script: "/shaka.js",
    begin: async (url) => {
      const player = new window.shaka.Player();
      const video = document.querySelector("video");
      player.addEventListener("error", (event) => (window.trouble = `shaka error ${event.detail.code}: ${event.detail.data}`));
      await player.attach(video);
      await player.load(url).catch((error) => {
        throw new Error(`shaka error ${error.code}: ${error.data}`);
      });
      await video.play();
    },
    path: (name) => `/live/${name}/index.m3u8`,
  },
  mpegts: {
    script: "/mpegts.js",
    begin: async (url) => {
      const video = document.querySelector("video");
      const player = window.mpegts.createPlayer({ type: "flv", isLive: true, url, cors: true });
      player.on(window.mpegts.Events.ERROR, (type, detail) => (window.trouble = `mpegts.js: ${type} ${detail}`));
      player.attachMediaElement(video);
      player.load();
      // Resolves with the first picture, or never: what follows waits with a bound.
      void player.play();
    },
    path: (name) => `/live/${name}.flv`,
  },
};

export async function plays(which, { browser, bench, daemon, name }) {
  const { script, begin, path } = START[which];
  const page = await openPage(browser);
  try {
    await page.goto(bench.url);
    await page.addScriptTag({ url: script });
    const refused = await page.evaluate(begin, daemon.http + path(name)).catch((error) => error.message.split("\n")[0]);
    expect(!refused, `${refused} ${await page.evaluate(() => window.trouble ?? "")}`);
    await page.waitForFunction((n) => window.trouble || document.querySelector("video").getVideoPlaybackQuality().totalVideoFrames >= n, PLAYED_FRAMES, { timeout: 15_000 });
    const end = await page.evaluate(() => {
      const video = document.querySelector("video");
      const quality = video.getVideoPlaybackQuality();
      return { trouble: window.trouble, frames: quality.totalVideoFrames, dropped: quality.droppedVideoFrames, width: video.videoWidth, soundBytes: video.webkitAudioDecodedByteCount };
    });
    expect(!end.trouble, end.trouble);
    expect(end.soundBytes > 0, "a picture without sound");
    return `${end.frames} frames of width ${end.width}, ${end.dropped} dropped`;
  } finally {
    await page.context().close();
  }
}
