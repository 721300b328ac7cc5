// The pages' pure parts, each held against values worked out by hand.

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const SRC = join(dirname(fileURLToPath(import.meta.url)), "../src");

export async function checkPure(report) {
  for (const [name, [file, check]] of Object.entries(CHECKS)) {
    await report.check(name, 10_000, async () => check(await load(file)));
  }
}

async function load(file) {
  const { outputFiles } = await build({ entryPoints: [join(SRC, file)], bundle: true, format: "esm", write: false, logLevel: "silent" });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].text).toString("base64")}`);
}

const CHECKS = {
  "figures as people read them": [
    "page/format.ts",
    (f) => {
      assert.equal(f.bitrate(2_456_000), "2.46 Mbit/s");
      assert.equal(f.bitrate(12_340_000), "12.3 Mbit/s");
      assert.equal(f.bitrate(96_400), "96 kbit/s");
      assert.equal(f.bitrate(0), "0 kbit/s");
      assert.equal(f.bitrate(null), "–");
      assert.equal(f.bytes(999), "999 B");
      assert.equal(f.bytes(48_300_000), "48.3 MB");
      assert.equal(f.bytes(256_000_000), "256 MB");
      assert.equal(f.duration(59.9), "59 s");
      assert.equal(f.duration(3600), "1 h");
      assert.equal(f.duration(3 * 86_400 + 4 * 3600 + 59), "3 d 4 h");
      assert.equal(f.frameRate(30), "30 fps");
      assert.equal(f.frameRate(29.97), "29.97 fps");
      assert.equal(f.frameRate(0), "0 fps");
      assert.equal(f.frameRate(undefined), "–");
      assert.equal(f.skew(-3.4), "−3 ms");
      assert.equal(f.skew(0.2), "0 ms");
      assert.equal(f.skew(12), "+12 ms");
      assert.equal(f.codecNames("mp4a.40.2,avc1.64001E"), "H.264 + AAC");
      assert.equal(f.codecNames("hvc1.1.6.L93.B0, opus"), "HEVC + Opus");
      assert.equal(f.count(1, "viewer"), "1 viewer");
      assert.equal(f.count(2000, "viewer"), "2,000 viewers");
      assert.equal(f.picture({ video: null, audio: { codec: "AAC" } }), "Sound only · AAC");
    },
  ],
  "the box's clock from Date headers": [
    "watch/clock.ts",
    ({ BoxClock }) => {
      const noon = Date.parse("2026-03-01T12:00:00Z");
      const at = (s) => new Date(noon + 1000 * s).toUTCString();
      const agreeing = new BoxClock();
      agreeing.observe(at(0), noon + 400, noon + 420);
      assert.equal(agreeing.offsetMs, 0);
      // The box is 90.5 s ahead: asked at 0.2 s and 0.8 s of this device's second, it says 90 and 91.
      const ahead = new BoxClock();
      ahead.observe(at(90), noon + 200, noon + 210);
      ahead.observe(at(91), noon + 800, noon + 810);
      assert.ok(ahead.offsetMs > 90_100 && ahead.offsetMs < 90_900, `offset ${ahead.offsetMs}`);
      // Set right in the meantime: what contradicts the past replaces it.
      ahead.observe(at(5), noon + 5300, noon + 5310);
      assert.equal(ahead.offsetMs, 0);
      ahead.observe("nonsense", noon, noon);
      ahead.observe(null, noon, noon);
      assert.equal(ahead.offsetMs, 0);
    },
  ],
  "the pace towards the live edge": [
    "watch/pace.ts",
    ({ Margin, pace }) => {
      const at = (latencyS, over = {}) => pace({ latencyS, targetS: 0.6, bufferS: 0.8, rate: 1, marginS: 0.15, ...over });
      assert.deepEqual(at(0.7), { kind: "rate", rate: 1 });
      assert.deepEqual(at(0.85), { kind: "rate", rate: 1 });
      assert.deepEqual(at(0.7, { bufferS: 0.2 }), { kind: "rate", rate: 0.9 }, "a late part");
      assert.deepEqual(at(1.2), { kind: "rate", rate: 1.06 });
      assert.deepEqual(at(0.85, { rate: 1.06 }), { kind: "rate", rate: 1.06 }, "carried through");
      assert.deepEqual(at(0.77, { rate: 1.06 }), { kind: "rate", rate: 1 }, "and ended at the target");
      assert.deepEqual(at(1.2, { bufferS: 0.3 }), { kind: "rate", rate: 1 }, "not with a thin buffer");
      assert.deepEqual(at(1.7), { kind: "rate", rate: 1.15 });
      assert.deepEqual(at(4), { kind: "jump" });
      assert.deepEqual(at(0.7, { targetS: 5 }), { kind: "jump" });
      assert.deepEqual(at(6, { targetS: 5, bufferS: 1 }), { kind: "rate", rate: 1 }, "nor with a short one");
      assert.deepEqual(at(1, { marginS: 0.45 }), { kind: "rate", rate: 1 }, "what is kept as margin is not behind");
      const margin = new Margin();
      assert.equal(margin.observe(0.6, 0).toFixed(2), "0.25");
      assert.equal(margin.observe(0.2, 1000).toFixed(2), "0.25", "one change in two seconds");
      assert.equal(margin.observe(0.2, 2000).toFixed(2), "0.35");
      assert.equal(margin.observe(0.2, 3000).toFixed(2), "0.35", "one thin stretch");
      for (let s = 4; s < 20; s += 2) margin.observe(0.1, 1000 * s);
      assert.equal(margin.observe(0.1, 20_000).toFixed(2), "0.60", "bounded");
      assert.equal(margin.observe(0.6, 70_000).toFixed(2), "0.55", "and back");
      assert.deepEqual(at(4.5, { targetS: 5 }), { kind: "rate", rate: 0.96 });
    },
  ],
  "which box is asked": [
    "watch/boxes.ts",
    ({ Boxes }) => {
      const box = (id) => ({ id, name: id, base: `http://${id}` });
      const [a, b, c] = ["a", "b", "c"].map(box);
      const boxes = new Boxes([a, b, c]);
      const order = (at, anew) => boxes.order(at, anew).map(({ id }) => id).join("");
      assert.equal(order(0), "abc");
      boxes.answered(b, 20, 0);
      assert.equal(order(0), "bac", "who answers is stayed with");
      assert.equal(order(0, true), "abc", "but for the way back");
      boxes.failed(b, "silent", 1000);
      assert.equal(order(1000), "acb");
      boxes.answered(a, 20, 1000);
      assert.equal(boxes.moves, 1);
      assert.equal(order(5999), "acb");
      assert.equal(order(6000), "abc", "after five seconds b has its place again");
      boxes.failed(b, "broken", 6000);
      assert.equal(order(15_999), "acb", "the second time for ten");
      assert.equal(order(16_000), "abc");
      boxes.failed(a, "behind", 16_000);
      assert.equal(order(16_000), "abc", "who does not have it yet is asked again at once");
      boxes.failed(a, "forged", 17_000);
      assert.equal(order(1e9), "bc", "never again");
      boxes.update([c, a, b]);
      assert.equal(order(1e9), "cb", "also when it is named anew");
      boxes.update([a]);
      assert.equal(order(1e9), "");
    },
  ],
  "which boxes a page can reach": [
    "watch/reach.ts",
    ({ isAtHome }) => {
      for (const home of ["192.168.1.7", "10.0.0.1", "172.31.255.1", "127.0.0.1", "[fd00::1]", "[fe80::1]", "relaybox.local", "localhost"]) assert.ok(isAtHome(home), home);
      for (const away of ["8.8.8.8", "172.32.0.1", "11.0.0.1", "[2001:db8::1]", "live.example.org", "local.example.org"]) assert.ok(!isAtHome(away), away);
    },
  ],
  "gaps and pairs in what the probe saw": [
    "../test/figures.mjs",
    ({ skews, motion, percentile }) => {
      // The element's zero lies at 500: media second 1 is due at 1500, though the screen shows it at 1512.
      const clock = [1500, 2500, 3500].map((at) => ({ at, zeroAt: 500 }));
      const flashes = [1, 2, 3].map((second) => ({ at: 512 + 1000 * second, mediaMs: 1000 * second }));
      assert.deepEqual(skews({ frames: clock, flashes, beeps: [1510, 2490, 4100] }), [10, -10]);
      const frames = [0, 33, 66, 166].map((at, i) => ({ at, number: [4, 5, 6, 9][i], latencyMs: 900 + i }));
      const { shown, made, longestGapMs, backwards, p50 } = motion({ frames });
      assert.deepEqual({ shown, made, longestGapMs, backwards, p50 }, { shown: 4, made: 6, longestGapMs: 100, backwards: 0, p50: 902 });
      assert.equal(percentile([5, 1, 3], 0.5), 3);
    },
  ],
};
