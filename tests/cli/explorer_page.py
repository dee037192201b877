"""What the explorer shows, compared with a dump's JSON; for explorer_check.py."""

import json
import pathlib

counted = {"checks": 0, "failed": 0}


def check(what, found, expected=True):
    counted["checks"] += 1
    if found != expected:
        counted["failed"] += 1
        print(f"FAILED: {what}: expected {expected!r}, found {found!r}")


def near(a, b, tolerance):
    return abs(a - b) <= tolerance


class Dump:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder).resolve()
        self.index = json.loads((self.folder / "index.json").read_text())
        self.heads = self.index["heads"]
        self.url = (self.folder / "explorer" / "index.html").as_uri()

    def record(self, head):
        shard = self.folder / self.index["shards"][head // self.index["heads_per_shard"]]
        with shard.open() as lines:
            return next(json.loads(line) for line in lines if line.startswith(f'{{"head":{head},'))


class Page:
    """The explorer in the browser, with what a reader would look at."""

    def __init__(self, browser, dump, screenshots):
        self.browser, self.dump, self.screenshots = browser, dump, pathlib.Path(screenshots)

    def open(self, fragment=""):
        self.browser.open("about:blank")
        self.browser.open(self.dump.url + fragment)
        check(f"the list of {self.dump.url}{fragment} opens", self.browser.wait("document.querySelector('#rows .row')"))

    def show(self, head):
        self.browser.value(f"void (location.hash = 'head={head}')")
        self.shows(head)

    def shows(self, head, within_s=20.0):
        shown = f"document.querySelector('#page h2') && document.querySelector('#page h2').textContent === 'Head {head}'"
        check(f"head {head} is shown", self.browser.wait(shown, within_s))

    def order(self):
        """The heads of the list that are in the document, from the top on."""
        return self.browser.value("[...document.querySelectorAll('#rows .row')].map((row) => Number(row.id.slice(4)))")

    def found(self):
        return int(self.browser.value("document.getElementById('found').textContent").split()[0].replace(",", ""))

    def set(self, control, value):
        self.browser.value(f"""void (() => {{ const control = document.getElementById({json.dumps(control)});
          control.value = {json.dumps(value)}; control.dispatchEvent(new Event("input", {{bubbles: true}})); }})()""")

    def type(self, text):
        """Into the search, as a reader does."""
        self.browser.press("Escape")
        self.set("search", "")
        self.browser.press("/")
        check("/ goes to the search", self.browser.value("document.activeElement.id"), "search")
        self.browser.send("Input.insertText", text=text)

    def middle(self, element):
        """A point on an element, scrolled into view; scrolling is over when this returns."""
        self.browser.value(f"""new Promise((done) => {{ ({element}).scrollIntoView({{block: "center"}});
          requestAnimationFrame(() => requestAnimationFrame(() => done())); }})""")
        return self.browser.value(f"""(() => {{ const element = {element};
          const box = [...element.getClientRects()].reduce((a, b) => (b.width > a.width ? b : a));
          return [box.left + box.width / 2, box.top + box.height / 2]; }})()""")

    def screenshot(self, name):
        self.browser.screenshot(self.screenshots / f"{name}.png")

    def in_order(self, what):
        check(f"{what}: exceptions, warnings, dialogs", self.browser.complaints(), [])
        check(f"{what}: nothing from outside the folder",
              [url for url in self.browser.requests() if not url.startswith(("file:///", "about:"))], [])
        check(f"{what}: nothing ran", self.browser.value("window.harmed === undefined"))
        self.browser.clear()


# ---- Pointing at a peak

TRACE = """(() => { const context = document.querySelectorAll(".context")[%d];
  const alpha = (span) => { const parts = getComputedStyle(span).backgroundColor.match(/[\\d.]+/g);
    return parts.length > 3 ? Number(parts[3]) : 1; };
  const layer = context.querySelector(".arcs"), frame = layer.getBoundingClientRect();
  const end = (path, at) => { const p = path.getPointAtLength(at * path.getTotalLength());
    return [p.x + frame.left, p.y + frame.top]; };
  const box = (span) => { const r = [...span.getClientRects()].reduce((a, b) => (b.width > a.width ? b : a));
    return [r.left, r.top, r.right, r.bottom]; };
  return {tracing: context.classList.contains("tracing"),
    tokens: [...context.querySelectorAll(".t")].map((span) => ({position: Number(span.dataset.position), alpha: alpha(span),
      source: span.classList.contains("source"), box: box(span), text: span.textContent})),
    peak: box(context.querySelector(".peak")), note: document.getElementById("note").hidden
      ? "" : document.getElementById("note").innerText,
    arcs: [...layer.children].map((path) => ({position: Number(path.dataset.position),
      from: end(path, 0), to: end(path, 1), width: Number(path.getAttribute("stroke-width"))}))}; })()"""


def shown_positions(context):
    inside = range(context["first"], context["first"] + len(context["tokens"]))
    return [*inside, *(snippet["position"] for snippet in context["outside"])]


def check_trace(page, context, place):
    """Points at the peak of a context: what lights up is its z-pattern."""
    what = f"context {place} of row {context['row']}"
    browser = page.browser
    browser.point(1, 1)
    page.middle(f"document.querySelectorAll('.context')[{place}]")
    rest = browser.value(TRACE % place)
    check(f"{what}: nothing is traced at rest", (rest["tracing"], rest["arcs"]), (False, []))
    browser.point(*page.middle(f"document.querySelectorAll('.context')[{place}].querySelector('.peak')"))
    browser.wait(f"document.querySelectorAll('.context')[{place}].classList.contains('tracing')", 2.0)
    browser.listen(0.25)  # colours change within 0.12 s
    trace = browser.value(TRACE % place)
    check(f"{what}: traced", trace["tracing"])
    weights = {position: weight for position, weight in context["z_pattern"] if position in shown_positions(context)}
    check(f"{what}: sources", sorted(t["position"] for t in trace["tokens"] if t["source"]), sorted(weights))
    largest = max(abs(weight) for _, weight in context["z_pattern"])
    for token in trace["tokens"]:
        share = abs(weights.get(token["position"], 0.0)) / largest if token["source"] else 0.0
        check(f"{what}: colour at {token['position']} ({token['alpha']}, share {share})", near(token["alpha"], 0.7 * share, 0.01))
    strong = sorted((p for p in weights if abs(weights[p]) >= 0.05 * largest), key=lambda p: (-abs(weights[p]), p))[:12]
    check(f"{what}: arcs", sorted(arc["position"] for arc in trace["arcs"]), sorted(strong))
    boxes = {t["position"]: t["box"] for t in trace["tokens"] if t["source"]}
    for arc in trace["arcs"]:
        left, top, right, _ = boxes[arc["position"]]
        check(f"{what}: the arc leaves from {arc['position']}",
              left - 1 <= arc["from"][0] <= right + 1 and near(arc["from"][1], top, 1.5))
        left, top, right, _ = trace["peak"]
        check(f"{what}: the arc from {arc['position']} ends at the peak", near(arc["to"][1], top, 1.5)
              and left - 1 <= arc["to"][0] <= right + 1 + (10 if arc["position"] == context["position"] else 0))
    check(f"{what}: the note tells the position", f"position {context['position']}" in trace["note"])
    others = [position for position in strong if position != context["position"]]
    if others:  # a source, pointed at, shows its own arc
        browser.point(*page.middle(f"document.querySelectorAll('.context')[{place}].querySelector('.source[data-position=\"{others[0]}\"]')"))
        alone = f"[...document.querySelectorAll('.context')[{place}].querySelectorAll('.arcs path')].map((arc) => arc.dataset.position).join()"
        check(f"{what}: the arc of {others[0]} alone", browser.wait(f"{alone} === '{others[0]}'", 2.0))


def check_context(page, context, place, record):
    tokens = page.browser.value(f"""[...document.querySelectorAll('.context')[{place}].querySelectorAll('.text > .t')]
      .map((span) => [Number(span.dataset.position), Number(span.style.getPropertyValue("--a"))])""")
    check(f"context {place}: positions", [t[0] for t in tokens],
          list(range(context["first"], context["first"] + len(context["tokens"]))))
    for (_, shown), activation in zip(tokens, context["activations"]):
        check(f"context {place}: colour of an activation",
              near(shown, min(1.0, abs(activation) / record["max"]), 0.0006))


def check_head(page, head):
    """The page of a head against its record."""
    record = page.dump.record(head)
    page.show(head)
    value = page.browser.value
    check(f"head {head}: contexts", value("document.querySelectorAll('.context').length"), len(record["contexts"]))
    for side, kind in (("top", "raises"), ("bottom", "lowers")):
        check(f"head {head}: {side} logits", value(f"document.querySelectorAll('.{kind} tr').length"),
              len(record["logit_effect"][side]))
    if record["count"] > 0:
        bars = value("[...document.querySelectorAll('.chart .bar title')].map((title) => title.textContent)")
        counts = [int(bar.split(": ")[1].split()[0].replace(",", "")) for bar in bars]
        check(f"head {head}: histogram", counts, record["histogram"]["counts"])
    mates = [other["head"] for other in page.dump.heads
             if other["qk_head"] == record["qk_head"] and other.get("layer") == record.get("layer")
             and other["head"] != head and other["count"] > 0]
    mates.sort(key=lambda other: (-page.dump.heads[other]["count"], other))
    check(f"head {head}: group-mates", value("[...document.querySelectorAll('.wide .mates a')].map((a) => +a.hash.slice(6))"),
          mates[:12])
    for place, context in enumerate(record["contexts"]):
        check_context(page, context, place, record)
    return record
