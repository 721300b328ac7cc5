// Starts relayd on free ports with a data directory of its own, and ends it by its process id.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./waiting.mjs";

const START_MS = 20_000;
const STOP_MS = 5000;
const LOG_BYTES_MAX = 200_000;

/** By itself; or as a member, where `joined` is the data directory of a box that came in. */
export async function startDaemon(relayd, { name, key, joined = null }) {
  const dir = joined ?? (await mkdtemp(join(tmpdir(), "relaybox-browser-")));
  const alone = joined ? ["--config", join(dir, "relayd.toml")] : ["--standalone"];
  const args = ["run", ...alone, "--data-dir", dir, "--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--stream", `${name}:${key}`];
  const child = spawn(relayd, args, { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr.on("data", (chunk) => {
    log = (log + chunk).slice(-LOG_BYTES_MAX);
  });
  const ended = new Promise((resolve) => child.on("close", resolve).on("error", resolve));
  const stop = async () => {
    child.kill("SIGTERM");
    const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await ended;
    clearTimeout(killer);
    await rm(dir, { recursive: true, force: true });
  };
  try {
    const addresses = await until(START_MS, "relayd to write addresses.json", async () => {
      if (child.exitCode !== null) throw new Error(`relayd ended with status ${child.exitCode}:\n${log.slice(-3000)}`);
      return readFile(join(dir, "addresses.json"), "utf8").then(JSON.parse, () => null);
    });
    const pin = (await readFile(join(dir, "pin"), "utf8")).trim();
    return { http: `http://${addresses.http}`, publishUrl: `rtmp://${addresses.rtmp}/live/${key}`, pin, log: () => log, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
