"""What Python would silently change in a condition is refused where it is written."""

import pytest

from rules.authoring import (
    c,
    derivation,
    fact,
    finding,
    m,
    none,
    parameter,
    recommend,
    rule,
    when_all,
)
from rules.conditions import Binding, Negation, ParameterRef, Test
from rules.errors import UnsafeRule
from rules.facts import Finding


def test_a_rule_becomes_a_tree_of_bindings_and_negations() -> None:
    @rule("example", infers=["advice-useful"])
    @when_all(
        c.vka << finding("current-vka"),
        c.k << finding("relevant-k") & (m.days > parameter("window")) & (m.about != c.vka.about),
        none(finding("steady") & (m.about == c.k.about)),
    )
    def example(case):
        return recommend(case.k, case.vka)

    vka, k, steady = example.condition
    assert isinstance(vka, Binding)
    assert isinstance(steady, Negation)
    assert vka.alias == "vka"
    assert vka.pattern.kind == "finding:current-vka"
    assert [test.op for test in k.pattern.tests] == [">", "!="]
    assert k.pattern.tests[0].right == ParameterRef("window")
    assert example.infers == ("advice-useful",)
    assert "test_authoring.py:" in example.where


def test_recommend_keeps_the_subject_first_among_the_reasons() -> None:
    k, vka = Finding(name="relevant-k", about="k"), Finding(name="current-vka", about="w")
    outcome = recommend(k, vka)
    assert outcome.subject is k
    assert outcome.because == (k, vka)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (lambda: 1 < m.x < 5, "chained comparison"),
        (lambda: (m.x == 1) and (m.y == 2), "'and'"),
        (lambda: (m.x == 1) or (m.y == 2), "'or'"),
        (lambda: not finding("a"), "'not'"),
        (lambda: (m.x == 1) | (m.y == 2), "Write two rules"),
        (lambda: finding("a") & ((m.x == 1) & (m.z == 3)) | (m.y == 2), "Write two rules"),
        (lambda: finding("a") | finding("b"), "Write two rules"),
        (lambda: m.x == m.y, "two fields of one fact"),
        (lambda: m.x * 2 > 3, "arithmetic"),
        (lambda: -m.x > 3, "arithmetic"),
        (lambda: m.x == None, "no fact can hold"),  # noqa: E711 - what an author might write
        (lambda: m.x == [1, 2], "no fact can hold"),
        (lambda: c.a << (m.x == 1), "needs finding"),
        (lambda: c.a << finding("b") & 3, "takes tests"),
        (lambda: (m.x == 1) & finding("b"), "joins tests"),
        (lambda: m.x == c.a.b.d, "too deep"),
        (lambda: bool(finding("a")), "true or false"),
        (lambda: bool(c.a << finding("a")), "true or false"),
        (lambda: bool(m.x), "true or false"),
    ],
    ids=[f"shape-{number}" for number in range(19)],
)
def test_unsafe_notation_is_refused_with_place_and_remedy(written, says) -> None:
    with pytest.raises(UnsafeRule) as refused:
        written()
    assert says in str(refused.value)
    assert "test_authoring.py:" in str(refused.value)


def test_a_rule_without_conditions_is_refused() -> None:
    with pytest.raises(UnsafeRule, match="has no conditions"):
        rule("bare")(lambda case: None)


def test_tests_may_be_joined_before_they_meet_a_pattern() -> None:
    pattern = fact("patient") & ((m.age_years >= 18) & (m.sex == "female") & (m.age_years < 75))
    assert pattern.tests == (
        Test("age_years", ">=", 18),
        Test("sex", "==", "female"),
        Test("age_years", "<", 75),
    )


def test_a_derivation_says_what_it_reads_and_gives() -> None:
    @derivation(gives=["total"], reads=["part"], requires=["trigger"])
    def total(e):
        return []

    assert (total.name, total.gives, total.reads, total.requires) == (
        "total",
        ("total",),
        ("part",),
        ("trigger",),
    )
