"""Drives the page of a sweep in Chromium; for sweep_page_test.sh.

    sweep_page_check.py SCREENSHOTS

Makes results.json as docs/formats.md describes them, writes their page with write_sweep_page and compares what the page draws with numbers
computed here.
"""

import json
import pathlib
import statistics
import subprocess
import sys

import chromium
from explorer_page import check, counted, near

HOSTILE = "<img src=x onerror=\"window.harmed=1\"></script><script>window.harmed=1</script>"

KINDS, WIDTHS, TOP_KS, SEEDS = ("lorsa", "sae"), (8, 16, 64, 256), (4, 32), (0, 1, 2)

# Of every plot: its title and what stands in it, svg by svg (a fit's residuals are its second).
DRAWN = """[...document.querySelectorAll("figure.plot")].filter((plot) => plot.checkVisibility()).map((plot) => ({
  title: plot.querySelector("h3").textContent,
  axes: [...plot.querySelectorAll(".axis")].map((axis) => axis.textContent),
  labels: [...plot.querySelectorAll("svg[role=img]")].map((svg) => svg.getAttribute("aria-label")),
  svgs: [...plot.querySelectorAll("svg[role=img]")].map((svg) => ({
    bars: svg.querySelectorAll("rect.bar").length,
    dots: svg.querySelectorAll("circle.dot").length,
    means: svg.querySelectorAll("circle.mean").length,
    points: [...svg.querySelectorAll("path.curve")].map((path) => (path.getAttribute("d").match(/[ML]/g) || []).length),
    cells: [...svg.querySelectorAll("text.cell")].map((text) => text.textContent),
    texts: [...svg.querySelectorAll("text:not(.cell)")].map((text) => text.textContent)})),
  keys: [...plot.querySelectorAll(".keys button, .keys > span")].map((key) => key.textContent),
  empty: plot.textContent.includes("nothing to show")}))"""

TABLE = """[...document.querySelectorAll("#numbers tbody tr")].map((row) => [...row.cells].map((cell) => cell.textContent))"""


def fvu_of(kind, width, top_k, seed):
    return 0.05 + (0.8 if kind == "lorsa" else 0.5) * width**-0.4 * top_k**-0.1 * (1 + 0.02 * seed)


def make_runs():
    runs = []
    for kind in KINDS:
        for width in WIDTHS:
            for top_k in TOP_KS:
                for seed in SEEDS:
                    runs.append({
                        "name": f"{kind}-{width}-{top_k}-{seed}",
                        "settings": {"model.kind": kind, "model.d_qk": width, "model.top_k": top_k, "run.seed": seed, "model.norm": seed >= 0},
                        "metrics": {"fvu": fvu_of(kind, width, top_k, seed), "l0": top_k - 0.5, "dead_fraction": None if kind == "sae" else 0.125,
                                    "parameters": 1000 * width * (3 if kind == "lorsa" else 2)}})
    return runs


def make_rules():
    rules = [{"rule": name, "num_positions": 100 + i, "unit": 7 * i, "threshold": 0.1, "f1": 0.9 - 0.2 * i, "num_firings": 90, "source_share": 0.75,
              "mhsa_head": i, "mhsa_f1": 0.3 + 0.1 * i} for i, name in enumerate(("induction", "previous_token", "skip_bigram"))]
    return {"mean_f1": 0.7, "mean_mhsa_f1": 0.4, "num_above": 1, "source_share": 0.75, "rules": rules}


def make_fits():
    points = {kind: [[width, 0.05 + scale * width**-0.4] for width in WIDTHS] for kind, scale in (("lorsa", 0.8), ("sae", 0.5))}
    law = {"scale": 0.8, "exponent": 0.4, "floor": 0.05, "scale_interval": [0.7, 0.9], "exponent_interval": [0.31, 0.52], "floor_interval": [0, None],
           "residuals": [0.01, -0.02, 0.015, -0.005], "relative_error": 0.0137, "largest_relative_error": 0.02, "held_out_error": 0.05}
    plot = "fvu against model.d_qk by model.kind"
    return [{"plot": plot, "x": "model.d_qk", "y": "fvu", "series": {"model.kind": "lorsa"}, "points": points["lorsa"], "law": law},
            {"plot": plot, "x": "model.d_qk", "y": "fvu", "series": {"model.kind": "sae"}, "points": [*points["sae"], [0, 0.5]], "error": "y does not fall with x"}]


