"""The neutral form of rules: checked, resolved, and the same for every matcher.

A program is a plain value. Each rule is a row of steps; step 0 is always the patient (the gate). A step binds one
item or, negated, holds when no item matches. A missing optional value satisfies no comparison, not even ``!=``:
the guards that say so (``Known``, ``KnownEarlier``) are part of the program, so that no matcher can forget them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from rules.conditions import Operator
from rules.errors import UnsafeRule

PATIENT = "patient"
_MOST_REMEMBERED = 2_048
BaseType = Literal["text", "integer", "number", "boolean"]
Schema = Mapping[str, Mapping[str, str]]
Value = str | int | float | bool


class Item(NamedTuple):
    """Something a rule can match: a finding, the patient or the context, by its declared kind.

    ``values`` holds the declared fields; an optional field that is unknown is ``None`` or left out.
    """

    kind: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Field:
    """A declared field of a kind; an optional one may be unknown."""

    name: str
    type: BaseType
    optional: bool


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of item: the fields that rules look at, and the names of all that are declared."""

    name: str
    number: int
    fields: tuple[Field, ...]
    declared: frozenset[str]


@dataclass(frozen=True, slots=True)
class Known:
    """The item at hand has a value in an optional field."""

    field: str


@dataclass(frozen=True, slots=True)
class Check:
    """A field of the item at hand against a constant of the field's own type."""

    field: str
    op: Operator
    value: Value


@dataclass(frozen=True, slots=True)
class KnownEarlier:
    """The item of an earlier step has a value in an optional field."""

    step: int
    field: str


@dataclass(frozen=True, slots=True)
class Join:
    """A field of the item at hand against a field of the same type of the item of an earlier step."""

    field: str
    op: Operator
    step: int
    other: str


SingleTest = Known | Check
CrossTest = KnownEarlier | Join


@dataclass(frozen=True, slots=True)
class Step:
    """One pattern: all ``tests`` look at the item alone, all ``joins`` at earlier items too.

    An item that an earlier step has bound is never bound, nor found by a negation, a second time.
    """

    kind: str
    tests: tuple[SingleTest, ...]
    joins: tuple[CrossTest, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule ready for any matcher; ``outputs`` are the steps at which its ``aliases`` are bound."""

    name: str
    where: str
    steps: tuple[Step, ...]
    aliases: tuple[str, ...]
    outputs: tuple[int, ...]
    triggers: frozenset[str]

    @property
    def kinds(self) -> frozenset[str]:
        """Every kind the rule looks at, negated ones too."""
        return frozenset(step.kind for step in self.steps)


@dataclass(frozen=True)
class Program:
    """All rules in strata: a rule stands after every rule that infers what it reads.

    ``dormant`` names the rules left out because a parameter has no value in force, with that parameter.
    """

    rules: tuple[tuple[CompiledRule, ...], ...]
    kinds: Mapping[str, Kind]
    dormant: tuple[tuple[str, str], ...] = ()

    @property
    def strata(self) -> int:
        """How many strata there are; a matcher is asked for each in turn, from 0."""
        return len(self.rules)

    def aliases(self, rule: str) -> tuple[str, ...]:
        """The names a rule binds, in the order in which a match lists their items."""
        return self._by_name[rule].aliases

    def triggers(self, rule: str) -> frozenset[str]:
        """Kinds of which an item must be present for the rule to fire at all (the patient always is)."""
        return self._by_name[rule].triggers

    def tested(self, kind: str) -> frozenset[str]:
        """Fields of a kind that some rule tests by themselves."""
        steps = [step for rules in self.rules for rule in rules for step in rule.steps]
        own = [step for step in steps if step.kind == kind]
        return frozenset(test.field for step in own for test in step.tests)

    def could_fire(self, stratum: int, kinds: set[str]) -> bool:
        """Whether items of these kinds are enough for any rule of a stratum."""
        return any(rule.triggers <= kinds for rule in self.rules[stratum])

    def findings_of(self, rules: frozenset[str]) -> frozenset[str]:
        """Names of the findings that some of these rules look at."""
        known = self._findings_of.get(rules)
        if known is None:
            kinds = frozenset[str]().union(*(self._by_name[rule].kinds for rule in rules))
            prefix = "finding:"
            known = frozenset(
                kind.removeprefix(prefix) for kind in kinds if kind.startswith(prefix)
            )
            if len(self._findings_of) >= _MOST_REMEMBERED:
                self._findings_of.clear()
            self._findings_of[rules] = known
        return known

    @cached_property
    def _findings_of(self) -> dict[frozenset[str], frozenset[str]]:
        return {}

    @cached_property
    def _by_name(self) -> dict[str, CompiledRule]:
        return {rule.name: rule for stratum in self.rules for rule in stratum}


def order_in_strata(
    names: Iterable[str],
    reads: Mapping[str, frozenset[str]],
    infers: Mapping[str, tuple[str, ...]],
    where: Mapping[str, str],
) -> list[list[str]]:
    """Rule names in strata; ``reads`` holds kinds, ``infers`` names of findings.

    Raises:
        UnsafeRule: rules that infer what they (or those before them) read.
    """
    givers: dict[str, list[str]] = {}
    for name, inferred in infers.items():
        for finding in inferred:
            givers.setdefault(f"finding:{finding}", []).append(name)
    before = {
        name: {giver for kind in reads[name] for giver in givers.get(kind, ())} for name in names
    }
    strata: list[list[str]] = []
    placed: set[str] = set()
    while len(placed) < len(before):
        ready = sorted(name for name in before if name not in placed and before[name] <= placed)
        if not ready:
            stuck = sorted(set(before) - placed)
            raise UnsafeRule(
                f"rules wait for one another: {', '.join(stuck)}.",
                where=where[stuck[0]],
                remedy="A rule may not infer what it reads itself, directly or by way of others; use a derivation.",
            )
        strata.append(ready)
        placed.update(ready)
    return strata
