"""The score is a plain sum of shown parts, and never lifts a weaker alert above a stronger one."""

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

import service.alerts.priority as scores
from service.alerts.priority import added_up, parts_of, scheme

TODAY = date(2026, 11, 22)
WARFARIN = {"ingredient": "warfarin", "classes": ["vka"], "start": "2020-01-01"}
MK7 = {"ingredient": "vitamin-k2-mk7", "classes": ["vitamin-k"], "start": "2026-11-18"}


def facts(*values, goal=None):
    labs = [
        {
            "measure": "inr",
            "problem": "",
            "value": value,
            "taken": (TODAY - timedelta(days=30 * back)).isoformat(),
        }
        for back, value in enumerate(values)
    ]
    goals = [{"measure": "inr", "low": goal[0], "high": goal[1]}] if goal else []
    return {"labs": labs, "goals": goals}


def points(parts):
    return {part.code: part.points for part in parts}


def test_every_part_together_stays_below_the_step_between_two_severities():
    points = scheme().severity.points
    steps = [points[name] for name in ("info", "warning", "critical")]
    for lower, higher in pairwise(steps):
        assert lower + scheme().most_beside_severity < higher


@pytest.mark.parametrize(
    ("values", "goal", "says"),
    [
        ([1.6], None, "1.6, 0.4 below 2"),
        ([4.5], None, "4.5, 1.5 above 3"),
        ([2.4], None, None),
        ([2.4], (2.5, 3.5), "2.4, 0.1 below 2.5"),
        ([2.4, 9.0], None, None),
        ([], None, None),
    ],
)
def test_the_newest_inr_counts_by_its_distance_from_the_target(values, goal, says):
    found = [
        part
        for part in parts_of([WARFARIN], facts(*values, goal=goal), TODAY)
        if part.code == "inr_distance"
    ]
    assert [part.says for part in found] == ([says] if says else [])


def test_the_target_is_the_goal_for_the_inr_that_states_both_ends():
    told = facts(2.4)
    told["goals"] = [
        {"measure": "vitamin-d", "low": 30, "high": 50},
        {"measure": "inr", "low": 2.5, "high": None},
        {"measure": "inr", "low": 2.6, "high": 3.5},
    ]
    (part,) = (one for one in parts_of([WARFARIN], told, TODAY) if one.code == "inr_distance")
    assert part.says == "2.4, 0.2 below 2.6"


def test_further_away_is_more_up_to_a_limit_and_an_inr_means_nothing_without_an_anticoagulant():
    gained = [
        points(parts_of([WARFARIN], facts(value), TODAY))["inr_distance"] for value in (3.1, 4, 9)
    ]
    assert gained == sorted(gained)
    assert gained[0] >= 1
    assert gained[-1] == scheme().inr_distance.most
    assert "inr_distance" not in points(parts_of([MK7], facts(9.0), TODAY))


def test_what_is_new_and_what_else_is_taken_add_points():
    assert points(parts_of([WARFARIN, MK7], facts(), TODAY)) == {"fresh": 6, "further_drugs": 3}
    assert points(parts_of([WARFARIN], facts(), TODAY)) == {}
    bound = {**MK7, "start_is_bound": True}
    assert points(parts_of([bound], facts(), TODAY)) == {}
    assert points(parts_of([MK7], facts(), TODAY + timedelta(days=20))) == {"fresh": 3}
    many = [{"ingredient": name} for name in "abcdef"]
    assert points(parts_of(many, facts(), TODAY)) == {"further_drugs": scheme().further_drugs.most}


def test_coming_back_counts_and_the_severity_comes_first():
    parts = added_up("critical", "recurred", ())
    assert [part.code for part in parts] == ["severity", "course"]
    assert points(added_up("info", "first", ())) == {"severity": 10}


def test_every_number_states_its_basis():
    text = (Path(scores.__file__).parent / "priority.yaml").read_text(encoding="utf-8")
    told = yaml.safe_load(text)
    for name in ("severity", "inr_distance", "further_drugs", "course"):
        assert told[name]["basis"] in {"project-policy", "consensus"}
        assert told[name]["rationale"]
    assert told["fresh_basis"]
    assert told["fresh_rationale"]


def test_without_a_target_the_range_is_that_of_the_packs():
    from rules.rulebook import load_rulebook

    book = load_rulebook()
    low = book.parameters["inr.target-low"].in_force("inr.target-low", TODAY, "nam-2011").value
    high = book.parameters["inr.target-high"].in_force("inr.target-high", TODAY, "nam-2011").value
    assert (low, high) == (scheme().inr_distance.low, scheme().inr_distance.high)
