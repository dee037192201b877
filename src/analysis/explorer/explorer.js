// The head explorer: shows a dump of lorsa-dump from disk. This file starts it and ties its parts together: the fragment
// (#head=123) says which head is shown, keys go from head to head. The others, in the order they load:
// theme, text, data, list, tokens, arcs, contexts, charts, head, overview.
"use strict";

(() => {
  const {element} = Text;
  const SETTLE_MS = 60;  // while a key is held, only the head where it rests is loaded
  const byId = (id) => document.getElementById(id);
  let wanted = -1;       // head of the fragment

  const say = (text) => byId("page").replaceChildren(element("p", "hint", text));
  const rest = () => new Promise((done) => setTimeout(done, SETTLE_MS));

  async function showHead(head) {
    if (!Data.isLoaded(head)) await rest();
    if (wanted !== head) return;
    try {
      const record = await Data.record(head);
      if (wanted === head) HeadPage.show(record);
    } catch (error) {
      if (wanted === head) say(error.message);
    }
  }

  function showFragment() {
    const match = /(?:^#|&)head=(\d+)(?:&|$)/.exec(location.hash);
    wanted = match ? Number(match[1]) : -1;
    List.choose(wanted < Data.size ? wanted : -1);
    if (!match) Overview.show();
    else if (wanted >= Data.size) say(`There is no head ${match[1]}: the last one is ${Data.size - 1}.`);
    else showHead(wanted);
  }

  // Replaces the entry of the history: going back leaves a walk with j and k at once.
  function go(head) {
    if (head >= 0 && head !== wanted) location.replace("#head=" + head);
  }

  const step = (by) => go(List.neighbour(by));

  // ---- Keys

  const STEPS = new Map([["j", 1], ["k", -1], ["ArrowRight", 1], ["ArrowLeft", -1], ["ArrowDown", 1], ["ArrowUp", -1]]);

  function searchKey(event) {
    if (event.key === "Escape") event.target.blur();
    else if (event.key === "Enter" || event.key === "ArrowDown") {
      event.target.blur();
      go(List.first());
    } else return;
    event.preventDefault();
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    if (event.target.id === "search") {
      searchKey(event);
      return;
    }
    if (event.key === "Escape") document.activeElement.blur();
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    // On the page, up and down scroll it.
    const scrolls = /^Arrow(Up|Down)$/.test(event.key) && byId("page").contains(event.target);
    if (STEPS.has(event.key) && !scrolls) step(STEPS.get(event.key));
    else if (event.key === "/") byId("search").select();
    else if (event.key === "t") Theme.toggle();
    else if (event.key === "?") byId("help").showModal();
    else return;
    event.preventDefault();
  }

  function listen() {
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
    byId("theme").addEventListener("click", Theme.toggle);
    byId("keys").addEventListener("click", () => byId("help").showModal());
    byId("close").addEventListener("click", () => byId("help").close());
    byId("page").addEventListener("click", (event) => {
      const button = event.target.closest("button[data-step]");
      if (button) step(Number(button.dataset.step));
    });
    window.addEventListener("hashchange", showFragment);
    document.addEventListener("keydown", key);
  }

  async function start() {
    Tokens.start();
    try {
      await Data.open();
    } catch (error) {
      byId("about").textContent = "No data.";
      say(error.message);
      return;
    }
    const {index} = Data;
    const layer = Data.columns.layer ? "several layers" : "layer " + index.language_model.layer;
    byId("about").textContent = `${index.language_model.name}, ${layer}`;
    List.start();
    listen();
    showFragment();
  }

  start();
})();
