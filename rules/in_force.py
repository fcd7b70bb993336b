"""The knowledge of a rulebook on one day under one profile: every number resolved, every field typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from rules.errors import FactError, KnowledgeError
from rules.facts import ParameterUse

if TYPE_CHECKING:
    from rules.rulebook import Rulebook


_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "name": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "day": (date,),
}


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """The declared type of one field of a finding."""

    kind: str
    optional: bool
    types: tuple[type, ...]

    @classmethod
    def of(cls, declared: str) -> FieldSpec:
        """Read ``number?`` and the like."""
        kind = declared.rstrip("?")
        return cls(kind, declared.endswith("?"), _PYTHON_TYPES[kind])


class FindingShape(NamedTuple):
    """What is done with values of certain types: the unknown ones are left out, numbers are rounded."""

    unknown: tuple[str, ...]
    numbers: tuple[str, ...]


class _Numbers(dict[str, ParameterUse]):
    """Every number in force by its name; one that is not there is refused in words."""

    def __init__(self, rulebook: Rulebook, day: date, profile: str) -> None:
        super().__init__()
        self._rulebook, self._day, self._profile = rulebook, day, profile

    def __missing__(self, name: str) -> NoReturn:
        raise KnowledgeError(
            f"parameter {name!r} has no value in force on {self._day} (profile {self._profile})."
            if name in self._rulebook.parameters
            else f"parameter {name!r} stands in no active pack.",
            remedy="Give it a dated value in parameters.yaml.",
        )


class KnowledgeInForce:
    """What derivations and cards may look up on the day of the review."""

    def __init__(self, rulebook: Rulebook, day: date, profile: str) -> None:
        self.rulebook = rulebook
        self.day = day
        self.profile = profile
        self.parameters = _Numbers(rulebook, day, profile)
        # One for each way in which a derivation fills a finding: whether it may do so is looked up once
        self._shapes: dict[tuple[object, ...], FindingShape] = {}
        for name, parameter in rulebook.parameters.items():
            held = parameter.in_force(name, day, profile)
            if held is not None:
                self.parameters[name] = held

    def parameter(self, name: str) -> ParameterUse:
        """A number in force; raises KnowledgeError when the packs have none for this day and profile."""
        return self.parameters[name]

    def finding_fields(self, name: str) -> dict[str, FieldSpec]:
        """Declared fields of a finding; raises KnowledgeError for an undeclared finding."""
        fields = self.rulebook.finding_fields.get(name)
        if fields is None:
            raise KnowledgeError(
                f"finding {name!r} is declared in no findings.yaml.", remedy="Declare it."
            )
        return fields

    def shape_of(self, name: str, values: Mapping[str, Any]) -> FindingShape:
        """What to do with the values of a finding, which depends on their types alone.

        Raises:
            FactError: an undeclared field, a missing one, or a value of another type.
        """
        key = (name, *values, *map(type, values.values()))
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = _shape(name, self.finding_fields(name), values)
        return shape

    def title(self, identifier: str) -> str:
        """The title people read for a vocabulary id."""
        return self.rulebook.vocabulary.title(identifier)


def _shape(name: str, declared: Mapping[str, FieldSpec], values: Mapping[str, Any]) -> FindingShape:
    unknown: list[str] = []
    numbers: list[str] = []
    for field, value in values.items():
        spec = declared.get(field)
        if spec is None:
            raise FactError(
                f"finding {name!r} has no field {field!r}; declare it in findings.yaml."
            )
        if value is None:
            if not spec.optional:
                raise FactError(f"finding {name!r}: field {field!r} is not optional but unknown.")
            unknown.append(field)
        elif type(value) not in spec.types:
            raise FactError(f"finding {name!r}: field {field!r} is no {spec.kind}.")
        elif spec.kind == "number":
            numbers.append(field)
    if len(values) - len(unknown) < len(declared):
        for field, spec in declared.items():
            if not spec.optional and field not in values:
                raise FactError(f"finding {name!r}: field {field!r} is missing.")
    return FindingShape(tuple(unknown), tuple(numbers))
