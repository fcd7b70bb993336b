"""One page about a run that opens without a network: figures, and plots drawn here as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from rules.rulebook import Rulebook

_BAR: Final = 18
_LONGEST_NAME: Final = 52
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}dl{display:grid;grid-template-columns:auto 1fr;gap:.2rem 1rem}"
    "dt{color:#57606a}dd{margin:0}svg{max-width:100%}text{font:12px system-ui,sans-serif;fill:#1b1f24}"
    "rect{fill:#0b5cad}.critical rect{fill:#b3261e}small{color:#57606a}"
)


def summary_page(told: Mapping[str, Any], rulebook: Rulebook) -> str:
    """The page of a run; the same bytes for the same account."""
    patients = told["patients"]
    facts = {
        "Reviewed as of": told["as_of"],
        "Patients": f"{patients['in']:,} ({patients['reviewed']:,} reviewed, {patients['rejected']:,} rejected)",
        "Nothing to say": f"{patients['nothing_to_say']:,}",
        "Recommendations": f"{sum(told['firings'].values()):,}",
        "Rejected lines and files": f"{sum(told['rejects'].values()):,}",
        "Rules that broke": f"{told['failures']:,}",
        "Not part of the data": ", ".join(
            rulebook.vocabulary.title(one) for one in told["not_fetched"]
        )
        or "nothing",
        "Knowledge": ", ".join(f"{name} {version}" for name, version in told["knowledge"].items()),
    }
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Population review</title>",
        f"<style>{_STYLE}</style><h1>Population review</h1><dl>",
        *(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items()),
        "</dl>",
        _plot(
            "Recommendations by rule",
            {_title(one, rulebook): n for one, n in _most(told["firings"])},
        ),
        _plot(
            "What could not be read, by reason",
            {one.replace("-", " "): n for one, n in _most(told["gaps"])},
        ),
        _plot("Rejects by reason", {one.replace("-", " "): n for one, n in _most(told["rejects"])}),
    ]
    for name, counts in told["distributions"].items():
        kind, _, what = name.partition(":")
        title = rulebook.vocabulary.title(what)
        if kind == "age":
            parts.append(_plot(f"Age of results: {title}", _bands(counts, 30, "days", 12)))
        else:
            parts.append(
                _plot("Daily vitamin D intake", _bands(counts, 500, "international units", 20))
            )
    parts.append(
        "<p><small>Decision support for clinicians; every number is explained in recommendations.csv and DetectedIssue.ndjson.</small></p></html>\n"
    )
    return "\n".join(part for part in parts if part)


def _title(rule: str, rulebook: Rulebook) -> str:
    card = rulebook.cards.get(rule)
    return card.title if card else rule


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def _bands(counts: Mapping[str, int], width: int, unit: str, most: int) -> dict[str, int]:
    """Counts by band of equal width; all from the last band on stand together."""
    bands: dict[str, int] = {}
    for number in range(max((min(int(one), most) for one in counts), default=-1) + 1):
        count = sum(n for one, n in counts.items() if min(int(one), most) == number)
        name = f"{number * width:,} to {(number + 1) * width - 1:,} {unit}"
        bands[f"{most * width:,} {unit} or more" if number == most else name] = count
    return bands


def _plot(title: str, bars: Mapping[str, int]) -> str:
    """Horizontal bars with their numbers; readable without colour, and by a screen reader."""
    if not bars:
        return ""
    longest = max(bars.values()) or 1
    rows = []
    for place, (name, count) in enumerate(bars.items()):
        top = place * (_BAR + 6)
        length = round(380 * count / longest, 1)
        shown = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
        rows.append(
            f"<text x='330' y='{top + 13}' text-anchor='end'>{escape(shown)}</text>"
            f"<rect x='340' y='{top}' width='{length}' height='{_BAR}'><title>{escape(name)}: {count:,}</title></rect>"
            f"<text x='{345 + length}' y='{top + 13}'>{count:,}</text>"
        )
    height = len(bars) * (_BAR + 6)
    return (
        f"<h2>{escape(title)}</h2><svg viewBox='0 0 790 {height}' width='790' height='{height}' role='img' "
        f"aria-label='{escape(title, quote=True)}'>{''.join(rows)}</svg>"
    )
