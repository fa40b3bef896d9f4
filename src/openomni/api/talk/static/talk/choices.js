/* What somebody chose: pipeline, devices, how it hears, consent. Remembered in this browser. */

const CHECKS = ["push", "speaks-first", "suppress-noise", "level-volume", "see"];
const DEVICES = { microphone: "audioinput", speaker: "audiooutput", camera: "videoinput" };

export class Choices {
  /** `about`: project, person; `known`: the pipelines; `changed(what)` is called when a choice is made. */
  constructor(about, known, changed) {
    this.about = about;
    this.known = known;
    this.form = document.getElementById("setup");
    this.keep = `openomni-talk:${about.project}`;
    this.agreed = `openomni-consent:${about.project}:${about.person}`;
    this.#restore();
    this.form.addEventListener("submit", (event) => event.preventDefault());
    const choose = ({ target }) => {
      this.#store();
      if (target.id === "consent") this.#consented(target.checked);
      if (target.name === "pipeline") target.closest("label").scrollIntoView({ block: "nearest" });
      this.show();
      changed(target.name === "pipeline" ? "pipeline" : target.id);
    };
    this.form.addEventListener("change", choose);
    this.#of("consent").addEventListener("change", choose); // it stands by the button that needs it
    this.show();
  }

  get pipeline() { return this.known.find(({ name }) => name === this.form.elements.pipeline?.value) ?? null; }
  get consent() { return this.#of("consent").checked; }
  checked(id) { return this.#of(id).checked; }
  check(id, on) { this.#of(id).checked = on; this.#store(); }
  device(kind) { return this.#of(kind).value; }

  askConsent() {
    document.getElementById("consent-error").hidden = false;
    this.#of("consent").setAttribute("aria-invalid", "true");
    this.#of("consent").focus();
  }

  /** The devices that there are. Their names are known once the browser may use one. */
  async list() {
    const found = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
    const kept = this.#kept();
    for (const [kind, what] of Object.entries(DEVICES)) {
      const select = this.#of(kind), chosen = select.value || kept[kind] || "";
      const own = found.filter((device) => device.kind === what && device.deviceId && device.deviceId !== "default");
      select.replaceChildren(new Option("The browser's choice", ""), ...own.map((device, place) => new Option(device.label || `${select.labels[0].textContent} ${place + 1}`, device.deviceId)));
      select.value = own.some((device) => device.deviceId === chosen) ? chosen : "";
    }
  }

  /** While somebody talks, the pipeline stays. */
  lock(on) { document.getElementById("pipelines").disabled = on; }

  /** What the server says of the pipelines now. */
  update(known) {
    this.known = known;
    for (const each of known) {
      const label = document.querySelector(`[data-pipeline="${CSS.escape(each.name)}"]`);
      if (!label) continue;
      const badge = label.querySelector(".badge");
      if (each.fault) continue;
      badge.className = `badge ${each.missing.length ? "warn" : "good"}`;
      badge.textContent = each.missing.length ? "no agent" : "ready";
      label.querySelector(".missing").textContent = each.missing.length
        ? `No agent offers ${each.missing.join(", ")}. Start one: openomni agent --offer ${each.missing.join(",")}` : "";
    }
  }

  show() {
    document.getElementById("camera-field").hidden = !this.pipeline?.sees;
    document.getElementById("speaker-field").hidden = !("setSinkId" in AudioContext.prototype);
  }

  #of(id) { return document.getElementById(id); }

  #kept() { try { return JSON.parse(localStorage.getItem(this.keep)) ?? {}; } catch { return {}; } }

  #restore() {
    const kept = this.#kept();
    for (const id of CHECKS) if (id in kept) this.#of(id).checked = kept[id];
    const radios = [...this.form.querySelectorAll('[name="pipeline"]')];
    const usable = (name) => this.known.some((each) => each.name === name && !each.missing.length && !each.fault);
    if (!radios.some((radio) => radio.checked)) {
      const first = [kept.pipeline, ...this.about.first.filter(usable), this.known.find(({ name }) => usable(name))?.name];
      const wanted = first.map((name) => radios.find(({ value }) => value === name)).find(Boolean) ?? radios[0];
      if (wanted) wanted.checked = true;
    }
    const list = document.getElementById("choices"), chosen = this.form.querySelector('[name="pipeline"]:checked');
    if (chosen) list.scrollTop = chosen.closest("label").offsetTop - list.offsetTop;
    try { this.#of("consent").checked = localStorage.getItem(this.agreed) !== null; } catch { /* asked each time, then */ }
  }

  #store() {
    const kept = { ...Object.fromEntries(CHECKS.map((id) => [id, this.checked(id)])), pipeline: this.pipeline?.name };
    for (const kind of Object.keys(DEVICES)) kept[kind] = this.device(kind);
    try { localStorage.setItem(this.keep, JSON.stringify(kept)); } catch { /* this page alone, then */ }
  }

  #consented(yes) {
    document.getElementById("consent-error").hidden = true;
    this.#of("consent").removeAttribute("aria-invalid");
    try { yes ? localStorage.setItem(this.agreed, new Date().toISOString()) : localStorage.removeItem(this.agreed); } catch { /* asked each time, then */ }
  }
}
