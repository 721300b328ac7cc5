// A stand-in for a box that carries a stream: hands every request on to the box named on the command line, byte for byte,
// until it is killed or stopped. A process of its own, so that it can die like one.
//
//   node proxy.mjs http://127.0.0.1:PORT [forge]
//
// With `forge` it bends one byte of each part.

import { createServer, request as ask } from "node:http";

const [, , origin, mode] = process.argv;
const { hostname, port } = new URL(origin);

const server = createServer((incoming, outgoing) => {
  const { method, url, headers } = incoming;
  const onward = ask({ hostname, port, method, path: url, headers: { ...headers, host: `${hostname}:${port}` } }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers);
    if (mode === "forge" && url.endsWith(".m4s")) answer.on("data", (piece) => outgoing.write(bent(piece))).on("end", () => outgoing.end());
    else answer.pipe(outgoing);
  });
  onward.on("error", () => outgoing.destroy());
  outgoing.on("close", () => onward.destroy());
  incoming.pipe(onward);
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => process.send?.({ port: server.address().port }));
process.on("disconnect", () => process.exit());

function bent(piece) {
  const copy = Buffer.from(piece);
  copy[copy.length - 1] ^= 1;
  return copy;
}
