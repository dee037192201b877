// Contexts of a head: tokens coloured by activation; pointing at the peak shows the tokens it reads.
"use strict";

const Contexts = (() => {
  const {element, append, chip, plain, short} = Text;
  const NAMED_SOURCES = 3;

  // Kinds of samples in the order of the page; a kind that is not here stands behind them under its own name.
  const KINDS = new Map([
    ["top", ["Strongest contexts", ""]],
    ["quantile", ["Across its range", "Contexts of weaker activations: how far the reading of the strongest ones holds."]],
    ["non_firing", ["Where it does not act", "Contexts without any activation, drawn at random."]],
  ]);

  // What a weight of z_pattern is a share of: their sum, which is the activation where the head acts.
  const totalOf = (context) =>
    context.value !== 0 ? context.value : context.z_pattern.reduce((sum, [, weight]) => sum + weight, context.z_rest);

  // Tokens at hand: of the window and of the snippets before it.
  function tokenAt(context, position) {
    const inside = context.tokens[position - context.first];
    if (inside !== undefined) return inside;
    const snippet = context.outside.find(({position: at}) => at === position);
    return snippet ? snippet.tokens[position - snippet.first] : null;
  }

  function namedSources(context) {
    return [...context.z_pattern].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, NAMED_SOURCES)
      .map(([position, weight]) => ({text: tokenAt(context, position), share: Tokens.shareText(weight, totalOf(context))}))
      .filter(({text}) => text !== null);
  }

  function headLine(context) {
    const acts = context.value !== 0;
    const line = append(element("div", "where"), element("b", "", acts ? short(context.value) : "silent"));
    if (context.quantile !== undefined) {
      append(line, element("span", "", `stronger than ${Text.percent(context.quantile, 2)} of its activations`));
    }
    const flow = element("span", "flow");
    namedSources(context).forEach(({text, share}, i) => append(flow, i > 0 ? ", " : "reads ", chip(text), " " + share));
    append(flow, element("span", "to", "→"), "at ", chip(tokenAt(context, context.position)));
    if (context.next_token !== null) append(flow, element("span", "to", "·"), "next ", chip(context.next_token));
    const layer = context.heldout ? ", held out" : "";
    return append(line, flow,
      element("span", "origin", `row ${context.row}, position ${context.position}, document ${context.document}${layer}`));
  }

  function lines(position, activation, weight, context) {
    const said = [`position ${position}`];
    if (activation !== null) said.push(`activation ${short(activation)}`);
    if (weight !== 0) {
      const total = totalOf(context);
      said.push(total === 0 ? `source: ${short(weight)}` : `${Tokens.shareText(weight, total)} of ${context.value !== 0 ? "the peak" : "z"} comes from here`);
    }
    return said;
  }

  // The tokens of a context as spans by position, in the window and in the snippets before it.
  function fill(text, context, record) {
    const weights = new Map(context.z_pattern);
    const heaviest = Math.max(...context.z_pattern.map(([, weight]) => Math.abs(weight)), 0) || 1;
    const spans = new Map();
    const add = (parent, token, position, activation, weight) => {
      const span = Tokens.span(token, (activation || 0) / (record.max || 1), weight / heaviest,
        lines(position, activation, weight, context));
      span.dataset.position = position;
      append(parent, span);
      return span;
    };
    for (const snippet of context.outside) {
      const line = append(element("div", "outside"), element("span", "label", `before, at ${snippet.position}: `));
      snippet.tokens.forEach((token, i) => {
        const position = snippet.first + i;
        const here = position === snippet.position;
        const span = add(line, token, position, null, here ? snippet.weight : 0);
        if (here) spans.set(position, span);
      });
      append(text, line);
    }
    context.tokens.forEach((token, i) => {
      const position = context.first + i;
      spans.set(position, add(text, token, position, context.activations[i], weights.get(position) || 0));
    });
    return {spans, weights, heaviest};
  }

  function peakLabel(context) {
    const sources = namedSources(context).map(({text, share}) => `${plain(text)} ${share}`).join(", ");
    return `peak ${plain(tokenAt(context, context.position))}, activation ${short(context.value)}, reads ${sources}`;
  }

  // Pointing at the peak (or going there with Tab) shows all its sources, pointing at a source that one alone.
  function trace(block, text, context, {spans, weights, heaviest}) {
    const arcs = Arcs.layer();
    append(text, arcs);
    const peak = spans.get(context.position);
    peak.classList.add("peak");
    if (context.value === 0) peak.classList.add("silent");
    peak.tabIndex = 0;
    peak.setAttribute("aria-label", peakLabel(context));
    const sources = [...weights].filter(([position]) => spans.has(position))
      .map(([position, weight]) => [spans.get(position), weight]);
    for (const [span] of sources) span.classList.add("source");
    const on = () => {
      block.classList.add("tracing");
      Arcs.draw(arcs, peak, sources, heaviest);
    };
    const off = () => {
      block.classList.remove("tracing");
      Arcs.clear(arcs);
    };
    peak.addEventListener("pointerenter", on);
    peak.addEventListener("pointerleave", off);
    peak.addEventListener("focus", on);
    peak.addEventListener("blur", off);
    for (const source of sources) {
      if (source[0] === peak) continue;
      source[0].addEventListener("pointerenter", () => Arcs.draw(arcs, peak, [source], Math.abs(source[1])));
      source[0].addEventListener("pointerleave", off);
    }
  }

  function block(context, record) {
    const made = element("article", "context");
    const text = element("div", "text");
    text.dir = "ltr";
    const filled = fill(text, context, record);
    trace(made, text, context, filled);
    return append(made, headLine(context), text);
  }

  function legend(signed) {
    const sample = (...token) => append(element("span", "text"), Tokens.span(...token, []));
    const peak = sample("peak", 1, 0);
    peak.firstChild.classList.add("peak");
    return append(element("div", "legend"), sample("activation", 0.6, 0),
      signed ? sample("negative", -0.6, 0) : null, peak,
      sample("source of the peak", 0, 1), sample("source against it", 0, -1),
      element("span", "", "Point at a peak to see what it reads."));
  }

  function sections(record, signed) {
    const kinds = new Map([...KINDS.keys()].map((kind) => [kind, []]));
    for (const context of record.contexts) {
      if (!kinds.has(context.sample)) kinds.set(context.sample, []);
      kinds.get(context.sample).push(context);
    }
    const made = [];
    for (const [kind, contexts] of kinds) {
      if (contexts.length === 0) continue;
      const [title, about] = KINDS.get(kind) || [kind, ""];
      const section = append(element("section", "sample"), element("h3", "", `${title} `));
      section.dataset.sample = kind;
      append(section.firstChild, element("span", "faint", String(contexts.length)));
      if (about !== "") append(section, element("p", "faint", about));
      if (made.length === 0) append(section, legend(signed));
      made.push(append(section, ...contexts.map((context) => block(context, record))));
    }
    return made;
  }

  return {sections};
})();
