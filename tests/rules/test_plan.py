"""Leaving out derivations that nothing asks for never changes what is recommended."""

from datetime import UTC, date, datetime, time

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
def engine(rulebook):
    return Engine(rulebook, "compiled")


@pytest.fixture(scope="module")
def stories(rulebook):
    return stories_of(rulebook, [pack.vignettes for pack in rulebook.packs])


def planned(engine, facts, today):
    """The answer when only what rules ask for is worked out."""
    return engine.assess(facts, as_of=datetime.combine(today, time(12), UTC), today=today)


def thorough(engine, facts, today):
    """The answer when everything is worked out."""
    everything = tuple(engine.rulebook.finding_fields)
    moment = datetime.combine(today, time(12), UTC)
    return engine.assess(facts, as_of=moment, today=today, asked=everything)


def said(answer):
    assert answer.failures == ()
    return answer.recommendations, answer.superseded


def test_every_story_ends_alike_with_and_without_the_plan(engine, stories) -> None:
    assert len(stories) > 500
    left_out = 0
    for story in stories:
        short = planned(engine, story.facts, story.today)
        long = thorough(engine, story.facts, story.today)
        assert said(short) == said(long), story.where
        assert {one.name for one in short.findings} <= {one.name for one in long.findings}
        left_out += len(long.findings) - len(short.findings)
    assert left_out > 3 * len(stories), "the plan leaves out next to nothing: it is not at work"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_two_stories_told_of_one_patient_end_alike_too(engine, stories, data) -> None:
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
    assert said(planned(engine, facts, first.today)) == said(thorough(engine, facts, first.today))


def test_a_patient_without_anything_asks_for_next_to_nothing(engine) -> None:
    nobody = FactSet(patient=Patient(id="1"), context=Context())
    assert triggers_of(nobody) == frozenset()
    today = date(2026, 11, 22)
    short, long = planned(engine, nobody, today), thorough(engine, nobody, today)
    assert said(short) == said(long) == ((), ())
    assert {one.name for one in long.findings} - {one.name for one in short.findings}