def make_errors():
    return {"checkpoint": "lorsa-8-4-0", "reference": "sae-8-4-0", "num_fit_tokens": 900, "num_tokens": 400, "fvu": 0.3, "reference_fvu": 0.2,
            "vector_from_reference": 0.5, "vector_from_input": 0.25, "vector_from_target": -0.05,
            "norm_from": {"reference_error": 0.6, "target_norm": 0.4, "position": -0.01, "token_frequency": 0.02, "attention_entropy": 0.1, "all": 0.7},
            "by_target_norm": [{"target_norm": 2.0**i, "error_norm": 0.5 * 1.8**i, "reference_error_norm": 0.3 * 1.7**i} for i in range(6)],
            "log_slope": 0.848, "log_correlation": 0.97, "variance_share": [0.5, 0.3, 0.2], "unexplained": [0.1, 0.3, 0.6],
            "reference_unexplained": [0.05, 0.2, 0.5]}


def make_stability(first, second):
    return {"first": first, "second": second, "num_tokens": 400, "num_heads_first": 24, "num_heads_second": 25, "threshold": 0.7, "share_first": 0.625,
            "share_second": 0.6, "share_one_to_one": 0.61, "share_direction": 0.75, "share_firing": 0.875, "mean_match": 0.72,
            "histogram": [3] + [0] * 10 + [1, 2, 3, 4, 5, 3, 2, 1, 0]}


def make_full():
    runs = make_runs()
    for run in runs[:2]:
        run["rules"] = make_rules()
    return {"schema": 1, "title": "Widths and heads", "question": "How does what is left unexplained fall with the width of the QK heads?",
            "axes": [{"keys": ["model.kind"], "values": [[kind] for kind in KINDS]}], "runs": runs,
            "page": {"columns": [], "curves": ["fvu against model.d_qk by model.kind", "fvu against model.kind", "fvu against parameters by model.kind, model.top_k"],
                     "heat_maps": ["fvu against model.d_qk and model.top_k by model.kind"], "fits": ["fvu against model.d_qk by model.kind"]},
            "fits": make_fits(), "errors": [make_errors()],
            "stability": [make_stability(f"lorsa-{width}-4-0", f"lorsa-{width}-4-{seed}") for width in WIDTHS for seed in (1, 2)]}


def make_bare():
    runs = [{"name": f"a{width}", "settings": {"model.kind": "lorsa", "model.d_qk": width}, "metrics": {"fvu": 1 / width}} for width in (2, 4)]
    return {"schema": 1, "title": "Bare", "question": "", "axes": [], "runs": runs, "fits": [], "errors": [], "stability": [],
            "page": {"columns": ["fvu", "kl"], "curves": ["kl against model.d_qk"], "heat_maps": [], "fits": []}}


def make_hostile():
    results = make_full()
    for key in ("title", "question"):
        results[key] += HOSTILE
    for run in results["runs"]:
        run["name"] += HOSTILE
        run["settings"]["model.kind"] += HOSTILE
    for rule in results["runs"][0]["rules"]["rules"]:
        rule["rule"] += HOSTILE
    results["fits"][0]["series"]["model.kind"] += HOSTILE
    results["fits"][1]["error"] = HOSTILE
    results["stability"][0]["first"] = results["errors"][0]["checkpoint"] = HOSTILE
    results["errors"][0]["norm_from"][HOSTILE] = 0.5
    return results


