// A stand-in for the daemon, to look at the pages without one: serves dist/, canned JSON, and a plain HLS stream that
// ffmpeg makes. By hand: `node test/fixture.mjs [--port N]`, PIN 246810.
// It proves nothing about the daemon: what the pages need of that, the browser profile asks of the real one.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const DIST = join(dirname(fileURLToPath(import.meta.url)), "../dist");
const PIN = "246810";
const TOKEN = "DQFbYW5leGFtcGxlb2ZhbGluay1pdGlzbm90c2lnbmVkYnlhbnlib2R5YW5kb3BlbnNub3RoaW5nYXRhbGxidXRpdGxvb2tzbGlrZW9uZQ";
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".txt": "text/plain; charset=utf-8", ".m3u8": "application/vnd.apple.mpegurl", ".mp4": "video/mp4", ".m4s": "video/mp4" };
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/** Starts it. `scene` may be changed while it runs. */
export async function startFixture({ port = 0, media = true } = {}) {
  const scene = { live: media, studioOpen: false, boxOpen: true, problems: [], startedAt: Date.now() - 47 * 60_000, streams: ["studio-one", "garden"], refusals: true, advice: true, access: { garden: "link" }, fixed: false, giving: null, setup: null, source: null };
  const dir = await mkdtemp(join(tmpdir(), "relaybox-fixture-"));
  const encoder = media ? encode(dir) : null;
  const server = createServer((request, response) => {
    answer(scene, dir, request, response).catch((error) => {
      response.writeHead(500).end(String(error));
    });
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    scene,
    url: `http://127.0.0.1:${server.address().port}`,
    async stop() {
      encoder?.kill("SIGKILL");
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(dir, { recursive: true, force: true });
    },
  };
}

function encode(dir) {
  const args = ["-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "gradients=size=640x360:rate=30:speed=0.02:n=4:c0=0x0b2f3a:c1=0x1f7a6d:c2=0xe3a857:c3=0xb5502f:seed=7", "-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000"];
  args.push("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "30", "-pix_fmt", "yuv420p", "-c:a", "aac");
  args.push("-f", "hls", "-hls_segment_type", "fmp4", "-hls_time", "1", "-hls_list_size", "6", "-hls_flags", "program_date_time+delete_segments+independent_segments", "-master_pl_name", "index.m3u8", join(dir, "media.m3u8"));
  return spawn("ffmpeg", args, { stdio: "ignore" });
}

async function answer(scene, dir, request, response) {
  const { pathname } = new URL(request.url, "http://box");
  response.setHeader("content-security-policy", pathname.startsWith("/watch/") ? POLICY.replace("connect-src 'self'", "connect-src 'self' http: https:") : POLICY);
  response.setHeader("x-content-type-options", "nosniff");
  if (pathname.startsWith("/api/")) return api(scene, pathname, request, response);
  if (pathname === "/live/index.json") return json(response, { box: "Kitchen box", streams: streams(scene).map(listed) });
  const [, room, name, ...rest] = pathname.replace(/^\/t\/[^/]+/, "").split("/");
  if (room === "live" && rest.length > 0) return live(scene, dir, name, rest.join("/"), response);
  if (room === "watch" && rest[0] === "boxes.json") return json(response, watchBoxes(name, request.headers.host));
  const page = { watch: "watch.html", "": "index.html", live: "player.html", studio: "studio.html" }[room];
  return file(join(DIST, page ?? normalize(pathname)), response);
}

/** Two boxes that are this fixture under two names, and one that nobody reaches. */
function watchBoxes(name, host) {
  const port = host.split(":")[1];
  const box = (id, near, url) => ({ id, name: id, near, urls: [url] });
  return { name, ttl_s: 5, key: null, boxes: [box("ana", true, `http://${host}`), box("bob-attic", false, `http://127.0.0.1:${port}`), box("carla", false, "ftp://192.0.2.7")] };
}

async function live(scene, dir, name, rest, response) {
  if (rest === "status.json") {
    if (name === "secret") return problem(response, 403, "this stream is watched by link: ask the streamer for one");
    const status = streams(scene).find((stream) => stream.name === name);
    return status ? json(response, status) : problem(response, 404, `This box has no stream named “${name}”.`);
  }
  if (!scene.live || name !== "studio-one") {
    response.setHeader("retry-after", "1");
    return problem(response, 503, "The stream has not started.");
  }
  return file(join(dir, normalize(rest)), response);
}

async function file(path, response) {
  try {
    const body = await readFile(path);
    response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream", "cache-control": "no-store" }).end(body);
  } catch {
    problem(response, 404, "There is nothing at this address.");
  }
}

async function api(scene, path, request, response) {
  const open = scene.studioOpen || (request.headers.cookie ?? "").includes("session=fixture");
  if (path === "/api/v1/box") return scene.boxOpen ? json(response, box(scene)) : problem(response, 403, "Open only on the box itself, or with a session.");
  if (path === "/api/v1/session" && request.method === "POST") {
    const { pin } = JSON.parse(await body(request));
    if (pin !== PIN) return problem(response, 401, "Wrong PIN.");
    return response.writeHead(204, { "set-cookie": "session=fixture; HttpOnly; SameSite=Strict; Path=/" }).end();
  }
  if (path === "/api/v1/setup") return scene.setup ? json(response, scene.setup) : problem(response, 401, "this needs the box's PIN");
  if (path === "/api/v1/setup/invite") return problem(response, 422, "this is not an invite: one begins with RELAYBOX1. Copy the whole line once more");
  if (path === "/api/v1/setup/reset") return problem(response, 422, "this is not the box's name: type attic to have it forget everything");
  if (path === "/api/v1/giving") {
    if (request.method !== "PUT") return json(response, scene.giving);
    scene.giving = { ...scene.giving, wish: JSON.parse(await body(request)) };
    return response.writeHead(204).end();
  }
  if (!open) return problem(response, 401, "The studio needs a session.");
  if (path === "/api/v1/session") return response.writeHead(204, { "set-cookie": "session=; Max-Age=0; Path=/" }).end();
  if (path === "/api/v1/studio") return json(response, studio(scene));
  const [, , , , , name, what] = path.split("/");
  if (request.method === "POST" && !name) {
    const wanted = JSON.parse(await body(request)).name;
    if (scene.streams.includes(wanted)) return problem(response, 409, `There is a stream named “${wanted}” already.`);
    scene.streams.push(wanted);
    return json(response, {}, 201);
  }
  if (what === "access") {
    scene.access[name] = JSON.parse(await body(request)).access;
    return response.writeHead(204).end();
  }
  if (what === "links") {
    const { valid_s, label = null } = JSON.parse(await body(request));
    return json(response, { path: `/t/${TOKEN}/live/${name}`, watch_url: null, id: "0AHM6W34GTZ4Y", label, expires_unix_s: Math.floor(Date.now() / 1000) + valid_s }, 201);
  }
  if (request.method === "DELETE") {
    scene.streams = scene.streams.filter((stream) => stream !== name);
    return response.writeHead(204).end();
  }
  return what === "key" ? json(response, { key: `new-key-of-${name}` }) : problem(response, 404, "No such thing.");
}

async function body(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return text;
}

function json(response, value, status = 200) {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" }).end(JSON.stringify(value));
}

function problem(response, status, detail) {
  response.writeHead(status, { "content-type": "application/problem+json" }).end(JSON.stringify({ type: "about:blank", title: "Problem", status, detail }));
}

function streams(scene) {
  return scene.streams.map((name) => (name === "studio-one" && scene.live ? liveStatus(scene, name) : offline(name)));
}

function liveStatus(scene, name) {
  return {
    ...offline(name),
    state: "live",
    since_unix_ms: scene.startedAt,
    video: { codec: "H.264", width: 640, height: 360, frame_rate: 30 },
    audio: { codec: "AAC", sample_rate: 48000, channels: 2 },
    codecs: "avc1.64001E,mp4a.40.2",
    bitrate_bps: 2_460_000,
    viewers: 3,
    keyframe_interval_ms: 2000,
    keyframe_interval_ms_max: 8300,
    skew_ms: -3.4,
    drift_ppm: 11.6,
    target_duration_s: 9,
    part_target_ms: 200,
    encoder: "obs-output module (libobs version 30.2)",
    source: scene.source,
  };
}

function offline(name) {
  return { name, state: "offline", since_unix_ms: null, video: null, audio: null, codecs: null, bitrate_bps: null, viewers: 0, keyframe_interval_ms: null, keyframe_interval_ms_max: null, skew_ms: null, drift_ppm: null, target_duration_s: null, part_target_ms: null, encoder: null, source: null };
}

function listed({ name, state, since_unix_ms, video, audio, viewers }) {
  return { name, state, since_unix_ms, video, audio, viewers };
}

function box(scene) {
  return { name: "Kitchen box", version: "0.1.0", uptime_s: 3 * 86_400 + 4 * 3600, cache_bytes: 48_300_000, cache_bytes_max: 256_000_000, rtmp_port: 1935, rtmps_port: null, https_port: 8443, health: { ok: scene.problems.length === 0, problems: scene.problems } };
}

function studio(scene) {
  const now = Date.now();
  const history = Array.from({ length: 180 }, (_, i) => {
    const at = now - (179 - i) * 1000;
    const t = Math.floor(at / 1000);
    return { at_unix_ms: at, bitrate_bps: 2_450_000 + 260_000 * Math.sin(t / 9) + 90_000 * Math.sin(t * 2.3), frame_rate: t % 97 < 3 ? 26 : 30, skew_ms: -3 + 6 * Math.sin(t / 31) };
  });
  const advice = [
    { code: "keyframe_interval", severity: "warn", text: "OBS sends a keyframe every 8.3 s. Set Keyframe Interval to 2 s: Settings, Output." },
    { code: "audio_rate", severity: "info", text: "The sound has 48 kHz, as it should." },
  ];
  const refusals = [
    { at_unix_ms: now - 95_000, peer: "192.0.2.31:52144", code: "NetStream.Publish.BadName", text: "Wrong stream key." },
    { at_unix_ms: now - 260_000, peer: "192.0.2.31:52101", code: "NetConnection.Connect.Rejected", text: "Unknown application “stream”. The server address must end in /live." },
  ];
  return {
    server_port: 1935,
    streams: streams(scene).map((status) => ({ status, key: `k3y-${status.name}-f00d`, access: scene.access[status.name] ?? "open", access_fixed: scene.fixed, history: status.state === "live" ? history : [], advice: status.state === "live" && scene.advice ? advice : [], offload: status.state === "live" ? { watched_bytes: 8_412_000_000, given_bytes: 1_934_000_000 } : null })),
    refusals: scene.refusals ? refusals : [],
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf("--port");
  const fixture = await startFixture({ port: at > 0 ? Number(process.argv[at + 1]) : 8090 });
  console.log(`${fixture.url}/  (player: /live/studio-one, studio PIN ${PIN})`);
  process.on("SIGINT", () => void fixture.stop().then(() => process.exit(0)));
}
