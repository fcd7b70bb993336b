"""Leaving out derivations that nothing asks for never changes what is recommended."""

from datetime import UTC, date, datetime, time
from itertools import pairwise
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules.authoring import Derivation, c, fact, finding, m, none, rule, when_all
from rules.compiler import compile_rules
from rules.engine import Engine
from rules.facts import (
    Condition,
    Context,
    Diet,
    FactSet,
    Finding,
    Goal,
    LabOrder,
    LabResult,
    MedicationUse,
    Patient,
    Procedure,
)
from rules.plan import Plan, triggers_of
from rules.rulebook import load_rulebook
from rules.vignettes import stories_of

# Small worlds: what is run, step by step, and which rules are left ----------------------------------------------------


def run_by(plan, makes, facts, besides=frozenset()):
    """The derivations that the plan runs, in their order, and the rules that it leaves to the matcher.

    ``makes`` are the findings that each derivation makes: ``{"name": {"field": value}}``.
    """
    evidence = SimpleNamespace(findings_by_name={})
    stage, run = plan.begin(facts, besides), []
    while stage.derivation is not None:
        run.append(stage.derivation.name)
        for name, values in makes.get(stage.derivation.name, {}).items():
            made = Finding(name=name, about="warfarin", values=values)
            evidence.findings_by_name[name] = (*evidence.findings_by_name.get(name, ()), made)
        stage = plan.proceed(stage, evidence)
    return run, set(stage.alive)


def derivation_of(name, *gives, needs=(), requires=(), reads=()):
    return Derivation(name, gives, reads, requires, needs, lambda _: (), "")


def plan_of(derivations, silent=(), **rules):
    """A plan for rules that are written as conditions, or as (findings they infer, *conditions)."""
    read = {}
    for name, parts in rules.items():
        infers = parts[0] if isinstance(parts[0], list) else []
        conditions = parts[1:] if infers else parts
        read[name] = rule(name, infers=infers)(when_all(*conditions)(lambda _: None))
    findings = {given for one in derivations for given in one.gives} | {
        given for one in read.values() for given in one.infers
    }
    schema = {"patient": {"age_years": "integer?"}, "context": {"hook": "text"}} | {
        f"finding:{name}": {"n": "integer?", "on": "text?"} for name in findings
    }
    program = compile_rules(read.values(), schema, {})
    book = SimpleNamespace(derivations=tuple(derivations), cards={}, rules=read)
    return Plan(book, program, lambda name, _context: name not in silent)


def patient(age=70, **facts):
    hook = facts.pop("hook", "patient-view")
    return FactSet(patient=Patient(id="1", age_years=age), context=Context(hook=hook), **facts)


AB = [derivation_of("a", "a"), derivation_of("b", "b")]
BOTH = (c.x << finding("a"), c.y << finding("b"))


def test_a_rule_whose_first_finding_is_not_there_asks_for_no_second():
    assert run_by(plan_of(AB, r=BOTH), {}, patient()) == (["a"], set())
    assert run_by(plan_of(AB, r=BOTH), {"a": {"a": {}}}, patient()) == (["a", "b"], set())
    made = {"a": {"a": {}}, "b": {"b": {}}}
    assert run_by(plan_of(AB, r=BOTH), made, patient()) == (["a", "b"], {"r"})


def test_what_no_rule_asks_for_is_never_run():
    plan = plan_of([*AB, derivation_of("z", "z")], r=(c.x << finding("b"),))
    assert run_by(plan, {"b": {"b": {}}}, patient()) == (["b"], {"r"})


def test_a_rule_that_may_not_speak_asks_for_nothing():
    plan = plan_of(AB, silent={"r"}, r=(c.x << finding("a"),), s=(c.x << finding("b"),))
    assert run_by(plan, {"a": {"a": {}}, "b": {"b": {}}}, patient()) == (["b"], {"s"})
    assert run_by(plan_of(AB, silent={"r"}, r=BOTH), {}, patient()) == ([], set())


def test_a_patient_whom_a_rule_does_not_concern_ends_it_at_once():
    grown = (c.p << fact("patient") & (m.age_years >= 18), c.x << finding("a"))
    plan = plan_of(AB, r=grown)
    assert run_by(plan, {"a": {"a": {}}}, patient(17)) == ([], set())
    assert run_by(plan, {"a": {"a": {}}}, patient(18)) == (["a"], {"r"})
    assert run_by(plan, {"a": {"a": {}}}, patient(None)) == ([], set())


