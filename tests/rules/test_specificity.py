"""The measurement of right and wrong cards: truth knows no rule, the figures repeat, and they stay where they were."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # benchmarks are no part of the distribution

from benchmarks.specificity.people import MK7, Person, Taking, draw, judge  # noqa: E402
from benchmarks.specificity.records import chart  # noqa: E402
from benchmarks.specificity.scoring import SPEAKS_OF, figures, score  # noqa: E402
from rules.rulebook import load_rulebook  # noqa: E402

SEED = 20261122


@pytest.fixture(scope="module")
def population():
    return score(2_500, SEED)


@pytest.fixture(scope="module")
def on_antagonist():
    return score(700, SEED, antagonist=1.0, vitamin_k=5.0, first=1_000_000)


@pytest.mark.parametrize("name", ["people.py", "records.py"])
def test_truth_and_record_know_nothing_of_rules_or_reader(name):
    tree = ast.parse((ROOT / "benchmarks" / "specificity" / name).read_text(encoding="utf-8"))
    known = {
        node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }
    assert known.isdisjoint({"rules", "fhir_adapter", "service"})


def test_the_same_person_has_the_same_truth_and_the_same_chart():
    assert draw(7, SEED) == draw(7, SEED)
    assert chart(draw(7, SEED), SEED) == chart(draw(7, SEED), SEED)
    assert [draw(key, SEED) for key in range(20)] != [draw(key, SEED + 1) for key in range(20)]


def test_what_is_not_swallowed_or_is_watched_endangers_nobody():
    def person(**more):
        taking = Taking(MK7, 5, swallowed=more.pop("swallowed", True))
        return Person(
            1, 20_000, female=True, vka="warfarin", vka_days=900, supplements=[taking], **more
        )

    assert judge(person()) == {"vitamin-k-on-antagonist"}
    assert judge(person(swallowed=False)) == set()
    assert judge(person(supervised=True)) == set()
    assert judge(person(sensitivity=0.1)) == set()


def test_every_rule_that_can_alarm_is_named_with_the_danger_it_speaks_of():
    book = load_rulebook()
    urgent = {
        name
        for name, card in book.cards.items()
        if any(line.is_ != "info" for line in card.indicator)
    }
    assert urgent <= set(SPEAKS_OF)


def test_people_in_no_danger_are_rarely_alarmed(population):
    assert figures(population)["urgent_per_1000_safe"] <= 10


def test_vitamin_k_beside_an_antagonist_is_noticed(on_antagonist):
    told = figures(on_antagonist)["by_danger"]["vitamin-k-on-antagonist"]
    assert told["reachable"] >= 25
    assert told["spoken"] >= 0.97 * told["reachable"]


def test_a_very_high_inr_is_always_noticed(on_antagonist):
    told = figures(on_antagonist)["by_danger"]["inr-high"]
    assert told["spoken"] == told["reachable"] > 0


def test_the_figures_do_not_sink_below_those_that_were_published(population, on_antagonist):
    assert figures(on_antagonist)["ppv_urgent"] >= 0.5
    assert figures(on_antagonist)["recall"] >= 0.95
    assert figures(population)["recall"] >= 0.7  # few dangers in so few people
