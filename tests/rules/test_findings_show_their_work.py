"""A pharmacist can follow every finding of every story: what it rests on, the numbers that decided it, and since when.

Which facts and findings a finding needs, and which numbers decide it, is what its definition in the catalogue says.
"""

from datetime import UTC, date, datetime, time
from itertools import chain

import msgspec
import pytest

from rules.engine import Engine
from rules.facts import FactSet, Finding
from rules.rulebook import BUNDLED, load_rulebook
from rules.vignettes import stories_of

BOOK = load_rulebook()
# finding -> what it cannot be made without
RESTS_ON = {
    "1-25-ohd-order-drafted": "LabOrder",
    "1-25-ohd-ordered": "LabOrder",
    "25ohd-order-drafted": "LabOrder",
    "25ohd-ordered": "LabOrder",
    "active-vitamin-d-overlap": "MedicationUse",
    "active-vitamin-d-taken": "MedicationUse",
    "age-group": "Patient",
    "aged-one-or-over": "age-group",
    "anticoagulants-overlap": "current-doac current-vka",
    "any-vitamin-k": "vitamin-k-intake",
    "breastfed-infant": "Condition",
    "calcium-measured": "LabResult",
    "calcium-normal": "calcium-measured",
    "ckd-from-stage-3": "ckd",
    "ckd-monitoring-due": "ckd-from-stage-3",
    "current-doac": "MedicationUse",
    "current-vka": "MedicationUse",
    "d2-response-low": "vitamin-d-level vitamin-d-source",
    "digitalis-risk": "MedicationUse",
    "granulomatous-checked": "LabResult calcium-normal",
    "granulomatous-disease": "Condition",
    "high-dose-vitamin-d-with-vka": "current-vka vitamin-d-intake",
    "high-inr": "inr-latest recent-vka",
    "high-strength-for-weeks": "vitamin-d-high-strength-daily",
    "hypercalcaemia": "calcium-measured",
    "infant-vitamin-d-excess": "age-group vitamin-d-intake",
    "infant-vitamin-d-very-high": "infant-vitamin-d-excess",
    "inr-above-critical": "inr-latest",
    "inr-latest": "LabResult",
    "inr-unstable": "LabResult current-vka",
    "listed-vka": "MedicationUse",
    "long-high-vitamin-d": "vitamin-d-source",
    "low-egfr": "LabResult",
    "low-inr-on-vitamin-k": "current-vka inr-latest inr-target",
    "marked-hypercalcaemia": "hypercalcaemia",
    "may-suggest-d3-maintenance": "may-suggest-vitamin-d",
    "may-suggest-d3-weekly": "may-suggest-vitamin-d",
    "may-suggest-loading": "may-suggest-vitamin-d",
    "may-suggest-vitamin-d": "age-group",
    "mk4-pharmacological": "vitamin-k-with-vka",
    "mk4-supplement": "vitamin-k-intake",
    "mk4-with-vka": "vitamin-k-with-vka",
    "multivitamin-with-vka": "listed-vka unspecified-multivitamin",
    "natto-eaten": "Diet",
    "new-fat-malabsorption-drug": "MedicationUse current-vka",
    "no-vitamin-k2-listed": "medication-lists-read",
    "phpt-vitamin-d": "vitamin-d-intake",
    "pregnant": "Condition",
    "pregnant-or-breastfeeding": "Condition",
    "primary-hyperparathyroidism": "Condition",
    "recent-low-level": "vitamin-d-level",
    "recent-reversal": "MedicationUse",
    "relevant-vitamin-k": "MedicationUse",
    "several-vitamin-d-products": "vitamin-d-above-upper-level",
    "stone-disease": "Condition",
    "stone-load": "stone-disease vitamin-d-intake",
    "supervised-high-vitamin-d": "vitamin-d-level",
    "suppressed-pth": "LabResult",
    "thiazide-load": "MedicationUse",
    "too-early-to-retest": "vitamin-d-latest",
    "unspecified-multivitamin": "MedicationUse",
    "upper-level-25ohd-useful": "vitamin-d-above-upper-level",
    "upper-level-labs-useful": "vitamin-d-above-upper-level",
    "urine-calcium-known": "LabResult",
    "vitamin-d-above-upper-level": "age-group vitamin-d-intake",
    "vitamin-d-dose-unknown": "vitamin-d-intake",
    "vitamin-d-excess-serious": "vitamin-d-above-upper-level",
    "vitamin-d-high-strength-daily": "MedicationUse",
    "vitamin-d-in-any-form": "MedicationUse",
    "vitamin-d-latest": "LabResult",
    "vitamin-d-level": "vitamin-d-latest",
    "vitamin-d-level-high": "vitamin-d-intake vitamin-d-level",
    "vitamin-d-level-severe": "vitamin-d-level",
    "vitamin-d-level-under-adequate": "vitamin-d-level",
    "vitamin-d-level-very-high": "vitamin-d-level",
    "vitamin-d-loading": "MedicationUse",
    "vitamin-d-loading-overrun": "MedicationUse",
    "vitamin-d-loss-drug": "MedicationUse",
    "vitamin-d-low-before": "LabResult",
    "vitamin-d-newer-unusable": "vitamin-d-unusable",
    "vitamin-d-question": "vitamin-d-intake",
    "vitamin-d-repeat-due": "LabResult vitamin-d-source",
    "vitamin-d-source": "MedicationUse",
    "vitamin-d-unusable": "LabResult",
    "vitamin-k-change": "MedicationUse",
    "vitamin-k-change-unchecked": "current-vka",
    "vitamin-k-monitored-while-taken": "vitamin-k-monitored",
    "vitamin-k-not-steady": "inr-target vitamin-k-with-vka",
    "vitamin-k-steady": "LabResult inr-target vitamin-k-with-vka",
    "vitamin-k-with-vka": "listed-vka relevant-vitamin-k",
    "vitamin-k1-substantial": "vitamin-k-with-vka",
    "vka-uncertain": "MedicationUse",
    # one of several is enough
    "calcium-raising-exposure": "MedicationUse|calcium-intake|vitamin-d-intake",
    "ckd": "Condition|LabResult",
    "empiric-group": "Condition|Patient|breastfed-infant|pregnant",
    "fat-malabsorption": "Condition|Procedure",
    "food-advice-useful": "long-high-vitamin-d|vitamin-d-level",
    "high-thrombotic-risk": "Condition|Procedure",
    "malabsorption-response": "MedicationUse|fat-malabsorption",
    "new-vitamin-k1-source": "multivitamin-with-vka|vitamin-k-with-vka",
    "recent-vka": "MedicationUse|listed-vka",
    "unusable-result": "LabResult|vitamin-d-unusable",
    "vitamin-k-monitored": "LabOrder|LabResult",
    "vitamin-d-start-blocked": "MedicationUse|granulomatous-disease|hypercalcaemia|primary-hyperparathyroidism",
    "indication-for-25ohd": "Condition|MedicationUse|calcium-measured|ckd|fat-malabsorption|granulomatous-disease|hypercalcaemia|low-egfr|pregnant|primary-hyperparathyroidism|unspecified-multivitamin|vitamin-d-dose-unknown|vitamin-d-intake|vitamin-d-level|vitamin-d-low-before",
    "indication-for-1-25-ohd": "Condition|LabResult|ckd|granulomatous-disease|hypercalcaemia|low-egfr|primary-hyperparathyroidism",
}
# What speaks of what is not there, or of everything there is, may rest on nothing
ABOUT_ABSENCE = {
    "calcium-intake", "inr-target", "kidney-labs-read", "may-order-25ohd", "medication-lists-read",
    "minerals-read", "no-vitamin-k-listed", "problems-read", "retest-exempt", "vitamin-d-intake", "vitamin-d-labs-read",
    "vitamin-k-intake",
}  # fmt: skip
DECIDED_BY = {
    "age-group": "age.adult age.one-year",
    "anticoagulants-overlap": "anticoagulants.switch-overlap",
    "calcium-raising-exposure": "hypercalcaemia.vitamin-d-from",
    "ckd-monitoring-due": "ckd.monitoring ckd.vitamin-d-from",
    "current-vka": "course.gap",
    "d2-response-low": "d2.chosen-for d2.level-after d2.taken-for",
    "empiric-group": "empiric.oldest-from vitd.reference-by-age",
    "fat-malabsorption": "problems.malabsorption",
    "granulomatous-checked": "granulomatous.calcitriol-within granulomatous.calcium-within",
    "granulomatous-disease": "problems.granulomatous",
    "high-dose-vitamin-d-with-vka": "check-label.daily",
    "high-inr": "inr.high inr.window-high",
    "high-strength-for-weeks": "high-strength.calcium-after",
    "high-thrombotic-risk": "thrombosis.recent",
    "hypercalcaemia": "calcium.window",
    "indication-for-1-25-ohd": "phosphate.low phosphate.window testing.indications-1-25",
    "indication-for-25ohd": "testing.high-intake testing.indicating-drugs testing.indications",
    "infant-vitamin-d-excess": "infant.limits",
    "infant-vitamin-d-very-high": "infant.critical",
    "inr-above-critical": "inr.critical",
    "inr-unstable": "inr.high unstable.min-days unstable.min-results unstable.sd unstable.window",
    "long-high-vitamin-d": "teaching.high-d-above teaching.high-d-for",
    "low-egfr": "ckd.stages egfr.window",
    "low-inr-on-vitamin-k": "inr.window-low vka.established",
    "may-suggest-loading": "vitd.weekly.profiles",
    "mk4-pharmacological": "k.critical.mk4",
    "mk4-supplement": "teaching.mk4-up-to",
    "mk4-with-vka": "k.critical.mk4",
    "multivitamin-with-vka": "pair.new",
    "natto-eaten": "diet.window",
    "new-fat-malabsorption-drug": "pair.new",
    "phpt-vitamin-d": "phpt.vitamin-d-above",
    "pregnant": "pregnancy.longest",
    "recent-low-level": "overrun.low-level-within",
    "recent-reversal": "reversal.min-oral reversal.window-days",
    "relevant-vitamin-k": "course.gap",
    "stone-disease": "problems.stones stones.window",
    "stone-load": "calcium.much stones.vitamin-d-above stones.vitamin-d-with-calcium",
    "supervised-high-vitamin-d": "vitd.supervised.highest-level vitd.supervised.most",
    "suppressed-pth": "pth.low pth.window",
    "thiazide-load": "calcium.much thiazide.older thiazide.vitamin-d-above thiazide.vitamin-d-with-calcium",
    "too-early-to-retest": "testing.retest-after",
    "upper-level-labs-useful": "vitd.ul.calcium-within",
    "urine-calcium-known": "stones.urine-within",
    "vitamin-d-above-upper-level": "profile.ul vitd.ul.nam-2011",
    "vitamin-d-excess-serious": "vitd.ul.warn",
    "vitamin-d-high-strength-daily": "high-strength.max-interval loading.burst loading.per-dose",
    "vitamin-d-level": "vitd.level.window",
    "vitamin-d-level-severe": "vitd.level.severe",
    "vitamin-d-level-under-adequate": "vitd.level.adequate",
    "vitamin-d-level-very-high": "vitd.band.warning-high",
    "vitamin-d-loading": "loading.per-dose",
    "vitamin-d-loading-overrun": "loading.max-days loading.overrun-daily loading.per-dose",
    "vitamin-d-loss-drug": "loss.taken-for",
    "vitamin-d-low-before": "vitd.level.adequate",
    "vitamin-d-repeat-due": "testing.retest-after testing.retest-effect-after testing.treatment-after-result testing.treatment-before-result vitd.band.deficient",
    "vitamin-d-start-blocked": "problems.blocking-vitamin-d",
    "vitamin-d-unusable": "vitd.level.window",
    "vitamin-k-change": "inr.after-change",
    "vitamin-k-change-unchecked": "pair.overdue-from pair.overdue-to",
    "vitamin-k-monitored": "inr.after-change monitored.inr-age monitored.order-age monitored.order-due",
    "vitamin-k-not-steady": "stable.inr-after stable.min-days stable.newest-inr",
    "vitamin-k-steady": "stable.inr-after stable.min-days stable.newest-inr",
    "vitamin-k-with-vka": "pair.new",
    "vitamin-k1-substantial": "k.warn.k1",
}
# What is told of one product, measure or order, and joined on it; all else concerns the patient as a whole
ABOUT_A_SUBJECT = """
    1-25-ohd-order-drafted 25ohd-order-drafted anticoagulants-overlap current-doac current-vka d2-response-low
    high-inr high-strength-for-weeks inr-above-critical inr-latest inr-target inr-unstable listed-vka
    low-inr-on-vitamin-k mk4-pharmacological mk4-with-vka multivitamin-with-vka natto-eaten
    new-fat-malabsorption-drug new-vitamin-k1-source recent-reversal recent-vka relevant-vitamin-k
    unspecified-multivitamin unusable-result vitamin-d-high-strength-daily vitamin-d-loading
    vitamin-d-loading-overrun vitamin-d-question vitamin-d-source vitamin-d-unusable vitamin-k-change
    vitamin-k-change-unchecked vitamin-k-monitored vitamin-k-monitored-while-taken vitamin-k-not-steady
    vitamin-k-steady vitamin-k-with-vka vitamin-k1-substantial
"""
# finding -> the day from which its "days" count
COUNTED_FROM = {
    "calcium-measured": "taken", "current-vka": "since", "hypercalcaemia": "taken", "inr-latest": "on", "listed-vka": "since",
    "relevant-vitamin-k": "since", "too-early-to-retest": "taken", "unspecified-multivitamin": "since", "vitamin-d-latest": "taken",
    "vitamin-d-level": "taken", "vitamin-d-level-high": "taken", "vitamin-d-repeat-due": "since", "vitamin-d-source": "since",
    "vitamin-k-change": "on",
}  # fmt: skip


