/* The talk page: buttons and keys, from the first press to the link of the session that is over. */
import { Camera } from "./camera.js";
import { Captions } from "./captions.js";
import { Choices } from "./choices.js";
import { Refused } from "./connection.js";
import { Session } from "./session.js";
import { View } from "./view.js";
import { INSECURE, wordsOf } from "./words.js";

const TAP_MS = 300;        // a shorter press of the button holds it until the next one
const LOOK_AGAIN_MS = 5000;

const of = (id) => document.getElementById(id);
const about = JSON.parse(of("about").textContent);
const view = new View(act);
const captions = new Captions(of("captions"));
const choices = new Choices(about, JSON.parse(of("known").textContent), chosen);

let session = null;        // while somebody talks
let token = "";
let latest = null;         // how the last session was begun, for “try again”
let wanted = null;         // what was to begin when consent was missing: it does, once that is given
let ticking = 0;

// ---- beginning and end ----

/** Begins a session. `voice`: with microphone and loudspeaker, where the browser gives them. `typed`: what to ask. */
async function begin({ voice, typed = "" }) {
  if (session) return;
  if (!choices.pipeline) return view.problem({ text: "Choose a pipeline first." });
  if (!choices.consent) {
    wanted = { voice };
    view.problem({ text: "Before it begins: agree that this is recorded. It begins as soon as you do." });
    return choices.askConsent();
  }
  wanted = null;
  latest = { voice };
  view.well();
  view.clear();
  captions.clear();
  const made = (session = newSession());
  choices.lock(true);
  show();
  if (!typed) of("now").focus(); // who writes goes on writing
  try {
    if (isSecureContext) await made.openSound(choices.device("speaker"));
    if (voice && isSecureContext) await openMicrophone(made);
  } catch (error) {
    if (session === made) stop(wordsOf(error));
    return;
  }
  if (session !== made) return; // ended meanwhile
  if (!isSecureContext) view.problem({ text: INSECURE });
  made.speaksFirst = choices.checked("speaks-first") && !typed;
  made.open();
  if (typed) made.type(typed);
  if (isSecureContext) see();
  stayAwake();
  ticking = setInterval(() => { if (session?.id) view.line(lineOf(session)); }, 500);
}

function newSession() {
  token = "";
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const address = `${scheme}://${location.host}/v1/realtime?model=${encodeURIComponent(choices.pipeline.name)}`;
  const made = new Session({ address, token: getToken, version: about.version, captions, tell: {
    changed: () => { if (session === made) show(); },
    level: (rms) => view.level(rms),
    turn: (record, heard) => { if (session === made) view.turn(record, heard); },
    problem: (error, device) => { if (session === made) deviceProblem(error, device); },
    suspended: () => { if (session === made) view.problem({ text: "The browser holds the sound back until you press something on this page.", action: "resume", label: "Let it sound" }); },
    over: (refused) => { if (session === made) stop(refused && wordsOf(refused)); },
  } });
  return made;
}

async function openMicrophone(made) {
  const settings = { suppressNoise: choices.checked("suppress-noise"), levelVolume: choices.checked("level-volume") };
  await made.openMicrophone(choices.device("microphone"), settings, choices.checked("push"));
  choices.list(); // their names are known now
  if (!made.microphone.cancelsEcho) view.problem({ text: "This browser does not take the loudspeaker out of what the microphone hears: use headphones, or the agent hears itself." });
}

/** Ends it. `words`: why, where it was not wanted. */
function stop(words = null) {
  const ended = session;
  session = null;
  clearInterval(ticking);
  ended?.close();
  choices.lock(false);
  view.level(0);
  view.held(false);
  view.muted(false);
  view.state(words ? "failed" : "idle");
  if (words) view.problem(words);
  if (ended?.id) view.afterwards(ended.id);
  awake?.release().catch(() => {});
  awake = null;
  look();
}

function show() {
  const { name, detail, hears } = session.state;
  view.state(name, detail, hears);
  if (name === "connecting" || name === "away") return;
  of("hold").disabled = of("mute").disabled = !session.microphone;
}

const lineOf = ({ connection, speaker }) => ({
  depth: speaker?.depth ?? { target: 0, underruns: 0 }, roundTrip: connection.clock.roundTrip, late: connection.late, lost: connection.lost,
});

/** The token of this session; `fresh`: the one before is refused. */
async function getToken(fresh) {
  if (token && !fresh) return token;
  let answer;
  try {
    const headers = { "X-CSRFToken": document.querySelector("[name=csrfmiddlewaretoken]").value };
    answer = await fetch(`/talk/token/?project=${encodeURIComponent(about.project)}`, { method: "POST", headers, redirect: "manual" });
  } catch {
    throw new Error("the server can't be reached");
  }
  if (answer.type === "opaqueredirect") throw new Refused("signed_out", "signed out");
  if (answer.status === 403) throw new Refused("signed_out", "the page is too old"); // the role, or the CSRF token
  if (answer.status !== 201) throw new Error(`the server answers ${answer.status}`);
  return (token = (await answer.json()).token);
}

let awake = null;
/** A phone would go dark in mid-talk. */
async function stayAwake() { awake = await navigator.wakeLock?.request("screen").catch(() => null) ?? null; }

