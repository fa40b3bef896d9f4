/* The questions of an item: a form of each scale, answered with one key where that can be. */
import { difference } from "./difference.js";

const DIGITS = "1234567890";

export class Questions {
  /** `changed` is called when an answer is another now; `span(question, label)` when a stretch is marked. */
  constructor(room, changed, span) {
    this.room = room;
    this.changed = changed;
    this.span = span;
    this.all = [];
    this.current = 0;
    this.past = [];
    room.addEventListener("focusin", (event) => {
      const at = this.all.findIndex((each) => each.part.contains(event.target));
      if (at >= 0) this.#look(at);
    });
  }

  /** `metrics` as the server tells them; `given` as it was entered: by metric, `{answer | outcome, comment}`. */
  ask(metrics, given) {
    this.all = metrics.map((metric) => new Question(metric, given[metric.metric] || {}, this));
    this.room.replaceChildren(...this.all.map((each) => each.part));
    this.past = [];
    const open = this.all.findIndex((each) => each.metric.required && !each.isAnswered);
    this.#look(open < 0 ? 0 : open);
  }

  get answers() {
    const found = {};
    for (const each of this.all) if (each.isAnswered) found[each.metric.metric] = each.told;
    return found;
  }

  get suggested() {
    const found = {};
    for (const each of this.all) if (each.metric.made) found[each.metric.metric] = each.metric.made;
    return found;
  }

  /** The first that has to be answered and is not. */
  get missing() { return this.all.find((each) => each.metric.required && !each.isAnswered); }

  /** True where a key was an answer, or moved among the questions. */
  key(event) {
    const now = this.all[this.current];
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { this.move(event.key === "ArrowDown" ? 1 : -1); return true; }
    if (!now) return false;
    if (event.key === "n" && now.metric.scale.kind !== "yes_no" || event.key === "N") { now.apart("not_applicable"); return true; }
    if (event.key === "k") { now.part.querySelector(".comment")?.focus(); return true; }
    if (event.key === "c") { this.#correct(); return true; }
    return now.key(event.key);
  }

  /** To the next that is open, after an answer; to the one beside, by the arrows. */
  move(step) { this.#look(Math.min(Math.max(this.current + step, 0), this.all.length - 1)); }

  next() {
    const open = this.all.findIndex((each, at) => at > this.current && each.metric.required && !each.isAnswered);
    const first = this.all.findIndex((each) => each.metric.required && !each.isAnswered);
    if (open >= 0 || first >= 0) this.#look(open >= 0 ? open : first);
  }

  undo() {
    const last = this.past.pop();
    if (!last) return false;
    last.question.put(last.before);
    this.#look(this.all.indexOf(last.question));
    this.changed();
    return true;
  }

  answered(question, before) { this.past.push({ question, before }); this.changed(); }

  #correct() {
    const now = this.all[this.current], box = (each) => each?.part.querySelector(".correction");
    const found = box(now) || this.all.map(box).find(Boolean);
    if (found) { found.focus(); found.setSelectionRange(found.value.length, found.value.length); }
  }

  #look(at) {
    this.current = at;
    this.all.forEach((each, index) => each.part.classList.toggle("current", index === at));
    this.all[at]?.part.scrollIntoView({ block: "nearest" });
  }
}

class Question {
  constructor(metric, given, questions) {
    this.metric = metric;
    this.questions = questions;
    this.part = document.createElement("fieldset");
    this.part.className = "question";
    this.part.dataset.metric = metric.metric;
    const legend = element("legend", {}, metric.title, ...(metric.required ? [] : [element("span", { className: "soft small" }, " if you like")]));
    this.part.append(legend, element("p", { className: "asked" }, metric.question));
    this.field = this.#field();
    this.part.append(this.field);
    const line = element("div", { className: "beside" });
    if (metric.guidance) line.append(element("details", {}, element("summary", {}, "How to judge"), element("p", { className: "guidance" }, metric.guidance)));
    this.none = element("button", { type: "button", className: "quiet small" }, "does not apply");
    this.none.dataset.key = "n"; this.none.dataset.does = "does not apply";
    this.none.addEventListener("click", () => this.apart("not_applicable"));
    line.append(this.none);
    if (metric.comment) {
      this.comment = element("input", { className: "comment", maxLength: 2000, placeholder: "comment" });
      this.comment.setAttribute("aria-label", `Comment on ${metric.title}`);
      this.comment.dataset.key = "k"; this.comment.dataset.does = "writes a comment";
      this.comment.addEventListener("input", () => this.questions.changed());
      line.append(this.comment);
    }
    this.part.append(line);
    this.put(given);
  }

  get isAnswered() { return this.outcome !== "" || this.answer !== undefined; }

  get told() {
    const comment = this.comment?.value.trim() ? { comment: this.comment.value.trim() } : {};
    return this.outcome ? { outcome: this.outcome, ...comment } : { answer: this.answer, ...comment };
  }

