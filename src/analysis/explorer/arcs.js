// Arcs from source tokens to the token that reads them, over the text of a context.
"use strict";

const Arcs = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const MOST = 12;
  const LEAST_SHARE = 0.05;  // of the largest weight: fainter ones are left to the colour

  function anchor(span, frame) {
    // Of a token that is broken over two lines the larger piece.
    const box = [...span.getClientRects()].reduce((most, rect) => (rect.width > most.width ? rect : most));
    return {x: box.left + box.width / 2 - frame.left, y: box.top - frame.top, half: box.width / 2};
  }

  function path(from, to) {
    if (from.x === to.x && from.y === to.y) {  // a token that reads itself
      const r = Math.max(5, Math.min(10, to.half));
      return `M${to.x - r} ${to.y}c-2 ${-2.2 * r} ${2 * r + 2} ${-2.2 * r} ${2 * r} 0`;
    }
    const lift = Math.min(46, 10 + Math.hypot(to.x - from.x, to.y - from.y) * 0.16);
    return `M${from.x} ${from.y}C${from.x} ${from.y - lift} ${to.x} ${to.y - lift} ${to.x} ${to.y}`;
  }

  // `sources`: [span, weight]; `heaviest`: the weight that is drawn strongest.
  function draw(layer, target, sources, heaviest) {
    clear(layer);
    const frame = layer.getBoundingClientRect();
    const to = anchor(target, frame);
    const strong = sources.filter(([, weight]) => Math.abs(weight) >= LEAST_SHARE * heaviest)
      .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, MOST);
    for (const [span, weight] of strong) {
      const share = Math.abs(weight) / heaviest;
      const arc = document.createElementNS(SVG, "path");
      arc.setAttribute("d", path(anchor(span, frame), to));
      arc.setAttribute("class", weight < 0 ? "against" : "");
      arc.setAttribute("stroke-width", (1 + 2.5 * share).toFixed(2));
      arc.setAttribute("stroke-opacity", (0.35 + 0.6 * share).toFixed(2));
      arc.dataset.position = span.dataset.position;
      layer.append(arc);
    }
  }

  const clear = (layer) => layer.replaceChildren();

  function layer() {
    const made = document.createElementNS(SVG, "svg");
    made.setAttribute("class", "arcs");
    made.setAttribute("aria-hidden", "true");
    return made;
  }

  return {layer, draw, clear};
})();