// ---- devices ----

async function see() {
  const wanted = session && choices.pipeline?.sees && choices.checked("see");
  if (!wanted) return session?.camera?.close();
  const here = session;
  here.camera ??= new Camera(of("preview"), {
    picture: (jpeg, at) => here.picture(jpeg, at),
    gone: (label) => deviceProblem({ gone: label }, "camera"),
  });
  try { await here.camera.open(choices.device("camera")); choices.list(); }
  catch (error) { deviceProblem(error, "camera"); }
}

function deviceProblem(error, device) {
  if (error.gone === undefined) return view.problem(wordsOf(error, device));
  view.problem({ text: `The ${device} “${error.gone}” is gone. The session goes on: connect it again, or choose another ${device} under “Pipeline and devices”.`, action: device, label: `Use another ${device}` });
  choices.list();
}

async function chosen(what) {
  if (what === "consent" && wanted && choices.consent && !session) return wanted.voice ? begin(wanted) : of("typed").requestSubmit();
  if (!session) return;
  view.well();
  if (what === "speaker") session.setSpeaker(choices.device("speaker"));
  if (what === "push") session.hold.set(choices.checked("push"));
  if (["see", "camera"].includes(what)) see();
  if (["microphone", "suppress-noise", "level-volume"].includes(what)) reopenMicrophone();
  show();
}

async function reopenMicrophone() {
  const settings = { suppressNoise: choices.checked("suppress-noise"), levelVolume: choices.checked("level-volume") };
  try {
    if (session.microphone) await session.microphone.open(choices.device("microphone"), settings);
    else await openMicrophone(session);
    view.well();
  } catch (error) { deviceProblem(error, "microphone"); }
}

function act(name) {
  if (name === "reload") return location.reload();
  view.well();
  if (name === "resume") return session?.resume();
  if (name === "microphone") return session && reopenMicrophone();
  if (name === "camera") return see();
  if (session) return reopenMicrophone();
  begin(latest ?? { voice: true });
}

/** An agent may have come since the page was made. */
async function look() {
  if (session || document.hidden || !choices.known.some(({ missing }) => missing.length)) return;
  const answer = await fetch(`/talk/pipelines/?project=${encodeURIComponent(about.project)}`).catch(() => null);
  if (answer?.ok && !answer.redirected) choices.update((await answer.json()).items);
}

// ---- buttons and keys ----

function press(on) {
  if (!session?.microphone) return;
  if (on) session.hold.press();
  else session.hold.release();
  view.held(session.hold.held);
  show();
}

function holdByKey(on) {
  if (on && !choices.checked("push")) { choices.check("push", true); session.hold.set(true); } // who holds it means it
  press(on);
}

let since = 0, stays = false;
function down() {
  if (stays) { stays = false; return press(false); }
  since = performance.now();
  press(true);
}
function up() {
  if (!session?.hold.held || stays) return;
  if (performance.now() - since < TAP_MS) stays = true;
  else press(false);
}

of("start").addEventListener("click", () => begin({ voice: true }));
of("end").addEventListener("click", () => { stop(); of("start").focus(); });
of("interrupt").addEventListener("click", () => { session?.interrupt(); of("now").focus(); });
of("agent-first").addEventListener("click", () => { session?.agentFirst(); of("now").focus(); });
of("mute").addEventListener("click", () => { if (session) { session.muted = !session.muted; view.muted(session.muted); show(); } });
of("hold").addEventListener("pointerdown", (event) => { of("hold").setPointerCapture(event.pointerId); down(); });
of("hold").addEventListener("pointerup", up);
of("hold").addEventListener("pointercancel", up);
of("hold").addEventListener("keydown", (event) => { if ([" ", "Enter"].includes(event.key)) { event.preventDefault(); if (!event.repeat) down(); } });
of("hold").addEventListener("keyup", (event) => { if ([" ", "Enter"].includes(event.key)) { event.preventDefault(); up(); } });
of("typed").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = of("text").value.trim();
  if (!text) return;
  if (!session && (!choices.consent || !choices.pipeline)) return begin({ voice: false });
  of("text").value = "";
  if (session) session.type(text);
  else begin({ voice: false, typed: text });
});

const elsewhere = (target) => target.closest?.("button, a, input, select, textarea, summary, video, dialog");
document.addEventListener("keydown", (event) => {
  if (!session || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") session.interrupt();
  if (event.key === " " && !elsewhere(event.target)) {
    event.preventDefault();
    if (!event.repeat) holdByKey(true);
  }
});
document.addEventListener("keyup", (event) => { if (event.key === " " && !elsewhere(event.target) && session?.hold.held && !stays) press(false); });
addEventListener("blur", () => { if (session?.hold.held && !stays) press(false); });
addEventListener("pagehide", () => session?.close());
document.addEventListener("visibilitychange", () => { if (!document.hidden && session) stayAwake(); });
navigator.mediaDevices?.addEventListener?.("devicechange", () => choices.list());

view.state("idle");
if (!isSecureContext) {
  view.problem({ text: INSECURE });
  of("start").textContent = "Begin, by typing";
}
choices.list();
setInterval(look, LOOK_AGAIN_MS);
