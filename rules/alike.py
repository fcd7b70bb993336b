"""Whether an answer holds for all patients of one age: it does if nobody looked at the day of birth."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from typing import Any, Final

import msgspec

from rules.engine import Engine
from rules.facts import FactSet, Patient

# What people of one age in years may differ in.
OWN: Final = frozenset({"id", "source", "birth_date", "age_days"})


def silent_about_all_of_this_age(
    engine: Engine, facts: FactSet, *, as_of: datetime, today: date, asked: Collection[str]
) -> bool:
    """Whether nothing is said, and nothing that is a patient's own was looked at to find that out.

    Derivations are functions of what they read, so for another patient of the same age in years and the same sex,
    of whom no more is known, each of them goes the same way and finds the same.
    """
    tested = engine.program(today, facts.context.profile).tested("patient")
    seen: set[str] = set(tested)

    class Watched(Patient, frozen=True, kw_only=True):
        """The patient, noting what is looked at."""

        def __getattribute__(self, name: str) -> Any:
            seen.add(name)
            return super().__getattribute__(name)

    watched = Watched(**msgspec.structs.asdict(facts.patient))
    assessment = engine.assess(
        msgspec.structs.replace(facts, patient=watched), as_of=as_of, today=today, asked=asked
    )
    said = assessment.recommendations or assessment.failures or assessment.superseded
    return not said and not assessment.suppressed and OWN.isdisjoint(seen)
