"""Medication records of every shape: who takes what, how much, since when; and what is not known."""

from datetime import date

import pytest

ONCE_A_DAY = {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}


def _uses(read, **wanted):
    return {use.ingredient: use for use in read.facts.uses}


def _only(read):
    (use,) = read.facts.uses
    return use


def _dose(value, unit=None, timing=ONCE_A_DAY, **further):
    quantity = {"value": value} | ({"unit": unit} if unit else {})
    return [{"timing": timing, "doseAndRate": [{"doseQuantity": quantity}], **further}]


def test_warfarin_and_a_combination_in_words(reading, bundle):
    read = reading(bundle("r4-warfarin-and-k2"), "r4")
    uses = _uses(read)
    assert uses["warfarin"].daily == 5
    assert uses["warfarin"].classes == ("vka",)
    assert (uses["vitamin-k2-mk7"].amount, uses["vitamin-k2-mk7"].daily) == (200, 100)
    assert (uses["vitamin-d3"].amount, uses["vitamin-d3"].daily) == (10000, 5000)
    assert not uses["vitamin-d3"].single_ingredient
    assert read.gaps == ()


def test_contained_referenced_and_displayed_medications(reading, bundle):
    server = "https://ehr.example.org/fhir"
    read = reading(bundle("r4-contained-and-referenced"), "cr", servers=(server,))
    by = {(use.record.split("/")[1], use.ingredient): use for use in read.facts.uses}
    assert by["by-reference", "vitamin-k"].daily == 80
    assert by["by-reference", "calcium"].daily == 1000
    assert by["by-reference", "vitamin-k"].start == date(2026, 11, 22)
    assert by["by-reference", "vitamin-k"].start_is_bound
    assert by["contained", "vitamin-k1"].daily == 50
    assert "high end" in by["contained", "vitamin-k1"].dose_note
    assert ("contained", "multivitamin") not in by, "its composition is listed"
    assert by["display-only", "phenprocoumon"].coded is False
    assert by["display-only", "phenprocoumon"].daily == 3
    (gap,) = read.gaps
    assert (gap.source, gap.code) == ("MedicationStatement/lost", "medication-not-found")


def test_r5_adherence_decides(reading, bundle):
    read = reading(bundle("r5-statement-and-request"), "r5")
    taking = {use.record: (use.ingredient, use.taking, use.daily) for use in read.facts.uses}
    assert taking == {
        "MedicationStatement/taking": ("vitamin-k2-mk7", "yes", 90),
        "MedicationStatement/stopped": ("warfarin", "no", None),
        "MedicationRequest/order": ("phenprocoumon", "yes", 3),
    }


def test_the_dosage_object_of_the_r6_ballot(reading, bundle):
    use = _only(reading(bundle("r6-ballot-dosage-object"), "r6"))
    assert (use.daily, use.start, use.start_is_bound) == (90, date(2026, 11, 20), True)


def test_stu3_and_dstu2_shapes(reading, bundle):
    stu3 = reading(bundle("stu3-shapes"), "s3")
    assert _uses(stu3)["vitamin-d3"].daily == 2000
    assert _uses(stu3)["warfarin"].taking == "no"
    assert [order.measure for order in stu3.facts.orders] == ["25ohd"]
    dstu2 = _uses(reading(bundle("dstu2-shapes"), "d2"))
    assert (dstu2["warfarin"].daily, dstu2["vitamin-k1"].daily) == (5, 100)


@pytest.mark.parametrize(
    ("status", "taking"),
    [
        ("active", "yes"),
        ("on-hold", "uncertain"),
        ("unknown", "uncertain"),
        ("intended", "uncertain"),
        (None, "uncertain"),
        ("stopped", "no"),
        ("completed", "no"),
        ("not-taken", "no"),
        ("NONSENSE", "uncertain"),
    ],
)
def test_status_of_a_statement(reading, statement, status, taking):
    read = reading([statement(status=status)])
    assert _only(read).taking == taking
    assert bool(read.gaps) == (status in {None, "NONSENSE", "unknown"})  # of a vitamin K product


