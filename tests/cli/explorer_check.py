"""Drives the explorer in Chromium; for explorer_test.sh.

    explorer_check.py DUMP MANY SCREENSHOTS

DUMP is a dump of lorsa-dump, MANY one of write_dump. What the page shows is compared with the dumps' JSON.
"""

import sys
import time

import chromium
from explorer_page import Dump, Page, check, check_head, check_trace, counted

OPEN_LIMIT_S = 2.0


# ---- The dump of a real Lorsa

def sorted_heads(dump, key, acting=True):
    heads = [h for h in dump.heads if h["count"] > 0 or not acting]
    return [h["head"] for h in sorted(heads, key=lambda h: (-key(h), h["head"]))]


def check_list(page):
    """Sorting and searching against the index."""
    rows = len(page.order())
    page.set("sort", "rate")
    check("by rate", page.order(), sorted_heads(page.dump, lambda h: h["count"])[:rows])
    page.set("sort", "max")
    check("by maximum", page.order(), sorted_heads(page.dump, lambda h: h["max"])[:rows])
    page.set("sort", "head")
    by_number = sorted_heads(page.dump, lambda h: -h["head"])
    check("by number", page.order(), by_number[:rows])
    page.browser.click(*page.middle("document.getElementById('reverse')"))
    check("reversed", page.order(), by_number[::-1][:rows])
    page.browser.click(*page.middle("document.getElementById('reverse')"))
    acting = [h for h in page.dump.heads if h["count"] > 0]
    page.set("acting", "silent")
    check("silent heads", page.found(), len(page.dump.heads) - len(acting))
    page.set("acting", "all")
    check("all heads", page.found(), len(page.dump.heads))
    page.set("acting", "acting")
    page.show(acting[0]["head"])
    page.set("search", "qk:2")
    check("the page says that its head is not in the list",
          page.browser.value("document.querySelector('#page .place').textContent"), "not in the list")
    page.set("search", "")
    check("and where it is again", page.browser.value("document.querySelector('#page .place').textContent"),
          f"1 of {len(acting)}")
    wanted = acting[len(acting) // 2]["top_tokens"][0].lower()
    page.type(wanted)
    matches = [h["head"] for h in acting
               if any(wanted in t.lower() for t in [*h["top_tokens"], h["peak_token"], h["source_token"]])]
    check("a token is found", page.order(), matches[:len(page.order())])
    check("so many heads have it", page.found(), len(matches))
    page.type("qk:2")
    check("heads of a QK head", page.order(), [h["head"] for h in acting if h["qk_head"] == 2])
    page.set("search", "")
    page.browser.press("Escape")


def check_keys(page):
    """From head to head in the list's order."""
    page.set("sort", "max")
    order = sorted_heads(page.dump, lambda h: h["max"])
    page.show(order[3])
    for key, place in (("j", 4), ("ArrowDown", 5), ("ArrowRight", 6), ("k", 5), ("ArrowUp", 4), ("ArrowLeft", 3)):
        page.browser.press(key)
        page.shows(order[place])
        check(f"{key}: the fragment", page.browser.value("location.hash"), f"#head={order[place]}")
        check(f"{key}: the list", page.browser.value("document.querySelector('.row.chosen').id"), f"row-{order[place]}")
    page.browser.press("?")
    check("? opens the help", page.browser.value("document.getElementById('help').open"))
    page.screenshot("help")
    page.browser.press("Escape")
    check("Esc closes the help", page.browser.wait("!document.getElementById('help').open", 2.0))
    page.type("#" + str(order[7]))
    page.browser.press("j")
    check("a letter typed into the search is no key", page.browser.value("location.hash"), f"#head={order[3]}")
    page.type("#" + str(order[7]))
    page.browser.press("Enter")
    page.shows(order[7])
    page.browser.press("/")
    page.browser.press("Escape")
    check("Esc leaves the search", page.browser.value("document.activeElement.id !== 'search'"))
    page.set("search", "")


def check_theme(page):
    paper = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(255, 255, 255)", "rgb(20, 23, 28)"
    page.browser.prefer("dark")
    check("the system's dark", page.browser.wait(f"{paper} === '{dark}'", 2.0))
    page.browser.prefer("light")
    check("the system's light", page.browser.wait(f"{paper} === '{light}'", 2.0))
    page.browser.click(*page.middle("document.getElementById('theme')"))
    check("dark by choice", page.browser.value(paper), dark)
    page.open("#head=0")
    check("the choice is remembered", page.browser.value(paper), dark)
    page.shows(0)
    page.screenshot("dark")
    page.browser.press("t")
    check("and back", page.browser.value(paper), light)


def check_focus(page):
    """Without a pointer: Tab goes from peak to peak."""
    page.browser.point(1, 1)
    page.browser.value("document.querySelectorAll('.peak')[1].focus()")
    traced = "[...document.querySelectorAll('.context')].map((context) => context.classList.contains('tracing')).indexOf(true)"
    check("the peak with the focus is traced", page.browser.value(traced), 0)
    page.browser.press("Tab")
    check("Tab goes to the next peak", page.browser.value(traced), 1)
    page.browser.press("Escape")
    check("Esc leaves it", page.browser.value(traced), -1)


def check_real(page):
    page.open()
    check("no families without scores", page.browser.value("document.getElementById('families').hidden"))
    check("no layers in a dump of one", page.browser.value("document.getElementById('layers').hidden"))
    page.screenshot("overview")
    page.in_order("the overview")
    check_list(page)
    check_keys(page)
    page.in_order("list and keys")
    traced = 0
    for head in [h["head"] for h in page.dump.heads if h["count"] > 0][::5]:
        record = check_head(page, head)
        for place in range(min(2, len(record["contexts"]))):
            check_trace(page, record["contexts"][place], place)
            traced += 1
    check(f"{traced} contexts were traced", traced > 10)
    check_focus(page)
    page.browser.point(*page.middle("document.querySelectorAll('.context .peak')[1]"))
    page.browser.listen(0.25)
    page.screenshot("trace")
    check_theme(page)
    page.browser.value("void (location.hash = 'head=100000')")
    check("a head that does not exist is said so",
          page.browser.wait("document.getElementById('page').textContent.includes('There is no head 100000')", 5.0))
    page.in_order("heads")


# ---- 32,768 heads with hostile texts

ROWS_SHOWN_MS = """new Promise((done) => { const look = () => document.querySelector("#rows .row")
  ? requestAnimationFrame(() => done(performance.now())) : requestAnimationFrame(look); look(); })"""


def check_speed(page):
    """From the navigation until rows are on the screen; the page's own clock starts with the navigation."""
    times = []
    for _ in range(3):
        page.browser.open("about:blank")
        page.browser.clear()
        start = time.monotonic()
        page.browser.open(page.dump.url)
        page.browser.wait("document.querySelector('#rows')")
        inside = page.browser.value(ROWS_SHOWN_MS) / 1000
        times.append((time.monotonic() - start, inside))
    outside, inside = times[0]  # the first: no compiled code is kept yet
    print(f"open: {len(page.dump.heads)} heads listed {inside:.2f} s after navigation by the page's clock, {outside:.2f} s by "
          f"the driver's; again {', '.join(f'{again:.2f} s' for _, again in times[1:])}")
    check(f"the list opens within {OPEN_LIMIT_S:g} s ({outside:.2f} s)", outside < OPEN_LIMIT_S)
    check("few rows are in the document", len(page.order()) < 100)
    for head in (70, len(page.dump.heads) - 2):
        start = time.monotonic()
        page.show(head)
        print(f"open: head {head} shown after {time.monotonic() - start:.2f} s")


def check_hostile(page):
    record = check_head(page, 0)
    check("no element of a text", page.browser.value("document.querySelectorAll('img, svg[onload], iframe, b b').length"), 0)
    check("scripts of data are gone once they are read", page.browser.value("document.querySelectorAll('head script').length"), 1)
    text = page.browser.value("document.querySelector('.context .text').textContent")
    for literal in ('<img src=x onerror="window.harmed=1">', "</script><script>window.harmed=1</script>", "&lt;b&gt;&amp;",
                    "back\\slash 'single' \"double\" `tick`", "\U0001F600", "U+202Edesrever", "U+2028lineU+2029paragraph",
                    "zeroU+200BwidthU+FEFF", "noU+00A0breakU+3000wide", "U+0007U+001B[31mbellU+007F", "···spaces···",
                    "\u25cc\u0301accent", "\ufffd", "↵", "שלום"):
        check(f"shown as text: {literal!r}", literal in text)
    check("no hidden character is in the document",
          page.browser.value(r"/[\u202a-\u202e\u2066-\u2069\u200b-\u200f\u2028\u2029\ufeff\u0007]/.test(document.body.textContent)"),
          False)
    for place in (0, len(record["contexts"]) - 1):
        check_trace(page, record["contexts"][place], place)
    page.screenshot("hostile")
    page.in_order("hostile texts")


def check_optional(page):
    """Families, layers, samples and shares of the original's heads."""
    record = check_head(page, 5)
    value = page.browser.value
    check("samples", value("[...document.querySelectorAll('.sample')].map((s) => [s.dataset.sample, s.querySelectorAll('.context').length])"),
          [["top", 12], ["quantile", 3], ["non_firing", 2]])
    check("quantiles", "stronger than 30\u00a0% of its activations" in value("document.querySelector('.sample[data-sample=quantile]').innerText"))
    tables = value("[...document.querySelectorAll('table.scores')].map((t) => [...t.rows].map((r) => r.cells[0].textContent))")
    families = sorted(record["family_scores"], key=lambda name: -record["family_scores"][name])
    check("families and original heads", tables, [families, [f"head {head}" for head, _ in record["mhsa_overlap"]]])
    for place in (0, 12, 16):
        check_trace(page, record["contexts"][place], place)
    page.screenshot("optional")
    scores = lambda h: h.get("family_scores", {}).get("induction", float("-inf"))
    page.set("sort", "family:induction")
    check("by family score", page.order()[:20], sorted_heads(page.dump, scores)[:20])
    check("the best of the family", page.order()[0], 555)
    page.set("family", "induction")
    page.set("least", "0.8")
    check("filtered by family", page.found(), sum(1 for h in page.dump.heads if h["count"] > 0 and scores(h) >= 0.8))
    page.set("layer", "4")
    check("and by layer", page.found(),
          sum(1 for h in page.dump.heads if h["count"] > 0 and scores(h) >= 0.8 and h["layer"] == 4))
    page.set("family", "")
    page.set("layer", "")
    page.set("sort", "layer")
    page.browser.click(*page.middle("document.getElementById('reverse')"))
    check("by layer", page.dump.heads[page.order()[0]]["layer"], 4)
    page.set("sort", "max")
    check("the largest maximum", page.order()[0], 4242)


def check_many(page):
    check_speed(page)
    page.in_order("opening")
    page.screenshot("many")
    page.type("Xylophone")
    check("the search finds a known head", (page.found(), page.order()), (1, [777]))
    page.screenshot("search")
    page.type("qk:3")
    check("QK head 3 of both layers", page.found(),
          sum(1 for h in page.dump.heads if h["qk_head"] == 3 and h["count"] > 0))
    page.set("search", "")
    page.browser.press("Escape")
    check_optional(page)
    check_hostile(page)
    page.show(1)
    check("a silent head", page.browser.value("document.getElementById('page').textContent.includes('Silent on all')"))
    page.browser.value("void (document.getElementById('list').scrollTop = 1e7)")
    last = sorted_heads(page.dump, lambda h: h["max"])[-1]
    check("the end of the list", page.browser.wait(f"document.getElementById('row-{last}')", 2.0))
    page.in_order("many heads")


def main():
    dump, many, screenshots = sys.argv[1:]
    with chromium.Chromium(chromium.find(), 1440, 900) as browser:
        check_real(Page(browser, Dump(dump), screenshots))
        browser.prefer("light")
        check_many(Page(browser, Dump(many), screenshots))
    print(f"{counted['checks']} checks of the page, {counted['failed']} failed")
    return 1 if counted["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
