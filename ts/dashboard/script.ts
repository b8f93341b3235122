/**
 * What the page does: hears of the run, draws its curves, and tells what buttons ask for. Of the pages that a browser has open one listens and
 * tells the others, since browsers open six connections at most to a server.
 */
export const SCRIPT: string = `
"use strict";
const byId = (id) => document.getElementById(id);
const put = (id, text) => { const element = byId(id); if (element.textContent !== text) element.textContent = text; };
const make = (name, ...children) => { const element = document.createElement(name); element.append(...children); return element; };
const run = { number: -1, state: undefined, points: [], rows: [], measured: [] };
let isOver = false;

// What is written.
const decimal = (value) => value.toFixed(4);
const short = (value) => value !== 0 && Math.abs(value) < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
const grouped = (value) => value.toLocaleString("en");
const duration = (seconds) => {
  const whole = Math.round(seconds);
  if (whole < 60) return (seconds < 10 ? seconds.toFixed(1) : whole) + " s";
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  return hours > 0 ? hours + " h " + minutes + " min" : minutes + " min " + (whole % 60) + " s";
};
const known = (value, text) => value === undefined || value === null ? "\\u2013" : text(value);

function show() {
  const { state, rows } = run;
  const { epoch, epochs, step, steps, end, paused, stopping, validation } = state;
  const ended = { finished: "Finished", stopped: "Stopped", failed: "Failed: " + (end && end.message) };
  const doing = epoch === 0 ? "Beginning" : validation ? "Evaluating epoch " + epoch + " of " + epochs : "Training epoch " + epoch + " of " + epochs;
  put("status", end ? ended[end.status] : stopping ? "Stopping after this step" : paused ? "Paused in epoch " + Math.max(1, epoch) + " of " + epochs : doing);
  const done = rows.length > 0 && rows[rows.length - 1].epoch === epoch ? epoch : Math.max(0, epoch - 1) + (steps ? step / steps : 0);
  byId("progress").value = end && end.status === "finished" ? 1 : done / epochs;
  put("where", end ? grouped(rows.length) + (rows.length === 1 ? " epoch" : " epochs") + " of " + grouped(epochs) + " done" : validation ? "validation image " + grouped(validation.done) + " of " + grouped(validation.total) : "step " + grouped(step) + " of " + grouped(steps) + " of the epoch");
  put("batch", known(state.loss, (loss) => (end ? "last" : "this") + " batch: loss " + decimal(loss) + ", accuracy " + decimal(state.accuracy)));
  put("speed", known(state.imagesPerSecond, (rate) => rate < 100 ? rate.toFixed(1) : grouped(Math.round(rate))));
  put("waiting", known(state.waiting, (share) => (100 * share).toFixed(share < 0.1 ? 1 : 0) + "\\u00a0%"));
  put("left", end ? "\\u2013" : known(state.secondsLeft, (seconds) => (state.mayEndEarly ? "\\u2264 " : "") + duration(seconds)));
  put("lr-now", known(state.lr, short));
  byId("connection").className = end ? "over" : "";
  put("memory", (state.memory / 2 ** 20 < 1000 ? Math.round(state.memory / 2 ** 20) + " MiB" : (state.memory / 2 ** 30).toFixed(2) + " GiB"));
  byId("pause").disabled = byId("stop").disabled = Boolean(end) || stopping;
  put("pause", paused ? "Resume" : "Pause");
  const asked = byId("confuse");
  if (asked) {
    asked.disabled = Boolean(end) || stopping;
    asked.checked = state.confusion.wanted;
    put("confuse-cost", state.confusion.seconds ? "The last one took " + duration(state.confusion.seconds) + "." : "");
  }
  if (end) {
    if (epochShown === 0) byId("sheet").replaceChildren(make("p", "Nobody looked at them while the training lasted."));
    put("connection", "The training has ended, and its server with it: this page stays, and cannot be loaded again.");
    if (byId("really").open) byId("really").close();
  }
}

// The numbers of the epochs, the last ones of very many.
const MOST_ROWS = 400;
let rowsShown = "";
function list() {
  const { rows } = run;
  const sign = rows.length + ":" + (rows.length > 0 ? rows[rows.length - 1].epoch : 0);
  if (sign === rowsShown) return;
  rowsShown = sign;
  const cell = (value, text = decimal) => {
    if (value === undefined || value === null) return make("td", "\\u2013");
    const data = make("data", text(value));
    data.value = String(value);
    return make("td", data);
  };
  byId("numbers").replaceChildren(...rows.slice(-MOST_ROWS).map((row) => {
    const head = make("th", String(row.epoch));
    head.scope = "row";
    return make("tr", head, cell(row.loss), cell(row.accuracy), cell(row.validationLoss), cell(row.validationAccuracy), cell(row.lr, short), cell(row.seconds, duration));
  }));
  put("numbers-caption", rows.length > MOST_ROWS ? "The last " + MOST_ROWS + " of " + grouped(rows.length) + " epochs" : rows.length === 0 ? "No epoch has ended yet." : "");
}

// Curves.
const PLAIN = { dash: "none", shape: "" };
const place = ([at]) => at;
const CHARTS = {
  loss: () => [
    { name: "step", look: "loss pale", ...PLAIN, points: run.points.map((point) => [place(point), point[1]]) },
    { name: "training", look: "loss", dash: "none", shape: "circle", points: run.rows.map(({ epoch, loss }) => [epoch, loss]) },
    { name: "validation", look: "validationLoss", dash: "7 4", shape: "square", points: run.measured.map(([at, loss]) => [at, loss]) },
  ],
  accuracy: () => [
    { name: "step", look: "accuracy pale", ...PLAIN, points: run.points.map((point) => [place(point), point[2]]) },
    { name: "training", look: "accuracy", dash: "none", shape: "circle", points: run.rows.map(({ epoch, accuracy }) => [epoch, accuracy]) },
    { name: "validation", look: "validationAccuracy", dash: "7 4", shape: "square", points: run.measured.map(([at, , accuracy]) => [at, accuracy]) },
  ],
  lr: () => [{ name: "learning rate", look: "lr", ...PLAIN, text: short, least: 0, points: run.points.map((point) => [place(point), point[3]]) }],
  rate: () => [{ name: "images/s", look: "rate", ...PLAIN, text: (value) => value < 100 ? value.toFixed(1) : grouped(Math.round(value)), least: 0, points: run.points.map((point) => [place(point), point[4]]) }],
};
const AXES = { loss: "loss (nats)", accuracy: "accuracy", lr: "learning rate", rate: "images/s" };
const MOST_MARKS = 25;
const MARKS = { circle: "m-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0", square: "m-3.5,-3.5h7v7h-7z" };

/** Round numbers within a range, about so many. */
function ticks(least, most, about) {
  const raw = (most - least) / Math.max(1, about);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.7);
  const first = Math.ceil(least / step - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(most / step + 1e-9) - first + 1) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** The same of a logarithmic range. */
function powers(least, most) {
  const factors = most / least > 30 ? [1] : [1, 2, 5];
  const found = [];
  for (let k = Math.floor(Math.log10(least)); k <= Math.log10(most); k++) for (const factor of factors) found.push(Number((factor * 10 ** k).toPrecision(6)));
  return found.filter((value) => value >= least && value <= most);
}

function draw(id) {
  const figure = byId("chart-" + id);
  const svg = figure.querySelector(":scope > svg");
  const [width, height] = [figure.clientWidth, 260];
  const isLogarithmic = id === "loss" && byId("logarithmic").checked;
  const there = ([, y]) => Number.isFinite(y) && (!isLogarithmic || y > 0);
  const curves = CHARTS[id]().map((curve) => ({ ...curve, points: curve.points.filter(there) })).filter(({ points }) => points.length > 0);
  const values = curves.flatMap(({ points, least }) => [...points.map(([, y]) => y), ...(least === undefined ? [] : [least])]);
  const places = curves.flatMap(({ points }) => points.map(place));
  const last = (curve) => (curve.text || decimal)(curve.points[curve.points.length - 1][1]);
  if (places.length === 0) {
    svg.setAttribute("aria-label", AXES[id] + ": nothing yet");
    return;
  }
  const first = Math.max(0, Math.ceil(places.reduce((a, b) => Math.min(a, b), Infinity)) - 1);
  const end = Math.max(first + 1e-6, places.reduce((a, b) => Math.max(a, b), -Infinity));
  let [low, high] = values.reduce(([a, b], y) => [Math.min(a, y), Math.max(b, y)], [Infinity, -Infinity]);
  if (high - low < Math.max(Math.abs(high) * 1e-3, 1e-12)) [low, high] = isLogarithmic ? [low / 1.1, high * 1.1] : [low - Math.abs(low) * 0.1 - 1e-9, high + Math.abs(high) * 0.1 + 1e-9];
  const upright = isLogarithmic ? powers(low, high) : ticks(low, high, 4);
  if (!isLogarithmic && upright.length > 1) {
    const step = upright[1] - upright[0];
    if (low < upright[0] - step * 1e-6) upright.unshift(Number((upright[0] - step).toPrecision(12)));
    if (high > upright[upright.length - 1] + step * 1e-6) upright.push(Number((upright[upright.length - 1] + step).toPrecision(12)));
    [low, high] = [Math.min(low, upright[0]), Math.max(high, upright[upright.length - 1])];
  }
  const texts = upright.map((value) => value >= 1e4 ? grouped(value) : short(value));
  const [left, right, top, bottom] = [12 + 7 * Math.max(...texts.map((text) => text.length)), width - 8, 10, height - 36];
  const x = (value) => (left + ((value - first) / (end - first)) * (right - left - 6)).toFixed(1);
  const flat = (value) => isLogarithmic ? Math.log10(value) : value;
  const y = (value) => (bottom - ((flat(value) - flat(low)) / (flat(high) - flat(low))) * (bottom - top)).toFixed(1);
  const line = (look, path, more) => '<path class="' + look + '" d="' + path + '" fill="none" stroke="currentColor" ' + (more || "") + "/>";
  const label = (at, up, anchor, text) => '<text class="label" fill="currentColor" x="' + at + '" y="' + up + '" text-anchor="' + anchor + '">' + text + "</text>";
  const across = ticks(first, end, Math.min(8, width / 90));
  svg.innerHTML = [
    ...upright.map((value, i) => line("grid", "M" + left + "," + y(value) + "H" + right) + label(left - 7, Number(y(value)) + 4, "end", texts[i])),
    line("axis", "M" + left + "," + bottom + "H" + right),
    ...across.map((value) => line("axis", "M" + x(value) + "," + bottom + "v5") + label(x(value), bottom + 18, "middle", short(value))),
    label(right, height - 3, "end", "epochs"),
    ...curves.map(({ look, dash, shape, points }) => {
      const marks = shape === "" ? [] : points.length > MOST_MARKS ? points.slice(-1) : points;
      return line(look, "M" + points.map(([at, value]) => x(at) + "," + y(value)).join("L"), 'stroke-width="' + (look.endsWith("pale") ? 1.25 : 2) + '" stroke-linejoin="round" stroke-dasharray="' + dash + '"') +
        marks.map(([at, value]) => '<path class="' + look + ' point" fill="currentColor" d="M' + x(at) + "," + y(value) + MARKS[shape] + '"/>').join("");
    }),
  ].join("");
  svg.setAttribute("viewBox", "0 0 " + width + " " + height);
  svg.setAttribute("aria-label", AXES[id] + " by epochs. Last values: " + curves.map((curve) => curve.name + " " + last(curve)).join(", "));
  figure.querySelector(".legend").innerHTML = curves.map((curve) =>
    '<li><svg aria-hidden="true" viewBox="0 0 28 12">' + line(curve.look, "M0,6H28", 'stroke-width="2" stroke-dasharray="' + curve.dash + '"') +
    (curve.shape === "" ? "" : '<path class="' + curve.look + ' point" fill="currentColor" d="M14,6' + MARKS[curve.shape] + '"/>') + "</svg>" + curve.name + " <b>" + last(curve) + "</b></li>").join("");
}

let isAsked = false;
function redraw() {
  if (isAsked) return;
  isAsked = true;
  requestAnimationFrame(() => {
    isAsked = false;
    if (run.state === undefined) return;
    show();
    list();
    for (const id of Object.keys(CHARTS)) draw(id);
  });
}
byId("logarithmic").addEventListener("change", redraw);
new ResizeObserver(redraw).observe(document.querySelector(".charts"));

// Images, for those who look at them.
let [isSeen, epochShown, shownAt] = [false, 0, -Infinity];
async function look() {
  if (run.state === undefined || isOver || !isSeen || document.hidden) return;
  const epoch = Math.max(1, run.state.epoch);
  if (epoch === epochShown || performance.now() - shownAt < 10000) return;
  [epochShown, shownAt] = [epoch, performance.now()];
  try {
    const answer = await fetch("samples");
    if (answer.ok) byId("sheet").innerHTML = await answer.text();
  } catch { epochShown = 0; }
}
new IntersectionObserver((entries) => { isSeen = entries[entries.length - 1].isIntersecting; look(); }).observe(byId("samples"));

// The run.
function take(message) {
  if (message.kind === "lost") {
    if (!isOver) put("connection", "The connection is lost, and is being tried again. If the program has ended, this is what it had told.");
    return;
  }
  if (message.kind === "news") {
    if (message.number <= run.number) return;
    if (message.number > run.number + 1) return void catchUp();
    run.points.push(...message.points);
    run.rows.push(...message.rows);
    run.measured.push(...message.measured);
  } else {
    if (message.number < run.number) return;
    Object.assign(run, { points: message.points, rows: message.rows, measured: message.measured });
  }
  run.number = message.number;
  run.state = message.state;
  isOver = Boolean(message.state.end);
  if (message.matrix && byId("matrix")) byId("matrix").innerHTML = message.matrix.markup;
  put("connection", "");
  redraw();
  // A hidden page is drawn when it is looked at again, but its title and state are always true.
  if (document.hidden) { show(); list(); }
  look();
}
async function catchUp() {
  try {
    const answer = await fetch("state");
    if (answer.ok) take(await answer.json());
  } catch {}
}
const channel = typeof BroadcastChannel === "function" && navigator.locks ? new BroadcastChannel(location.pathname) : undefined;
function listen() {
  const events = new EventSource("events");
  const heard = (message) => {
    take(message);
    if (channel) channel.postMessage(message);
    if (isOver) events.close();
  };
  events.onmessage = ({ data }) => heard(JSON.parse(data));
  events.onerror = () => {
    heard({ kind: "lost" });
    if (events.readyState === EventSource.CLOSED && !isOver) setTimeout(listen, 3000);
  };
}
if (channel) {
  channel.onmessage = ({ data }) => take(data);
  catchUp();
  // Whoever has the lock keeps it until its page is closed: handed on at the end, it would have others listen to nobody.
  navigator.locks.request(location.pathname, () => isOver ? undefined : new Promise(listen));
} else {
  listen();
}

// What is asked for.
const ask = async (what) => {
  try {
    const { ok } = await fetch(what, { method: "POST" });
    if (!ok) catchUp();
  } catch { take({ kind: "lost" }); }
};
byId("pause").addEventListener("click", () => ask(run.state.paused ? "resume" : "pause"));
byId("stop").addEventListener("click", () => byId("really").showModal());
byId("go-on").addEventListener("click", () => byId("really").close());
byId("stop-now").addEventListener("click", () => { byId("really").close(); ask("stop"); });
if (byId("confuse")) byId("confuse").addEventListener("change", ({ target }) => ask(target.checked ? "confusion/on" : "confusion/off"));
`;
