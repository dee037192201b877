"""Drives the pages of lorsa-eval --html, and that of lorsa-report, in Chromium; for eval_page_test.sh.

    eval_page_check.py SCREENSHOTS

Reads both.json, one.json, their pages and run.html in the working folder. What a page draws is compared with the JSON.
"""

import json
import pathlib
import subprocess
import sys

import chromium
from explorer_page import check, counted, near

HOSTILE = "<img src=x onerror=\"window.harmed=1\"></script><script>window.harmed=1</script>"

# Of every plot: its title and what stands in its svg.
DRAWN = """[...document.querySelectorAll("figure.plot")].filter((plot) => !plot.hidden).map((plot) => ({
  title: plot.querySelector("h3").textContent,
  bars: plot.querySelectorAll("rect.bar").length,
  dots: plot.querySelectorAll("svg > circle").length,
  points: [...plot.querySelectorAll("path.curve")].map((path) => (path.getAttribute("d").match(/[ML]/g) || []).length),
  cells: [...plot.querySelectorAll("text.cell")].map((text) => text.textContent),
  picture: plot.querySelector("image") ? plot.querySelector("image").getAttribute("href") : null,
  empty: plot.textContent.includes("nothing to show")}))"""

# The pixels of a picture: [width, height, index of the brightest, index of the darkest].
PIXELS = """new Promise((done) => { const image = new Image(); image.onload = () => {
  const canvas = document.createElement("canvas"); canvas.width = image.width; canvas.height = image.height;
  const context = canvas.getContext("2d"); context.drawImage(image, 0, 0);
  const bytes = context.getImageData(0, 0, image.width, image.height).data;
  const light = [...Array(bytes.length / 4).keys()].map((i) => bytes[4 * i] + bytes[4 * i + 1] + bytes[4 * i + 2]);
  done([image.width, image.height, light.indexOf(Math.max(...light)), light.indexOf(Math.min(...light))]); };
  image.src = %s; })"""


class Page:
    def __init__(self, browser, name):
        self.browser, self.name = browser, name
        report = pathlib.Path(f"{name}.json")
        self.reports = json.loads(report.read_text()) if report.exists() else []
        if isinstance(self.reports, dict):
            self.reports = [self.reports]
        browser.clear()
        browser.open(pathlib.Path(f"{name}.html").resolve().as_uri())
        check(f"{name}: the page draws", browser.wait("document.querySelectorAll('figure.plot svg *').length > 10"))
        self.drawn = {plot["title"]: plot for plot in browser.value(DRAWN)}

    def plot(self, title):
        check(f"{self.name}: there is a plot {title}", title in self.drawn)
        return self.drawn.get(title, {"bars": 0, "dots": 0, "points": [], "cells": [], "picture": None, "empty": True})

    def bars(self, title, series):
        """Every value other than 0 is a bar."""
        check(f"{self.name}: bars of {title}", self.plot(title)["bars"], sum(1 for y in series for value in y if value))

    def heat(self, title, matrix):
        flat = [value for row in matrix for value in row]
        picture = self.plot(title)["picture"]
        pixels = self.browser.value(PIXELS % json.dumps(picture))
        check(f"{self.name}: picture of {title}", pixels,
              [len(matrix[0]), len(matrix), flat.index(max(flat)), flat.index(min(flat))])

    def tip(self, title, x, y):
        """What the page says where the pointer is, in shares of the plot."""
        svg = f"document.querySelector('svg[aria-label={json.dumps(title)}]')"
        self.browser.value(f"""new Promise((done) => {{ {svg}.scrollIntoView({{block: "center"}});
          requestAnimationFrame(() => requestAnimationFrame(() => done())); }})""")
        left, top, width, height = self.browser.value(
            f"(() => {{ const box = {svg}.getBoundingClientRect(); return [box.left, box.top, box.width, box.height]; }})()")
        self.browser.point(left + x * width, top + y * height)
        return self.browser.value("document.getElementById('tip').hidden ? '' : document.getElementById('tip').innerText")

    def in_order(self):
        check(f"{self.name}: no plot is empty", [plot["title"] for plot in self.drawn.values() if plot["empty"]], [])
        check(f"{self.name}: every plot draws", [plot["title"] for plot in self.drawn.values() if not (
            plot["bars"] or plot["dots"] or plot["picture"] or any(count > 1 for count in plot["points"]))], [])
        check(f"{self.name}: no complaints", self.browser.complaints(), [])
        check(f"{self.name}: nothing but the page is asked for",
              [url for url in self.browser.requests() if not url.startswith(("file:", "data:", "about:"))], [])


