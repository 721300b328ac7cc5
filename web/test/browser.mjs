// Starts Debian's Chromium under playwright-core, without anything that reaches outside.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const CANDIDATES = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
];

export async function launch() {
  const executablePath = CANDIDATES.find((path) => path && existsSync(path));
  if (!executablePath) throw new Error("Chromium is not installed: apt-get install chromium");
  return chromium.launch({ executablePath, headless: true, args: FLAGS });
}

export const SCREENS = {
  phone: { width: 390, height: 844 },
  desk: { width: 1280, height: 800 },
};

/** A page in one of the looks; complaints of the page (errors, broken policy) go into `complaints`. */
export async function openPage(browser, { screen = "desk", scheme = "light", complaints = [], bypassCSP = false } = {}) {
  const context = await browser.newContext({ viewport: SCREENS[screen], colorScheme: scheme, deviceScaleFactor: 1, hasTouch: screen === "phone", bypassCSP });
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error" && !/Failed to load resource/.test(message.text())) complaints.push(`console: ${message.text()}`);
  });
  return page;
}
