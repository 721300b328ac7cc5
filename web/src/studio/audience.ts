// Who may watch a stream, and links that open it for a while. The box keeps no link: what is not copied here is gone.

import { ApiError, ask, type Access, type Link, type StudioStream } from "../page/api";
import { copyField } from "../page/copy";
import { h, say } from "../page/dom";

const WORDS: Record<Access, { short: string; hint: string }> = {
  open: { short: "Everyone", hint: "Whoever reaches a box that carries this stream may watch." },
  mesh: { short: "Home and mesh", hint: "Your home network, your friends' boxes and who is connected to them may watch; others need a link." },
  link: { short: "By link", hint: "Only who has a link may watch, also on your home network." },
};

const DAY_S = 86_400;
const TIMES: [string, number][] = [
  ["3 hours", 3 * 3600],
  ["1 day", DAY_S],
  ["1 week", 7 * DAY_S],
  ["30 days", 30 * DAY_S],
  ["1 year", 365 * DAY_S],
];

export class Audience {
  readonly element: HTMLElement;
  readonly #state = h("span", { class: "fold-state" });
  readonly #hint = h("p", { class: "hint" });
  readonly #error = h("p", { class: "error-text", role: "alert" });
  readonly #made = h("div", { class: "link-made", hidden: true });
  readonly #inputs: Record<Access, HTMLInputElement>;
  /** What the viewer of this page chose, until the box says the same. */
  #chosen: Access | null = null;

  constructor(
    name: string,
    private readonly path: string,
  ) {
    const option = (access: Access): HTMLInputElement => {
      const input = h("input", { type: "radio", name: `access-${name}` });
      input.addEventListener("change", () => void this.#choose(access));
      return input;
    };
    this.#inputs = { open: option("open"), mesh: option("mesh"), link: option("link") };
    const choices = (Object.keys(WORDS) as Access[]).map((access) => h("label", {}, this.#inputs[access], h("span", {}, WORDS[access].short)));
    this.element = h(
      "details",
      { class: "fold audience" },
      h("summary", {}, "Who may watch", this.#state),
      h("div", { class: "audience-body" }, h("fieldset", { class: "segmented" }, h("legend", {}, "Who may watch"), ...choices), this.#hint, this.#linkForm(name), this.#made, this.#error),
    );
  }

  show({ access, access_fixed }: StudioStream): void {
    if (this.#chosen === access) this.#chosen = null;
    const shown = this.#chosen ?? access;
    for (const [of, input] of Object.entries(this.#inputs)) {
      input.checked = of === shown;
      input.disabled = access_fixed;
    }
    say(this.#state, WORDS[shown].short);
    say(this.#hint, access_fixed ? `${WORDS[shown].hint} This stands in the box's settings file.` : WORDS[shown].hint);
  }

  async #choose(access: Access): Promise<void> {
    this.#chosen = access;
    say(this.#hint, WORDS[access].hint);
    await this.#change(() => ask(`${this.path}/access`, { method: "PUT", json: { access } }));
  }

  #linkForm(name: string): HTMLElement {
    const time = h("select", { id: `link-time-${name}` }, ...TIMES.map(([words, seconds]) => h("option", { value: seconds, selected: seconds === DAY_S }, words)));
    const label = h("input", { id: `link-label-${name}`, type: "text", maxlength: 32, pattern: "[a-z0-9]([a-z0-9\\-]*[a-z0-9])?", placeholder: "optional", autocomplete: "off", autocapitalize: "none", spellcheck: "false", title: "Small letters, digits and dashes" });
    const form = h(
      "form",
      { class: "link-form" },
      h("div", { class: "field" }, h("label", { for: time.id }, "Good for"), time),
      h("div", { class: "field" }, h("label", { for: label.id }, "For whom"), label),
      h("button", { type: "submit", class: "button" }, "Make a link"),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const wish = { valid_s: Number(time.value), ...(label.value.trim() && { label: label.value.trim() }) };
      void this.#change(async () => this.#show(await ask<Link>(`${this.path}/links`, { method: "POST", json: wish })));
    });
    return form;
  }

  #show(link: Link): void {
    const until = new Date(link.expires_unix_s * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
    const whom = link.label ? `Link for ${link.label}` : "Link";
    this.#made.hidden = false;
    this.#made.replaceChildren(
      copyField(whom, link.watch_url ?? `${location.origin}${link.path}`).element,
      h("p", { class: "hint" }, `Good until ${until}. Whoever has it may watch. It is not kept here: copy it before you leave this page.`),
    );
  }

  async #change(act: () => Promise<void>): Promise<void> {
    say(this.#error, "");
    try {
      await act();
    } catch (problem) {
      this.#chosen = null;
      say(this.#error, problem instanceof ApiError ? problem.message : String(problem));
    }
  }
}
