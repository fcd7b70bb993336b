"""The conditions of a rule held against what was found: which hold, which do not, and how much was lacking.

For people who want to follow a rule, or to know which rules almost spoke. It decides nothing: matching is the
engine's, and this reads its findings afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import msgspec

from rules.condition_words import ConditionWords
from rules.conditions import Binding, FieldRef, Negation, ParameterRef, Pattern, Test
from rules.facts import Context, Finding, Patient
from rules.wording import Wording

if TYPE_CHECKING:
    from rules.authoring import Rule
    from rules.in_force import KnowledgeInForce

_MOST_FAILING: Final = 1
_Bound = Mapping[str, Mapping[str, Any] | None]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One condition: what it asks, whether it holds, on what, and what was lacking if it does not.

    ``lacking`` is words; ``distance`` how far a number was from its limit as a share of the limit (None where
    nothing can be measured).
    """

    says: str
    holds: bool
    found: str = ""
    lacking: str = ""
    distance: float | None = None


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A rule held against one patient's findings, in the way in which the fewest conditions fail."""

    rule: str
    title: str
    about: str
    conditions: tuple[Judged, ...]

    @property
    def failing(self) -> tuple[Judged, ...]:
        """The conditions that do not hold."""
        return tuple(one for one in self.conditions if not one.holds)

    @property
    def is_near(self) -> bool:
        """One condition fails on something that was found, and another one holds on something that was found."""
        failing = self.failing
        if len(failing) != _MOST_FAILING or not failing[0].found:
            return False
        return failing[0].distance is not None or any(
            one.holds and one.found for one in self.conditions
        )


