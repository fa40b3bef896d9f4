/* Speaks to the server, and keeps what could not be said: what somebody handed in while the line was cut stays in this
   browser, whatever becomes of the page, and is sent as soon as the line is back. */

const PATIENCE_MS = 15000, KEPT_FOR_MS = 7 * 24 * 3600 * 1000;

/** The line is cut, or the server does not answer. */
export class Cut extends Error {}

/** The server says no: its one line, and its JSON. */
export class Refused extends Error {
  constructor(status, told) {
    super(told.error || `the server answers ${status}`);
    this.status = status;
    this.told = told;
  }
}

export async function ask(project, method, path, body) {
  const headers = { "OpenOmni-Project": project, "X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken]").value };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch (error) { throw new Cut(error.message); }
  // A proxy whose server is away says so in words of its own.
  if ([502, 503, 504].includes(answer.status)) throw new Cut(`the server answers ${answer.status}`);
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, told);
  return told;
}

/** What is to be handed in, oldest first; another page of the same browser shares it. */
export class Outbox {
  constructor(project, campaign) { this.key = `openomni-annotation:${project}:${campaign}`; }

  all() {
    try {
      const kept = JSON.parse(localStorage.getItem(this.key)) || [];
      return kept.filter((each) => Date.now() - each.at < KEPT_FOR_MS);
    } catch { return []; }
  }

  put(entry) { this.#store([...this.all().filter((each) => each.assignment !== entry.assignment), { ...entry, at: Date.now() }]); }

  drop(assignment) { this.#store(this.all().filter((each) => each.assignment !== assignment)); }

  #store(entries) {
    try { localStorage.setItem(this.key, JSON.stringify(entries)); } catch { /* full, or closed: this page alone has it */ }
  }
}
