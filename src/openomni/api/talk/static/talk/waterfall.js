/* Where each millisecond of a turn went: drawn by the server, as on every page, from the record that this page was told. */

/** A place for the picture, filled once the server has drawn it; a line of text when it can't. */
export function waterfall(turn) {
  const place = document.createElement("div");
  drawn(turn).then((picture) => place.replaceChildren(picture), (fault) => {
    place.replaceChildren(Object.assign(document.createElement("p"), { className: "soft small", textContent: `No timeline: ${fault.message}.` }));
  });
  return place;
}

async function drawn(turn) {
  const headers = { "X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken]").value, "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch("/talk/timeline/", { method: "POST", headers, body: JSON.stringify(turn), redirect: "manual" });
  } catch {
    throw new Error("the server can't be reached; the turn's own page will have it");
  }
  if (!answer.ok) throw new Error(answer.type === "opaqueredirect" ? "you are signed out" : `the server answers ${answer.status}`);
  return document.createRange().createContextualFragment(await answer.text());
}
