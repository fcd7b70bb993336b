"""Results keep the unit they came in; what cannot be used says why."""

from datetime import UTC, date, timedelta, timezone

import pytest


def _labs(read):
    return {
        lab.source[0].split("/")[1]: lab
        for lab in read.facts.labs
        if lab.source[0] != "Observation/panel"
    }


def test_units_values_and_problems(reading, bundle):
    labs = _labs(reading(bundle("results-in-every-unit"), "lab"))
    seen = {name: (lab.comparator, lab.value, lab.unit, lab.problem) for name, lab in labs.items()}
    assert seen == {
        "u0": ("", 31, "ng/mL", ""),
        "u1": ("", 31, "ng/mL", ""),
        "u2": ("", 31, "ng/mL", ""),
        "u3": ("", 75, "nmol/L", ""),
        "u4": ("", 75, "nmol/L", "unit-mismatch"),
        "u5": ("", 31, "", "no-unit"),
        "u6": ("<", 4, "ng/mL", ""),
        "u7": ("<", 4, "ng/mL", ""),
        "u8": ("", None, "", "no-value"),
        "u9": ("", 2.1, "{INR}", ""),
        "u10": ("", 210, "", "unit-not-understood"),
        "u11": ("", 24, "{INR}", "implausible"),
        "u12": ("", 0.075, "nmol/L", "implausible"),
        "u13": ("", 3.8, "g/dL", ""),
        "preliminary": ("", 6, "{INR}", "not-final"),
        "issued-only": ("", 2.2, "{INR}", ""),
    }


def test_components_are_results_of_their_own(reading, bundle):
    labs = reading(bundle("results-in-every-unit"), "lab").facts.labs
    panel = [(lab.measure, lab.value) for lab in labs if lab.source == ("Observation/panel",)]
    assert sorted(panel) == [("calcium", 9.4), ("phosphate", 3.1)]


def test_an_uncoded_result_is_neither_used_nor_lost(reading, bundle):
    read = reading(bundle("results-in-every-unit"), "lab")
    (gap,) = read.gaps
    assert (gap.source, gap.code) == ("Observation/uncoded", "result-not-coded")
    assert gap.concerns == ("inr", "labs-inr")


def _inr(**elements):
    return {
        "resourceType": "Observation",
        "id": "i",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "6301-6"}]},
        "subject": {"reference": "Patient/p"},
        "valueQuantity": {"value": 2.4},
    } | elements


def _taken(reading, zone=UTC, **elements):
    (lab,) = reading([_inr(**elements)], zone=zone).facts.labs
    return lab.taken, lab.problem


def test_days_are_days_of_the_clients_zone(reading):
    late = {"effectiveDateTime": "2026-11-12T23:30:00-05:00"}
    assert _taken(reading, **late) == (date(2026, 11, 13), "")
    assert _taken(reading, zone=timezone(timedelta(hours=-5)), **late) == (date(2026, 11, 12), "")


def test_dates_without_zone_or_day(reading):
    assert _taken(reading, effectiveDateTime="2019-12-17T08:00:00") == (date(2019, 12, 17), "")
    assert _taken(reading, effectiveDateTime="2026-11") == (None, "no-date")
    assert _taken(reading) == (None, "no-date")
    assert _taken(reading, effectiveDateTime="yesterday") == (None, "no-date")
    assert _taken(reading, effectivePeriod={"start": "2026-11-01", "end": "2026-11-02"}) == (
        date(2026, 11, 2),
        "",
    )


def test_the_laboratory_limit_is_kept_in_the_same_family(reading):
    def high(unit, code="17861-6"):
        calcium = _inr(
            code={"coding": [{"system": "http://loinc.org", "code": code}]},
            effectiveDateTime="2026-11-12",
            valueQuantity={"value": 10.9, "unit": "mg/dL"},
            referenceRange=[{"high": {"value": 10.2, "unit": unit}}],
        )
        (lab,) = reading([calcium]).facts.labs
        return lab.reference_high

    assert high("mg/dL") == 10.2
    assert high("mmol/L") is None


def test_diet_is_read_from_social_history_only(reading):
    def foods(words, category="social-history"):
        diet = _inr(
            code={"text": "Diet"},
            category=[{"coding": [{"code": category}]}],
            valueQuantity=None,
            valueString=words,
        )
        return [diet.food for diet in reading([diet]).facts.diets]

    assert foods("Eats natto daily") == ["natto"]
    assert foods("Does not eat natto") == []
    assert foods("annatto colouring") == []
    assert foods("Eats natto daily", "laboratory") == []


def test_conditions_procedures_goals_and_orders(reading, bundle):
    facts = reading(bundle("r4-warfarin-and-k2"), "r4").facts
    assert [(one.problem, one.clinical_status, one.onset) for one in facts.conditions] == [
        ("atrial-fibrillation", "active", date(2024, 12, 31))
    ]
    assert [(one.procedure, one.performed) for one in facts.procedures] == [
        ("mechanical-valve", date(2020, 5, 31))
    ]
    assert [(one.measure, one.low, one.high) for one in facts.goals] == [("inr", 2.5, 3.5)]
    assert [(one.measure, one.state, one.due) for one in facts.orders] == [
        ("inr", "pending", date(2026, 11, 25))
    ]
    assert [(one.food, one.recorded) for one in facts.diets] == [("natto", date(2026, 10, 1))]


def test_refuted_problems_and_withdrawn_orders_are_no_facts(reading):
    refuted = {
        "resourceType": "Condition",
        "id": "c",
        "verificationStatus": {"coding": [{"code": "refuted"}]},
        "code": {"text": "Sarcoidosis"},
        "subject": {"reference": "Patient/p"},
    }
    order = {
        "resourceType": "ServiceRequest",
        "id": "o",
        "status": "revoked",
        "code": {"coding": [{"system": "http://loinc.org", "code": "6301-6"}]},
        "subject": {"reference": "Patient/p"},
    }
    facts = reading([refuted, order]).facts
    assert (facts.conditions, facts.orders) == ((), ())
    assert (
        reading([refuted | {"verificationStatus": None}]).facts.conditions[0].problem
        == "sarcoidosis"
    )


@pytest.mark.parametrize(
    ("value", "unit", "problem"),
    [
        (40, "g/dL", "implausible"), (8.1, "g/dL", "implausible"), (8, "g/dL", ""), (0.5, "g/dL", ""), (0.4, "g/dL", "implausible"),
        (40, "g/L", ""), (600, "umol/L", ""), (1201, "umol/L", "implausible"), (74, "umol/L", "implausible"),
    ],
)  # fmt: skip
def test_an_albumin_in_the_wrong_unit_corrects_no_calcium(reading, value, unit, problem):
    """40 g/dL (meant: g/L) would take 29 mg/dL off the calcium of the same draw."""
    code = "54347-0" if unit == "umol/L" else "1751-7"
    albumin = _inr(
        code={"coding": [{"system": "http://loinc.org", "code": code}]},
        effectiveDateTime="2026-11-12",
        valueQuantity={"value": value, "unit": unit},
    )
    (lab,) = reading([albumin]).facts.labs
    assert lab.problem == problem


def test_an_absurd_number_decides_nothing(reading):
    creatinine = _inr(
        code={"coding": [{"system": "http://loinc.org", "code": "14682-9"}]},
        effectiveDateTime="2026-11-12",
        valueQuantity={"value": 1e306, "unit": "mmol/L"},
    )
    (lab,) = reading([creatinine]).facts.labs
    assert (lab.value, lab.problem) == (None, "implausible")
