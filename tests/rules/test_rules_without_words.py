"""Rules that infer and say nothing, conclude nothing, or have no card; and knowledge of more days than are kept."""

from datetime import date, timedelta

import pytest

from rules.engine import Engine
from rules.errors import UnsafeRule
from rules.facts import Context
from rules.rulebook import load_rulebook
from tests.rules.test_engine import NOON, TODAY, assess, facts, names, taking

EDUCATION = Context(verbosity="education")


def a_rule(name, condition, *, infers=(), silent=True, conclude="recommend(case.k)"):
    return (
        f"\n\n@rule({name!r}, infers={list(infers)!r}, silent={silent})\n@when_all({condition})\n"
        f"def {name.replace('-', '_')}(case):\n    return {conclude}\n"
    )


@pytest.fixture(params=["durable", "compiled"])
def engine_with(request, tiny_pack):
    """An engine over the tiny pack with more rules, findings and derivations."""
    made = []

    def add(file, text):
        place = tiny_pack / file
        place.write_text(place.read_text(encoding="utf-8") + text, encoding="utf-8")

    def make(*rules, findings="", derivations=""):
        add("rules.py", "".join(rules))
        add("findings.yaml", findings)
        add("derivations.py", derivations)
        made.append(Engine(load_rulebook(["tiny"], [tiny_pack]), request.param))
        return made[-1]

    yield make
    for one in made:
        one.close()


def steady(dose):
    """A use of which only the rules added here take notice."""
    return taking(dose, status="steady")


TAKEN = 'c.k << finding("taken") & (m.dose > 1)'


def test_a_silent_rule_infers_for_others_and_never_speaks_itself(engine_with):
    engine = engine_with(a_rule("tiny-silent", TAKEN, infers=["advice"]))
    answer = assess(engine, facts(steady(5), context=EDUCATION))
    assert names(answer) == [("tiny-advice", "info")]
    assert answer.failures == ()
    assert assess(engine, facts(steady(1), context=EDUCATION)).recommendations == ()


def test_a_rule_that_concludes_nothing_neither_speaks_nor_infers(engine_with):
    engine = engine_with(a_rule("tiny-silent", TAKEN, infers=["advice"], conclude="None"))
    answer = assess(engine, facts(steady(5), context=EDUCATION))
    assert (answer.recommendations, answer.failures) == ((), ())
    assert "advice" not in {one.name for one in answer.findings}


def test_what_an_early_rule_inferred_is_not_inferred_again_after_later_ones(engine_with):
    engine = engine_with(
        a_rule("tiny-second", 'c.k << finding("advice")', infers=["noted"]),
        a_rule("tiny-third", 'c.k << finding("noted")', infers=["heard"]),
        a_rule("tiny-fourth", 'c.k << finding("heard")'),
        findings="noted: {title: Noted, says: noted}\nheard: {title: Heard, says: heard}\n",
    )
    answer = assess(engine, facts(taking(5)))
    inferred = [(one.name, one.about) for one in answer.findings if one.name != "taken"]
    assert inferred == [("advice", "thing"), ("noted", "thing"), ("heard", "thing")]


def test_a_rule_without_a_card_is_recorded_and_the_others_speak(engine_with):
    engine = engine_with(a_rule("tiny-wordless", TAKEN, silent=False))
    answer = assess(engine, facts(taking(5)))
    assert names(answer) == [("tiny-any", "info")]
    assert [(one.rule, one.version) for one in answer.failures] == [("tiny-wordless", "")]


BEGUN = """

@derivation(gives=["begun"])
def begun(e):
    for use in e.uses:
        yield e.finding("begun", use.ingredient, because=[use], on=use.start)
"""


def test_a_day_is_compared_as_it_is_written(engine_with):
    engine = engine_with(
        a_rule("tiny-begun", 'c.k << finding("begun") & (m.on == "2026-11-20")', infers=["advice"]),
        findings='begun: {title: Begun, says: begun, fields: {on: "day?"}}\n',
        derivations=BEGUN,
    )
    for start, spoken in (
        (date(2026, 11, 20), [("tiny-advice", "info")]),
        (date(2026, 11, 21), []),
        (None, []),
    ):
        use = taking(5, status="steady", start=start)
        assert names(assess(engine, facts(use, context=EDUCATION))) == spoken


def test_a_number_inside_a_part_of_an_action_is_the_one_in_force(tiny_pack):
    file = tiny_pack / "actions.yaml"
    nested = "parts: {each: {parameter: tiny.limit}, said: often}"
    kept = file.read_text(encoding="utf-8").replace("parts: [{parameter: tiny.limit}, 3]", nested)
    file.write_text(kept, encoding="utf-8")
    engine = Engine(load_rulebook(["tiny"], [tiny_pack]), "compiled")
    for today, limit in ((TODAY, 10), (date(2023, 12, 31), 50)):
        answer = engine.assess(facts(taking(60)), as_of=NOON, today=today)
        (task,) = answer.recommendations[0].suggestions
        assert task.data["parts"] == {"each": limit, "said": "often"}


def test_knowledge_of_many_days_is_kept_within_bounds_and_the_first_day_still_answers(tiny_pack):
    engine = Engine(load_rulebook(["tiny"], [tiny_pack]), "compiled")
    first = engine.assess(facts(taking(10.5)), as_of=NOON, today=date(2023, 12, 1))
    for more in range(100):
        engine.knowledge(date(2023, 12, 2) + timedelta(days=more), "nam-2011")
    assert len(engine._in_force) <= 64
    again = engine.assess(facts(taking(10.5)), as_of=NOON, today=date(2023, 12, 1))
    assert again == first
    assert names(again) == [("tiny-any", "info")]


def test_a_module_with_a_condition_that_cannot_be_meant_is_refused_as_it_says(tiny_pack):
    """Its own refusal is told, and not hidden behind 'cannot be imported'."""
    (tiny_pack / "broken.py").write_text(
        "from rules.authoring import m\nEITHER = (m.dose > 1) | (m.dose < 0)\n", encoding="utf-8"
    )
    with pytest.raises(UnsafeRule, match=r"broken\.py:2: '\|' in a condition"):
        load_rulebook(["tiny"], [tiny_pack])
