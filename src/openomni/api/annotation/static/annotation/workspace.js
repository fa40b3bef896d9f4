/* The workspace: one item after the other, by keyboard. What is entered is kept on the server as it is entered; what is
   handed in while the line is cut is kept in this browser, and sent when it is back. */
import { ask, Cut, Outbox, Refused } from "./asking.js";
import { element, Questions } from "./questions.js";
import { clock, Sound } from "./sound.js";

const AUTOSAVE_MS = 1200, STILL_HERE_MS = 60000, RETRY_MS = 3000, WAITS_MS = 20000;
const page = document.getElementById("workspace");
const campaign = page.dataset.campaign, project = page.dataset.project;
const at = (id) => document.getElementById(id);
const outbox = new Outbox(project, campaign);

class Workspace {
  constructor() {
    this.item = null;
    this.done = [];
    this.busy = false;
    this.saving = Promise.resolve();
    this.sound = new Sound(page.querySelector(".player"));
    this.sound.failed = (text) => this.trouble(text);
    this.questions = new Questions(at("questions"), () => this.entered(), (question, label) => this.span(question, label));
    at("answers").addEventListener("submit", (event) => { event.preventDefault(); this.save(); });
    at("look-again").addEventListener("input", () => this.entered());
    const presses = {
      play: () => this.sound.toggle(), again: () => this.sound.playFrom(this.begins), reply: () => this.sound.playFrom(this.replies),
      hear: () => this.sound.hear(), speed: () => this.sound.faster(this.sound.speed >= 5 ? -5 : 1), loop: () => this.sound.loop(),
      event: () => this.sound.nextChange(), undo: () => this.undo(), before: () => this.before(), skip: () => at("skip-dialog").showModal(),
    };
    for (const [id, does] of Object.entries(presses)) at(id).addEventListener("click", does);
    at("skip-dialog").addEventListener("close", () => this.skip());
    at("waves").addEventListener("keydown", (event) => this.slide(event));
    document.addEventListener("keydown", (event) => this.key(event));
    addEventListener("online", () => this.flush());
    addEventListener("pagehide", () => this.keepDraft());
    setInterval(() => { if (this.item && !document.hidden && Date.now() - this.active < STILL_HERE_MS) this.keepDraft(true); }, STILL_HERE_MS);
    for (const name of ["keydown", "pointerdown"]) addEventListener(name, () => this.worked(), true);
    this.active = Date.now();
    this.worked_s = 0;
  }

  async begin() {
    await this.flush();
    if (!this.item) await this.next();
  }

  /** Asks for the next item; one that is ours already comes back. */
  async next() {
    try {
      this.take(await ask(project, "POST", `/annotation/campaigns/${encodeURIComponent(campaign)}/next`, {}));
    } catch (error) { this.failed(error, () => this.next()); }
  }

  take(found) {
    this.trouble("");
    at("done").textContent = found.done;
    at("left").textContent = found.left;
    if (found.item) { this.show(found.item); return; }
    this.item = null;
    at("item").hidden = true;
    at("nothing").hidden = false;
    at("nothing-why").textContent = found.waits
      ? "Others work on the last ones. Should one of them leave, it comes here by itself."
      : "Thank you: all that could be asked of you is answered.";
    if (found.waits) setTimeout(() => { if (!this.item) this.next(); }, WAITS_MS);
  }

  show(item, answers = null) {
    this.item = item;
    this.version = item.draft_version;
    this.worked_s = 0;
    this.open = null;
    const draft = answers ? { answers } : item.draft;
    at("item").hidden = false;
    at("nothing").hidden = true;
    at("training").hidden = !item.training;
    at("look-again").value = draft.look_again || "";
    this.questions.ask(item.metrics, draft.answers || {});
    const rated = item.turns.filter((each) => each.rated);
    at("turns").replaceChildren(...item.turns.map((each) => this.#turn(each)));
    at("turns").querySelector(".rated")?.scrollIntoView({ block: "nearest" });
    this.#which(rated);
    this.listen(rated, 0);
    at("kept").textContent = item.status === "done" ? "You handed this in before; what you change now corrects it." : "";
    if (item.gone) this.trouble("What this was about was erased meanwhile; skip it.");
    at("news").textContent = item.training ? "A training item" : "The next item";
    if (document.activeElement === document.body || at("answers").contains(document.activeElement)) at("save").focus({ preventScroll: true });
  }

  /** One of several sounds: of a pair, or of a group's turns. */
  async listen(rated, number) {
    const turn = rated[number], item = this.item;
    if (!turn) return;
    const path = `/api/v1/annotation/items/${item.assignment}/sounds/${number + 1}`, mine = `project=${encodeURIComponent(project)}`;
    this.begins = item.target === "session" ? 0 : turn.begins_s ?? 0;
    this.replies = turn.reply_s;
    for (const [index, each] of [...at("which").children].entries()) each.setAttribute("aria-pressed", index === number);
    try {
      const peaks = await ask(project, "GET", `/annotation/items/${item.assignment}/sounds/${number + 1}/peaks?points=1200`);
      if (this.item !== item) return;
      const changes = item.turns.flatMap((each) => [each.spoken_s, each.reply_s, each.cut_s]).filter((each) => each !== null).sort((one, other) => one - other);
      this.sound.load(`${path}?${mine}`, peaks, this.begins, changes);
      if (!peaks.seconds) at("kept").textContent = peaks.waiting ? "Its sound is still on its way." : "Nothing of it was recorded.";
    } catch (error) { if (!(error instanceof Refused && error.status === 404)) this.trouble(`The sound did not come: ${error.message}`); }
  }

  // ---- what is entered ----

  entered() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.keepDraft(), AUTOSAVE_MS);
    const spans = this.questions.all.filter((each) => each.metric.scale.kind === "spans").flatMap((each) => each.answer || []);
    this.sound.mark(spans);
  }

