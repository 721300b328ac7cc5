// The browser profile: relayd as it is, a real publisher, real players in Chromium.
//
//   RELAYD=path/to/relayd COORDINATOR=path/to/coordinator-lite node web/test/run.mjs [--smoke] [--seconds N] [--pictures FOLDER]
//
// Prints one line per check and "N passed, N failed" at the end. Ends every process it started, by id, and ends itself
// after a bounded time. Needs Debian's chromium and ffmpeg, and web/dist (built if it is not there).

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { launch, openPage } from "./browser.mjs";
import { startBench } from "./bench-page.mjs";
import { checksWithoutWebCrypto, leavesAForger, playsBySteering, playsFromTheCoordinator } from "./checks/checking.mjs";
import { calibrate, seesPlantedShift } from "./checks/calibration.mjs";
import { takePictures } from "./checks/looks.mjs";
import { moves, stays } from "./checks/moving.mjs";
import { plays } from "./checks/players.mjs";
import { crossSiteRefused, foreignHostRefused, guessingSlowed, keepsStreams, liveFigures, showsRefusal, wrongThenRightPin } from "./checks/studio.mjs";
import { comesBack, followsNewPlaylist, promises, startsByItself, steadies, waits, watch } from "./checks/watching.mjs";
import { startDaemon } from "./daemon.mjs";
import { startMesh } from "./mesh.mjs";
import { Report } from "./report.mjs";
import { publish } from "./source.mjs";
import { checkPure } from "./pure.mjs";

const web = join(dirname(fileURLToPath(import.meta.url)), "..");
const options = parse(process.argv.slice(2));
const NAME = "demo";
const KEY = "browser-profile-key";
const report = new Report();

await checkPure(report);
await mkdir(options.pictures, { recursive: true });
if (!existsSync(join(web, "dist/index.html"))) execFileSync("npm", ["run", "--silent", "build"], { cwd: web, stdio: "inherit" });

const stops = [];
let ending = false;
const watchdog = setTimeout(() => {
  console.log("the run as a whole took too long");
  void end(1);
}, (options.seconds + 640) * 1000);

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => void end(1));
// Who reads this output may go away first (a pipe to head): the children must not be left behind.
process.stdout.on("error", () => void end(1));

try {
  await checkAll();
} catch (error) {
  await report.check("the run goes to its end", 1000, () => Promise.reject(error));
}
await end();

async function checkAll() {
  const daemon = keep(await startDaemon(options.relayd, { name: NAME, key: KEY }));
  const bench = keep(await startBench());
  const browser = await launch();
  stops.push(() => browser.close());
  const complaints = [];
  const world = { browser, bench, daemon, name: NAME, complaints, folder: options.pictures };

  let bias = 0;
  await report.check("the probe is calibrated", 60_000, async () => {
    bias = await calibrate(world);
    return `Chromium's own offset is ${bias.toFixed(1)} ms`;
  });

  await report.check("the probe sees a planted fault", 60_000, () => seesPlantedShift(world, bias));

  const page = await openPage(browser, { complaints, bypassCSP: true });
  let publisher = null;
  let publishedAt = 0;
  const begin = () => {
    publisher = keep(publish(daemon.publishUrl));
    publishedAt = performance.now();
  };
  await report.check("the player waits for a stream that is not there yet", 20_000, () => waits(page, `${daemon.http}/live/${NAME}`));
  begin();
  const started = await report.check("and starts by itself", 30_000, () => startsByItself(page, publishedAt));
  if (started) {
    let figures = null;
    await report.check("the player is watched", (options.seconds + 30) * 1000, async () => {
      figures = await watch(page, options.seconds, bias, options.pictures);
      return `${options.seconds} s`;
    });
    for (const [name, hold] of Object.entries(promises)) await report.check(name, 1000, async () => hold(figures));
    await report.check("the steady setting", 30_000, () => steadies(page));
    await report.check("comes back with the publisher", 45_000, () => comesBack(page, () => publisher.stop(), begin));
    if (!options.smoke) await report.check("goes on when a longer group opens a new playlist", 70_000, () => followsNewPlaylist(page, () => keep(publish(daemon.publishUrl, { groupS: 8 }))));
  }
  await page.context().close();

  await report.check("/watch: a viewer stays with a box that does well", 60_000, () => stays(world, 10));
  for (const die of ["kill", "mute"]) {
    for (const steady of [false, true]) await report.check(`/watch: the viewer's box dies (${die}${steady ? ", steady" : ""})`, 60_000, () => moves(world, die, { steady }));
  }
  await checkMesh(browser, bench, complaints);
  for (const which of ["shaka", "mpegts"]) await report.check(`${which} plays it from another origin`, 40_000, () => plays(which, world));
  await checkStudio(world);
  await report.check("no page complained", 1000, async () => {
    if (complaints.length) throw new Error([...new Set(complaints)].join("; "));
  });
}

