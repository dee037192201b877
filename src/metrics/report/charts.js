// Elements, scales, curves and tables of the pages that draw reports: of lorsa-report, lorsa-eval and lorsa-sweep. Comes before the page's own script.
//
// A page's data stand as JSON in the element "data". What comes from a file reaches the page through textContent or title only, never as
// markup. A series is {run, x, y, label}: a run (see coloured()), places, values (null: none there) and, where it is not the run's, a name.
"use strict";

const HEIGHT = 210;         // px, as in style.css
const MARGIN = {left: 52, right: 10, top: 8, bottom: 24};
const NUM_COLORS = 8;       // --run0 ... in style.css; then they come again, dashed
const DASHES = ["", "6 3", "2 2", "8 3 2 3"];
const LOG_FROM_RATIO = 4;   // between the largest and the smallest value: below, a log axis shows nothing more

const data = JSON.parse(document.getElementById("data").textContent);
const plots = [];           // functions that draw one plot anew

// The runs, each with a colour of its own and shown until a click on its name.
function coloured(list) {
  return list.map((run, number) => ({
    ...run,
    color: "var(--run" + (number % NUM_COLORS) + ")",
    dash: DASHES[Math.floor(number / NUM_COLORS) % DASHES.length],
    visible: true,
  }));
}

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

function yAxis(limits, log, height = HEIGHT) {
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
  return {at: scale(low, high, height - MARGIN.bottom, MARGIN.top, log), ticks: log ? logTicks(low, high) : linearTicks(low, high, 4)};
}

// ---- Drawing

function drawAxes(svg, width, x, y, yText, height = HEIGHT) {
  for (const tick of y.ticks) {
    const at = y.at(tick).toFixed(1);
    svg.append(shape("line", {class: "rule", x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at}),
      shape("text", {x: MARGIN.left - 6, y: at, dy: "0.35em", "text-anchor": "end"}, yText(tick)));
  }
  for (const tick of x.ticks) {
    const at = x.at(tick);
    const anchor = at > width - MARGIN.right - 14 ? "end" : "middle";
    svg.append(shape("text", {x: at.toFixed(1), y: height - 7, "text-anchor": anchor}, short(tick)));
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

// Index of the point next to `place`.
function nearest(xs, place) {
  let low = 0, high = xs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < place) low = middle + 1; else high = middle;
  }
  return low > 0 && place - xs[low - 1] <= xs[low] - place ? low - 1 : low;
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

// Calls at(event, place, marks) while the pointer is over the plot; marks is a group that it may fill.
function follow(svg, state, at) {
  const hide = () => {
    byId("tip").hidden = true;
    state.marks?.replaceChildren();
  };
  svg.addEventListener("pointermove", (event) => {
    if (!state.x) return;
    const box = svg.getBoundingClientRect();
    const inner = box.width - MARGIN.left - MARGIN.right;
    const place = Math.min(1, Math.max(0, (event.clientX - box.left - MARGIN.left) / inner)) * state.x.high;
    state.marks.replaceChildren();
    at(event, place, state.marks);
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointercancel", hide);
}

function drawCross(marks, px) {
  marks.append(shape("line", {class: "cross", x1: px, x2: px, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom}));
}

function markCurves(event, place, marks, state) {
  const points = state.series.map((series) => ({series, i: nearest(series.x, place)}));
  if (points.length === 0) return;
  const distance = ({series, i}) => Math.abs(series.x[i] - place);
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
    rows.push([swatch(series.run), (series.label || series.run.name) + elsewhere, digits(value, 5)]);
    if (value !== null && !(state.log && value <= 0)) {
      const spot = shape("circle", {class: "spot", cx: state.x.at(series.x[i]).toFixed(1), cy: state.y.at(value).toFixed(1), r: 4});
      spot.style.fill = series.run.color;
      marks.append(spot);
    }
  }
  showTip(event, whole(snapped) + " " + state.unit, rows);
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

// A plot of series over what `unit` counts. `log`: the axis begins logarithmic where that shows more.
function curvePlot(title, note, parent, all, unit, log) {
  const {card, head, svg} = frame(title, note, parent);
  const limits = range(all, false);
  const box = element("input");
  box.type = "checkbox";
  box.checked = Boolean(log && limits && limits[0] > 0 && limits[1] >= limits[0] * LOG_FROM_RATIO);
  if (limits && limits[1] > 0) {
    const label = element("label");
    label.append(box, " log");
    head.append(label);
  }
  const state = {series: [], unit};
  const draw = () => {
    const width = Math.max(200, svg.clientWidth);
    const logarithmic = box.checked;
    state.series = all.filter((series) => series.run.visible);
    const shown = range(state.series, logarithmic);
    svg.replaceChildren();
    state.x = undefined;
    if (!shown) {
      svg.append(shape("text", {x: width / 2, y: HEIGHT / 2, "text-anchor": "middle"}, "nothing to show"));
      return;
    }
    state.log = logarithmic;
    state.x = xAxis(state.series, width);
    state.y = yAxis(shown, logarithmic);
    drawAxes(svg, width, state.x, state.y, short);
    for (const series of state.series) drawCurve(svg, series, state.x, state.y, logarithmic);
    state.marks = shape("g", {});
    svg.append(state.marks);
  };
  box.addEventListener("change", draw);
  follow(svg, state, (event, place, marks) => markCurves(event, place, marks, state));
  plots.push({card, draw});
}

function drawAll() {
  for (const plot of plots) plot.draw();
}

// ---- Tables and the legend

function unionKeys(objects) {
  return [...new Set(objects.flatMap((object) => Object.keys(object)))];
}

// Rows of [name, values], one value a column.
function table(target, columns, rows) {
  const head = element("tr");
  head.append(element("th"), ...columns.map((name) => element("th", "", name)));
  const thead = element("thead");
  thead.append(head);
  const body = element("tbody");
  for (const [name, values, title, best] of rows) {
    const row = element("tr");
    const label = element("th", "", name);
    label.scope = "row";
    row.title = title || "";
    row.append(label, ...values.map((value, i) => element("td", value === null ? "faint" : i === best ? "best" : "", value === null ? "–" : value)));
    body.append(row);
  }
  target.append(thead, body);
}

function fillLegend(runs) {
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
