/* Looks again whether everything is well, while somebody looks at the page. */
import { patch } from "../openomni/patch.js";

const EVERY = 5000; // ms
const health = document.getElementById("health"), ready = document.getElementById("ready");

async function look() {
  if (document.hidden) return;
  let text;
  try {
    const answer = await fetch(health.dataset.from, { headers: { Accept: "text/html" }, redirect: "error" });
    if (!answer.ok) throw new Error(String(answer.status));
    text = await answer.text();
  } catch {
    away();
    return;
  }
  const found = new DOMParser().parseFromString(text, "text/html");
  const now = found.getElementById("now");
  if (ready.textContent !== now.textContent) ready.textContent = now.textContent; // else it would be read out each time
  now.remove();
  patch(health, found.body);
}

function away() {
  const badge = health.querySelector(".badge");
  badge.className = "badge bad";
  badge.textContent = "The server does not answer";
  ready.textContent = "The server does not answer. This page tries again by itself; if you were signed out, load it again.";
}

setInterval(look, EVERY);
document.addEventListener("visibilitychange", look);
