"""The ten promises without which durable_rules must not touch a patient's facts (docs/adr/0003).

The C engine under these tests is the real one; a witness stands beside it and writes down what it is given.
"""

import ast
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

import rules.driver
from rules.authoring import c, fact, finding, m, none, rule, when_all
from rules.compiler import Item, compile_rules
from rules.definition import write_definition
from rules.driver import DurableMatcher
from rules.encoding import Wire
from rules.errors import EngineError
from rules.oracle import CompiledMatcher
from rules.topics import MOST_CONDITIONS, MOST_PATTERNS, divide

SECRET = "Zwiebelkuchen"
SCHEMA = {
    "patient": {"age_years": "integer?"},
    "context": {"hook": "text"},
    "finding:vka": {"name_of": "text", "days": "integer?", "inr": "number?", "steady": "boolean"},
    "finding:k": {"dose": "number", "days": "integer?"},
    "finding:said": {},
}


def made(name, *conditions, infers=()):
    return rule(name, infers=infers)(when_all(*conditions)(lambda _: None))


RULES = [
    made("adult", c.p << fact("patient") & (m.age_years >= 18)),
    made(
        "pair",
        c.v << finding("vka") & (m.steady == False),  # noqa: E712
        c.k << finding("k") & (m.about == c.v.about) & (m.days != c.v.days) & (m.dose > 1e-07),
        none(finding("said") & (m.about == c.k.about)),
    ),
    made("first", c.k << finding("k") & (m.dose >= 10), infers=["said"]),
]


def program_of(rules=RULES, schema=SCHEMA):
    return compile_rules(rules, schema, {})


def vka(about="warfarin", **values):
    return Item("finding:vka", {"about": about, "name_of": SECRET, "steady": False, **values})


def k(about="warfarin", **values):
    return Item("finding:k", {"about": about, "dose": 45.0, **values})


PATIENT = Item("patient", {"age_years": 70})
ITEMS = [vka(days=3), PATIENT, k(days=4), k(), k("other", days=4, dose=1e-07)]


class Witness:
    """Stands beside the C engine and remembers every call."""

    def __init__(self, engine):
        self._engine = engine
        self.calls = []

    def __getattr__(self, name):
        real = getattr(self._engine, name)

        def call(*arguments):
            answer = real(*arguments)
            self.calls.append((name, arguments, answer))
            return answer

        return call

    def given(self, name):
        return [arguments for called, arguments, _ in self.calls if called == name]


@pytest.fixture
def witness(monkeypatch):
    seen = Witness(rules.driver.load_engine())
    monkeypatch.setattr(rules.driver, "load_engine", lambda: seen)
    return seen


# 1 ---------------------------------------------------------------------------------------------------------------


