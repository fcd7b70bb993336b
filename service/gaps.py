"""Which of the data that could not be read or had could have changed the answer, and how that is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from rules.assessment import Assessment, Gap
from rules.facts import FactSet

if TYPE_CHECKING:
    from rules.rulebook import Rulebook


class GapNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A gap that deserves a card, in words: ``summary`` is one line, ``detail`` says what it means here."""

    gap: Gap
    summary: str
    detail: str


def gap_of_source(source: str, reason: str, rulebook: Rulebook) -> Gap:
    """The gap left by a whole source that could not be had; ``reason`` says why, in a few words."""
    says = rulebook.texts["source_unread"].format(
        source=rulebook.vocabulary.title(source), reason=reason
    )
    return Gap(source=source, code="not-read", says=says, concerns=(source,))


def notices(
    gaps: Iterable[Gap], facts: FactSet, assessment: Assessment, rulebook: Rulebook
) -> tuple[GapNotice, ...]:
    """Gaps that become a card because the other half of a rule is present, as the packs state it.

    A gap in a resource that a recommendation rests on is left out: that card says what was missing.
    """
    gaps = tuple(gaps)
    if not gaps:
        return ()
    names: dict[str, str] = {}
    for use in facts.uses:
        if use.taking != "no":
            for name in use.classes:
                names.setdefault(name, rulebook.vocabulary.title(use.ingredient))
    if not names:
        return ()
    told = {reference for one in assessment.recommendations for reference in one.source}
    untold = [gap for gap in gaps if gap.source not in told]
    return tuple(_noticed(untold, names, facts, rulebook))


def _noticed(
    gaps: list[Gap], names: dict[str, str], facts: FactSet, rulebook: Rulebook
) -> Iterator[GapNotice]:
    said: set[Gap] = set()
    for choice in rulebook.texts["gap_cards"]:
        name = names.get(choice["with"])
        if name is None:
            continue
        words = rulebook.texts[choice["words"]]
        for gap in gaps:
            if gap in said or choice["concerns"] not in gap.concerns:
                continue
            said.add(gap)
            values = {
                "vka": name,
                "vitamin_k": name,
                "says": gap.says,
                "reason": facts.context.unread.get(gap.source, gap.code),
                "title": rulebook.vocabulary.title(choice["concerns"]),
            }
            yield GapNotice(
                gap=gap,
                summary=words["summary"].format(**values),
                detail=words["detail"].format(**values),
            )
