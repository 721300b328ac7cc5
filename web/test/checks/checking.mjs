// The real coordinator's watch page, and a box that forges: nothing of it is shown, and it is left.

import { openPage } from "../browser.mjs";
import { expect, until } from "../waiting.mjs";
import { startBox, startStand } from "../watch/stand.mjs";

const stats = (page) => page.evaluate(() => window.relaybox.stats());
const CHECKED = 40;

/** /watch at the coordinator plays, and checks every part that it plays. */
export async function playsFromTheCoordinator({ browser, mesh, complaints }) {
  const page = await openPage(browser, { complaints });
  try {
    await page.goto(mesh.page);
    await page.waitForFunction((n) => window.relaybox.stats().frames > 90 && window.relaybox.stats().checked > n, CHECKED, { timeout: 40_000 });
    const { checked, box, latency_ms: latencyMs, rebuffers } = await stats(page);
    expect(box.startsWith(mesh.daemon.http), `it plays from ${box}`);
    return `${checked} parts held against the signature, ${Math.round(latencyMs)} ms behind live, ${rebuffers} rebuffers`;
  } finally {
    await page.context().close();
  }
}

/** As the coordinator tells it to players. */
export function signerOf(mesh) {
  return until(20_000, "the coordinator to know the stream's key", async () => (await fetch(`${mesh.page}/boxes.json`).then((answer) => answer.json())).key);
}

/** The first box bends a byte of each part. What reached the screen came from the other one. */
export async function leavesAForger({ browser, mesh, name, complaints }) {
  const key = await signerOf(mesh);
  const boxes = [await startBox(mesh.daemon.http, "mallory", "forge"), await startBox(mesh.daemon.http, "ana")];
  const stand = await startStand(name, boxes, key);
  const page = await openPage(browser, { complaints });
  try {
    await page.goto(stand.url);
    await page.waitForFunction((n) => window.relaybox.stats().frames > 90 && window.relaybox.stats().checked > n, CHECKED, { timeout: 40_000 });
    const { box, checked, trouble } = await stats(page);
    expect(box.startsWith(boxes[1].url), `it plays from ${box}`);
    expect(trouble === null, String(trouble));
    await page.getByText("gave what the streamer did not sign").waitFor({ timeout: 3000 });
    return `left at once; ${checked} parts checked since`;
  } finally {
    await page.context().close();
    await stand.stop();
    for (const box of boxes) await box.stop();
  }
}

/** Also without the browser's own Ed25519, which pages by plain HTTP don't have. */
export async function checksWithoutWebCrypto({ browser, mesh, complaints }) {
  const page = await openPage(browser, { complaints });
  try {
    await page.addInitScript(() => Object.defineProperty(crypto, "subtle", { value: undefined }));
    await page.goto(mesh.page);
    await page.waitForFunction((n) => window.relaybox.stats().frames > 90 && window.relaybox.stats().checked > n, CHECKED, { timeout: 40_000 });
    return `${(await stats(page)).checked} parts checked`;
  } finally {
    await page.context().close();
  }
}

/** Another player, hls.js as it is, by the coordinator's multivariant playlist with content steering. */
export async function playsBySteering({ browser, bench, mesh }) {
  const page = await openPage(browser);
  try {
    await page.goto(bench.url);
    await page.addScriptTag({ url: "/hls.js" });
    await page.evaluate((url) => {
      const player = new window.Hls();
      window.player = player;
      player.on(window.Hls.Events.STEERING_MANIFEST_LOADED, (_, { steeringManifest }) => (window.steering = steeringManifest));
      player.on(window.Hls.Events.ERROR, (_, data) => data.fatal && (window.trouble = data.details));
      player.attachMedia(document.querySelector("video"));
      player.loadSource(url);
      void document.querySelector("video").play();
    }, `${mesh.page}/index.m3u8`);
    await page.waitForFunction(() => window.trouble || (window.steering && document.querySelector("video").getVideoPlaybackQuality().totalVideoFrames > 90), null, { timeout: 30_000 });
    const seen = await page.evaluate(() => ({ trouble: window.trouble, steering: window.steering, order: window.player.pathwayPriority }));
    expect(!seen.trouble, seen.trouble);
    expect(seen.steering.TTL === 10 && seen.steering["PATHWAY-PRIORITY"].join() === "ana", JSON.stringify(seen.steering));
    return `pathways ${seen.order}`;
  } finally {
    await page.context().close();
  }
}
