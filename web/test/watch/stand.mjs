// What /watch needs, without a coordinator: the built page at an origin of its own, and the word which boxes there are. The
// boxes are two or more proxies in front of one relayd, so that they have the same parts.

import { fork } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const DIST = join(HERE, "../../dist");
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".txt": "text/plain" };

export async function startBox(origin, name, mode = "") {
  const child = fork(join(HERE, "proxy.mjs"), [origin, mode], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const { port } = await new Promise((resolve, reject) => child.once("message", resolve).once("exit", () => reject(new Error("a proxy ended"))));
  const ended = new Promise((resolve) => child.once("exit", resolve));
  return {
    id: name,
    name,
    url: `http://127.0.0.1:${port}`,
    /** As a plug that is pulled where the router still answers: every connection breaks off. */
    kill: () => child.kill("SIGKILL"),
    /** Connections stay, nothing is answered: as packets that get lost. */
    mute: () => child.kill("SIGSTOP"),
    unmute: () => child.kill("SIGCONT"),
    async stop() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** `boxes` may be changed while it runs. */
export async function startStand(name, boxes, key = null) {
  const said = { boxes };
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://stand");
    if (pathname === `/watch/${name}/boxes.json`) {
      const listed = said.boxes.map(({ id, name: called, url }, at) => ({ id, name: called, near: at === 0, urls: [url] }));
      return response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ name, ttl_s: 5, key, boxes: listed }));
    }
    const file = pathname === `/watch/${name}` ? "watch.html" : normalize(pathname);
    const content = await readFile(join(DIST, file)).catch(() => null);
    if (content === null) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" }).end(content);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    said,
    url: `http://127.0.0.1:${server.address().port}/watch/${name}`,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
