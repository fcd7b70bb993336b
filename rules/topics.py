"""Divides the rules of a stratum into topics: groups that share one handle of the C engine.

A session costs memory per pattern (8 kB cleared each time), so rules that need the same finding stand together and
are left alone when a patient has no such finding. The division also keeps every handle within the limits at
which the engine fails on a patient's facts instead of at start-up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rules.program import CompiledRule

SMALLEST_TOPIC = 6  # rules; smaller groups cost more in sessions than they save
MOST_PATTERNS = 200  # one gate holds 254; 255 to 257 are accepted and overrun its table
MOST_CONDITIONS = (
    60  # one fact may satisfy 64 conditions at once; the 65th is error 303 and the fact is lost
)
MOST_KINDS = 400  # distinct first conditions: 510 are held, 512 hang


@dataclass(frozen=True, slots=True)
class Topic:
    """Rules that are evaluated together."""

    rules: tuple[CompiledRule, ...]


def divide(rules: Sequence[CompiledRule]) -> tuple[Topic, ...]:
    """The rules in topics; every rule stands in exactly one."""
    topics: list[Topic] = []
    rest = list(rules)
    while rest:
        needed = Counter(kind for rule in rest for kind in rule.triggers)
        anchor = min(needed, key=lambda kind: (-needed[kind], kind), default="")
        together = [rule for rule in rest if anchor in rule.triggers]
        if len(together) < SMALLEST_TOPIC or len(rest) - len(together) < SMALLEST_TOPIC:
            together = rest
        rest = [rule for rule in rest if rule not in together]
        topics.extend(_within_limits(together))
    return tuple(topics)


def _within_limits(rules: Iterable[CompiledRule]) -> Iterable[Topic]:
    held: list[CompiledRule] = []
    load = _Load()
    for rule in rules:
        if held and not load.has_room(rule):
            yield Topic(tuple(held))
            held, load = [], _Load()
        held.append(rule)
        load.add(rule)
    yield Topic(tuple(held))


class _Load:
    """What the rules of one handle ask of the engine."""

    def __init__(self) -> None:
        self.patterns = 1  # the sentinel's
        self.conditions: dict[str, set[tuple[object, ...]]] = {}

    def has_room(self, rule: CompiledRule) -> bool:
        trial = _Load()
        trial.patterns = self.patterns
        trial.conditions = {kind: set(paths) for kind, paths in self.conditions.items()}
        trial.add(rule)
        return (
            trial.patterns <= MOST_PATTERNS
            and len(trial.conditions) <= MOST_KINDS
            and all(len(paths) <= MOST_CONDITIONS for paths in trial.conditions.values())
        )

    def add(self, rule: CompiledRule) -> None:
        self.patterns += len(rule.steps)
        for number, step in enumerate(rule.steps):
            paths = self.conditions.setdefault(step.kind, set())
            # Every prefix of the single tests is one node of the engine's network, shared between rules;
            # joins, and the guard behind them, are nodes of this step alone.
            paths.update(step.tests[: length + 1] for length in range(len(step.tests)))
            paths.update(
                (rule.name, number, join) for join in range(len(step.joins) + 1) if step.joins
            )