class Page:
    def __init__(self, browser, name, results):
        self.browser, self.name, self.results = browser, name, results
        pathlib.Path(f"{name}.json").write_text(json.dumps(results))
        subprocess.run(["write_sweep_page", f"{name}.json", f"{name}.html"], check=True)
        browser.clear()
        browser.open(pathlib.Path(f"{name}.html").resolve().as_uri())
        check(f"{name}: the page draws", browser.wait("document.querySelectorAll('#numbers tbody tr').length > 0"))
        self.read()

    def read(self):
        self.all = self.browser.value(DRAWN)
        self.drawn = {}
        for plot in self.all:
            self.drawn.setdefault(plot["title"], plot)

    def plot(self, title):
        check(f"{self.name}: there is a plot {title}", title in self.drawn)
        blank = {"bars": 0, "dots": 0, "means": 0, "points": [], "cells": [], "texts": []}
        return self.drawn.get(title, {"svgs": [blank, blank], "keys": [], "axes": [], "labels": [], "empty": True})

    def svg(self, title, number=0):
        return self.plot(title)["svgs"][number]

    def click(self, expression):
        self.browser.value(f"{expression}.click()")

    def tip(self, title, mark):
        """What the page says where the pointer is on a mark (a selector and its index) of a plot."""
        found = f"document.querySelector('svg[aria-label={json.dumps(title)}]').querySelectorAll('{mark[0]}')[{mark[1]}]"
        self.browser.value(f"""new Promise((done) => {{ {found}.scrollIntoView({{block: "center"}});
          requestAnimationFrame(() => requestAnimationFrame(() => done())); }})""")
        self.browser.point(*self.browser.value(
            f"(() => {{ const box = {found}.getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2]; }})()"))
        return self.browser.value("document.getElementById('tip').hidden ? '' : document.getElementById('tip').innerText")

    def in_order(self):
        check(f"{self.name}: no plot is empty", [plot["title"] for plot in self.all if plot["empty"]], [])
        check(f"{self.name}: every plot names its axes", [plot["title"] for plot in self.all if len(plot["axes"]) < 2], [])
        check(f"{self.name}: every plot has a title", all(plot["labels"] and all(plot["labels"]) for plot in self.all))
        check(f"{self.name}: no text is NaN or undefined",
              self.browser.value("/NaN|undefined|Infinity|\\[object/.test(document.querySelector('main').innerText)"), False)
        check(f"{self.name}: no complaints", self.browser.complaints(), [])
        check(f"{self.name}: nothing but the page is asked for",
              [url for url in self.browser.requests() if not url.startswith(("file:", "data:", "about:"))], [])


def number(text):
    return float(text.split(" ")[0].replace(",", ""))


def check_table(page):
    value = page.browser.value
    heads = value("[...document.querySelectorAll('#numbers thead th')].map((cell) => cell.textContent)")
    check("columns", heads, ["run", "n", "model.kind", "model.d_qk", "model.top_k", "fvu", "l0", "dead_fraction", "parameters"])
    rows = value(TABLE)
    check("a row for each setting", len(rows), len(KINDS) * len(WIDTHS) * len(TOP_KS))
    for row in rows:
        kind, width, top_k = row[2], int(row[3]), int(row[4])
        values = [fvu_of(kind, width, top_k, seed) for seed in SEEDS]
        mean, spread = row[5].split(" ± ")
        check(f"mean of {row[:5]}", near(float(mean), statistics.mean(values), 0.06 * statistics.stdev(values)))
        check(f"deviation of {row[:5]}", near(float(spread), statistics.stdev(values), 0.051 * statistics.stdev(values)))
        check(f"equal values of {row[:5]}", row[6], f"{top_k - 0.5:g} ± 0")
        check(f"a missing metric of {row[:5]}", row[7], "–" if kind == "sae" else "0.125 ± 0")
        check(f"number of runs of {row[:5]}", (row[0], row[1]), ("▸ 3 seeds", "3"))
    sort = "document.querySelector('#numbers th[data-column=\"%s\"] button')"
    for name, column, read in (("fvu", 5, number), ("model.d_qk", 3, int), ("model.kind", 2, str), ("parameters", 8, number)):
        for direction in ("ascending", "descending"):
            page.click(sort % name)
            found = [read(row[column]) for row in value(TABLE)]
            check(f"{direction} by {name}", found, sorted(found, reverse=direction == "descending"))
            check(f"{name} says so", value(f"document.querySelector('#numbers th[data-column=\"{name}\"]').getAttribute('aria-sort')"), direction)
    page.click(sort % "dead_fraction")
    page.click(sort % "dead_fraction")
    check("rows without a value come last", [row[7] for row in value(TABLE)], ["0.125 ± 0"] * 8 + ["–"] * 8)
    page.click(sort % "fvu")
    before = value(TABLE)
    page.click("document.querySelector('#numbers .fold')")
    opened = value(TABLE)
    kind, width, top_k = before[0][2:5]
    check("single runs unfold beneath their row", [row[0] for row in opened[1:4]], [f"{kind}-{width}-{top_k}-{seed}" for seed in SEEDS])
    check("with their own numbers", [near(float(row[5]), fvu_of(kind, int(width), int(top_k), seed), 1e-4) for seed, row in enumerate(opened[1:4])], [True] * 3)
    page.click("document.querySelector('#numbers .fold')")
    check("and fold again", value(TABLE), before)


