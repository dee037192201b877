// The page of one head.
"use strict";

const HeadPage = (() => {
  const {element, append, chip, whole, short, percent} = Text;
  const MATES_SHOWN = 12;

  function fact(name, value) {
    return append(element("div"), element("dt", "", name), element("dd", "", value));
  }

  function box(title, note, ...content) {
    const made = append(element("section", "box"), element("h3", "", title), ...content);
    if (note) append(made.firstChild, " ", element("span", "faint", note));
    return made;
  }

  // Rows of something, a bar and a value; `rows`: [element, value].
  function barTable(rows, kind) {
    const table = element("table", kind);
    const largest = Math.max(...rows.map(([, value]) => Math.abs(value)), 0) || 1;
    for (const [name, value] of rows) {
      const bar = element("span", "length");
      bar.style.width = ((100 * Math.abs(value)) / largest).toFixed(1) + "%";
      append(table, append(element("tr"), append(element("td"), name), append(element("td", "bar"), bar),
        element("td", "", short(value))));
    }
    return table;
  }

  const effects = (list) => list.map(([, text, value]) => [chip(text), value]);

  function link(head) {
    const made = element("a", "", "#" + head);
    made.href = "#head=" + head;
    return made;
  }

  function matesBox(record) {
    const mates = Data.mates(record.head).filter((head) => Data.columns.count[head] > 0)
      .sort((a, b) => Data.rate(b) - Data.rate(a));
    const links = element("div", "mates");
    for (const head of mates.slice(0, MATES_SHOWN)) {
      const peak = Data.peakToken(head);
      append(links, append(element("span"), link(head), element("span", "faint", percent(Data.rate(head), 2)),
        peak === null ? null : chip(peak)));
    }
    const note = mates.length === 0 ? "no other acting head reads through it"
      : `${whole(mates.length)} more acting heads read through it` + (mates.length > MATES_SHOWN ? "; the busiest:" : ":");
    const all = element("button", "plain", "all in the list");
    all.type = "button";
    all.addEventListener("click", () => {
      document.getElementById("search").value = "qk:" + record.qk_head;
      List.update();
    });
    const made = box(`QK head ${record.qk_head}`, note, links);
    made.classList.add("wide");
    append(made.firstChild, " ", mates.length > 0 ? all : null);
    return made;
  }

  function optionalBoxes(record) {
    const families = Object.entries(record.family_scores || {}).sort((a, b) => b[1] - a[1]);
    const overlap = (record.mhsa_overlap || []).map(([head, share]) => [element("span", "", "head " + head), share]);
    return [
      families.length === 0 ? null
        : box("Families", "", barTable(families.map(([name, score]) => [element("span", "", name), score]), "scores")),
      overlap.length === 0 ? null
        : box("MHSA heads", "share of its output", barTable(overlap, "scores")),
    ];
  }

  function titleLine(record) {
    const button = (label, by, key) => {
      const made = element("button", "", label);
      made.type = "button";
      made.title = `${by < 0 ? "previous" : "next"} head (${key})`;
      made.setAttribute("aria-label", made.title);
      made.dataset.step = by;
      return made;
    };
    return append(element("div", "title"), element("h2", "", "Head " + record.head),
      record.layer === undefined ? null : element("span", "faint", "layer " + record.layer),
      append(element("span", "steps"),
        element("span", "faint place", List.placeText()),
        button("‹", -1, "k"), button("›", 1, "j")));
  }

  function show(record) {
    const {index} = Data;
    document.title = `Head ${record.head} · Lorsa heads`;
    const facts = append(element("dl", "facts"), fact("acts at", percent(record.rate)), fact("tokens", whole(record.count)),
      fact("maximum", short(record.max)), fact("mean", short(record.mean)), fact("QK head", String(record.qk_head)));
    const boxes = append(element("div", "boxes"),
      box("Raises the logits of", "", barTable(effects(record.logit_effect.top), "raises")),
      box("Lowers the logits of", "", barTable(effects(record.logit_effect.bottom), "lowers")),
      append(element("div", "stack"),
        record.count > 0 ? box("Activations", "tokens by size", Charts.activations(record, index.histogram)) : null,
        ...optionalBoxes(record)),
      matesBox(record));
    const contexts = Contexts.sections(record, index.shape.signed);
    const silent = element("p", "hint", `Silent on all ${whole(index.num_scored_tokens)} tokens.`);
    const page = document.getElementById("page");
    page.replaceChildren(titleLine(record), facts, ...(record.count === 0 ? [silent] : []), boxes, ...contexts);
    page.scrollTop = 0;
  }

  return {show, box, link, fact};
})();
