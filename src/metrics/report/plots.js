// Bars and heat maps, in the frames and with the series of charts.js.

// ---- Bars

const COUNT_TICKS = [0, 1, 10, 100, 1e3, 1e4, 1e5, 1e6];

// Bars of the series side by side at each of `categories`; series.y has a value a category. options.counts: whole numbers, which a
// checkbox shows as log(1 + count); options.fromData: the axis begins below the least value, for values that differ by little.
function barPlot(title, note, parent, categories, all, options = {}) {
  const {card, head, svg} = frame(title, note, parent);
  const box = element("input");
  box.type = "checkbox";
  if (options.counts) {
    const label = element("label");
    label.append(box, " log");
    head.append(label);
    box.checked = true;
  }
  let series = [], groups = null;
  const draw = () => {
    const width = Math.max(200, svg.clientWidth);
    series = all.filter((one) => one.run.visible);
    svg.replaceChildren();
    const shown = range(series, false);
    groups = null;
    if (!shown) {
      svg.append(shape("text", {x: width / 2, y: HEIGHT / 2, "text-anchor": "middle"}, "nothing to show"));
      return;
    }
    const y = barAxis(shown, options, box.checked);
    groups = {left: MARGIN.left, step: (width - MARGIN.left - MARGIN.right) / categories.length};
    drawAxes(svg, width, {ticks: []}, y, short);
    drawBars(svg, series, groups, y);
    const every = Math.ceil(categories.length * (options.labelWidth || 34) / (width - MARGIN.left));
    categories.forEach((name, i) => {
      if (i % every !== 0) return;
      const x = (groups.left + (i + 0.5) * groups.step).toFixed(1);
      // Names of families stand one word below the other.
      const words = options.names ? name.split("_").slice(0, 2) : [name];
      words.forEach((word, line) => svg.append(shape("text", {x, y: HEIGHT - (words.length === 1 ? 7 : 11 - 9 * line), "text-anchor": "middle",
        ...(options.names ? {style: "font-size: 9px"} : {})}, word)));
    });
  };
  box.addEventListener("change", draw);
  svg.addEventListener("pointermove", (event) => {
    if (!groups) return;
    const at = Math.floor((event.clientX - svg.getBoundingClientRect().left - groups.left) / groups.step);
    const i = Math.min(categories.length - 1, Math.max(0, at));
    showTip(event, options.tip ? options.tip(i) : categories[i], series.map((one) => [swatch(one.run), one.label || one.run.name, digits(one.y[i], 5)]));
  });
  svg.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
  plots.push({card, draw});
  return card;
}

// base: where bars begin, 0 unless the axis does not show it.
function barAxis([low, high], options, logarithmic) {
  if (options.counts && logarithmic) {
    const top = Math.log10(1 + Math.max(1, high)) * 1.04;
    const at = scale(0, top, HEIGHT - MARGIN.bottom, MARGIN.top, false);
    return {at: (value) => at(Math.log10(1 + value)), ticks: COUNT_TICKS.filter((tick) => Math.log10(1 + tick) <= top), base: 0};
  }
  let floor = Math.min(0, low * 1.04);
  if (options.fromData && low > 0) floor = low - ((high - low) * 0.3 || low * 0.1);
  const top = high > floor ? high + (high - floor) * 0.04 : floor + 1;
  return {at: scale(floor, top, HEIGHT - MARGIN.bottom, MARGIN.top, false), ticks: linearTicks(floor, top, 4), base: Math.max(floor, Math.min(0, top))};
}

function drawBars(svg, series, groups, y) {
  const inner = groups.step * 0.84;
  series.forEach((one, number) => {
    one.y.forEach((value, i) => {
      if (value === null || value === y.base) return;
      const left = groups.left + i * groups.step + groups.step * 0.08 + number * inner / series.length;
      const [top, bottom] = [y.at(value), y.at(y.base)].sort((a, b) => a - b);
      const bar = shape("rect", {class: "bar", x: left.toFixed(1), y: top.toFixed(1),
        width: Math.max(0.7, inner / series.length - 0.6).toFixed(1), height: Math.max(0.5, bottom - top).toFixed(1)});
      bar.style.fill = one.run.color;
      svg.append(bar);
    });
  });
}

// ---- Heat maps

// From low to high: readable on light and dark paper and in print without colour.
const HEAT = [[68, 1, 84], [65, 68, 135], [42, 120, 142], [34, 168, 132], [122, 209, 81], [253, 231, 37]];
const CELL_TEXT = 12;    // up to so many rows and columns the cells hold their numbers

