// Takes pictures of every page in every look, on the fixture: `node test/shots.mjs [FOLDER] [WORD...]`; words choose.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { launch, openPage } from "./browser.mjs";
import { startFixture } from "./fixture.mjs";

const [folder = "shots", ...wanted] = process.argv.slice(2);
await mkdir(folder, { recursive: true });
const fixture = await startFixture();
const browser = await launch();
const complaints = [];

const NIGHT = { from: "22:00", to: "07:00", limit_kbps: 0 };
const GIVING = { wish: { limit_kbps: 3000, paused: false, zone: "Europe/Berlin", quiet: [NIGHT, { from: "12:00", to: "13:30", limit_kbps: 500 }] }, ceiling_kbps: null, now_kbps: 0, why: "quiet", until: "07:00", local_time: "22:14", zone_here: "Etc/UTC", sending_bps: 0 };

const NEW = { name: "relaybox", first: true, joined: false, wifi: null, resettable: true };

const VIEWS = {
  box: { path: "/" },
  "box-fold": { path: "/", act: (page) => page.locator(".stream summary").first().click() },
  "box-empty": { path: "/", scene: { live: false, streams: ["studio-one"], problems: [{ code: "clock", text: "The clock is not set: times in playlists are wrong. Check that the box reaches a time server." }] } },
  player: { path: "/live/studio-one", settled: (page) => page.waitForFunction(() => window.relaybox.stats().frames > 90) },
  watch: { path: "/watch/studio-one", settled: (page) => page.waitForFunction(() => window.relaybox.stats().frames > 90) },
  "watch-nobody": { path: "/watch/nobody", settled: (page) => page.getByText("No such stream").waitFor() },
  "player-waiting": { path: "/live/garden", settled: (page) => page.getByText("Waiting for the stream").waitFor() },
  "player-unknown": { path: "/live/nobody", settled: (page) => page.getByText("No such stream").waitFor() },
  "player-locked": { path: "/live/secret", settled: (page) => page.getByText("ask the streamer for one").waitFor() },
  login: { path: "/studio", settled: (page) => page.getByLabel("PIN").waitFor() },
  studio: { path: "/studio", scene: { studioOpen: true }, settled: async (page) => { await page.locator(".graph-line").first().waitFor(); await page.locator(".screen .stage[data-state=playing]").waitFor(); await page.waitForTimeout(1500); } },
  "studio-link": { path: "/studio", scene: { studioOpen: true, live: false, streams: ["studio-one"], refusals: false }, settled: async (page) => { await page.getByText("Who may watch").first().click(); await page.getByLabel("By link").check(); await page.getByLabel("For whom").fill("ana"); await page.getByRole("button", { name: "Make a link" }).click(); await page.getByText("Good until").waitFor(); } },
  "studio-empty": { path: "/studio", scene: { studioOpen: true, live: false, streams: ["studio-one"], refusals: false }, settled: (page) => page.locator(".card").waitFor() },
  giving: { path: "/studio", scene: { studioOpen: true, live: false, streams: ["studio-one"], refusals: false, giving: GIVING }, settled: async (page) => { await page.getByText("Limit and quiet hours").click(); await page.getByLabel("Quiet hours").locator("li").first().waitFor(); } },
  "box-giving": { path: "/", scene: { live: false, streams: ["studio-one"], studioOpen: true, giving: { ...GIVING, why: "limit", now_kbps: 3000, until: null, sending_bps: 1_240_000 } }, settled: (page) => page.getByText("Change it").waitFor() },
  "box-new": { path: "/", scene: { live: false, streams: [], setup: NEW }, settled: async (page) => { await page.getByLabel("Invite").fill("hello"); await page.getByLabel("A PIN").fill("480213"); await page.getByRole("button", { name: "Join" }).click(); await page.getByText("not an invite").waitFor(); } },
  "box-hotspot": { path: "/", scene: { live: false, streams: [], setup: { ...NEW, wifi: { state: "hotspot", name: "relaybox", around: ["our network"] } } }, settled: (page) => page.getByText("which Wi-Fi network").waitFor() },
  "studio-setup": { path: "/studio", scene: { studioOpen: true, live: false, streams: ["studio-one"], refusals: false, setup: { ...NEW, name: "attic", first: false, joined: true, wifi: { state: "connected", name: "our network", around: [] } } }, settled: async (page) => { await page.getByLabel("To be sure").fill("cellar"); await page.getByRole("button", { name: "Forget everything" }).click(); await page.getByText("This is not the box").waitFor(); } },
  "studio-pulled": { path: "/studio", scene: { studioOpen: true, refusals: false, streams: ["studio-one"], source: { text: "pulled from srs.example.org", state: "live", trouble: null } }, settled: (page) => page.getByText("pulled from").waitFor() },
  confirm: { path: "/studio", scene: { studioOpen: true, live: false, streams: ["studio-one"] }, settled: async (page) => { await page.getByText("Remove stream…").click(); await page.locator("dialog").waitFor(); } },
};

try {
  const calm = { ...fixture.scene };
  for (const [name, view] of Object.entries(VIEWS)) {
    if (wanted.length && !wanted.includes(name)) continue;
    for (const screen of ["phone", "desk"]) {
      for (const scheme of ["light", "dark"]) {
        Object.assign(fixture.scene, calm, view.scene);
        const page = await openPage(browser, { screen, scheme, complaints });
        await page.goto(fixture.url + view.path, { waitUntil: "load" });
        await view.settled?.(page);
        await view.act?.(page);
        await page.waitForTimeout(600);
        await page.screenshot({ path: join(folder, `${name}-${screen}-${scheme}.png`), fullPage: name !== "confirm" });
        await page.context().close();
      }
    }
  }
} finally {
  await browser.close();
  await fixture.stop();
}
for (const complaint of complaints) console.log(complaint);
console.log(complaints.length === 0 ? "no complaints" : `${complaints.length} complaints`);