@pytest.fixture(scope="module")
def stories():
    return stories_of(BOOK, BUNDLED)


@pytest.fixture(scope="module")
def findings_from():
    """Everything that can be worked out from facts on a day."""
    engine, everything = Engine(BOOK, "compiled"), tuple(BOOK.finding_fields)

    def _findings_from(facts, today):
        moment = datetime.combine(today, time(12), UTC)
        answer = engine.assess(facts, as_of=moment, today=today, asked=everything)
        assert answer.failures == ()
        return answer.findings

    return _findings_from


@pytest.fixture(scope="module")
def found(stories, findings_from):
    """Every finding of every story, with the day of the story."""
    by_name = {}
    for story in stories:
        for one in findings_from(story.facts, story.today):
            by_name.setdefault(one.name, []).append((one, story.today))
    return by_name


def _below(finding):
    return {one.name if isinstance(one, Finding) else type(one).__name__ for one in finding.because}


def test_every_finding_is_in_some_story_and_has_its_line_here(found):
    assert set(found) == set(RESTS_ON) | ABOUT_ABSENCE
    assert set(DECIDED_BY) | set(COUNTED_FROM) <= set(found)


@pytest.mark.parametrize("name", RESTS_ON)
def test_a_finding_names_what_it_rests_on(found, name):
    for one, _ in found[name]:
        for needed in RESTS_ON[name].split():
            assert _below(one) & set(needed.split("|")), (needed, one)


