"""How a rule came to its alert, condition by condition with what each matched, and which rules almost spoke."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Final

import msgspec

from rules.errors import DekacardError
from rules.facts import Finding
from rules.in_force import KnowledgeInForce
from rules.near_misses import Trial, Trier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Row

    from rules.rulebook import Rulebook
    from service.dashboard.casebook import Case

_MOST_NEAR: Final = 6


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions of the alert's rule, near misses, and whether the rule has another version by now."""

    fired: Trial | None = None
    near: tuple[Trial, ...] = ()
    version_now: str = ""


def tree_of(case: Case | None, row: Row[Any], book: Rulebook) -> Tree:
    """Conditions as today's packs state them, held against what was found on the day of the evaluation."""
    if case is None:
        return Tree()
    rule, card = book.rules.get(row.rule), book.cards.get(row.rule)
    day = date.fromisoformat(case.answer["provenance"]["today"])
    profile = case.facts.context.profile
    spoken = {
        one["rule"]
        for kind in ("recommendations", "superseded", "suppressed")
        for one in case.answer[kind]
    }
    others = [one for name, one in book.rules.items() if name not in spoken]
    try:
        knowledge = KnowledgeInForce(book, day, profile)
        found = list(_findings(case.answer, book))
        trier = Trier(knowledge, found, case.facts.patient, case.facts.context)
        fired = trier.hold(rule, row.about) if rule is not None else None
        near = tuple(trier.near(others)[:_MOST_NEAR])
    except (DekacardError, KeyError):
        # Findings of that day for which today's packs have no words: the replay speaks for that day
        return Tree(version_now=card.version if card else "")
    return Tree(fired=fired, near=near, version_now=card.version if card else "")


def _findings(answer: Mapping[str, Any], book: Rulebook) -> Iterator[Finding]:
    """What was found, with days as days, so that sentences can be made of it again."""
    for one in answer["findings"]:
        declared = book.findings.get(one["name"])
        if declared is None:
            continue
        values = {
            name: _value(value, declared.fields.get(name, "text").rstrip("?"))
            for name, value in one["values"].items()
        }
        yield Finding(name=one["name"], about=one["about"], values=values)


def _value(value: Any, kind: str) -> Any:
    return date.fromisoformat(value) if kind == "day" and isinstance(value, str) else value
