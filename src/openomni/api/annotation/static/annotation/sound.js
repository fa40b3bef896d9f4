/* What is heard of an item: both tracks on one axis, each alone, slower and faster, over and over. The sound is read in
   pieces as it is played, so that a long one begins at once; the picture is made by the server. */

const STEP_S = 2, HEIGHT = 64, SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2], HEARD_STEP_S = 0.25;
const TRACKS = ["Both tracks", "Person alone", "Agent alone"];

export class Sound {
  constructor(section) {
    this.section = section;
    this.audio = section.querySelector("audio");
    this.waves = section.querySelector("#waves");
    this.speed = 2;
    this.track = 0;
    this.looped = false;
    this.from = 0;
    this.seconds = 0;
    this.changes = [];
    this.heard = new Set();
    this.audio.addEventListener("timeupdate", () => this.#played());
    for (const name of ["play", "pause", "ended", "seeking", "loadedmetadata"]) this.audio.addEventListener(name, () => this.show());
    this.audio.addEventListener("error", () => { if (this.seconds) this.failed?.("The sound did not come; press Play to try again."); });
    this.waves.addEventListener("pointerdown", (event) => this.#drag(event));
    this.#draws();
  }

  /** `sound`: the address of the WAV; `peaks`: what the server drew; `from`: where the item begins, in seconds. */
  load(sound, peaks, from, changes) {
    this.audio.pause();
    this.audio.src = sound;
    Object.assign(this, { seconds: peaks.seconds, from, changes, heard: new Set() });
    this.#draw(".person", peaks.left);
    this.#draw(".agent", peaks.right);
    this.#position(Math.max(from, 0));
    this.#apply();
    this.show();
  }

  /** Which share of the item was played, at whatever speed. */
  get share() {
    const steps = Math.max(Math.ceil((this.seconds - this.from) / HEARD_STEP_S), 1);
    return this.seconds ? Math.min(this.heard.size / steps, 1) : null;
  }

  get at() { return this.audio.currentTime; }

  async play() {
    this.#wire();
    if (this.audio.error) this.audio.load();
    if (this.at >= this.seconds - 0.05) this.seek(this.from);
    try { await this.audio.play(); } catch (error) { if (error.name !== "AbortError") this.failed?.(`It can't be played: ${error.message}`); }
  }

  toggle() { if (this.audio.paused) this.play(); else this.audio.pause(); }

  seek(seconds) { this.#position(Math.min(Math.max(seconds, 0), this.seconds)); this.show(); }

  playFrom(seconds) { if (seconds === null) return; this.seek(seconds); this.play(); }

  nextChange() {
    const next = this.changes.find((each) => each > this.at + 0.05) ?? this.changes[0];
    if (next !== undefined) this.seek(Math.max(next - 0.3, 0));
  }

  hear() { this.track = (this.track + 1) % TRACKS.length; this.#wire(); this.#apply(); this.show(); }

  faster(step) { this.speed = Math.min(Math.max(this.speed + step, 0), SPEEDS.length - 1); this.#apply(); this.show(); }

  loop() { this.looped = !this.looped; this.show(); }

  step(direction) { this.seek(this.at + direction * STEP_S); }

  show() {
    const share = this.seconds ? (this.at / this.seconds) * 100 : 0;
    this.waves.querySelector(".head").style.left = `${share}%`;
    this.waves.setAttribute("aria-valuemax", Math.round(this.seconds));
    this.waves.setAttribute("aria-valuenow", Math.round(this.at));
    this.waves.setAttribute("aria-valuetext", `${clock(this.at)} of ${clock(this.seconds)}`);
    const say = (id, text) => { const room = this.section.querySelector(id); if (room.textContent !== text) room.textContent = text; };
    say("#play", this.audio.paused ? "▶ Play" : "❚❚ Pause");
    say("#hear", TRACKS[this.track]);
    say("#speed", `${SPEEDS[this.speed]}×`);
    say("#clock", `${clock(this.at)} of ${clock(this.seconds)}`);
    this.section.querySelector("#loop").setAttribute("aria-pressed", this.looped);
    say("#heard", this.share === null ? "" : `${Math.round(this.share * 100)} % of it was played`);
  }

  /** Stretches over the picture: `{label, track, start_s, end_s}`. */
  mark(spans) {
    const room = this.waves.querySelector(".spans");
    room.replaceChildren(...spans.map((each) => {
      const mark = document.createElement("span");
      mark.textContent = each.label;
      mark.className = each.track;
      mark.style.left = `${(each.start_s / this.seconds) * 100}%`;
      mark.style.width = `${((each.end_s - each.start_s) / this.seconds) * 100}%`;
      return mark;
    }));
  }

  #played() {
    if (!this.audio.paused && this.at >= this.from) this.heard.add(Math.floor((this.at - this.from) / HEARD_STEP_S));
    if (this.looped && this.at >= this.seconds - 0.1) this.seek(this.from);
    this.show();
  }

  /** A frame at a time while it plays: the head does not jump, and nothing that was heard is missed. */
  #draws() {
    const next = () => {
      if (!this.audio.paused) this.#played();
      requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
  }

  #position(seconds) {
    if (this.audio.readyState === 0) this.audio.addEventListener("loadedmetadata", () => { this.audio.currentTime = seconds; }, { once: true });
    this.audio.currentTime = seconds;
  }

  /** Each side's loudness in both ears; made at the first press of a key, before which no browser sounds. */
  #wire() {
    if (this.gains) return;
    const context = new AudioContext();
    const split = context.createChannelSplitter(2), mixed = context.createChannelMerger(2);
    context.createMediaElementSource(this.audio).connect(split);
    this.gains = [0, 1].map((side) => {
      const gain = context.createGain();
      split.connect(gain, side);
      for (const ear of [0, 1]) gain.connect(mixed, 0, ear);
      return gain;
    });
    mixed.connect(context.destination);
    this.context = context;
    this.#apply();
  }

  #apply() {
    this.audio.playbackRate = SPEEDS[this.speed];
    if (!this.gains) return;
    this.context.resume();
    this.gains.forEach((gain, side) => { gain.gain.value = this.track === 0 || this.track === side + 1 ? 1 : 0; });
  }

  #draw(track, values) {
    const svg = this.waves.querySelector(track), middle = HEIGHT / 2;
    svg.setAttribute("viewBox", `0 0 ${Math.max(values.length, 1)} ${HEIGHT}`);
    const bar = (value, x) => { const tall = Math.max(Math.sqrt(value) * middle, 0.5); return `M${x} ${middle - tall}h1v${2 * tall}h-1z`; };
    svg.querySelector("path").setAttribute("d", values.map(bar).join(""));
  }

  #drag(event) {
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
}

export function clock(seconds) {
  const minutes = Math.floor(seconds / 60), rest = Math.max(seconds - 60 * minutes, 0);
  return `${minutes}:${rest.toFixed(1).padStart(4, "0")}`;
}
