"""Patients of whom nothing is on file that could make a rule speak: known by what bytes and names alone tell.

Half a population has a creatinine or a calcium on file, and for most of them no rule looks at it: those results are
the context of something else, a trigger, that is not there. Which results a rule may take up by themselves is not
listed anywhere: it is worked out from the active packs, for patients of these traits (``rules.alike``). Where none
can, the patient is not reviewed: like any line that the sieve skips, such a result is counted, and what it lacks
(a unit, a day) is not told, since no rule was about to use it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Final

import orjson

from fhir_adapter.elements import Resource, codes, mapping, mappings
from rules.alike import OWN, silent_whatever_was_measured
from rules.engine import Engine
from rules.errors import EngineError, RequestError
from rules.vocabulary import Vocabulary
from service.batch.answers import MEASURED
from service.batch.shards import Form, Record
from service.front_door import read_json

if TYPE_CHECKING:
    from service.review import Review

# All that a review takes from a Patient who has nothing else, apart from the id.
_TRAITS: Final = ("birthDate", "gender", "deceasedBoolean", "deceasedDateTime")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_PATIENT: Final = b'"Patient"'
_MOST_REMEMBERED: Final = 262_144
Traits = tuple[str | bool | int | None, ...]
_Key = tuple[Traits, frozenset[str]]


class Untriggered:
    """Remembers for which traits, with results of which measures, nothing can be said."""

    def __init__(
        self,
        engine: Engine,
        as_of: datetime,
        today: date,
        alone: Callable[[str, Record], Review | None],
        *,
        quick: bool,
    ) -> None:
        self._engine = engine
        self._vocabulary = engine.rulebook.vocabulary
        self._as_of = as_of
        self._today = today
        self._alone = alone
        self._quick = quick
        self._decided: dict[_Key, bool] = {}

    def holds_of(self, key: str, records: Sequence[Record]) -> bool:
        """Whether these are a plain Patient and results that no rule can take up for such a patient."""
        patients = [one for one in records if _PATIENT in one.raw]
        if not self._quick or len(patients) != 1:
            return False
        traits = traits_of(key, patients[0])
        if traits is None:
            return False
        measures: set[str] = set()
        for one in records:
            if one is not patients[0]:
                found = self._measures(one)
                if found is None:
                    return False
                measures |= found
        return self._silent(key, patients[0], traits, frozenset(measures))

    def _measures(self, record: Record) -> set[str] | None:
        """What a line that is one Observation measures; None when it may be, or mean, anything else."""
        if record.form is not Form.LINE:
            return None
        try:
            value = orjson.loads(record.raw)
        except orjson.JSONDecodeError:
            return None
        if value.__class__ is not dict or value.get("resourceType") != "Observation":
            return None
        if "social-history" in codes(value.get("category")):
            return None  # what somebody eats is no result
        return measures_of(value, self._vocabulary)

    def _silent(self, key: str, patient: Record, traits: Traits, measures: frozenset[str]) -> bool:
        rough = of_this_age(traits, self._today)
        for one in (rough, traits):
            known = self._decided.get((one, measures)) if one is not None else None
            if known is not None:
                return known
        seen = self._looked_at(key, patient, measures)
        if len(self._decided) < _MOST_REMEMBERED:
            # What was said about one may rest on the day of birth: it stands for no other, or the order would show
            alike = seen is not None and OWN.isdisjoint(seen)
            whom = rough if alike and rough is not None else traits
            self._decided[whom, measures] = seen is not None
        return seen is not None

    def _looked_at(
        self, key: str, patient: Record, measures: frozenset[str]
    ) -> frozenset[str] | None:
        try:
            done = self._alone(key, patient)
        except EngineError:
            return None
        if done is None:
            return None
        return silent_whatever_was_measured(
            self._engine, done.facts, measures, as_of=self._as_of, today=self._today, asked=MEASURED
        )


def measures_of(observation: Resource, vocabulary: Vocabulary) -> set[str]:
    """Every measure that one of its codes, or of the codes of its components, stands for."""
    found: set[str] = set()
    for holder in (observation, *mappings(observation.get("component"))):
        for coding in mappings(mapping(holder.get("code")).get("coding")):
            system, code = coding.get("system"), coding.get("code")
            if system.__class__ is str and code.__class__ is str:
                result = vocabulary.result(system.strip(), code.strip())
                if result is not None:
                    found.add(result.is_)
    return found


def traits_of(key: str, record: Record) -> Traits | None:
    """What a review of this record depends on if it is a plain Patient; None if it is anything else."""
    if record.form is not Form.LINE or b'"Patient"' not in record.raw:
        return None
    try:
        value = read_json(record.raw, max_bytes=sys.maxsize)
    except RequestError:
        return None
    if value.get("resourceType") != "Patient" or value.get("id") != key:
        return None
    traits = born, gender, dead, died = tuple(map(value.get, _TRAITS))
    plain = all(one is None or one.__class__ is str for one in (born, gender, died))
    return traits if plain and dead in {None, True, False} and dead.__class__ is not int else None


def of_this_age(traits: Traits, today: date) -> Traits | None:
    """The traits with the age in years instead of the day of birth; None when that is not fully known."""
    born, gender, dead, died = traits
    if not isinstance(born, str) or _DAY.fullmatch(born) is None:
        return None
    try:
        day = date.fromisoformat(born)
    except ValueError:
        return None
    if day > today:
        return None
    years = today.year - day.year - ((today.month, today.day) < (day.month, day.day))
    return years, gender, dead, bool(died)