@pytest.mark.parametrize("name", DECIDED_BY)
def test_a_finding_names_the_numbers_that_decided_it(found, name):
    for one, _ in found[name]:
        assert set(DECIDED_BY[name].split()) <= {used.name for used in one.parameters}


def test_what_is_told_of_a_product_names_it(found):
    subjects = set(ABOUT_A_SUBJECT.split())
    for name, made in found.items():
        assert {bool(one.about) for one, _ in made} == {name in subjects}, name


@pytest.mark.parametrize("name", COUNTED_FROM)
def test_days_are_counted_from_the_day_that_is_shown(found, name):
    counted = [
        (one.values["days"], (today - one.values[COUNTED_FROM[name]]).days)
        for one, today in found[name]
        if isinstance(one.values.get(COUNTED_FROM[name]), date) and not one.values.get("proposed")
    ]
    assert counted
    assert all(days == since for days, since in counted)


@pytest.mark.parametrize("name", BOOK.finding_fields)
def test_every_declared_field_is_filled_in_some_story(found, name):
    """A field that nothing fills, or that says the same whoever the patient is, would tell nobody anything."""
    for field in BOOK.finding_fields[name]:
        said = [one.values.get(field) for one, _ in found[name]]
        assert any(value is not None for value in said), field


def _content(one):
    numbers, values = {used.name for used in one.parameters}, one.values.items()
    return (
        one.name,
        one.about,
        sorted(values),
        sorted(one.source),
        sorted(numbers),
        sorted(one.missing),
    )


