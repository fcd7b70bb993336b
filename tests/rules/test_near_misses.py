"""Rules held against findings: what fired holds throughout, what almost fired lacks one thing, and says how much."""

from datetime import date

import pytest

from rules.engine import Engine
from rules.facts import Context, Finding, Patient
from rules.in_force import KnowledgeInForce
from rules.near_misses import Trier
from rules.rulebook import load_rulebook
from rules.vignettes import stories_of

TODAY = date(2026, 11, 22)


@pytest.fixture(scope="module")
def book():
    return load_rulebook()


def trier(book, *findings, day=TODAY):
    knowledge = KnowledgeInForce(book, day, "nam-2011")
    return Trier(knowledge, findings, Patient(age_years=70, age_days=25_600), Context())


def vka(**more):
    values = {"recorded_as": "active", "proposed": False, "since": date(2024, 1, 1), **more}
    return Finding(name="current-vka", about="warfarin", values=values)


def change(days, *, checked=False):
    values = {"what": "stopped", "days": days, "checked": checked}
    return Finding(name="vitamin-k-change", about="vitamin-k2-mk7", values=values)


def test_every_rule_that_fired_in_a_story_holds_and_none_is_called_near(book):
    engine, seen = Engine(book, "compiled"), 0
    stories = stories_of(book, [pack.vignettes for pack in book.packs if pack.vignettes.is_dir()])
    for story in stories[::9]:
        answer = engine.assess(story.facts, as_of=story.as_of, today=story.today)
        knowledge = KnowledgeInForce(book, story.today, story.facts.context.profile)
        held = Trier(knowledge, answer.findings, story.facts.patient, story.facts.context)
        for one in answer.recommendations:
            trial = held.hold(book.rules[one.rule], one.about)
            assert trial is not None, one.rule
            assert trial.failing == (), (one.rule, trial.failing)
            seen += 1
        fired = {one.rule for one in answer.recommendations}
        near = held.near(rule for name, rule in book.rules.items() if name not in fired)
        assert not fired & {one.rule for one in near}
        assert all(len(one.failing) == 1 and one.failing[0].lacking for one in near)
    assert seen > 30
    engine.close()


def test_a_number_that_misses_says_by_how_much(book):
    limit = KnowledgeInForce(book, TODAY, "nam-2011").parameter("pair.new").value
    trial = trier(book, vka(), change(limit + 3)).hold(book.rules["vka-k-exposure-changed"])
    (failing,) = trial.failing
    assert "days is at most" in failing.says
    assert "3 days away" in failing.lacking
    assert failing.distance == pytest.approx(3 / limit)
    assert trial.is_near
    assert (
        trier(book, vka(), change(limit)).hold(book.rules["vka-k-exposure-changed"]).failing == ()
    )


def test_the_least_missed_comes_first_and_two_misses_are_not_near(book):
    limit = KnowledgeInForce(book, TODAY, "nam-2011").parameter("pair.new").value
    rule = book.rules["vka-k-exposure-changed"]
    assert trier(book, vka(), change(limit + 1, checked=True)).hold(rule) is None
    near = trier(book, vka(), change(limit + 9), change(limit + 2)).near([rule])
    assert [one.failing[0].lacking.partition(",")[2] for one in near] == [" 2 days away"]


def test_a_kind_that_was_never_found_is_no_near_miss(book):
    rule = book.rules["vka-k-exposure-changed"]
    trial = trier(book, vka()).hold(rule)
    assert trial.failing[0].lacking == "nothing of the kind was found"
    assert not trial.is_near
    assert trier(book).hold(rule) is None


def test_an_unknown_value_never_holds_and_is_said_to_be_unknown(book):
    values = {"what": "stopped", "checked": False}
    unknown = Finding(name="vitamin-k-change", about="vitamin-k2-mk7", values=values)
    trial = trier(book, vka(), unknown).hold(book.rules["vka-k-exposure-changed"])
    assert trial is None or trial.failing[0].lacking == "it is not known"
