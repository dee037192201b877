// The dump's data (docs/formats.md). Pages opened from disk may not fetch files, so the data are scripts: data/index.js
// calls lorsaIndex() with columns over all heads, data/heads-NNNNN.js calls lorsaHeads() with the records of some.
"use strict";

const Data = (() => {
  const SCHEMA = "lorsa-explorer-1";
  const SHARDS_KEPT = 8;

  let index = null;          // what index.js says beside the columns
  let columns = null;        // by name, an entry a head
  let families = new Map();  // name -> Float64Array, NaN where a head has no score
  let tokens = [];           // texts that columns refer to by place, -1: none
  let lowered = null;        // the same for the search, made when it is first used
  const shards = new Map();  // number -> {promise, records}; the latest used last

  function loadScript(name) {
    return new Promise((done, fail) => {
      const script = document.createElement("script");
      script.src = "data/" + name;
      script.onload = () => { script.remove(); done(); };
      script.onerror = () => { script.remove(); fail(new Error(`data/${name} cannot be loaded: it belongs beside this page.`)); };
      document.head.append(script);
    });
  }

  window.lorsaIndex = (loaded) => {
    index = loaded;
    if (loaded.explorer_schema !== SCHEMA) return;
    columns = {max: Float64Array.from(loaded.max)};
    for (const name of ["qk_head", "count", "top_tokens", "peak_token", "source_token"]) {
      columns[name] = Int32Array.from(loaded[name]);
    }
    columns.layer = loaded.layer ? Int32Array.from(loaded.layer) : null;
    for (const [name, scores] of Object.entries(loaded.family_scores)) {
      families.set(name, Float64Array.from(scores, (score) => (score === null ? NaN : score)));
    }
    tokens = loaded.tokens;
    for (const name of [...Object.keys(columns), "tokens", "family_scores"]) delete index[name];  // kept once
  };

  async function open() {
    await loadScript("index.js");
    if (!index) throw new Error("data/index.js is damaged: run lorsa-dump again.");
    if (!columns) throw new Error(`data/index.js is of schema ${index.explorer_schema}, this page reads ${SCHEMA}.`);
  }

  window.lorsaHeads = (number, records) => {
    const shard = shards.get(number);
    if (shard) shard.records = records;
  };

  async function fetchShard(number, shard) {
    const name = index.shards[number].replace(/\.jsonl$/, ".js");
    await loadScript(name);
    if (!shard.records) throw new Error(`data/${name} is damaged: run lorsa-dump again.`);
  }

  // Records of shard `number`; those used longest ago are dropped.
  async function loadShard(number) {
    const shard = shards.get(number) || {promise: null, records: null};
    shards.delete(number);
    shards.set(number, shard);
    if (!shard.promise) shard.promise = fetchShard(number, shard);
    try {
      await shard.promise;
    } catch (error) {
      if (shards.get(number) === shard) shards.delete(number);
      throw error;
    }
    for (const [other, {records}] of shards) {
      if (shards.size > SHARDS_KEPT && records && other !== number) shards.delete(other);
    }
    return shard.records;
  }

  const shardOf = (head) => Math.floor(head / index.heads_per_shard);
  const isLoaded = (head) => Boolean(shards.has(shardOf(head)) && shards.get(shardOf(head)).records);

  async function record(head) {
    const records = await loadShard(shardOf(head));
    return records[head % index.heads_per_shard];
  }

  // ---- Columns

  const rate = (head) => (index.num_scored_tokens > 0 ? columns.count[head] / index.num_scored_tokens : 0);
  const layer = (head) => (columns.layer ? columns.layer[head] : -1);
  const text = (place) => (place < 0 ? null : tokens[place]);
  const peakToken = (head) => text(columns.peak_token[head]);
  const sourceToken = (head) => text(columns.source_token[head]);

  function topPlaces(head) {
    const width = index.top_tokens_per_head;
    return columns.top_tokens.subarray(head * width, (head + 1) * width);
  }

  const topTokens = (head) => [...topPlaces(head)].map(text).filter((token) => token !== null);

  // Heads that read through the same QK head.
  function mates(head) {
    const found = [];
    for (let other = 0; other < index.num_heads; ++other) {
      const same = columns.qk_head[other] === columns.qk_head[head] && layer(other) === layer(head);
      if (same && other !== head) found.push(other);
    }
    return found;
  }

  // Tells of a head whether one of its tokens contains `query`, whatever its case. Marks may be typed for what they
  // stand for, and Ġ for a space.
  function tokenSearch(query) {
    lowered = lowered || tokens.map((token) => token.toLowerCase());
    const typed = query.toLowerCase();
    const meant = typed.replace(/[·ġ]/g, " ").replace(/↵/g, "\n").replace(/⇥/g, "\t");
    const hit = Uint8Array.from(lowered, (token) => (token.includes(typed) || token.includes(meant) ? 1 : 0));
    const at = (place) => place >= 0 && hit[place] === 1;
    return (head) => at(columns.peak_token[head]) || at(columns.source_token[head]) || topPlaces(head).some(at);
  }

  return {
    open, record, isLoaded, rate, layer, peakToken, sourceToken, topTokens, mates, tokenSearch,
    get index() { return index; },
    get columns() { return columns; },
    get families() { return families; },
    get size() { return index.num_heads; },
  };
})();
