// The page of lorsa-report: draws the runs that stand as JSON in the element "data".
//
// Everything that comes from a file reaches the page through textContent or title only, never as markup.
"use strict";

const HEIGHT = 210;         // px, as in style.css
const MARGIN = {left: 52, right: 10, top: 8, bottom: 24};
const NUM_COLORS = 8;       // --run0 ... in style.css; then they come again, dashed
const DASHES = ["", "6 3", "2 2", "8 3 2 3"];
const PARTS = ["data_wait_s", "model_s", "communication_s", "optimizer_s"];
const PART_NAMES = {
  data_wait_s: "waiting for data", model_s: "model", communication_s: "waiting for ranks", optimizer_s: "optimizer",
};
const LOG_FROM_RATIO = 4;   // between the largest and the smallest value: below, a log axis shows nothing more

// What lorsa-train writes, in the order of the page. Other keys follow in the order of the files.
const KNOWN = new Map([
  ["loss", {note: "squared error per dimension of the scaled target", log: true}],
  ["fvu", {note: "fraction of the variance left unexplained", log: true}],
  ["l0", {note: "heads acting at a scored token"}],
  ["dead_fraction", {note: "share of heads that did not act in the window"}],
  ["top_k", {note: "heads kept at a position"}],
  ["learning_rate", {note: ""}],
  ["grad_norm", {note: "of all gradients, mean over steps", log: true}],
  ["tokens_per_s", {note: ""}],
]);
const NO_PLOT = new Set(["elapsed_s"]);   // a straight line; it stands in the table

const data = JSON.parse(document.getElementById("data").textContent);
const runs = data.runs.map((run, number) => ({
  ...run,
  color: "var(--run" + (number % NUM_COLORS) + ")",
  dash: DASHES[Math.floor(number / NUM_COLORS) % DASHES.length],
  visible: true,
}));
const plots = [];           // functions that draw one plot anew

// ---- Building elements

const byId = (id) => document.getElementById(id);

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function shape(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function swatch(run) {
  const made = shape("svg", {class: "swatch", viewBox: "0 0 22 8", "aria-hidden": "true"});
  const line = shape("line", {x1: 0, x2: 22, y1: 4, y2: 4, "stroke-dasharray": run.dash});
  line.style.stroke = run.color;
  made.append(line);
  return made;
}

function patch(part) {
  const made = element("span", "patch");
  made.style.background = "var(--part" + part + ")";
  return made;
}

// ---- Numbers as text

const whole = (value) => value.toLocaleString("en");

function digits(value, count) {
  if (value === null || value === undefined) return "not finite";
  if (value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e15)) {
    const [mantissa, exponent] = value.toExponential(count - 1).split("e");
    return Number(mantissa) + "e" + Number(exponent);
  }
  if (Number.isInteger(value)) return whole(value);
  return Number(value.toPrecision(Math.max(count, Math.floor(Math.log10(Math.abs(value))) + 1))).toLocaleString(
    "en", {maximumFractionDigits: 12});
}

function short(value) {
  for (const [unit, letter] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= unit) return Number((value / unit).toPrecision(4)) + letter;
  }
  return digits(value, 4);
}

function duration(seconds) {
  const s = Math.round(seconds);
  const two = (n) => String(n).padStart(2, "0");
  if (s >= 3600) return Math.floor(s / 3600) + "h " + two(Math.floor(s / 60) % 60) + "m";
  return s >= 60 ? Math.floor(s / 60) + "m " + two(s % 60) + "s" : s + "s";
}

// ---- Scales

// Round numbers in [low, high], about `count` of them.
function linearTicks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

