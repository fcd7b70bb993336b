"""Which derivations are worth running for a patient: those that a rule which could still fire asks for.

Most patients of a population have nothing that concerns most rules. What a patient's record is about (its
triggers) decides what could be found at all, that decides which rules could fire, and these decide which
derivations are asked for. The answer depends on the triggers alone, so it is worked out once per set of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from rules.authoring import Derivation, Rule
from rules.conditions import Binding
from rules.facts import Context, FactSet

if TYPE_CHECKING:
    from rules.rulebook import Rulebook

_MOST_REMEMBERED = 4_096
_PREFIX = "finding:"


def triggers_of(facts: FactSet) -> frozenset[str]:
    """What the record of a patient is about, in the words of ``needs``."""
    found: set[str] = set()
    for use in facts.uses:
        for name in use.classes:
            found.add("class:" + name)
    for lab in facts.labs:
        found.add("measure:" + lab.measure)
    for condition in facts.conditions:
        found.add("problem:" + condition.problem)
    for procedure in facts.procedures:
        found.add("procedure:" + procedure.procedure)
    for goal in facts.goals:
        found.add("goal:" + goal.measure)
    for order in facts.orders:
        found.add("order:" + order.measure)
    for diet in facts.diets:
        found.add("food:" + diet.food)
    return frozenset(found)


class Plan:
    """Chooses derivations by triggers; leaving out the others never changes what is recommended."""

    def __init__(self, rulebook: Rulebook, speaks: Callable[[str, Context], bool]) -> None:
        self._speaks = speaks
        self._derivations = rulebook.derivations
        self._rules = tuple(rulebook.rules.values())
        self._asked_by = {rule.name: frozenset(_asked(rule, rulebook)) for rule in self._rules}
        self._bound_by = {rule.name: frozenset(_bound(rule)) for rule in self._rules}
        self._known = frozenset(name for one in self._derivations for name in one.needs)
        self._chosen: dict[tuple[frozenset[str], str, str], tuple[Derivation, ...]] = {}

    def choose(self, facts: FactSet) -> tuple[Derivation, ...]:
        """Derivations to run, in the order of the rulebook."""
        key = (triggers_of(facts) & self._known, facts.context.hook, facts.context.verbosity)
        chosen = self._chosen.get(key)
        if chosen is None:
            if len(self._chosen) >= _MOST_REMEMBERED:
                self._chosen.clear()
            chosen = self._chosen[key] = self._work_out(key[0], facts.context)
        return chosen

    def _work_out(self, triggers: frozenset[str], context: Context) -> tuple[Derivation, ...]:
        able = [
            one for one in self._derivations if not one.needs or triggers.intersection(one.needs)
        ]
        possible: set[str] = set()
        for one in able:
            if possible.issuperset(one.requires):
                possible.update(one.gives)
        rules = self._able_to_fire(possible, context)
        asked = {name for rule in rules for name in self._asked_by[rule.name]}
        kept: list[Derivation] = []
        for one in reversed(able):  # whoever asks stands behind whoever gives
            if asked.intersection(one.gives) and possible.issuperset(one.requires):
                kept.append(one)
                asked.update(one.reads, one.requires)
        return tuple(reversed(kept))

    def _able_to_fire(self, possible: set[str], context: Context) -> list[Rule]:
        found = set(possible)
        able: list[Rule] = []
        waiting = [rule for rule in self._rules if self._speaks(rule.name, context)]
        while True:
            now = [rule for rule in waiting if self._bound_by[rule.name] <= found]
            if not now:
                return able
            able += now
            waiting = [rule for rule in waiting if rule not in now]
            found.update(name for rule in now for name in rule.infers)


def _bound(rule: Rule) -> Iterator[str]:
    for part in rule.condition:
        if isinstance(part, Binding) and part.pattern.kind.startswith(_PREFIX):
            yield part.pattern.kind.removeprefix(_PREFIX)


def _asked(rule: Rule, rulebook: Rulebook) -> Iterator[str]:
    """Every finding that the conditions of a rule, or the words of its card, may look at."""
    for part in rule.condition:
        if part.pattern.kind.startswith(_PREFIX):
            yield part.pattern.kind.removeprefix(_PREFIX)
    card = rulebook.cards.get(rule.name)
    if card is not None:
        choices: Iterable[str | None] = (
            *(one.when for one in card.indicator),
            *(one.when for one in card.suggests),
            *(one.when for one in card.yields_to),
        )
        yield from (name for name in choices if name is not None)
