// The head explorer: shows a dump of lorsa-dump (docs/formats.md, "Head dump, format 1") from disk.
//
// Pages opened from disk may not fetch files, so the data comes as scripts that call lorsaIndex() and lorsaHeads().
// Everything that a model or a corpus wrote reaches the page through textContent or title only, never as markup.
"use strict";

const ROW_HEIGHT = 30;      // px, as in style.css
const SHARDS_KEPT = 8;      // head files kept in memory
const MATES_SHOWN = 16;

let index = null;           // index.json
let shown = [];             // entries of the list, in order
let chosen = -1;            // head on the page
const shards = new Map();   // shard number -> {promise, resolve}

const byId = (id) => document.getElementById(id);

// ---- Building elements

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function append(parent, ...children) {
  parent.append(...children.filter((child) => child !== null));
  return parent;
}

const percent = (share, digits = 3) => Number((share * 100).toPrecision(digits)) + "\u00a0%";
const short = (value) => (Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3)).toString());
const whole = (value) => value.toLocaleString("en");
const visible = (text) => text.replace(/\n/g, "↵").replace(/\r/g, "␍").replace(/\t/g, "⇥");

function chip(text) {
  return element("span", "token", visible(text));
}

// ---- The list

function score(entry, key) {
  return key === "head" ? -entry.head : entry[key];
}

// Lower-case text that a search looks through, made once a head.
function haystack(entry) {
  if (entry.haystack === undefined) {
    entry.haystack = [...entry.top_tokens, entry.peak_token || "", entry.source_token || ""].join("\n").toLowerCase();
  }
  return entry.haystack;
}

function updateList() {
  const wanted = byId("search").value.toLowerCase();
  const number = /^#?\d+$/.test(wanted.trim()) ? Number(wanted.trim().replace("#", "")) : -1;
  const firing = byId("firing").checked;
  const key = byId("sort").value;
  const matches = (entry) =>
    entry.head === number || ((!firing || entry.count > 0) && (wanted === "" || haystack(entry).includes(wanted)));
  shown = index.heads.filter(matches).sort(
    (a, b) => (b.head === number) - (a.head === number) || score(b, key) - score(a, key) || a.head - b.head);
  byId("found").textContent = shown.length === index.heads.length ? "" : whole(shown.length) + " found";
  byId("rows").style.height = shown.length * ROW_HEIGHT + "px";
  byId("list").scrollTop = 0;
  drawRows();
}

function listRow(entry, place) {
  const row = element("a", entry.head === chosen ? "row chosen" : "row");
  row.href = "#head=" + entry.head;
  row.style.top = place * ROW_HEIGHT + "px";
  const preview = element("span", "preview");
  if (entry.peak_token !== undefined) {
    append(preview, chip(entry.source_token), " → ", chip(entry.peak_token));
  }
  return append(row, element("span", "", "#" + entry.head), element("span", "number", percent(entry.rate)),
    element("span", "number", short(entry.max)), preview);
}