def test_refusals_and_errors_never_become_facts(reading, statement):
    wrong = statement(status="entered-in-error")
    refusal = {
        "resourceType": "MedicationRequest",
        "id": "no",
        "status": "active",
        "intent": "order",
        "doNotPerform": True,
        "medicationCodeableConcept": {"text": "Warfarin 5 mg"},
        "subject": {"reference": "Patient/p"},
    }
    read = reading([wrong, refusal])
    assert read.facts.uses == ()
    assert read.counts["refused_or_erroneous"] == 2


def test_an_ended_course_is_over_the_day_after(reading, statement):
    def taking(end):
        return _only(
            reading([statement(effectivePeriod={"start": "2026-01-01", "end": end})])
        ).taking

    assert taking("2026-11-21") == "no"
    assert taking("2026-11-22") == "yes"
    assert taking("2026-11") == "yes"


def test_a_stop_without_a_date_uses_the_last_update_and_says_so(reading, statement):
    use = _only(
        reading(
            [
                statement(
                    status="stopped",
                    effectivePeriod={"start": "2026-01-01"},
                    meta={"lastUpdated": "2026-11-15T10:00:00Z"},
                )
            ]
        )
    )
    assert (use.end, use.end_basis) == (date(2026, 11, 15), "last-updated")


def test_drafts_are_drafts_whatever_their_status(reading, statement):
    order = {
        "resourceType": "MedicationRequest",
        "id": "o",
        "status": "active",
        "medicationCodeableConcept": {"text": "Vitamin K2 100 mcg capsule"},
        "subject": {"reference": "Patient/p"},
    }
    read = reading(
        [order], drafts=[order | {"status": "draft"}], selections=["MedicationRequest/o"]
    )
    assert (_only(read).taking, _only(read).selected) == ("draft", True)
    assert _only(reading([order], drafts=[order])).taking == "draft"
    assert _only(reading([], drafts=[order], selections=["MedicationRequest/x"])).selected is False


@pytest.mark.parametrize(
    ("dosage", "problem"),
    [
        (None, "no dosage is recorded"),
        ("1 capsule", "how often"),
        ("daily", "how many pieces"),
        ("biweekly 1 capsule", "two ways"),
        ("5 mL daily", "concentration"),
        ("10 drops daily", "drops"),
        (
            [
                {
                    "timing": ONCE_A_DAY,
                    "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "patch"}}],
                }
            ],
            "unit",
        ),
        ([{"modifierExtension": [{"url": "x"}], "text": "1 capsule daily"}], "modifier"),
    ],
)
def test_what_is_not_stated_stays_unknown(reading, statement, dosage, problem):
    use = _only(reading([statement(dosage=dosage)]))
    assert use.dose_known is False
    assert use.daily is None
    assert problem in use.dose_problem


def test_a_high_strength_without_frequency_is_never_daily(reading, statement):
    use = _only(reading([statement("Vitamin D3 50,000 IU capsule", "1 capsule")]))
    assert (use.amount, use.daily) == (50000, None)
    assert "weekly or monthly" in use.dose_problem


@pytest.mark.parametrize(
    ("text", "dosage", "daily"),
    [
        ("Vitamin D3", "2 caps of 5,000 IU weekly", 1428.571429),
        ("Vitamin D3", "125 mcg (5000 IU) daily", 5000),
        ("Vitamin D3 1,000 IU capsule", "2 capsules (2,000 IU) daily", 2000),
        ("Vitamin D3 1,000 IU capsule", "2 capsules (1,000 IU) daily", 2000),
        ("Vitamin D3 2000 IU daily", None, 2000),
        ("Vitamin D3 1,000 IU/drop", "2 drops daily", 2000),
        ("Vitamin D3 400 IU/mL", "2.5 mL daily", 1000),
        ("D3 5,000 IU / K2 100 mcg", "10,000 IU daily", 10000),
    ],
)
def test_doses_in_words(reading, statement, text, dosage, daily):
    assert _uses(reading([statement(text, dosage)]))["vitamin-d3"].daily == daily


