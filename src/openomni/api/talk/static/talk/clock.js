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

const KEPT = 200, NEWEST_S = 1.5, FEWEST = 4, LOST_S = 0.01;

/** The audio context's time on our clock. A message of the audio thread comes after the time that it names, never
    before it: the shortest delay of the last ones is believed. A context that a busy machine held up is behind for good
    by what it lost: when nothing has come as soon for a while, what came sooner before that is forgotten. */
export class AudioClock {
  #notes = []; // {came, delay}

  note(rendered) {
    const came = now();
    this.#notes = [...this.#notes.slice(1 - KEPT), { came, delay: came - rendered }];
    const newest = this.#notes.filter((note) => note.came >= came - NEWEST_S);
    // Messages that waited for a page that was busy come all at once: they say nothing about the context.
    const whileIdle = newest.length >= FEWEST && came - newest[0].came >= NEWEST_S / 2;
    if (whileIdle && shortest(newest) > shortest(this.#notes) + LOST_S) this.#notes = newest;
  }
  /** The context stood still; what was known of it before is worth nothing. */
  reset() { this.#notes = []; }
  /** `earliest`: before it, it can't have been; what says so is older than the last time lost. */
  toNow(at, earliest = -Infinity) {
    if (this.known && at + shortest(this.#notes) < earliest) this.#notes = [{ came: earliest, delay: earliest - at }];
    return at + (this.known ? shortest(this.#notes) : 0);
  }
  get known() { return this.#notes.length > 0; }
}

const shortest = (notes) => Math.min(...notes.map(({ delay }) => delay));
