"""Whether a silence holds for others too: for all of one age, and whatever was measured besides.

It does if what they differ in was not looked at: then for another patient every derivation goes the same way.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime
from itertools import combinations
from typing import Any, Final, cast

import msgspec

from rules.engine import Engine
from rules.evidence import Evidence
from rules.facts import FactSet, LabResult, Patient

# What people of one age in years may differ in.
OWN: Final = frozenset({"id", "source", "birth_date", "age_days"})
_MOST_MEASURES: Final = 5  # more would be tried in too many ways


def silent_about_all_of_this_age(
    engine: Engine, facts: FactSet, *, as_of: datetime, today: date, asked: Collection[str]
) -> bool:
    """Whether nothing is said, and nothing that is a patient's own was looked at to find that out.

    Derivations are functions of what they read, so for another patient of the same age in years and the same sex,
    of whom no more is known, each of them goes the same way and finds the same.
    """
    seen = set(engine.program(today, facts.context.profile).tested("patient"))
    assessment = engine.assess(_watching(facts, seen), as_of=as_of, today=today, asked=asked)
    said = assessment.recommendations or assessment.failures or assessment.superseded
    return not said and not assessment.suppressed and OWN.isdisjoint(seen)


def silent_whatever_was_measured(
    engine: Engine,
    facts: FactSet,
    measures: Collection[str],
    *,
    as_of: datetime,
    today: date,
    asked: Collection[str],
) -> frozenset[str] | None:
    """What was looked at of a patient about whom nothing is said, whatever results of these measures there are.

    ``facts`` hold none of them. A measure decides by its name which derivations are worth running; so every choice
    of them is tried, since a result may turn out to be none (taken back, or of a later day). What is run then, and
    finds nothing to say without having looked at any of the results, goes the same way whatever they are.

    Returns:
        Fields of the patient that were looked at; None if something may be said, or a result was looked at.
    """
    if len(measures) > _MOST_MEASURES:
        return None
    seen = set(engine.program(today, facts.context.profile).tested("patient"))
    knowledge = engine.knowledge(today, facts.context.profile)
    names, watched = sorted(measures), _watching(facts, seen)
    for count in range(len(names) + 1):
        for chosen in combinations(names, count):
            evidence = _Unmeasured(watched, knowledge, as_of=as_of, today=today)
            besides = frozenset("measure:" + name for name in chosen)
            if engine.could_speak(facts, evidence, besides, frozenset(asked)) or evidence.looked:
                return None
    return frozenset(seen)


def _watching(facts: FactSet, seen: set[str]) -> FactSet:
    """The same facts, noting what is looked at of the patient."""

    class Watched(Patient, frozen=True, kw_only=True):
        """The patient, noting what is looked at."""

        def __getattribute__(self, name: str) -> Any:
            seen.add(name)
            return super().__getattribute__(name)

    watched = Watched(**msgspec.structs.asdict(facts.patient))
    return msgspec.structs.replace(facts, patient=watched)


class _Unmeasured(Evidence):
    """Evidence that knows whether somebody looked at results."""

    def __init__(self, facts: FactSet, *given: Any, **named: Any) -> None:
        super().__init__(facts, *given, **named)
        self.looked = False
        self.facts = cast("FactSet", _NotingResults(facts, self))

    def _newest_first(self, measure: str) -> list[LabResult]:
        self.looked = True
        return super()._newest_first(measure)


class _NotingResults:
    """Facts of which the results are watched."""

    def __init__(self, facts: FactSet, evidence: _Unmeasured) -> None:
        self._facts, self._evidence = facts, evidence

    def __getattr__(self, name: str) -> Any:
        if name == "labs":
            self._evidence.looked = True
        return getattr(self._facts, name)
