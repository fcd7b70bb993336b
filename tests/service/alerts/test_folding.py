"""A folded answer gives the canonical bytes again, for every story of every pack, and is much smaller."""

from pathlib import Path

import msgspec
import pytest

import rules.packs
from rules.engine import Engine
from rules.rulebook import load_rulebook
from rules.vignettes import stories_of
from service.alerts.folding import fold, unfold, whole
from service.alerts.lines import canonical, canonical_answer
from tests.service.alerts.stories import recommendation, reviewed


@pytest.fixture(scope="module")
def answers():
    """What the real rules say to every bundled story, with the facts."""
    book = load_rulebook()
    engine = Engine(book, "compiled")
    found = [
        (story.facts, engine.assess(story.facts, as_of=story.as_of, today=story.today))
        for story in stories_of(book, Path(rules.packs.__path__[0]))
    ]
    engine.close()
    assert sum(bool(answer.recommendations) for _, answer in found) > 100
    return found


def test_the_canonical_bytes_come_back(answers):
    for facts, answer in answers:
        assert whole(fold(answer, facts), canonical(facts)) == canonical_answer(answer)


def test_plain_values_come_back(answers):
    for facts, answer in answers:
        told = unfold(fold(answer, facts), msgspec.to_builtins(facts))
        assert msgspec.json.encode(told) == canonical_answer(answer)


def test_every_finding_and_number_stands_there_once(answers):
    for facts, answer in answers:
        shared = msgspec.json.decode(fold(answer, facts))["shared"]
        assert all(isinstance(place, int) for one in shared for place in one.get("because", ()))
    whole_bytes = sum(len(canonical_answer(answer)) for _, answer in answers)
    folded_bytes = sum(len(fold(answer, facts)) for facts, answer in answers)
    assert folded_bytes < whole_bytes / 2


def test_facts_that_are_not_those_kept_beside_it_are_kept_in_it(answers):
    """A derivation may make a fact of its own, and facts may be copies of those that were assessed."""
    found = reviewed(recommendation())
    folded = fold(found.assessment, found.facts)
    assert whole(folded, canonical(found.facts)) == canonical_answer(found.assessment)


def test_an_answer_of_an_earlier_version_is_read_as_it_is():
    found = reviewed(recommendation())
    before = canonical_answer(found.assessment)
    assert whole(before, canonical(found.facts)) == before
    told = unfold(before, msgspec.to_builtins(found.facts))
    assert told["recommendations"][0]["because"][0]["because"][0]["ingredient"] == "vitamin-k2-mk7"