async function checkMesh(browser, bench, complaints) {
  const mesh = keep(await startMesh({ coordinator: options.coordinator, relayd: options.relayd }, { name: NAME, key: KEY }));
  const publisher = keep(publish(mesh.daemon.publishUrl));
  const world = { browser, bench, mesh, daemon: mesh.daemon, name: NAME, complaints };
  await report.check("/watch at the coordinator plays what was signed", 60_000, () => playsFromTheCoordinator(world));
  await report.check("/watch: another player by content steering", 60_000, () => playsBySteering(world));
  await report.check("/watch: also without the browser's own Ed25519", 60_000, () => checksWithoutWebCrypto(world));
  await report.check("/watch: a box that forges shows nothing and is left", 60_000, () => leavesAForger(world));
  await publisher.stop();
}

async function checkStudio(world) {
  let studio = null;
  await report.check("studio: a wrong PIN is refused, the right one opens", 25_000, async () => {
    studio = await wrongThenRightPin(world);
  });
  await report.check("studio: a foreign Host is refused", 10_000, () => foreignHostRefused(world));
  if (studio) {
    await report.check("studio: preview and graphs are live", 30_000, () => liveFigures(studio));
    await report.check("studio: a refused publisher is shown with the reason", 20_000, () => showsRefusal(studio, world));
    await report.check("studio: a stream is made, re-keyed, removed", 25_000, () => keepsStreams(studio));
    await report.check("studio: another site's POST is refused", 15_000, () => crossSiteRefused(world, studio));
    const cookies = await studio.context().cookies();
    await studio.context().close();
    await report.check("all pages, light and dark, phone and desk", 120_000, () => takePictures(world, cookies));
  }
  await report.check("studio: guessing the PIN is slowed down", 20_000, () => guessingSlowed(world));
}

function keep(thing) {
  stops.push(() => thing.stop());
  return thing;
}

async function end(status) {
  if (ending) return;
  ending = true;
  clearTimeout(watchdog);
  for (const stop of stops.reverse()) await stop().catch(() => {});
  const passed = report.close();
  process.exit(status ?? (passed ? 0 : 1));
}

function parse(args) {
  const relayd = process.env.RELAYD ?? join(web, "../target/debug/relayd");
  const coordinator = process.env.COORDINATOR ?? join(web, "../target/debug/coordinator-lite");
  const parsed = { relayd: resolve(relayd), coordinator: resolve(coordinator), seconds: 60, smoke: false, pictures: join(web, "../target/browser") };
  for (let i = 0; i < args.length; i += 1) {
    if (args[i] === "--smoke") Object.assign(parsed, { smoke: true, seconds: 15 });
    else if (args[i] === "--seconds") parsed.seconds = Number(args[(i += 1)]);
    else if (args[i] === "--pictures") parsed.pictures = resolve(args[(i += 1)]);
    else fail(`unknown argument ${args[i]}`);
  }
  if (!Number.isInteger(parsed.seconds) || parsed.seconds < 5 || parsed.seconds > 3600) fail("--seconds takes 5 to 3600");
  if (!existsSync(parsed.relayd)) fail(`there is no relayd at ${parsed.relayd}: build it, or name it in RELAYD`);
  return parsed;
}

function fail(message) {
  console.error(message);
  process.exit(2);
}
