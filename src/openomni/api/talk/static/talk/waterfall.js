/* Where each millisecond of a turn went: the same picture as the server draws of a stored turn. */

const LABELS = {
  end_of_turn: "end of turn", queue: "queue", lost: "lost attempts", transfer: "transfer", load: "load", model: "model",
  aggregation: "aggregation", playback: "playback", residue: "residue", other: "waiting for input",
};
/** How a picture is laid out; `above`: labels stand above their bars. The narrow one is for a phone. */
const FORMS = [
  { name: "wide", left: 190, width: 800, row: 26, ticks: 6, above: false },
  { name: "narrow", left: 0, width: 320, row: 40, ticks: 3, above: true },
];

/** An SVG of the turn's record with its legend; a line of text when nothing of it was timed. */
export function waterfall(turn) {
  const timed = turn.stages.filter((stage) => stage.started_s != null);
  const ends = [...turn.parts.map((part) => part.end_s), ...timed.map(end)];
  if (!ends.length) return Object.assign(document.createElement("p"), { textContent: "Nothing of this turn was timed.", className: "soft" });
  const start = Math.min(0, ...timed.map((stage) => stage.started_s)), seconds = Math.max(Math.max(...ends) - start, 1e-6);
  const rows = rowsOf(turn, timed), figure = document.createElement("figure");
  figure.className = "waterfall";
  for (const form of FORMS) {
    const box = document.createElement("div");
    box.className = `picture ${form.name}`;
    box.append(drawn(turn, rows, start, seconds, form));
    figure.append(box);
  }
  figure.append(legend(new Set(rows.flatMap(({ bars }) => bars.map(({ what }) => what)))));
  const why = endOfTurn(turn.pauses ?? []);
  if (why) figure.append(Object.assign(document.createElement("figcaption"), { textContent: `End of turn: ${why}.` }));
  return figure;
}

function drawn(turn, rows, start, seconds, { left, width, row, ticks: count, above }) {
  const x = (at) => left + (at - start) / seconds * width;
  const bottom = rows.length * row + 6;
  const picture = svg("svg", { viewBox: `0 0 ${left + width + 20} ${bottom + 24}`, role: "img",
    "aria-label": `Timeline of the turn in milliseconds ${zeroOf(turn)}: ${summary(turn)}` });
  for (const [place, at] of ticks(start, seconds, count).entries()) {
    const anchor = above && !place ? "start" : "middle";
    picture.append(svg("line", { class: "lines", x1: x(at), x2: x(at), y1: 0, y2: bottom }),
      svg("text", { class: "note", x: x(at), y: bottom + 16, "text-anchor": anchor }, `${Math.round(at * 1e6) / 1000} ms`));
  }
  rows.forEach(({ label, note, bars }, place) => {
    const y = place * row + 4, text = y + (above ? 12 : 16);
    picture.append(svg("text", { x: 0, y: text }, short(label, 16)),
      svg("text", { class: "note", x: above ? width : 180, y: text, "text-anchor": "end" }, short(note, above ? 28 : 16)));
    for (const bar of bars) {
      const rect = svg("rect", { class: bar.what, x: x(bar.start), y: y + (above ? 17 : 0), width: Math.max(x(bar.end) - x(bar.start), 0.1), height: 18 });
      const text = `${bar.whose} ${LABELS[bar.what]}`.trim();
      rect.append(svg("title", {}, `${text}: ${ms(bar.end - bar.start)} from ${ms(bar.start)} on`));
      picture.append(rect);
    }
  });
  // On a phone nobody hovers over a line to read its name, and it would strike out the labels.
  for (const point of above ? [] : turn.time_points.filter(({ at_s: at }) => at >= start && at <= start + seconds)) {
    const line = svg("line", { class: "point", x1: x(point.at_s), x2: x(point.at_s), y1: 0, y2: bottom });
    line.append(svg("title", {}, `${point.name}: ${ms(point.at_s)} ${point.where}`.trim()));
    picture.append(line);
  }
  return picture;
}

