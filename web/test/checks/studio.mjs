// The streamer's page and what guards it: the PIN, sites elsewhere, names that are not the box's.

import { request as plainRequest } from "node:http";
import { openPage } from "../browser.mjs";
import { publish } from "../source.mjs";
import { expect } from "../waiting.mjs";

export async function wrongThenRightPin({ browser, daemon, name, complaints }) {
  const page = await openPage(browser, { complaints });
  await page.goto(`${daemon.http}/studio`);
  const wrong = daemon.pin === "000000" ? "000001" : "000000";
  await page.getByLabel("PIN").fill(wrong);
  await page.getByRole("button", { name: "Open the studio" }).click();
  await page.getByText("That is not the PIN of this box.").waitFor({ timeout: 5000 });
  await page.getByLabel("PIN").fill(daemon.pin);
  await page.getByRole("button", { name: "Open the studio" }).click();
  await page.getByRole("heading", { name, exact: true }).waitFor({ timeout: 5000 });
  return page;
}

export async function liveFigures(page) {
  await page.locator(".screen .stage[data-state=playing]").waitFor({ timeout: 15_000 });
  await page.waitForFunction(() => [...document.querySelectorAll(".graph-line")].every((line) => (line.getAttribute("d") ?? "").includes("L")), null, { timeout: 10_000 });
  const values = await page.locator(".graph-value").allTextContents();
  expect(/bit\/s$/.test(values[0]) && /fps$/.test(values[1]) && /ms$/.test(values[2]), `the graphs say ${values.join(", ")}`);
  return values.join(", ");
}

/** A publisher with a wrong key is told so, and the streamer reads why. */
export async function showsRefusal(page, { daemon }) {
  const url = daemon.publishUrl.replace(/[^/]+$/, "not-the-key");
  const list = page.locator(".refusals li");
  const before = await list.count();
  const startedAt = performance.now();
  const { code } = await publish(url).ended;
  expect(code !== 0, "ffmpeg was let in with a wrong key");
  const refusedAt = performance.now();
  await page.waitForFunction((n) => document.querySelectorAll(".refusals li").length > n, before, { timeout: 5000 });
  const text = await list.first().locator("span").textContent();
  return `“${text}”, ${((performance.now() - refusedAt) / 1000).toFixed(1)} s after the publisher gave up, ${((refusedAt - startedAt) / 1000).toFixed(1)} s after it began`;
}

/** A stream is made, its key is changed, it is removed. */
export async function keepsStreams(page) {
  await page.getByLabel("Name").fill("second");
  await page.getByRole("button", { name: "Add stream" }).click();
  const card = page.getByRole("region", { name: "Stream second" });
  await card.waitFor({ timeout: 5000 });
  const key = card.getByLabel("Stream key", { exact: true });
  expect((await key.getAttribute("type")) === "password", "the key is shown without being asked for");
  const before = await key.inputValue();
  await card.getByRole("button", { name: "New key…" }).click();
  await page.getByRole("button", { name: "Make a new key" }).click();
  await page.waitForFunction((old) => document.querySelector('[aria-label="Stream second"] .setup-fields .field:nth-child(2) input').value !== old, before, { timeout: 5000 });
  expect(before.length >= 8, `a key of ${before.length} characters`);
  await card.getByRole("button", { name: "Remove stream…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove stream" }).click();
  await card.waitFor({ state: "detached", timeout: 5000 });
}

/** From a page of another origin, with the session's cookie in the same browser. */
export async function crossSiteRefused({ bench, daemon }, studioPage) {
  const page = await studioPage.context().newPage();
  await page.goto(bench.url);
  const url = `${daemon.http}/api/v1/studio/streams`;
  for (const type of ["application/json", "text/plain"]) {
    await page.evaluate(
      ([to, contentType]) =>
        fetch(to, { method: "POST", mode: contentType === "text/plain" ? "no-cors" : "cors", credentials: "include", headers: { "content-type": contentType }, body: '{"name":"stolen"}' }).catch(() => null),
      [url, type],
    );
  }
  await page.close();
  const cookies = await studioPage.context().cookies();
  const cookie = cookies.map(({ name, value }) => `${name}=${value}`).join("; ");
  expect(cookies.every(({ httpOnly, sameSite }) => httpOnly && sameSite === "Strict"), "the session's cookie is not HttpOnly and SameSite=Strict");
  const status = await ask(daemon.http, "/api/v1/studio/streams", { method: "POST", headers: { cookie, origin: bench.url, "content-type": "application/json" }, body: '{"name":"stolen"}' });
  expect(status === 403, `a POST with a foreign Origin got ${status}`);
  const kept = await studioPage.evaluate(() => fetch("/api/v1/studio").then((r) => r.json()));
  expect(!kept.streams.some(({ status: s }) => s.name === "stolen"), "another site made a stream");
}

/** DNS rebinding: the browser believes that the box is evil.example, and says so in Host. */
export async function foreignHostRefused({ daemon }) {
  for (const path of ["/api/v1/studio", "/studio", "/api/v1/session"]) {
    const status = await ask(daemon.http, path, { method: path.endsWith("session") ? "POST" : "GET", headers: { host: "evil.example", "content-type": "application/json" }, body: path.endsWith("session") ? '{"pin":"0"}' : "" });
    expect(status === 403 || status === 421 || status === 400, `${path} for a foreign Host got ${status}`);
  }
}

/** Last of all, as it locks the form for a while. */
export async function guessingSlowed({ daemon }) {
  for (let guess = 1; guess <= 30; guess += 1) {
    const pin = String(900_000 + guess);
    const status = await ask(daemon.http, "/api/v1/session", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ pin }) });
    if (status === 429) return `429 at guess ${guess}`;
    expect(status === 401, `a wrong PIN got ${status}`);
  }
  throw new Error("30 wrong PINs in a row and no 429");
}

/** The status of a request whose Host and Origin may be anything, as fetch would not send it. */
function ask(base, path, { method = "GET", headers = {}, body = "" }) {
  const { hostname, port, host } = new URL(base);
  return new Promise((resolve, reject) => {
    const length = body ? { "content-length": Buffer.byteLength(body) } : {};
    const request = plainRequest({ hostname, port, path, method, headers: { host, ...length, ...headers } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.setTimeout(5000, () => request.destroy(new Error("no answer in 5 s")));
    request.on("error", reject);
    request.end(body);
  });
}