def check_curves(page):
    against_width = page.svg("fvu against model.d_qk by model.kind")
    check("a line for each kind, a point for each width", against_width["points"], [4, 4])
    check("dots are runs, means are widths", (against_width["dots"], against_width["means"]), (48, 8))
    check("widths stand on a log axis", {"10", "20", "50", "100", "200"} <= set(against_width["texts"]))
    check("names of the series", page.plot("fvu against model.d_qk by model.kind")["keys"], list(KINDS))
    check("names of the axes", page.plot("fvu against model.d_qk by model.kind")["axes"], ["↑ fvu", "model.d_qk →"])
    kinds = page.svg("fvu against model.kind")
    check("texts are categories", (set(KINDS) <= set(kinds["texts"]), kinds["points"], kinds["dots"], kinds["means"]), (True, [2], 48, 2))
    sizes = page.svg("fvu against parameters by model.kind, model.top_k")
    check("against a metric there is a point for each setting", (sizes["points"], sizes["dots"], sizes["means"]), ([4] * 4, 48, 16))
    tip = page.tip("fvu against model.d_qk by model.kind", ("circle.mean", 0)).split("\n")
    mean = statistics.mean(fvu_of("lorsa", 8, top_k, seed) for top_k in TOP_KS for seed in SEEDS)
    check("tip of a mean", (tip[0], near(float(tip[4].split(" ")[0]), mean, 1e-3), tip[-1]), ("lorsa", True, "6"))
    click = "document.querySelectorAll('figure.plot')[0].querySelectorAll('.keys button')[1]"
    page.click(click)
    page.read()
    check("a click hides a series", page.svg("fvu against model.d_qk by model.kind")["points"], [4])
    page.click(click)
    page.read()


def check_heat_maps(page):
    for kind in KINDS:
        plot = page.plot(f"fvu against model.d_qk and model.top_k by model.kind: {kind}")
        expected = [statistics.mean(fvu_of(kind, width, top_k, seed) for seed in SEEDS) for top_k in reversed(TOP_KS) for width in WIDTHS]
        found = [float(text) for text in plot["svgs"][0]["cells"]]
        check(f"cells of {kind}", len(found) == 8 and all(near(a, b, 6e-4) for a, b in zip(found, expected)))
        check(f"axes of the map of {kind}", plot["axes"], ["↑ model.top_k", "model.d_qk →"])


def check_fits(page):
    title = "fvu against model.d_qk by model.kind"
    fits = [plot for plot in page.all if plot["title"] == title and len(plot["svgs"]) == 2]
    check("one plot of fits", len(fits), 1)
    law, residuals = fits[0]["svgs"]
    check("points of both, the law of one", (law["means"], law["points"]), (8, [101]))
    check("residuals of the law", (residuals["means"], residuals["points"]), (4, []))
    for part in ("exponent 0.4 [0.31, 0.52]", "floor 0.05 [0, ∞]", "1.4 %", "left out 5 %"):
        check(f"legend of a fit: {part}", part in fits[0]["keys"][0])
    check("legend without a law", fits[0]["keys"][1], "sae: no law, y does not fall with x")
    tip = page.tip("residuals, % of fvu", ("circle.mean", 1)).split("\n")
    check("tip of a residual", tip[-1], "-2 %")


