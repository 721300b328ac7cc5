// A little web server of the test's own: the page on which other players are tried, and the file by which the probe is
// calibrated. It stands at another origin than the box, so that CORS and cross-site refusal are tried as well.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const MODULES = join(dirname(fileURLToPath(import.meta.url)), "../node_modules");
const SCRIPTS = { "/hls.js": "hls.js/dist/hls.js", "/shaka.js": "shaka-player/dist/shaka-player.compiled.js", "/mpegts.js": "mpegts.js/dist/mpegts.js" };
const PAGE = `<!doctype html><meta charset="utf-8"><title>bench</title><link rel="icon" href="data:,"><video muted playsinline width="640" height="360"></video>`;

export async function startBench() {
  const files = new Map();
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://bench");
    const path = SCRIPTS[pathname] ? join(MODULES, SCRIPTS[pathname]) : files.get(pathname);
    if (pathname === "/") return response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
    if (!path) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": path.endsWith(".js") ? "text/javascript" : "video/mp4" }).end(await readFile(path));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    offer: (name, path) => files.set(name, path),
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
