"""Writes rules down in the form the C engine of durable_rules reads, in the only shapes it evaluates rightly.

In every rule the patient is the first pattern (and is asserted last), so that nothing is joined, and no negation
decided, before all facts are in. In every pattern the kind is tested first and tests across facts come last, closed
by a guard that is always true: the engine's evaluator runs past the end of a pattern whose last term is false.
"""

from __future__ import annotations

from collections.abc import Sequence

from rules.conditions import Operator
from rules.encoding import Wire
from rules.program import PATIENT, CompiledRule, CrossTest, Join, Known, SingleTest, Step

SENTINEL = "sentinel"
_LAST = 60_000  # priorities reach 65,535; the sentinel fires after every rule
_OPERATORS: dict[Operator, str] = {"!=": "$neq", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}


def write_definition(rules: Sequence[CompiledRule], wire: Wire) -> str:
    """The rule set as JSON text: rules are named ``r0``, ``r1`` ..., their steps ``r0s0``, ``r0s1`` ..."""
    written = [_RuleText(f"r{number}", rule, wire).write() for number, rule in enumerate(rules)]
    gate = f'{{"{SENTINEL}s0":{{"{wire.mark(PATIENT)}":1}}}}'
    written.append(f'"{SENTINEL}":{{"all":[{gate}],"pri":{_LAST}}}')
    return f"{{{','.join(written)}}}"


class _RuleText:
    """One rule on its way into the definition."""

    def __init__(self, name: str, rule: CompiledRule, wire: Wire) -> None:
        self._name = name
        self._steps = rule.steps
        self._wire = wire

    def write(self) -> str:
        steps = []
        for number, step in enumerate(self._steps):
            alias = f"{self._name}s{number}" + ("$not" if step.negated else "")
            steps.append(f'{{"{alias}":{{"$and":[{",".join(self._terms(step))}]}}}}')
        return f'"{self._name}":{{"all":[{",".join(steps)}]}}'

    def _terms(self, step: Step) -> list[str]:
        terms = [f'{{"{self._wire.mark(step.kind)}":1}}']
        terms += [self._single(step.kind, test) for test in step.tests]
        terms += [self._cross(step.kind, join) for join in step.joins]
        if step.joins:
            # Always true; ">=", because an equality would be hashed for every fact and every partial match.
            terms.append(f'{{"$gte":{{"u":{{"{self._name}s0":"u"}}}}}}')
        return terms

    def _single(self, kind: str, test: SingleTest) -> str:
        place = self._wire.place(kind, test.field)
        if isinstance(test, Known):
            return f'{{"h{place}":1}}'
        return _compare(place, test.op, str(self._wire.constant(test.value)))

    def _cross(self, kind: str, test: CrossTest) -> str:
        earlier = self._steps[test.step].kind
        if isinstance(test, Join):
            other = f'{{"{self._name}s{test.step}":"f{self._wire.place(earlier, test.other)}"}}'
            return _compare(self._wire.place(kind, test.field), test.op, other)
        # "The earlier item has a value" must be a test across facts too: u is 1, and so is h when there is one.
        return f'{{"u":{{"{self._name}s{test.step}":"h{self._wire.place(earlier, test.field)}"}}}}'


def _compare(place: int, op: Operator, right: str) -> str:
    if op == "==":
        return f'{{"f{place}":{right}}}'
    return f'{{"{_OPERATORS[op]}":{{"f{place}":{right}}}}}'
