"""Who takes what today, as seen by vitamin D rules: active or drafted, systemic, begun and not ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.packs.core.courses import courses_of, is_current

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.facts import Finding, MedicationUse


def taken(e: Evidence, *classes: str) -> list[MedicationUse]:
    """Current or drafted systemic uses of any of the classes, each once; a dose given once is no ongoing use.

    In the order of the classes, then of the ingredients, however the record was ordered.
    """
    seen: dict[int, MedicationUse] = {}
    for name in classes:
        for use in sorted(e.uses_of(name), key=lambda one: (one.ingredient, one.source)):
            if is_current(use, e.today) and not use.single:
                seen[id(use)] = use
    return list(seen.values())


def days_on(e: Evidence, ingredient_class: str) -> list[tuple[str, int, tuple[MedicationUse, ...]]]:
    """Ingredients of a class taken now, with the days since their course began; unknown starts are left out."""
    by_ingredient: dict[str, list[MedicationUse]] = {}
    for use in e.uses_of(ingredient_class):
        by_ingredient.setdefault(use.ingredient, []).append(use)
    known = []
    for name in sorted(by_ingredient):
        for course in courses_of(e, by_ingredient[name], one_course=True):
            days = course.days(e.today)
            if days is not None and not course.proposed:
                known.append((name, days, course.current))
    return known


def amount(finding: Finding | None, field: str) -> float:
    """A number of a finding; 0 where the finding or the number is missing."""
    value = None if finding is None else finding.values.get(field)
    return float(value) if isinstance(value, int | float) else 0.0
