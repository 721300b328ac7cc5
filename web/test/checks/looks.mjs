// All pages in all looks: pictures for the eye, and for the machine that no page complains and none is wider than its
// screen.

import { join } from "node:path";
import { openPage, SCREENS } from "../browser.mjs";
import { expect } from "../waiting.mjs";

export async function takePictures({ browser, daemon, name, folder }, cookies) {
  const pages = {
    box: { path: "/", ready: (page) => page.getByRole("link", { name: `Watch ${name}` }).waitFor() },
    player: { path: `/live/${name}`, ready: (page) => page.waitForFunction(() => window.relaybox.stats().frames > 45) },
    studio: { path: "/studio", ready: (page) => page.locator(".screen .stage[data-state=playing]").waitFor() },
  };
  const complaints = [];
  let taken = 0;
  for (const [what, { path, ready }] of Object.entries(pages)) {
    for (const screen of Object.keys(SCREENS)) {
      for (const scheme of ["light", "dark"]) {
        const page = await openPage(browser, { screen, scheme, complaints });
        await page.context().addCookies(cookies);
        await page.goto(daemon.http + path);
        await ready(page);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        expect(wide <= 0, `${what} on a ${screen} is ${wide} px too wide`);
        await page.screenshot({ path: join(folder, `${what}-${screen}-${scheme}.png`) });
        await page.context().close();
        taken += 1;
      }
    }
  }
  expect(complaints.length === 0, `the pages complain: ${[...new Set(complaints)].join("; ")}`);
  return `${taken} pictures`;
}
