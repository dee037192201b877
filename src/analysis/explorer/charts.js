// Histograms, drawn as SVG.
"use strict";

const Charts = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const WIDTH = 240, HEIGHT = 118, BOTTOM = 18, TOP = 16;

  function svg(tag, attributes, text) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // `bars`: [{count, said}]; `ticks`: [[place among the bars, label]]; `label`: what a screen reader says.
  function histogram(bars, ticks, label) {
    const chart = svg("svg", {class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label});
    const most = Math.max(...bars.map(({count}) => count), 1);
    const step = WIDTH / bars.length;
    const height = HEIGHT - BOTTOM - TOP;
    bars.forEach(({count, said}, i) => {
      const tall = count === 0 ? 0 : Math.max(1.5, (height * count) / most);
      const group = svg("g", {class: "bar"});
      group.append(svg("title", {}, said),
        svg("rect", {class: "reach", x: i * step, y: TOP, width: step, height}),
        svg("rect", {x: i * step + Math.min(1, step * 0.1), y: TOP + height - tall, width: Math.max(0.5, step - Math.min(2, step * 0.2)), height: tall, rx: Math.min(2, step / 4)}));
      chart.append(group);
    });
    chart.append(svg("line", {class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM}));
    chart.append(svg("text", {x: 0, y: 10, class: "most"}, "up to " + Text.whole(most)));
    for (const [place, text] of ticks) {
      const x = place * step;
      const anchor = x < 20 ? "start" : x > WIDTH - 20 ? "end" : "middle";
      chart.append(svg("line", {class: "axis", x1: x, x2: x, y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 3}));
      chart.append(svg("text", {x, y: HEIGHT - 4, "text-anchor": anchor}, text));
    }
    return chart;
  }

  // The activations of a head, in bins that grow by a constant factor.
  function activations(record, bins) {
    const {first_bin: first, counts} = record.histogram;
    const exponent = (bin) => bins.lowest_exponent + bin / bins.bins_per_octave;
    const edge = (bin) => Text.short(2 ** exponent(bin));
    const bars = counts.map((count, i) => (
      {count, said: `${edge(first + i)} to ${edge(first + i + 1)}: ${Text.whole(count)} tokens`}));
    const every = Math.max(1, Math.ceil(counts.length / bins.bins_per_octave / 6));  // octaves between ticks
    const ticks = [];
    for (let i = 0; i <= counts.length; ++i) {
      const at = exponent(first + i);
      if (Number.isInteger(at) && at % every === 0) ticks.push([i, Text.short(2 ** at)]);
    }
    return histogram(bars, ticks, `activations from ${edge(first)} to ${edge(first + counts.length)}`);
  }

  // Heads by firing rate, four bins a decade.
  function rates(heads, rateOf) {
    const PER_DECADE = 4;
    const bins = heads.map((head) => Math.floor(Math.log10(rateOf(head)) * PER_DECADE));
    const first = bins.reduce((least, bin) => Math.min(least, bin), 0);
    const counts = new Array(Math.max(1, bins.reduce((most, bin) => Math.max(most, bin), first) - first + 1)).fill(0);
    for (const bin of bins) ++counts[bin - first];
    const edge = (i) => Text.percent(10 ** ((first + i) / PER_DECADE), 2);
    const bars = counts.map((count, i) => ({count, said: `${edge(i)} to ${edge(i + 1)}: ${Text.whole(count)} heads`}));
    const ticks = [];
    for (let i = 0; i <= counts.length; ++i) {
      if ((first + i) % PER_DECADE === 0) ticks.push([i, edge(i)]);
    }
    return histogram(bars, ticks, `heads by firing rate, from ${edge(0)} to ${edge(counts.length)}`);
  }

  return {activations, rates};
})();
