// The test picture (see xtask/src/source.rs): a frame number and a clock as rows of black and white cells, a white
// flash and a beep at each full second. ffmpeg makes and publishes it, with the arguments that `xtask publish --print`
// gives, so that there is one description of it. `probe.js` reads it back from the screen.

import { execFileSync, spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** What `probe.js` has to know. */
export const PICTURE = { width: 640, height: 360, rate: 30, cell: 16, numberBits: 24, clockBits: 16, clockHz: 50 };

const XTASK = process.env.XTASK ?? join(dirname(fileURLToPath(import.meta.url)), "../../target/debug/xtask");

/** Publishes until it is stopped, with a keyframe every `groupS` seconds. */
export function publish(url, { groupS = 2 } = {}) {
  const args = describe(url);
  for (const option of ["-g", "-keyint_min"]) args[args.indexOf(option) + 1] = String(groupS * PICTURE.rate);
  return run(args);
}

/** The same picture as a file, in step by construction, or with the sound late by so much: what the probe is held against. */
export function record(path, seconds, { lateMs = 0 } = {}) {
  const args = describe(path, "--seconds", String(seconds)).filter((word) => word !== "-re");
  args.splice(args.indexOf("-flvflags"), 2);
  args.splice(args.indexOf("flv"), 1, "mp4", "-y");
  if (lateMs) args.splice(args.indexOf("-c:a"), 0, "-af", `adelay=${lateMs}:all=1`);
  return run(args).ended;
}

function describe(target, ...more) {
  const { width, height, rate } = PICTURE;
  const size = ["--width", width, "--height", height, "--frame-rate", rate].map(String);
  return JSON.parse(execFileSync(XTASK, ["publish", target, ...size, ...more, "--print"], { encoding: "utf8" }));
}

function run(args) {
  const child = spawn("ffmpeg", args, { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk) => {
    said = (said + chunk).slice(-2000);
  });
  const ended = new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, said }));
  });
  return {
    ended,
    async stop() {
      child.kill("SIGKILL");
      await ended.catch(() => {});
    },
  };
}
