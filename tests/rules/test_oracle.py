"""The generated Python can be read, and says what the rules say."""

from rules.authoring import c, fact, finding, m, none, rule, when_all
from rules.compiler import Item, compile_rules
from rules.oracle import CompiledMatcher

SCHEMA = {
    "patient": {"age_years": "integer?"},
    "finding:vka": {"steady": "boolean", "inr": "number?"},
    "finding:k": {"dose": "number"},
}


@rule("adult")
@when_all(c.p << fact("patient") & (m.age_years >= 18))
def adult(_case): ...


@rule("pair")
@when_all(
    c.v << finding("vka") & (m.steady != True) & (m.inr > 3),  # noqa: E712
    c.k << finding("k") & (m.about == c.v.about),
    none(finding("k") & (m.dose > c.k.dose)),
)
def pair(_case): ...


@rule("not-one")
@when_all(c.v << finding("vka"), none(finding("k")))
def not_one(_case): ...


def test_the_source_reads_as_nested_loops():
    source = CompiledMatcher(compile_rules([adult, pair], SCHEMA, {})).source
    assert "if s0_age_years is not None and s0_age_years >= 18:" in source
    assert "if s1_steady is False and s1_inr is not None and s1_inr > 3.0:" in source
    assert "if s3 != s2 and s3_dose > s2_dose:" in source
    assert "# 'pair'" in source


def test_an_item_is_never_used_twice_in_one_firing_and_a_denial_leaves_out_what_is_bound():
    matcher = CompiledMatcher(compile_rules([adult, pair, not_one], SCHEMA, {}))
    patient = Item("patient", {"age_years": 17})
    vka = Item("finding:vka", {"about": "a", "steady": False, "inr": 3.5})
    doses = [Item("finding:k", {"about": "a", "dose": dose}) for dose in (5.0, 9.0)]
    assert matcher.match([patient, vka, *doses], 0) == [("pair", (1, 3))]
    assert matcher.match([patient, vka], 0) == [("not-one", (1,))]
    matcher.close()
    assert matcher.match([Item("patient", {"age_years": 18})], 0) == [("adult", (0,))]


def test_the_same_program_gives_the_same_source():
    program = compile_rules([adult, pair, not_one], SCHEMA, {})
    again = compile_rules([not_one, pair, adult], SCHEMA, {})
    assert CompiledMatcher(program).source == CompiledMatcher(again).source