  get draft() { return { answers: this.questions.answers, look_again: at("look-again").value }; }

  /** Keeps what is entered; `quietly`: only says that somebody is still here. */
  keepDraft(quietly = false) {
    clearTimeout(this.timer);
    const item = this.item;
    if (!item || item.status === "done") return this.saving;
    this.saving = this.saving.then(async () => {
      if (this.item !== item) return;
      try {
        const kept = await ask(project, "PUT", `/annotation/items/${item.assignment}/draft`, { draft: this.draft, version: this.version });
        this.version = kept.version;
        if (!quietly) at("kept").textContent = "Kept.";
      } catch (error) {
        if (error instanceof Refused && error.told.draft_version !== undefined) this.trouble("Another page of yours is at this item, too. Load this page again to go on here.");
        else if (error instanceof Refused && error.status === 409) this.trouble(error.message);
        else at("kept").textContent = "The line is cut; what you enter is kept here.";
      }
    });
    return this.saving;
  }

  /** A stretch begins where the sound is, and ends there at the next press. */
  span(question, label) {
    const track = question.metric.scale.track === "agent" || (this.sound.track === 2) ? "agent" : "person";
    if (this.open?.label === label && this.open.question === question) {
      const [start_s, end_s] = [this.open.start_s, this.sound.at].sort((one, other) => one - other);
      if (end_s > start_s) question.give([...(question.answer || []), { label, track: this.open.track, start_s, end_s }], false);
      this.open = null;
      at("kept").textContent = "";
    } else {
      this.open = { question, label, track, start_s: this.sound.at };
      at("kept").textContent = `${label} begins at ${clock(this.sound.at)}; the same key ends it.`;
    }
  }

  // ---- handing in ----

  async save() {
    if (this.busy || !this.item) return;
    const missing = this.questions.missing;
    if (missing) {
      this.trouble(`${missing.metric.title} is not answered yet; where it does not apply, say so (key n).`);
      missing.part.scrollIntoView({ block: "nearest" });
      return;
    }
    this.busy = true;
    this.sound.audio.pause();
    clearTimeout(this.timer);
    const item = this.item;
    const entry = {
      assignment: item.assignment, answers: this.questions.answers, seconds: Math.round(this.worked_s * 10) / 10,
      look_again: at("look-again").value, suggested: this.questions.suggested,
    };
    if (this.sound.share !== null) entry.heard = this.sound.share;
    outbox.put(entry);
    try {
      await this.saving;
      const told = await this.#send(entry, true);
      this.done.push(item.assignment);
      if (told.wrong.length) this.#trained(told.wrong);
      this.take(told.next);
    } catch (error) {
      if (error instanceof Refused && error.status === 409) { this.done.push(item.assignment); await this.next(); this.trouble(error.message); }
      else this.failed(error, () => this.flush().then(() => this.item === item && !outbox.all().length && this.next()));
    } finally { this.busy = false; }
  }

  /** What is kept here goes out, oldest first. */
  async flush() {
    for (const entry of outbox.all()) {
      try { await this.#send(entry, false); } catch (error) {
        if (error instanceof Cut) { this.failed(error, () => this.begin()); return; }
        this.trouble(`What you handed in before was refused: ${error.message}`);
      }
    }
  }

