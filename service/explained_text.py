"""An explanation for people at a terminal: what was found, why, on what data, and what nobody could read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_STYLES: Final = {"critical": "bold white on red", "warning": "bold yellow", "info": "bold cyan"}
_BORDERS: Final = {"critical": "red", "warning": "yellow", "info": "cyan"}


def print_explanation(told: Mapping[str, Any], console: Console | None = None) -> None:
    """Print one explanation as made by ``service.explanation``."""
    out = console or Console(highlight=False)
    provenance = told["provenance"]
    patient = told["patient"]
    who = ", ".join(
        words
        for words in (
            _age(patient["age_years"]) if "age_years" in patient else "age unknown",
            patient.get("sex", ""),
        )
        if words
    )
    out.print()
    out.print(
        f"[bold]Patient {escape(patient['id'] or '(no id)')}[/], {who}; reviewed as of {told['as_of']}"
    )
    recommendations = told["recommendations"]
    for one in recommendations:
        out.print(_panel(one))
    if not recommendations:
        out.print(Padding(_silence(told), (1, 2)))
    _print_list(
        out,
        "Could matter here, and could not be read",
        [n["detail"] for n in told["notices"]],
        "yellow",
    )
    _print_list(
        out,
        "Gave way",
        [f"{one['rule']}, because {one['by']} says more" for one in told["superseded"]],
        "dim",
    )
    _print_list(
        out, "Kept silent", [f"{one['rule']}: {one['reason']}" for one in told["suppressed"]], "dim"
    )
    _print_list(
        out,
        "Gaps in the data",
        [_gap_line(gap) for gap in told["gaps"]],
        "dim",
    )
    _print_list(
        out,
        "Rules that broke (everything else was evaluated)",
        [f"{one['rule']}: {one['error']}" for one in told["failures"]],
        "red",
    )
    packs = ", ".join(f"{name} {version}" for name, version in _versions(provenance["packs"]))
    out.print(
        Text(
            f"Engine {provenance['engine']}, vitamin D bands {provenance['profile']}, "
            f"{provenance['verbosity']} cards; {packs}",
            style="dim",
        )
    )


def _age(years: int) -> str:
    return "1 year" if years == 1 else f"{years} years"


def _panel(one: Mapping[str, Any]) -> Panel:
    parts: list[RenderableType] = [Text(one["summary"], style="bold")]
    _section(
        parts, "Data", [f"{fact['says']}{_references(fact['source'])}" for fact in one["because"]]
    )
    _section(parts, "Chain", [f"{link['says']}" for link in one["chain"]])
    _section(parts, "Options", [suggestion["label"] for suggestion in one["suggestions"]])
    _section(parts, "Numbers", [used["says"] for used in one["parameters"]])
    _section(parts, "Not known", one["missing"])
    _section(parts, "Sources", [citation["label"] for citation in one["citations"]])
    urgency = Text(f" {one['indicator'].upper()} ", style=_STYLES[one["indicator"]])
    badge = "" if one["status"] == "reviewed" else ", draft: not yet reviewed by a clinician"
    return Panel(
        Group(*parts),
        title=Text.assemble(urgency, f" {one['rule']}"),
        subtitle=Text(
            f"version {one['version']}, certainty {one['certainty']}{badge}", style="dim"
        ),
        title_align="left",
        subtitle_align="right",
        border_style=_BORDERS[one["indicator"]],
        padding=(0, 1),
    )


def _section(parts: list[RenderableType], title: str, lines: Sequence[str]) -> None:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=9, style="dim")
    grid.add_column()
    for place, line in enumerate(dict.fromkeys(lines)):
        grid.add_row(title if place == 0 else "", Text(line))
    if lines:
        parts.append(grid)


def _references(sources: Sequence[str]) -> str:
    return f"  [{', '.join(sources)}]" if sources else ""


def _gap_line(gap: Mapping[str, Any]) -> str:
    place = f"{gap['source']} {gap['path']}".strip() if "/" in gap["source"] else ""
    return f"{place}: {gap['says']}" if place else str(gap["says"])


def _silence(told: Mapping[str, Any]) -> Text:
    if told["failures"]:
        return Text("Not fully evaluated: see the rules that broke.", style="bold red")
    if told["gaps"]:
        return Text("No recommendation from what could be read; see the gaps below.", style="bold")
    return Text("Nothing found. Everything needed was looked at.", style="bold green")


def _print_list(out: Console, title: str, lines: Sequence[str], style: str) -> None:
    if not lines:
        return
    out.print(Text(title, style=f"bold {style}"))
    for line in dict.fromkeys(lines):
        out.print(Padding(Text(f"- {line}", style=style), (0, 2)))


def _versions(packs: Mapping[str, str]) -> list[tuple[str, str]]:
    """Versions without digests, which only machines compare."""
    return [(name, version.partition("+")[0]) for name, version in packs.items()]
