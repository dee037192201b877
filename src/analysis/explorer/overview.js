// What the page shows before a head is chosen: the dump as a whole.
"use strict";

const Overview = (() => {
  const {element, append, chip, whole, short, percent} = Text;
  const BEST_SHOWN = 8;

  // The heads of the largest `values`.
  function bestBox(title, note, heads, valueOf, said) {
    const links = element("div", "mates");
    for (const head of [...heads].sort((a, b) => valueOf(b) - valueOf(a)).slice(0, BEST_SHOWN)) {
      const peak = Data.peakToken(head);
      append(links, append(element("span"), HeadPage.link(head), element("span", "faint", said(valueOf(head))),
        peak === null ? null : chip(peak)));
    }
    return HeadPage.box(title, note, links);
  }

  function familyBox(name, scores, heads) {
    const scored = heads.filter((head) => !Number.isNaN(scores[head]));
    return bestBox(name, "highest scores", scored, (head) => scores[head], short);
  }

  function show() {
    const {index} = Data;
    const heads = Array.from({length: Data.size}, (_, head) => head);
    const acting = heads.filter((head) => Data.columns.count[head] > 0);
    const sum = acting.reduce((total, head) => total + Data.rate(head), 0);
    document.title = "Lorsa heads";
    const facts = append(element("dl", "facts"),
      HeadPage.fact("language model", index.language_model.name),
      HeadPage.fact(Data.columns.layer ? "layers" : "layer",
        Data.columns.layer ? String(new Set(Data.columns.layer).size) : String(index.language_model.layer)),
      HeadPage.fact("heads", whole(Data.size)), HeadPage.fact("of them act", whole(acting.length)),
      HeadPage.fact("tokens", whole(index.num_scored_tokens)), HeadPage.fact("heads acting at a token", short(sum)),
      HeadPage.fact("QK heads", whole(index.shape.num_qk_heads)));
    const boxes = append(element("div", "boxes"),
      acting.length === 0 ? null : HeadPage.box("Firing rates", "heads by share of tokens", Charts.rates(acting, Data.rate)),
      acting.length === 0 ? null : bestBox("Most often", "", acting, Data.rate, (rate) => percent(rate)),
      acting.length === 0 ? null : bestBox("Most strongly", "", acting, (head) => Data.columns.max[head], short),
      ...[...Data.families].map(([name, scores]) => familyBox(name, scores, heads)));
    const say = append(element("p", "hint"), "Choose a head in the list: ", element("kbd", "", "j"), " takes the first one, ",
      element("kbd", "", "?"), " tells all keys.");
    document.getElementById("page").replaceChildren(element("h2", "", "All heads"), facts, boxes, say);
  }

  return {show};
})();