def test_the_order_of_a_record_changes_no_finding(stories, findings_from):
    listed = [name for name in FactSet.__struct_fields__ if name not in {"patient", "context"}]
    for story in stories:
        turned = {name: tuple(reversed(getattr(story.facts, name))) for name in listed}
        as_told = findings_from(story.facts, story.today)
        other_way = findings_from(msgspec.structs.replace(story.facts, **turned), story.today)
        assert sorted(map(_content, as_told)) == sorted(map(_content, other_way)), story.where


def test_a_kidney_disease_names_its_numbers_or_that_its_stage_is_missing(found):
    for one, _ in found["ckd"]:
        if "stage" in one.values:
            assert {"ckd.stages", "egfr.window"} <= {used.name for used in one.parameters}
        else:
            assert one.missing == ("stage",)
    assert any("stage" not in one.values for one, _ in found["ckd"])


def test_what_is_measured_is_shown_as_the_laboratory_gave_it(found):
    """Value, unit and day of a level are those of the newest result below it."""
    for one, _ in chain(found["vitamin-d-latest"], found["inr-latest"], found["low-egfr"]):
        labs = [
            lab
            for lab in one.because
            if lab.taken == (one.values.get("taken") or one.values.get("on"))
        ]
        assert labs, one
        assert one.values["value"] in {lab.value for lab in labs} | {sum(lab.value for lab in labs)}


def test_totals_are_the_sum_of_the_products_below_them(found):
    for one, _ in found["vitamin-d-intake"]:
        uses = one.because
        assert one.daily == pytest.approx(sum(use.daily or 0 for use in uses))
        assert one.products == len({use.record for use in uses})
        assert one.unknown_products == len({use.record for use in uses if use.daily is None})
        assert one.proposed is any(use.taking == "draft" for use in uses)
        assert (len(one.missing) > 0) is (one.unknown_products > 0)
        assert not (one.unknown_products and one.complete)
    for one, today in found["vitamin-d-intake"]:
        begun = [use.start for use in one.because if use.taking == "yes" and use.start is not None]
        days = one.values.get("days")
        assert (days is not None) is bool(begun)
        assert not begun or days >= (today - min(begun)).days
    for one, _ in found["vitamin-d-source"]:
        current = [use for use in one.because if use.taking in {"yes", "draft"}]
        assert {use.ingredient for use in one.because} == {one.about}
        assert (one.values.get("daily") or 0) <= sum(use.daily or 0 for use in current)
