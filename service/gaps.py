"""Which of the data that could not be read or had could have changed the answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rules.assessment import Assessment, Gap
from rules.facts import FactSet

if TYPE_CHECKING:
    from rules.rulebook import Rulebook


def gap_of_source(source: str, reason: str, rulebook: Rulebook) -> Gap:
    """The gap left by a whole source that could not be had; ``reason`` says why, in a few words."""
    name = rulebook.texts["sources"].get(source, source)
    says = rulebook.texts["not_read"].format(source=name, reason=reason)
    return Gap(source=source, code="not-read", says=says, concerns=(source,))


def gaps_that_matter(
    gaps: Iterable[Gap], facts: FactSet, assessment: Assessment, rulebook: Rulebook
) -> tuple[Gap, ...]:
    """Gaps that deserve a card: the other half of a rule is present, as the packs state it.

    A gap in a resource that a recommendation rests on is left out: that card says what was missing.
    """
    taken = {name for use in facts.uses if use.taking != "no" for name in use.classes}
    wanted = {
        pair["concerns"] for pair in rulebook.texts["gaps_that_matter"] if pair["with"] in taken
    }
    if not wanted:
        return ()
    told = {reference for one in assessment.recommendations for reference in one.source}
    return tuple(
        gap for gap in gaps if gap.source not in told and not wanted.isdisjoint(gap.concerns)
    )