def check_numbers(page):
    shown = page.browser.value("""[...document.querySelectorAll("#numbers tbody tr")].map(
      (row) => [...row.cells].map((cell) => cell.textContent))""")
    table = {row[0]: row[1:] for row in shown}
    for key in ("fvu", "ce_recovered", "kl", "attention_fidelity", "head_spread"):
        for report, text in zip(page.reports, table.get(key, [])):
            if key in report:
                check(f"{page.name}: {key}", near(float(text), report[key], 1e-4 * abs(report[key])))
            else:
                check(f"{page.name}: no {key}", text, "–")
    check(f"{page.name}: the table has {len(page.reports)} columns", len(table["fvu"]), len(page.reports))


def check_plots(page):
    """What every report of a call with a model has."""
    values = [[value for value in report["fvu_per_position"] if value is not None] for report in page.reports]
    check(f"{page.name}: fvu by position", page.plot("fvu by position")["points"], [len(y) for y in values])
    check(f"{page.name}: cross-entropies", page.plot("Cross-entropy")["bars"], 4 * len(page.reports))
    page.bars("Firing rate", [report["firing_rate_histogram"]["heads"] for report in page.reports])
    page.bars("Largest output share", [report["largest_output_share"]["heads"] for report in page.reports])
    lorsa = page.reports[0]
    page.heat("KL of patterns: run/final", lorsa["attention"]["kl"])
    heads = len(lorsa["attention"]["mhsa_heads"])
    check(f"{page.name}: the closest QK heads are marked", page.plot("KL of patterns: run/final")["dots"], heads)
    check(f"{page.name}: mass on the first token", page.plot("Mass on the first token: run/final")["bars"], 2 * heads)
    context = len(lorsa["fvu_per_position"])
    tip = page.tip("fvu by position", 0.995, 0.5)
    check(f"{page.name}: tip of the last position", tip.split("\n")[0], f"{context - 1} tokens before")
    check(f"{page.name}: its fvu", f"{lorsa['fvu_per_position'][-1]:.3f}" in tip)
    tip = page.tip("Cross-entropy", 0.2, 0.5)
    check(f"{page.name}: tip of the cross-entropies", tip.split("\n")[0], "original")
    check(f"{page.name}: its number", f"{lorsa['ce_original']:.4f}"[:5] in tip)
    tip = page.tip("KL of patterns: run/final", 0.99, 0.05)
    check(f"{page.name}: tip of the patterns", tip, "")
    tip = page.tip("KL of patterns: run/final", 0.2, 0.1)
    check(f"{page.name}: tip of the first MHSA head", tip.startswith("MHSA head 0, QK head "))


def check_both(page):
    for i, length in enumerate((32, 48)):
        check(f"long contexts of {length}", page.reports[0]["long_contexts"][i]["context_length"], length)
    check("fvu by context length: the cache's, 32 and 48", page.plot("fvu by context length")["points"], [3, 3])
    check("a dot for each context's only bucket", page.plot("fvu by position, longer rows")["dots"], 4)
    for key, title in (("cosine", "Cosine of the errors"), ("squared_norm_correlation", "Correlation of squared error norms"),
                       ("explained", "Squared error explained by the other's error")):
        found = [float(text) for text in page.plot(title)["cells"]]
        expected = [shared[key] for report in page.reports for shared in report["shared_errors"]]
        check(title, len(found) == 4 and all(near(a, b, 2e-3) for a, b in zip(found, expected)))
    check("no families without scores", page.browser.value("document.getElementById('families').parentElement.hidden"))
    page.browser.value("document.querySelector('#legend button').click()")
    hidden = {plot["title"]: plot for plot in page.browser.value(DRAWN)}
    check("a hidden checkpoint's curve is gone", len(hidden["fvu by position"]["points"]), 1)
    check("and its bars", hidden["Cross-entropy"]["bars"], 4)
    check("and its patterns", "KL of patterns: run/final" not in hidden)
    page.browser.value("document.querySelector('#legend button').click()")
    check("and back", {plot["title"]: plot for plot in page.browser.value(DRAWN)} == page.drawn)


