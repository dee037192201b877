// The page of lorsa-eval --html: draws the reports that stand as JSON in the element "data" (docs/formats.md says what a report holds).

const ENTROPIES = [["ce_original", "original"], ["ce_replaced", "replaced"], ["ce_zero_ablated", "zero"], ["ce_mean_ablated", "mean"]];
const SHARED = [
  ["cosine", "Cosine of the errors", "mean over tokens"],
  ["squared_norm_correlation", "Correlation of squared error norms", "over tokens"],
  ["explained", "Squared error explained by the other's error", "by its best multiple"],
];
const NOT_IN_TABLE = new Set(["schema", "checkpoint", "dead_window_tokens"]);

const runs = coloured(data.reports.map((report) => ({report, name: report.checkpoint, path: report.checkpoint})));
const indices = (list) => list.map((_, i) => String(i));

// Series of the runs whose report has what pick(report) looks for.
function seriesOf(pick) {
  return runs.map((run) => ({run, ...pick(run.report)})).filter((series) => series.y);
}

// The run under another name or colour, shown and hidden with it.
const as = (run, changes) => Object.assign(Object.create(run), changes);

const all = (values) => values !== undefined && values.every((value) => value !== undefined && value !== null);

// ---- Reconstruction and usage

function plotReconstruction() {
  const parent = byId("reconstruction");
  const positions = seriesOf(({fvu_per_position: y}) => ({x: y && y.map((_, i) => i), y}));
  if (positions.length > 0) curvePlot("fvu by position", "unexplained share of the variance at one position of the cache's rows", parent, positions, "tokens before", false);
  const lengths = seriesOf(({long_contexts: list, fvu, fvu_per_position: cached}) => (
    list ? withCache(list, fvu, cached) : {}));
  if (lengths.length > 0) curvePlot("fvu by context length", "rows longer than the cache's are its held-out rows laid end to end", parent, lengths, "tokens", false);
  const buckets = runs.flatMap((run) => (run.report.long_contexts || []).map((context) => ({
    run, label: run.name + ", " + context.context_length + " tokens",
    x: context.fvu_per_bucket.map((_, i) => bucketMiddle(context, i)), y: context.fvu_per_bucket})));
  if (buckets.length > 0) curvePlot("fvu by position, longer rows", "a point for each bucket of positions, at its middle", parent, buckets, "tokens", false);
  const entropies = seriesOf((report) => {
    const y = ENTROPIES.map(([key]) => report[key]);
    return all(y) ? {y} : {};
  });
  if (entropies.length > 0) {
    barPlot("Cross-entropy", "nats a token, with the layer's output replaced; the axis does not begin at 0", parent,
      ENTROPIES.map(([, name]) => name), entropies, {fromData: true, labelWidth: 60});
  }
  const rates = seriesOf(({firing_rate_histogram: histogram}) => ({y: histogram && histogram.heads}));
  if (rates.length > 0) {
    const edges = rates[0].run.report.firing_rate_histogram.log10_edges;
    barPlot("Firing rate", "heads by log10 of the share of scored tokens at which they act; the silent ones are left out", parent,
      edges.slice(0, -1).map((edge) => String(edge)), rates,
      {counts: true, tip: (i) => "10^" + edges[i] + " to 10^" + edges[i + 1]});
  }
}

// The longer contexts' fvu with the cache's own before them.
function withCache(list, fvu, cached) {
  const points = list.map((context) => [context.context_length, context.fvu]);
  if (cached && !points.some(([x]) => x === cached.length)) points.push([cached.length, fvu]);
  points.sort((a, b) => a[0] - b[0]);
  return {x: points.map(([x]) => x), y: points.map(([, y]) => y)};
}

function bucketMiddle({bucket_positions: size, context_length: length}, i) {
  return (i * size + Math.min(length, (i + 1) * size)) / 2;
}

// ---- Errors, and the layer's own heads

function plotErrors() {
  const sharing = runs.filter((run) => run.report.shared_errors && run.report.shared_errors.length === runs.length);
  if (sharing.length !== runs.length || runs.length < 2) return;
  const names = runs.map((_, i) => String(i + 1));
  for (const [key, title, note] of SHARED) {
    const matrix = runs.map((run) => run.report.shared_errors.map((shared) => shared[key]));
    const lowest = Math.min(0, ...matrix.flat().filter((value) => value !== null));
    heatMap(title, note, byId("errors"), matrix, {rowNames: names, columnNames: names, limits: [lowest, 1],
      cell: (row, column) => runs[row].name + " and " + runs[column].name});
  }
}

