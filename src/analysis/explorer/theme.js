// Dark or light: the system's, unless the reader chose the other one. Loaded before the page is drawn.
"use strict";

const Theme = (() => {
  const KEY = "lorsa-explorer-theme";
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  // Browsers may refuse storage to pages opened from disk: the choice then lasts as long as the page.
  let chosen = null;
  try {
    chosen = localStorage.getItem(KEY);
  } catch (error) {
    chosen = null;
  }

  const current = () => (chosen === "dark" || chosen === "light" ? chosen : system.matches ? "dark" : "light");
  const apply = () => { document.documentElement.dataset.theme = current(); };

  // Back at the system's theme, the page follows the system again.
  function toggle() {
    const other = current() === "dark" ? "light" : "dark";
    chosen = other === (system.matches ? "dark" : "light") ? null : other;
    try {
      if (chosen === null) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, chosen);
    } catch (error) {
      // See above.
    }
    apply();
  }

  system.addEventListener("change", apply);
  apply();
  return {toggle, current};
})();
