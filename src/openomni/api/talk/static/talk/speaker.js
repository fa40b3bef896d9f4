/* The loudspeaker, through the audio thread: plays replies one after another, and says what was really heard when. */
import { now } from "./clock.js";

const PATIENCE_MS = 30_000; // a reply stays paused so long; where nobody said by then how it goes on, nobody will
const STALE_MS = 3000;      // after a break, a reply that gets no more sound for so long is taken for complete

export class Speaker {
  #node; #replies = new Map();

  /** `report(message)` gets what the gateway is to be told; `heard(turn, at)` when a reply's first
      audible sample leaves the loudspeaker; `changed()` is called when what is playing changes; `ended(turn,
      played, length)` says how many seconds of how many that had come were played. */
  constructor(context, clock, { report, heard, changed, ended }) {
    this.context = context;
    this.clock = clock;
    this.report = report;
    this.onheard = heard;
    this.onchanged = changed;
    this.onended = ended;
    this.depth = { held: 0, target: 0, underruns: 0 };
    this.#node = new AudioWorkletNode(context, "playout", { numberOfInputs: 0, outputChannelCount: [2] });
    this.#node.port.onmessage = ({ data }) => this[`_${data.kind}`](data);
    this.#node.connect(context.destination);
  }

  /** The turn whose reply is heard now; null for silence. */
  get playing() {
    for (const [id, reply] of this.#replies) if (reply.started !== null) return id;
    return null;
  }

  /** Seconds from the audio thread's hands to the air. */
  get latency() { return this.context.outputLatency || this.context.baseLatency || 0; }

  play({ turn, rate, offset, pcm }) {
    if (!this.#replies.has(turn)) this.#replies.set(turn, { came: now(), started: null, audible: null, seconds: 0, patience: 0, length: 0, offset: 0 });
    Object.assign(this.#replies.get(turn), { offset, length: (offset + pcm.byteLength / 2) / rate });
    this.#node.port.postMessage({ kind: "sound", id: turn, rate, offset, pcm }, [pcm]);
  }

  has(turn) { return this.#replies.has(turn); }

  /** No more of it comes. A reply that was not completed falls silent at once. */
  end(turn, status) { this.#node.port.postMessage({ kind: status === "completed" ? "end" : "stop", id: turn }); }

  pause(turn) {
    const reply = this.#replies.get(turn);
    if (!reply) return;
    clearTimeout(reply.patience);
    reply.patience = setTimeout(() => this.end(turn, "cancelled"), PATIENCE_MS);
    this.#node.port.postMessage({ kind: "pause", id: turn });
  }

  resume(turn) {
    clearTimeout(this.#replies.get(turn)?.patience);
    this.#node.port.postMessage({ kind: "resume", id: turn });
  }

  /** Silence, at once; what was played is reported. */
  stopAll() { for (const turn of this.#replies.keys()) this.end(turn, "cancelled"); }

  /** After a break: the end of a reply may have been said while nobody listened. */
  endStale() {
    const before = [...this.#replies].map(([turn, reply]) => [turn, reply.offset]);
    setTimeout(() => {
      for (const [turn, offset] of before) if (this.#replies.get(turn)?.offset === offset) this.end(turn, "completed");
    }, STALE_MS);
  }

  close() { this.#node.disconnect(); this.#replies.clear(); }

  // ---- what the audio thread says ----

  _depth({ rendered, held, target, underruns }) {
    this.clock.note(rendered);
    this.depth = { held, target, underruns };
  }

  _started({ id, at }) {
    const reply = this.#replies.get(id);
    if (!reply) return;
    reply.started = this.clock.toNow(at, reply.came) + this.latency;
    this.onchanged();
  }

  _audible({ id, at }) {
    const reply = this.#replies.get(id);
    if (!reply) return;
    reply.audible = this.clock.toNow(at, reply.came) + this.latency;
    this.#tell(id, reply, false);
    this.onheard(id, reply.audible);
  }

  _played({ id, seconds }) {
    const reply = this.#replies.get(id);
    if (!reply) return;
    reply.seconds = seconds;
    this.#tell(id, reply, false);
  }

  _ended({ id, seconds }) {
    const reply = this.#replies.get(id);
    if (!reply) return;
    clearTimeout(reply.patience);
    this.#replies.delete(id);
    reply.seconds = seconds;
    this.#tell(id, reply, true);
    this.onended(id, seconds, reply.length);
    this.onchanged();
  }

  #tell(turn, { started, audible, seconds }, ended) {
    if (started === null) return; // nothing of it was heard
    this.report({ type: "openomni.playback", turn_id: turn, started, audible, seconds, ended });
  }
}
