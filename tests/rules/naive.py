"""Evaluates rules straight from what their author wrote, in the slowest and plainest way.

It shares no line with the compiler, so that a mistake there cannot hide in both matchers at once.
"""

import operator
from itertools import product

from rules.conditions import Binding, FieldRef, ParameterRef

OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def holds(test, item, bound, items, parameters):
    left = item.values.get(test.field)
    right = test.right
    if isinstance(right, ParameterRef):
        right = parameters[right.name]
    elif isinstance(right, FieldRef):
        right = items[bound[right.alias]].values.get(right.field)
    return left is not None and right is not None and bool(OPERATORS[test.op](left, right))


def fits(pattern, index, bound, items, parameters):
    """Whether an item matches, which no earlier pattern may have bound."""
    return (
        items[index].kind == pattern.kind
        and index not in bound.values()
        and all(holds(test, items[index], bound, items, parameters) for test in pattern.tests)
    )


def rule_matches(rule, items, parameters):
    """Every firing of one rule, by trying every way to bind its aliases."""
    patient = {
        part.alias: part
        for part in rule.condition
        if getattr(part.pattern, "kind", "") == "patient"
    }
    ordered = [
        *patient.values(),
        *(part for part in rule.condition if part not in patient.values()),
    ]
    bindings = [part for part in ordered if isinstance(part, Binding)]
    candidates = [
        [index for index, item in enumerate(items) if item.kind == part.pattern.kind]
        for part in bindings
    ]
    for choice in product(*candidates):
        chosen = iter(choice)
        bound = {}
        for part in ordered:
            if isinstance(part, Binding):
                index = next(chosen)
                if not fits(part.pattern, index, bound, items, parameters):
                    break
                bound[part.alias] = index
            elif any(fits(part.pattern, n, bound, items, parameters) for n in range(len(items))):
                break
        else:
            written = [part.alias for part in rule.condition if isinstance(part, Binding)]
            yield rule.name, tuple(bound[alias] for alias in written)


def matches(rules, items, parameters):
    """Every firing of several rules, sorted, without repeats."""
    return sorted({match for rule in rules for match in rule_matches(rule, items, parameters)})
