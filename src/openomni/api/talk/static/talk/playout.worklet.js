/* The loudspeaker's side of the audio thread: the jitter buffer, and which sample of which reply leaves when.
   Times are the context's; what `at` names leaves the device an output latency later. */
import { Resampler } from "./resampler.js";

const AUDIBLE = 0.01;     // −40 dBFS
const FADE_S = 0.005;     // a reply that stops in the middle of a sound fades: cut off, it would click
const LEAST_S = 0.02, MOST_S = 0.3;
const LATE_S = 0.25;      // a longer hole is not the line's: the agent had nothing to say yet
const HOLE_S = 0.2;       // lost sound up to this long becomes silence; more is left out
const REPORT_S = 0.5;

class Reply {
  constructor(id, rate) {
    this.id = id;
    this.rate = rate;
    this.resampler = new Resampler(rate, sampleRate);
    this.skipped = 0;     // samples of the reply, at its rate, that were left out
    this.expected = 0;
    this.complete = false;
    this.arrived = currentTime;
    this.playing = this.started = this.audible = false;
    this.dry = null;
    this.gain = 1;
    this.aim = 1;         // 0 while it is paused, or is to stop
    this.stopping = false;
    this.told = 0;
    this.faulty = false;  // the line made a hole in it
  }

  /** Seconds that wait to be played. */
  get held() { return this.resampler.waiting / this.rate; }
  /** Seconds of it that were played. */
  get seconds() { return Math.min(this.resampler.made / sampleRate, this.expected / this.rate); }
}

class Playout extends AudioWorkletProcessor {
  constructor() {
    super();
    this.replies = [];
    this.target = 0.03;   // seconds that are here before a reply starts
    this.underruns = 0;
    this.lastDepth = 0;
    this.gone = [];
    this.port.onmessage = ({ data }) => this[data.kind](data);
  }

  find(id) { return this.replies.find((reply) => reply.id === id); }

  sound({ id, rate, offset, pcm }) {
    if (this.gone.includes(id)) return; // it was stopped; this was still on its way
    let reply = this.find(id);
    if (!reply) this.replies.push(reply = new Reply(id, rate));
    let samples = new Int16Array(pcm);
    const missing = offset - reply.expected;
    if (missing > 0 && missing <= HOLE_S * rate) reply.resampler.push(new Float32Array(missing));
    else if (missing > 0) reply.skipped += missing;
    else if (missing < 0) samples = samples.subarray(-missing);
    if (!samples.length) return;
    reply.resampler.push(Float32Array.from(samples, (sample) => sample / 32768));
    reply.expected = offset + pcm.byteLength / 2;
    if (reply.dry !== null) this.mend(reply);
  }

  /** A hole that the line made asks for a deeper buffer. */
  mend(reply) {
    const hole = currentTime - reply.dry;
    reply.dry = null;
    reply.arrived = currentTime;
    if (hole < LATE_S) {
      this.underruns += 1;
      this.target = Math.min(MOST_S, this.target + hole);
      reply.faulty = true;
    }
  }

  end({ id }) {
    const reply = this.find(id);
    if (reply && !reply.complete) { reply.complete = true; reply.resampler.finish(); }
  }

  stop({ id }) {
    this.gone = [...this.gone.slice(-31), id];
    const reply = this.find(id);
    if (!reply) return;
    reply.stopping = true;
    reply.aim = 0;
    if (!reply.playing || reply.gain === 0) this.finish(reply, currentTime);
  }

  pause({ id }) {
    const reply = this.find(id);
    if (!reply) return;
    reply.aim = 0;
    if (!reply.playing) reply.gain = 0;
  }

  resume({ id }) {
    const reply = this.find(id);
    if (!reply || reply.stopping) return;
    reply.aim = 1;
    this.tell(reply);
  }

  tell(reply) {
    reply.told = reply.seconds;
    this.port.postMessage({ kind: "played", id: reply.id, seconds: reply.seconds });
  }

  finish(reply, at) {
    this.replies = this.replies.filter((each) => each !== reply);
    if (reply.complete && !reply.faulty) this.target = Math.max(LEAST_S, this.target * 0.8);
    this.port.postMessage({ kind: "ended", id: reply.id, seconds: reply.seconds, at });
  }

  process(_, outputs) {
    const channels = outputs[0], out = channels[0];
    let filled = 0;
    while (filled < out.length && this.replies.length) {
      const reply = this.replies[0];
      if (!this.ready(reply)) break;
      filled += this.fill(reply, out.subarray(filled), currentTime + filled / sampleRate);
      if (this.replies[0] === reply) break; // it holds, or has run dry
    }
    for (const channel of channels.slice(1)) channel.set(out);
    if (currentTime - this.lastDepth > 0.25) this.measure();
    return true;
  }

  ready(reply) {
    if (reply.gain === 0 && reply.aim === 0) return false; // paused
    if (reply.playing) return true;
    const enough = reply.held >= this.target || reply.complete || currentTime - reply.arrived >= this.target;
    return (reply.playing = enough && (reply.held > 0 || reply.complete));
  }

  fill(reply, out, at) {
    const count = reply.resampler.pull(out);
    if (count && !reply.started) {
      reply.started = true;
      this.port.postMessage({ kind: "started", id: reply.id, at });
    }
    this.fade(reply, out.subarray(0, count));
    if (!reply.audible) this.listen(reply, out.subarray(0, count), at);
    const ended = at + count / sampleRate;
    if (reply.stopping && reply.gain === 0) this.finish(reply, ended);
    else if (reply.aim === 0 && reply.gain === 0) this.tell(reply);
    else if (count < out.length && (reply.complete || reply.stopping)) this.finish(reply, ended);
    else if (count < out.length) { reply.playing = false; reply.dry = ended; }
    else if (reply.seconds - reply.told >= REPORT_S) this.tell(reply);
    return count;
  }

  fade(reply, out) {
    if (reply.gain === reply.aim && reply.gain === 1) return;
    const by = 1 / (FADE_S * sampleRate);
    for (let index = 0; index < out.length; index += 1) {
      reply.gain = reply.gain < reply.aim ? Math.min(1, reply.gain + by) : Math.max(reply.aim, reply.gain - by);
      out[index] *= reply.gain;
    }
  }

  listen(reply, out, at) {
    const first = out.findIndex((sample) => Math.abs(sample) > AUDIBLE);
    if (first < 0) return;
    reply.audible = true;
    this.port.postMessage({ kind: "audible", id: reply.id, at: at + first / sampleRate });
  }

  measure() {
    this.lastDepth = currentTime;
    const held = this.replies.reduce((sum, reply) => sum + reply.held, 0);
    this.port.postMessage({ kind: "depth", rendered: currentTime, held, target: this.target, underruns: this.underruns });
  }
}

registerProcessor("playout", Playout);