def check_measures(page):
    rules = page.plot("Rules: lorsa-8-4-0")
    check("bars of rules", (rules["svgs"][0]["bars"], rules["keys"]), (9, ["best unit", "MHSA head", "source share"]))
    tip = page.tip("Rules: lorsa-8-4-0", ("rect.bar", 1))
    check("tip of a rule", ("previous_token" in tip, "0.7" in tip, "0.4" in tip), (True, True, True))
    pairs = [plot for plot in page.all if plot["title"].startswith("Matches: ")]
    check("six pairs, the others folded", (len(pairs), pairs[0]["svgs"][0]["bars"]), (6, 9))
    shares = page.browser.value("[...document.querySelectorAll('#stability table tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))")
    check("shares of every pair", (len(shares), shares[0]),
          (8, ["lorsa-8-4-0 and lorsa-8-4-1", "400", "0.625", "0.6", "0.61", "0.75", "0.875", "0.72"]))
    page.click("document.querySelector('#stability details summary')")
    check("folded pairs draw", page.browser.wait("document.querySelectorAll('#stability details[open] rect.bar').length === 18"))
    check("as wide as the others", page.browser.value("document.querySelector('#stability details svg').clientWidth > 250"))
    names = "lorsa-8-4-0 beside sae-8-4-0"
    check("bars of the error vector", page.svg(f"Error vector: {names}")["bars"], 3)
    check("bars of the error norm", page.svg(f"Error norm: {names}")["bars"], 6)
    check("errors by target norm", (page.svg(f"Error by target norm: {names}")["points"], page.svg(f"Error by target norm: {names}")["means"]), ([6, 6], 12))
    check("unexplained by direction", page.svg(f"Unexplained by direction: {names}")["points"], [3, 3])
    # Two values up from 0, one down.
    bars = page.browser.value(f"""[...document.querySelectorAll('svg[aria-label="Error vector: {names}"] rect.bar')].map(
      (bar) => [Number(bar.getAttribute("y")), Number(bar.getAttribute("height"))])""")
    check("bars go up and down from 0", len(bars) == 3 and near(bars[0][0] + bars[0][1], bars[1][0] + bars[1][1], 0.21)
          and near(bars[2][0], bars[0][0] + bars[0][1], 0.21) and near(bars[0][1], 2 * bars[1][1], 0.3))


def check_bare(page):
    check("sections without data are absent", page.browser.value("[...document.querySelectorAll('main > section')].map((one) => one.id)"), ["runs"])
    check("a run alone", page.browser.value(TABLE), [["a2", "1", "2", "0.5", "–"], ["a4", "1", "4", "0.25", "–"]])
    check("no question", page.browser.value("document.getElementById('question').hidden"))


def check_looks(page, screenshots):
    for scheme, paper in (("dark", "rgb(20, 23, 28)"), ("light", "rgb(255, 255, 255)")):
        page.browser.prefer(scheme)
        check(f"{scheme}", page.browser.wait(f"getComputedStyle(document.body).backgroundColor === '{paper}'", 2.0))
        for part in page.browser.value("[...document.querySelectorAll('main > section')].map((one) => one.id)"):
            page.browser.value(f"document.getElementById('{part}').scrollIntoView()")
            page.browser.listen(0.1)
            page.browser.screenshot(screenshots / f"{page.name}-{part}-{scheme}.png")
    sizes = page.browser.value("[...document.querySelectorAll('.keys .swatch')].map((svg) => [svg.clientWidth, svg.clientHeight])")
    check(f"{page.name}: samples of the legends are small", len(sizes) > 5 and all(size == [22, 8] for size in sizes))
    heights = page.browser.value("[...document.querySelectorAll('#numbers thead th')].map((cell) => cell.clientHeight)")
    check(f"{page.name}: names of columns stand on one line", max(heights) < 40)
    cards = page.browser.value("Math.max(...[...document.querySelectorAll('figure.plot:not(#fits *)')].map((card) => card.clientHeight))")
    check(f"{page.name}: no plot is taller than a screen", cards < 600)
    check(f"{page.name}: nothing is wider than the page",
          page.browser.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def main():
    screenshots = pathlib.Path(sys.argv[1])
    with chromium.Chromium(chromium.find(), 1400, 900) as browser:
        full = Page(browser, "full", make_full())
        check("title", browser.value("document.title"), "Widths and heads – lorsa")
        check("question", browser.value("document.getElementById('question').textContent"), full.results["question"])
        check_table(full)
        check_curves(full)
        check_heat_maps(full)
        check_fits(full)
        check_measures(full)
        check_looks(full, screenshots)
        full.in_order()
        bare = Page(browser, "bare", make_bare())
        check_bare(bare)
        bare.in_order()
        hostile = Page(browser, "hostile", make_hostile())
        check("no element of a text", browser.value("document.querySelectorAll('main img, img[src=x]').length"), 0)
        check("nothing was harmed", browser.value("window.harmed === undefined"))
        check("texts are shown as they are", HOSTILE in browser.value("document.body.textContent"))
        hostile.in_order()
    with chromium.Chromium(chromium.find(), 400, 800) as browser:
        narrow = Page(browser, "narrow", make_full())
        check("narrow: as many plots", len(narrow.all), len(full.all))
        check_looks(narrow, screenshots)
        narrow.in_order()
    print(f"{counted['checks']} checks of the page, {counted['failed']} failed")
    return 1 if counted["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