/** What its times count from. */
const zeroOf = (turn) => turn.segments?.length ? "from the last user speech sample" : "from when the answer was asked for";

/** Why the turn was taken for over, in the words of `records.PauseRecord`; empty where the client said so. */
function endOfTurn(pauses) {
  const last = pauses.find(({ ended }) => ended), wentOn = pauses.filter(({ ended }) => !ended).length;
  if (!last) return "";
  const share = (sure) => `${Math.round(sure * 100)}%`;
  const signals = [["recogniser", last.recogniser], ["language model", last.language_model]].filter(([, sure]) => sure != null);
  const behind = signals.length ? ` (${signals.map(([name, sure]) => `${name} ${share(sure)}`).join(", ")})` : "";
  const known = last.finished != null, only = last.finished < 0.5 ? "only " : "";
  const sure = known ? `${only}${share(last.finished)} sure that the person had finished${behind}, so ` : "";
  const meanwhile = known ? ", while the models ran ahead" : "";
  const before = wentOn ? `; in ${wentOn} pause${wentOn > 1 ? "s" : ""} before that, the person went on` : "";
  const passed = last.lasted_s == null ? "" : ` (${last.lasted_s.toFixed(2)} s passed)`;
  return `${sure}${last.silence_s.toFixed(2)} s of silence ended it${passed}${meanwhile}${before}`;
}

function rowsOf(turn, timed) {
  const rows = [];
  if (turn.parts.length) {
    const bars = turn.parts.map((part) => ({ what: part.what, start: part.start_s, end: part.end_s, whose: part.stage }));
    rows.push({ label: "turn", note: `${(turn.parts.at(-1).end_s - turn.parts[0].start_s).toFixed(3)} s`, bars });
  }
  for (const stage of timed) {
    const flag = stage.status === "completed" ? "" : ` · ${stage.status}`;
    rows.push({ label: stage.kind + flag, note: stage.component, bars: barsOf(stage) });
  }
  return rows;
}

/** What it did, one after the other; in what remains of its time, it waited for input. */
function barsOf(stage) {
  const bars = [], stop = end(stage);
  let at = stage.started_s;
  for (const what of ["queue", "lost", "transfer", "load", "model"]) {
    const until = Math.min(at + (stage[`${what}_s`] ?? 0), stop);
    if (until > at) { bars.push({ what, start: at, end: until, whose: stage.component }); at = until; }
  }
  if (stop > at) bars.push({ what: "other", start: at, end: stop, whose: stage.component });
  return bars;
}

function end(stage) {
  if (stage.ended_s != null) return stage.ended_s;
  return ["queue_s", "lost_s", "transfer_s", "load_s", "model_s"].reduce((sum, figure) => sum + (stage[figure] ?? 0), stage.started_s ?? 0);
}

function ticks(start, seconds, count) {
  const rough = seconds / count, power = 10 ** Math.floor(Math.log10(rough));
  const steps = [0.5, 1, 2, 5, 10].map((each) => each * power), fits = steps.findIndex((each) => each >= rough);
  const every = (step) => {
    const found = [];
    for (let at = Math.ceil(start / step) * step; at <= start + seconds + 1e-9; at += step) found.push(at);
    return found;
  };
  const found = every(steps[fits]);
  return found.length > 1 ? found : every(steps[fits - 1]); // one alone is no scale
}

function legend(used) {
  const list = document.createElement("ul");
  for (const [what, label] of Object.entries(LABELS).filter(([name]) => used.has(name))) {
    const item = document.createElement("li"), colour = document.createElement("i");
    colour.className = what;
    item.append(colour, label);
    list.append(item);
  }
  return list;
}

function summary(turn) {
  return turn.parts.map((part) => `${part.stage} ${LABELS[part.what]} ${ms(part.end_s - part.start_s)}`.trim()).join(", ") || "no parts";
}

function svg(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, typeof value === "number" ? value.toFixed(2) : value);
  made.textContent = text;
  return made;
}

const ms = (seconds) => `${(seconds * 1000).toFixed(1)} ms`;
const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
