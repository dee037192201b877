// The page of lorsa-report: draws the runs that stand as JSON in the element "data", with what charts.js gives.

const PARTS = ["data_wait_s", "model_s", "communication_s", "optimizer_s"];
const PART_NAMES = {
  data_wait_s: "waiting for data", model_s: "model", communication_s: "waiting for ranks", optimizer_s: "optimizer",
};

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

const runs = coloured(data.runs);

function patch(part) {
  const made = element("span", "patch");
  made.style.background = "var(--part" + part + ")";
  return made;
}

function duration(seconds) {
  const s = Math.round(seconds);
  const two = (n) => String(n).padStart(2, "0");
  if (s >= 3600) return Math.floor(s / 3600) + "h " + two(Math.floor(s / 60) % 60) + "m";
  return s >= 60 ? Math.floor(s / 60) + "m " + two(s % 60) + "s" : s + "s";
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

// ---- Tables and the rest of the page

function inOrder(keys) {
  return [...[...KNOWN.keys()].filter((key) => keys.includes(key)), ...keys.filter((key) => !KNOWN.has(key))];
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
fillLegend(runs);
fillNumbers();
fillSettings();
inOrder(unionKeys(runs.map((run) => run.curves))).filter((key) => !NO_PLOT.has(key)).forEach((key) => {
  const known = KNOWN.get(key) || {note: ""};
  const all = runs.filter((run) => Object.hasOwn(run.curves, key)).map((run) => ({run, ...run.curves[key]}));
  curvePlot(key, known.note, byId("curves"), all, "tokens", known.log);
});
if (runs.every((run) => run.lines === 0)) byId("curves").append(element("p", "faint", "metrics.jsonl has no lines yet."));
fillSplits();
drawAll();
addEventListener("resize", drawAll);