class Trier:
    """Holds the rules of one day and profile against findings."""

    def __init__(
        self,
        knowledge: KnowledgeInForce,
        findings: Iterable[Finding],
        patient: Patient,
        context: Context,
    ) -> None:
        self._knowledge = knowledge
        self._conditions = ConditionWords(knowledge.rulebook)
        self._words = Wording(knowledge.rulebook)
        self._held: dict[str, list[dict[str, Any]]] = {
            "patient": [msgspec.structs.asdict(patient)],
            "context": [msgspec.structs.asdict(context)],
        }
        for one in findings:
            values = {"about": one.about, **one.values, "": one}
            self._held.setdefault(f"finding:{one.name}", []).append(values)

    def hold(self, rule: Rule, about: str | None = None) -> Trial | None:
        """The best way to read this rule for this patient (about one subject, if given); None if two conditions fail."""
        trials = list(self._ways(rule, 0, {}, ()))
        if about is not None:
            trials = [one for one in trials if one.about == about] or trials
        return min(trials, key=lambda one: (len(one.failing), _distance(one)), default=None)

    def near(self, rules: Iterable[Rule]) -> list[Trial]:
        """Rules that almost spoke, those that missed a number by the least first."""
        trials = [trial for rule in rules if (trial := self.hold(rule)) and trial.is_near]
        return sorted(trials, key=lambda one: (_distance(one), one.rule))

    def _ways(
        self, rule: Rule, place: int, bound: _Bound, judged: tuple[Judged, ...]
    ) -> Iterator[Trial]:
        if sum(not one.holds for one in judged) > _MOST_FAILING:
            return
        if place == len(rule.condition):
            card = self._knowledge.rulebook.cards.get(rule.name)
            title = card.title if card else rule.name
            yield Trial(rule=rule.name, title=title, about=_subject(bound), conditions=judged)
            return
        part = rule.condition[place]
        if isinstance(part, Negation):
            yield from self._ways(
                rule, place + 1, bound, (*judged, self._absent(rule, part, bound))
            )
            return
        candidates = self._held.get(part.pattern.kind, [])
        for values in candidates:
            here = self._judged(rule, part, values, bound)
            yield from self._ways(rule, place + 1, {**bound, part.alias: values}, (*judged, *here))
        if not candidates:
            says = self._conditions.say_part(rule, part)
            missing = Judged(says=says, holds=False, lacking="nothing of the kind was found")
            yield from self._ways(rule, place + 1, {**bound, part.alias: None}, (*judged, missing))

    def _judged(
        self, rule: Rule, part: Binding, values: Mapping[str, Any], bound: _Bound
    ) -> Sequence[Judged]:
        """The pattern as one condition, and each of its tests that fails as one more."""
        failing = [test for test in part.pattern.tests if not self._passes(test, values, bound)]
        found = self._said(values)
        if not failing:
            return [Judged(says=self._conditions.say_part(rule, part), holds=True, found=found)]
        kept = Pattern(
            part.pattern.kind, tuple(test for test in part.pattern.tests if test not in failing)
        )
        whole = Judged(
            says=self._conditions.say_part(rule, Binding(part.alias, kept)), holds=True, found=found
        )
        return [
            whole,
            *(self._failed(rule, part.pattern, test, values, bound) for test in failing),
        ]

    def _failed(
        self, rule: Rule, pattern: Pattern, test: Test, values: Mapping[str, Any], bound: _Bound
    ) -> Judged:
        says = self._conditions.say_test(rule, pattern, test)
        left, right = _plain(values.get(test.field)), self._right(test, bound)
        found = self._said(values)
        if left is None:
            return Judged(says=says, holds=False, found=found, lacking="it is not known")
        if _is_number(left) and _is_number(right):
            unit = self._unit(pattern, test.field)
            apart = abs(left - right)
            lacking = f"it is {self._amount(left, unit)}"
            lacking += f", {self._amount(apart, unit)} away" if apart else ", exactly the limit"
            return Judged(
                says=says, holds=False, found=found, lacking=lacking,
                distance=apart / abs(right) if right else apart,
            )  # fmt: skip
        # Another word of a list is no near miss: nothing says how far one lies from the next
        near = found if isinstance(left, bool) else ""
        return Judged(says=says, holds=False, found=near, lacking=f"it is {self._value(left)}")

    def _absent(self, rule: Rule, part: Negation, bound: _Bound) -> Judged:
        says = self._conditions.say_part(rule, part)
        for values in self._held.get(part.pattern.kind, []):
            if all(self._passes(test, values, bound) for test in part.pattern.tests):
                found = self._said(values)
                return Judged(says=says, holds=False, found=found, lacking="there is one")
        return Judged(says=says, holds=True)

    def _passes(self, test: Test, values: Mapping[str, Any], bound: _Bound) -> bool:
        if isinstance(test.right, FieldRef) and bound.get(test.right.alias) is None:
            return True  # what it would be compared with is missing, and counted as missing already
        left, right = _plain(values.get(test.field)), self._right(test, bound)
        if left is None or right is None:
            return False
        return _compares(left, test.op, right)

    def _right(self, test: Test, bound: _Bound) -> Any:
        match test.right:
            case ParameterRef(name=name):
                held = self._knowledge.parameters.get(name)
                return held.value if held else None
            case FieldRef(alias=alias, field=field):
                there = bound.get(alias)
                return _plain(there.get(field)) if there else None
            case constant:
                return constant

    def _said(self, values: Mapping[str, Any]) -> str:
        finding = values.get("")
        return self._words.say_finding(finding) if isinstance(finding, Finding) else ""

    def _unit(self, pattern: Pattern, field: str) -> str:
        model = self._knowledge.rulebook.findings.get(pattern.kind.removeprefix("finding:"))
        return model.units.get(field, "") if model else ""

    def _amount(self, value: float, unit: str) -> str:
        return self._words.amount(round(value, 3), unit)

    def _value(self, value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        return self._words.title(value) if isinstance(value, str) else str(value)


def _subject(bound: _Bound) -> str:
    """What the rule would speak about: the last bound finding that has a subject, else the patient as a whole."""
    names = [held["about"] for held in bound.values() if held and held.get("about")]
    return names[-1] if names else ""


def _distance(trial: Trial) -> float:
    distances = [one.distance for one in trial.failing if one.distance is not None]
    return min(distances, default=float("inf"))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _compares(left: Any, op: str, right: Any) -> bool:
    if op == "==":
        return bool(left == right)
    if op == "!=":
        return bool(left != right)
    if op == "<":
        return bool(left < right)
    if op == "<=":
        return bool(left <= right)
    return bool(left > right) if op == ">" else bool(left >= right)
