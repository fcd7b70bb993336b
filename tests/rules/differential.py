"""Random rulebooks and patients, put to durable_rules, to the generated Python and, in part, to the plain evaluator.

    python -m tests.rules.differential --evaluations 200000 --seed 7

prints how many evaluations were made, how many firings they had, and ends with status 1 at the first difference.
"""

import argparse
import json
import random
import sys
import time
from types import SimpleNamespace

from rules.authoring import Rule
from rules.compiler import Item, compile_rules
from rules.conditions import Binding, FieldRef, Negation, ParameterRef, Pattern, Test
from rules.driver import DurableMatcher
from rules.oracle import CompiledMatcher
from tests.rules import naive

TYPES = ("text", "integer", "number", "boolean")
ORDERED = ("==", "!=", "<", "<=", ">", ">=")
VALUES = {
    "text": (
        "a",
        "b",
        "ab",
        "",
        "5",
        "true",
        'quo"te',
        "back\\slash",
        "ümlaut",
        "\ud800",
        "x" * 2_000,
    ),
    "integer": (0, 1, -1, 5, 2**53, -(2**53)),
    "number": (0.0, -0.0, 1.0, 5.0, 5.5, 1e-07, 5e-324, 0.1, -2.5, 2.0**53, 1e15 + 0.5),
    "boolean": (True, False),
}
PATIENTS_EACH = 25
PLAIN_EVERY = 5


def random_schema(rng):
    schema = {
        "patient": {"age": "integer?", "sex": "text?", "frail": "boolean"},
        "context": {"hook": "text"},
    }
    for number in range(rng.randint(2, 7)):
        schema[f"finding:k{number}"] = {
            f"f{n}": rng.choice(TYPES) + rng.choice(("", "?")) for n in range(rng.randint(0, 4))
        }
    return schema


def fields_of(schema, kind):
    about = {"about": "text"} if kind.startswith("finding:") else {}
    return {**about, **schema[kind]}


def random_test(rng, schema, kind, bound, parameters):
    name, words = rng.choice(list(fields_of(schema, kind).items()))
    base = words.rstrip("?")
    op = rng.choice(ORDERED if base in {"integer", "number"} else ("==", "!="))
    others = [
        (alias, field)
        for alias, other in bound.items()
        for field, theirs in fields_of(schema, other).items()
        if theirs.rstrip("?") == base
    ]
    if others and rng.random() < 0.6:
        return Test(name, rng.choice(("==", op)), FieldRef(*rng.choice(others)))
    if rng.random() < 0.3:
        return Test(
            name, op, ParameterRef(rng.choice([p for p in parameters if p.startswith(base)]))
        )
    return Test(name, op, common_or_rare(rng, base))


def common_or_rare(rng, base):
    """Mostly one of two values, so that tests hold and joins meet; sometimes any of them."""
    return rng.choice(VALUES[base] if rng.random() < 0.25 else VALUES[base][:2])


def random_pattern(rng, schema, kind, bound, parameters):
    count = rng.choice((0, 0, 1, 1, 2, 3)) if fields_of(schema, kind) else 0
    tests = tuple(random_test(rng, schema, kind, bound, parameters) for _ in range(count))
    return Pattern(kind, tests, "rules.py:1")


def random_rule(rng, schema, name, readable, infers, parameters):
    bound = {}
    parts = []
    if rng.random() < 0.4:
        parts.append(Binding("p", random_pattern(rng, schema, "patient", {}, parameters)))
        bound["p"] = "patient"
    for number in range(rng.choice((1, 1, 2, 2, 3, 4))):
        kind = rng.choice(readable)
        parts.append(Binding(f"b{number}", random_pattern(rng, schema, kind, bound, parameters)))
        bound[f"b{number}"] = kind
        if rng.random() < 0.35:
            denied = random_pattern(rng, schema, rng.choice(readable), bound, parameters)
            parts.append(Negation(denied))
    return Rule(name, tuple(parts), lambda _: None, infers, silent=False, where="rules.py:1")


def random_rulebook(rng):
    """Rules, schema and parameters; the last two kinds are only inferred, so that there are strata."""
    schema = random_schema(rng)
    parameters = {f"{base}-{n}": common_or_rare(rng, base) for base in TYPES for n in range(2)}
    kinds = [kind for kind in schema if kind != "patient"]
    rules = []
    most = 14 if rng.random() < 0.9 else 60  # sixty stand in several handles
    for number in range(rng.randint(1, most)):
        level = rng.randrange(1, len(kinds))
        inferred = kinds[level].removeprefix("finding:")
        infers = (inferred,) if rng.random() < 0.25 else ()
        readable = kinds[:level] if infers else kinds
        rules.append(random_rule(rng, schema, f"rule-{number}", readable, infers, parameters))
    return rules, schema, parameters


def random_value(rng, words):
    if words.endswith("?") and rng.random() < 0.4:
        return None
    base = words.rstrip("?")
    if base == "number" and rng.random() < 0.1:
        return rng.choice((0, 1, 5))  # a whole number where a number is declared
    return common_or_rare(rng, base)


def random_items(rng, schema):
    kinds = list(schema)
    chosen = ["patient", *(rng.choice(kinds[1:]) for _ in range(rng.randrange(12)))]
    rng.shuffle(chosen)
    items = []
    for kind in chosen:
        values = {name: random_value(rng, words) for name, words in fields_of(schema, kind).items()}
        if rng.random() < 0.5:
            values = {name: value for name, value in values.items() if value is not None}
        items.append(Item(kind, values))
    return items


def compare(evaluations, seed):
    """Run at least so many evaluations; the first difference is raised with what is needed to repeat it."""
    rng = random.Random(seed)
    seen = SimpleNamespace(evaluations=0, firings=0, plain=0, rulebooks=0, strata=0)
    while seen.evaluations < evaluations:
        book_seed = rng.randrange(2**63)
        compare_rulebook(book_seed, seen)
    return vars(seen)


def compare_rulebook(book_seed, seen):
    rng = random.Random(book_seed)
    rules, schema, parameters = random_rulebook(rng)
    program = compile_rules(rules, schema, parameters)
    by_name = {rule.name: rule for rule in rules}
    durable, compiled = DurableMatcher(program), CompiledMatcher(program)
    seen.rulebooks += 1
    seen.strata += program.strata
    try:
        for patient in range(PATIENTS_EACH):
            items = random_items(rng, schema)
            for stratum in range(program.strata):
                one, other = durable.match(items, stratum), compiled.match(items, stratum)
                assert one == other, (book_seed, patient, stratum, one, other)
                if patient % PLAIN_EVERY == 0:
                    held = [by_name[rule.name] for rule in program.rules[stratum]]
                    plain = naive.matches(held, items, parameters)
                    assert plain == other, (book_seed, patient, stratum, plain, other)
                    seen.plain += 1
                seen.evaluations += 1
                seen.firings += len(one)
    finally:
        durable.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began = time.monotonic()
    try:
        seen = compare(asked.evaluations, asked.seed)
    except AssertionError as difference:
        print(f"difference: {difference}", file=sys.stderr)
        return 1
    print(json.dumps({**seen, "seconds": round(time.monotonic() - began, 1)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
