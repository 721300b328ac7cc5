// Builds the pages into dist/: HTML files, and assets whose names carry a hash of their content, so that
// they may be cached for ever. Nothing inline and no outside host, so that a strict Content-Security-Policy holds.

import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
const out = join(root, "dist");

/** Page file -> name of its script and of its style sheet. */
const PAGES = { "index.html": "box", "player.html": "player", "studio.html": "studio", "watch.html": "watch" };

/** Packages of which code or data ends up in dist/, with the file that holds their licence. */
const BUNDLED = ["hls.js", "@fontsource-variable/hanken-grotesk", "@noble/hashes", "@noble/ed25519"];

await rm(out, { recursive: true, force: true });
const result = await build({
  absWorkingDir: root,
  entryPoints: Object.values(PAGES).flatMap((name) => [`src/${name}.ts`, `src/styles/${name}.css`]),
  outdir: "dist",
  bundle: true,
  splitting: true,
  format: "esm",
  minify: true,
  target: ["chrome100", "firefox100", "safari16"],
  entryNames: "assets/[name]-[hash]",
  chunkNames: "assets/[name]-[hash]",
  assetNames: "assets/[name]-[hash]",
  loader: { ".woff2": "file" },
  legalComments: "none",
  metafile: true,
  logLevel: "warning",
});

const licences = await asset("licences", "txt", await collectLicences());
const icon = await asset("mark", "svg", await readFile(join(root, "src/pages/mark.svg"), "utf8"));

for (const [page, name] of Object.entries(PAGES)) {
  const [script, built] = output(`src/${name}.ts`);
  const [style] = output(`src/styles/${name}.css`);
  const preload = built.imports.filter((i) => i.kind === "import-statement").map((i) => url(i.path));
  const head = [
    `<link rel="icon" type="image/svg+xml" href="${icon}">`,
    `<link rel="stylesheet" href="${url(style)}">`,
    ...preload.map((path) => `<link rel="modulepreload" href="${path}">`),
    `<script type="module" src="${url(script)}"></script>`,
  ];
  const template = await readFile(join(root, "src/pages", page), "utf8");
  const html = template.replace("<!--head-->", head.join("\n    ")).replaceAll("{{licences}}", licences);
  await writeFile(join(out, page), html);
}

const bytes = Object.values(result.metafile.outputs).reduce((sum, o) => sum + o.bytes, 0);
console.log(`${Object.keys(PAGES).length} pages, ${(bytes / 1024).toFixed(0)} KiB of assets in dist/`);

function output(entry) {
  return Object.entries(result.metafile.outputs).find(([, built]) => built.entryPoint === entry);
}

function url(path) {
  return `/${path.replace(/^dist\//, "")}`;
}

async function asset(name, extension, text) {
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 8).toUpperCase();
  const path = `assets/${name}-${hash}.${extension}`;
  await mkdir(join(out, "assets"), { recursive: true });
  await writeFile(join(out, path), text);
  return `/${path}`;
}

async function collectLicences() {
  const texts = [];
  for (const name of BUNDLED) {
    const folder = join(root, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const licence = await readFile(join(folder, "LICENSE"), "utf8");
    texts.push(`${name} ${version} (${license})\n\n${licence.trim()}\n`);
  }
  return `These pages contain parts of the following works.\n\n${texts.join("\n----\n\n")}`;
}
