"""The rules in force, for people who answer for them: a list, one rule in full, and the check of packs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rules.errors import KnowledgeError
from rules.rulebook import Rulebook, load_rulebook
from service.settings import Settings

if TYPE_CHECKING:
    from rules.engine import MatcherName


def _open(further: Iterable[Path] = ()) -> tuple[Settings, Rulebook]:
    settings = Settings.read()
    folders = (*settings.pack_dirs, *further)
    names = list(settings.packs) if settings.packs is not None else None
    if further:
        # Packs given on the command line are checked together with those in force
        from rules.rulebook import find_packs

        inside = [name for name, (path, _) in find_packs(folders).items() if _below(path, further)]
        bundled = names if names is not None else [p.head.id for p in load_rulebook().packs]
        names = [*bundled, *(name for name in inside if name not in bundled)]
    return settings, load_rulebook(names, folders)


def _below(path: Path, parents: Iterable[Path]) -> bool:
    return any(path.resolve().is_relative_to(parent.resolve()) for parent in parents)


def print_rules(*, as_json: bool) -> None:
    """Every rule with its urgency, certainty, pack and status."""
    _, book = _open()
    rows = [_row(book, name) for name in sorted(book.cards) if name in book.rules]
    console = Console(highlight=False)
    if as_json:
        console.print_json(json.dumps(rows))
        return
    table = Table(title=f"{len(rows)} rules", box=None, pad_edge=False)
    for title in ("rule", "urgency", "certainty", "pack", "status"):
        table.add_column(title, no_wrap=title == "rule")
    for row in rows:
        table.add_row(
            row["rule"], "/".join(row["indicators"]), row["certainty"], row["pack"], row["status"]
        )
    console.print(table)


def _row(book: Rulebook, name: str) -> dict[str, Any]:
    card, pack = book.cards[name], book.pack_of[name]
    overdue = card.review_due < datetime.now(UTC).date()
    status = "reviewed" if card.reviewed else pack.head.status
    return {
        "rule": name,
        "title": card.title,
        "version": card.version,
        "topic_code": card.topic_code,
        "indicators": list(dict.fromkeys(line.is_ for line in card.indicator)),
        "certainty": card.certainty,
        "pack": pack.head.id,
        "status": f"{status}, review overdue" if overdue else status,
        "review_due": card.review_due.isoformat(),
    }


def print_rule(name: str) -> None:
    """One rule in full, as in the reference page: conditions, numbers, sources, an example of its card.

    Raises:
        KnowledgeError: there is no such rule.
    """
    _, book = _open()
    card = book.cards.get(name)
    if card is None:
        near = [known for known in sorted(book.cards) if name.split("-", maxsplit=1)[0] in known]
        raise KnowledgeError(
            f"there is no rule {name!r}.", remedy=f"Similar: {', '.join(near) or 'none'}."
        )
    if name not in book.rules:
        raise KnowledgeError(f"rule {name!r} is retired: {book.retired.get(name, '')}")
    from rich.markdown import Markdown

    from service.rule_entries import Catalogue
    from service.rules_page import entry_lines

    console = Console(highlight=False, soft_wrap=True)
    text = "\n".join([f"# {name}", "", *entry_lines(Catalogue(book).entry(name))])
    console.print(Markdown(text) if console.is_terminal else text, markup=False)


def check_packs(further: tuple[Path, ...], engine: MatcherName | None) -> bool:
    """Open all packs, say what further packs change, play every vignette; True when everything ended as told.

    A story of ours that a further pack changes by what it declares is listed as changed; it is no failure.
    """
    from rules.comparison import play_all, tell_difference

    settings, book = _open(further)
    console = Console(highlight=False, soft_wrap=True)
    for sentence in tell_difference(book):
        console.print(f"[yellow]{escape(sentence)}[/]")
    played = play_all(book, engine or settings.engine)
    if played.changed:
        console.print("Stories of ours that end otherwise, each for a reason the pack declares:")
    for failure, why in played.changed:
        console.print(f"[yellow]{escape(str(failure))}[/]\n    Changed, because {escape(why)}.")
    for failure in played.failures:
        console.print(f"[red]{escape(str(failure))}[/]")
    ended = played.stories - len(played.failures) - len(played.changed)
    changed = f", {len(played.changed)} end otherwise as declared" if played.changed else ""
    console.print(
        f"{len(book.packs)} packs, {len(book.rules)} rules; "
        f"{ended} of {played.stories} vignettes end as told{changed}."
    )
    return not played.failures and bool(played.stories)


def print_claims() -> None:
    """How each sentence of the source text is represented."""
    _, book = _open()
    console = Console(highlight=False, soft_wrap=True)
    for name, claim in sorted(book.claims.items()):
        console.print(f"[bold]{escape(name)}[/]  {escape(_claim_words(claim))}")
    if not book.claims:
        console.print("No pack in force states claims.")


def _claim_words(claim: Any) -> str:
    if not isinstance(claim, dict):
        return str(claim)
    return "; ".join(
        f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in claim.items()
    )
