"""One page about a run that opens without a network: figures, tables with bars, and plots drawn here as SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, Final

from rules.rulebook import Rulebook

_STYLE: Final = Path(__file__).with_suffix(".css")
# Widths in which the run counts (answers.py), and the band in which the rest stands together
_AGE_DAYS: Final = 30
_AGE_BANDS: Final = 24
_INTAKE_UNITS: Final = 500
_INTAKE_BANDS: Final = 20
_MOST_FILES: Final = 25
_URGENCIES: Final = (("critical", "critical"), ("warning", "warnings"), ("info", "information"))


def summary_page(told: Mapping[str, Any], rulebook: Rulebook) -> str:
    """The page of a run; the same bytes for the same account."""
    moment = datetime.fromisoformat(told["as_of"])
    when = f"{moment:%d %B %Y, %H:%M} {moment.tzname() or ''}".strip().lstrip("0")
    whose = f", as client {told['client']}" if told.get("client") else ""
    title = f"Population review of {when}"
    body = [
        (
            f"<header><h1>Population review</h1><p class='quiet'>As of {escape(when)}{escape(whose)}; "
            f"vitamin D bands {escape(told['profile'])}.</p></header><main>"
        ),
        _figures(told),
        _bars(
            "Recommendations by rule",
            ("Rule", "Number"),
            ((_rule(one, rulebook), n) for one, n in _most(told["firings"])),
            none="No rule spoke.",
        ),
        "<div class='pair'>",
        _bars(
            "What could not be read or had",
            ("Reason", "Number"),
            ((_words(one), n) for one, n in _most(told["gaps"])),
            note=_not_fetched(told, rulebook),
            none="No gap was noted.",
        ),
        _bars(
            "Rejected lines and files",
            ("Reason", "Number"),
            ((_words(one), n) for one, n in _most(told["rejects"])),
            note="Place and reason of each: rejects.ndjson." if told["rejects"] else "",
            none="Nothing was rejected.",
        ),
        "</div>",
        _ages(told["distributions"], rulebook),
        _intake(told["distributions"].get("intake:vitamin-d", {})),
        _inputs(told),
        (
            "</main><footer><p>Decision support for health professionals. Every recommendation with its reasons: "
            "recommendations.csv and DetectedIssue.ndjson.</p></footer>"
        ),
    ]
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>\n{_STYLE.read_text(encoding='utf-8')}</style></head><body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def _figures(told: Mapping[str, Any]) -> str:
    patients, urgencies = told["patients"], told["indicators"]
    spoken = patients["reviewed"] - patients["nothing_to_say"]
    untriggered = patients["untriggered"]
    context = f"; {untriggered:,} with context only" if untriggered else ""
    tiles = [
        ("", "Patients reviewed", patients["reviewed"], f"of {patients['in']:,}{context}"),
        ("", "With something to say", spoken, _share(spoken, patients["reviewed"])),
        *(
            (name if urgencies.get(name) else "", words.capitalize(), urgencies.get(name, 0), "")
            for name, words in _URGENCIES
        ),
        ("", "Rejects", sum(told["rejects"].values()), ""),
        ("critical" if told["failures"] else "", "Rules that broke", told["failures"], ""),
    ]
    if told["deletions"]["listed"]:
        gone = told["deletions"]
        tiles.append(
            ("", "Deleted records left out", gone["applied"], f"of {gone['listed']:,} listed")
        )
    made = "".join(
        f"<div class='{kind}'><dt>{escape(name)}</dt><dd>{number:,}"
        + (f"<small>{escape(more)}</small>" if more else "")
        + "</dd></div>"
        for kind, name, number, more in tiles
    )
    return f"<dl class='figures'>{made}</dl>"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def _not_fetched(told: Mapping[str, Any], rulebook: Rulebook) -> str:
    if not told["not_fetched"]:
        return ""
    by_reason: dict[str, list[str]] = {}
    for source, reason in told["not_fetched"].items():
        by_reason.setdefault(reason, []).append(rulebook.vocabulary.title(source))
    names = "; ".join(f"{', '.join(held)} ({reason})" for reason, held in by_reason.items())
    return f"Not part of the data, and never taken for absent: {names}."


def _bars(
    title: str,
    heads: tuple[str, str],
    rows: Iterable[tuple[str, int]],
    *,
    note: str = "",
    none: str,
) -> str:
    """A table whose rows carry a bar; readable without colour, by a screen reader, and on a narrow screen."""
    listed = list(rows)
    said = f"<p class='quiet'>{escape(note)}</p>" if note else ""
    if not listed:
        return f"<section><h2>{escape(title)}</h2><p>{escape(none)}</p>{said}</section>"
    longest = max(number for _, number in listed)
    lines = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td><svg viewBox='0 0 100 8' preserveAspectRatio='none' aria-hidden='true'>"
        f"<rect class='track' width='100' height='8'/><rect class='bar' width='{round(100 * number / longest, 2)}' height='8'/>"
        f"</svg></td><td class='n'>{number:,}</td></tr>"
        for name, number in listed
    )
    head = f"<thead><tr><th scope='col'>{heads[0]}</th><td></td><th scope='col' class='n'>{heads[1]}</th></tr></thead>"
    return f"<section><h2>{escape(title)}</h2><table class='bars'>{head}<tbody>{lines}</tbody></table>{said}</section>"


def _ages(distributions: Mapping[str, Mapping[str, int]], rulebook: Rulebook) -> str:
    plots = [
        _columns(
            rulebook.vocabulary.title(name.partition(":")[2]),
            _banded(counts, _AGE_BANDS),
            ((0, "today"), (12, "1 year"), (_AGE_BANDS, "older")),
            lambda band: _band(band, _AGE_DAYS, _AGE_BANDS, "days old", "days old or more"),
            "results",
        )
        for name, counts in distributions.items()
        if name.startswith("age:")
    ]
    if not plots:
        return ""
    note = "<p class='quiet'>Each column is 30 days; the last one holds all older results.</p>"
    return (
        f"<section><h2>Age of results</h2>{note}<div class='plots'>{''.join(plots)}</div></section>"
    )


def _intake(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    marks = ((0, "0"), (4, "2,000"), (8, "4,000"), (20, "10,000 or more"))
    plot = _columns(
        "Patients by daily intake",
        _banded(counts, _INTAKE_BANDS),
        marks,
        lambda band: _band(
            band, _INTAKE_UNITS, _INTAKE_BANDS, "international units", "international units or more"
        ),
        "patients",
        step=20,
    )
    note = "<p class='quiet'>International units a day of all products together, where the dose is known.</p>"
    return f"<section class='wide'><h2>Vitamin D intake</h2>{note}{plot}</section>"


def _banded(counts: Mapping[str, int], most: int) -> list[int]:
    bands = [0] * (most + 1)
    for name, number in counts.items():
        bands[min(int(name), most)] += number
    return bands


def _band(band: int, width: int, most: int, unit: str, last: str) -> str:
    if band == most:
        return f"{most * width:,} {last}"
    return f"{band * width:,} to {(band + 1) * width - 1:,} {unit}"


def _columns(
    title: str,
    bands: list[int],
    marks: Iterable[tuple[int, str]],
    name: Callable[[int], str],
    what: str,
    *,
    step: int = 10,
) -> str:
    """A histogram with its numbers beside it, folded."""
    tall = 64
    wide = len(bands) * step
    top = max(bands) or 1
    columns = "".join(
        f"<rect class='bar' x='{band * step + 1}' y='{round(tall - tall * number / top, 1) + 4}' width='{step - 2}' "
        f"height='{round(tall * number / top, 1)}'><title>{escape(name(band))}: {number:,}</title></rect>"
        for band, number in enumerate(bands)
        if number
    )
    words = "".join(
        f"<text x='{wide if band == len(bands) - 1 else band * step}' y='{tall + 18}'"
        f" text-anchor='{'end' if band == len(bands) - 1 else 'start'}'>{escape(words)}</text>"
        for band, words in marks
    )
    total = f"{sum(bands):,} {what}"
    rows = "".join(
        f"<tr><th scope='row'>{escape(name(band))}</th><td class='n'>{number:,}</td></tr>"
        for band, number in enumerate(bands)
        if number
    )
    return (
        f"<figure><h3>{escape(title)} <span class='quiet'>{total}</span></h3>"
        f"<svg viewBox='0 0 {wide} {tall + 22}' role='img' aria-label='{escape(title, quote=True)}, {total}: numbers below'>"
        f"<line class='base' x1='0' x2='{wide}' y1='{tall + 4.5}' y2='{tall + 4.5}'/>{columns}{words}</svg>"
        f"<details><summary>Numbers<span class='quiet'> of {escape(title)}</span></summary><table><tbody>{rows}</tbody></table></details></figure>"
    )


def _inputs(told: Mapping[str, Any]) -> str:
    files = told["inputs"]
    rows = "".join(
        f"<tr><th scope='row'>{escape(one['file'])}</th><td class='word'>{escape(one['type'])}</td>"
        f"<td class='n'>{one['lines']:,}</td></tr>"
        for one in sorted(files, key=lambda one: (-one["bytes"], one["file"]))[:_MOST_FILES]
    )
    more = len(files) - _MOST_FILES
    rest = f"<p class='quiet'>And {more:,} smaller files: run.json.</p>" if more > 0 else ""
    packs = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{escape(mark)}</td></tr>"
        for name, mark in told["knowledge"].items()
    )
    maps = "".join(
        f"<tr><th scope='row'>Local codes: {escape(one['map'])}</th><td>{escape(one['version'])}, "
        f"{one['used']:,} codes in use, {one['of_no_concern']:,} of no concern, "
        f"{sum(one['not_usable'].values()):,} not usable</td></tr>"
        for one in told.get("code_maps", ())
    )
    size = sum(one["bytes"] for one in files)
    return (
        f"<section><h2>Where it comes from</h2><details><summary>{len(files):,} files, {size:,} bytes</summary>"
        "<table><thead><tr><th scope='col'>File</th><th scope='col'>Type</th><th scope='col' class='n'>Lines</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>{rest}</details>"
        f"<details open><summary>Knowledge</summary><table><tbody>{packs}{maps}</tbody></table></details></section>"
    )


def _rule(rule: str, rulebook: Rulebook) -> str:
    card = rulebook.cards.get(rule)
    return card.title if card else rule


def _words(code: str) -> str:
    words = code.replace("-", " ").capitalize()
    return words.replace("fhir", "FHIR").replace("json", "JSON")


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))
