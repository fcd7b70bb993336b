"""Groups of patients that a silence can be confined to: who surely belongs to which, from the facts of one review."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

import msgspec
import yaml

if TYPE_CHECKING:
    from rules.facts import FactSet

_MEDICATION = frozenset({"medication-statements", "medication-requests"})


class Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who belongs to a group: everything that is stated must hold for sure."""

    title: str
    from_age: int | None = None
    to_age: int | None = None
    problems: tuple[str, ...] = ()
    procedures: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def holds(self, facts: FactSet) -> bool:
        """Whether the patient of these facts surely belongs to the group."""
        age = facts.patient.age_years
        if (self.from_age is not None or self.to_age is not None) and age is None:
            return False
        if self.from_age is not None and (age or 0) < self.from_age:
            return False
        if self.to_age is not None and (age or 0) > self.to_age:
            return False
        active = {one.problem for one in facts.conditions if one.clinical_status == "active"}
        done = {one.procedure for one in facts.procedures}
        taken = {kind for use in facts.uses if use.taking == "yes" for kind in use.classes}
        possible = {kind for use in facts.uses if use.taking != "no" for kind in use.classes}
        return (
            active.issuperset(self.problems)
            and done.issuperset(self.procedures)
            and taken.issuperset(self.classes)
            and (not self.without or _all_read(facts))
            and possible.isdisjoint(self.without)
        )


def _all_read(facts: FactSet) -> bool:
    """Whether both lists of medication were read: what somebody does not take is known only then."""
    return _MEDICATION.isdisjoint(facts.context.unread)


@lru_cache(maxsize=1)
def groups() -> Mapping[str, Group]:
    """The groups in force, by their code."""
    text = (files("service") / "patient_groups.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), dict[str, Group])


def groups_of(facts: FactSet) -> frozenset[str]:
    """Codes of the groups that the patient surely belongs to."""
    return frozenset(code for code, group in groups().items() if group.holds(facts))
