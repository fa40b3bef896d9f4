/* From one sample rate to another, in pieces: a Hann-windowed sinc, looked up in a table. It holds back `half` input
   samples, and an output sample stands for the very instant that its number says: nothing is shifted in time. */

const CROSSINGS = 16;  // of the sinc with zero, at each side
const FINE = 256;      // table entries an input sample
const PASSED = 0.94;   // of the band that both rates have; the rest is for the filter's slope

export class Resampler {
  constructor(from, to) {
    this.step = from / to;
    const cutoff = from === to ? 1 : Math.min(1, to / from) * PASSED;
    this.half = from === to ? 0 : Math.ceil(CROSSINGS / cutoff);
    this.table = kernel(cutoff, this.half);
    this.held = new Float32Array(4096);
    this.count = this.half;  // silence before the first sample
    this.first = -this.half; // which input sample held[0] is
    this.made = 0;
  }

  /** Input samples from the next one to be read on. */
  get waiting() { return Math.max(0, this.first + this.count - this.half - Math.floor(this.made * this.step)); }

  push(samples) {
    this.drop();
    if (this.count + samples.length > this.held.length) {
      const larger = new Float32Array(2 * (this.count + samples.length));
      larger.set(this.held.subarray(0, this.count));
      this.held = larger;
    }
    this.held.set(samples, this.count);
    this.count += samples.length;
  }

  /** What the filter holds back, at the end of a sound. */
  finish() { this.push(new Float32Array(this.half + 1)); }

  /** Writes up to `out.length` samples, as many as the input is there for; returns how many. */
  pull(out) {
    let done = 0;
    for (; done < out.length; done += 1, this.made += 1) {
      const place = this.made * this.step, whole = Math.floor(place);
      const from = whole - this.half + (this.half ? 1 : 0), to = whole + this.half;
      if (to >= this.first + this.count) break;
      out[done] = this.half ? this.filtered(place, from, to) : this.held[whole - this.first];
    }
    return done;
  }

  filtered(place, from, to) {
    let sum = 0;
    for (let at = from; at <= to; at += 1) sum += this.held[at - this.first] * this.table[Math.round(Math.abs(place - at) * FINE)];
    return sum;
  }

  /** Lets go of what no output needs any more, a large piece at a time. */
  drop() {
    const spent = Math.min(Math.floor(this.made * this.step) - this.half - this.first, this.count);
    if (spent < 2048) return;
    this.held.copyWithin(0, spent, this.count);
    this.count -= spent;
    this.first += spent;
  }
}

function kernel(cutoff, half) {
  const table = new Float32Array(half * FINE + FINE + 1);
  for (let index = 0; index <= half * FINE; index += 1) {
    const x = index / FINE, turn = Math.PI * x * cutoff;
    const sinc = x === 0 ? 1 : Math.sin(turn) / turn;
    table[index] = cutoff * sinc * (0.5 + 0.5 * Math.cos(Math.PI * x / Math.max(half, 1)));
  }
  return table;
}
