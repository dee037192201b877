// What was measured of runs beside their metrics: planted rules, stability between seeds, errors.

const bar = (name, color, y) => ({run: {name, color, dash: "", visible: true}, y});

// Colours of a bar plot's series, in words and patches.
function barKeys(card, series) {
  const keys = element("div", "keys faint");
  for (const {run} of series) {
    const entry = element("span");
    const patch = element("span", "patch");
    patch.style.background = run.color;
    entry.append(patch, run.name);
    keys.append(entry);
  }
  card.querySelector(".axis.y").before(keys);
}

function bars(title, note, parent, categories, series, xName, yName, options) {
  const card = barPlot(title, note, parent, categories, series, options);
  nameAxes(card, xName, yName);
  if (series.length > 1) barKeys(card, series);
  return card;
}

// ---- Rules

function plotRules(run, parent) {
  const {rules, mean_f1: f1, mean_mhsa_f1: mhsaF1, num_above: above} = run.rules;
  const series = [
    bar("best unit", "var(--run0)", rules.map((rule) => rule.f1)),
    bar("MHSA head", "var(--faint)", rules.map((rule) => rule.mhsa_f1)),
    bar("source share", "var(--run1)", rules.map((rule) => rule.source_share))];
  const card = bars("Rules: " + run.name, "F1 " + textOf(f1) + " in the mean (MHSA heads " + textOf(mhsaF1) + "), above 0.9: " + above + " of " + rules.length,
    parent, rules.map((rule) => rule.rule), series, "rule", "F1, share", {names: true, labelWidth: 46});
  const details = element("details");
  details.append(element("summary", "", "Numbers"));
  factTable(details, ["positions", "unit", "threshold", "F1", "firings", "source share", "MHSA head", "its F1"],
    rules.map((rule) => [rule.rule, [rule.num_positions, rule.unit, rule.threshold, rule.f1, rule.num_firings, rule.source_share,
      rule.mhsa_head, rule.mhsa_f1].map(textOf)]));
  card.append(details);
}

// ---- Stability

const SHARES = [["share_first", "share of the first's"], ["share_second", "share of the second's"], ["share_one_to_one", "one to one"],
  ["share_direction", "by direction"], ["share_firing", "by firing"], ["mean_match", "mean match"]];

const pairName = (pair) => pair.first + " and " + pair.second;

function plotStability(pair, parent) {
  const bins = pair.histogram.length;
  const edge = (i) => digits(i / bins, 3);
  bars("Matches: " + pairName(pair), "acting heads of the first (" + whole(pair.num_heads_first) + ") by their best match among the second's ("
    + whole(pair.num_heads_second) + ")", parent, pair.histogram.map((_, i) => edge(i)), [bar("heads", "var(--run0)", pair.histogram)],
  "best match", "heads", {counts: true, tip: (i) => edge(i) + " to " + edge(i + 1)});
}

function fillStability() {
  if (data.stability.length === 0) return;
  const threshold = textOf(data.stability[0].threshold);
  byId("stability").append(element("p", "faint", "Shares of acting heads with a match above " + threshold
    + " in the other run; a match is the lesser of the cosine of what two heads write and the correlation of when they act."));
  factTable(byId("stability"), ["tokens", ...SHARES.map(([, name]) => name)],
    data.stability.map((pair) => [pairName(pair), [textOf(pair.num_tokens), ...SHARES.map(([key]) => textOf(pair[key]))]]));
  drawFolded("stability", data.stability, plotStability, "pairs");
}

// ---- Errors

function plotShares(analysis, title, parent) {
  const vectors = [["reference's error", "vector_from_reference"], ["input", "vector_from_input"], ["target", "vector_from_target"]];
  bars("Error vector: " + title, "share of its variance that a linear regression predicts, on held-out rows", parent, vectors.map(([name]) => name),
    [bar("share", "var(--run0)", vectors.map(([, key]) => analysis[key]))], "from", "share", {labelWidth: 60});
  const names = Object.keys(analysis.norm_from);
  bars("Error norm: " + title, "share of the variance of |e|² predicted from each alone, and from all", parent, names,
    [bar("share", "var(--run0)", names.map((name) => analysis.norm_from[name]))], "from", "share", {names: true, labelWidth: 46});
}

// A pair of series, of the checkpoint and of the reference, with points [x, of the checkpoint, of the reference].
function pairOfSeries(analysis, list, xName, yName) {
  return painted([analysis.checkpoint, analysis.reference].map((name, side) => {
    const known = list.filter((point) => isNumber(point[0]) && isNumber(point[1 + side]));
    return {name, line: known.map((point) => [point[0], point[1 + side]]),
      points: known.map((point) => ({x: point[0], y: point[1 + side], mean: true,
        rows: [[xName, textOf(point[0])], [yName, textOf(point[1 + side])], ...(point[3] || [])]}))};
  }));
}

function plotErrors(analysis, parent) {
  const title = analysis.checkpoint + " beside " + analysis.reference;
  plotShares(analysis, title, parent);
  const norms = analysis.by_target_norm.filter((bin) => bin.target_norm > 0).map((bin) => [bin.target_norm, bin.error_norm, bin.reference_error_norm]);
  if (norms.length > 0) {
    xyPlot("Error by target norm: " + title, "means of equally many tokens; slope of the logarithms " + textOf(analysis.log_slope) + ", correlation "
      + textOf(analysis.log_correlation), parent, pairOfSeries(analysis, norms, "|t|", "|e|"), "target norm", "error norm", {logX: true, logY: true});
  }
  const directions = analysis.unexplained.map((share, i) => [i + 1, share, analysis.reference_unexplained[i],
    [["share of variance", textOf(analysis.variance_share[i])]]]);
  if (directions.length > 0) {
    xyPlot("Unexplained by direction: " + title, "of the target's variance along each principal direction", parent,
      pairOfSeries(analysis, directions, "direction", "unexplained"), "principal direction, by variance", "unexplained share");
  }
}

function fillErrors() {
  if (data.errors.length === 0) return;
  factTable(byId("errors"), ["reference", "tokens", "fvu", "fvu of the reference"], data.errors.map((one) => [one.checkpoint,
    [one.reference, textOf(one.num_tokens), textOf(one.fvu), textOf(one.reference_fvu)]]));
  // Four plots belong together.
  drawFolded("errors", data.errors, plotErrors, "pairs of runs");
}
