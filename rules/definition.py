"""Writes rules down in the form the C engine of durable_rules reads, in the only shapes it evaluates rightly.

In every rule the patient is the first pattern (and is asserted last), so that nothing is joined, and no negation
decided, before all facts are in. In every pattern the kind is tested first and tests across facts come last, closed
by a guard that is always true: the engine's evaluator runs past the end of a pattern whose last term is false.
"""

from __future__ import annotations

from collections.abc import Sequence

from rules.authoring import Operator
from rules.encoding import Wire
from rules.program import PATIENT, CompiledRule, CrossTest, Join, Known, SingleTest, Step

SENTINEL = "sentinel"
_LAST = 60_000  # priorities reach 65,535; the sentinel fires after every rule
_OPERATORS: dict[Operator, str] = {"!=": "$neq", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}


def write_definition(rules: Sequence[CompiledRule], wire: Wire) -> str:
    """The rule set as JSON text: rules are named ``r0``, ``r1`` ..., their steps ``r0s0``, ``r0s1`` ..."""
    written = [
        f'"r{number}":{{"all":[{_steps(f"r{number}", rule, wire)}]}}'
        for number, rule in enumerate(rules)
    ]
    gate = f'{{"{SENTINEL}s0":{{"K":{wire.kinds[PATIENT].number}}}}}'
    written.append(f'"{SENTINEL}":{{"all":[{gate}],"pri":{_LAST}}}')
    return f"{{{','.join(written)}}}"


def _steps(name: str, rule: CompiledRule, wire: Wire) -> str:
    parts = []
    for number, step in enumerate(rule.steps):
        alias = f"{name}s{number}" + ("$not" if step.negated else "")
        parts.append(f'{{"{alias}":{{"$and":[{",".join(_terms(name, step, wire))}]}}}}')
    return ",".join(parts)


def _terms(name: str, step: Step, wire: Wire) -> list[str]:
    terms = [f'{{"K":{wire.kinds[step.kind].number}}}']
    terms += [_single(test, wire) for test in step.tests]
    terms += [_cross(name, join) for join in step.joins]
    if step.joins:
        terms.append(f'{{"ONE":{{"{name}s0":"ONE"}}}}')
    return terms


def _single(test: SingleTest, wire: Wire) -> str:
    if isinstance(test, Known):
        return f'{{"HAS_{test.field}":1}}'
    return _compare(test.field, test.op, str(wire.constant(test.value)))


def _cross(name: str, test: CrossTest) -> str:
    if isinstance(test, Join):
        return _compare(test.field, test.op, f'{{"{name}s{test.step}":"{test.other}"}}')
    return f'{{"ONE":{{"{name}s{test.step}":"HAS_{test.field}"}}}}'


def _compare(field: str, op: Operator, right: str) -> str:
    if op == "==":
        return f'{{"{field}":{right}}}'
    return f'{{"{_OPERATORS[op]}":{{"{field}":{right}}}}}'
