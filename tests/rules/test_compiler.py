"""Rules become a program, or are refused with the place and with what to write instead."""

import math
from dataclasses import replace

import pytest

from rules.authoring import Rule, c, fact, finding, m, none, parameter, rule, when_all
from rules.compiler import LONGEST_TEXT, MOST_PATTERNS, MOST_TESTS, Item, compile_rules, fit
from rules.conditions import Pattern, Test
from rules.driver import DurableMatcher
from rules.errors import UnsafeRule
from rules.oracle import CompiledMatcher
from rules.program import Check, Field, Join, Known, KnownEarlier, Step

SCHEMA = {
    "patient": {"age_years": "integer?", "sex": "text"},
    "context": {"hook": "text"},
    "finding:vka": {"days": "integer", "dose": "number?", "steady": "boolean", "words": "text?"},
    "finding:k": {"dose": "number", "since": "integer?"},
    "finding:said": {},
}
PARAMETERS = {"floor": 10, "name": "warfarin", "table": [{"age": 1}], "ended": None, "huge": 2**60}


def made(*conditions, name="a", infers=()):
    return rule(name, infers=infers)(when_all(*conditions)(lambda _: None))


def compiled(*conditions, **kwargs):
    program = compile_rules([made(*conditions, **kwargs)], SCHEMA, PARAMETERS)
    return program.rules[0][0]


def test_the_patient_stands_first_though_nobody_named_it():
    ready = compiled(c.v << finding("vka"))
    assert ready.steps == (
        Step("patient", (), (), negated=False),
        Step("finding:vka", (), (), negated=False),
    )
    assert ready.outputs == (1,)
    assert ready.aliases == ("v",)
    assert ready.triggers == {"finding:vka"}


def test_a_named_patient_is_moved_to_the_front_and_keeps_its_place_in_the_answer():
    ready = compiled(c.v << finding("vka"), c.p << fact("patient") & (m.age_years >= 18))
    assert ready.steps[0].tests == (Known("age_years"), Check("age_years", ">=", 18))
    assert ready.outputs == (1, 0)


def test_a_test_on_an_optional_field_asks_first_whether_it_is_known():
    ready = compiled(c.v << finding("vka") & (m.dose > 5) & (m.dose < 7))
    assert ready.steps[1].tests == (Known("dose"), Check("dose", ">", 5.0), Check("dose", "<", 7.0))
    assert isinstance(ready.steps[1].tests[1].value, float)


def test_a_join_on_optional_fields_asks_on_both_sides():
    ready = compiled(c.k << finding("k"), c.v << finding("vka") & (m.days > c.k.since))
    assert ready.steps[2].joins == (KnownEarlier(1, "since"), Join("days", ">", 1, "since"))


def test_parameters_are_resolved_in_the_type_of_the_field():
    ready = compiled(c.k << finding("k") & (m.dose >= parameter("floor")))
    assert ready.steps[1].tests == (Check("dose", ">=", 10.0),)
    assert isinstance(ready.steps[1].tests[0].value, float)


def test_a_rule_whose_parameter_is_not_in_force_is_dormant_and_says_so():
    ended = finding("k") & (m.dose >= parameter("ended")) & (m.dose < parameter("gone"))
    rules = [made(c.k << ended), made(c.v << finding("vka"), name="b")]
    program = compile_rules(rules, SCHEMA, PARAMETERS | {"gone": None})
    assert program.dormant == (("a", "ended"),)
    assert [[ready.name for ready in stratum] for stratum in program.rules] == [["b"]]


def test_a_rule_stands_after_every_rule_that_infers_what_it_reads_or_denies():
    rules = [
        made(c.k << finding("k"), none(finding("said")), name="last"),
        made(c.v << finding("vka"), name="first", infers=["said"]),
    ]
    program = compile_rules(rules, SCHEMA, PARAMETERS)
    assert [[ready.name for ready in stratum] for stratum in program.rules] == [["first"], ["last"]]
    assert program.strata == 2
    assert program.aliases("last") == ("k",)
    assert program.triggers("last") == {"finding:k"}


