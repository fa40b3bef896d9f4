/* Changes a part of a page into another state of it, so that focus, scroll, an open <details> and a selection stay. */

/** Gives `now` the content of `then`, keeping every element that is the same kind at the same place, or has the same id. */
export function patch(now, then) {
  const focused = document.activeElement;
  children(now, then);
  // An entry that changed its place has lost it.
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

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