function logTicks(low, high) {
  const decades = Math.log10(high / low);
  if (decades < 1) return linearTicks(low, high, 4);
  const factors = decades < 3 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil(decades / 6));
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); ++power) {
    if (power % every !== 0) continue;
    for (const factor of factors) {
      const tick = Number((factor * 10 ** power).toPrecision(12));
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return ticks;
}

// Where values lie between `from` and `to` pixels.
function scale(low, high, from, to, log) {
  const f = log ? Math.log10 : (value) => value;
  const start = f(low);
  const factor = (to - from) / (f(high) - start);
  return (value) => from + (f(value) - start) * factor;
}

function xAxis(seriesList, width) {
  let high = 0;
  for (const series of seriesList) high = Math.max(high, series.x[series.x.length - 1] || 0);
  high = high || 1;
  const at = scale(0, high, MARGIN.left, width - MARGIN.right, false);
  return {at, high, ticks: linearTicks(0, high, Math.max(2, Math.floor(width / 90)))};
}

// Smallest and largest of the values that the axis can show; null without any.
function range(seriesList, log) {
  let low = Infinity, high = -Infinity;
  for (const series of seriesList) {
    for (const value of series.y) {
      if (value === null || (log && value <= 0)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  return low <= high ? [low, high] : null;
}

function yAxis(limits, log) {
  let [low, high] = limits;
  if (log) {
    const pad = low === high ? 2 : (high / low) ** 0.04;
    low /= pad;
    high *= pad;
  } else {
    if (low === high) {
      const pad = Math.abs(low) * 0.1 || 1;
      low -= pad;
      high += pad;
    } else {
      const floor = low >= 0 && low < high * 0.4 ? 0 : low - (high - low) * 0.04;
      high += (high - low) * 0.04;
      low = floor;
    }
  }
  return {at: scale(low, high, HEIGHT - MARGIN.bottom, MARGIN.top, log), ticks: log ? logTicks(low, high) : linearTicks(low, high, 4)};
}

// ---- Drawing

function drawAxes(svg, width, x, y, yText) {
  for (const tick of y.ticks) {
    const at = y.at(tick).toFixed(1);
    svg.append(shape("line", {class: "rule", x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at}),
      shape("text", {x: MARGIN.left - 6, y: at, dy: "0.35em", "text-anchor": "end"}, yText(tick)));
  }
  for (const tick of x.ticks) {
    const at = x.at(tick);
    const anchor = at > width - MARGIN.right - 14 ? "end" : "middle";
    svg.append(shape("text", {x: at.toFixed(1), y: HEIGHT - 7, "text-anchor": anchor}, short(tick)));
  }
}

// A line that breaks at gaps; a point without neighbours becomes a dot.
function drawCurve(svg, series, x, y, log) {
  const drawable = (i) => i >= 0 && i < series.y.length && series.y[i] !== null && !(log && series.y[i] <= 0);
  let path = "";
  for (let i = 0; i < series.x.length; ++i) {
    if (!drawable(i)) continue;
    const px = x.at(series.x[i]).toFixed(1), py = y.at(series.y[i]).toFixed(1);
    path += (drawable(i - 1) ? "L" : "M") + px + " " + py;
    if (!drawable(i - 1) && !drawable(i + 1)) {
      const dot = shape("circle", {cx: px, cy: py, r: 2.5});
      dot.style.fill = series.run.color;
      svg.append(dot);
    }
  }
  const line = shape("path", {class: "curve", d: path, "stroke-dasharray": series.run.dash});
  line.style.stroke = series.run.color;
  svg.append(line);
}

// Index of the point next to `tokens`.
function nearest(xs, tokens) {
  let low = 0, high = xs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < tokens) low = middle + 1; else high = middle;
  }
  return low > 0 && tokens - xs[low - 1] <= xs[low] - tokens ? low - 1 : low;
}

// ---- What the pointer is at

function showTip(event, title, rows) {
  const tip = byId("tip");
  tip.replaceChildren(element("div", "faint", title), ...rows.map(([mark, name, value]) => {
    const row = element("div", "row");
    row.append(mark, element("span", "name", name), element("b", "", value));
    return row;
  }));
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const right = event.clientX + 16 + box.width > innerWidth;
  tip.style.left = Math.max(4, right ? event.clientX - 16 - box.width : event.clientX + 16) + "px";
  tip.style.top = Math.max(4, Math.min(event.clientY + 12, innerHeight - box.height - 4)) + "px";
}

// Calls at(event, tokens, marks) while the pointer is over the plot; marks is a group that it may fill.
function follow(svg, state, at) {
  const hide = () => {
    byId("tip").hidden = true;
    state.marks?.replaceChildren();
  };
  svg.addEventListener("pointermove", (event) => {
    if (!state.x) return;
    const box = svg.getBoundingClientRect();
    const inner = box.width - MARGIN.left - MARGIN.right;
    const tokens = Math.min(1, Math.max(0, (event.clientX - box.left - MARGIN.left) / inner)) * state.x.high;
    state.marks.replaceChildren();
    at(event, tokens, state.marks);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointercancel", hide);
}

function drawCross(marks, px) {
  marks.append(shape("line", {class: "cross", x1: px, x2: px, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom}));
}

function markCurves(event, tokens, marks, state) {
  const points = state.series.map((series) => ({series, i: nearest(series.x, tokens)}));
  if (points.length === 0) return;
  const distance = ({series, i}) => Math.abs(series.x[i] - tokens);
  const best = points.reduce((a, b) => (distance(b) < distance(a) ? b : a));
  const snapped = best.series.x[best.i];
  drawCross(marks, state.x.at(snapped).toFixed(1));
  const rows = [];
  for (const series of state.series) {
    const i = nearest(series.x, snapped);
    const first = series.x[0], last = series.x[series.x.length - 1];
    if (snapped < first || snapped > last) continue;
    const value = series.y[i];
    const elsewhere = series.x[i] === snapped ? "" : " at " + short(series.x[i]);
    rows.push([swatch(series.run), series.run.name + elsewhere, digits(value, 5)]);
    if (value !== null && !(state.log && value <= 0)) {
      const spot = shape("circle", {class: "spot", cx: state.x.at(series.x[i]).toFixed(1), cy: state.y.at(value).toFixed(1), r: 4});
      spot.style.fill = series.run.color;
      marks.append(spot);
    }
  }
  showTip(event, whole(snapped) + " tokens", rows);
}

// ---- Plots

function frame(title, note, parent) {
  const card = element("figure", "plot");
  card.style.margin = 0;
  const head = element("div", "head");
  head.append(element("h3", "", title));
  const svg = shape("svg", {role: "img", "aria-label": title});
  card.append(head);
  if (note) card.append(element("div", "note", note));
  card.append(svg);
  parent.append(card);
  return {card, head, svg};
}

function curvePlot(key) {
  const known = KNOWN.get(key) || {note: ""};
  const {card, head, svg} = frame(key, known.note, byId("curves"));
  const all = runs.filter((run) => Object.hasOwn(run.curves, key)).map((run) => ({run, ...run.curves[key]}));
  const limits = range(all, false);
  const box = element("input");
  box.type = "checkbox";
  box.checked = Boolean(known.log && limits && limits[0] > 0 && limits[1] >= limits[0] * LOG_FROM_RATIO);
  if (limits && limits[1] > 0) {
    const label = element("label");
    label.append(box, " log");
    head.append(label);
  }
  const state = {series: []};
  const draw = () => {
    const width = Math.max(200, svg.clientWidth);
    const log = box.checked;
    state.series = all.filter((series) => series.run.visible);
    const shown = range(state.series, log);
    svg.replaceChildren();
    state.x = undefined;
    if (!shown) {
      svg.append(shape("text", {x: width / 2, y: HEIGHT / 2, "text-anchor": "middle"}, "nothing to show"));
      return;
    }
    state.log = log;
    state.x = xAxis(state.series, width);
    state.y = yAxis(shown, log);
    drawAxes(svg, width, state.x, state.y, short);
    for (const series of state.series) drawCurve(svg, series, state.x, state.y, log);
    state.marks = shape("g", {});
    svg.append(state.marks);
  };
  box.addEventListener("change", draw);
  follow(svg, state, (event, tokens, marks) => markCurves(event, tokens, marks, state));
  plots.push({card, draw});
}

// Areas stacked to 100 %, broken at gaps.
function drawAreas(svg, split, x, y) {
  const n = split.x.length;
  const below = new Array(n).fill(0);
  PARTS.forEach((part, number) => {
    const shares = split.parts[part];
    for (let begin = 0; begin < n; ++begin) {
      if (shares[begin] === null) continue;
      let end = begin;
      while (end + 1 < n && shares[end + 1] !== null) ++end;
      let upper = "", lower = "";
      for (let i = begin; i <= end; ++i) {
        // The first line stands for the time before it as well.
        const left = i === 0 ? MARGIN.left : x.at(split.x[i]);
        upper += (upper ? "L" : "M") + left.toFixed(1) + " " + y.at(below[i] + shares[i]).toFixed(1);
        lower = "L" + left.toFixed(1) + " " + y.at(below[i]).toFixed(1) + lower;
        if (i === 0 && n === 1) {
          upper += "L" + x.at(x.high) + " " + y.at(below[i] + shares[i]).toFixed(1);
          lower = "L" + x.at(x.high) + " " + y.at(below[i]).toFixed(1) + lower;
        }
        below[i] += shares[i];
      }
      const area = shape("path", {d: upper + lower + "Z"});
      area.style.fill = "var(--part" + number + ")";
      svg.append(area);
      begin = end;
    }
  });
}

const percent = (share) => (share * 100).toFixed(1) + " %";

function splitPlot(run) {
  const {card, svg} = frame(run.name, "", byId("splits"));
  const state = {};
  const draw = () => {
    card.hidden = !run.visible;
    const width = Math.max(200, svg.clientWidth);
    svg.replaceChildren();
    state.x = xAxis([run.split], width);
    state.y = {at: scale(0, 1, HEIGHT - MARGIN.bottom, MARGIN.top, false), ticks: [0, 0.25, 0.5, 0.75, 1]};
    drawAreas(svg, run.split, state.x, state.y);
    drawAxes(svg, width, state.x, state.y, (share) => share * 100 + " %");
    state.marks = shape("g", {});
    svg.append(state.marks);
  };
  follow(svg, state, (event, tokens, marks) => {
    const i = nearest(run.split.x, tokens);
    drawCross(marks, state.x.at(run.split.x[i]).toFixed(1));
    // As they lie on each other, the last part on top.
    const rows = PARTS.map((part, number) => {
      const share = run.split.parts[part][i];
      return [patch(number), PART_NAMES[part], share === null ? "none" : percent(share)];
    });
    showTip(event, whole(run.split.x[i]) + " tokens", rows.reverse());
  });
  plots.push({card, draw});
}

function drawAll() {
  for (const plot of plots) plot.draw();
}

// ---- Tables and the rest of the page

function unionKeys(objects) {
  return [...new Set(objects.flatMap((object) => Object.keys(object)))];
}

function inOrder(keys) {
  return [...[...KNOWN.keys()].filter((key) => keys.includes(key)), ...keys.filter((key) => !KNOWN.has(key))];
}

// Rows of [name, values], one value a column.
function table(target, columns, rows) {
  const head = element("tr");
  head.append(element("th"), ...columns.map((name) => element("th", "", name)));
  const thead = element("thead");
  thead.append(head);
  const body = element("tbody");
  for (const [name, values] of rows) {
    const row = element("tr");
    const label = element("th", "", name);
    label.scope = "row";
    row.append(label, ...values.map((value) => element("td", value === null ? "faint" : "", value === null ? "–" : value)));
    body.append(row);
  }
  target.append(thead, body);
}

function fillNumbers() {
  const keys = inOrder(unionKeys(runs.map((run) => run.last)));
  const text = (key, value) => (key === "elapsed_s" && value !== null ? duration(value) : digits(value, 5));
  const rows = [["tokens", runs.map((run) => whole(run.tokens))], ["lines", runs.map((run) => whole(run.lines))]];
  for (const key of keys) rows.push([key, runs.map((run) => (Object.hasOwn(run.last, key) ? text(key, run.last[key]) : null))]);
  table(byId("numbers"), runs.map((run) => run.name), rows);
}

function settingsTable(columns, rows) {
  const scroll = element("div", "scroll");
  const made = element("table");
  table(made, columns, rows);
  scroll.append(made);
  return scroll;
}

function fillSettings() {
  const rows = Object.entries(data.settings);
  const target = byId("settings");
  if (rows.length === 0) {
    byId("settings-section").hidden = true;
    return;
  }
  const differing = rows.filter(([, values]) => values.some((value) => value !== values[0]));
  const same = rows.filter(([, values]) => values.every((value) => value === values[0]));
  if (runs.length > 1) {
    byId("settings-title").textContent = "Settings that differ";
    target.append(differing.length > 0 ? settingsTable(runs.map((run) => run.name), differing) : element("p", "faint", "None: all settings are the same."));
  }
  if (same.length > 0) {
    const details = element("details");
    details.append(element("summary", "", runs.length > 1 ? whole(same.length) + " settings that are the same" : whole(same.length) + " settings"),
      settingsTable([""], same.map(([key, values]) => [key, values.slice(0, 1)])));
    target.append(details);
  }
}

function fillLegend() {
  for (const run of runs) {
    const button = element("button");
    button.type = "button";
    button.title = run.path;
    button.setAttribute("aria-pressed", "true");
    button.append(swatch(run), element("span", "", run.name));
    button.addEventListener("click", () => {
      run.visible = !run.visible;
      button.setAttribute("aria-pressed", String(run.visible));
      drawAll();
    });
    byId("legend").append(button);
  }
}

function fillHead() {
  const title = runs.length === 1 ? "Run " + runs[0].name : runs.length + " runs";
  byId("title").textContent = title;
  document.title = title + " – lorsa";
  const thin = runs.some((run) => run.lines > data.max_points)
    ? " Long curves are thinned to " + whole(data.max_points) + " points; minima and maxima are kept." : "";
  byId("about").textContent = "Over tokens seen, from metrics.jsonl." + thin + (runs.length > 1 ? " A click on a name hides the run." : "");
}

function fillSplits() {
  const split = runs.filter((run) => run.split && run.split.x.length > 0);
  if (split.length === 0) return;
  byId("splits-section").hidden = false;
  PARTS.forEach((part, number) => {
    const entry = element("span");
    entry.append(patch(number), PART_NAMES[part] + " (" + part + ")");
    byId("split-legend").append(entry);
  });
  split.forEach(splitPlot);
}

fillHead();
fillLegend();
fillNumbers();
fillSettings();
inOrder(unionKeys(runs.map((run) => run.curves))).filter((key) => !NO_PLOT.has(key)).forEach(curvePlot);
if (runs.every((run) => run.lines === 0)) byId("curves").append(element("p", "faint", "metrics.jsonl has no lines yet."));
fillSplits();
drawAll();
addEventListener("resize", drawAll);