def check_themes(page, screenshots):
    for scheme, paper in (("dark", "rgb(20, 23, 28)"), ("light", "rgb(255, 255, 255)")):
        page.browser.prefer(scheme)
        check(f"{scheme}", page.browser.wait(f"getComputedStyle(document.body).backgroundColor === '{paper}'", 2.0))
        for part in ("legend", "heads", "operands"):
            page.browser.value(f"document.getElementById('{part}').parentElement.scrollIntoView()")
            page.browser.listen(0.1)
            page.browser.screenshot(screenshots / f"{page.name}-{part}-{scheme}.png")


def write_optional():
    """The report of both with what other parts of the evaluation may add, and hostile texts."""
    reports = json.loads(pathlib.Path("both.json").read_text())
    for number, report in enumerate(reports):
        report["checkpoint"] += HOSTILE
        report["families"] = {
            "probes": [{"family": HOSTILE, "num_heads": 3 + number, "num_scored": 40, "threshold": 0.5},
                       {"family": "induction", "num_heads": 5, "num_scored": 40, "threshold": 0.5}],
            "scores_histogram": {HOSTILE: [4] + [0] * 18 + [7], "induction": [2] * 20}}
    reports[0]["operand_plots"] = [
        {"head": 12, "family": HOSTILE, "score": 0.75, "operator": "+", "a": [0, 1, 2], "b": [0, 5],
         "activation": [[0.0, 0.5], [1.25, 0.25], [0.75, 0.125]]}]
    reports[1]["kl"] = None
    pathlib.Path("optional.json").write_text(json.dumps(reports))
    subprocess.run(["write_eval_page", "optional.json", "optional.html"], check=True)


def check_optional(page):
    check("heads of each family", page.plot("Heads of each family")["bars"], 4)
    page.bars(f"Scores: {HOSTILE}", [report["families"]["scores_histogram"][HOSTILE] for report in page.reports])
    page.bars("Scores: induction", [report["families"]["scores_histogram"]["induction"] for report in page.reports])
    title = next((title for title in page.drawn if title.startswith("Head 12 of ")), "Head 12")
    page.heat(title, page.reports[0]["operand_plots"][0]["activation"])
    check("activations stand in their cells", page.plot(title)["cells"], ["0", "0.5", "1.25", "0.25", "0.75", "0.125"])
    check("no element of a text", page.browser.value("document.querySelectorAll('main img, img[src=x]').length"), 0)
    check("nothing was harmed", page.browser.value("window.harmed === undefined"))
    check("texts are shown as they are", HOSTILE in page.browser.value("document.body.textContent"))


def check_run(page):
    """lorsa-report's."""
    check("curves of a run", [page.plot(key)["points"] for key in ("loss", "fvu")], [[3], [3]])
    tip = page.tip("loss", 0.6, 0.5)
    check("tip of a curve", tip.split("\n")[0::2], ["2,000 tokens", "0.7"])


def main():
    screenshots = pathlib.Path(sys.argv[1])
    write_optional()
    with chromium.Chromium(chromium.find(), 1440, 900) as browser:
        both = Page(browser, "both")
        check_numbers(both)
        check_plots(both)
        check_both(both)
        check_themes(both, screenshots)
        both.in_order()
        one = Page(browser, "one")
        check_numbers(one)
        check_plots(one)
        check("one checkpoint shares no error", "Cosine of the errors" not in one.drawn)
        one.in_order()
        optional = Page(browser, "optional")
        check_optional(optional)
        check_themes(optional, screenshots)
        optional.in_order()
        run = Page(browser, "run")
        check_run(run)
        run.in_order()
    print(f"{counted['checks']} checks of the page, {counted['failed']} failed")
    return 1 if counted["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