def test_1_only_the_plain_entry_points_of_the_engine_are_ever_named(root):
    named = set()
    for path in sorted((root / "rules").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                assert not any(name.split(".")[0] == "durable" for name in names), path
            if path.name == "driver.py" and isinstance(node, ast.Attribute):
                owner = ast.unparse(node.value)
                if owner in {"engine", "self._engine"}:
                    named.add(node.attr)
    assert named == {
        "create_ruleset",
        "delete_ruleset",
        "assert_facts",
        "start_action_for_state",
        "complete_and_start_action",
        "delete_state",
    }


def test_1_matching_starts_no_thread_and_loads_no_host(root):
    code = (
        "import sys, threading\n"
        "from tests.rules.test_invariants import *\n"
        "from rules.driver import DurableMatcher\n"
        "matcher = DurableMatcher(program_of())\n"
        "assert matcher.match(ITEMS, 0)\n"
        "print(threading.active_count(), 'durable.lang' in sys.modules, 'durable.engine' in sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.split() == ["1", "False", "False"]


# 2 ---------------------------------------------------------------------------------------------------------------


def test_2_every_session_is_deleted_under_the_same_constant_id(witness):
    matcher = DurableMatcher(program_of())
    for _ in range(3):
        matcher.match(ITEMS, 0)
    asserted, deleted = witness.given("assert_facts"), witness.given("delete_state")
    assert len(asserted) == len(deleted) > 3
    assert {session for _, session in deleted} == {"0"}
    handle = asserted[-1][0]
    with pytest.raises(Exception, match="309"):
        rules.driver.load_engine()._engine.get_facts(handle, "0")
    matcher.close()


def test_2_ids_are_ours_and_no_text_of_a_patient_enters_the_engine(witness):
    matcher = DurableMatcher(program_of())
    matcher.match(ITEMS, 1)
    (_, text) = witness.given("assert_facts")[-1]
    facts = json.loads(text)
    assert sorted(fact["id"] for fact in facts) == ["0", "1", "2", "3", "4"]
    assert SECRET not in text
    assert "warfarin" not in text
    assert not any(set(fact) & {"sid", "name_of", "about"} for fact in facts)
    matcher.close()


# 3 and 4 ---------------------------------------------------------------------------------------------------------


def test_3_facts_are_flat_complete_and_exactly_typed(witness):
    matcher = DurableMatcher(program_of())
    matcher.match(ITEMS, 1)
    facts = {int(fact["id"]): fact for fact in json.loads(witness.given("assert_facts")[-1][1])}
    assert all(fact["u"] == 1 for fact in facts.values())
    assert facts[2].keys() == facts[3].keys() == facts[4].keys()
    for one in facts.values():
        values = [value for name, value in one.items() if name != "id"]
        assert all(type(value) in {int, float} for value in values)
    (dose,) = {name for name, value in facts[2].items() if value == 45.0}
    assert all(type(facts[n][dose]) is float for n in (2, 3, 4))
    assert "1.0e-07" in witness.given("assert_facts")[-1][1]
    matcher.close()


def test_4_what_is_unknown_is_said_so_and_never_satisfies_a_test(witness):
    matcher = DurableMatcher(program_of())
    assert matcher.match(ITEMS, 1) == [
        ("pair", (0, 2))
    ]  # 3 has no days, so days != 3 does not hold
    facts = {int(fact["id"]): fact for fact in json.loads(witness.given("assert_facts")[-1][1])}
    changed = {name for name in facts[2] if facts[2][name] != facts[3][name]} - {"id"}
    assert {name[0] for name in changed} == {"h", "f"}
    assert sorted(facts[3][name] for name in changed) == [0, 0]
    matcher.close()


def test_4_missing_values_on_either_side_of_a_join_are_never_equal():
    joined = made("same", c.v << finding("vka"), c.k << finding("k") & (m.days == c.v.days))
    denied = made("none", c.v << finding("vka"), none(finding("k") & (m.days == c.v.days)))
    program = program_of([joined, denied])
    durable, compiled = DurableMatcher(program), CompiledMatcher(program)
    cases = {
        (None, None): [("none", (0,))],
        (0, None): [("none", (0,))],
        (None, 0): [("none", (0,))],
        (0, 0): [("same", (0, 1))],
    }
    for (one, other), expected in cases.items():
        items = [vka(days=one), k(days=other), PATIENT]
        assert durable.match(items, 0) == compiled.match(items, 0) == expected, (one, other)
    durable.close()


# 5 ---------------------------------------------------------------------------------------------------------------


def shapes(program):
    for stratum in program.rules:
        definition = json.loads(write_definition(stratum, Wire.of(program)))
        yield from (written for name, written in definition.items() if name != "sentinel")


def test_5_definitions_have_only_the_shapes_that_are_evaluated_rightly():
    gate = f"k{program_of().kinds['patient'].number}"
    checked = 0
    for written in shapes(program_of()):
        assert set(written) == {"all"}
        for number, step in enumerate(written["all"]):
            ((alias, body),) = step.items()
            assert set(body) == {"$and"}
            first = next(iter(body["$and"][0]))
            assert (first == gate) == (number == 0)
            assert first.startswith("k")
            assert not (number == 0 and alias.endswith("$not"))
            kinds = [_crosses(term) for term in body["$and"]]
            assert kinds == sorted(kinds), "a test of the fact alone stands behind one across facts"
            if any(kinds):
                gate_step = alias.partition("s")[0] + "s0"
                assert body["$and"][-1] == {"$gte": {"u": {gate_step: "u"}}}
                checked += 1
    assert checked == 2
    text = "".join(json.dumps(written) for written in shapes(program_of()))
    for forbidden in ("$or", "$nex", "$ex", "$mt", "$imt", "$add", "$div", "$s", '"id"', '"sid"'):
        assert forbidden not in text


def _crosses(term):
    ((name, right),) = term.items()
    right = next(iter(right.values())) if name.startswith("$") else right
    return isinstance(right, dict)


def test_5_the_guard_keeps_a_false_last_term_from_deciding_at_random():
    """Without it the engine reads past the end of the pattern; with it many false joins stay false."""
    last = made(
        "last",
        c.v << finding("vka"),
        c.k << finding("k") & (m.about == c.v.about) & (m.days == c.v.days),
    )
    program = program_of([last])
    durable = DurableMatcher(program)
    items = [PATIENT, *(vka(days=n) for n in range(9)), *(k(days=100 + n) for n in range(9))]
    assert durable.match(items, 0) == []
    durable.close()


def test_5_nothing_is_decided_before_the_patient_arrives_last(witness):
    matcher = DurableMatcher(program_of())
    items = [PATIENT, vka(days=3), k(days=4), Item("finding:said", {"about": "warfarin"})]
    assert matcher.match(items, 1) == []
    facts = json.loads(witness.given("assert_facts")[-1][1])
    assert facts[-1]["id"] == "0"
    matcher.close()


# 6 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("joined", [False, True])
def test_6_many_rules_are_divided_before_a_table_of_the_engine_overflows(joined):
    test = (lambda n: (m.days > c.v.days) & (m.days == n)) if joined else (lambda n: m.days == n)
    many = [
        made(f"rule-{n:03}", c.v << finding("vka"), c.k << finding("k") & test(n))
        for n in range(300)
    ]
    program = program_of(many)
    handles = divide(program.rules[0])
    assert len(handles) > 1
    assert sorted(r.name for topic in handles for r in topic.rules) == [r.name for r in many]
    for topic in handles:
        assert sum(len(r.steps) for r in topic.rules) < MOST_PATTERNS
        assert len(topic.rules) <= MOST_CONDITIONS
    durable, compiled = DurableMatcher(program), CompiledMatcher(program)
    items = [PATIENT, vka(days=5), *(k(days=n) for n in range(0, 300, 7))]
    found = durable.match(items, 0)
    assert found == compiled.match(items, 0)
    assert len(found) == (42 if joined else 43)
    durable.close()


def test_6_a_fact_that_meets_all_conditions_of_a_handle_is_not_lost():
    """The engine loses a fact that meets 65 conditions at once; 300 rules here share every fact."""
    many = [made(f"rule-{n:03}", c.k << finding("k") & (m.dose > n)) for n in range(300)]
    program = program_of(many)
    durable = DurableMatcher(program)
    assert len(durable.match([PATIENT, k(dose=1_000.0)], 0)) == 300
    durable.close()


def test_6_three_hundred_rules_may_share_one_final_condition():
    """The engine accepts 255 patterns behind one condition and overruns its table."""
    many = [made(f"rule-{n:03}", c.k << finding("k"), c.v << finding("vka")) for n in range(300)]
    program = program_of(many)
    durable = DurableMatcher(program)
    assert len(durable.match([PATIENT, k(), vka()], 0)) == 300
    durable.close()


# 7 ---------------------------------------------------------------------------------------------------------------


def test_7_conclusions_are_not_drawn_inside_the_engine():
    called = []
    speaking = rule("speaks")(when_all(c.k << finding("k"))(called.append))
    program = program_of([speaking])
    durable = DurableMatcher(program)
    assert durable.match([PATIENT, k()], 0) == [("speaks", (1,))]
    assert called == []
    durable.close()


# 8 ---------------------------------------------------------------------------------------------------------------


def test_8_a_batch_the_engine_stops_reading_is_an_error_and_the_handle_is_retired(
    monkeypatch, witness
):
    matcher = DurableMatcher(program_of())
    real = rules.driver.write_batch

    def with_an_unreadable_fact(chunks):
        first, *others = chunks
        return real([first, '{"id":"9","k1":1e-07}', *others])

    monkeypatch.setattr(rules.driver, "write_batch", with_an_unreadable_fact)
    with pytest.raises(EngineError, match="did not read all facts"):
        matcher.match([vka(days=3), PATIENT, k(days=4)], 1)
    assert len(witness.given("delete_ruleset")) == 1
    monkeypatch.setattr(rules.driver, "write_batch", real)
    assert matcher.match(ITEMS, 1) == [("pair", (0, 2))]
    matcher.close()


class Faulty(Witness):
    """The real engine with one fault at a time."""

    fault = ""

    def __getattr__(self, name):
        real = super().__getattr__(name)
        if name == "assert_facts" and self.fault == "observed":
            return lambda *given: (2, real(*given)[1])
        if name == "start_action_for_state" and self.fault == "silent":
            return lambda *given: None
        if name == "complete_and_start_action" and self.fault == "twice":
            return lambda *given: '{"sentinel":{"sentinels0":{"id":"0"}}}'
        if name == "complete_and_start_action" and self.fault == "unknown":
            return lambda *given: '{"r99":{"r99s1":{"id":"0"}}}'
        if name == "complete_and_start_action" and self.fault == "cut":
            return lambda *given: None
        if name == "delete_state" and self.fault == "raises":
            return lambda *given: 1 // 0
        if name == "complete_and_start_action" and self.fault == "interrupted":

            def interrupt(*_given):
                raise KeyboardInterrupt

            return interrupt
        return real


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("observed", EngineError),
        ("silent", EngineError),
        ("twice", EngineError),
        ("unknown", EngineError),
        ("cut", EngineError),
        ("raises", EngineError),
        ("interrupted", KeyboardInterrupt),
    ],
)
def test_8_any_doubt_retires_the_handle_and_the_next_patient_gets_a_new_one(
    monkeypatch, fault, error
):
    engine = Faulty(rules.driver.load_engine())
    monkeypatch.setattr(rules.driver, "load_engine", lambda: engine)
    matcher = DurableMatcher(program_of())
    engine.fault = fault
    with pytest.raises(error):
        matcher.match(ITEMS, 1)
    assert len(engine.given("delete_ruleset")) == 1
    engine.fault = ""
    assert matcher.match(ITEMS, 1) == [("pair", (0, 2))]
    matcher.close()