def test_a_program_tells_what_its_rules_look_at():
    program = compile_rules(
        [
            made(c.p << fact("patient") & (m.age_years >= 18), c.k << finding("k") & (m.dose > 1)),
            made(c.v << finding("vka") & (m.days > 3), none(finding("said")), name="b"),
        ],
        SCHEMA,
        PARAMETERS,
    )
    assert program.tested("patient") == {"age_years"}
    assert program.tested("finding:k") == {"dose"}
    assert program.tested("finding:said") == frozenset()
    assert program.findings_of(frozenset({"b"})) == {"vka", "said"}
    assert program.findings_of(frozenset({"a", "b"})) == {"k", "vka", "said"}
    assert program.could_fire(0, {"patient", "finding:k"})
    assert program.could_fire(0, {"finding:k"})
    assert not program.could_fire(0, {"patient", "finding:said"})


def test_what_a_program_remembers_is_bounded(monkeypatch):
    monkeypatch.setattr("rules.program._MOST_REMEMBERED", 2)
    rules = [made(c.k << finding("k"), name=f"r{number}") for number in range(5)]
    program = compile_rules(rules, SCHEMA, PARAMETERS)
    for one in rules * 2:
        assert program.findings_of(frozenset({one.name})) == {"k"}
        assert len(program._findings_of) <= 2


def test_every_declared_kind_is_known_whether_a_rule_looks_at_it_or_not():
    """An item of a kind that no rule looks at is passed over; one of an undeclared kind is an error."""
    looks = made(c.v << finding("vka") & (m.dose > 1) & (m.about == "warfarin"), none(finding("k")))
    kinds = compile_rules([looks], SCHEMA, PARAMETERS).kinds
    assert {name: kind.name for name, kind in kinds.items()} == {name: name for name in SCHEMA}
    assert sorted(kind.number for kind in kinds.values()) == list(range(len(SCHEMA)))
    about = {name: {"about"} if name.startswith("finding:") else set() for name in SCHEMA}
    assert {name: kind.declared for name, kind in kinds.items()} == {
        name: set(fields) | about[name] for name, fields in SCHEMA.items()
    }
    assert {name: kind.fields for name, kind in kinds.items() if kind.fields} == {
        "finding:vka": (
            Field("about", "text", optional=False),
            Field("dose", "number", optional=True),
        )
    }


def test_what_a_finding_is_about_is_always_known():
    ready = compiled(c.v << finding("vka") & (m.about == "warfarin"))
    assert ready.steps[1].tests == (Check("about", "==", "warfarin"),)


def test_no_rules_make_a_program_without_strata():
    assert compile_rules([], SCHEMA, PARAMETERS).strata == 0


