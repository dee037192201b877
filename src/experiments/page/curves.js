// Curves, heat maps and power laws of a sweep.

// ---- Curves

// Single runs as dots, and their mean where there are several.
function pointsOf(runs, x, y, place) {
  const values = runs.map((run) => valueOf(run, y));
  const points = runs.map((run, i) => ({x: valueOf(run, x), y: values[i], rows: [
    ["run", run.name], [x, textOf(valueOf(run, x))], [y, textOf(values[i])]]}));
  const middle = mean(values);
  points.push({x: place, y: middle, mean: true, rows: [
    [x, textOf(place)], [y, meanText(values)], ["runs", String(runs.length)]]});
  return {points, middle};
}

function curveSeries(runs, plot, categories) {
  // Against a metric there is a point for every setting; against a setting, one for every value.
  const groups = isSetting(plot.x) ? groupedBy(runs, [plot.x]) : groupedBy(runs, settingNames);
  const points = [], line = [];
  for (const group of groups) {
    const place = categories ? valueOf(group[0], plot.x) : mean(group.map((run) => valueOf(run, plot.x)));
    const found = pointsOf(group, plot.x, plot.y, place);
    points.push(...found.points);
    line.push([place, found.middle]);
  }
  line.sort(categories ? (a, b) => categories.indexOf(a[0]) - categories.indexOf(b[0]) : (a, b) => a[0] - b[0]);
  // Means lie on top.
  points.sort((a, b) => Number(Boolean(a.mean)) - Number(Boolean(b.mean)));
  return {points, line};
}

function plotCurve(text, parent) {
  const plot = parsePlot(text);
  const runs = data.runs.filter((run) => isNumber(valueOf(run, plot.y)) && valueOf(run, plot.x) !== null);
  if (runs.length === 0) return;
  const places = distinct(runs.map((run) => valueOf(run, plot.x)));
  const categories = places.every(isNumber) ? undefined : places;
  const series = painted(groupedBy(runs, plot.by).map((members) => ({
    name: plot.by.length > 0 ? seriesName(plot.by, (name) => valueOf(members[0], name)) : plot.y,
    ...curveSeries(members, plot, categories)})));
  const note = [plot.by.length > 0 ? "by " + plot.by.join(", ") : "", isSetting(plot.x) ? meansOver([plot.x, ...plot.by]) : ""];
  xyPlot(text, note.filter(Boolean).join("; "), parent, series, plot.x, plot.y, {categories});
}

// ---- Heat maps

function plotHeatMaps(text, parent) {
  const plot = parsePlot(text);
  const runs = data.runs.filter((run) => isNumber(valueOf(run, plot.y)) && valueOf(run, plot.x) !== null && valueOf(run, plot.x2) !== null);
  if (runs.length === 0) return;
  const across = distinct(runs.map((run) => valueOf(run, plot.x)));
  const down = distinct(runs.map((run) => valueOf(run, plot.x2))).reverse();   // upwards
  const maps = groupedBy(runs, plot.by).map((members) => ({
    members,
    cells: down.map((x2) => across.map((x) => members.filter((run) => valueOf(run, plot.x) === x && valueOf(run, plot.x2) === x2)
      .map((run) => valueOf(run, plot.y)))),
  })).map((map) => ({...map, matrix: map.cells.map((cells) => cells.map((values) => (values.length > 0 ? mean(values) : null)))}));
  // One scale for all, so that colours compare.
  const limits = range([{y: maps.flatMap(({matrix}) => matrix.flat())}], false);
  for (const {members, cells, matrix} of maps) {
    const name = plot.by.length > 0 ? ": " + seriesName(plot.by, (key) => valueOf(members[0], key)) : "";
    const card = heatMap(text + name, meansOver([plot.x, plot.x2, ...plot.by]), parent, matrix, {
      limits, rowNames: down.map((value) => clipped(textOf(value), 7)), columnNames: across.map((value) => clipped(textOf(value), 9)),
      cell: (i, j) => plot.x + " " + textOf(across[j]) + ", " + plot.x2 + " " + textOf(down[i]) + ", runs: " + cells[i][j].length});
    nameAxes(card, plot.x, plot.x2);
  }
}

// ---- Power laws

const LAW_STEPS = 100;

function lawLine(law, points) {
  const xs = points.map(([x]) => x);
  const low = Math.log(Math.min(...xs)), high = Math.log(Math.max(...xs));
  return Array.from({length: LAW_STEPS + 1}, (_, i) => {
    const logX = low + (high - low) * i / LAW_STEPS;
    return [Math.exp(logX), law.floor + Math.exp(Math.log(law.scale) - law.exponent * logX)];
  });
}

const intervalText = ([low, high]) => "[" + digits(low, 3) + ", " + (high === null ? "∞" : digits(high, 3)) + "]";

function lawText(fit, name) {
  if (!fit.law) return name + ": no law, " + fit.error;
  return name + ": exponent " + digits(fit.law.exponent, 3) + " " + intervalText(fit.law.exponent_interval)
    + ", floor " + digits(fit.law.floor, 3) + " " + intervalText(fit.law.floor_interval)
    + ", error " + percent(fit.law.relative_error) + ", left out " + percent(fit.law.held_out_error);
}

const percent = (share) => digits(100 * share, 2) + " %";

function plotFits(fits, parent) {
  const {plot, x, y} = fits[0];
  const nameOf = (fit) => seriesName(Object.keys(fit.series), (key) => fit.series[key]) || y;
  const series = painted(fits.map((fit) => ({
    name: nameOf(fit),
    line: fit.law ? lawLine(fit.law, fit.points) : undefined,
    // Without a law there may be points that a logarithm does not show.
    points: fit.points.filter(([px, py]) => px > 0 && py > 0).map(([px, py], i) => ({x: px, y: py, mean: true, rows: [[x, textOf(px)], [y, textOf(py)],
      ...(fit.law ? [["residual", percent(fit.law.residuals[i])]] : [])]})),
  })));
  const card = xyPlot(plot, "floor + scale x^-exponent, with 95 % intervals; root mean squares of the relative errors", parent, series, x, y,
    {logX: true, logY: true, keys: fits.map((fit) => lawText(fit, nameOf(fit)))});
  if (!fits.some((fit) => fit.law)) return;
  const residuals = series.map((one, i) => ({...one, line: undefined, points: !fits[i].law ? [] : one.points.map((point, k) => (
    {...point, y: 100 * fits[i].law.residuals[k]}))}));
  xyPlot("residuals, % of " + y, "", parent, residuals, x, "", {card, logX: true, logY: false, low: true, zero: true, visibility: series});
}

function plotAllFits() {
  const texts = [...new Set(data.fits.map((fit) => fit.plot))];
  drawFolded("fits", texts.map((text) => data.fits.filter((fit) => fit.plot === text && fit.points.length > 0)).filter((fits) => fits.length > 0),
    plotFits, "plots");
}
