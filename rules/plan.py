"""Which derivations are worth running for a patient: those that a rule which could still fire asks for.

Most patients have nothing that concerns most rules. What a record is about (its triggers) decides what could be
found at all; then each finding, made or not made, rules out further rules: one that needs what is not there, or
none of what is. What nobody asks for any more is not worked out. What only the words of a card need (how urgent,
what to suggest) waits until its rule has fired. Every way through is worked out once and remembered: it depends on
which patterns of the rules have a match, never on who the patient is.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec.structs import asdict

from rules.authoring import Derivation
from rules.facts import Context, FactSet
from rules.program import Check, CompiledRule, Program, SingleTest

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.facts import Finding
    from rules.knowledge import CardModel
    from rules.rulebook import Rulebook

_MOST_REMEMBERED = 8_192
_PREFIX = "finding:"
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


class Pattern(NamedTuple):
    """What one step of a rule asks of a finding (or of patient or context) by itself."""

    name: str
    tests: tuple[SingleTest, ...] = ()


class _Wants(NamedTuple):
    """What must have a match for a rule to fire, and what must have none."""

    all_of: frozenset[Pattern]
    none_of: frozenset[Pattern]
    asked: frozenset[str]
    infers: frozenset[str]


class Stage:
    """A derivation to run, with everything that is already settled; ``after`` leads on by what it finds.

    At the end there is none left: ``alive`` are the rules that may fire, all others cannot.
    """

    __slots__ = ("after", "alive", "derivation", "matched", "remaining", "watched")

    def __init__(
        self,
        derivation: Derivation | None,
        remaining: tuple[Derivation, ...],
        alive: frozenset[str],
        matched: frozenset[Pattern] = frozenset(),
        watched: tuple[Pattern, ...] = (),
    ) -> None:
        self.derivation = derivation
        self.remaining = remaining
        self.alive = alive
        self.matched = matched
        self.watched = watched
        self.after: dict[tuple[bool, ...], Stage] = {}


def triggers_of(facts: FactSet) -> frozenset[str]:
    """What the record of a patient is about, in the words of ``needs``."""
    subjects = (
        ("class:", {name for use in facts.uses for name in use.classes}),
        ("measure:", {lab.measure for lab in facts.labs}),
        ("problem:", {condition.problem for condition in facts.conditions}),
        ("procedure:", {done.procedure for done in facts.procedures}),
        ("goal:", {goal.measure for goal in facts.goals}),
        ("order:", {order.measure for order in facts.orders}),
        ("food:", {diet.food for diet in facts.diets}),
    )
    return frozenset([prefix + name for prefix, names in subjects for name in names])


class Plan:
    """Chooses derivations one after the other; leaving out the others never changes what is recommended."""

    def __init__(
        self, rulebook: Rulebook, program: Program, speaks: Callable[[str, Context], bool]
    ) -> None:
        self._speaks = speaks
        self._derivations = rulebook.derivations
        self._cards = rulebook.cards
        self._wants = {
            rule.name: _wants(rule, rulebook.rules[rule.name].infers)
            for stratum in program.rules
            for rule in stratum
        }
        patterns = {one for wants in self._wants.values() for one in wants.all_of | wants.none_of}
        self._about_call = tuple(sorted((p for p in patterns if p.name in _OF_CALL), key=repr))
        given = Counter(name for one in self._derivations for name in one.gives)
        # Findings of one name keep their order only if all that give them run in theirs
        self._shared = frozenset(name for name, givers in given.items() if givers > 1)
        self._known = frozenset(name for one in self._derivations for name in one.needs)
        self._begun: dict[tuple[object, ...], Stage] = {}
        self._stages: dict[tuple[object, ...], Stage] = {}
        self._giving: dict[tuple[frozenset[str], frozenset[str]], tuple[Derivation, ...]] = {}

    def begin(self, facts: FactSet, besides: frozenset[str] = frozenset()) -> Stage:
        """The first derivation to run; the end at once when nothing could fire.

        ``besides`` are triggers that the record might hold beyond those of the facts.
        """
        context = facts.context
        call = {"patient": asdict(facts.patient), "context": asdict(context)}
        met = tuple(_passes(call[p.name], p.tests) for p in self._about_call)
        triggers = (triggers_of(facts) | besides) & self._known
        key = (triggers, context.hook, context.verbosity, met)
        if key not in self._begun:
            if len(self._begun) + len(self._stages) >= _MOST_REMEMBERED:
                self._begun.clear()
                self._stages.clear()
            alive = frozenset(name for name in self._wants if self._speaks(name, context))
            matched = frozenset(p for p, yes in zip(self._about_call, met, strict=True) if yes)
            self._begun[key] = self._stage(self._able(triggers), alive, matched)
        return self._begun[key]

    def proceed(self, stage: Stage, evidence: Evidence) -> Stage:
        """The next derivation, now that the one of ``stage`` has been run; the end when nothing is left to ask."""
        made = evidence.findings_by_name
        outcome = tuple(
            [
                one.name in made and (not one.tests or _has_match(made[one.name], one.tests))
                for one in stage.watched
            ]
        )
        following = stage.after.get(outcome)
        if following is None:
            now = {one for one, yes in zip(stage.watched, outcome, strict=True) if yes}
            following = self._stage(stage.remaining, stage.alive, stage.matched | now)
            stage.after[outcome] = following
        return following

    def for_cards(self, fired: Iterable[str], facts: FactSet) -> tuple[Derivation, ...]:
        """What the cards of rules that fired look at beyond their conditions, in the order of the rulebook."""
        asked = frozenset(name for rule in fired for name in _asked_by_card(self._cards.get(rule)))
        return self.giving(asked, facts) if asked else ()

    def giving(
        self, asked: frozenset[str], facts: FactSet, besides: frozenset[str] = frozenset()
    ) -> tuple[Derivation, ...]:
        """Everything that takes part in making some findings, in the order of the rulebook."""
        key = ((triggers_of(facts) | besides) & self._known, asked)
        if key not in self._giving:
            if len(self._giving) >= _MOST_REMEMBERED:
                self._giving.clear()
            self._giving[key] = self._giving_way(self._able(key[0]), asked)
        return self._giving[key]

    def _able(self, triggers: frozenset[str]) -> tuple[Derivation, ...]:
        return tuple(
            one for one in self._derivations if not one.needs or triggers.intersection(one.needs)
        )

    def _stage(
        self,
        remaining: tuple[Derivation, ...],
        alive: frozenset[str],
        matched: frozenset[Pattern],
    ) -> Stage:
        """Settle what follows from what matched: rules that can no longer fire, derivations nobody asks for."""
        before: object = None
        while before != (remaining, alive):
            before = (remaining, alive)
            present = {one.name for one in matched}
            coming: set[str] = set()
            for one in remaining:
                if coming.issuperset(set(one.requires) - present):
                    coming.update(one.gives)
            alive = self._able_to_fire(alive, matched, coming)
            asked = {name for rule in alive for name in self._wants[rule].asked}
            reachable = [one for one in remaining if coming.intersection(one.gives)]
            remaining = self._giving_way(reachable, asked)
        if not remaining:
            return self._kept(Stage(None, (), alive))
        following = self._most_telling(remaining, alive, matched)
        relevant = {p for rule in alive for p in self._wants[rule].all_of}
        required = {name for one in remaining for name in one.requires}
        matched = frozenset(p for p in matched if p in relevant or p.name in required)
        relevant |= {p for rule in alive for p in self._wants[rule].none_of}
        watched = {p for p in relevant if p.name in following.gives}
        watched |= {Pattern(name) for name in required.intersection(following.gives)}
        rest = tuple(one for one in remaining if one is not following)
        return self._kept(Stage(following, rest, alive, matched, tuple(sorted(watched, key=repr))))

    def _kept(self, stage: Stage) -> Stage:
        """The stage at which other ways arrived before, so that they lead on together."""
        key = (stage.derivation, stage.remaining, stage.alive, stage.matched)
        return self._stages.setdefault(key, stage)

    def _most_telling(
        self, remaining: tuple[Derivation, ...], alive: frozenset[str], matched: frozenset[Pattern]
    ) -> Derivation:
        """What to run next: the shortest way to a finding that some rule cannot do without.

        What rules must not find is looked at last, because most rules lack something they need.
        """
        coming = {name for one in remaining for name in one.gives}
        needed = {
            p.name
            for rule in alive
            for p in self._wants[rule].all_of
            if p not in matched and p.name in coming
        }
        ways = [self._giving_way(remaining, {name}) for name in sorted(needed)] or [remaining]
        return min(ways, key=lambda way: (len(way), remaining.index(way[-1])))[0]

    def _giving_way(
        self, derivations: Iterable[Derivation], asked: Iterable[str]
    ) -> tuple[Derivation, ...]:
        """Those that give what is asked, and those that these ask for, in their order."""
        wanted = set(asked)
        kept: list[Derivation] = []
        for one in reversed(list(derivations)):  # whoever asks stands behind whoever gives
            if wanted.intersection(one.gives):
                kept.append(one)
                wanted.update(one.reads, one.requires, self._shared.intersection(one.gives))
        return tuple(reversed(kept))

    def _able_to_fire(
        self, alive: frozenset[str], matched: frozenset[Pattern], coming: set[str]
    ) -> frozenset[str]:
        """Of the rules still alive, those for which every pattern has a match or may get one."""
        able: set[str] = set()
        possible = set(coming)
        waiting = {name for name in alive if not self._wants[name].none_of & matched}
        while True:
            now = {
                name
                for name in waiting
                if all(p in matched or p.name in possible for p in self._wants[name].all_of)
            }
            if not now:
                return frozenset(able)
            able |= now
            waiting -= now
            possible.update(name for rule in now for name in self._wants[rule].infers)


_OF_CALL: Final = frozenset({"patient", "context"})


def _wants(rule: CompiledRule, infers: Iterable[str]) -> _Wants:
    all_of: set[Pattern] = set()
    none_of: set[Pattern] = set()
    bound: set[str] = set()
    for step in rule.steps:
        pattern = Pattern(step.kind.removeprefix(_PREFIX), step.tests)
        if not step.negated:
            all_of.add(pattern)
            bound.add(step.kind)
        elif not step.joins and step.kind not in bound:  # what is bound is not found by a negation
            none_of.add(pattern)
    asked = frozenset(kind.removeprefix(_PREFIX) for kind in rule.kinds)
    return _Wants(frozenset(all_of), frozenset(none_of), asked, frozenset(infers))


def _asked_by_card(card: CardModel | None) -> Iterator[str]:
    """Findings that decide how urgent a card is, what it suggests, and to whom it yields."""
    if card is None:
        return
    choices: Iterable[str | None] = (
        *(one.when for one in card.indicator),
        *(one.when for one in card.suggests),
        *(one.when for one in card.yields_to),
    )
    yield from (name for name in choices if name is not None)


def _has_match(made: Iterable[Finding], tests: tuple[SingleTest, ...]) -> bool:
    for one in made:  # noqa: SIM110 - any() would cost as much as the tests themselves
        if _passes(one.values, tests, one.about):
            return True
    return False


def _passes(values: Mapping[str, Any], tests: tuple[SingleTest, ...], about: str = "") -> bool:
    """Whether all tests hold, exactly as the matchers see it: what is unknown passes none."""
    for test in tests:
        value = about if test.field == "about" else values.get(test.field)
        if value is None:
            return False
        if test.__class__ is Check:
            if isinstance(value, date):
                value = value.isoformat()
            if not _OPERATORS[test.op](value, test.value):
                return False
    return True
