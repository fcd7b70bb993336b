"""By the real rules: an alert about an alarming result stays open until that was repeated, or its drug was stopped."""

from datetime import date, timedelta

import msgspec
import pytest
from sqlalchemy import select

from rules.engine import Engine
from rules.facts import Context, FactSet, LabResult, MedicationUse, Patient
from rules.rulebook import load_rulebook
from service.alerts import models
from tests.service.alerts.stories import NOON, Reviewed, call

CALCIUM, INR = "vitd-hypercalcaemia", "vka-inr-high-no-otc-k"


@pytest.fixture(scope="module")
def engine():
    made = Engine(load_rulebook(), "compiled")
    yield made
    made.close()


def use(ingredient, classes=(), **more):
    given = {
        "record": f"MedicationStatement/{ingredient}", "source": (f"MedicationStatement/{ingredient}",),
        "route": "oral", "start": date(2024, 3, 1),
    } | more  # fmt: skip
    return MedicationUse(ingredient=ingredient, classes=classes, **given)


def vitamin_d(daily=5000.0, **more):
    return use(
        "vitamin-d3", ("native-vitamin-d",), amount=daily, unit="[IU]", interval_days=1.0, daily=daily, dose_known=True, **more
    )  # fmt: skip


WARFARIN = use("warfarin", ("vka",))


def lab(measure, value, unit="", *, days=0, ref="first", **more):
    """A result taken so many days after the first look."""
    taken = NOON.date() + timedelta(days=days)
    return LabResult(
        measure=measure, value=value, unit=unit, taken=taken, source=(f"Observation/{ref}",), reported=str(value), **more
    )  # fmt: skip


def calcium(value, **more):
    return lab("calcium", value, "mg/dL", **more)


@pytest.fixture
def look(engine, database, recorder, drainer):
    """A full look so many days later; returns the newest episode of the alert of a rule."""

    def look(rule, days, *, uses, labs=(), withdrawn=()):
        at = NOON + timedelta(days=days)
        facts = FactSet(
            patient=Patient(
                id="p1", source=("Patient/p1",), age_years=60, age_days=22_000, sex="female"
            ),
            context=Context(),
            uses=tuple(uses),
            labs=tuple(labs),
        )
        said = engine.assess(facts, as_of=at, today=at.date())
        assert not said.failures
        recorder.record(
            msgspec.structs.replace(call(days), received=at),
            Reviewed(said, facts, withdrawn=tuple(withdrawn)),
            may_speak=tuple(engine.rulebook.cards),
        )
        drainer.drain()
        table = models.alert
        with database.reading() as connection:
            rows = connection.execute(
                select(table).where(table.c.rule == rule).order_by(table.c.episode)
            ).all()
        return rows[-1], any(one.rule == rule for one in said.recommendations)

    return look


@pytest.mark.parametrize(
    ("rule", "drug", "result", "days"),
    [(CALCIUM, vitamin_d(), calcium(12.0), 31), (INR, WARFARIN, lab("inr", 5.0), 8)],
)
def test_an_alarming_result_that_nobody_repeated_keeps_its_alert_open(
    look, rule, drug, result, days
):
    opened, fires = look(rule, 0, uses=[drug], labs=[result])
    assert fires
    assert (opened.state, opened.evidence_state) == ("new", "")
    alert, fires = look(rule, days, uses=[drug], labs=[result])
    assert not fires, "the rule must have fallen silent, or this proves nothing"
    assert (alert.id, alert.state, alert.is_open) == (opened.id, "new", 1)
    assert (alert.evidence_state, alert.new_data) == ("not-repeated", 1)
    again, _ = look(rule, days + 1, uses=[drug])
    assert (again.state, again.evidence_state) == ("new", "not-repeated"), "gone from the prefetch"
    assert again.version == alert.version, "said once"


@pytest.mark.parametrize("late", [1, 40])
def test_a_newer_result_that_is_well_clears_it(look, late):
    look(CALCIUM, 0, uses=[vitamin_d()], labs=[calcium(12.0)])
    newer = calcium(9.5, days=late, ref="second")
    alert, _ = look(CALCIUM, 40, uses=[vitamin_d()], labs=[calcium(12.0), newer])
    assert (alert.state, alert.close_reason) == ("cleared", "facts-no-longer-hold")


@pytest.mark.parametrize(
    "newer",
    [
        calcium(9.5, days=35, ref="second", status="preliminary"),
        calcium(None, days=35, ref="second", problem="no-value"),
        calcium(9.5, days=-3, ref="earlier"),
        lab("albumin", 4.0, "g/dL", days=35, ref="albumin"),
    ],
)
def test_a_result_that_decides_nothing_is_no_repetition(look, newer):
    look(CALCIUM, 0, uses=[vitamin_d()], labs=[calcium(12.0)])
    alert, _ = look(CALCIUM, 40, uses=[vitamin_d()], labs=[calcium(12.0), newer])
    assert (alert.state, alert.evidence_state) == ("new", "not-repeated")


def test_a_renewed_or_lowered_prescription_repeats_no_result(look):
    look(CALCIUM, 0, uses=[vitamin_d()], labs=[calcium(12.0)])
    renewed = vitamin_d(4000.0, record="MedicationRequest/new", source=("MedicationRequest/new",))
    alert, _ = look(CALCIUM, 40, uses=[renewed], labs=[calcium(12.0)])
    assert (alert.state, alert.evidence_state) == ("new", "not-repeated")


@pytest.mark.parametrize("stopped", [[], [vitamin_d(taking="no", status="stopped")]])
def test_a_drug_that_was_stopped_clears_it(look, stopped):
    look(CALCIUM, 0, uses=[vitamin_d()], labs=[calcium(12.0)])
    alert, _ = look(CALCIUM, 40, uses=stopped, labs=[calcium(12.0)])
    assert alert.state == "cleared"


def test_a_result_that_was_corrected_or_taken_back_clears_it_with_its_mark(look):
    look(CALCIUM, 0, uses=[vitamin_d()], labs=[calcium(12.0)])
    alert, _ = look(CALCIUM, 1, uses=[vitamin_d()], labs=[calcium(9.6, status="corrected")])
    assert (alert.state, alert.evidence_state) == ("cleared", "amended")
    look(CALCIUM, 2, uses=[vitamin_d()], labs=[calcium(12.1, days=2, ref="third")])
    alert, _ = look(CALCIUM, 3, uses=[vitamin_d()], withdrawn=["Observation/third"])
    assert (alert.episode, alert.state, alert.evidence_state) == (2, "cleared", "withdrawn")


def test_what_speaks_again_loses_the_mark(look):
    look(CALCIUM, 0, uses=[vitamin_d()], labs=[calcium(12.0)])
    look(CALCIUM, 40, uses=[vitamin_d()], labs=[calcium(12.0)])
    alert, fires = look(
        CALCIUM, 41, uses=[vitamin_d()], labs=[calcium(12.3, days=41, ref="second")]
    )
    assert fires
    assert (alert.episode, alert.state, alert.evidence_state) == (1, "new", "")


def test_without_its_evidence_a_person_decides(look, database):
    look(CALCIUM, 0, uses=[vitamin_d()], labs=[calcium(12.0)])
    database.write(lambda connection: connection.execute(models.evidence.delete()))
    alert, _ = look(CALCIUM, 40, uses=[vitamin_d()], labs=[calcium(12.0)])
    assert (alert.state, alert.evidence_state) == ("new", "not-repeated")
