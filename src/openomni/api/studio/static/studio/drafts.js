/* What was typed and is not saved yet is kept in this tab, so that neither a lapsed sign-in nor a closed page loses it. */

const key = (path) => `openomni-draft ${path}`;

export function keep(path, draft) {
  try { sessionStorage.setItem(key(path), JSON.stringify(draft)); } catch { /* no room, or not allowed: the page alone then */ }
}

/** The draft of a page: `{text, seen, sent}`; null when there is none. */
export function kept(path) {
  try { return JSON.parse(sessionStorage.getItem(key(path))); } catch { return null; }
}

export function forget(path) {
  try { sessionStorage.removeItem(key(path)); } catch { /* nothing was kept */ }
}

/** Those that were sent: called where the server has said that it keeps them. */
export function forgetSent() {
  for (let place = sessionStorage.length - 1; place >= 0; place -= 1) {
    const name = sessionStorage.key(place);
    if (name.startsWith(key("")) && kept(name.slice(key("").length))?.sent) sessionStorage.removeItem(name);
  }
}
