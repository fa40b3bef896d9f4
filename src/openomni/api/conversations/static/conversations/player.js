/* The player of a conversation: a picture of both tracks from the server's peaks, with the turns marked in it. The
   picture is a slider, and the whole works by keyboard. */

const STEP_S = 5, HEIGHT = 64;

export class Player {
  /** `section` has the audio and the picture; `page` the turns, each with `data-begins`. */
  constructor(section, page) {
    this.section = section;
    this.page = page;
    this.audio = section.querySelector("audio");
    this.waves = section.querySelector("#waves");
    this.seconds = 0;
    this.tag = "";
    for (const name of ["timeupdate", "seeking", "loadedmetadata"]) this.audio.addEventListener(name, () => this.show());
    for (const name of ["play", "pause", "ended"]) this.audio.addEventListener(name, () => this.name());
    this.audio.addEventListener("error", () => { if (this.seconds) this.say("The sound did not come; load the page again."); });
    for (const picture of [this.waves, section.querySelector("#strips")]) picture.addEventListener("pointerdown", (event) => this.drag(event));
    this.waves.addEventListener("keydown", (event) => this.slide(event));
    section.querySelector("#play").addEventListener("click", () => this.toggle());
    section.querySelector("#earlier").addEventListener("click", () => this.turn(-1));
    section.querySelector("#later").addEventListener("click", () => this.turn(1));
    page.addEventListener("click", (event) => {
      const button = event.target.closest("[data-play]");
      if (button && this.seconds) { this.seek(Number(button.dataset.play)); this.play(); }
    });
    document.addEventListener("keydown", (event) => this.key(event));
  }

  /** Fetches the peaks; the sound too is fetched anew where it is another than before and nothing plays. */
  async load() {
    try {
      const answer = await fetch(this.section.dataset.peaks);
      if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
      const tag = answer.headers.get("ETag") || "";
      const peaks = await answer.json();
      if (tag !== this.tag) this.take(peaks, this.tag !== "");
      this.tag = tag;
      this.lay();
    } catch (error) {
      this.say(`The picture of the sound did not come (${error.message}); load the page again.`);
    }
  }

  take(peaks, again) {
    const sounds = peaks.seconds > 0;
    for (const each of [this.waves, this.audio, this.section.querySelector(".keys-line"), document.getElementById("legend")]) each.hidden = !sounds;
    const waiting = peaks.waiting === 1 ? "1 recording is still on its way" : `${peaks.waiting} recordings are still on their way`;
    this.say(peaks.waiting ? `${waiting}; what is here so far can be heard.` : sounds ? "" : "Nothing of this conversation was recorded.");
    if (peaks.waiting && !sounds) this.say(`${waiting}: whoever made them sends them as soon as the line allows.`);
    this.page.toggleAttribute("data-silent", !sounds);
    this.seconds = peaks.seconds;
    this.draw(".person", peaks.left);
    this.draw(".agent", peaks.right);
    this.mark();
    if (again && this.audio.paused) {
      const at = this.audio.currentTime;
      this.audio.load();
      if (at) this.seek(at);
    }
    this.show();
  }

  draw(track, values) {
    const svg = this.waves.querySelector(track), middle = HEIGHT / 2;
    svg.setAttribute("viewBox", `0 0 ${Math.max(values.length, 1)} ${HEIGHT}`);
    // The square root lifts quiet speech, which is most of it, into sight.
    const bar = (value, x) => { const tall = Math.max(Math.sqrt(value) * middle, 0.5); return `M${x} ${middle - tall}h1v${2 * tall}h-1z`; };
    svg.querySelector("path").setAttribute("d", values.map(bar).join(""));
  }

  /** Numbers under the picture, as many as have room. */
  mark() {
    const marks = this.waves.querySelector(".marks"), room = 28 / Math.max(this.waves.clientWidth, 1);
    marks.replaceChildren();
    let last = -1;
    this.turns().forEach((turn, index) => {
      const place = Number(turn.dataset.begins) / this.seconds;
      if (!(place <= 1) || place - last < room) return;
      last = place;
      const mark = document.createElement("span");
      mark.textContent = index + 1;
      mark.style.left = `${place * 100}%`;
      marks.append(mark);
    });
  }

