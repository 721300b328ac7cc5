// nginx with its RTMP module and its HLS as it comes, on free ports, ended by its process id: the peer.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./waiting.mjs";

const MODULE = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

export async function startNginx() {
  const dir = await mkdtemp(join(tmpdir(), "relaybox-nginx-"));
  const [rtmp, http] = [await freePort(), await freePort()];
  await writeFile(join(dir, "nginx.conf"), config(dir, rtmp, http));
  const child = spawn("nginx", ["-p", dir, "-c", join(dir, "nginx.conf")], { stdio: "ignore" });
  const ended = new Promise((resolve) => child.on("close", resolve).on("error", resolve));
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
    await rm(dir, { recursive: true, force: true });
  };
  try {
    await until(10_000, "nginx to listen", () => listens(http));
  } catch (error) {
    await stop();
    throw error;
  }
  return { publishUrl: `rtmp://127.0.0.1:${rtmp}/live/demo`, playlist: `http://127.0.0.1:${http}/demo.m3u8`, stop };
}

function config(dir, rtmp, http) {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${dir}/${kind};`).join("\n");
  const user = process.getuid() === 0 ? "user root;" : "";
  return `load_module ${MODULE};
${user}
daemon off;
worker_processes 1;
pid ${dir}/pid;
error_log ${dir}/error.log error;
events { worker_connections 64; }
rtmp { access_log off; server { listen 127.0.0.1:${rtmp}; application live { live on; hls on; hls_path ${dir}/hls; } } }
http {
  ${paths}
  access_log off;
  types { application/vnd.apple.mpegurl m3u8; video/mp2t ts; }
  server { listen 127.0.0.1:${http}; root ${dir}/hls; add_header Access-Control-Allow-Origin *; add_header Cache-Control no-cache; }
}
`;
}

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const listens = (port) =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
