/* The line to the gateway: hello, clocks, and coming back after a break with all that was captured meanwhile. */
import { Offset, now } from "./clock.js";

const FIRST_PINGS = 5, PING_MS = 2000;
const DOUBT_MS = 1000;
const SILENT_S = 7;          // a line on which no ping is answered for so long is dead, whatever the system says
const HELD_FRAMES = 1500;    // 30 s of sound wait for the line; older sound is lost
const AGAIN_FRAMES = 100;    // the last 2 s before a break are sent again; what comes twice counts once
const REPORTED = 8;          // so are the newest playback reports of the last replies
const PAUSES = [250, 500, 1000, 2000, 4000, 5000];
const NORMAL = 1000, UNAUTHORIZED = 4401, FORBIDDEN = 4403, UNAVAILABLE = 4503;
const FINAL = new Set([1003, 1007, 1008, 4400, FORBIDDEN, 4404, 4426]);

export const newId = (kind) => `${kind}_${hex(crypto.getRandomValues(new Uint8Array(12)))}`;

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Why there is no talking: `code` is the protocol's, or ours. */
export class Refused extends Error {
  constructor(code, message) { super(message); this.code = code; }
}

export class Connection {
  #socket = null; #standing = false; #closing = false; #timers = []; #waiting = []; #sent = []; #reports = new Map(); #asked = []; #failure = null; #tries = 0;
  #ponged = 0; #handshake = null; #renewed = false;

