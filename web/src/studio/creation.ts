// The form that adds a stream.

import { ApiError, ask } from "../page/api";
import { h, say } from "../page/dom";

export function creation(done: (name: string) => void): HTMLElement {
  const input = h("input", { id: "new-name", type: "text", required: true, maxlength: 64, pattern: "[A-Za-z0-9_][A-Za-z0-9_\\-]*", autocomplete: "off", autocapitalize: "none", spellcheck: "false", "aria-describedby": "new-hint new-error", title: "Letters, digits, - and _" });
  const error = h("p", { id: "new-error", class: "error-text", role: "alert" });
  const button = h("button", { type: "submit", class: "button" }, "Add stream");
  const form = h(
    "form",
    { class: "creation" },
    h("h2", {}, "Add a stream"),
    h("p", { id: "new-hint", class: "hint" }, "Each stream has a key of its own. The name is part of the address people open: letters, digits, - and _."),
    h("div", { class: "field" }, h("label", { for: "new-name" }, "Name"), h("div", { class: "field-row" }, input, button)),
    error,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    say(error, "");
    try {
      const name = input.value.trim();
      await ask("/api/v1/studio/streams", { method: "POST", json: { name } });
      input.value = "";
      done(name);
    } catch (problem) {
      say(error, problem instanceof ApiError ? problem.message : String(problem));
    } finally {
      button.disabled = false;
    }
  });
  return form;
}
