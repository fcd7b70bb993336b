"""Divides the rules of a stratum into topics: groups that share one handle of the C engine.

Rules that look at no kind in common stand apart, so that no fact is stored twice, and a topic is left alone while
no rule of it can fire: a session clears 8 kB per pattern, whether the patient has anything to match or not. The
division also keeps every handle within the limits at which the engine fails on facts instead of at start-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rules.program import PATIENT, CompiledRule

SMALLEST_TOPIC = 6  # rules; a smaller group costs more as a session of its own than it saves
MOST_PATTERNS = 200  # one gate holds 254; 255 to 257 are accepted and overrun its table
MOST_CONDITIONS = 60  # one fact may meet 64 at once; with the 65th it is lost (error 303)
MOST_KINDS = 400  # distinct first conditions: 510 are held, 512 hang


@dataclass(frozen=True, slots=True)
class Topic:
    """Rules that are evaluated together."""

    rules: tuple[CompiledRule, ...]


def divide(rules: Sequence[CompiledRule]) -> tuple[Topic, ...]:
    """The rules in topics; every rule stands in exactly one."""
    small: list[CompiledRule] = []
    topics: list[Topic] = []
    for group in _connected(rules):
        if len(group) < SMALLEST_TOPIC:
            small.extend(group)
        else:
            topics.extend(_within_limits(group))
    if small:
        topics.extend(_within_limits(small))
    return tuple(topics)


def _connected(rules: Sequence[CompiledRule]) -> list[list[CompiledRule]]:
    """Rules joined, directly or by way of others, by the kinds they look at."""
    groups: list[tuple[set[str], list[CompiledRule]]] = []
    for rule in rules:
        kinds, together = set(rule.kinds - {PATIENT}), [rule]
        apart = []
        for group in groups:
            if group[0] & kinds:
                kinds |= group[0]
                together = group[1] + together
            else:
                apart.append(group)
        groups = [*apart, (kinds, together)]
    return [together for _, together in groups]


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