  /** `tell` has `up({sessionId, resumed, again})`, `down(reason)`, `event(message)`, `sound(chunk)` and
      `over(Refused | null)`; `token(fresh)` promises a token's text, and `hello` is what it says first. */
  constructor({ address, token, hello, tell }) {
    this.address = address;
    this.token = token;
    this.hello = hello;
    this.tell = tell;
    this.clock = new Offset();
    this.sessionId = "";
    this.late = 0;  // frames that waited for the line
    this.lost = 0;  // frames that waited for too long
    this.online = () => { if (!this.#standing && !this.#socket) this.#open(); };
    this.offline = () => this.#doubt();
    addEventListener("online", this.online);
    addEventListener("offline", this.offline);
  }

  get up() { return this.#standing; }

  open() { this.#open(); }

  /** An event, now or once the line stands again. */
  send(event) { this.#put({ data: JSON.stringify(event), frame: false }); }

  /** How far a reply was played. Which reports a break swallowed nobody knows, so the newest of each turn comes again. */
  report(event) {
    this.#reports.delete(event.turn_id);
    this.#reports.set(event.turn_id, event);
    if (this.#reports.size > REPORTED) this.#reports.delete(this.#reports.keys().next().value);
    if (this.#standing) this.send(event);
  }

  /** Asks for a reply, to `item` where one is given. It is asked again when the line or the host was lost, until the
      turn that answers is done; a host knows the request by its name, and what comes twice counts once. */
  ask(item = null) {
    const asked = { request: newId("event"), item, turn: "", carried: false };
    this.#asked.push(asked);
    if (this.#standing) this.#carry(asked);
  }

  askAgain() { for (const asked of this.#asked) this.#carry(asked); }

  /** That turn answers the request. Returns the id of what was typed. */
  began(request, turn) {
    const asked = this.#asked.find((each) => each.request === request);
    if (asked) asked.turn = turn;
    return asked?.item?.id;
  }

  /** The turn is over, or the request was refused: it does not come again. */
  done({ turn, request }) {
    this.#asked = this.#asked.filter((asked) => turn ? asked.turn !== turn : asked.request !== request);
  }

  /** Sound from sample `position` on, whose first one was captured at `captured` on our clock. */
  sendSound(position, captured, pcm) {
    const data = new ArrayBuffer(16 + pcm.byteLength), view = new DataView(data);
    view.setBigUint64(0, BigInt(position), true);
    view.setFloat64(8, captured, true);
    new Int16Array(data, 16).set(pcm);
    this.#put({ data, frame: true });
  }

  close() {
    this.#closing = true;
    removeEventListener("online", this.online);
    removeEventListener("offline", this.offline);
    this.#clear();
    this.#socket?.close(NORMAL);
    this.#socket = null;
    this.#standing = false;
  }

  /** What is known to be under way is not waited for: the line is cut, as a bad network would. */
  cut(reason) { this.#lost(this.#socket, 1006, reason); }

  #put(item) {
    if (this.#standing) return this.#transmit(item);
    this.#waiting.push(item);
    if (item.frame) this.#bound();
  }

  #bound() {
    let frames = this.#waiting.filter((item) => item.frame).length;
    for (let at = 0; frames > HELD_FRAMES && at < this.#waiting.length;) {
      if (!this.#waiting[at].frame) { at += 1; continue; }
      this.#waiting.splice(at, 1);
      frames -= 1;
      this.lost += 1;
    }
  }

  #transmit(item) {
    this.#socket.send(item.data);
    if (!item.frame) return;
    this.#sent.push(item);
    if (this.#sent.length > AGAIN_FRAMES) this.#sent.shift();
  }

  async #open() {
    this.#clear();
    let token;
    try { token = await this.token(false); }
    catch (error) { return error instanceof Refused ? this.#over(error) : this.#later(error.message); }
    if (this.#closing || this.#socket) return;
    const socket = new WebSocket(this.address, ["realtime", `openomni-token.${token}`]);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#failure = this.#handshake = null;
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.clock = new Offset(); // it may be another gateway than before
      const session = this.sessionId ? { session_id: this.sessionId } : {};
      socket.send(JSON.stringify({ type: "openomni.hello", ...this.hello, ...session }));
      this.#ponged = now();
      this.#timers.push(setInterval(() => this.#beat(), PING_MS));
    };
    socket.onmessage = ({ data }) => { if (socket === this.#socket) this.#receive(data); };
    socket.onclose = ({ code, reason }) => {
      if (socket !== this.#socket) return;
      if (opened) this.#lost(socket, code, reason);
      else this.#refused(socket, token);
    };
  }

  #receive(data) {
    if (data instanceof ArrayBuffer) return this.tell.sound(unpacked(data));
    const event = JSON.parse(data);
    switch (event.type) {
      case "openomni.welcome":
        this.#handshake = { sessionId: event.session_id, resumed: event.resumed, again: this.sessionId !== "" };
        this.sessionId = event.session_id;
        return this.#ping();
      case "openomni.pong":
        this.#ponged = now();
        this.clock.add(event.sent, event.received, event.sent_back, now());
        return this.#standing ? undefined : this.#compare();
      case "error":
        this.#failure = event.error;
    }
    // What comes before the welcome is for clients that say no hello.
    if (this.#handshake || event.type === "error") this.tell.event(event);
  }

  /** The clocks are compared before anything is sent, so that the first stamp is right already. */
  #compare() {
    this.#handshake.pings = (this.#handshake.pings ?? 1) + 1;
    if (this.#handshake.pings <= FIRST_PINGS) return this.#ping();
    this.#tellClock();
    this.#standing = true;
    this.#tries = 0;
    this.#renewed = false;
    const asked = [...this.#asked];
    this.tell.up(this.#handshake);
    const again = this.#handshake.again ? this.#sent : [], waiting = this.#waiting;
    this.#sent = [];
    this.#waiting = [];
    for (const event of this.#reports.values()) this.send(event);
    if (this.#handshake.again) this.late += waiting.filter((item) => item.frame).length;
    for (const item of [...again, ...waiting]) this.#transmit(item);
    for (const each of asked) this.#carry(each);
  }

  #carry(asked) {
    const { item, request } = asked, again = asked.carried;
    asked.carried = true;
    if (item) this.send({ type: "conversation.item.create", item });
    this.send({ type: "response.create", event_id: request, again });
  }

  #ping() { this.#socket?.send(JSON.stringify({ type: "openomni.ping", sent: now() })); }

  #tellClock() {
    const { seconds, uncertainty } = this.clock;
    this.#socket.send(JSON.stringify({ type: "openomni.clock", offset: seconds, uncertainty }));
  }

  #beat() {
    if (now() - this.#ponged > SILENT_S) return this.cut("the server does not answer any more");
    if (!this.#handshake || this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#ping();
    if (this.#standing) this.#tellClock();
  }

  /** The machine says that it has no network: a server beside it answers all the same, any other does not. */
  #doubt() {
    if (!this.#standing) return;
    const asked = now();
    this.#ping();
    this.#timers.push(setTimeout(() => { if (this.#ponged < asked) this.cut("there is no network"); }, DOUBT_MS));
  }

  #lost(socket, code, reason) {
    this.#clear();
    this.#socket = null;
    this.#standing = false;
    if (socket) socket.onclose = socket.onmessage = null;
    if (code === 1006) socket?.close();
    if (this.#closing) return;
    const why = this.#failure?.message || reason || "trying again";
    if (code === NORMAL) return this.#over(null);
    if (code === UNAUTHORIZED) return this.#renew(why);
    if (code === FORBIDDEN && this.#failure?.code === "session_taken") this.sessionId = "";
    else if (FINAL.has(code)) return this.#over(new Refused(this.#failure?.code ?? `closed_${code}`, why));
    else if (code === UNAVAILABLE && !this.sessionId) return this.#over(new Refused(this.#failure?.code ?? "unavailable", why));
    this.#later(why);
  }

  /** A browser does not say why a WebSocket was refused; the same door answers a plain question. */
  async #refused(socket, token) {
    let why = "the server can't be reached";
    try {
      const answer = await fetch("/v1/models", { headers: { Authorization: `Bearer ${token}` } });
      if (answer.status >= 400) why = (await answer.json()).error?.message ?? why;
      if (socket !== this.#socket) return;
      this.#socket = null;
      if (answer.status === 401) return this.#renew(why);
      if (answer.status === 403) return this.#over(new Refused("forbidden", why));
    } catch { this.#socket = null; }
    this.#later(why);
  }

  /** The token is no good any more; one time, another one is asked for. */
  async #renew(why) {
    if (this.#renewed) return this.#over(new Refused("invalid_token", why));
    this.#renewed = true;
    try { await this.token(true); }
    catch (error) { return error instanceof Refused ? this.#over(error) : this.#later(error.message); }
    this.#open();
  }

  #later(why) {
    if (this.#closing) return;
    const pause = PAUSES[Math.min(this.#tries, PAUSES.length - 1)] * (0.8 + 0.4 * Math.random());
    this.#tries += 1;
    this.tell.down(why);
    this.#timers.push(setTimeout(() => this.#open(), pause));
  }

  #over(refused) {
    this.close();
    this.tell.over(refused);
  }

  #clear() {
    for (const timer of this.#timers) clearTimeout(timer), clearInterval(timer);
    this.#timers = [];
  }
}

/** Reply audio: turn id (16 bytes), rate (u32), offset in samples (u64), PCM16. */
function unpacked(data) {
  const view = new DataView(data);
  const turn = hex(new Uint8Array(data, 0, 16));
  return { turn, rate: view.getUint32(16, true), offset: Number(view.getBigUint64(20, true)), pcm: data.slice(28) };
}