  /** As it was entered before, or empty. */
  put(given) {
    this.outcome = given.outcome && given.outcome !== "scored" ? given.outcome : "";
    this.answer = this.outcome ? undefined : given.answer ?? undefined;
    if (this.comment && given.comment !== undefined) this.comment.value = given.comment;
    this.#show();
  }

  /** An answer that somebody gives now. */
  give(answer, moves = true) {
    const before = { answer: this.answer, outcome: this.outcome };
    this.answer = answer;
    this.outcome = "";
    this.#show();
    this.questions.answered(this, before);
    if (moves) this.questions.next();
  }

  apart(outcome) {
    const before = { answer: this.answer, outcome: this.outcome };
    Object.assign(this, this.outcome === outcome ? { outcome: "" } : { outcome, answer: undefined });
    this.#show();
    this.questions.answered(this, before);
    if (this.outcome) this.questions.next();
  }

  /** True where the key is an answer of this scale. */
  key(key) {
    const { scale } = this.metric;
    const choices = [...this.field.querySelectorAll("[data-answer]")];
    if (scale.kind === "number" && (key === "-" || key === "+" || key === "=")) { this.#nudge(key === "-" ? -1 : 1); return true; }
    if (scale.kind === "number" && key === "0") { this.give(Math.min(Math.max(0, low(scale)), high(scale)), false); return true; }
    const chosen = choices.find((each) => each.dataset.hit === key);
    if (chosen) chosen.click();
    return Boolean(chosen);
  }

  #nudge(direction) {
    const { scale } = this.metric, step = scale.step ?? 0.1;
    const from = typeof this.answer === "number" ? this.answer : Math.min(Math.max(0, low(scale)), high(scale)) - direction * step;
    const to = Math.round((from + direction * step) / step) * step;
    this.give(Number(Math.min(Math.max(to, low(scale)), high(scale)).toFixed(6)), false);
  }

