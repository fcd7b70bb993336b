"""What every page owes whoever cannot use it as drawn: axe finds nothing, 320 px are enough, targets can be hit."""

import json
from pathlib import Path

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Links inside a sentence are exempt (WCAG 2.2, 2.5.8); all others are not
TARGETS = "button, select, input:not([type=hidden]), summary, .btn, .tabs a, .views a, nav a, .switch a, .exports a, .links a"
LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "forced-light": {"forced_colors": "active", "color_scheme": "light"},
    "forced-dark": {"forced_colors": "active", "color_scheme": "dark"},
}


def look_over(page, *, unfold=True, rules=None):
    """Open all that is folded, unless the page is to be seen as it is, then hold it to the above.

    ``rules`` are settings of axe for single rules.
    """
    if unfold:
        _unfold(page)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "([tags, rules]) => axe.run(document, {runOnly: {type: 'tag', values: tags}, rules})"
        ".then(r => r.violations.map(v => [v.id, v.nodes.map(n => n.html + ' ' + (n.any[0] || {}).message).slice(0, 3)]))",
        [TAGS, rules or {}],
    )
    assert not found, json.dumps(found, indent=1)
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    small = page.evaluate(
        """targets => [...document.querySelectorAll(targets)]
        .filter((one) => one.getClientRects().length && getComputedStyle(one).visibility !== "hidden")
        .map((one) => [one.outerHTML.slice(0, 90), one.getBoundingClientRect()])
        .filter(([, box]) => box.width && (box.height < 24 || box.width < 24)).map(([html]) => html)""",
        TARGETS,
    )
    assert not small
    cut = page.evaluate(
        """() => [...document.querySelectorAll("#main select, #main button, #main input:not([type=hidden])")]
        .filter((one) => one.getClientRects().length && !one.closest(".plot-frame, .wide, .drop"))
        .map((one) => [one.outerHTML.slice(0, 90), one.getBoundingClientRect()])
        .filter(([, box]) => box.width && (box.left < -1 || box.right > 321)).map(([html]) => html)"""
    )
    assert not cut, "controls stand outside a screen of 320 px"
    broken = page.evaluate(
        r"""() => {
          const found = [];
          const texts = document.createTreeWalker(document.querySelector("main") || document.body, NodeFilter.SHOW_TEXT);
          while (texts.nextNode()) {
            const text = texts.currentNode;
            if (!text.parentElement.closest("td, th") || text.parentElement.closest("pre, code, .visually-hidden")) continue;
            for (const word of text.data.matchAll(/(?<![^\s("])[A-Za-z]{4,20}(?![^\s,.;:)"])/g)) {
              const range = document.createRange();
              range.setStart(text, word.index);
              range.setEnd(text, word.index + word[0].length);
              const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
              if (lines.size > 1) found.push(word[0]);
            }
          }
          return found.slice(0, 5);
        }"""
    )
    assert not broken, f"words are broken inside at 320 px: {broken}"


def _unfold(page):
    # An open "Keep this view" lies over its neighbours, as a menu does; menus are looked at by themselves
    for details in page.locator("details:not(.keep)").all():
        details.evaluate("one => { one.name = ''; one.open = true; }")
