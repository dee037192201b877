// Plots of points, lines and functions over a linear, logarithmic or category axis, in the frames of charts.js.
//
// A series is {name, color, dash, visible, points, line}: points are {x, y, rows, mean}, drawn as dots, large ones for means; line is a list of
// [x, y], drawn through. rows is what the tip says of a point: [name, text].

const LOG_SPAN = 10;        // values that span a larger factor stand on a log axis
const LOW_HEIGHT = 110;     // px, as in style.css

// Colours and dashes as coloured() gives them, to series.
const painted = (list) => coloured(list);

// Writes the names of the axes above and below the svg of a card.
function nameAxes(card, xName, yName) {
  const svg = card.querySelector("svg");
  svg.before(element("div", "axis y", "↑ " + yName));
  svg.after(element("div", "axis x", xName + " →"));
}

// The names of a plot's series; a click hides one. `texts` may say more than the names.
function seriesKeys(card, series, redraw, texts) {
  const keys = element("div", "keys");
  series.forEach((one, i) => {
    const button = element("button");
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    button.append(swatch(one), element("span", "", texts ? texts[i] : one.name));
    button.addEventListener("click", () => {
      one.visible = !one.visible;
      button.setAttribute("aria-pressed", String(one.visible));
      redraw();
    });
    keys.append(button);
  });
  card.querySelector(".axis.y").before(keys);
}

const spansFactor = (values) => {
  const low = Math.min(...values), high = Math.max(...values);
  return low > 0 && high / low > LOG_SPAN;
};

function horizontal(all, options, width) {
  const from = MARGIN.left + 8, to = width - MARGIN.right - 8;
  if (options.categories) {
    const step = (to - from) / options.categories.length;
    return {at: (x) => from + (options.categories.indexOf(x) + 0.5) * step, ticks: []};
  }
  const values = all.flatMap((one) => [...one.points.map(({x}) => x), ...(one.line || []).map(([x]) => x)]);
  let low = Math.min(...values), high = Math.max(...values);
  const log = options.logX === undefined ? spansFactor(values) : options.logX;
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) * 0.1 || 1), high + (Math.abs(high) * 0.1 || 1)];
  const ticks = log ? logTicks(low, high) : linearTicks(low, high, Math.max(2, Math.floor(width / 90)));
  return {at: scale(low, high, from, to, log), ticks};
}

// Category names below the axis; every other one where there is no room.
function drawCategories(svg, names, x, width) {
  const room = (width - MARGIN.left) / names.length;
  const longest = Math.max(...names.map((name) => String(name).length)) * 6.2;
  const every = Math.ceil(Math.min(longest, 90) / room);
  names.forEach((name, i) => {
    if (i % every === 0) svg.append(shape("text", {x: x.at(name).toFixed(1), y: HEIGHT - 7, "text-anchor": "middle"}, clipped(name, 15)));
  });
}

const clipped = (name, length) => (String(name).length > length ? String(name).slice(0, length - 1) + "…" : String(name));

function drawSeries(svg, one, x, y, shown) {
  if (one.line && one.line.length > 1) {
    const path = one.line.map(([px, py], i) => (i === 0 ? "M" : "L") + x.at(px).toFixed(1) + " " + y.at(py).toFixed(1)).join("");
    const line = shape("path", {class: "curve", d: path, "stroke-dasharray": one.dash});
    line.style.stroke = one.color;
    svg.append(line);
  }
  for (const point of one.points) {
    const place = [x.at(point.x), y.at(point.y)];
    const dot = shape("circle", {class: point.mean ? "mean" : "dot", cx: place[0].toFixed(1), cy: place[1].toFixed(1), r: point.mean ? 3.6 : 2.4});
    dot.style.fill = one.color;
    svg.append(dot);
    shown.push({place, point, one});
  }
}

// options: categories (x are these, in this order), logX, logY (else by the values' span), low (a small plot), zero (a line at 0),
// keys (texts of the legend; false: none), visibility (what is drawn is up to these series, for a plot beneath another one).
function xyPlot(title, note, parent, all, xName, yName, options = {}) {
  const {card, svg} = options.card ? beneath(options.card, title) : frame(title, note, parent);
  if (!options.card) nameAxes(card, xName, yName);
  else svg.after(element("div", "axis x", xName + " →"));
  if (options.low) svg.classList.add("low");
  const height = options.low ? LOW_HEIGHT : HEIGHT;
  let shown = [];
  const draw = () => {
    const width = Math.max(200, svg.clientWidth);
    const series = all.filter((one, i) => (options.visibility ? options.visibility[i].visible : one.visible) && one.points.length > 0);
    svg.replaceChildren();
    shown = [];
    if (series.length === 0) {
      svg.append(shape("text", {x: width / 2, y: height / 2, "text-anchor": "middle"}, "nothing to show"));
      return;
    }
    const values = series.flatMap((one) => [...one.points.map((point) => point.y), ...(one.line || []).map(([, y]) => y)]);
    if (options.zero) values.push(0);
    const log = options.logY === undefined ? spansFactor(values) : options.logY && Math.min(...values) > 0;
    const x = horizontal(series, options, width);
    const y = yAxis([Math.min(...values), Math.max(...values)], log, height);
    if (options.low) y.ticks = y.ticks.filter((tick, i) => y.ticks.length < 4 || i % 2 === 0);
    drawAxes(svg, width, x, y, short, height);
    if (options.categories) drawCategories(svg, options.categories, x, width);
    if (options.zero) svg.append(shape("line", {class: "zero", x1: MARGIN.left, x2: width - MARGIN.right, y1: y.at(0), y2: y.at(0)}));
    for (const one of series) drawSeries(svg, one, x, y, shown);
  };
  svg.addEventListener("pointermove", (event) => pointAt(event, svg, shown));
  svg.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
  plots.push({card, draw});
  if (options.keys !== false && !options.card && (all.length > 1 || options.keys)) seriesKeys(card, all, drawAll, options.keys);
  return card;
}

// A further svg in the card of another plot.
function beneath(card, title) {
  const svg = shape("svg", {role: "img", "aria-label": title});
  card.append(element("div", "axis y", "↑ " + title), svg);
  return {card, svg};
}

// Tells of the mark next to the pointer.
function pointAt(event, svg, shown) {
  const box = svg.getBoundingClientRect();
  const distance = ({place}) => Math.hypot(place[0] - (event.clientX - box.left), place[1] - (event.clientY - box.top));
  if (shown.length === 0) return;
  const best = shown.reduce((a, b) => (distance(b) < distance(a) ? b : a));
  if (distance(best) > 60) {
    byId("tip").hidden = true;
    return;
  }
  showTip(event, best.one.name, best.point.rows.map(([name, text], i) => [i === 0 ? swatch(best.one) : element("span"), name, text]));
}