function heatColor(share) {
  const place = Math.min(1, Math.max(0, share)) * (HEAT.length - 1);
  const i = Math.min(HEAT.length - 2, Math.floor(place));
  return HEAT[i].map((from, channel) => Math.round(from + (place - i) * (HEAT[i + 1][channel] - from)));
}

// A picture of one pixel a cell, which the plot stretches.
function heatPicture(matrix, low, high) {
  const canvas = element("canvas");
  canvas.width = matrix[0].length;
  canvas.height = matrix.length;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  matrix.flat().forEach((value, i) => {
    if (value === null) return;
    pixels.data.set([...heatColor(high > low ? (value - low) / (high - low) : 0.5), 255], 4 * i);
  });
  context.putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

// matrix: rows of numbers or nulls. options: rowNames, columnNames (texts on the axes), cell(row, column) (the tip's title), limits
// ([low, high]; without, those of the values), marks ([row, column] of cells with a dot), run (shown while it is visible).
function heatMap(title, note, parent, matrix, options) {
  if (matrix.length === 0 || matrix[0].length === 0) return null;
  const values = matrix.flat().filter((value) => value !== null);
  const [low, high] = options.limits || range([{y: values}], false) || [0, 1];
  const scaleText = "dark " + digits(low, 3) + ", light " + digits(high, 3);
  const {card, svg} = frame(title, note ? note + "; " + scaleText : scaleText, parent);
  const numRows = matrix.length, numColumns = matrix[0].length;
  const picture = heatPicture(matrix, low, high);
  let cell = null;
  const draw = () => {
    card.hidden = Boolean(options.run && !options.run.visible);
    const width = Math.max(200, svg.clientWidth);
    cell = {width: (width - MARGIN.left - MARGIN.right) / numColumns, height: (HEIGHT - MARGIN.top - MARGIN.bottom) / numRows};
    svg.replaceChildren(shape("image", {href: picture, x: MARGIN.left, y: MARGIN.top, width: cell.width * numColumns,
      height: cell.height * numRows, preserveAspectRatio: "none", style: "image-rendering: pixelated"}));
    drawNames(svg, options, cell, numRows, numColumns);
    if (numRows <= CELL_TEXT && numColumns <= CELL_TEXT) drawCells(svg, matrix, cell, low, high);
    for (const [row, column] of options.marks || []) {
      svg.append(shape("circle", {class: "spot", cx: MARGIN.left + (column + 0.5) * cell.width, cy: MARGIN.top + (row + 0.5) * cell.height,
        r: Math.max(1.5, Math.min(4, cell.width / 3, cell.height / 3)), fill: "#e03030"}));
    }
  };
  svg.addEventListener("pointermove", (event) => {
    const bounds = svg.getBoundingClientRect();
    const row = Math.floor((event.clientY - bounds.top - MARGIN.top) / cell.height);
    const column = Math.floor((event.clientX - bounds.left - MARGIN.left) / cell.width);
    const inside = row >= 0 && row < numRows && column >= 0 && column < numColumns;
    if (inside) showTip(event, options.cell(row, column), [[element("span"), "", digits(matrix[row][column], 5)]]);
    else byId("tip").hidden = true;
  });
  svg.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
  plots.push({card, draw});
  return card;
}

function drawNames(svg, options, cell, numRows, numColumns) {
  const every = (count, size, room) => Math.max(1, Math.ceil(room / size), Math.ceil(count / 40));
  for (let row = 0; row < numRows; row += every(numRows, cell.height, 12)) {
    svg.append(shape("text", {x: MARGIN.left - 6, y: MARGIN.top + (row + 0.5) * cell.height, dy: "0.35em", "text-anchor": "end"}, options.rowNames[row]));
  }
  for (let column = 0; column < numColumns; column += every(numColumns, cell.width, 26)) {
    svg.append(shape("text", {x: MARGIN.left + (column + 0.5) * cell.width, y: HEIGHT - 7, "text-anchor": "middle"}, options.columnNames[column]));
  }
}

function drawCells(svg, matrix, cell, low, high) {
  matrix.forEach((values, row) => values.forEach((value, column) => {
    if (value === null) return;
    const [red, green, blue] = heatColor(high > low ? (value - low) / (high - low) : 0.5);
    const text = shape("text", {class: "cell", x: MARGIN.left + (column + 0.5) * cell.width, y: MARGIN.top + (row + 0.5) * cell.height,
      dy: "0.35em", "text-anchor": "middle"}, digits(value, 3));
    text.style.fill = red * 0.3 + green * 0.59 + blue * 0.11 > 130 ? "#000" : "#fff";
    svg.append(text);
  }));
}
