// Only the checks of a viewer whose box dies: `RELAYD=path XTASK=path node test/moving.mjs [ROUNDS]`.

import { launch } from "./browser.mjs";
import { moves, stays } from "./checks/moving.mjs";
import { startDaemon } from "./daemon.mjs";
import { Report } from "./report.mjs";
import { publish } from "./source.mjs";

const rounds = Number(process.argv[2] ?? 1);
const NAME = "demo";
const KEY = "moving-key";
const report = new Report();
const daemon = await startDaemon(process.env.RELAYD, { name: NAME, key: KEY });
const publisher = publish(daemon.publishUrl);
const browser = await launch();
const complaints = [];
const world = { browser, daemon, name: NAME, complaints };
try {
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
  await publisher.stop();
  await daemon.stop();
}
for (const complaint of new Set(complaints)) console.log(complaint);
process.exit(report.close() ? 0 : 1);