REFUSED = {
    "an unknown kind": (lambda: [c.x << finding("nope")], "declared nowhere"),
    "an unknown field": (
        lambda: [c.x << finding("vka") & (m.nope == 1)],
        "m.nope: 'finding:vka' has no such field",
    ),
    "an unknown parameter": (
        lambda: [c.x << finding("k") & (m.dose > parameter("nope"))],
        "unknown",
    ),
    "a table for a number": (
        lambda: [c.x << finding("k") & (m.dose > parameter("table"))],
        "does not fit",
    ),
    "a number beyond 2**53": (
        lambda: [c.x << finding("k") & (m.dose > parameter("huge"))],
        "does not fit",
    ),
    "text against a number": (
        lambda: [c.x << finding("vka") & (m.days == "5")],
        "the constant does not fit m.days, which is integer",
    ),
    "a number against text": (lambda: [c.x << finding("vka") & (m.about == 5)], "does not fit"),
    "a yes/no against a number": (
        lambda: [c.x << finding("vka") & (m.days == True)],  # noqa: E712 - the notation
        "does not fit",
    ),
    "a fraction against whole numbers": (
        lambda: [c.x << finding("vka") & (m.days > 7.5)],
        "does not fit",
    ),
    "infinity": (lambda: [c.x << finding("k") & (m.dose < math.inf)], "does not fit"),
    "not a number": (lambda: [c.x << finding("k") & (m.dose < math.nan)], "does not fit"),  # noqa: PLW0177
    "overlong text": (lambda: [c.x << finding("vka") & (m.about == "x" * 2_001)], "does not fit"),
    "the order of texts": (lambda: [c.x << finding("vka") & (m.about > "a")], "no order"),
    "the order of yes and no": (lambda: [c.x << finding("vka") & (m.steady > False)], "no order"),
    "the order of texts across facts": (
        lambda: [c.x << finding("k"), c.y << finding("vka") & (m.about < c.x.about)],
        "no order",
    ),
    "5 against 5.0 across facts": (
        lambda: [c.x << finding("k"), c.y << finding("vka") & (m.days == c.x.dose)],
        "one type",
    ),
    "an alias before it is bound": (
        lambda: [c.y << finding("vka") & (m.about == c.x.about), c.x << finding("k")],
        "before it is bound",
    ),
    "an alias within its own pattern": (
        lambda: [c.x << finding("vka") & (m.about == c.x.about)],
        "before it is bound",
    ),
    "an unknown field of an alias": (
        lambda: [c.x << finding("k"), c.y << finding("vka") & (m.about == c.x.nope)],
        "c.x.nope",
    ),
    "a whole fact": (
        lambda: [c.x << finding("k"), c.y << finding("vka") & (m.about == c.x)],
        "m.about is compared with a whole fact, c.x",
    ),
    "one alias for two": (lambda: [c.x << finding("k"), c.x << finding("vka")], "bound twice"),
    "two patients": (
        lambda: [c.x << fact("patient"), c.y << fact("patient")],
        "patient is bound twice",
    ),
    "no patient": (lambda: [c.x << finding("k"), none(fact("patient"))], "opposite test"),
    "nothing bound": (lambda: [none(finding("k"))], "nothing is bound"),
    "a pattern without a name": (lambda: [finding("k")], "no binding"),
    "too many patterns": (
        lambda: [c.__getattr__(f"x{n}") << finding("k") for n in range(MOST_PATTERNS + 1)],
        "more than 15 patterns",
    ),
    "too many tests": (
        lambda: [
            c.x << Pattern("finding:k", tuple(Test("dose", ">", n) for n in range(MOST_TESTS + 1)))
        ],
        "more than 24 tests",
    ),
    "too many tests and joins": (
        lambda: [
            c.x << finding("k"),
            c.y
            << Pattern(
                "finding:vka",
                (
                    *(Test("days", ">", n) for n in range(MOST_TESTS - 2)),
                    *(Test("about", op, c.x.about.ref) for op in ("==", "!=")),
                    Test("steady", "==", right=True),
                ),
            ),
        ],
        "more than 24 tests",
    ),
}


@pytest.mark.parametrize("shape", REFUSED)
def test_refused_at_load_with_place_and_remedy(shape):
    conditions, words = REFUSED[shape]
    with pytest.raises(UnsafeRule, match="rule 'a'") as refused:
        compiled(*conditions())
    assert words in str(refused.value)
    assert "test_compiler.py:" in refused.value.where
    assert refused.value.remedy


def test_the_remedy_for_a_whole_fact_is_what_to_write_instead():
    with pytest.raises(UnsafeRule) as refused:
        compiled(c.x << finding("k"), c.y << finding("vka") & (m.about == c.x))
    assert refused.value.remedy == "Write c.x.about."


PLACED = {
    "an unknown field": lambda there: [c.x << there("finding:k", "nope")],
    "denied": lambda there: [none(there("finding:k", "nope")), c.x << finding("k")],
    "a second x": lambda there: [c.x << finding("k"), c.x << there("finding:vka")],
    "no patient": lambda there: [none(there("patient"))],
    "a second patient": lambda there: [c.x << fact("patient"), c.y << there("patient")],
}


@pytest.mark.parametrize("shape", PLACED)
def test_a_refusal_names_the_line_of_the_pattern_and_else_that_of_the_rule(shape):
    def at(line):
        def there(kind, *fields):
            return Pattern(kind, tuple(Test(field, "==", 1) for field in fields), line)

        with pytest.raises(UnsafeRule) as refused:
            compile_rules([replace(made(*PLACED[shape](there)), where="rules.py:1")], SCHEMA, {})
        return refused.value.where

    assert at("rules.py:7") == "rules.py:7"
    assert at("") == "rules.py:1"


def test_rules_that_wait_for_one_another_are_refused():
    rules = [
        made(c.k << finding("k"), name="one", infers=["said"]),
        made(c.s << finding("said"), name="two", infers=["k"]),
    ]
    with pytest.raises(UnsafeRule, match="one, two") as refused:
        compile_rules(rules, SCHEMA, PARAMETERS)
    assert refused.value.where == rules[0].where
    with pytest.raises(UnsafeRule, match="wait for one another"):
        compiled(c.k << finding("k"), infers=["k"])


