"""Leaving out derivations that nothing asks for never changes what is recommended."""

from datetime import UTC, datetime, time

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules.engine import Engine
from rules.facts import Context, FactSet, Patient
from rules.plan import triggers_of
from rules.rulebook import load_rulebook
from rules.vignettes import stories_of


@pytest.fixture(scope="module")
def rulebook():
    return load_rulebook()


@pytest.fixture(scope="module")
def planned(rulebook):
    return Engine(rulebook, "compiled")


@pytest.fixture(scope="module")
def thorough(rulebook):
    engine = Engine(rulebook, "compiled")
    engine._plan.choose = lambda facts: rulebook.derivations
    return engine


@pytest.fixture(scope="module")
def stories(rulebook):
    return stories_of(rulebook, [pack.vignettes for pack in rulebook.packs])


def said(engine, facts, today):
    answer = engine.assess(facts, as_of=datetime.combine(today, time(12), UTC), today=today)
    assert answer.failures == ()
    return answer.recommendations, answer.superseded


def test_every_story_ends_alike_with_and_without_the_plan(planned, thorough, stories) -> None:
    assert len(stories) > 500
    left_out = 0
    for story in stories:
        assert said(planned, story.facts, story.today) == said(
            thorough, story.facts, story.today
        ), story.where
        left_out += len(thorough.rulebook.derivations) - len(planned._plan.choose(story.facts))
    assert left_out > 10 * len(stories), "the plan leaves out next to nothing: it is not at work"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_two_stories_told_of_one_patient_end_alike_too(planned, thorough, stories, data) -> None:
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
    assert said(planned, facts, first.today) == said(thorough, facts, first.today)


def test_a_patient_without_anything_asks_for_next_to_nothing(planned, thorough) -> None:
    nobody = FactSet(patient=Patient(id="1"), context=Context())
    assert triggers_of(nobody) == frozenset()
    assert len(planned._plan.choose(nobody)) < len(thorough.rulebook.derivations) / 2