def test_structure_counts_and_contradicting_words_are_noted(reading, statement):
    dosage = _dose(2, "capsule")
    dosage[0]["text"] = "1 cap once a week"
    use = _only(reading([statement("Vitamin D3 1,000 IU", dosage)]))
    assert use.daily == 2000
    assert "another amount" in use.dose_note
    assert "another frequency" in use.dose_note


def test_one_of_several_ways_to_state_a_dose_counts(reading, statement):
    rates = [
        {"type": {"text": "admin-amount"}, "doseQuantity": {"value": 1, "unit": "{tbl}"}},
        {"type": {"text": "ordered"}, "doseQuantity": {"value": 5, "unit": "mg"}},
    ]
    dosage = [{"timing": ONCE_A_DAY, "doseAndRate": rates}]
    assert _only(reading([statement("Warfarin 2 mg", dosage)])).daily == 5


def test_morning_and_evening_doses_are_added(reading, statement):
    dosage = [*_dose(2, "tablet"), *_dose(1, "tablet")]
    use = _only(reading([statement("Warfarin 1 mg", dosage)]))
    assert use.daily == 3
    assert "added up" in use.dose_note
    steps = [{**one, "sequence": n} for n, one in enumerate(dosage)]
    assert _only(reading([statement("Warfarin 1 mg", steps)])).dose_known is False


@pytest.mark.parametrize(
    ("timing", "interval"),
    [
        ({"repeat": {"frequency": 1, "period": 1, "periodUnit": "wk"}}, 7),
        ({"repeat": {"frequency": 3, "period": 1, "periodUnit": "d"}}, 1 / 3),
        ({"repeat": {"frequency": 1, "frequencyMax": 2, "period": 1, "periodUnit": "d"}}, 0.5),
        ({"repeat": {"period": 8, "periodUnit": "h"}}, 1 / 3),
        ({"repeat": {"dayOfWeek": ["mon", "thu"]}}, 3.5),
        ({"repeat": {"timeOfDay": ["08:00:00", "20:00:00"]}}, 0.5),
        ({"repeat": {"when": ["MORN"]}}, 1),
        ({"repeat": {"frequency": 1, "period": 1, "periodUnit": "day"}}, 1),
        (
            {
                "code": {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation",
                            "code": "BID",
                        }
                    ]
                }
            },
            0.5,
        ),
        ({"code": {"text": "once weekly"}}, 7),
    ],
)
def test_structured_timing(reading, statement, timing, interval):
    use = _only(reading([statement("Warfarin 5 mg tablet", _dose(1, timing=timing))]))
    assert use.interval_days == pytest.approx(interval, abs=1e-5)


def test_bounds_include_both_end_days(reading, statement):
    timing = {
        "repeat": {
            "boundsPeriod": {"start": "2026-11-20", "end": "2026-11-22"},
            "frequency": 1,
            "period": 1,
            "periodUnit": "d",
        }
    }
    use = _only(reading([statement("Vitamin D3 1,000 IU", _dose(1, timing=timing))]))
    assert (use.taking, use.bounded_days, use.end) == ("yes", 3, date(2026, 11, 22))


def test_skin_and_eye_are_not_systemic(reading, statement):
    ointment = _only(reading([statement("Calcitriol 3 mcg/g ointment", None)]))
    oral = _only(reading([statement("Hydrocortisone 10 mg tablet", "1 tablet daily")]))
    cream = _dose(1, "tablet", route={"text": "topical"})
    assert ointment.systemic is False
    assert oral.systemic is True
    assert _only(reading([statement("Hydrocortisone", cream)])).systemic is False
    assert _only(reading([statement("Hydrocortisone", None)])).systemic is None


