/* Time: stamps in seconds of `performance.now()`, how far the gateway's clock and the audio context's are from it. */

export const now = () => performance.now() / 1000;

/** The offset to the gateway's clock from round trips. A trip bounds it to ± half of its time on the wire, so the
    shortest of the last ones is believed (the minimum filter of NTP, RFC 5905). */
export class Offset {
  #trips = [];

  add(sent, received, sentBack, came) {
    const wire = Math.max(0, came - sent - (sentBack - received));
    this.#trips = [...this.#trips.slice(-31), { wire, seconds: (received - sent + sentBack - came) / 2 }];
  }

  get best() { return this.#trips.reduce((best, trip) => (best && best.wire <= trip.wire ? best : trip), null); }
  /** What to add to a stamp of ours to get the gateway's. */
  get seconds() { return this.best?.seconds ?? 0; }
  get uncertainty() { return (this.best?.wire ?? 0) / 2; }
  /** Seconds of the newest round trip. */
  get roundTrip() { return this.#trips.at(-1)?.wire ?? null; }
}

const NEWEST = 4, LOST_S = 0.01;

/** The audio context's time on our clock. A message of the audio thread comes after the time that it names, never
    before it: the shortest delay of the last ones is believed. A context that a busy machine held up is behind for good
    by what it lost, so what is shorter than all of the newest is forgotten. */
export class AudioClock {
  #delays = [];

  note(rendered) {
    this.#delays = [...this.#delays.slice(-199), now() - rendered];
    const newest = this.#delays.slice(-NEWEST);
    if (newest.length === NEWEST && Math.min(...newest) > this.#shortest + LOST_S) this.#delays = newest;
  }
  /** The context stood still; what was known of it before is worth nothing. */
  reset() { this.#delays = []; }
  /** `earliest`: before it, it can't have been; what says so is older than the last time lost. */
  toNow(at, earliest = -Infinity) {
    if (this.known && at + this.#shortest < earliest) this.#delays = [earliest - at];
    return at + (this.known ? this.#shortest : 0);
  }
  get #shortest() { return Math.min(...this.#delays); }
  get known() { return this.#delays.length > 0; }
}
