// Elements, numbers, and the texts of models and corpora. Such a text reaches the page as the content of a text node,
// never as markup, and with nothing hidden in it: what has no shape of its own, or changes the direction or place of
// its neighbours, stands as a mark.
"use strict";

const Text = (() => {
  // Runs of spaces, and characters that do not show: control, format (bidirectional marks, zero-width ones), line
  // separators, unassigned and private ones, other spaces, fillers, variation selectors, and U+FFFD, which stands for
  // bytes that are no whole character.
  const SPECIAL =
    / +|[\p{C}\p{Zl}\p{Zp}\u00a0\u034f\u115f\u1160\u1680\u2000-\u200a\u202f\u205f\u2800\u3000\u3164\ufe00-\ufe0e\uffa0\ufffd\u{e0100}-\u{e01ef}]/gu;
  const DOTS = 4;  // at most so many for a run of spaces; the mark's title tells how many there are
  const NAMED = new Map([["\n", "↵"], ["\t", "⇥"], ["\ufffd", "\ufffd"]]);

  const codePoint = (char) => "U+" + char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
  const spaces = (count) => (count === 1 ? "a space" : `${count} spaces`);

  // A text as [text, isMark, what the mark is or null]. In running text (`running`) the space that begins a word stays a
  // space.
  function pieces(text, running) {
    if (text === "") return [["∅", true, null]];
    const parts = /^\p{M}/u.test(text) ? [["\u25cc", true, null]] : [];  // something for the accent to stand on
    let from = 0;
    const plain = (end) => { if (end > from) parts.push([text.slice(from, end), false, null]); };
    for (const match of text.matchAll(SPECIAL)) {
      const [found] = match;
      const end = match.index + found.length;
      const single = found === " " && end < text.length && (running || match.index > 0);
      if (single) continue;
      plain(match.index);
      parts.push(found[0] === " " ? ["·".repeat(Math.min(DOTS, found.length)), true, spaces(found.length)]
        : [NAMED.get(found) || codePoint(found), true, codePoint(found)]);
      from = end;
    }
    plain(text.length);
    return parts;
  }

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

  // Puts a text of a model into an element.
  function show(parent, text, running) {
    for (const [part, isMark, said] of pieces(text, running)) {
      if (!isMark) {
        parent.append(part);
        continue;
      }
      const mark = element("span", part.startsWith("U+") ? "mark code" : "mark", part);
      if (said !== null) mark.title = said;
      parent.append(mark);
    }
    return parent;
  }

  const chip = (text) => show(element("span", "token"), text, false);

  // For attributes, titles and labels, which hold plain strings.
  const plain = (text) => pieces(text, false).map(([part]) => part).join("");

  const whole = (value) => value.toLocaleString("en");

  function short(value) {
    const size = Math.abs(value);
    if (size >= 1000) return Math.round(value).toLocaleString("en");
    return size !== 0 && size < 1e-4 ? value.toExponential(1) : Number(value.toPrecision(3)).toString();
  }

  const percent = (share, digits = 3) => short(Number((share * 100).toPrecision(digits))) + "\u00a0%";

  return {element, append, show, chip, plain, whole, short, percent};
})();
