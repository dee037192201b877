// The list of heads: search, filters, order. Only the rows in view exist, so that 32,768 open like 30.
"use strict";

const List = (() => {
  const {element, append, chip, whole, short, percent} = Text;
  const ROW_HEIGHT = 30;  // px, as in style.css
  const AROUND = 5;       // rows beyond the view

  let shown = new Int32Array(0);  // heads, in order
  let chosen = -1;
  let reversed = false;
  const byId = (id) => document.getElementById(id);

  // ---- Order and filters

  // The family that the list shows scores of: the one sorted by, else the one filtered by.
  function scoredFamily() {
    const sort = byId("sort").value;
    return sort.startsWith("family:") ? sort.slice(7) : byId("family").value;
  }

  // What a sort goes by; larger comes first.
  function sortKey() {
    const sort = byId("sort").value;
    if (sort.startsWith("family:")) {
      const scores = Data.families.get(sort.slice(7));
      return (head) => (Number.isNaN(scores[head]) ? -Infinity : scores[head]);
    }
    if (sort === "head") return (head) => -head;
    if (sort === "layer") return (head) => -Data.layer(head);
    return sort === "max" ? (head) => Data.columns.max[head] : Data.rate;
  }

  // The search: "123" or "#123" is a head, "qk:5" a QK head; anything else is looked for in tokens, as is "123".
  function searchTest(query) {
    const number = /^\s*#?(\d+)\s*$/.exec(query);
    const group = /^\s*qk\s*:?\s*(\d+)\s*$/i.exec(query);
    const wanted = number ? Number(number[1]) : -1;
    if (query === "") return {wanted, passes: () => true};
    if (group) return {wanted, passes: (head) => Data.columns.qk_head[head] === Number(group[1])};
    return {wanted, passes: Data.tokenSearch(query)};
  }

  function filterTest() {
    const acting = byId("acting").value;
    const layer = byId("layer").value;
    const scores = Data.families.get(byId("family").value) || null;
    const least = Number(byId("least").value);
    return (head) => {
      const acts = Data.columns.count[head] > 0;
      return (acting === "all" || acts === (acting === "acting")) && (layer === "" || Data.layer(head) === Number(layer)) &&
        (scores === null || scores[head] >= least);
    };
  }

  function update() {
    const {wanted, passes} = searchTest(byId("search").value);
    const filter = filterTest();
    const found = [];
    for (let head = 0; head < Data.size; ++head) {
      if (head === wanted || (filter(head) && passes(head))) found.push(head);
    }
    const key = sortKey();
    const keys = new Float64Array(Data.size);
    for (const head of found) keys[head] = key(head);
    const sign = reversed ? -1 : 1;
    found.sort((a, b) => {
      if (a === wanted || b === wanted) return a === wanted ? -1 : 1;
      const [x, y] = [keys[a], keys[b]];
      return x === y ? a - b : sign * (y > x ? 1 : -1);
    });
    shown = Int32Array.from(found);
    byId("found").textContent = `${whole(shown.length)} of ${whole(Data.size)}`;
    byId("rows").style.height = shown.length * ROW_HEIGHT + "px";
    byId("nothing").hidden = shown.length > 0;
    const family = scoredFamily();
    byId("heads").classList.toggle("scored", family !== "");
    byId("score-column").textContent = family;
    byId("list").scrollTop = 0;
    draw();
    const said = document.querySelector("#page .place");
    if (said) said.textContent = placeText();
  }

  // ---- Rows

  function row(head, place) {
    const made = element("a", head === chosen ? "row chosen" : "row");
    made.id = "row-" + head;
    made.href = "#head=" + head;
    made.tabIndex = -1;
    made.style.top = place * ROW_HEIGHT + "px";
    made.setAttribute("role", "option");
    made.setAttribute("aria-selected", String(head === chosen));
    made.setAttribute("aria-setsize", String(shown.length));
    made.setAttribute("aria-posinset", String(place + 1));
    const reads = element("span", "tokens");
    if (Data.peakToken(head) !== null) {
      append(reads, chip(Data.sourceToken(head) || ""), element("span", "to", "→"), chip(Data.peakToken(head)));
    }
    const layer = Data.layer(head) < 0 ? null : element("span", "faint", `L${Data.layer(head)} `);
    const family = scoredFamily();
    const score = family === "" ? NaN : Data.families.get(family)[head];
    return append(made, append(element("span", "name"), layer, "#" + head),
      element("span", "number", percent(Data.rate(head))), element("span", "number", short(Data.columns.max[head])),
      family === "" ? null : element("span", "number", Number.isNaN(score) ? "" : short(score)),
      reads, append(element("span", "tokens"), ...Data.topTokens(head).map(chip)));
  }

  function draw() {
    const list = byId("list");
    const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - AROUND);
    const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW_HEIGHT) + AROUND);
    const rows = [];
    for (let place = first; place < last; ++place) rows.push(row(shown[place], place));
    byId("rows").replaceChildren(...rows);
    if (document.getElementById("row-" + chosen)) list.setAttribute("aria-activedescendant", "row-" + chosen);
    else list.removeAttribute("aria-activedescendant");
  }

  // ---- The chosen head

  const place = () => shown.indexOf(chosen);

  // Where the chosen head stands, for its page.
  const placeText = () => (place() < 0 ? "not in the list" : `${whole(place() + 1)} of ${whole(shown.length)}`);

  function reveal() {
    const list = byId("list");
    const top = place() * ROW_HEIGHT;
    if (top >= 0 && (top < list.scrollTop || top + ROW_HEIGHT > list.scrollTop + list.clientHeight)) {
      list.scrollTop = top - list.clientHeight / 2;
    }
  }

  function choose(head) {
    chosen = head;
    reveal();
    draw();
  }

  // The head `by` rows on in this order; the first one if none of the list is chosen; -1 in an empty list.
  function neighbour(by) {
    return place() < 0 ? first() : shown[Math.min(shown.length - 1, Math.max(0, place() + by))];
  }

  const first = () => (shown.length > 0 ? shown[0] : -1);

  // ---- Start

  function option(value, text) {
    const made = element("option", "", text);
    made.value = value;
    return made;
  }

  function setReversed(value) {
    reversed = value;
    byId("reverse").setAttribute("aria-pressed", String(value));
    update();
  }

  function start() {
    for (const name of Data.families.keys()) {
      byId("sort").append(option("family:" + name, name));
      byId("family").append(option(name, name));
    }
    byId("families").hidden = Data.families.size === 0;
    if (Data.columns.layer) {
      byId("sort").append(option("layer", "layer"));
      const layers = [...new Set(Data.columns.layer)].sort((a, b) => a - b);
      for (const layer of layers) byId("layer").append(option(String(layer), String(layer)));
      byId("layers").hidden = false;
    }
    for (const id of ["search", "acting", "layer", "family", "least"]) byId(id).addEventListener("input", update);
    byId("sort").addEventListener("input", () => setReversed(false));
    byId("reverse").addEventListener("click", () => setReversed(!reversed));
    for (const button of document.querySelectorAll("#columns button")) {
      button.addEventListener("click", () => {
        const again = byId("sort").value === button.dataset.sort;
        byId("sort").value = button.dataset.sort;
        setReversed(again && !reversed);
      });
    }
    let waiting = false;
    const later = () => {
      if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); });
      waiting = true;
    };
    byId("list").addEventListener("scroll", later);
    window.addEventListener("resize", later);
    update();
  }

  return {start, update, choose, neighbour, first, placeText};
})();