  #field() {
    const { scale } = this.metric;
    switch (scale.kind) {
      case "integer": return this.#integers(scale);
      case "stars": return this.#choices(range(1, scale.to ?? 5).map((each) => ({ answer: each, text: "★".repeat(each), name: `${each} of ${scale.to ?? 5} stars`, hit: String(each % 10) })));
      case "yes_no": return this.#choices([{ answer: true, text: "Yes", hit: "y" }, { answer: false, text: "No", hit: "n" }]);
      case "label": return this.#choices(hits(scale.labels).map(([label, hit]) => ({ answer: label, text: label, hit })));
      case "labels": return this.#choices(hits(scale.labels).map(([label, hit]) => ({ answer: label, text: label, hit, several: true })));
      case "spans": return this.#spans(scale);
      case "preference": return this.#preference(scale);
      case "number": return this.#number(scale);
      default: return this.#text(scale);
    }
  }

  #integers(scale) {
    const from = scale.from ?? 0, to = scale.to ?? 5;
    if (to - from > 9 || from < 0) return this.#number({ ...scale, step: 1, whole: true });
    const words = scale.words || {};
    return this.#steps(range(from, to).map((each) => ({ answer: each, text: String(each), words: words[each], hit: String(each % 10) })));
  }

  /** In one line, from the least to the most. */
  #steps(choices) {
    const field = this.#choices(choices);
    field.classList.add("steps");
    return field;
  }

  #choices(choices) {
    const field = element("div", { className: "choices" });
    for (const each of choices) {
      const button = element("button", { type: "button" }, element("span", {}, each.text));
      if (each.words) button.append(element("span", { className: "words small" }, each.words));
      if (each.hit && each.text !== each.hit) button.append(element("kbd", {}, each.hit));
      if (each.name) button.setAttribute("aria-label", each.name);
      button.dataset.answer = JSON.stringify(each.answer);
      if (each.hit) button.dataset.hit = each.hit;
      button.addEventListener("click", () => this.#choose(each));
      field.append(button);
    }
    return field;
  }

  #choose({ answer, several }) {
    if (!several) { this.give(answer); return; }
    const chosen = new Set(this.answer || []);
    if (!chosen.delete(answer)) chosen.add(answer);
    this.give([...chosen], false);
  }

  #preference(scale) {
    const words = { 1: [""], 2: ["slightly", "much"], 3: ["slightly", "clearly", "much"] }[scale.steps ?? 1];
    const side = (sign, name) => words.map((word, at) => ({ answer: sign * (at + 1), text: `${name}${word ? `, ${word}` : ""}` }));
    const choices = [...side(1, "First").reverse(), ...((scale.ties ?? true) ? [{ answer: 0, text: "No difference" }] : []), ...side(-1, "Second")];
    choices.forEach((each, at) => { each.hit = DIGITS[at]; });
    return this.#choices(choices);
  }

  #number(scale) {
    const field = element("div", { className: "number" });
    const slider = element("input", { type: "range", min: low(scale), max: high(scale), step: scale.step ?? 0.1 });
    slider.setAttribute("aria-label", this.metric.title);
    slider.addEventListener("input", () => this.give(Number(slider.value), false));
    const words = Object.entries(scale.words || {}).sort(([one], [other]) => one - other).map(([at, word]) => `${at} ${word}`).join(" · ");
    field.append(slider, element("output", { className: "number" }, "–"), element("span", { className: "soft small" }, words), element("span", { className: "small soft" }, "keys − and +"));
    return field;
  }

  #text(scale) {
    const correction = scale.kind === "correction", field = element("div");
    const box = element("textarea", { rows: correction ? 3 : 2, maxLength: scale.longest ?? 20000, className: correction ? "correction" : "" });
    box.setAttribute("aria-label", this.metric.question);
    if (correction) { box.dataset.key = "c"; box.dataset.does = "corrects the text (Esc leaves it)"; }
    box.addEventListener("input", () => {
      // What was not changed was not corrected, but where it was said to be right.
      this.answer = box.value.trim() || correction ? box.value : undefined;
      this.outcome = "";
      this.#compare(box.value);
      this.questions.changed();
    });
    field.append(box);
    if (correction) {
      const right = element("button", { type: "button", className: "quiet small" }, "It is right as it is ", element("kbd", {}, "="));
      Object.assign(right.dataset, { answer: "right", hit: "=" });
      right.addEventListener("click", () => { this.give(this.metric.made || ""); });
      field.append(element("p", { className: "difference small" }), right);
    }
    return field;
  }

  #spans(scale) {
    const field = element("div");
    const labels = element("div", { className: "choices" });
    for (const [label, hit] of hits(scale.labels)) {
      const button = element("button", { type: "button" }, element("span", {}, label), element("kbd", {}, hit));
      Object.assign(button.dataset, { answer: label, hit });
      button.addEventListener("click", () => this.questions.span(this, label));
      labels.append(button);
    }
    field.append(labels, element("p", { className: "small soft" }, "A key begins a stretch where the sound is, and ends it there."), element("ul", { className: "list marked small" }));
    return field;
  }

  #compare(text) {
    const room = this.field.querySelector(".difference");
    if (!room) return;
    const made = this.metric.made || "";
    room.replaceChildren();
    if (text === made) return;
    for (const { word, is } of difference(made, text)) {
      const mark = is === "same" ? document.createTextNode(word) : element(is === "gone" ? "del" : "ins", {}, word);
      room.append(mark, " ");
    }
  }

  #show() {
    this.part.classList.toggle("answered", this.isAnswered);
    this.none.setAttribute("aria-pressed", this.outcome === "not_applicable");
    const chosen = JSON.stringify(this.answer), several = new Set(Array.isArray(this.answer) ? this.answer.map((each) => JSON.stringify(each)) : []);
    for (const each of this.field.querySelectorAll(".choices [data-answer]")) each.setAttribute("aria-pressed", each.dataset.answer === chosen || several.has(each.dataset.answer));
    const slider = this.field.querySelector("[type=range]");
    if (slider) {
      if (this.answer !== undefined) slider.value = this.answer;
      this.field.querySelector("output").textContent = this.answer ?? "–";
    }
    const box = this.field.querySelector("textarea");
    if (box) {
      const text = this.answer ?? (this.metric.scale.kind === "correction" ? this.metric.made || "" : "");
      if (box.value !== text) box.value = text;
      this.#compare(text);
    }
    const marked = this.field.querySelector(".marked");
    if (marked) marked.replaceChildren(...(this.answer || []).map((each, at) => this.#marked(each, at)));
  }

  #marked(each, at) {
    const gone = element("button", { type: "button", className: "quiet small" }, "Remove");
    gone.setAttribute("aria-label", `Remove ${each.label} at ${each.start_s.toFixed(1)} s`);
    gone.addEventListener("click", () => this.give(this.answer.filter((_, other) => other !== at), false));
    return element("li", { className: "row spread" }, `${each.label}, ${each.track}, ${each.start_s.toFixed(1)} to ${each.end_s.toFixed(1)} s`, gone);
  }
}

function low(scale) { return scale.from ?? (scale.kind === "number" ? -1 : 0); }

function high(scale) { return scale.to ?? (scale.kind === "number" ? 1 : 5); }

function range(from, to) { return Array.from({ length: to - from + 1 }, (_, at) => from + at); }

/** Labels with their keys: 1 to 9 and 0; those beyond have none. */
function hits(labels) { return labels.map((label, at) => [label, DIGITS[at] ?? ""]); }

export function element(name, set = {}, ...within) {
  const made = Object.assign(document.createElement(name), set);
  made.append(...within);
  return made;
}
