/* What the page shows of a talk: its state, problems, levels, turns, the line. */
import { heardOf } from "./heard.js";
import { waterfall } from "./waterfall.js";

const WORDS = {
  idle: "Ready", connecting: "Connecting…", listening: "Listening", thinking: "Thinking…", speaking: "Speaking",
  away: "The line dropped", failed: "Not possible now",
};
const SHOWN_WHILE_TALKING = ["hold", "interrupt", "agent-first", "mute", "end"];
const TALKING = new Set(["listening", "thinking", "speaking", "away"]);
const QUIET_DB = -60;

const of = (id) => document.getElementById(id);

export class View {
  #turns = new Map();

  /** `act(name)` is called for a button of a problem: "again", "reload", "resume". */
  constructor(act) {
    this.root = of("talk");
    this.act = act;
  }

  state(name, detail = "", hears = false) {
    this.root.dataset.state = name;
    this.root.toggleAttribute("data-hears", hears);
    if (of("state").textContent !== WORDS[name]) of("state").textContent = WORDS[name];
    if (of("detail").textContent !== detail) of("detail").textContent = detail;
    const talking = TALKING.has(name);
    of("start").hidden = talking || name === "connecting";
    for (const id of SHOWN_WHILE_TALKING) of(id).hidden = !talking;
    if (name === "connecting") of("end").hidden = false;
    of("interrupt").disabled = name !== "speaking" && name !== "thinking";
    of("agent-first").disabled = name !== "listening";
  }

  /** Something is wrong: what and the mend, with a button where one helps. */
  problem({ text, action = "", label = "" }) {
    const box = of("problem"), row = box.querySelector(".row");
    box.querySelector("p").textContent = text;
    row.replaceChildren();
    if (action) {
      const button = Object.assign(document.createElement("button"), { type: "button" });
      button.textContent = label || (action === "reload" ? "Load the page again" : "Try again");
      button.addEventListener("click", () => this.act(action));
      row.append(button);
    }
    box.hidden = false;
  }

  well() { of("problem").hidden = true; }

  level(rms) {
    const shown = rms > 0 ? Math.min(1, Math.max(0, 1 - 20 * Math.log10(rms) / QUIET_DB)) : 0;
    of("level").style.setProperty("--level", shown.toFixed(3));
    of("level").setAttribute("aria-valuenow", Math.round(100 * shown));
  }

  held(on) {
    of("hold").setAttribute("aria-pressed", on);
    of("hold").textContent = on ? "Let go to send" : "Hold to talk";
  }

  muted(on) {
    of("mute").setAttribute("aria-pressed", on);
    of("mute").textContent = on ? "Muted" : "Mute";
  }

  line({ depth, roundTrip, late, lost }) {
    const ms = (seconds) => `${Math.round(seconds * 1000)} ms`;
    const words = [
      `jitter buffer ${ms(depth.target)}`, `${depth.underruns} underrun${depth.underruns === 1 ? "" : "s"}`,
      roundTrip === null ? "" : `round trip ${ms(roundTrip)}`, `${late} frames late`, lost ? `${lost} lost` : "",
    ];
    of("turns-section").hidden = false;
    of("line").textContent = words.filter(Boolean).join(" · ");
  }

  /** A turn's record, again when more is known of it. `heard`: voice-to-voice as this page measured it, in seconds. */
  turn(record, heard) {
    const article = document.createElement("article"), head = document.createElement("div");
    article.className = "card";
    article.dataset.turn = record.turn_id;
    if (heard !== undefined) article.dataset.voiceToVoice = heard.toFixed(4);
    article.dataset.heardAt = record.heard_at;
    if (record.voice_to_voice_s != null) article.dataset.recorded = record.voice_to_voice_s.toFixed(4);
    head.className = "row spread";
    head.append(Object.assign(document.createElement("h3"), { textContent: `Turn ${record.index + 1}` }), this.#facts(record, heard));
    const said = Object.assign(document.createElement("p"), { className: "small soft" });
    const part = record.interrupted ? heardOf(record) : undefined;
    said.textContent = [record.transcript, part === undefined ? record.reply_text : `${part} …`].filter(Boolean).join(" — ");
    article.append(head, said);
    if (record.status === "failed" && record.reason) article.append(Object.assign(document.createElement("p"), { className: "fault small", textContent: record.reason }));
    article.append(waterfall(record));
    this.#turns.get(record.turn_id)?.remove();
    this.#turns.set(record.turn_id, article);
    const after = [...of("turns").children].find((other) => Number(other.dataset.index) <= record.index) ?? null;
    article.dataset.index = record.index;
    of("turns").insertBefore(article, after);
    of("turns-section").hidden = false;
  }

  #facts(record, heard) {
    const facts = Object.assign(document.createElement("span"), { className: "row small number" });
    const add = (text, className = "") => facts.append(Object.assign(document.createElement("span"), { textContent: text, className }));
    if (heard !== undefined) add(`voice to voice ${(heard * 1000).toFixed(0)} ms at this loudspeaker`);
    else if (!record.segments?.length) add("not spoken: no voice to voice");
    else if (record.voice_to_voice_s != null) add(`voice to voice ${(record.voice_to_voice_s * 1000).toFixed(0)} ms at the ${record.heard_at || "host"}`);
    if (record.interrupted) add("interrupted", "badge warn");
    if (record.status === "failed") add("failed", "badge bad");
    return facts;
  }

  clear() {
    this.#turns.clear();
    of("turns").replaceChildren();
    of("turns-section").hidden = true;
    of("afterwards").hidden = true;
  }

  afterwards(sessionId) {
    of("session-link").href = `/conversations/${sessionId}/`;
    of("session-copy").dataset.copy = of("session-link").href;
    of("afterwards").hidden = false;
    of("afterwards").scrollIntoView({ block: "nearest" });
  }
}
