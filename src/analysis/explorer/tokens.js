// Tokens of a context, and the note beside the pointer that says what one of them does.
"use strict";

const Tokens = (() => {
  const {element, show, plain, short, percent} = Text;
  const told = new WeakMap();  // span -> lines of its note
  let note = null;

  // `activation` and `weight` (as a source) are shares of the largest; `lines` go into the note.
  function span(text, activation, weight, lines) {
    const made = show(element("span", "t"), text, true);
    if (activation !== 0) made.style.setProperty("--a", Math.min(1, Math.abs(activation)).toFixed(3));
    if (activation < 0) made.classList.add("negative");
    if (weight !== 0) made.style.setProperty("--s", Math.min(1, Math.abs(weight)).toFixed(3));
    if (weight < 0) made.classList.add("against");
    if (lines.length > 0) told.set(made, [plain(text), ...lines]);
    return made;
  }

  function place(target) {
    const box = target.getBoundingClientRect();
    const width = note.offsetWidth;
    const left = Math.max(8, Math.min(window.innerWidth - width - 8, box.left + box.width / 2 - width / 2));
    const below = box.bottom + 10 + note.offsetHeight < window.innerHeight;
    note.style.left = left + "px";
    note.style.top = (below ? box.bottom + 10 : box.top - 10 - note.offsetHeight) + "px";
  }

  function tell(target) {
    const [text, ...lines] = told.get(target);
    note.replaceChildren(element("b", "", text), ...lines.map((line) => element("div", "", line)));
    note.hidden = false;
    place(target);
  }

  function start() {
    note = document.getElementById("note");
    document.addEventListener("pointerover", (event) => {
      const target = event.target.closest ? event.target.closest(".t") : null;
      if (target && told.has(target)) tell(target);
      else note.hidden = true;
    });
    document.getElementById("page").addEventListener("scroll", () => { note.hidden = true; });
  }

  // How a source's weight is said: as a share of the sum of all sources where that is the head's activation.
  const shareText = (weight, total) => (total === 0 ? short(weight) : percent(weight / total, 2));

  return {span, start, shareText};
})();
