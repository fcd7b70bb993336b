"""durable_rules, the generated Python and the plain evaluator give the same firings for the same facts."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.compiler import compile_rules
from rules.driver import DurableMatcher
from rules.oracle import CompiledMatcher
from tests.rules import differential


def test_ten_thousand_evaluations_without_a_difference():
    seen = differential.compare(10_000, seed=20_261_122)
    assert seen["evaluations"] >= 10_000
    assert seen["firings"] > 5_000
    assert seen["plain"] > 1_000
    assert seen["strata"] > seen["rulebooks"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_the_order_of_the_facts_never_changes_what_fires(seed, shuffler):
    rng = random.Random(seed)
    rules, schema, parameters = differential.random_rulebook(rng)
    program = compile_rules(rules, schema, parameters)
    durable, compiled = DurableMatcher(program), CompiledMatcher(program)
    items = differential.random_items(rng, schema)
    order = list(range(len(items)))
    shuffler.shuffle(order)
    shuffled = [items[place] for place in order]
    for stratum in range(program.strata):
        expected = durable.match(items, stratum)
        for matcher in (durable, compiled):
            found = matcher.match(shuffled, stratum)
            back = sorted((name, tuple(order[place] for place in places)) for name, places in found)
            assert back == expected
    durable.close()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_a_rule_fires_only_when_all_its_triggers_are_present(seed):
    rng = random.Random(seed)
    rules, schema, parameters = differential.random_rulebook(rng)
    program = compile_rules(rules, schema, parameters)
    compiled = CompiledMatcher(program)
    for _ in range(10):
        items = differential.random_items(rng, schema)
        present = {item.kind for item in items}
        for stratum in range(program.strata):
            for name, _ in compiled.match(items, stratum):
                assert program.triggers(name) <= present


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_some_rules_asked_alone_fire_as_among_all(seed):
    """Also when they are shown nothing but what they look at: what others deny is then missing."""
    rng = random.Random(seed)
    rules, schema, parameters = differential.random_rulebook(rng)
    program = compile_rules(rules, schema, parameters)
    matchers = DurableMatcher(program), CompiledMatcher(program)
    items = differential.random_items(rng, schema)
    for stratum, held in enumerate(program.rules):
        every = matchers[1].match(items, stratum)
        for size in {1, min(5, len(held)), len(held)}:
            only = frozenset(rule.name for rule in rng.sample(held, size))
            findings = program.findings_of(only)
            kept = [
                place
                for place, one in enumerate(items)
                if not one.kind.startswith("finding:")
                or one.kind.removeprefix("finding:") in findings
            ]
            expected = [match for match in every if match[0] in only]
            for matcher in matchers:
                assert matcher.match(items, stratum, only) == expected
                found = matcher.match([items[place] for place in kept], stratum, only)
                assert [
                    (name, tuple(kept[n] for n in places)) for name, places in found
                ] == expected
    matchers[0].close()


def test_the_command_counts_and_ends_well(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["differential", "--evaluations", "200", "--seed", "7"])
    assert differential.main() == 0
    assert '"evaluations": 2' in capsys.readouterr().out


def test_the_command_ends_with_1_at_a_difference(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["differential", "--evaluations", "500", "--seed", "7"])
    monkeypatch.setattr(differential.CompiledMatcher, "match", lambda *_: [("never", (0,))])
    assert differential.main() == 1
    assert "difference" in capsys.readouterr().err
