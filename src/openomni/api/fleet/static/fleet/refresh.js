/* Keeps a part of a page fresh: fetches it anew and changes what differs, so that focus, scroll, an open <details> and
   a selection stay. `data-refresh` is the part's address, `data-every` the seconds between two looks. */

import { patch } from "../openomni/patch.js";

const part = document.querySelector("[data-refresh]");
const control = document.querySelector("[data-refresh-switch]");
const says = document.querySelector("[data-refresh-says]");
let heard = Date.now();

async function look() {
  const answer = await fetch(part.dataset.refresh, { credentials: "same-origin", redirect: "error", signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(answer.status);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  patch(part, page.body);
}

async function keep() {
  for (;;) {
    await new Promise((done) => setTimeout(done, part.dataset.every * 1000));
    if (!control.checked || document.hidden) continue;
    try {
      await look();
      heard = Date.now();
      if (says.textContent) says.textContent = "";
    } catch {
      const text = `The server does not answer; this is how it was at ${new Date(heard).toLocaleTimeString()}.`;
      if (says.textContent !== text) says.textContent = text;
    }
  }
}

if (part && control) {
  document.querySelector("[data-refreshing]").hidden = false;
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "r" || document.documentElement.dataset.keys === "off") return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("textarea, select, input:not([type=checkbox])")) return;
    control.click();
  });
  keep();
}