def test_vitamin_k_as_treatment_says_its_purpose(reading, statement):
    def purposes(dosage, **further):
        return _only(reading([statement("Phytonadione", dosage, **further)])).purposes

    assert purposes([{"text": "10 mg once only", "route": {"text": "IV"}}]) == ("reversal",)
    assert purposes("2.5 mg as a single dose") == ("reversal",)
    assert purposes("5 mg by mouth once") == ("reversal",)
    assert purposes([{"text": "5 mg by mouth", "timing": {"code": {"text": "Once"}}}]) == (
        "reversal",
    )
    assert purposes("100 mcg daily") == ()
    assert purposes(
        "150 mcg daily", reasonCode=[{"text": "INR stabilisation, clinic protocol"}]
    ) == ("inr-stabilisation",)


def test_a_purpose_may_stand_in_the_dosage_or_in_the_name_that_holds_the_dosage(reading, statement):
    said = statement("Phytonadione", "150 mcg daily, INR stabilisation protocol")
    named = statement("Phytonadione 150 mcg once daily to stabilize INR", None)
    for record in (said, named):
        use = _only(reading([record]))
        assert (use.daily, use.purposes) == (150, ("inr-stabilisation",))


def test_codes_and_words_are_read_together(reading, statement):
    coded = {
        "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "2418"}],
        "text": "D3 5,000 IU with K2 100 mcg",
    }
    uses = _uses(reading([statement(medicationCodeableConcept=coded)]))
    assert set(uses) == {"vitamin-d3", "vitamin-k2"}, "K2 hides behind a code for vitamin D"
    assert (uses["vitamin-d3"].coded, uses["vitamin-k2"].coded) == (True, False)


def test_a_multivitamin_matters_only_while_its_vitamin_k_is_unknown(reading, statement):
    def ingredients(text):
        return set(_uses(reading([statement(text, "1 tablet daily")])))

    assert ingredients("Daily multivitamin") == {"multivitamin"}
    assert ingredients("Multivitamin with vitamin K1 25 mcg") == {"vitamin-k1"}
    assert ingredients("Multivitamin (vitamin K-free) with D3 1,000 IU") == {"vitamin-d3"}


def test_other_medicines_are_counted_and_unreadable_words_are_gaps(reading, statement):
    known = statement("Lisinopril 10 mg tablet", id="a")
    coded = statement(
        id="b",
        medicationCodeableConcept={
            "coding": [{"system": "urn:local", "code": "1", "display": "Foo"}]
        },
    )
    strange = statement("the small blue ones", id="c")
    nameless = statement(id="d", medicationCodeableConcept={})
    read = reading([known, coded, strange, nameless])
    assert read.facts.uses == ()
    assert read.counts["irrelevant_medications"] == 2
    assert [(gap.source, gap.code, gap.concerns) for gap in read.gaps] == [
        ("MedicationStatement/c", "medication-not-recognised", ("uncoded-medication",)),
        ("MedicationStatement/d", "medication-not-stated", ("uncoded-medication",)),
    ]
    assert not any("blue" in gap.says for gap in read.gaps)


def test_a_modifier_makes_a_record_uncertain(reading, statement):
    read = reading([statement(modifierExtension=[{"url": "urn:x", "valueBoolean": True}])])
    assert _only(read).taking == "uncertain"
    (gap,) = read.gaps
    assert gap.code == "modifier-not-understood"
    assert "vitamin-k" in gap.concerns


@pytest.mark.parametrize(
    ("text", "dosage"),
    [
        ("Vitamin D3 " + "9" * 400 + " IU", "1 capsule daily"),
        ("Vitamin D3", "9" * 400 + " IU daily"),
        ("Vitamin D3 1000 IU", _dose(1e300, "g")),
        ("Vitamin D3 1000 IU", _dose(1, timing={"repeat": {"period": 1e-300, "periodUnit": "d"}})),
        ("Vitamin D3 1000 IU", _dose(1, timing={"repeat": {"period": 1e300, "periodUnit": "a"}})),
        ("Vitamin D3 1000 IU", _dose(float("nan"))),
        ("Vitamin D3 1000 IU", _dose("1e999")),
        ("Vitamin D3 1000 IU", _dose(-1)),
    ],
)
def test_absurd_numbers_are_unknown_not_infinite(reading, statement, text, dosage):
    read = reading([statement(text, dosage)])
    assert _only(read).daily is None
    assert _only(read).dose_known is False


