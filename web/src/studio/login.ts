// The PIN form. The box decides; this says what it decided, and waits as long as it asks.

import { ApiError, ask } from "../page/api";
import { h, say } from "../page/dom";

/** Resolves once the box has given a session. */
export function login(room: HTMLElement): Promise<void> {
  return new Promise((resolve) => {
    const pin = h("input", { id: "pin", type: "password", inputmode: "numeric", autocomplete: "current-password", required: true, maxlength: 64, "aria-describedby": "pin-hint pin-error" });
    const error = h("p", { id: "pin-error", class: "error-text", role: "alert" });
    const button = h("button", { type: "submit", class: "button primary" }, "Open the studio");
    const form = h(
      "form",
      { class: "panel login" },
      h("h1", {}, "Studio"),
      h("p", { id: "pin-hint", class: "lede" }, "Watching is open to everyone at home. Keys and settings need the box's PIN, which it printed when it first started."),
      h("div", { class: "field" }, h("label", { for: "pin" }, "PIN"), pin),
      error,
      button,
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        await ask("/api/v1/session", { method: "POST", json: { pin: pin.value.trim() } });
        resolve();
      } catch (problem) {
        pin.value = "";
        await refused(problem, error);
      } finally {
        button.disabled = false;
        pin.focus();
      }
    });
    room.replaceChildren(form);
    pin.focus();
  });
}

async function refused(problem: unknown, said: HTMLElement): Promise<void> {
  const { status, message, retryAfterS } = problem instanceof ApiError ? problem : new ApiError(0, String(problem), null);
  if (status === 429) {
    for (let left = Math.min(retryAfterS ?? 5, 3600); left > 0; left -= 1) {
      say(said, `Too many tries. Wait ${left} s, then try again.`);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    say(said, "");
    return;
  }
  say(said, status === 401 ? "That is not the PIN of this box." : message);
}
