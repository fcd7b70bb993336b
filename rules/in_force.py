"""The knowledge of a rulebook on one day under one profile: every number resolved, every field typed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from rules.errors import KnowledgeError
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


class KnowledgeInForce:
    """What derivations and cards may look up on the day of the review."""

    def __init__(self, rulebook: Rulebook, day: date, profile: str) -> None:
        self.rulebook = rulebook
        self.day = day
        self.profile = profile
        self.parameters: dict[str, ParameterUse] = {}
        for name, parameter in rulebook.parameters.items():
            held = parameter.in_force(name, day, profile)
            if held is not None:
                self.parameters[name] = held

    def parameter(self, name: str) -> ParameterUse:
        """A number in force; raises KnowledgeError when the packs have none for this day and profile."""
        held = self.parameters.get(name)
        if held is None:
            known = name in self.rulebook.parameters
            raise KnowledgeError(
                f"parameter {name!r} has no value in force on {self.day} (profile {self.profile})."
                if known
                else f"parameter {name!r} stands in no active pack.",
                remedy="Give it a dated value in parameters.yaml.",
            )
        return held

    def finding_fields(self, name: str) -> dict[str, FieldSpec]:
        """Declared fields of a finding; raises KnowledgeError for an undeclared finding."""
        fields = self.rulebook.finding_fields.get(name)
        if fields is None:
            raise KnowledgeError(
                f"finding {name!r} is declared in no findings.yaml.", remedy="Declare it."
            )
        return fields

    def title(self, identifier: str) -> str:
        """The title people read for a vocabulary id."""
        return self.rulebook.vocabulary.title(identifier)
