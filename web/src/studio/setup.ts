// Setting the box up: its invite, the house's Wi-Fi, and making it forget everything. On the box's page while nobody has set
// it up, without a PIN; in the studio for good. What the box does not offer is not there.

import { ApiError, ask, type Setup } from "../page/api";
import { h, renew, say } from "../page/dom";
import { COUNTRIES } from "./countries";

/** Enrolling asks the coordinator, which may be far. */
const JOIN_MS = 60_000;

export class SetupPanel {
  readonly element = h("div", { class: "setting-up" });
  readonly #onlyFirst: boolean;
  /** What was typed is not thrown away by a refresh. */
  #busy = false;

  constructor({ onlyFirst }: { onlyFirst: boolean }) {
    this.#onlyFirst = onlyFirst;
    this.element.addEventListener("input", () => (this.#busy = true));
  }

  /** Asks the box how far it is. It says nothing to whom it is not for. */
  async refresh(): Promise<void> {
    const view = await ask<Setup>("/api/v1/setup").catch((problem: unknown) => (problem instanceof ApiError && problem.status === 0 ? undefined : null));
    if (view === undefined || this.#busy) return;
    if (view === null || (this.#onlyFirst && !view.first)) {
      renew(this.element, "", () => []);
      return;
    }
    renew(this.element, JSON.stringify([view.first, view.joined, view.wifi, view.resettable]), () => [
      view.wifi && !(this.#onlyFirst && view.wifi.state === "idle") && wifiStep(view.wifi),
      !view.joined && view.wifi?.state !== "hotspot" && inviteStep(view.first),
      view.resettable && !this.#onlyFirst && resetStep(view.name),
    ]);
  }
}

function inviteStep(first: boolean): HTMLElement {
  const invite = h("textarea", { id: "setup-invite", required: true, maxlength: 4000, autocomplete: "off", autocapitalize: "none", spellcheck: "false", placeholder: "RELAYBOX1…" });
  const pin = h("input", { id: "setup-pin", type: "text", inputmode: "numeric", pattern: "[0-9]{4,12}", maxlength: 12, autocomplete: "off", required: first, title: "4 to 12 digits" });
  const button = h("button", { type: "submit", class: "button primary" }, "Join");
  return step("setup-join", "Join your friends", "Paste the invite that you were sent. The box then finds the others by itself.", button, [
    h("div", { class: "field" }, h("label", { for: "setup-invite" }, "Invite"), invite),
    first && h("div", { class: "field" }, h("label", { for: "setup-pin" }, "A PIN of your choice, 4 to 12 digits"), pin, h("p", { class: "hint" }, "Watching is open to everyone at home; changing anything asks for it.")),
  ], async () => {
    const joined = await ask<{ name: string }>("/api/v1/setup/invite", {
      method: "POST",
      json: { invite: invite.value, pin: first ? pin.value.trim() : null },
      signal: AbortSignal.timeout(JOIN_MS),
    });
    return `This box is in, as ${joined.name}. Its page is back in a few seconds.`;
  });
}

function wifiStep(wifi: NonNullable<Setup["wifi"]>): HTMLElement {
  const country = h("select", { id: "setup-country", required: true }, h("option", { value: "" }, "Choose…"), ...countries());
  const ssid = h("input", { id: "setup-ssid", type: "text", required: true, maxlength: 32, autocomplete: "off", autocapitalize: "none", spellcheck: "false", list: "setup-around" });
  const password = h("input", { id: "setup-password", type: "text", maxlength: 64, autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  const around = h("datalist", { id: "setup-around" }, ...wifi.around.map((name) => h("option", { value: name })));
  const button = h("button", { type: "submit", class: "button primary" }, "Use this network");
  return step("setup-wifi", "Wi-Fi", STATES[wifi.state](wifi.name ?? ""), button, [
    h("div", { class: "field" }, h("label", { for: "setup-country" }, "Country"), country),
    h("div", { class: "field" }, h("label", { for: "setup-ssid" }, "Name of your Wi-Fi network"), ssid, around),
    h("div", { class: "field" }, h("label", { for: "setup-password" }, "Its password"), password),
  ], async () => {
    const json = { country: country.value, ssid: ssid.value, password: password.value || null };
    await ask("/api/v1/setup/wifi", { method: "PUT", json });
    const again = wifi.state === "hotspot" ? " If this network comes back in two minutes, look whether the name and the password are right." : "";
    return `The box goes into ${ssid.value} now. Connect this device to it, too, and open http://${location.hostname.endsWith(".local") ? location.hostname : "relaybox.local"}.${again}`;
  });
}

const STATES: Record<NonNullable<Setup["wifi"]>["state"], (name: string) => string> = {
  idle: () => "The box has a cable. It can use your Wi-Fi in its place.",
  trying: (name) => `The box is trying to get into ${name}.`,
  connected: (name) => `The box is in ${name}.`,
  hotspot: () => "The box has no cable: which Wi-Fi network shall it use?",
};

function resetStep(name: string): HTMLElement {
  const typed = h("input", { id: "setup-reset", type: "text", required: true, maxlength: 63, autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  const button = h("button", { type: "submit", class: "button danger" }, "Forget everything");
  const form = step("setup-forget", "Make the box new", "It forgets its place among your friends, its streams and their keys, its PIN, its name and your Wi-Fi, and starts again. To come back it needs another invite.", button, [
    h("div", { class: "field" }, h("label", { for: "setup-reset" }, `To be sure, type the box’s name: ${name}`), typed),
  ], async () => {
    await ask("/api/v1/setup/reset", { method: "POST", json: { name: typed.value } });
    return "The box forgets everything, and is back as a new one in a minute or two, at http://relaybox.local.";
  });
  return form;
}

/** One thing to do. What was wrong stands below; what was done takes the place of the fields. */
function step(id: string, title: string, text: string, button: HTMLButtonElement, fields: (HTMLElement | false)[], act: () => Promise<string>): HTMLElement {
  const error = h("p", { class: "error-text", role: "alert" });
  const done = h("p", { class: "done", role: "status" });
  const form = h("form", {}, ...fields, error, button);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    say(error, "");
    try {
      say(done, await act());
      form.remove();
    } catch (problem) {
      say(error, sentence(problem));
    } finally {
      button.disabled = false;
    }
  });
  return h("section", { class: "panel setup-step", "aria-labelledby": id }, h("h2", { id }, title), h("p", { class: "hint" }, text), form, done);
}

function sentence(problem: unknown): string {
  const text = problem instanceof ApiError ? problem.message : String(problem);
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return capital.endsWith(".") ? capital : `${capital}.`;
}

/** By their names in the reader's language, the one that the browser speaks first. */
function countries(): HTMLElement[] {
  const names = new Intl.DisplayNames([navigator.language, "en"], { type: "region" });
  const here = new Intl.Locale(navigator.language).region;
  const named = COUNTRIES.map((code) => ({ code, name: names.of(code) ?? code })).sort((a, b) => a.name.localeCompare(b.name));
  return named.map(({ code, name }) => h("option", { value: code, selected: code === here }, name));
}