def test_an_undeclared_inference_and_a_second_rule_of_one_name_are_refused():
    with pytest.raises(UnsafeRule, match="infers 'nope'"):
        compiled(c.k << finding("k"), infers=["nope"])
    with pytest.raises(UnsafeRule, match="stands twice"):
        compile_rules([made(c.k << finding("k"))] * 2, SCHEMA, PARAMETERS)


@pytest.mark.parametrize(
    "schema",
    [
        {"finding:x": {"id": "text"}},
        {"finding:x": {"sid": "text"}},
        {"finding:x": {"$forward": "text"}},
        {"finding:x": {"a.b": "text"}},
        {"finding:x": {"f": "day"}},
        {"finding:x": {f"f{n}": "integer?" for n in range(121)}},
        {"finding:x": {"f": "text??"}},
        {"finding:x": {"Upper": "text"}},
    ],
)
def test_a_field_the_engine_could_not_hold_is_refused(schema):
    with pytest.raises(UnsafeRule):
        compile_rules([], schema, {})


def test_as_many_fields_as_the_engine_holds_are_accepted():
    assert (
        compile_rules([], {"finding:x": {f"f{n}": "integer?" for n in range(120)}}, {}).strata == 0
    )


def test_as_many_tests_as_the_engine_holds_are_accepted_in_one_pattern():
    tests = tuple(Test("dose", ">", n) for n in range(MOST_TESTS))
    assert len(compiled(c.x << Pattern("finding:k", tests)).steps[1].tests) == MOST_TESTS


def test_a_test_written_twice_is_made_once():
    ready = compiled(c.k << finding("k") & (m.dose > 1) & (m.dose > 1))
    assert ready.steps[1].tests == (Check("dose", ">", 1.0),)


def test_the_largest_numbers_fit():
    assert fit("integer", 2**53) == 2**53
    assert fit("number", -(2.0**53)) == -(2.0**53)


def test_the_longest_rules_that_are_accepted_run_in_both_engines():
    parts = [
        c.__getattr__(f"x{n}") << finding(f"k{n}") & (m.days == n) for n in range(MOST_PATTERNS)
    ]
    wide = Pattern(
        "finding:vka",
        (
            *(Test("days", "<", 100 + n) for n in range(MOST_TESTS // 2)),
            *(
                Test("days", op, c.__getattr__(f"x{n}").days.ref)
                for n in range(4)
                for op in (">=", ">", "!=")
            ),
        ),
    )
    kinds = ["finding:vka", *(f"finding:k{n}" for n in range(MOST_PATTERNS))]
    schema = {kind: {"days": "integer"} for kind in kinds}
    wide_rule = made(*parts[:4], c.y << wide, name="wide")
    program = compile_rules([made(*parts, name="long"), wide_rule], schema, {})
    items = [Item(f"finding:k{n}", {"about": "", "days": n}) for n in range(MOST_PATTERNS)]
    items += [Item("patient", {}), Item("finding:vka", {"about": "", "days": 50})]
    durable, other = DurableMatcher(program), CompiledMatcher(program)
    expected = [("long", tuple(range(MOST_PATTERNS))), ("wide", (0, 1, 2, 3, MOST_PATTERNS + 1))]
    assert durable.match(items, 0) == other.match(items, 0) == expected
    assert durable.match(items[1:], 0) == other.match(items[1:], 0) == []
    durable.close()


@pytest.mark.parametrize(
    ("kind", "value", "held"),
    [
        ("integer", 5, 5),
        ("integer", 5.0, None),
        ("integer", True, None),
        ("integer", 2**53 + 1, None),
        ("number", 5, 5.0),
        ("number", -0.0, 0.0),
        ("number", True, None),
        ("number", "5", None),
        ("number", float("nan"), None),
        ("number", float("-inf"), None),
        ("number", 1e22, None),
        ("boolean", True, True),
        ("boolean", 1, None),
        ("boolean", "true", None),
        ("text", "x" * LONGEST_TEXT, "x" * LONGEST_TEXT),
        ("text", "x" * (LONGEST_TEXT + 1), None),
        ("text", 5, None),
        ("text", None, None),
        ("number", [], None),
    ],
)
def test_values_fit_exactly_or_not_at_all(kind, value, held):
    fitted = fit(kind, value)
    assert fitted == held
    assert type(fitted) is type(held)
    assert str(fitted) == str(held)


def test_rules_keep_the_type_they_were_written_with():
    assert isinstance(made(c.k << finding("k")), Rule)
