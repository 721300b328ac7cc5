// A field that shows an address or a secret, with a button that copies it.

import { h, icon, say } from "./dom";

const CONFIRM_MS = 1600;

interface Options {
  /** Shown as dots until asked for. */
  secret?: boolean;
}

export interface CopyField {
  element: HTMLElement;
  set(value: string): void;
}

let fields = 0;

export function copyField(label: string, value: string, options: Options = {}): CopyField {
  fields += 1;
  const id = `field-${fields}`;
  const input = h("input", { id, type: options.secret ? "password" : "text", readonly: true, value, spellcheck: "false", autocomplete: "off" });
  input.addEventListener("focus", () => input.select());
  const row = h("div", { class: "field-row" }, input, options.secret ? reveal(input, label) : null, copyButton(input, label));
  const element = h("div", { class: "field" }, h("label", { for: id }, label), row);
  return {
    element,
    set(next) {
      if (input.value !== next) input.value = next;
    },
  };
}

function reveal(input: HTMLInputElement, label: string): HTMLElement {
  const button = h("button", { type: "button", class: "button quiet", "aria-pressed": "false", "aria-label": `Show ${label.toLowerCase()}` }, icon("eye"));
  button.addEventListener("click", () => {
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    button.setAttribute("aria-pressed", String(shown));
  });
  return button;
}

function copyButton(input: HTMLInputElement, label: string): HTMLElement {
  const word = h("span", { "aria-live": "polite" }, "Copy");
  const button = h("button", { type: "button", class: "button", "aria-label": `Copy ${label.toLowerCase()}` }, icon("copy"), word);
  button.addEventListener("click", async () => {
    const done = await copy(input.value, input);
    say(word, done ? "Copied" : "Press Ctrl+C");
    button.classList.toggle("done", done);
    setTimeout(() => {
      say(word, "Copy");
      button.classList.remove("done");
    }, CONFIRM_MS);
  });
  return button;
}

/**
 * The clipboard interface exists in secure contexts only, and a box on the home network is mostly reached by plain
 * HTTP: there the older command does it. It can't copy from a password field, hence the text element.
 */
async function copy(text: string, input: HTMLInputElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { class: "off-screen", "aria-hidden": "true" });
    area.value = text;
    (input.closest("dialog") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) input.focus();
    return done;
  }
}
