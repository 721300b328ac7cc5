// Fetches the page again every few seconds and puts its content in place; from another machine with the operator's
// token, which is kept for this tab alone.
"use strict";

const EVERY_MS = 5000;
const KEPT = "operator-token";

async function look() {
  const token = sessionStorage.getItem(KEPT);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(location.pathname + location.search, { headers, cache: "no-store" });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.querySelector("main");
  const locked = fresh.hasAttribute("data-locked");
  if (locked && document.querySelector("main[data-locked]")) {
    if (token) {
      sessionStorage.removeItem(KEPT);
      document.getElementById("wrong").textContent = "This is not the operator's token.";
    }
    return;
  }
  document.querySelector("main").replaceWith(fresh);
}

document.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEPT, new FormData(event.target).get("token").trim());
  look();
});

async function keep() {
  try {
    if (sessionStorage.getItem(KEPT) || !document.querySelector("main[data-locked]")) await look();
    document.title = "Relaybox coordinator";
  } catch {
    document.title = "(no answer) Relaybox coordinator";
  }
  setTimeout(keep, EVERY_MS);
}
keep();
