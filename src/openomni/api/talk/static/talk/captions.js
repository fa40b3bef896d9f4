/* What both sides say, as it is said: a log of lines, one a side and turn. */

export class Captions {
  #lines = new Map();

  constructor(list) { this.list = list; }

  clear() { this.list.replaceChildren(); this.#lines.clear(); }

  /** More of what somebody says. `side` is "you" or "agent". */
  add(key, side, text) {
    const line = this.#line(key, side);
    line.text += text;
    line.spoken.textContent = line.text;
    this.#follow();
  }

  /** All that somebody said. */
  set(key, side, text) {
    const line = this.#line(key, side);
    line.text = text;
    line.spoken.textContent = text || "(nothing was understood)";
    line.item.classList.remove("partial");
    this.#follow();
  }

  /** All that somebody said, where a break of the line had swallowed some of it, or everything. */
  complete(key, side, text) { if (text && this.#lines.get(key)?.text.trim() !== text.trim()) this.set(key, side, text); }

  /** A line that is known by another name too. */
  alias(key, known) { if (this.#lines.has(known) && !this.#lines.has(key)) this.#lines.set(key, this.#lines.get(known)); }

  finish(key) { this.#lines.get(key)?.item.classList.remove("partial"); }

  /** Somebody begins to speak; what they say is not known yet. */
  begin(key, side) { this.#line(key, side); this.#follow(); }

  /** The reply was cut: what was heard of it stays, the rest is struck. `share`: how much of it was, 0…1. */
  cut(key, share) { this.#strike(key, (text) => endOf(wordsOf(text), (words) => Math.round(words.length * Math.min(Math.max(share, 0), 1)))); }

  /** The same, once the host says which words were heard. */
  cutAfter(key, heard) { this.#strike(key, (text) => upTo(text, heard)); }

  /** `end`: up to which letter of a text it was heard. */
  #strike(key, end) {
    const line = this.#lines.get(key);
    if (!line) return;
    const kept = end(line.text);
    line.spoken.textContent = line.text.slice(0, kept);
    const unheard = document.createElement("del");
    unheard.textContent = line.text.slice(kept);
    const note = document.createElement("span");
    note.className = "note";
    note.textContent = " interrupted: the rest was not heard";
    line.spoken.append(unheard, note);
    line.item.classList.remove("partial");
  }

  /** There is no reply, or no more of it: why, in the agent's place. */
  fail(key, reason) {
    const { item } = this.#line(key, "agent");
    if (item.querySelector(".failure")) return;
    const line = this.#lines.get(key);
    if (!line.text) line.spoken.textContent = "";
    item.classList.remove("partial");
    item.append(Object.assign(document.createElement("span"), { className: "failure", textContent: `The reply failed: ${reason}` }));
    this.#follow();
  }

  /** Takes a line away again: it came to nothing. */
  drop(key) {
    const line = this.#lines.get(key);
    if (line && !line.text) { line.item.remove(); this.#lines.delete(key); }
  }

  #line(key, side) {
    const known = this.#lines.get(key);
    if (known) return known;
    const item = document.createElement("p"), who = document.createElement("span"), spoken = document.createElement("span");
    item.className = `${side} partial`;
    who.className = "who";
    who.textContent = side === "you" ? "You" : "Agent";
    spoken.className = "spoken";
    spoken.textContent = "…";
    item.append(who, " ", spoken);
    this.list.append(item);
    const line = { item, spoken, text: "" };
    this.#lines.set(key, line);
    return line;
  }

  #follow() { this.list.scrollTop = this.list.scrollHeight; }
}

const wordsOf = (text) => text.match(/\s*\S+\s*/g) ?? [];

/** Where the first `count(words)` of them end. */
const endOf = (words, count) => words.slice(0, count(words)).join("").length;

/** Up to which letter a reply was heard: it begins with that, or, as earlier hosts told it, has as many words; a dash or
 *  a smiley is none, for nobody speaks it. */
function upTo(text, heard) {
  const ahead = text.length - text.trimStart().length;
  if (heard && text.startsWith(heard, ahead)) {
    const rest = text.slice(ahead + heard.length);
    return text.length - rest.trimStart().length;
  }
  const isWord = (token) => /[\p{L}\p{N}]/u.test(token);
  const count = heard.split(/\s+/).filter(isWord).length;
  let found = 0;
  return endOf(wordsOf(text), (words) => {
    const end = words.findIndex((word) => isWord(word) && ++found > count);
    return end < 0 ? words.length : end;
  });
}
