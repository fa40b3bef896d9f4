/* The editor of a pipeline: line numbers, indenting, a check after each pause, marks at the lines that are wrong. The
   server checks; without scripts the form saves and is refused just the same. */
import { forget, keep, kept } from "./drafts.js";

const form = document.querySelector("[data-editor]");
const field = form.querySelector("textarea");
const gutter = form.querySelector("[data-gutter]");
const says = form.querySelector("[data-says]");
const list = form.querySelector("[data-problems]");
const drawing = form.querySelector("[data-flow]");
const PAUSE = 500;
let wrong = new Set([...list.querySelectorAll("[data-line]")].map((each) => Number(each.dataset.line)));
let begun = field.value, saving = false, leaving = false, timer = 0, asked = 0;

// ---- line numbers ----

function number() {
  const count = field.value.split("\n").length;
  while (gutter.childElementCount < count) gutter.append(Object.assign(document.createElement("span"), { textContent: gutter.childElementCount + 1 }));
  while (gutter.childElementCount > count) gutter.lastChild.remove();
  [...gutter.children].forEach((each, place) => each.classList.toggle("wrong", wrong.has(place + 1)));
  gutter.scrollTop = field.scrollTop;
}

function goTo(line) {
  const lines = field.value.split("\n");
  const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  field.focus();
  field.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
  field.scrollTop = (line - 4) * field.scrollHeight / lines.length;
}

// ---- typing ----

/** Puts text in place of the selection, so that the browser can undo it. */
function put(text) {
  if (!document.execCommand("insertText", false, text)) field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
}

function indent(back) {
  const { value, selectionStart: start, selectionEnd: end } = field;
  if (start === end && !back) return put("  ");
  const from = value.lastIndexOf("\n", start - 1) + 1;
  const before = value.slice(from, end);
  const after = back ? before.replace(/^ {1,2}/gm, "") : before.replace(/^(?=.)/gm, "  ");
  if (after === before) return;
  field.setSelectionRange(from, end);
  if (after) put(after); else document.execCommand("delete");
  field.setSelectionRange(start === end ? Math.max(from, start + after.length - before.length) : from, from + after.length);
}

field.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if (event.key === "Escape") { leaving = true; return; }
  if (event.key === "Tab" && !leaving && !event.ctrlKey && !event.altKey && !event.metaKey) {
    event.preventDefault();
    indent(event.shiftKey);
  } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
    // The next line begins where this one does; behind `stages:` and the like, and in an entry, two further.
    const line = field.value.slice(field.value.lastIndexOf("\n", field.selectionStart - 1) + 1, field.selectionStart);
    const margin = line.match(/^ */)[0] + (/^\s*- /.test(line) || /:\s*$/.test(line) ? "  " : "");
    if (margin) { event.preventDefault(); put(`\n${margin}`); }
  }
  if (event.key !== "Shift") leaving = false;
});
field.addEventListener("blur", () => { leaving = false; });
field.addEventListener("scroll", () => { gutter.scrollTop = field.scrollTop; });
field.addEventListener("input", () => {
  number();
  keep(location.pathname, { text: field.value, seen: form.seen.value, sent: false });
  clearTimeout(timer);
  timer = setTimeout(check, PAUSE);
});
document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "s") { event.preventDefault(); form.requestSubmit(form.querySelector("[data-save]")); }
});

// ---- checking ----

async function check() {
  const turn = ++asked;
  let found;
  try {
    const answer = await fetch(form.dataset.check, { method: "POST", body: new FormData(form), redirect: "error" });
    if (!answer.ok) throw new Error(answer.status);
    found = await answer.json();
  } catch {
    if (turn === asked) tell("It can't be checked just now: the server does not answer, or you were signed out. What you typed is kept.", "bad");
    return;
  }
  if (turn !== asked) return;  // somebody typed on meanwhile
  wrong = new Set(found.problems.map((each) => each.line).filter(Boolean));
  list.replaceChildren(...found.problems.map(item));
  field.toggleAttribute("aria-invalid", false);
  if (found.problems.length) field.setAttribute("aria-invalid", "true");
  // Said as a whole, for whoever can't see the marks.
  tell(found.says + (found.problems.length ? `: ${found.problems.map((each) => (each.line ? `line ${each.line}: ` : "") + each.text).join("; ")}` : ""), found.tone, found.says);
  if (found.flow) drawing.innerHTML = found.flow;  // made and escaped by our own server
  number();
}

/** `shown` is written, `all` is what a screen reader says. */
function tell(all, tone, shown = all) {
  says.className = `says ${tone}`;
  const rest = Object.assign(document.createElement("span"), { className: "visually-hidden", textContent: all.slice(shown.length) });
  says.replaceChildren(shown, rest);
}

function item(problem) {
  const each = document.createElement("li");
  if (problem.line) {
    each.append(Object.assign(document.createElement("a"), { href: "#text", textContent: `Line ${problem.line}` }), ": ");
    each.firstChild.dataset.line = problem.line;
  }
  each.append(problem.text);
  return each;
}

list.addEventListener("click", (event) => {
  const link = event.target.closest("[data-line]");
  if (link) { event.preventDefault(); goTo(Number(link.dataset.line)); }
});

// ---- drafts ----

form.addEventListener("submit", () => {
  saving = true;
  keep(location.pathname, { text: field.value, seen: form.seen.value, sent: true });
});
addEventListener("beforeunload", (event) => { if (!saving && field.value !== begun) event.preventDefault(); });
addEventListener("pageshow", (event) => { if (event.persisted) saving = false; });

const offer = document.querySelector("[data-draft]");
const draft = kept(location.pathname);
if (draft && draft.text !== field.value) {
  offer.hidden = false;
  offer.querySelector("[data-draft-restore]").addEventListener("click", () => {
    field.value = draft.text;
    form.seen.value = draft.seen;  // so that what others saved since then is not overwritten
    offer.hidden = true;
    field.focus();
    field.dispatchEvent(new Event("input"));
  });
  offer.querySelector("[data-draft-forget]").addEventListener("click", () => { forget(location.pathname); offer.hidden = true; field.focus(); });
}

// ---- looking up ----

const groups = [...document.querySelectorAll("[data-group]")];
document.querySelector("[data-filter]").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const group of groups) {
    const whole = group.querySelector("h3").textContent.toLowerCase().includes(wanted);
    let any = false;
    for (const entry of group.querySelectorAll("[data-entry]")) {
      const fits = !wanted || whole || entry.textContent.toLowerCase().includes(wanted);
      entry.hidden = !fits;
      any ||= fits;
    }
    group.hidden = !any;
  }
  document.querySelector("[data-nothing]").hidden = groups.some((each) => !each.hidden);
});

number();
