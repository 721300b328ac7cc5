// Only the checks of /watch: `RELAYD=path COORDINATOR=path XTASK=path node test/moving.mjs [ROUNDS]`.

import { launch } from "./browser.mjs";
import { startBench } from "./bench-page.mjs";
import { checksWithoutWebCrypto, leavesAForger, playsBySteering, playsFromTheCoordinator, signerOf } from "./checks/checking.mjs";
import { moves, stays } from "./checks/moving.mjs";
import { startMesh } from "./mesh.mjs";
import { Report } from "./report.mjs";
import { publish } from "./source.mjs";

const rounds = Number(process.argv[2] ?? 1);
const NAME = "demo";
const KEY = "moving-key";
const report = new Report();
const mesh = await startMesh({ coordinator: process.env.COORDINATOR, relayd: process.env.RELAYD }, { name: NAME, key: KEY });
const { daemon } = mesh;
const publisher = publish(daemon.publishUrl);
const browser = await launch();
const bench = await startBench();
const complaints = [];
const world = { browser, bench, mesh, daemon, name: NAME, complaints };
try {
  await report.check("/watch at the coordinator plays what was signed", 60_000, () => playsFromTheCoordinator(world));
  await report.check("and another player by content steering", 60_000, () => playsBySteering(world));
  await report.check("also without the browser's own Ed25519", 60_000, () => checksWithoutWebCrypto(world));
  await report.check("a box that forges shows nothing and is left", 60_000, () => leavesAForger(world));
  world.key = await signerOf(mesh);
  await report.check("a viewer stays with a box that does well", 60_000, () => stays(world, 15));
  for (let round = 1; round <= rounds; round += 1) {
    for (const die of ["kill", "mute"]) {
      for (const steady of [false, true]) {
        await report.check(`round ${round}: ${die}${steady ? ", steady" : ""}`, 60_000, () => moves(world, die, { steady }));
      }
    }
  }
} finally {
  await browser.close();
  await bench.stop();
  await publisher.stop();
  await mesh.stop();
}
for (const complaint of new Set(complaints)) console.log(complaint);
process.exit(report.close() ? 0 : 1);
