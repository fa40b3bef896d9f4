/* One session: what comes over the line becomes captions, sound and a state; what is said goes out. */
import { AudioClock } from "./clock.js";
import { Connection, newId } from "./connection.js";
import { heardOf } from "./heard.js";
import { Hold } from "./hold.js";
import { Microphone } from "./microphone.js";
import { Speaker } from "./speaker.js";

const RATE = 16000;
const QUIET_ERRORS = new Set(["response_cancel_not_active"]); // the reply ended while it was being cancelled

const turnOf = (id) => id.replace(/^(item|resp|msg)_/, "");
const replyOf = (turn) => `msg_${turn}`;

export class Session {
  #context = null; #awaited = new Set(); #hearing = ""; #speechEnd = new Map(); #audible = new Map(); #voiceToVoice = new Map(); #records = new Map();
  #paused = new Set(); #cancelled = new Set(); #stopped = new Set(); #heardOf = new Map(); #position = { at: 0, captured: 0 }; #note = ""; #down = ""; #started = false;

  /** `tell` has `changed()`, `problem(error, device)`, `turn(record, heard)`, `level(rms)`, `over(refused)`,
      `suspended()`. */
  constructor({ address, token, version, captions, tell }) {
    this.captions = captions;
    this.tell = tell;
    this.clock = new AudioClock();
    this.microphone = this.speaker = this.camera = null;
    this.speaksFirst = false;
    this.muted = false;
    this.connection = new Connection({
      address,
      token,
      hello: { version, role: "listener", audio: "binary", source: "browser" },
      tell: {
        up: (shake) => this.#up(shake),
        down: (reason) => { this.#down = reason; this.tell.changed(); },
        event: (event) => this.#event(event),
        sound: (chunk) => this.#sound(chunk),
        over: (refused) => this.tell.over(refused),
      },
    });
    this.hold = new Hold(this.connection);
  }

  get id() { return this.connection.sessionId; }

  /** {name, detail, hears} for the view. */
  get state() {
    if (!this.#started) return { name: "connecting", detail: this.#down };
    if (!this.connection.up) return { name: "away", detail: `${this.#down}: what you say is kept, and sent once the line is back` };
    const playing = this.speaker?.playing;
    if (playing && !this.#paused.has(playing)) return { name: "speaking", detail: this.#note || "speak, or press Esc, to interrupt" };
    if (this.#hearing || playing) return { name: "listening", detail: "I hear you", hears: true };
    if (this.#awaited.size) return { name: "thinking", detail: this.#note };
    return { name: "listening", detail: this.#note || this.#invitation() };
  }

  #invitation() {
    if (!this.microphone) return "type what you want to say";
    if (this.muted) return "the microphone is muted";
    if (this.hold.held) return "speak; let go when you have finished";
    return this.hold.push ? "hold Space, or the button, and speak" : "just speak";
  }

  // ---- beginning and end ----

  /** The audio of both ways on one context, so that both are on one sample clock. Raises what the browser does. */
  async openSound(speakerId) {
    this.#context = new AudioContext({ latencyHint: "interactive" });
    if (speakerId && this.#context.setSinkId) await this.#context.setSinkId(speakerId).catch(() => {});
    const file = (name) => new URL(name, import.meta.url);
    await Promise.all([this.#context.audioWorklet.addModule(file("capture.worklet.js")), this.#context.audioWorklet.addModule(file("playout.worklet.js"))]);
    this.#context.onstatechange = () => {
      this.clock.reset();
      if (this.#context.state !== "running" && this.#context.state !== "closed") this.tell.suspended();
      else this.tell.changed();
    };
    this.speaker = new Speaker(this.#context, this.clock, {
      report: (message) => this.connection.report(message),
      heard: (turn, at) => this.#heard(turn, at),
      changed: () => this.tell.changed(),
      ended: (turn, played, length) => this.#played(turn, played, length),
    });
    // Not waited for: a browser that wants a gesture first lets it hang until there was one.
    this.resume();
    if (this.#context.state === "suspended") setTimeout(() => { if (this.#context?.state === "suspended") this.tell.suspended(); }, 1000);
  }

  resume() { this.#context?.resume().catch(() => {}); }

  /** Raises what getUserMedia does. */
  async openMicrophone(deviceId, settings, push) {
    const microphone = new Microphone(this.#context, this.clock, {
      frame: (frame) => this.#frame(frame),
      gone: (label) => this.tell.problem({ gone: label }, "microphone"),
    });
    await microphone.open(deviceId, settings);
    this.microphone = microphone;
    this.hold.microphone = microphone;
    this.hold.set(push);
  }

  open() { this.connection.open(); }

  setSpeaker(id) { return this.#context?.setSinkId?.(id).catch((error) => this.tell.problem(error, "loudspeaker")); }

  close() {
    this.speaker?.stopAll();
    this.connection.close();
    this.camera?.close();
    this.microphone?.close();
    this.speaker?.close();
    if (this.#context) this.#context.onstatechange = null;
    this.#context?.close().catch(() => {});
    this.#context = this.microphone = this.speaker = null;
  }

  #up({ resumed, again }) {
    this.#started = true;
    this.#down = "";
    if (again && !resumed) {
      this.captions.drop(this.#hearing); // another host hears it anew, as a turn of its own
      this.#awaited.clear();
      this.#hearing = "";
    }
    if (again) this.speaker?.endStale();
    if (!this.speaker && !resumed) this.connection.send({ type: "session.update", session: { type: "realtime", output_modalities: ["text"] } });
    this.hold.again();
    if (!again && this.speaksFirst) this.agentFirst();
    this.#say(again ? (resumed ? "back; the session goes on" : "back; what was said before is remembered") : "");
  }

  /** A word beside the state, for a moment. */
  #say(note) {
    this.#note = note;
    if (note) setTimeout(() => { if (this.#note === note) { this.#note = ""; this.tell.changed(); } }, 4000);
    this.tell.changed();
  }

  // ---- what goes out ----

  #frame({ position, captured, pcm, level }) {
    if (this.muted) pcm.fill(0);
    this.#position = { at: position, captured };
    this.connection.sendSound(position, captured, pcm);
    this.hold.sent(captured);
    this.tell.level(this.muted ? 0 : level);
  }

  picture(jpeg, at) {
    const position = Math.max(0, Math.round(this.#position.at + (at - this.#position.captured) * RATE));
    // A picture that is late is worth nothing: none waits for the line.
    if (this.connection.up) this.connection.send({ type: "openomni.frame", position, jpeg });
  }

  type(text) {
    this.interrupt();
    const item = { id: newId("item"), type: "message", role: "user", content: [{ type: "input_text", text }] };
    this.captions.add(item.id, "you", text); // until it is known that it got there
    this.connection.ask(item);
    this.#say("");
  }

  agentFirst() { this.connection.ask(); }

  /** The agent falls silent, at once; what was heard of its reply is told. */
  interrupt() {
    const playing = this.speaker?.playing;
    if (this.#awaited.size) this.connection.send({ type: "response.cancel" });
    if (!playing) return;
    // Only we know how much was heard of what was sent; and all may have been, while the news of it is on its way.
    this.#stopped.add(playing);
    this.#cancel(playing);
  }

  #cancel(turn) {
    this.#cancelled.add(turn);
    if (this.speaker?.has(turn)) this.speaker.end(turn, "cancelled");
    else if (!this.#heardOf.has(turn)) this.captions.cut(replyOf(turn), 0);
  }

  // ---- what comes in ----

  #sound(chunk) {
    if (!this.#cancelled.has(chunk.turn)) this.speaker?.play(chunk);
  }

  #heard(turn, at) {
    this.#audible.set(turn, at);
    this.#measure(turn);
    this.#show(turn);
  }

  /** Voice-to-voice, once both its ends are known, whichever comes last. */
  #measure(turn) {
    const at = this.#audible.get(turn), end = this.#speechEnd.get(turn);
    if (at === undefined || end === undefined) return;
    const captured = this.microphone?.capturedAt(Math.round(end));
    if (captured == null) return;
    this.#voiceToVoice.set(turn, at - captured);
    this.#audible.delete(turn);
  }

  #played(turn, played, length) {
    this.#heardOf.set(turn, length ? played / length : 0);
    if (this.#cancelled.has(turn)) this.captions.cut(replyOf(turn), this.#heardOf.get(turn));
    if (this.#stopped.delete(turn)) {
      this.connection.send({ type: "conversation.item.truncate", item_id: replyOf(turn), content_index: 0, audio_end_ms: Math.round(played * 1000) });
    }
    this.#paused.delete(turn);
    this.tell.changed();
  }

  #show(turn) {
    const record = this.#records.get(turn);
    this.#measure(turn);
    if (record) this.tell.turn(record, this.#voiceToVoice.get(turn));
  }

  #event(event) {
    this.#take(event);
    this.tell.changed();
  }

  #take(event) {
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        this.#hearing = event.item_id;
        return this.captions.begin(event.item_id, "you");
      case "input_audio_buffer.speech_stopped":
        this.#hearing = "";
        this.#awaited.add(turnOf(event.item_id));
        this.#speechEnd.set(turnOf(event.item_id), event.audio_end_ms * RATE / 1000);
        return this.#show(turnOf(event.item_id));
      case "conversation.item.input_audio_transcription.delta":
        return this.captions.add(event.item_id, "you", event.delta);
      case "conversation.item.input_audio_transcription.completed":
        return this.captions.set(event.item_id, "you", event.transcript);
      case "conversation.item.added":
        return this.#item(event.item);
      case "response.created":
        return this.#awaited.add(turnOf(event.response.id));
      case "response.output_audio_transcript.delta":
      case "response.output_text.delta":
        return this.captions.add(event.item_id, "agent", event.delta);
      case "response.done":
        this.captions.finish(replyOf(turnOf(event.response.id)));
        return this.#ended(turnOf(event.response.id), event.response.status);
      case "openomni.answering":
        return this.captions.alias(`item_${event.turn_id}`, this.connection.began(event.request, event.turn_id));
      case "openomni.reply.ended":
        return this.#ended(event.turn_id, event.status);
      case "openomni.reply.paused":
        this.#paused.add(event.turn_id);
        return this.speaker?.pause(event.turn_id);
      case "openomni.reply.resumed":
        this.#paused.delete(event.turn_id);
        return this.speaker?.resume(event.turn_id);
      case "openomni.turn.done":
        return this.#done(event.turn);
      case "openomni.session.ended":
        return event.resuming ? this.#say(`${event.reason}; another agent takes over`) : undefined;
      case "openomni.session.resumed":
        this.connection.askAgain();
        return this.#say("another agent goes on");
      case "error":
        if (event.error.event_id) this.connection.done({ request: event.error.event_id });
        return QUIET_ERRORS.has(event.error.code) ? undefined : this.#say(event.error.message);
    }
  }

  #item(item) {
    const text = item.content?.find(({ type }) => type === "input_text")?.text;
    if (item.role === "user" && text !== undefined) this.captions.set(item.id, "you", text);
  }

  #ended(turn, status) {
    this.#awaited.delete(turn);
    if (this.#hearing === `item_${turn}`) this.#hearing = "";
    if (status === "completed") this.speaker?.end(turn, status);
    else this.#cancel(turn);
  }

  #done(record) {
    const turn = record.turn_id, known = this.#records.get(turn);
    this.connection.done({ turn });
    this.#awaited.delete(turn);
    if (known && (known.version ?? 1) > (record.version ?? 1)) return;
    this.#records.set(turn, record);
    if (record.status === "completed" && !record.interrupted) this.captions.complete(replyOf(turn), "agent", record.reply_text);
    if (record.status === "failed") this.captions.fail(replyOf(turn), record.reason || "nobody says why; look at the agent's log");
    if (record.interrupted) {
      this.#cancel(turn); // it may have been complete, and cut while it was still being heard
      const heard = heardOf(record);
      if (heard !== undefined) this.captions.cutAfter(replyOf(turn), heard);
    }
    this.#show(turn);
  }
}
