"""What derivations look at: one patient's facts, the findings made so far, the knowledge in force."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from rules.facts import (
    Condition,
    Diet,
    Fact,
    FactSet,
    Finding,
    Goal,
    LabOrder,
    LabResult,
    MedicationUse,
    ParameterUse,
    Procedure,
    Scalar,
)

if TYPE_CHECKING:
    from rules.in_force import KnowledgeInForce

_T = TypeVar("_T")


class Evidence:
    """Facts and findings of one patient on one day; derivations read it and return more findings."""

    def __init__(
        self, facts: FactSet, knowledge: KnowledgeInForce, *, as_of: datetime, today: date
    ) -> None:
        self.facts = facts
        self.knowledge = knowledge
        self._parameters = knowledge.parameters
        self.as_of = as_of
        self.today = today
        self.patient = facts.patient
        self.context = facts.context
        self.uses = facts.uses
        self.findings_by_name: dict[str, tuple[Finding, ...]] = {}
        self._remembered: dict[Hashable, Any] = {}
        self._uses_by_class: dict[str, list[MedicationUse]] = {}
        self._labs_by_measure: dict[str, list[LabResult]] = {}
        self._conditions_by_problem: dict[str, list[Condition]] = {}
        for condition in facts.conditions:
            self._conditions_by_problem.setdefault(condition.problem, []).append(condition)
        for use in facts.uses:
            for name in use.classes:
                self._uses_by_class.setdefault(name, []).append(use)
        for lab in facts.labs:
            self._labs_by_measure.setdefault(lab.measure, []).append(lab)

    # Facts -----------------------------------------------------------------------------------------------------

    def uses_of(self, ingredient_class: str) -> tuple[MedicationUse, ...]:
        """Every use whose ingredient belongs to the class, whatever its status."""
        return tuple(self._uses_by_class.get(ingredient_class, ()))

    def labs_of(self, measure: str) -> tuple[LabResult, ...]:
        """Usable results of a measure, newest first."""
        return self.once(
            ("labs", measure),
            lambda: tuple(lab for lab in self._newest_first(measure) if not lab.problem),
        )

    def unusable_labs(self, measure: str) -> tuple[LabResult, ...]:
        """Results of a measure that must not decide anything, newest first."""
        return tuple(lab for lab in self._newest_first(measure) if lab.problem)

    def _newest_first(self, measure: str) -> list[LabResult]:
        return self.once(
            ("newest first", measure),
            lambda: sorted(self._labs_by_measure.get(measure, ()), key=_newest_first),
        )

    def conditions_of(self, problem: str) -> tuple[Condition, ...]:
        """Entries of the problem list for one problem, whatever their status."""
        return tuple(self._conditions_by_problem.get(problem, ()))

    def procedures_of(self, procedure: str) -> tuple[Procedure, ...]:
        """Completed procedures of one kind."""
        return tuple(done for done in self.facts.procedures if done.procedure == procedure)

    def goals_of(self, measure: str) -> tuple[Goal, ...]:
        """Target ranges set for one measure."""
        return tuple(goal for goal in self.facts.goals if goal.measure == measure)

    def orders_of(self, measure: str) -> tuple[LabOrder, ...]:
        """Open or proposed orders of one measure."""
        return tuple(order for order in self.facts.orders if order.measure == measure)

    def diets_of(self, food: str) -> tuple[Diet, ...]:
        """Mentions of one food as current."""
        return tuple(diet for diet in self.facts.diets if diet.food == food)

    def unread(self, source: str) -> bool:
        """Tell whether a source could not be had (which is not the same as empty)."""
        return source in self.context.unread

    # Knowledge -------------------------------------------------------------------------------------------------

    def parameter(self, name: str) -> ParameterUse:
        """A number in force today; raises KnowledgeError when there is none."""
        return self._parameters[name]

    def parameter_or_none(self, name: str) -> ParameterUse | None:
        """A number in force today, or ``None`` (a profile may have no such band)."""
        return self._parameters.get(name)

    def name_of(self, identifier: str) -> str:
        """The title people read for a vocabulary id."""
        return self.knowledge.title(identifier)

    # Days ------------------------------------------------------------------------------------------------------

    def days_since(self, day: date | None) -> int | None:
        """Calendar days from ``day`` to today; negative in the future, ``None`` when unknown."""
        return None if day is None else (self.today - day).days

    # Work ------------------------------------------------------------------------------------------------------

    def once(self, key: Hashable, work_out: Callable[[], _T]) -> _T:
        """What several derivations need of this patient, worked out by the first of them."""
        if key not in self._remembered:
            self._remembered[key] = work_out()
        found: _T = self._remembered[key]
        return found

    # Findings --------------------------------------------------------------------------------------------------

    def findings(self, name: str, about: str | None = None) -> tuple[Finding, ...]:
        """Findings made so far under a name (and about a subject), in the order they were made."""
        made = self.findings_by_name.get(name, ())
        return made if about is None else tuple([one for one in made if one.about == about])

    def findings_of(self, names: Collection[str]) -> list[Finding]:
        """Every finding made so far under some names, in the order of ``all_findings``."""
        return [
            one for name, made in self.findings_by_name.items() if name in names for one in made
        ]

    def first(self, name: str, about: str | None = None) -> Finding | None:
        """The first finding under a name, or ``None``."""
        for one in self.findings_by_name.get(name, ()):
            if about is None or one.about == about:
                return one
        return None

    def lacks(self, names: tuple[str, ...]) -> bool:
        """Tell whether no finding stands under one of the names."""
        made = self.findings_by_name
        for name in names:  # noqa: SIM110 - a plain loop costs a third of any(); this runs for every derivation
            if name not in made:
                return True
        return False

    def all_findings(self) -> tuple[Finding, ...]:
        """Every finding made so far."""
        return tuple(one for made in self.findings_by_name.values() for one in made)

    def add(self, finding: Finding) -> None:
        """Keep a finding (the engine calls this, not derivations)."""
        self.findings_by_name[finding.name] = (
            *self.findings_by_name.get(finding.name, ()),
            finding,
        )

    def finding(
        self,
        name: str,
        about: str = "",
        *,
        because: Iterable[Fact | Finding] = (),
        parameters: Iterable[ParameterUse] = (),
        missing: Iterable[str] = (),
        **values: Scalar | date,
    ) -> Finding:
        """Make a finding as ``findings.yaml`` declares it; an optional field may be ``None`` or left out.

        Raises:
            FactError: an undeclared field, a missing one, or a value of another type.
        """
        shape = self.knowledge.shape_of(name, values)
        for field in shape.unknown:
            del values[field]
        for field in shape.numbers:
            values[field] = round(float(values[field]), 6)  # type: ignore[arg-type]
        return Finding(
            name=name, about=about, values=values, because=tuple(because),
            parameters=tuple(parameters), missing=tuple(missing),
        )  # fmt: skip


def _newest_first(lab: LabResult) -> tuple[float, float, Any]:
    day = lab.taken.toordinal() if lab.taken else 0
    instant = lab.instant.timestamp() if lab.instant else 0.0
    return (-day, -instant, lab.source)
