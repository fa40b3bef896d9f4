/* Keeps a part of a page fresh: fetches it anew and changes what differs, so that focus, scroll, an open <details> and
   a selection stay. `data-refresh` is the part's address, `data-every` the seconds between two looks. */

const part = document.querySelector("[data-refresh]");
const control = document.querySelector("[data-refresh-switch]");
const says = document.querySelector("[data-refresh-says]");
let heard = Date.now();

/** Makes `now` like `then`, keeping every element that is the same kind at the same place (or has the same id). */
function become(now, then) {
  for (const { name, value } of [...then.attributes]) {
    if (now.getAttribute(name) !== value) now.setAttribute(name, value);
  }
  for (const { name } of [...now.attributes]) {
    // What the reader opened stays open, and what was made reachable by keyboard stays so.
    if (!then.hasAttribute(name) && !["open", "tabindex", "data-reached"].includes(name)) now.removeAttribute(name);
  }
  children(now, then);
}

function children(now, then) {
  const named = new Set([...then.children].map((each) => each.id).filter(Boolean));
  if (named.size) {
    // Entries that went go first, so that those behind them stay where they are; the space between means nothing.
    for (const each of [...now.children]) if (each.id && !named.has(each.id)) each.remove();
    for (const list of [now, then]) for (const each of [...list.childNodes]) if (each.nodeType === Node.TEXT_NODE && !each.data.trim()) each.remove();
  }
  const fresh = [...then.childNodes];
  for (const [place, node] of fresh.entries()) {
    let old = now.childNodes[place];
    if (node.id) {
      const same = [...now.children].find((each) => each.id === node.id);
      if (same && same !== old) now.insertBefore(old = same, now.childNodes[place]);
    }
    if (!old) now.append(node);
    else if (old.nodeType !== node.nodeType || old.nodeName !== node.nodeName || (old.id || "") !== (node.id || "")) old.replaceWith(node);
    else if (node.nodeType === Node.ELEMENT_NODE) become(old, node);
    else if (old.data !== node.data) old.data = node.data;
  }
  while (now.childNodes.length > fresh.length) now.lastChild.remove();
}

async function look() {
  const answer = await fetch(part.dataset.refresh, { credentials: "same-origin", redirect: "error", signal: AbortSignal.timeout(10_000) });
  if (!answer.ok) throw new Error(answer.status);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const focused = document.activeElement;
  children(part, page.body);
  // An entry that changed its place has lost it.
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
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
