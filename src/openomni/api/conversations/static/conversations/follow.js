/* Follows a conversation that is still going on, or whose recordings are still on their way: fetches its page again
   and puts in what is new. What has the focus, or was opened, stays as it is. */

const OFTEN_MS = 2000, SELDOM_MS = 30000;

/** `changed` is called when something is new; `reopen` with each turn's timeline that was open and is replaced. */
export function follow(changed, reopen) {
  let wait = OFTEN_MS;
  const look = async () => {
    let follows = true;
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (answer.ok && !answer.redirected) {
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
          const news = put(fresh, reopen);
          wait = news ? OFTEN_MS : Math.min(wait * 1.3, SELDOM_MS);
          follows = Boolean(fresh.getElementById("conversation")?.dataset.follows);
          if (news || !follows) changed();
        }
      } catch { wait = Math.min(wait * 2, SELDOM_MS); } // the line is down; it is tried again
    }
    if (follows) setTimeout(look, wait);
  };
  setTimeout(look, wait);
  // The recording grows between turns too.
  document.addEventListener("visibilitychange", () => { if (!document.hidden) wait = OFTEN_MS; });
}

/** True when something on the page is another now. */
function put(fresh, reopen) {
  let news = false;
  for (const id of ["about", "state", "strips"]) {
    const old = document.getElementById(id), now = fresh.getElementById(id);
    if (now && bare(old) !== bare(now)) { old.innerHTML = now.innerHTML; news = true; }
  }
  const heading = document.querySelector("h1"), title = fresh.querySelector("h1");
  if (title && heading.textContent !== title.textContent) heading.textContent = title.textContent;
  let list = document.getElementById("turns");
  const turns = fresh.querySelectorAll("#turns > .turn");
  if (turns.length && list.localName !== "ol") {
    const filled = document.createElement("ol");
    Object.assign(filled, { id: "turns", className: "turns" });
    list.replaceWith(filled);
    list = filled;
  }
  for (const turn of turns) {
    const old = document.getElementById(turn.id);
    if (old?.dataset.version === turn.dataset.version) continue;
    news = true;
    const opened = old?.querySelector("details")?.open, focused = old?.contains(document.activeElement);
    if (focused) continue; // somebody is in it; the next look comes soon
    const now = document.importNode(turn, true);
    if (old) old.replaceWith(now);
    else { list.append(now); tell(`${now.querySelector("h3").textContent} began`); }
    if (opened) { const details = now.querySelector("details"); details.open = true; reopen(details); }
  }
  return news;
}

/** What the server sent; the player adds where strips lie. */
function bare(room) { return room.innerHTML.replace(/ style="[^"]*"/g, ""); }

function tell(text) { document.getElementById("news").textContent = text; }
