"""Values into words: units written out, unknown said as unknown, facts as one sentence each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rules.errors import KnowledgeError
from rules.facts import (
    Condition,
    Context,
    Diet,
    Fact,
    Finding,
    Goal,
    LabOrder,
    LabResult,
    MedicationUse,
    Patient,
    Procedure,
)
from rules.knowledge import PLACEHOLDER

if TYPE_CHECKING:
    from rules.rulebook import Rulebook

_ENDS = (". ", "? ", "! ")
_FACT_PART = re.compile(r"\{([a-z_]+)(?::([^{}|]*)(?:\|([^{}]*))?)?\}")


def number_in_words(value: float) -> str:
    """Print a number with thousands commas and no trailing zeros (``5,000``, ``2.5``)."""
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def amount_in_words(value: float, unit: str, units: Mapping[str, str]) -> str:
    """Print a number with its unit as people read it (``5,000 international units``, ``100 mcg``)."""
    words = units.get(unit, unit)
    if value == 1:
        words = units.get(f"1 {unit}", words)
    return f"{number_in_words(value)} {words}".rstrip()


class Wording:
    """Fills the templates of cards and findings; one per rulebook."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook
        self._units = rulebook.unit_words
        self._facts = rulebook.fact_sentences

    def fill(self, template: str, bindings: Mapping[str, Fact | Finding]) -> str:
        """Replace ``{alias}`` by the title of its subject and ``{alias.field}`` by the field's words.

        Raises:
            KnowledgeError: a placeholder names nothing the rule has bound.
        """
        return "".join(one for pair in self._pieces(template, bindings) for one in pair)

    def sentence(self, template: str, bindings: Mapping[str, Fact | Finding]) -> str:
        """As `fill`, with a capital letter at the head of each sentence, since names of substances are written small."""
        words = ""
        for literal, value in self._pieces(template, bindings):
            words += literal
            begins = not words or words.endswith(_ENDS)
            words += value[:1].upper() + value[1:] if begins else value
        return words[:1].upper() + words[1:]

    def _pieces(
        self, template: str, bindings: Mapping[str, Fact | Finding]
    ) -> Iterator[tuple[str, str]]:
        """A template as its own words and the value that follows each."""
        for literal, alias, field in _parts(template):
            bound = bindings.get(alias)
            if alias and bound is None:
                raise KnowledgeError(f"{{{alias}}} names nothing that the rule binds.")
            if bound is None:
                yield literal, ""
            else:
                yield literal, self.field(bound, field) if field else self.subject(bound)

    def say_finding(self, finding: Finding) -> str:
        """The sentence of a finding, with its values."""
        words: list[str] = []
        for literal, field, _ in _parts(self._rulebook.findings[finding.name].says):
            words.append(literal)
            if field:
                words.append(self.field(finding, field))
        return "".join(words)

    def say(self, reason: Fact | Finding) -> str:
        """One sentence for a fact or a finding."""
        if isinstance(reason, Finding):
            return self.say_finding(reason)
        return self._say_fact(reason)

    def subject(self, reason: Fact | Finding) -> str:
        """The title of what a finding is about, or the finding's own title."""
        if isinstance(reason, Finding):
            return (
                self.title(reason.about)
                if reason.about
                else self._rulebook.findings[reason.name].title
            )
        return self._say_fact(reason)

    def field(self, reason: Fact | Finding, field: str) -> str:
        """The words of one field, or those for its absence."""
        if not isinstance(reason, Finding):
            value = getattr(reason, field)
            return "not recorded" if value is None else str(value)
        if field == "about":
            return self.subject(reason)
        model = self._rulebook.findings[reason.name]
        if field not in reason.values:
            return model.absent.get(field, "not recorded")
        unit = model.units.get(field, "")
        # The unit may stand in another field: a result prints as it was reported
        if unit.startswith("{"):
            unit = str(reason.values.get(unit.strip("{}"), ""))
        sign = str(reason.values.get(model.comparators.get(field, ""), ""))
        return sign + self.value(reason.values[field], model.fields[field].rstrip("?"), unit)

    def value(self, value: Any, kind: str, unit: str = "") -> str:
        """One value by its declared type; a unit may itself name another unit family."""
        if kind == "name":
            return self.title(value)
        if kind in {"number", "integer"}:
            return amount_in_words(value, unit, self._units) if unit else number_in_words(value)
        if kind == "boolean":
            return "yes" if value else "no"
        if isinstance(value, date):
            return value.isoformat()
        return str(value)

    def unit(self, unit: str) -> str:
        """A unit as people read it; one that is not known stays as it was reported."""
        return self._units.get(unit, unit)

    def amount(self, value: float, unit: str) -> str:
        """A number with its unit as people read it."""
        return amount_in_words(value, unit, self._units)

    def parameter_value(self, value: Any, unit: str) -> str:
        """A parameter's value: a number, a pair by unit family, or a short table."""
        if isinstance(value, bool | str):
            return str(value)
        if isinstance(value, int | float):
            return self.amount(value, unit)
        if isinstance(value, Mapping):
            return " | ".join(
                self.amount(one, key) if isinstance(one, int | float) else f"{key} {one}"
                for key, one in value.items()
            )
        if isinstance(value, list):
            return "table of " + str(len(value)) + " rows"
        return str(value)

    def title(self, identifier: str) -> str:
        """The title people read for a vocabulary id."""
        return self._rulebook.vocabulary.title(identifier)

    def _say_fact(self, fact: Fact) -> str:
        known = _FACTS.get(type(fact))
        if known is None:
            raise KnowledgeError(f"no sentence for a fact of type {type(fact).__name__}.")
        name, describe = known
        said = _fill_optional(self._facts[name], describe(fact, self))
        return said if said.isprintable() else _UNSEEN.sub(" ", said)


