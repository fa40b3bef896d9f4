/* Looks again whether everything is well, while somebody looks at the page. */
const EVERY = 5000; // ms
const health = document.getElementById("health"), ready = document.getElementById("ready");
let shown = "";

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
  // What did not change stays as it is, and nobody loses the place at which they are.
  if (text === shown || health.contains(document.activeElement)) return;
  const found = new DOMParser().parseFromString(text, "text/html");
  ready.textContent = found.getElementById("now").textContent;
  found.getElementById("now").remove();
  health.replaceChildren(...found.body.childNodes);
  shown = text;
}

function away() {
  shown = "";
  const badge = health.querySelector(".badge");
  badge.className = "badge bad";
  badge.textContent = "The server does not answer";
  ready.textContent = "The server does not answer. This page tries again by itself; if you were signed out, load it again.";
}

setInterval(look, EVERY);
document.addEventListener("visibilitychange", look);
