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

/** The audio context's time on our clock. A message of the audio thread comes after the time that it names, never
    before it: the shortest delay of the last ones is believed. */
export class AudioClock {
  #delays = [];

  note(rendered) { this.#delays = [...this.#delays.slice(-199), now() - rendered]; }
  /** The context stood still; what was known of it before is worth nothing. */
  reset() { this.#delays = []; }
  toNow(at) { return at + (this.#delays.length ? Math.min(...this.#delays) : 0); }
  get known() { return this.#delays.length > 0; }
}