def test_a_call_that_a_rule_does_not_concern_ends_it_at_once():
    signing = (c.k << fact("context") & (m.hook == "order-sign"), c.x << finding("a"))
    plan = plan_of(
        AB, r=signing, s=(none(fact("context") & (m.hook == "order-sign")), c.x << finding("b"))
    )
    made = {"a": {"a": {}}, "b": {"b": {}}}
    assert run_by(plan, made, patient()) == (["b"], {"s"})
    assert run_by(plan, made, patient(hook="order-sign")) == (["a"], {"r"})


@pytest.mark.parametrize(
    ("made", "alive"),
    [({"n": 5}, {"r"}), ({"n": 4}, set()), ({}, set()), ({"n": None}, set())],
    ids=str,
)
def test_only_a_finding_that_passes_the_tests_of_the_pattern_keeps_a_rule_alive(made, alive):
    plan = plan_of(AB, r=(c.x << finding("a") & (m.n >= 5), c.y << finding("b")))
    run, left = run_by(plan, {"a": {"a": made}, "b": {"b": {}}}, patient())
    assert left == alive
    assert run == (["a", "b"] if alive else ["a"])


def test_one_of_several_findings_that_passes_is_enough():
    plan = plan_of(
        [derivation_of("a", "a"), derivation_of("a2", "a")], r=(c.x << finding("a") & (m.n >= 5),)
    )
    made = {"a": {"a": {"n": 1}}, "a2": {"a": {"n": 9}}}
    assert run_by(plan, made, patient()) == (["a", "a2"], {"r"})


def test_the_subject_and_days_are_tested_as_the_matchers_see_them():
    of = (c.x << finding("a") & (m.about == "warfarin") & (m.on == "2026-11-22"),)
    assert run_by(plan_of(AB, r=of), {"a": {"a": {"on": date(2026, 11, 22)}}}, patient())[1] == {
        "r"
    }
    assert (
        run_by(plan_of(AB, r=of), {"a": {"a": {"on": date(2026, 11, 21)}}}, patient())[1] == set()
    )
    other = (c.x << finding("a") & (m.about == "phenprocoumon"),)
    assert run_by(plan_of(AB, r=other), {"a": {"a": {}}}, patient())[1] == set()


def test_what_must_not_be_there_is_looked_at_last_and_ends_a_rule_when_it_is_there():
    plan = plan_of(AB, r=(none(finding("a")), c.y << finding("b")))
    assert run_by(plan, {"b": {"b": {}}}, patient()) == (["b", "a"], {"r"})
    assert run_by(plan, {"a": {"a": {}}, "b": {"b": {}}}, patient()) == (["b", "a"], set())
    assert run_by(plan, {"a": {"a": {}}}, patient()) == (["b"], set())


def test_a_denial_of_one_subject_does_not_end_the_rule_for_another():
    joined = none(finding("a") & (m.about == c.y.about))
    plan = plan_of(AB, r=(c.y << finding("b"), joined))
    assert run_by(plan, {"a": {"a": {}}, "b": {"b": {}}}, patient())[1] == {"r"}
    second = plan_of(AB, r=(c.x << finding("a"), none(finding("a"))))
    assert run_by(second, {"a": {"a": {}}}, patient())[1] == {"r"}, "what is bound is not denied"


def test_a_finding_that_another_needs_is_worked_out_before_it():
    chain = [
        derivation_of("a", "a"),
        derivation_of("b", "b", requires=("a",)),
        derivation_of("d", "d", reads=("b",)),
    ]
    plan = plan_of(chain, r=(c.x << finding("d"),))
    assert run_by(plan, {"a": {"a": {}}, "b": {"b": {}}, "d": {"d": {}}}, patient()) == (
        ["a", "b", "d"],
        {"r"},
    )
    assert run_by(plan, {"d": {"d": {}}}, patient()) == (["a", "d"], {"r"}), (
        "b cannot be made without a"
    )
    strict = [
        chain[0],
        derivation_of("b", "b", requires=("a",)),
        derivation_of("d", "d", requires=("b",)),
    ]
    assert run_by(plan_of(strict, r=(c.x << finding("d"),)), {}, patient()) == (["a"], set())


