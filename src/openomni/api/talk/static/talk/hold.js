/* Push to talk: while it is held only the person says where their turn ends. Letting go ends it and asks for the answer. */
import { now } from "./clock.js";

const FRAME_S = 0.02;
const LEAST_S = 0.25; // a shorter press says nothing

const detection = (type) => ({
  type: "session.update",
  session: { type: "realtime", audio: { input: { turn_detection: type && { type } } } },
});

export class Hold {
  #pressed = null; #released = null;

  constructor(connection) {
    this.connection = connection;
    this.microphone = null;
    this.push = false;
  }

  get held() { return this.#pressed !== null && this.#released === null; }

  /** `push`: the microphone is silent unless it is held. */
  set(push) {
    this.push = push;
    if (this.microphone && !this.held) this.microphone.muted = push;
  }

  press() {
    if (!this.microphone || this.held) return;
    if (this.#released !== null) this.#finish(); // the last words of the press before are on their way
    this.#pressed = now();
    this.microphone.muted = false;
    this.connection.send(detection(null));
  }

  release() {
    if (this.held) this.#released = now();
  }

  /** Each frame, once it was sent: what was said until the release goes out before the turn ends. */
  sent(captured) {
    if (this.#released !== null && captured + FRAME_S >= this.#released) this.#finish();
  }

  /** The line stands again, and the gateway may be another one. */
  again() {
    if (this.held) this.connection.send(detection(null));
  }

  #finish() {
    if (this.#released - this.#pressed >= LEAST_S) this.connection.send({ type: "input_audio_buffer.commit" });
    this.connection.send(detection("server_vad"));
    this.#pressed = this.#released = null;
    this.microphone.muted = this.push;
  }
}
