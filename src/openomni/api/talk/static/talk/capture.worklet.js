/* The microphone's side of the audio thread: frames of 20 ms at 16 kHz, each with its place and its time. */
import { Resampler } from "./resampler.js";

const RATE = 16000, FRAME = 320;
const NOTHING = new Float32Array(128);

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, RATE);
    this.some = new Float32Array(256);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.position = 0;
    this.origin = null; // the context's time of sample 0
  }

  process(inputs) {
    if (this.origin === null) this.origin = currentTime;
    // A device that is gone gives nothing; the axis goes on in silence until another one is connected.
    this.resampler.push(inputs[0][0] ?? NOTHING);
    for (let count; (count = this.resampler.pull(this.some)) > 0;) this.take(this.some.subarray(0, count));
    return true;
  }

  take(samples) {
    for (const sample of samples) {
      this.frame[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32767)));
      if (this.filled === FRAME) this.give();
    }
  }

  give() {
    let power = 0;
    for (const sample of this.frame) power += sample * sample;
    const level = Math.sqrt(power / FRAME) / 32768;
    const message = { position: this.position, at: this.origin + this.position / RATE, rendered: currentTime, pcm: this.frame, level };
    this.port.postMessage(message, [this.frame.buffer]);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.position += FRAME;
  }
}

registerProcessor("capture", Capture);
