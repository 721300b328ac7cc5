// A mesh on one machine: a coordinator with a door for viewers, and one box that joined it. The box's network is not
// brought up (it would take rights), so nobody relays; but it is a member, signs its streams, and tells where it serves.

import { execFileSync, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startDaemon } from "./daemon.mjs";
import { until } from "./waiting.mjs";

const START_MS = 20_000;

export async function startMesh({ coordinator, relayd }, { name, key }) {
  const dir = await mkdtemp(join(tmpdir(), "relaybox-mesh-"));
  const data = ["--data-dir", join(dir, "service")];
  const root = ["--root-dir", join(dir, "operator")];
  const say = (program, ...args) => execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
  say(coordinator, "init", ...data, ...root);
  const doors = ["--listen", "127.0.0.1:0", "--stun", "127.0.0.1:0,127.0.0.1:0", "--watch", "127.0.0.1:0"];
  const service = spawn(coordinator, ["serve", "--heartbeat-s", "1", ...doors, ...data], { stdio: "ignore" });
  const ended = new Promise((resolve) => service.once("exit", resolve));
  const stop = async () => {
    service.kill("SIGKILL");
    await ended;
    await rm(dir, { recursive: true, force: true });
  };
  try {
    await until(START_MS, "the coordinator", () => readFile(join(dir, "service/listen"), "utf8").catch(() => null));
    const watch = (await readFile(join(dir, "service/watch"), "utf8")).trim();
    const box = join(dir, "box");
    await mkdir(box);
    say(relayd, "join", say(coordinator, "invite", ...data, ...root, "--name", "ana", "--quiet"), "--data-dir", box);
    await writeFile(join(box, "relayd.toml"), '[mesh]\ninterface = "lo"\n');
    const daemon = await startDaemon(relayd, { name, key, joined: box });
    return {
      daemon,
      page: `http://${watch}/watch/${name}`,
      async stop() {
        await daemon.stop();
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