  async #send({ assignment, at: _, ...given }, next) {
    try {
      const told = await ask(project, "POST", `/annotation/items/${assignment}/hand-in`, { ...given, next });
      outbox.drop(assignment);
      return told;
    } catch (error) {
      if (error instanceof Refused) outbox.drop(assignment);
      throw error;
    }
  }

  async skip() {
    const dialog = at("skip-dialog"), reason = at("skip-reason").value.trim();
    if (dialog.returnValue !== "skip" || !reason || !this.item) return;
    dialog.returnValue = "";
    at("skip-reason").value = "";
    try {
      await this.saving;
      await ask(project, "POST", `/annotation/items/${this.item.assignment}/skip`, { reason });
    } catch (error) { if (!(error instanceof Refused)) { this.failed(error); return; } }
    await this.next();
  }

  /** The item that was handed in before this one, to correct it; this one waits. */
  async before() {
    const key = this.done.pop();
    if (!key) { this.trouble("There is nothing before this in this page."); return; }
    await this.keepDraft();
    try {
      const item = await ask(project, "GET", `/annotation/items/${key}`);
      this.trouble("");
      this.show(item, item.answers);
    } catch (error) { this.failed(error); }
  }

  undo() { if (!this.questions.undo()) this.trouble("There is nothing to take back."); }

  // ---- keys ----

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const writes = event.target.closest?.("input:not([type=range]), textarea, select");
    if (event.key === "Escape" && writes) { writes.blur(); event.preventDefault(); return; }
    if (event.key === "Enter" && event.target.matches?.("input")) { event.preventDefault(); event.target.blur(); return; }
    if (writes || document.documentElement.dataset.keys === "off" || !this.item) return;
    const plain = {
      " ": () => this.sound.toggle(), r: () => this.sound.playFrom(this.begins), a: () => this.sound.playFrom(this.replies),
      t: () => this.sound.hear(), "[": () => this.sound.faster(-1), "]": () => this.sound.faster(1), o: () => this.sound.loop(),
      e: () => this.sound.nextChange(), ArrowLeft: () => this.sound.step(-1), ArrowRight: () => this.sound.step(1),
      l: () => at("look-again").focus(), z: () => this.undo(), b: () => this.before(), x: () => at("skip-dialog").showModal(),
      Enter: () => this.save(),
    };
    const on = event.target.closest?.("button, a, summary");
    if (on && (event.key === " " || event.key === "Enter") && on.id !== "save") return; // it is pressed
    if (this.questions.key(event)) { event.preventDefault(); return; }
    if (event.key in plain) { event.preventDefault(); plain[event.key](); }
  }

  slide(event) {
    const places = { Home: 0, End: this.sound.seconds, PageDown: this.sound.at - 10, PageUp: this.sound.at + 10 };
    if (event.key in places) { event.preventDefault(); this.sound.seek(places[event.key]); }
  }

  /** Seconds in which somebody did something; a break counts for little. */
  worked() {
    this.worked_s += Math.min((Date.now() - this.active) / 1000, 60);
    this.active = Date.now();
  }

  // ---- what is told ----

  trouble(text) { at("trouble").textContent = text; at("trouble").hidden = !text; }

  failed(error, again) {
    if (error instanceof Refused) { this.trouble(error.message); return; }
    this.trouble("The line is cut. What you entered is kept here, and sent as soon as it is back.");
    if (again) setTimeout(again, RETRY_MS);
  }

  #trained(wrong) {
    const lines = wrong.map((each) => `${each.metric}: ${JSON.stringify(each.expected)} was expected${each.why ? `, for ${each.why}` : ""}`);
    at("kept").textContent = lines.join(". ");
    setTimeout(() => this.trouble(`Training. ${lines.join(". ")}.`), 0);
  }

  #turn(turn) {
    const said = element("dl", { className: "said" }, element("dt", { className: "person" }, "Person"), element("dd", {}, turn.transcript || "no words"),
      element("dt", { className: "agent" }, "Agent"), element("dd", {}, turn.reply || "no reply"));
    const head = element("div", { className: "turn-head" }, element("h3", {}, `Turn ${turn.number}`));
    if (turn.interrupted) head.append(element("span", { className: "badge warn" }, "interrupted"));
    if (turn.rated && this.item.target === "turn") head.append(element("span", { className: "badge info" }, "the one to rate"));
    if (turn.pipeline) head.append(element("span", { className: "small soft" }, turn.pipeline));
    return element("li", { className: `card turn${turn.rated ? " rated now" : ""}` }, head, said);
  }

  #which(rated) {
    const names = this.item.target === "pair" ? ["First", "Second"] : rated.map((each) => `Turn ${each.number}`);
    const several = this.item.target === "pair" || this.item.target === "group";
    at("which").hidden = !several;
    at("which").replaceChildren(...(several ? names : []).map((name, number) => {
      const button = element("button", { type: "button" }, name);
      button.addEventListener("click", async () => { await this.listen(rated, number); this.sound.play(); });
      return button;
    }));
  }
}

const workspace = new Workspace();
workspace.begin();