def test_8_the_sentinel_comes_after_every_rule_by_priority_too():
    program = program_of()
    definition = json.loads(write_definition(program.rules[1], Wire.of(program)))
    assert definition["sentinel"]["pri"] == 60_000
    assert all("pri" not in written for name, written in definition.items() if name != "sentinel")


# 9 ---------------------------------------------------------------------------------------------------------------


def test_9_a_rule_that_denies_what_another_infers_waits_for_it():
    program = program_of()
    assert [[r.name for r in stratum] for stratum in program.rules] == [
        ["adult", "first"],
        ["pair"],
    ]
    durable = DurableMatcher(program)
    items = [vka(days=3), PATIENT, k(days=4)]
    assert durable.match(items, 0) == [("adult", (1,)), ("first", (2,))]
    assert durable.match(items, 1) == [("pair", (0, 2))]
    inferred = [*items, Item("finding:said", {"about": "warfarin"})]
    assert durable.match(inferred, 1) == []
    durable.close()


# 10 --------------------------------------------------------------------------------------------------------------


def test_10_the_comparison_of_both_engines_finds_a_planted_difference(monkeypatch):
    """The comparison itself runs in test_differential; here it is shown that it can fail."""
    from tests.rules import differential

    honest = differential.CompiledMatcher.match

    def forgetful(self, items, stratum):
        return [match for match in honest(self, items, stratum) if random.random() > 0.05]

    monkeypatch.setattr(differential.CompiledMatcher, "match", forgetful)
    with pytest.raises(AssertionError):
        differential.compare(3_000, seed=3)


def test_10_the_comparison_is_part_of_the_suite():
    text = (Path(__file__).parent / "test_differential.py").read_text()
    assert "compare(" in text
