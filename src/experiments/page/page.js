// The page of lorsa-sweep: draws the results that stand as JSON in the element "data" (docs/formats.md says what they hold).

function fillHead() {
  byId("title").textContent = data.title || "Sweep";
  document.title = (data.title || "Sweep") + " – lorsa";
  byId("question").textContent = data.question;
  byId("question").hidden = data.question === "";
  const seeds = grid.length < data.runs.length ? ", at " + whole(grid.length) + " settings: mean ± standard deviation over seeds" : "";
  byId("about").textContent = whole(data.runs.length) + (data.runs.length === 1 ? " run" : " runs") + seeds
    + ". A click on a column's name sorts, one on a series hides it.";
}

// Sections in which nothing was drawn.
function removeEmpty() {
  for (const made of document.querySelectorAll("main .grid")) if (made.childElementCount === 0) made.remove();
  for (const section of document.querySelectorAll("main > section")) if (section.childElementCount < 2) section.remove();
}

fillHead();
fillTable();
drawFolded("curves", data.page.curves, plotCurve, "curves");
drawFolded("heat-maps", data.page.heat_maps, plotHeatMaps, "heat maps");
plotAllFits();
drawFolded("rules", data.runs.filter((run) => run.rules), plotRules, "runs");
fillStability();
fillErrors();
removeEmpty();
drawAll();
addEventListener("resize", drawAll);