def _ended_request(**elements):
    return {
        "resourceType": "MedicationRequest",
        "id": "o",
        "status": "completed",
        "intent": "order",
        "medicationCodeableConcept": {"text": "Warfarin 5 mg tablet"},
        "subject": {"reference": "Patient/p"},
        "authoredOn": "2026-06-01",
    } | elements


@pytest.mark.parametrize(
    ("dispensing", "end"),
    [
        ({"validityPeriod": {"start": "2026-06-01", "end": "2026-11-15"}}, date(2026, 11, 15)),
        ({"validityPeriod": {"end": "2027-06-01"}}, date(2026, 11, 22)),
        ({"expectedSupplyDuration": {"value": 30, "code": "d"}}, date(2026, 6, 30)),
        (
            {
                "expectedSupplyDuration": {"value": 4, "unit": "weeks"},
                "numberOfRepeatsAllowed": 2,
            },
            date(2026, 8, 23),
        ),
        ({"expectedSupplyDuration": {"value": -30, "code": "d"}}, None),
        ({"expectedSupplyDuration": {"value": 1e12, "code": "d"}}, None),
        ({"expectedSupplyDuration": {"value": 30, "code": "[lb_av]"}}, None),
        ({"expectedSupplyDuration": "30 days", "numberOfRepeatsAllowed": "many"}, None),
        ([], None),
    ],
)
def test_an_ended_prescription_reaches_as_far_as_it_was_dispensed(reading, dispensing, end):
    use = _only(reading([_ended_request(dispenseRequest=dispensing)]))
    assert (use.end, use.end_basis) == (end, "dispensing" if end else "")


def test_an_ended_prescription_never_reaches_beyond_the_day_it_was_recorded_as_ended(reading):
    plan = {"validityPeriod": {"end": "2026-11-15"}}
    for status in ("stopped", "completed"):
        record = _ended_request(
            status=status, dispenseRequest=plan, meta={"lastUpdated": "2026-07-01T10:00:00Z"}
        )
        use = _only(reading([record]))
        assert (use.end, use.end_basis) == (date(2026, 7, 1), "last-updated")


def test_what_was_dispensed_never_ends_an_open_prescription(reading):
    plan = {"validityPeriod": {"start": "2026-06-01", "end": "2026-07-01"}}
    use = _only(reading([_ended_request(status="active", dispenseRequest=plan)]))
    assert (use.taking, use.end) == ("yes", None)


@pytest.mark.parametrize(
    ("text", "dosage", "why"),
    [
        ("Vitamin D3 400 IU/drop", "1 mL daily", "the dose is a volume of unknown concentration"),
        ("Vitamin D3 50,000 IU", "as directed", "how many pieces are taken is not recorded"),
        ("Vitamin K2 (MK-7) 100 mcg", "1 capsule", "how often it is taken is not recorded"),
    ],
)
def test_a_dose_that_gives_no_daily_amount_is_a_stated_gap_without_its_words(
    reading, statement, text, dosage, why
):
    (gap,) = reading([statement(text, dosage)]).gaps
    assert (gap.source, gap.path) == ("MedicationStatement/s", "dosage")
    assert gap.code == "dose-not-understood"
    assert gap.says == f"The daily dose could not be worked out: {why}."
    assert gap.concerns == ()


@pytest.mark.parametrize(
    ("text", "dosage", "status"),
    [
        ("Vitamin D3 1000 IU", None, "active"),  # nothing recorded: nothing was misread
        ("Vitamin D3 1000 IU", "as directed", "stopped"),
        ("Vitamin K1 10 mg injection", "10 mg single dose", "active"),
        ("Vitamin D3 1000 IU tablet", "1 tablet as needed", "active"),
        ("Warfarin 5 mg tablet", "as directed", "active"),
    ],
)
def test_a_dose_that_counts_for_nothing_leaves_no_gap(reading, statement, text, dosage, status):
    assert reading([statement(text, dosage, status=status)]).gaps == ()
