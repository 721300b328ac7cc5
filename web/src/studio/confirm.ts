// Asks before something that can't be undone.

import { h } from "../page/dom";

interface Question {
  title: string;
  text: string;
  action: string;
}

/** True if the action was chosen; false for anything else, as closing the dialog. */
export function confirmed({ title, text, action }: Question): Promise<boolean> {
  return new Promise((resolve) => {
    const keep = h("button", { type: "submit", class: "button", value: "no", autofocus: true }, "Cancel");
    const act = h("button", { type: "submit", class: "button danger", value: "yes" }, action);
    const dialog = h(
      "dialog",
      { class: "confirm", "aria-labelledby": "confirm-title" },
      h("form", { method: "dialog" }, h("h2", { id: "confirm-title" }, title), h("p", {}, text), h("div", { class: "confirm-row" }, keep, act)),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
