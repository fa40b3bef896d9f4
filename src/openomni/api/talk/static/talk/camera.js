/* The camera, for pipelines that see: a picture a second as JPEG, and a preview. */
import { now } from "./clock.js";

const EVERY_MS = 1000, WIDTH = 640, QUALITY = 0.8;

export class Camera {
  #stream = null; #timer = 0;

  /** `picture(base64, at)` gets each picture with its time on our clock; `gone(label)` is called when the device vanishes. */
  constructor(video, { picture, gone }) {
    this.video = video;
    this.onpicture = picture;
    this.ongone = gone;
    this.canvas = document.createElement("canvas");
  }

  get on() { return this.#stream !== null; }

  /** Raises what getUserMedia does. */
  async open(deviceId) {
    const wanted = { width: { ideal: WIDTH }, frameRate: { ideal: 15 }, ...(deviceId ? { deviceId: { exact: deviceId } } : {}) };
    const stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
    this.close();
    this.#stream = stream;
    const [track] = stream.getVideoTracks();
    track.addEventListener("ended", () => { if (this.#stream === stream) { this.close(); this.ongone(track.label); } });
    this.video.srcObject = stream;
    this.video.hidden = false;
    await this.video.play();
    this.#timer = setInterval(() => this.#take(), EVERY_MS);
    this.#take();
  }

  #take() {
    const { videoWidth, videoHeight } = this.video;
    if (!videoWidth) return;
    const at = now(), scale = Math.min(1, WIDTH / videoWidth);
    this.canvas.width = Math.round(videoWidth * scale);
    this.canvas.height = Math.round(videoHeight * scale);
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    const jpeg = this.canvas.toDataURL("image/jpeg", QUALITY);
    this.onpicture(jpeg.slice(jpeg.indexOf(",") + 1), at);
  }

  close() {
    clearInterval(this.#timer);
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.video.srcObject = null;
    this.video.hidden = true;
  }
}
