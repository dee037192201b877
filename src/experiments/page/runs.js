// The runs of a sweep: their settings and metrics by name, and the groups that differ in seeds alone.

const SEEDS = new Set(["run.seed", "toy:run.seed", "data.seed"]);
const FOLD_FROM = 6;        // plots of one kind; those after it are shown on demand

const isSetting = (name) => name.includes(".") || name.includes(":");
const isNumber = (value) => typeof value === "number";

// A setting or metric of a run; null where it has none.
function valueOf(run, name) {
  const values = isSetting(name) ? run.settings : run.metrics;
  return Object.hasOwn(values, name) && values[name] !== null ? values[name] : null;
}

const textOf = (value) => (value === null ? "–" : isNumber(value) ? digits(value, 4) : String(value));

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

// Of a sample: over n - 1; null for a single value.
function deviation(values) {
  if (values.length < 2) return null;
  const middle = mean(values);
  return Math.sqrt(values.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (values.length - 1));
}

// "mean ± deviation", the mean to the place of the deviation's second digit, but to two digits at least and six at most.
function meanText(values) {
  const middle = mean(values), spread = deviation(values);
  if (spread === null) return digits(middle, 4);
  if (spread === 0) return digits(middle, 4) + " ± 0";
  const places = middle === 0 ? 2 : Math.floor(Math.log10(Math.abs(middle))) - Math.floor(Math.log10(spread)) + 2;
  return digits(middle, Math.min(6, Math.max(2, places))) + " ± " + digits(spread, 2);
}

// Lists of runs with equal values of `names`, in the order of the runs.
function groupedBy(runs, names) {
  const groups = new Map();
  for (const run of runs) {
    const key = JSON.stringify(names.map((name) => valueOf(run, name)));
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(run);
  }
  return [...groups.values()];
}

const settingNames = unionKeys(data.runs.map((run) => run.settings)).filter((name) => !SEEDS.has(name));
const differingNames = settingNames.filter((name) => groupedBy(data.runs, [name]).length > 1);
// One for all seeds of a point of the grid.
const grid = groupedBy(data.runs, settingNames);

// Texts and booleans as they come, numbers in order.
function distinct(values) {
  const found = [...new Set(values.filter((value) => value !== null))];
  return found.every(isNumber) ? found.sort((a, b) => a - b) : found;
}

// {y, x, x2, by} of "Y against X [and X2] [by A, B]".
function parsePlot(text) {
  const [, y, x, x2, by] = text.match(/^(\S+) against (\S+)(?: and (\S+))?(?: by (.+))?$/);
  return {y, x, x2, by: by ? by.split(", ") : []};
}

// "lorsa" for one name, "model.kind lorsa, model.top_k 8" for several.
function seriesName(names, value) {
  return names.length === 1 ? textOf(value(names[0])) : names.map((name) => name + " " + textOf(value(name))).join(", ");
}

// Settings over which a plot of `names` takes means beside the seeds.
function meansOver(names) {
  const others = differingNames.filter((name) => !names.includes(name));
  return others.length > 0 ? "means also over " + others.join(", ") : "";
}

// The grid of a section, made when there is something to show.
function gridOf(section) {
  const made = element("div", "grid");
  byId(section).append(made);
  return made;
}

// Draws each item into the section's grid, those after the first few into one that is folded.
function drawFolded(section, items, drawItem, what) {
  if (items.length === 0) return;
  const open = gridOf(section);
  items.slice(0, FOLD_FROM).forEach((item) => drawItem(item, open));
  if (items.length <= FOLD_FROM) return;
  const details = element("details");
  const folded = element("div", "grid");
  details.append(element("summary", "", whole(items.length - FOLD_FROM) + " more " + what), folded);
  details.addEventListener("toggle", drawAll);
  byId(section).append(details);
  items.slice(FOLD_FROM).forEach((item) => drawItem(item, folded));
}

// A table of facts below or beside plots, with a scroll bar of its own.
function factTable(parent, columns, rows) {
  const scroll = element("div", "scroll");
  const made = element("table", "facts");
  table(made, columns, rows);
  scroll.append(made);
  parent.append(scroll);
}
