"""Silence about one patient stands for all of the age only if nobody looked at the day of birth."""

from datetime import UTC, date, datetime

import pytest

from rules.alike import silent_about_all_of_this_age, silent_whatever_was_measured
from rules.engine import Engine
from rules.facts import Context, FactSet, MedicationUse, Patient
from rules.rulebook import load_rulebook

ENGINE = Engine(load_rulebook(), "compiled")
TODAY = date(2026, 11, 22)


def silent(born, *uses):
    years = TODAY.year - born.year - ((TODAY.month, TODAY.day) < (born.month, born.day))
    patient = Patient(
        id="p",
        source=("Patient/p",),
        birth_date=born,
        age_days=(TODAY - born).days,
        age_years=years,
    )
    facts = FactSet(patient=patient, context=Context(), uses=uses)
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    return silent_about_all_of_this_age(ENGINE, facts, as_of=now, today=TODAY, asked=())


@pytest.mark.parametrize("born", [date(1990, 3, 1), date(2005, 1, 1), date(1952, 1, 1)])
def test_the_day_of_birth_of_an_adult_is_not_looked_at(born):
    assert silent(born)


def test_an_infant_is_a_case_by_itself():
    assert not silent(date(2026, 5, 1))


def test_who_gets_a_recommendation_is_a_case_by_itself():
    assert not silent(date(1940, 2, 3))


def test_who_takes_anything_that_rules_ask_about_by_days_is_a_case_by_itself():
    drops = MedicationUse(
        record="MedicationStatement/m", product="Vitamin D3", ingredient="vitamin-d3", classes=("native-vitamin-d",),
        taking="yes", daily=400.0, unit="[IU]",
    )  # fmt: skip
    assert not silent(date(1990, 3, 1), drops)


def whatever(measures, *uses):
    patient = Patient(
        id="p", source=("Patient/p",), birth_date=date(1990, 3, 1), age_days=13_415, age_years=36
    )
    facts = FactSet(patient=patient, context=Context(), uses=uses)
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    return silent_whatever_was_measured(
        ENGINE, facts, measures, as_of=now, today=TODAY, asked=("calcium-measured",)
    )


def test_a_measure_that_no_rule_takes_up_by_itself_leaves_silence():
    assert whatever(["creatinine"]) is not None
    assert whatever([]) is not None


@pytest.mark.parametrize("measures", [["25ohd"], ["creatinine", "25ohd"]])
def test_a_measure_that_a_rule_takes_up_may_end_it(measures):
    assert whatever(measures) is None


def test_more_measures_than_can_be_tried_are_not_answered_for():
    assert whatever([f"measure-{number}" for number in range(6)]) is None


def test_a_measure_that_is_looked_at_and_leads_to_nothing_may_lead_somewhere_with_another_value(
    tiny_pack,
):
    """No rule asks for it; but what is worked out in any case has looked, and would find with other results."""
    findings, derivations = tiny_pack / "findings.yaml", tiny_pack / "derivations.py"
    findings.write_text(f"{findings.read_text()}seen: {{title: Seen, says: seen}}\n")
    for look in ("e.labs_of('thing')", "e.unusable_labs('thing')", "e.facts.labs", "e.today"):
        more = f'\n\n@derivation(gives=["seen"], needs=["measure:thing"])\ndef seen(e):\n    {look}\n    return ()\n'
        derivations.write_text(
            derivations.read_text().partition('\n\n@derivation(gives=["seen"]')[0] + more
        )
        engine = Engine(load_rulebook(["tiny"], [tiny_pack]), "compiled")
        facts = FactSet(patient=Patient(id="p", source=("Patient/p",)), context=Context())
        now = datetime(2026, 11, 22, 12, tzinfo=UTC)
        silence = silent_whatever_was_measured(
            engine, facts, ["thing"], as_of=now, today=TODAY, asked=("seen",)
        )
        assert (silence is None) is (look != "e.today"), look
