"""Records that are seldom written, told as stories: what each derivation makes of them."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import msgspec
import pytest

from rules.engine import Engine
from rules.errors import KnowledgeError
from rules.packs.core.words import text
from rules.rulebook import load_rulebook
from rules.stories import read_stories

BOOK = load_rulebook()
ENGINE = Engine(BOOK, "compiled")
TODAY = date(2026, 11, 22)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def told(tmp_path):
    """The facts of one story, told in the lines given."""

    def tell(*lines):
        head = ["- vignette: x", "  today: 2026-11-22", *(f"  {line}" for line in lines)]
        file = tmp_path / "story.yaml"
        file.write_text("\n".join([*head, "  expect: nothing", ""]), encoding="utf-8")
        return read_stories(file, BOOK.vocabulary)[0].facts

    return tell


def found(facts, *names):
    """The findings of these names, worked out whether a rule asks for them or not."""
    answer = ENGINE.assess(facts, as_of=NOON, today=TODAY, asked=names)
    assert answer.failures == ()
    return [one for one in answer.findings if one.name in names]


def number(name):
    return ENGINE.knowledge(TODAY, "nam-2011").parameter(name).value


# Anticoagulants ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [0, 1])
def test_a_switch_planned_by_its_two_days_overlaps_as_long_as_a_switch_takes(told, more):
    last = TODAY + timedelta(days=number("anticoagulants.switch-overlap") - 1 + more)
    facts = told(
        f"takes: [apixaban since 2 years ago, warfarin since {TODAY} until {last}]",
    )
    overlaps = found(facts, "anticoagulants-overlap")
    assert len(overlaps) == more, "both end days count"


def test_goals_that_exclude_each_other_leave_the_usual_range_and_are_named(told):
    facts = told("takes: [warfarin since 2 years ago]", "goals: [inr 2 to 3, inr 3 to 4]")
    (target,) = found(facts, "inr-target")
    assert target.assumed
    assert (target.low, target.high) == (number("inr.target-low"), number("inr.target-high"))
    assert target.because == facts.goals


def test_a_relevant_product_stopped_without_a_known_start_says_what_is_missing(told):
    facts = told("takes: [warfarin since 2 years ago, vitamin-k2-mk7 180 ug/d stopped 5 days ago]")
    (change,) = found(facts, "vitamin-k-change")
    assert (change.change, change.days) == ("stopped", 5)
    assert "MK-7" in " ".join(change.missing)
    known = told(
        "takes: [warfarin since 2 years ago, vitamin-k2-mk7 180 ug/d since 90 days ago stopped 5 days ago]"
    )
    (change,) = found(known, "vitamin-k-change")
    assert change.missing == ()


def test_beside_an_antagonist_on_hold_nothing_is_called_steady_or_unsteady(told):
    steady = ["vitamin-k-steady", "vitamin-k-not-steady"]
    lines = "[warfarin since 2 years ago{}, vitamin-k2-mk7 180 ug/d since 200 days ago]"
    labs = "labs: [inr 2.4 on 20 days ago, inr 2.5 on 5 days ago]"
    (taken,) = found(told("takes: " + lines.format(""), labs), *steady)
    assert taken.name == "vitamin-k-steady"
    assert found(told("takes: " + lines.format(" status on-hold"), labs), *steady) == []


# Vitamin D products --------------------------------------------------------------------------------------------------


def test_a_dose_given_once_is_no_course_of_vitamin_d(told):
    facts = told("takes: [vitamin-d3 1000 IU/d since 60 days ago, vitamin-d3 300000 IU once]")
    (source,) = found(facts, "vitamin-d-source")
    assert (source.daily, source.products) == (1000, 1)


DAILY = number("loading.per-dose")


def high_dose(told, often, clause):
    names = ["vitamin-d-loading", "vitamin-d-high-strength-daily", "vitamin-d-loading-overrun"]
    facts = told(f"takes: [vitamin-d3 {DAILY} IU {often} since {TODAY}{clause}]")
    return [one.name for one in found(facts, *names)]


def test_a_burst_is_known_by_its_two_days_as_by_its_length(told):
    days = int(number("loading.burst") // DAILY)
    for whole, name in ((days, "vitamin-d-loading"), (days + 1, "vitamin-d-high-strength-daily")):
        last = TODAY + timedelta(days=whole - 1)
        assert high_dose(told, "daily", f" for {whole} days") == [name]
        assert high_dose(told, "daily", f" until {last}") == [name]


def test_a_high_dose_every_few_days_is_neither_a_loading_course_nor_taken_daily(told):
    assert number("high-strength.max-interval") < 2 < number("loading.min-interval")
    assert high_dose(told, "every 2 days", "") == []


# Results -------------------------------------------------------------------------------------------------------------


def calcium(told, *labs):
    (measured,) = found(told(f"labs: [{', '.join(labs)}]"), "calcium-measured")
    return measured


def test_the_laboratorys_own_corrected_calcium_wins_over_the_total_of_its_day(told):
    measured = calcium(
        told, "calcium 9.0 mg/dL on 3 days ago", "calcium-corrected 10.9 mg/dL on 3 days ago"
    )
    assert (measured.kind, measured.value) == ("laboratory-corrected", 10.9)


def test_a_preliminary_calcium_waits_for_the_final_one(told):
    measured = calcium(
        told, "calcium 12.9 mg/dL on 1 days ago preliminary", "calcium 9.4 mg/dL on 3 days ago"
    )
    assert (measured.value, measured.days) == (9.4, 3)


def corrected(told, albumin_day, *, instant):
    """The kind of a calcium of today beside an albumin whose hour is unknown, or known to lie at noon."""
    facts = told(f"labs: [calcium 9.0 mg/dL on today, albumin 2.0 g/dL {albumin_day}]")
    labs = tuple(
        lab if lab.measure == "calcium" or instant else msgspec.structs.replace(lab, instant=None)
        for lab in facts.labs
    )
    (measured,) = found(msgspec.structs.replace(facts, labs=labs), "calcium-measured")
    return measured.kind


@pytest.mark.parametrize("instant", [True, False])
def test_albumin_corrects_calcium_while_it_is_close_by_the_hour_or_by_the_day(told, instant):
    close = number("calcium.albumin-within") // 24
    assert corrected(told, f"on {close} days ago", instant=instant) == "corrected"
    assert corrected(told, f"on {close + 1} days ago", instant=instant) == "uncorrected"
    if not instant:
        assert corrected(told, "", instant=False) == "uncorrected", "its day is unknown"


def draws(facts, **of_second):
    """How many draws of 25(OH)D two results of the same day are, the second one changed."""
    first, second = facts.labs
    labs = (first, msgspec.structs.replace(second, **of_second))
    (latest,) = found(msgspec.structs.replace(facts, labs=labs), "vitamin-d-latest")
    return latest


def test_two_specimens_of_one_day_are_two_draws_and_fractions_of_one_are_summed(told):
    facts = told("labs: [25ohd d3 12 ng/mL on 5 days ago, 25ohd d2 9 ng/mL on 5 days ago]")
    first = msgspec.structs.replace(facts.labs[0], specimen="a")
    facts = msgspec.structs.replace(facts, labs=(first, facts.labs[1]))
    assert len(draws(facts, specimen="a").because) == 2
    assert len(draws(facts, specimen="b").because) == 1


def test_results_without_a_day_are_never_one_draw(told):
    facts = told("labs: [25ohd d3 12 ng/mL, 25ohd d2 9 ng/mL]")
    assert all(lab.taken is None for lab in facts.labs)
    readings = found(facts, "vitamin-d-latest", "vitamin-d-unusable")
    assert all(len(one.because) == 1 for one in readings)
    assert readings


# Problems and what was read --------------------------------------------------------------------------------------------


def test_kidney_disease_that_is_resolved_has_no_stage(told):
    assert found(told("has: [ckd stage 4 resolved 2020-01-01]"), "ckd") == []
    (ckd,) = found(told("has: [ckd stage 4]"), "ckd")
    assert ckd.stage == 4


def test_levels_that_could_not_be_had_are_not_called_read(told):
    names = ["vitamin-d-labs-read", "minerals-read", "kidney-labs-read"]
    assert [one.name for one in found(told("unread: [labs-25ohd]"), *names)] == names[1:]


def test_an_enzyme_inducer_of_unknown_start_is_not_said_to_be_taken_for_long(told):
    assert found(told("takes: [carbamazepine]"), "vitamin-d-loss-drug") == []
    (loss,) = found(told("takes: [carbamazepine since 2 years ago]"), "vitamin-d-loss-drug")
    assert loss.drug == "carbamazepine"


@pytest.mark.parametrize(
    ("line", "low"),
    [("patient: 55-year-old woman", 1), ("procedures: [dialysis on 2024-01-01]", 0)],
)
def test_d2_that_is_chosen_on_purpose_is_not_called_a_poor_response(told, line, low):
    facts = told(
        "takes: [vitamin-d2 2000 IU/d since 200 days ago]",
        "labs: [25ohd 12 ng/mL on 5 days ago]",
        line,
    )
    assert len(found(facts, "d2-response-low")) == low


# Words ---------------------------------------------------------------------------------------------------------------


def test_a_text_that_no_pack_has_is_refused_by_its_name():
    evidence = SimpleNamespace(knowledge=SimpleNamespace(rulebook=BOOK))
    with pytest.raises(KnowledgeError, match="there is no text 'nobody_wrote_this'"):
        text(evidence, "nobody_wrote_this")
