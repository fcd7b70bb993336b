"""Writes a program out as plain Python and runs that: the referee of the C engine, and an engine of its own.

Same program, same items, same answers as ``driver.DurableMatcher``, without native code. The generated text can be
read in ``CompiledMatcher.source``: one function per stratum, one nested loop per rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rules.encoding import ItemReader, Rows
from rules.errors import EngineError
from rules.program import PATIENT, Check, CompiledRule, CrossTest, Item, Join, Known, Program

Match = tuple[str, tuple[int, ...]]

MOST_MATCHES = 50_000


class CompiledMatcher:
    """Matches items against a program with generated Python; safe to share between threads."""

    def __init__(self, program: Program) -> None:
        self.source = "\n\n".join(
            _Writer(program, number).write() for number in range(program.strata)
        )
        scope: dict[str, Any] = {"MOST_MATCHES": MOST_MATCHES, "EngineError": EngineError}
        exec(compile(self.source, "<rules as plain Python>", "exec"), scope)  # noqa: S102 - names are checked
        self._readers = [ItemReader(program, stratum) for stratum in program.rules]
        self._functions: list[Callable[[Rows], list[Match]]] = [
            scope[f"stratum_{number}"] for number in range(program.strata)
        ]

    def match(
        self, items: Sequence[Item], stratum: int, only: frozenset[str] | None = None
    ) -> list[Match]:
        """Every firing of the rules of one stratum, sorted: rule name, and the index of the item of each binding.

        ``only`` names the rules that are asked for.

        Raises:
            FactError: an item that no engine may see; nothing was evaluated.
        """
        matches = self._functions[stratum](self._readers[stratum].read(items))
        if only is not None:
            matches = [one for one in matches if one[0] in only]
        matches.sort()
        return matches

    def close(self) -> None:
        """Nothing to give back; here so that both matchers can be used alike."""


class _Writer:
    """The source of one stratum."""

    def __init__(self, program: Program, number: int) -> None:
        self._kinds = program.kinds
        self._number = number
        self._rules = program.rules[number]
        self._lines: list[str] = []

    def write(self) -> str:
        self._say(0, f"def stratum_{self._number}(rows):")
        self._say(1, "found = []")
        for kind in sorted(
            frozenset[str]().union(*(rule.kinds for rule in self._rules)) - {PATIENT}
        ):
            self._say(1, f"{self._table(kind)} = rows.get({kind!r}, ())")
        self._say(1, f"({self._names(0, PATIENT)},) = rows[{PATIENT!r}]")
        for rule in self._rules:
            self._write_rule(rule)
        self._say(1, "return found")
        return "\n".join(self._lines) + "\n"

    def _write_rule(self, rule: CompiledRule) -> None:
        self._say(1, f"# {rule.name!r}, {rule.where!r}")
        depth = 1
        for number, step in enumerate(rule.steps):
            condition = " and ".join(self._conditions(rule, number))
            if number == 0:
                if condition:
                    self._say(depth, f"if {condition}:")
                    depth += 1
                continue
            self._say(depth, f"for {self._names(number, step.kind)} in {self._table(step.kind)}:")
            if step.negated:
                if condition:
                    self._say(depth + 1, f"if {condition}:")
                self._say(depth + (2 if condition else 1), "break")
                self._say(depth, "else:")
                depth += 1
            else:
                depth += 1
                if condition:
                    self._say(depth, f"if {condition}:")
                    depth += 1
        indexes = "".join(f"s{step}, " for step in rule.outputs)
        self._say(depth, f"found.append(({rule.name!r}, ({indexes})))")
        self._say(1, "if len(found) > MOST_MATCHES:")
        self._say(2, 'raise EngineError(f"more than {MOST_MATCHES} firings for one patient.")')

    def _conditions(self, rule: CompiledRule, number: int) -> Iterator[str]:
        step = rule.steps[number]
        for test in step.tests:
            if isinstance(test, Known):
                yield f"s{number}_{test.field} is not None"
            else:
                yield _compare(number, test)
        for earlier in range(1, number):
            other = rule.steps[earlier]
            if other.kind == step.kind and not other.negated:
                yield f"s{number} != s{earlier}"
        for join in step.joins:
            yield _join(number, join)

    def _names(self, number: int, kind: str) -> str:
        fields = "".join(f"s{number}_{field.name}, " for field in self._kinds[kind].fields)
        return f"(s{number}, ({fields}))"

    def _table(self, kind: str) -> str:
        return f"kind_{self._kinds[kind].number}"

    def _say(self, depth: int, line: str) -> None:
        self._lines.append(f"{'    ' * depth}{line}")


def _compare(number: int, test: Check) -> str:
    if isinstance(test.value, bool):
        return f"s{number}_{test.field} is {test.value is (test.op == '==')}"
    return f"s{number}_{test.field} {test.op} {test.value!r}"


def _join(number: int, join: CrossTest) -> str:
    if isinstance(join, Join):
        return f"s{number}_{join.field} {join.op} s{join.step}_{join.other}"
    return f"s{join.step}_{join.field} is not None"
