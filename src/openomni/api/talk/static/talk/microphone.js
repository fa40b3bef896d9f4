/* The microphone, through the audio thread: frames of 20 ms with their place on the session's axis and their time. */

const RATE = 16000, FRAME = 320;
const KEPT_FRAMES = 3000; // a minute of them: a reply comes sooner, or is no answer to what was said then

export class Microphone {
  #node = null; #source = null; #stream = null; #latency = 0; #captured = new Map();

  /** `frame({position, captured, pcm, level})` gets each; `gone(label)` is called when the device vanishes. */
  constructor(context, clock, { frame, gone }) {
    this.context = context;
    this.clock = clock;
    this.muted = false;
    this.onframe = frame;
    this.ongone = gone;
  }

  /** Opens a device, or another one in mid-talk: the axis goes on. Raises what getUserMedia does. */
  async open(deviceId, { suppressNoise, levelVolume }) {
    const wanted = {
      echoCancellation: true,
      noiseSuppression: suppressNoise,
      autoGainControl: levelVolume,
      channelCount: 1,
      ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
    };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    this.#release();
    this.#stream = stream;
    const [track] = stream.getAudioTracks();
    this.#latency = track.getSettings().latency ?? 0;
    track.addEventListener("ended", () => { if (this.#stream === stream) this.ongone(track.label); });
    this.#node ??= this.#make();
    this.#source = this.context.createMediaStreamSource(stream);
    this.#source.connect(this.#node);
  }

  get label() { return this.#stream?.getAudioTracks()[0]?.label ?? ""; }
  /** Whether the browser takes what the loudspeaker plays out of what the microphone hears. */
  get cancelsEcho() { return this.#stream?.getAudioTracks()[0]?.getSettings().echoCancellation !== false; }
  /** When a sample was captured, as it was told with its frame; null for one of long ago. */
  capturedAt(position) {
    const start = position - position % FRAME, captured = this.#captured.get(start);
    return captured === undefined ? null : captured + (position - start) / RATE;
  }

  #make() {
    // Its output is silence; only what is connected to the loudspeaker is rendered.
    const node = new AudioWorkletNode(this.context, "capture", { numberOfOutputs: 1, channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data }) => this.#frame(data);
    node.connect(this.context.destination);
    return node;
  }

  #frame({ position, at, rendered, pcm, level }) {
    this.clock.note(rendered);
    const captured = this.clock.toNow(at) - this.#latency;
    this.#captured.set(position, captured);
    this.#captured.delete(position - KEPT_FRAMES * FRAME);
    if (this.muted) pcm.fill(0);
    this.onframe({ position, captured, pcm, level: this.muted ? 0 : level });
  }

  #release() {
    this.#source?.disconnect();
    const stream = this.#stream;
    this.#stream = this.#source = null;
    stream?.getTracks().forEach((track) => track.stop());
  }

  close() {
    this.#release();
    this.#node?.disconnect();
    this.#node = null;
  }
}