def test_findings_without_their_triggers_are_not_looked_for():
    derivations = [derivation_of("a", "a", needs=("class:vka",)), derivation_of("b", "b")]
    plan = plan_of(derivations, r=BOTH, s=(c.y << finding("b"),))
    made = {"a": {"a": {}}, "b": {"b": {}}}
    assert run_by(plan, made, patient()) == (["b"], {"s"})
    warfarin = MedicationUse(
        record="MedicationStatement/1", ingredient="warfarin", classes=frozenset({"vka"})
    )
    assert run_by(plan, made, patient(uses=(warfarin,))) == (["a", "b"], {"r", "s"})
    assert run_by(plan, made, patient(), frozenset({"class:vka"})) == (["a", "b"], {"r", "s"})
    asked, nobody = frozenset({"a"}), patient()
    assert [one.name for one in plan.giving(asked, nobody)] == []
    assert [one.name for one in plan.giving(asked, nobody, frozenset({"class:vka"}))] == ["a"]


def test_a_rule_waits_for_what_another_rule_may_infer():
    chained = {
        "r": (["said"], c.x << finding("a")),
        "s": (c.x << finding("said"), c.y << finding("b")),
    }
    plan = plan_of(AB, **chained)
    assert run_by(plan, {"a": {"a": {}}, "b": {"b": {}}}, patient())[1] == {"r", "s"}
    assert run_by(plan, {"a": {"a": {}}}, patient())[1] == {"r"}
    assert run_by(plan, {"b": {"b": {}}}, patient())[1] == set()


def test_the_shortest_way_to_a_finding_that_is_needed_comes_first():
    long = [derivation_of("a", "a"), derivation_of("b", "b", reads=("a",)), derivation_of("d", "d")]
    plan = plan_of(long, r=(c.x << finding("b"), c.y << finding("d")))
    assert run_by(plan, {}, patient()) == (["d"], set())
    made = {"d": {"d": {}}, "a": {"a": {}}, "b": {"b": {}}}
    assert run_by(plan, made, patient()) == (["d", "a", "b"], {"r"})


def test_several_rules_may_ask_different_things_of_the_patient():
    grown = (c.p << fact("patient") & (m.age_years >= 18), c.x << finding("a"))
    old = (c.p << fact("patient") & (m.age_years >= 65), c.x << finding("b"))
    plan = plan_of(AB, r=grown, s=old)
    made = {"a": {"a": {}}, "b": {"b": {}}}
    assert [run_by(plan, made, patient(age))[1] for age in (17, 40, 70)] == [
        set(),
        {"r"},
        {"r", "s"},
    ]


def test_findings_of_one_name_keep_the_order_of_those_that_give_them():
    """Whoever asks for one finding of a derivation gets the others too, so all that give those are run in turn."""
    shared = [derivation_of("first", "s"), derivation_of("second", "s", "t")]
    plan = plan_of(shared, r=(c.x << finding("t"),))
    assert run_by(plan, {"second": {"t": {}}}, patient()) == (["first", "second"], {"r"})


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr("rules.plan._MOST_REMEMBERED", 4)
    foods = [f"food-{number}" for number in range(9)]
    eaten = [derivation_of(one, one, needs=(f"food:{one}",)) for one in foods]
    plan = plan_of(eaten, **{one.replace("-", "_"): (c.x << finding(one),) for one in foods})
    for one in foods * 2:
        held = patient(diets=(Diet(food=one),))
        assert run_by(plan, {one: {one: {}}}, held) == ([one], {one.replace("-", "_")})
        assert [made.name for made in plan.giving(frozenset({one}), held)] == [one]
        assert len(plan._begun) + len(plan._stages) <= 4 + 2
        assert len(plan._giving) <= 4


def test_a_way_that_was_gone_before_is_gone_again_without_working_it_out():
    plan = plan_of(AB, r=BOTH)
    first = plan.begin(patient())
    assert plan.begin(patient()) is first
    nothing = SimpleNamespace(findings_by_name={})
    assert plan.proceed(first, nothing) is plan.proceed(first, nothing)


