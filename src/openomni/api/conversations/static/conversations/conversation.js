/* One conversation: its player over both tracks, the timelines that are fetched when they are opened, and the page that
   follows a conversation that is still going on. */
import { Player } from "./player.js";
import { follow } from "./follow.js";

const player = new Player(document.querySelector(".player"), document.getElementById("conversation"));
player.load();

// `toggle` does not bubble, so it is caught on its way down.
document.addEventListener("toggle", (event) => {
  if (event.target.open && event.target.dataset.timeline) showTimeline(event.target);
}, true);

async function showTimeline(details) {
  const room = details.querySelector(".timeline");
  if (room.childElementCount) return;
  room.textContent = "One moment…";
  try {
    const answer = await fetch(details.dataset.timeline);
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    room.innerHTML = await answer.text(); // our own server's, escaped there
    const scrolls = room.querySelector(".scroll");
    if (scrolls) Object.assign(scrolls, { tabIndex: 0 });
  } catch (error) {
    room.textContent = `The timeline did not come (${error.message}); close and open this again.`;
  }
}

if (document.getElementById("conversation").dataset.follows) follow(() => player.load(), showTimeline);