  /** Each strip of pictures over the stretch that it shows; a video whose length nobody told goes on to the end. */
  lay() {
    for (const strip of this.section.querySelectorAll(".strip")) {
      const begins = Math.min(Number(strip.dataset.begins), this.seconds), left = this.seconds - begins;
      const shown = Math.min(Number(strip.dataset.seconds) || left, left);
      if (shown > 0) Object.assign(strip.style, { marginLeft: `${(begins / this.seconds) * 100}%`, width: `${(shown / this.seconds) * 100}%` });
    }
  }

  turns() { return [...this.page.querySelectorAll(".turn[data-begins]")]; }

  seek(seconds) {
    const at = Math.min(Math.max(seconds, 0), this.seconds);
    if (this.audio.readyState === 0) this.audio.load();
    this.audio.currentTime = at; // before the sound is there it is where it will begin
    this.show(at);
  }

  toggle() { if (!this.audio.paused) this.audio.pause(); else if (this.seconds) this.play(); }

  play() { this.audio.play().catch((error) => { if (error.name !== "AbortError") this.say(`It can't be played: ${error.message}`); }); }

  turn(step) {
    const at = this.audio.currentTime, begins = this.turns().map((turn) => Number(turn.dataset.begins));
    const next = step > 0 ? begins.find((each) => each > at + 0.05) : begins.findLast((each) => each < at - 1);
    if (next !== undefined) this.seek(next);
    else if (step < 0) this.seek(0);
  }

  show(at = this.audio.currentTime) {
    const now = Math.round(at);
    this.waves.querySelector(".head").style.left = `${this.seconds ? (at / this.seconds) * 100 : 0}%`;
    this.waves.setAttribute("aria-valuemax", Math.round(this.seconds));
    this.waves.setAttribute("aria-valuenow", now);
    const turns = this.turns(), current = turns.findLastIndex((turn) => Number(turn.dataset.begins) <= at + 0.01);
    this.waves.setAttribute("aria-valuetext", `${clock(now)} of ${clock(this.seconds)}${current >= 0 ? `, turn ${current + 1}` : ""}`);
    turns.forEach((turn, index) => turn.classList.toggle("now", index === current && at > 0));
  }

  name() { this.section.querySelector("#play").textContent = this.audio.paused ? "Play" : "Pause"; }

  say(text) { const room = this.section.querySelector("#waiting"); if (room.textContent !== text) room.textContent = text; }

  drag(event) {
    if (!this.seconds) return;
    const to = (moved) => {
      const box = this.waves.getBoundingClientRect();
      this.seek(((moved.clientX - box.left) / box.width) * this.seconds);
    };
    to(event);
    this.waves.setPointerCapture(event.pointerId);
    this.waves.addEventListener("pointermove", to);
    this.waves.addEventListener("lostpointercapture", () => this.waves.removeEventListener("pointermove", to), { once: true });
  }

  slide(event) {
    const at = this.audio.currentTime;
    const places = {
      ArrowLeft: at - STEP_S, ArrowDown: at - STEP_S, ArrowRight: at + STEP_S, ArrowUp: at + STEP_S,
      PageDown: at - 6 * STEP_S, PageUp: at + 6 * STEP_S, Home: 0, End: this.seconds,
    };
    if (event.key in places) { event.preventDefault(); this.seek(places[event.key]); }
  }

  /** Keys of the whole page; where somebody writes or a control has the focus they are its own. */
  key(event) {
    if (document.documentElement.dataset.keys === "off" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest?.("input, textarea, select, audio, dialog")) return;
    if (event.key === "n") this.turn(1);
    else if (event.key === "p") this.turn(-1);
    else if (event.key === " " && !event.target.closest?.("button, a, summary")) { event.preventDefault(); this.toggle(); }
  }
}

function clock(seconds) {
  const whole = Math.round(seconds), minutes = Math.floor(whole / 60);
  return `${minutes}:${String(whole % 60).padStart(2, "0")}`;
}