def test_every_trigger_is_told_by_its_facts():
    held = FactSet(
        patient=Patient(id="1"),
        uses=(
            MedicationUse(
                record="MedicationStatement/1",
                ingredient="warfarin",
                classes=frozenset({"vka", "coumarin"}),
            ),
        ),
        labs=(LabResult(measure="inr"),),
        conditions=(Condition(problem="ckd"),),
        procedures=(Procedure(procedure="dialysis"),),
        goals=(Goal(measure="inr"),),
        orders=(LabOrder(measure="25ohd"),),
        diets=(Diet(food="natto"),),
    )
    told = "class:vka class:coumarin measure:inr problem:ckd procedure:dialysis goal:inr order:25ohd food:natto"
    assert triggers_of(held) == set(told.split())


# The packs, with and without the plan ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rulebook():
    return load_rulebook()


@pytest.fixture(scope="module")
def engine(rulebook):
    return Engine(rulebook, "compiled")


@pytest.fixture(scope="module")
def stories(rulebook):
    return stories_of(rulebook, [pack.vignettes for pack in rulebook.packs])


class Everything:
    """No plan at all: every derivation is run in its turn, and every rule that may speak is matched."""

    def __init__(self, rulebook, program, speaks):
        self.derivations, self.speaks = rulebook.derivations, speaks
        self.rules = [rule.name for stratum in program.rules for rule in stratum]

    def begin(self, facts, _besides=frozenset()):
        alive = frozenset(name for name in self.rules if self.speaks(name, facts.context))
        stages = [SimpleNamespace(derivation=one, alive=alive) for one in self.derivations]
        stages.append(SimpleNamespace(derivation=None, alive=alive))
        for this, following in pairwise(stages):
            this.following = following
        return stages[0]

    def proceed(self, stage, _evidence):
        return stage.following

    def for_cards(self, _fired, _facts):
        return ()  # everything has been run


class Unplanned(Engine):
    def _matcher_for(self, knowledge):
        compiled = super()._matcher_for(knowledge)
        speaks = self._concluder.speaks
        return compiled._replace(plan=Everything(self.rulebook, compiled.program, speaks))


@pytest.fixture(scope="module")
def unplanned(rulebook):
    return Unplanned(rulebook, "compiled")


def answer_of(engine, facts, today):
    return engine.assess(facts, as_of=datetime.combine(today, time(12), UTC), today=today)


def said(answer):
    assert answer.failures == ()
    return answer.recommendations, answer.superseded


def test_every_story_ends_alike_with_and_without_the_plan(engine, unplanned, stories) -> None:
    assert len(stories) > 500
    left_out = 0
    for story in stories:
        short = answer_of(engine, story.facts, story.today)
        long = answer_of(unplanned, story.facts, story.today)
        assert said(short) == said(long), story.where
        assert {one.name for one in short.findings} <= {one.name for one in long.findings}
        left_out += len(long.findings) - len(short.findings)
    assert left_out > 3 * len(stories), "the plan leaves out next to nothing: it is not at work"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_two_stories_told_of_one_patient_end_alike_too(engine, unplanned, stories, data) -> None:
    """Mixtures reach sets of triggers that no single story has."""
    some = [data.draw(st.sampled_from(stories)) for _ in range(data.draw(st.integers(2, 4)))]
    first = some[0]
    merged = {
        field: tuple(fact for story in some for fact in getattr(story.facts, field))
        for field in FactSet.__struct_fields__
        if field not in {"patient", "context"}
    }
    context = msgspec.structs.replace(
        first.facts.context, verbosity=data.draw(st.sampled_from(["standard", "education"]))
    )
    facts = FactSet(patient=first.facts.patient, context=context, **merged)
    short = answer_of(engine, facts, first.today)
    assert said(short) == said(answer_of(unplanned, facts, first.today))


def test_a_patient_without_anything_asks_for_next_to_nothing(engine, unplanned) -> None:
    nobody = FactSet(patient=Patient(id="1"), context=Context())
    assert triggers_of(nobody) == frozenset()
    today = date(2026, 11, 22)
    short, long = answer_of(engine, nobody, today), answer_of(unplanned, nobody, today)
    assert said(short) == said(long) == ((), ())
    assert {one.name for one in long.findings} - {one.name for one in short.findings}
