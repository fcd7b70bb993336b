"""How fast rules are matched: durable_rules and the generated Python, against a floor of plain nested loops.

One patient: 30 facts of 12 kinds. 42 rules: 12 test one fact, 18 join two, 6 join three, 6 deny a third. The floor is
what one would write by hand for just these rules: it groups the facts and loops, reads dictionaries, checks nothing.
All three must find the same firings. Ratios are medians of one run; microseconds only give the scale.

    python -m benchmarks.engine
"""

import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from rules.authoring import Rule
from rules.compiler import Item, compile_rules
from rules.conditions import Binding, FieldRef, Negation, Pattern, Test
from rules.driver import DurableMatcher
from rules.oracle import CompiledMatcher

KINDS = [f"finding:k{number}" for number in range(12)]
SUBJECTS = ("warfarin", "vitamin-k2-mk7", "vitamin-d3", "inr")
FIELDS = {"steady": "boolean", "days": "integer", "dose": "number", "level": "text"}
SCHEMA = {"patient": {"age_years": "integer"}} | dict.fromkeys(KINDS, FIELDS)
SHAPES = [("one", 12), ("two", 18), ("three", 6), ("denied", 6)]


def rules(seed: int = 4) -> list[Rule]:
    """The same 42 rules every time."""
    rng = random.Random(seed)
    return [
        _rule(rng, f"{shape}-{number}", shape) for shape, count in SHAPES for number in range(count)
    ]


def _rule(rng: random.Random, name: str, shape: str) -> Rule:
    joined = {"one": 1, "two": 2, "three": 3, "denied": 2}[shape]
    kinds = rng.sample(KINDS, joined + 1)
    parts: list[Binding | Negation] = [
        Binding("p", Pattern("patient", (Test("age_years", ">=", 18),))),
        Binding("b0", Pattern(kinds[0], _tests(rng, 2 if shape == "one" else 1))),
    ]
    for number in range(1, joined):
        same = Test("about", "==", FieldRef(f"b{number - 1}", "about"))
        parts.append(Binding(f"b{number}", Pattern(kinds[number], (*_tests(rng, 1), same))))
    if shape == "denied":
        same = Test("about", "==", FieldRef("b0", "about"))
        parts.append(Negation(Pattern(kinds[-1], (*_tests(rng, 1), same))))
    return Rule(name, tuple(parts), lambda _: None, (), silent=False, where="benchmark")


def _tests(rng: random.Random, count: int) -> tuple[Test, ...]:
    tests = (
        Test("steady", "==", rng.random() < 0.5),
        Test("days", ">", rng.choice((30, 60, 90))),
        Test("dose", ">=", rng.choice((10.0, 45.0, 90.0))),
        Test("level", "!=", "low"),
    )
    return tuple(rng.sample(tests, count))


def items(rng: random.Random, count: int) -> list[Item]:
    """One adult and so many findings, spread over all kinds."""
    findings = [
        Item(
            rng.choice(KINDS),
            {
                "about": rng.choice(SUBJECTS),
                "steady": rng.random() < 0.5,
                "days": rng.randrange(200),
                "dose": round(rng.uniform(0, 200), 2),
                "level": rng.choice(("low", "mid", "high")),
            },
        )
        for _ in range(count - 1)
    ]
    return [Item("patient", {"age_years": rng.randrange(18, 100)}), *findings]


def floor(all_rules: list[Rule]) -> Callable[[list[Item]], Any]:
    """Plain nested loops for these rules, written out once."""
    lines = [
        "def floor(items):",
        " found = []; kinds = {}",
        " for n, (kind, values) in enumerate(items): kinds.setdefault(kind, []).append((n, values))",
    ]
    for rule in all_rules:
        depth = 1
        names = []
        for number, part in enumerate(rule.condition):
            name = part.alias if isinstance(part, Binding) else f"n{number}"
            test = " and ".join(
                f"{name}[{t.field!r}] {t.op} "
                + (
                    f"{t.right.alias}[{t.right.field!r}]"
                    if isinstance(t.right, FieldRef)
                    else repr(t.right)
                )
                for t in part.pattern.tests
            )
            pad = " " * depth
            lines.append(f"{pad}for {name}_, {name} in kinds.get({part.pattern.kind!r}, ()):")
            lines.append(f"{pad} if {test}:")
            depth += 2
            if isinstance(part, Negation):
                lines += [f"{pad}  break", f"{pad}else:"]
                depth -= 1
            else:
                names.append(f"{name}_")
        lines.append(f"{' ' * depth}found.append(({rule.name!r}, ({', '.join(names)},)))")
    scope: dict[str, Any] = {}
    exec("\n".join([*lines, " found.sort()", " return found"]), scope)
    return scope["floor"]


def _microseconds(match: Callable[[list[Item]], Any], patients: list[list[Item]]) -> float:
    began = time.perf_counter()
    for patient in patients:
        match(patient)
    return (time.perf_counter() - began) / len(patients) * 1e6


def measure(facts: int = 30, patients: int = 400, repeats: int = 9) -> dict[str, Any]:
    """Ratios of medians to the floor, the medians in microseconds, and what was measured."""
    rng = random.Random(11)
    all_rules = rules()
    program = compile_rules(all_rules, SCHEMA, {})
    durable, compiled = DurableMatcher(program), CompiledMatcher(program)
    matchers = {
        "floor": floor(all_rules),
        "compiled": lambda one: compiled.match(one, 0),
        "durable": lambda one: durable.match(one, 0),
    }
    crowd = [items(rng, facts) for _ in range(patients)]
    found = {name: [match(one) for one in crowd] for name, match in matchers.items()}
    assert found["floor"] == found["compiled"] == found["durable"], "the engines disagree"
    times: dict[str, list[float]] = {name: [] for name in matchers}
    for _ in range(repeats):
        for name, match in matchers.items():
            times[name].append(_microseconds(match, crowd))
    median = {name: statistics.median(taken) for name, taken in times.items()}
    durable.close()
    return {
        "ratios": {
            "compiled to floor": round(median["compiled"] / median["floor"], 2),
            "durable to floor": round(median["durable"] / median["floor"], 2),
        },
        "reach": {"compiled to floor": 1.5, "durable to floor": 7},
        "microseconds": {name: round(taken, 1) for name, taken in median.items()},
        "facts": facts,
        "rules": len(all_rules),
        "firings a patient": round(sum(map(len, found["floor"])) / patients, 1),
    }


if __name__ == "__main__":
    print(json.dumps([measure(facts) for facts in (30, 10, 60)], indent=1))