// Only the rows in view exist: a list of 32,768 opens like one of 30.
function drawRows() {
  const list = byId("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - 5);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW_HEIGHT) + 5);
  const rows = [];
  for (let place = first; place < last; ++place) rows.push(listRow(shown[place], place));
  byId("rows").replaceChildren(...rows);
}

function step(by) {
  const place = shown.findIndex((entry) => entry.head === chosen);
  const next = shown[place < 0 ? 0 : Math.min(shown.length - 1, Math.max(0, place + by))];
  if (next) location.hash = "head=" + next.head;
}

function scrollToChosen() {
  const place = shown.findIndex((entry) => entry.head === chosen);
  const list = byId("list");
  if (place < 0) return;
  const top = place * ROW_HEIGHT;
  if (top < list.scrollTop || top + ROW_HEIGHT > list.scrollTop + list.clientHeight) {
    list.scrollTop = top - list.clientHeight / 2;
  }
}

// ---- Loading

function loadShard(number) {
  if (!shards.has(number)) {
    let resolve = null;
    const promise = new Promise((done, fail) => {
      resolve = done;
      const name = "data/" + index.shards[number].replace(/\.jsonl$/, ".js");
      const script = element("script");
      script.src = name;
      script.onload = () => script.remove();
      script.onerror = () => {
        script.remove();
        shards.delete(number);
        fail(new Error("cannot load " + name));
      };
      document.head.append(script);
    });
    shards.set(number, {promise, resolve});
    if (shards.size > SHARDS_KEPT) shards.delete(shards.keys().next().value);
  }
  return shards.get(number).promise;
}

// Called by data/heads-NNNNN.js.
window.lorsaHeads = (number, records) => {
  const shard = shards.get(number);
  if (shard) shard.resolve(records);
};

// ---- The page of one head

function fact(name, value) {
  return append(element("span"), name + " ", element("b", "", value));
}

function effectBox(title, effects) {
  const table = element("table");
  for (const [, text, value] of effects) {
    append(table, append(element("tr"), append(element("td"), chip(text)), element("td", "", short(value))));
  }
  return append(element("section", "box"), element("h3", "", title), table);
}

function histogramBox(record) {
  const {first_bin: firstBin, counts} = record.histogram;
  const edge = (bin) => short(2 ** (index.histogram.lowest_exponent + bin / index.histogram.bins_per_octave));
  const most = Math.max(...counts);
  const bars = element("div", "histogram");
  counts.forEach((count, i) => {
    const bar = element("div");
    bar.style.height = (100 * count) / most + "%";
    bar.title = `${edge(firstBin + i)} to ${edge(firstBin + i + 1)}: ${whole(count)} tokens`;
    bars.append(bar);
  });
  const axis = append(element("div", "axis"), element("span", "", edge(firstBin)),
    element("span", "", edge(firstBin + counts.length)));
  return append(element("section", "box"), element("h3", "", "Activations"), bars, axis);
}

function matesBox(record) {
  const group = index.shape.num_ov_heads / index.shape.num_qk_heads;
  const mates = index.heads.slice(record.qk_head * group, (record.qk_head + 1) * group)
    .filter((entry) => entry.head !== record.head && entry.count > 0)
    .sort((a, b) => b.rate - a.rate);
  const links = element("div", "mates");
  for (const entry of mates.slice(0, MATES_SHOWN)) {
    const link = element("a", "", "#" + entry.head);
    link.href = "#head=" + entry.head;
    append(links, append(element("span"), link, element("span", "faint", " " + percent(entry.rate, 2))));
  }
  const title = `QK head ${record.qk_head}: ${mates.length} others`;
  return append(element("section", "box"), element("h3", "", title), links);
}

// One token: `activation` and `weight` as shares of the largest, `said` its tooltip.
function tokenSpan(text, activation, weight, said) {
  const span = element("span", weight < 0 ? "t against" : "t");
  if (activation !== 0) span.style.setProperty("--a", Math.min(1, Math.abs(activation)).toFixed(3));
  if (weight !== 0) span.style.setProperty("--s", Math.min(1, Math.abs(weight)).toFixed(3));
  for (const part of visible(text).split(/([↵␍⇥])/)) {
    if (part !== "") append(span, /^[↵␍⇥]$/.test(part) ? element("span", "blank", part) : part);
  }
  span.title = said;
  return span;
}

function outsideLine(snippet, value, heaviest) {
  const line = element("span", "outside");
  append(line, element("span", "label", `before the window, at ${snippet.position}: `));
  snippet.tokens.forEach((text, i) => {
    const here = snippet.first + i === snippet.position;
    const said = here ? `${percent(snippet.weight / value)} of the activation comes from here` : "";
    append(line, tokenSpan(text, 0, here ? snippet.weight / heaviest : 0, said));
  });
  return line;
}

function contextBlock(context, record) {
  const weights = new Map(context.z_pattern);
  const heaviest = Math.max(...context.z_pattern.map(([, weight]) => Math.abs(weight)));
  const text = element("div", "text");
  for (const snippet of context.outside) append(text, outsideLine(snippet, context.value, heaviest));
  const block = element("section", "context");
  context.tokens.forEach((token, i) => {
    const position = context.first + i;
    const weight = weights.get(position) || 0;
    const said = [`position ${position}`, `activation ${short(context.activations[i])}`];
    if (weight !== 0) said.push(`${percent(weight / context.value)} of the peak comes from here`);
    const span = tokenSpan(token, context.activations[i] / record.max, weight / heaviest, said.join("\n"));
    if (position === context.position) {
      span.classList.add("peak");
      span.tabIndex = 0;
      const trace = (on) => () => block.classList.toggle("tracing", on);
      span.addEventListener("pointerenter", trace(true));
      span.addEventListener("pointerleave", trace(false));
      span.addEventListener("focus", trace(true));
      span.addEventListener("blur", trace(false));
    }
    append(text, span);
  });
  const where = append(element("div", "where"), element("b", "", short(context.value)),
    element("span", "", `row ${context.row}, position ${context.position}`),
    element("span", "", `document ${context.document}`),
    context.heldout ? element("span", "", "held out") : null,
    context.next_token === null ? null : append(element("span", "", "next "), chip(context.next_token)));
  return append(block, where, text);
}

function legend() {
  const sample = (text, activation, weight) => tokenSpan(text, activation, weight, "");
  const peak = sample(" peak ", 1, 0);
  peak.classList.add("peak");
  const line = (...parts) => append(element("span", "text"), ...parts);
  return append(element("div", "legend"), line(sample(" activation ", 0.6, 0)), line(peak),
    line(sample(" source of the peak ", 0, 1)), line(sample(" source against it ", 0, -1)),
    element("span", "", "Point at a peak to see its sources alone."));
}

function showHead(record) {
  const page = byId("page");
  document.title = `Head ${record.head} - Lorsa heads`;
  const facts = append(element("div", "facts"), fact("QK head", String(record.qk_head)),
    fact("acts at", percent(record.rate)), fact("tokens", whole(record.count)),
    fact("maximum", short(record.max)), fact("mean", short(record.mean)));
  const boxes = append(element("div", "boxes"), effectBox("Raises the logits of", record.logit_effect.top),
    effectBox("Lowers the logits of", record.logit_effect.bottom));
  if (record.count > 0) append(boxes, histogramBox(record));
  append(boxes, matesBox(record));
  page.replaceChildren(element("h2", "", "Head " + record.head), facts, boxes);
  if (record.count === 0) {
    append(page, element("p", "hint", `Silent on all ${whole(index.num_scored_tokens)} tokens.`));
  } else {
    append(page, element("h3", "", "Strongest contexts"), legend());
    for (const context of record.contexts) append(page, contextBlock(context, record));
  }
  page.scrollTop = 0;
}

async function showFromHash() {
  const match = /(?:^#|&)head=(\d+)(?:&|$)/.exec(location.hash);
  if (!match || !index) return;
  const head = Number(match[1]);
  if (head >= index.heads.length) {
    byId("page").replaceChildren(element("p", "hint", `There is no head ${head}: the last one is ${index.heads.length - 1}.`));
    return;
  }
  chosen = head;
  scrollToChosen();
  drawRows();
  try {
    const records = await loadShard(Math.floor(head / index.heads_per_shard));
    if (chosen === head) showHead(records[head % index.heads_per_shard]);
  } catch (error) {
    byId("page").replaceChildren(element("p", "hint", error.message));
  }
}

// ---- Start

// Called by data/index.js.
window.lorsaIndex = (loaded) => {
  index = loaded;
  const lm = index.language_model;
  byId("about").textContent =
    `${lm.name}, layer ${lm.layer}: ${whole(index.heads.length)} heads on ${whole(index.num_scored_tokens)} tokens`;
  updateList();
  showFromHash();
};

byId("controls").addEventListener("submit", (event) => event.preventDefault());
for (const id of ["search", "sort", "firing"]) byId(id).addEventListener("input", () => index && updateList());
byId("list").addEventListener("scroll", drawRows);
window.addEventListener("resize", () => index && drawRows());
window.addEventListener("hashchange", showFromHash);
window.addEventListener("load", () => {
  if (!index) byId("about").textContent = "data/index.js cannot be loaded: it belongs beside this page";
});
document.addEventListener("keydown", (event) => {
  if (!index || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
  if (event.key === "j") step(1);
  if (event.key === "k") step(-1);
});