function plotHeads() {
  const parent = byId("heads");
  for (const run of runs.filter((one) => one.report.attention)) {
    const {kl, mhsa_heads: heads, num_rows: numRows} = run.report.attention;
    heatMap("KL of patterns: " + run.name,
      "nats, MHSA heads down, QK heads across, over " + numRows + " rows; a dot is the closest QK head", parent, kl, {
        run, rowNames: indices(kl), columnNames: indices(kl[0]), marks: heads.map((head, row) => [row, head.closest_qk_head]),
        cell: (row, column) => "MHSA head " + row + ", QK head " + column});
    const masses = [
      {run: as(run, {name: "MHSA head"}), y: heads.map((head) => head.first_token_mass)},
      {run: as(run, {name: "closest QK head", color: "var(--faint)"}), y: heads.map((head) => head.closest_first_token_mass)}];
    barPlot("Mass on the first token: " + run.name, "mean of the MHSA heads' patterns, and (grey) of the closest QK head's", parent, indices(heads), masses,
      {tip: (i) => "MHSA head " + i});
  }
  const shares = seriesOf(({largest_output_share: share}) => ({y: share && share.heads}));
  if (shares.length > 0) {
    const bins = shares[0].y.length;
    const edge = (i) => digits(i / bins, 3);
    barPlot("Largest output share", "acting heads by the part of their output direction inside one MHSA head's output space", parent,
      shares[0].y.map((_, i) => edge(i)), shares, {counts: true, tip: (i) => edge(i) + " to " + edge(i + 1)});
  }
}

// ---- Families and operands

function plotFamilies() {
  const parent = byId("families");
  const having = runs.filter((run) => run.report.families);
  const probes = (run) => run.report.families.probes || [];
  const names = [...new Set(having.flatMap((run) => probes(run).map((probe) => probe.family)))];
  if (names.length > 0) {
    const threshold = having.flatMap(probes)[0].threshold;
    const counts = having.map((run) => ({run, y: names.map((name) => (probes(run).find((probe) => probe.family === name) || {num_heads: null}).num_heads)}));
    barPlot("Heads of each family", "heads with a score above " + digits(threshold, 3), parent, names, counts, {labelWidth: 30, names: true});
  }
  for (const name of unionKeys(having.map((run) => run.report.families.scores_histogram || {}))) {
    const scores = having.filter((run) => Object.hasOwn(run.report.families.scores_histogram || {}, name))
      .map((run) => ({run, y: run.report.families.scores_histogram[name]}));
    const bins = scores[0].y.length;
    const edge = (i) => digits(i / bins, 3);
    barPlot("Scores: " + name, "heads by score", parent, scores[0].y.map((_, i) => edge(i)), scores,
      {counts: true, tip: (i) => edge(i) + " to " + edge(i + 1)});
  }
}

function plotOperands() {
  for (const run of runs) {
    for (const plot of run.report.operand_plots || []) {
      const of = runs.length > 1 ? " of " + run.name : "";
      heatMap("Head " + plot.head + of + ": " + plot.family, "score " + digits(plot.score, 3) + "; first operand down, second across",
        byId("operands"), plot.activation, {run, rowNames: plot.a.map(String), columnNames: plot.b.map(String),
          cell: (row, column) => plot.a[row] + " " + plot.operator + " " + plot.b[column]});
    }
  }
}

// ---- The rest of the page

function meaning({unit, better, meaning: words}) {
  return (unit ? unit + ": " : "") + words + (better ? "; " + better + " is better" : "");
}

// The run with the best value, where several have one.
function best({name, better}) {
  const values = runs.map((run) => run.report[name]).map((value) => (typeof value === "number" ? value : null));
  const known = values.filter((value) => value !== null);
  if (known.length < 2 || !better) return -1;
  return values.indexOf(better === "lower" ? Math.min(...known) : Math.max(...known));
}

function fillNumbers() {
  const plain = (value) => value === null || typeof value === "number" || typeof value === "string";
  const keys = unionKeys(runs.map((run) => run.report)).filter((key) => !NOT_IN_TABLE.has(key)
    && runs.every((run) => !Object.hasOwn(run.report, key) || plain(run.report[key])));
  const text = (value) => (typeof value === "string" ? value : digits(value, 5));
  const described = new Map(data.metrics.map((metric) => [metric.name, metric]));
  const rows = keys.map((key) => [key, runs.map((run) => (Object.hasOwn(run.report, key) ? text(run.report[key]) : null)),
    described.has(key) ? meaning(described.get(key)) : "", described.has(key) ? best(described.get(key)) : -1]);
  const contexts = runs[0].report.long_contexts || [];
  contexts.forEach((context, i) => rows.push(["fvu at " + context.context_length,
    runs.map((run) => (run.report.long_contexts?.[i] ? digits(run.report.long_contexts[i].fvu, 5) : null))]));
  table(byId("numbers"), runs.map((run, i) => (runs.length > 1 ? i + 1 + "  " : "") + run.name), rows);
}

function fillHead() {
  const {model, layer, num_rows: numRows, num_tokens: numTokens} = runs[0].report;
  const title = runs.length === 1 ? runs[0].name : runs.length + " checkpoints";
  byId("title").textContent = title;
  document.title = title + " – lorsa";
  byId("about").textContent = model + ", layer " + layer + ": " + whole(numRows) + " held-out rows, " + whole(numTokens) + " scored tokens."
    + (runs.length > 1 ? " A click on a name hides the checkpoint." : "");
}

fillHead();
fillLegend(runs);
fillNumbers();
plotReconstruction();
plotErrors();
plotHeads();
plotFamilies();
plotOperands();
for (const grid of document.querySelectorAll("main .grid")) grid.parentElement.hidden = grid.childElementCount === 0;
drawAll();
addEventListener("resize", drawAll);
