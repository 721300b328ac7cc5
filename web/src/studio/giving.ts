// What this box gives other boxes, for whoever it belongs to: a pause, a limit, quiet hours. What is typed stays until it
// is saved. Not there at a box that is in no mesh.

import { ApiError, ask, type Giving, type QuietHours } from "../page/api";
import { h, renew, say } from "../page/dom";
import { bitrate } from "../page/format";

const QUIET_MAX = 8;
const NIGHT: QuietHours = { from: "22:00", to: "07:00", limit_kbps: 0 };

export class GivingPanel {
  readonly element: HTMLElement;
  readonly #pill = h("span", { class: "pill" });
  readonly #facts = h("p", { class: "card-facts" });
  readonly #pause = h("button", { type: "button", class: "button" });
  readonly #limit = megabits("giving-limit", "as the line allows");
  readonly #rows = h("ul", { class: "quiet-rows", "aria-label": "Quiet hours" });
  readonly #add = h("button", { type: "button", class: "button" }, "Add quiet hours");
  readonly #save = h("button", { type: "submit", class: "button primary" }, "Save");
  readonly #zone = h("p", { class: "hint" });
  readonly #error = h("p", { class: "error-text", role: "alert" });
  #known: Giving | null = null;
  /** Something was typed that the box does not know yet. */
  #typed = false;

  constructor() {
    const form = h(
      "form",
      { class: "giving-form" },
      h("div", { class: "field" }, h("label", { for: "giving-limit" }, "At most, in Mbit/s"), this.#limit),
      h("div", { class: "field" }, h("h3", {}, "Quiet hours"), this.#rows, h("div", {}, this.#add), this.#zone),
      h("div", { class: "setup-actions" }, this.#save),
      this.#error,
    );
    form.addEventListener("input", () => this.#touch());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#put({ limit_kbps: kilobits(this.#limit), quiet: this.#quiet(), zone: Intl.DateTimeFormat().resolvedOptions().timeZone ?? null });
    });
    this.#add.addEventListener("click", () => {
      this.#rows.append(this.#row(NIGHT));
      this.#touch();
    });
    this.#pause.addEventListener("click", () => void this.#put({ paused: !this.#known?.wish.paused }));
    this.element = h(
      "section",
      { class: "panel giving", id: "giving", "aria-labelledby": "giving-title", hidden: true },
      h("div", { class: "card-head" }, h("div", { class: "title-row" }, h("h2", { id: "giving-title" }, "For friends"), this.#pill), this.#facts, this.#pause),
      h("details", { class: "fold setup" }, h("summary", {}, "Limit and quiet hours"), form),
    );
  }

  /** Asks the box how it stands. Says nothing when it does not answer: the page says that already. */
  async refresh(): Promise<void> {
    const giving = await ask<Giving | null>("/api/v1/giving").catch(() => undefined);
    if (giving) this.#show(giving);
    else if (giving === null) this.element.hidden = true;
  }

  #show(giving: Giving): void {
    this.#known = giving;
    this.element.hidden = false;
    say(this.#pill, PILLS[giving.why]);
    say(this.#facts, factsOf(giving));
    say(this.#pause, giving.wish.paused ? "Go on" : "Pause");
    say(this.#zone, zoneOf(giving));
    if (this.#typed) return;
    this.#limit.value = typed(giving.wish.limit_kbps);
    renew(this.#rows, JSON.stringify(giving.wish.quiet), () => giving.wish.quiet.map((hours) => this.#row(hours)));
    this.#save.disabled = true;
    this.#add.disabled = giving.wish.quiet.length >= QUIET_MAX;
  }

  #row(hours: QuietHours): HTMLElement {
    const time = (what: string, value: string): HTMLInputElement => h("input", { type: "time", required: true, value, "aria-label": what });
    const limit = megabits("", "nothing");
    limit.value = typed(hours.limit_kbps || null);
    limit.setAttribute("aria-label", "At most then, in Mbit/s");
    const remove = h("button", { type: "button", class: "button quiet" }, "Remove");
    const row = h(
      "li",
      {},
      h("div", {}, time("From", hours.from), h("span", {}, "to"), time("To", hours.to)),
      h("div", {}, h("span", {}, "at most"), limit, h("span", {}, "Mbit/s")),
      remove,
    );
    remove.addEventListener("click", () => {
      row.remove();
      this.#touch();
    });
    return row;
  }

  #quiet(): QuietHours[] {
    return [...this.#rows.children].map((row) => {
      const [from, to, limit] = row.querySelectorAll("input");
      return { from: from?.value ?? "", to: to?.value ?? "", limit_kbps: (limit && kilobits(limit)) ?? 0 };
    });
  }

  #touch(): void {
    this.#typed = true;
    this.#save.disabled = false;
    this.#add.disabled = this.#rows.children.length >= QUIET_MAX;
  }

  /** What is not named stays as the box knows it. */
  async #put(change: Partial<Giving["wish"]>): Promise<void> {
    if (!this.#known) return;
    say(this.#error, "");
    try {
      await ask("/api/v1/giving", { method: "PUT", json: { ...this.#known.wish, ...change } });
      if (!("paused" in change)) {
        this.#typed = false;
        delete this.#rows.dataset["key"];
      }
      await this.refresh();
    } catch (problem) {
      say(this.#error, problem instanceof ApiError ? problem.message : String(problem));
    }
  }
}

const PILLS: Record<Giving["why"], string> = { free: "Giving", limit: "Giving", quiet: "Quiet hours", paused: "Paused" };

/** In one sentence, for this page and the box's. */
export function factsOf(giving: Giving): string {
  const most = giving.now_kbps === null ? "" : bitrate(giving.now_kbps * 1000);
  const until = giving.until === null ? "" : ` until ${giving.until}`;
  const now = giving.sending_bps > 0 ? ` ${bitrate(giving.sending_bps)} just now.` : "";
  switch (giving.why) {
    case "paused":
      return "Friends get nothing from this box until you let it go on.";
    case "quiet":
      return giving.now_kbps === 0 ? `Friends get nothing from this box${until}.` : `Friends get at most ${most} from this box${until}.${now}`;
    case "limit":
      return giving.now_kbps === 0 ? "Friends get nothing from this box." : `Friends get at most ${most} from this box.${now}`;
    case "free":
      return `Friends get what your line can spare.${now}`;
  }
}

function zoneOf({ wish, zone_here, local_time }: Giving): string {
  const mine = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const of = wish.zone ?? zone_here ?? "the box's own time zone";
  const clock = local_time === null ? "The box does not know the time yet, and keeps no quiet hours." : `The box’s clock shows ${local_time} there.`;
  const moves = mine && wish.zone && mine !== wish.zone ? ` Saving here changes that to ${mine}.` : "";
  return `By the clock in ${of}. ${clock}${moves}`;
}

function megabits(id: string, empty: string): HTMLInputElement {
  return h("input", { id: id || null, type: "number", min: 0, max: 10_000, step: "any", inputmode: "decimal", placeholder: empty });
}

function kilobits(input: HTMLInputElement): number | null {
  return input.value === "" ? null : Math.round(Number(input.value) * 1000);
}

function typed(kbps: number | null): string {
  return kbps === null ? "" : String(kbps / 1000);
}