# Names of products come from a record: marks that nobody sees could turn the reading direction or steer a terminal.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


@lru_cache(maxsize=4_096)
def _parts(template: str) -> tuple[tuple[str, str, str], ...]:
    """A template as (literal, alias, field) in a row; the last literal has no alias behind it."""
    parts: list[tuple[str, str, str]] = []
    end = 0
    for match in PLACEHOLDER.finditer(template):
        parts.append((template[end : match.start()], match.group(1), match.group(2) or ""))
        end = match.end()
    return (*parts, (template[end:], "", ""))


def _fill_optional(template: str, values: Mapping[str, str | None]) -> str:
    """``{field:before|after}`` prints nothing at all when the field is unknown."""
    words: list[str] = []
    for literal, field, before, after in _optional_parts(template):
        words.append(literal)
        value = values.get(field)
        if value:
            words += (before, value, after)
    return "".join(words)


@lru_cache(maxsize=256)
def _optional_parts(template: str) -> tuple[tuple[str, str, str, str], ...]:
    """A template as (literal, field, before, after) in a row; the last literal has no field behind it."""
    parts: list[tuple[str, str, str, str]] = []
    end = 0
    for match in _FACT_PART.finditer(template):
        field, before, after = match.groups("")
        parts.append((template[end : match.start()], field, before, after))
        end = match.end()
    return (*parts, (template[end:], "", "", ""))


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _use(use: Any, words: Wording) -> dict[str, str | None]:
    dose = words.amount(use.daily, f"{use.unit}/d") if use.daily is not None else None
    title = words.title(use.ingredient)
    product = f"{title}, \u201c{use.product}\u201d" if use.product else title
    return {
        "product": product,
        "status": use.status,
        "dose": dose,
        "start": _day(use.start),
        "end": _day(use.end),
    }


def _lab(lab: Any, words: Wording) -> dict[str, str | None]:
    value, _, unit = lab.reported.partition(" ")
    reported = f"{value} {words.unit(unit)}".strip()
    return {"title": words.title(lab.measure), "reported": reported, "taken": _day(lab.taken)}


def _patient(patient: Any, _: Wording) -> dict[str, str | None]:
    age = None if patient.age_years is None else str(patient.age_years)
    return {"sex": patient.sex, "age_years": age}


def _condition(one: Any, words: Wording) -> dict[str, str | None]:
    return {
        "title": words.title(one.problem),
        "clinical_status": one.clinical_status,
        "onset": _day(one.onset),
    }


def _goal(goal: Any, words: Wording) -> dict[str, str | None]:
    low, high = (None if end is None else number_in_words(end) for end in (goal.low, goal.high))
    return {"title": words.title(goal.measure), "low": low, "high": high}


_FACTS: dict[type[Fact], tuple[str, Callable[[Any, Wording], dict[str, str | None]]]] = {
    Patient: ("patient", _patient),
    MedicationUse: ("use", _use),
    LabResult: ("lab", _lab),
    Condition: ("condition", _condition),
    Procedure: (
        "procedure",
        lambda one, w: {"title": w.title(one.procedure), "performed": _day(one.performed)},
    ),
    Goal: ("goal", _goal),
    LabOrder: (
        "order",
        lambda one, w: {
            "title": w.title(one.measure),
            "state": one.state,
            "authored": _day(one.authored),
            "due": _day(one.due),
        },
    ),
    Diet: ("diet", lambda one, w: {"food": w.title(one.food), "recorded": _day(one.recorded)}),
    Context: ("context", lambda one, _: {"hook": one.hook}),
}
