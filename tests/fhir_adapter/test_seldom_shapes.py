"""Shapes of records that few systems send: each is read as FHIR means it, or set aside with its reason."""

from datetime import UTC, date

import pytest

from fhir_adapter.bundles import PrefetchState, group_by_patient, read_prefetch, resources_in
from fhir_adapter.moments import moment
from fhir_adapter.server import FetchResult
from fhir_adapter.subjects import Subject, only_subject

SUBJECT = {"reference": "Patient/p"}
LOINC, ICD = "http://loinc.org", "http://hl7.org/fhir/sid/icd-10-cm"


def coded(system, code):
    return {"coding": [{"system": system, "code": code}]}


# Results -------------------------------------------------------------------------------------------------------------


def inr(**elements):
    return {
        "resourceType": "Observation", "id": "i", "status": "final", "code": coded(LOINC, "6301-6"),
        "subject": SUBJECT, "effectiveDateTime": "2026-11-20", "valueQuantity": {"value": 2.4},
    } | elements  # fmt: skip


def vitamin_d(**quantity):
    value = {"value": 30, "system": "http://unitsofmeasure.org"} | quantity
    return inr(code=coded(LOINC, "1989-3"), valueQuantity=value)


def test_a_value_that_stands_in_words_of_a_concept_is_read_where_it_is_a_number(reading):
    worded = inr(valueCodeableConcept={"coding": [{"display": "high"}], "text": "> 8"})
    del worded["valueQuantity"]
    (lab,) = reading([worded]).facts.labs
    assert (lab.comparator, lab.value) == (">", 8)
    worded["valueCodeableConcept"]["text"] = "very high"
    (lab,) = reading([worded]).facts.labs
    assert (lab.value, lab.problem) == (None, "no-value")


def test_a_result_of_a_later_day_decides_nothing_and_is_told(reading):
    read = reading([inr(effectiveDateTime="2026-11-23")])
    assert read.facts.labs == ()
    assert [gap.code for gap in read.gaps] == ["result-of-later-day"]
    panel = inr(code={"text": "panel"}, component=[inr()], effectiveDateTime="2026-11-23")
    assert reading([panel]).facts.labs == ()


def test_a_result_with_a_modifier_that_nobody_understands_is_not_used(reading):
    read = reading([inr(modifierExtension=[{"url": "urn:not", "valueBoolean": True}])])
    assert [lab.problem for lab in read.facts.labs] == ["modifier-not-understood"]
    assert [gap.code for gap in read.gaps] == ["modifier-not-understood"]


def test_a_unit_whose_code_and_words_contradict_each_other_is_not_used(reading):
    (lab,) = reading([vitamin_d(code="ng/mL", unit="nmol/L")]).facts.labs
    assert lab.problem == "unit-mismatch"
    (lab,) = reading([vitamin_d(code="ng/mL", unit="ug/L")]).facts.labs
    assert (lab.unit, lab.problem) == ("ng/mL", "")


def test_the_laboratory_is_the_first_performer_that_is_named(reading):
    performers = [{"display": "somebody"}, {"reference": "Organization/lab"}]
    assert reading([inr(performer=performers)]).facts.labs[0].performer == "Organization/lab"
    assert reading([inr(performer=performers[:1])]).facts.labs[0].performer == ""


@pytest.mark.parametrize(
    ("when", "taken"),
    [
        ("2026-11", "2026-11-30"), ("2026-13", None), ("2026-11-20 08:00:00", None),
        ("2026-11-20T08:00:60Z", "2026-11-20"), ("2026-11-20T08:00", "2026-11-20"),
    ],
)  # fmt: skip
def test_a_moment_is_as_exact_as_it_is_written_and_nonsense_is_none(when, taken):
    found = moment(when, UTC)
    assert (found and found.last) == (taken and date.fromisoformat(taken))


# Problems ------------------------------------------------------------------------------------------------------------


def condition(code, **elements):
    return {
        "resourceType": "Condition", "id": "c", "code": coded(ICD, code), "subject": SUBJECT
    } | elements  # fmt: skip


def active():
    return {"clinicalStatus": {"coding": [{"code": "active"}]}}


def test_a_code_for_the_history_of_a_problem_is_never_active(reading):
    (one,) = reading([condition("Z87.442", **active())]).facts.conditions
    assert (one.problem, one.clinical_status) == ("nephrolithiasis", "resolved")


def test_a_problem_without_status_is_over_from_its_last_day_on(reading):
    for day, status in (("2026-11-22", "resolved"), ("2026-11-23", "active")):
        (one,) = reading([condition("D86.0", abatementDateTime=day)]).facts.conditions
        assert one.clinical_status == status
    (one,) = reading([condition("D86.0", abatementBoolean=True)]).facts.conditions
    assert one.clinical_status == "resolved"
    (one,) = reading([condition("D86.0")]).facts.conditions
    assert one.clinical_status == "active"


def test_a_condition_with_a_modifier_is_not_used_and_is_told(reading):
    read = reading([condition("D86.0", modifierExtension=[{"url": "urn:not"}], **active())])
    assert read.facts.conditions == ()
    assert [gap.code for gap in read.gaps] == ["modifier-not-understood"]
    assert "sarcoidosis" in read.gaps[0].concerns


@pytest.mark.parametrize(
    ("elements", "count"),
    [
        ({"status": "completed"}, 1),
        ({"status": "entered-in-error"}, 0),
        ({"status": "not-done"}, 0),
        ({"status": "completed", "notDone": True}, 0),
        ({"status": "completed", "notPerformed": True}, 0),
    ],
)
def test_a_procedure_counts_only_when_it_was_done(reading, vocabulary, elements, count):
    codes = next(one for one in vocabulary.content.code_lists if one.for_ == "procedures")
    done = {
        "resourceType": "Procedure", "id": "d", "subject": SUBJECT,
        "code": coded(codes.system, next(iter(codes.codes))), "performedDateTime": "2026-01-02",
    }  # fmt: skip
    assert len(reading([done | elements]).facts.procedures) == count


# Medicines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "taking"),
    [
        ({}, "yes"),
        ({"taken": "unk"}, "uncertain"),
        ({"taken": "n"}, "no"),
        ({"adherence": {"code": {"coding": [{"code": "on-hold"}]}}}, "uncertain"),
        ({"adherence": {"code": {"coding": [{"code": "not-taking"}]}}}, "no"),
        ({"effectivePeriod": {"start": "2026-12-01"}}, "uncertain"),
    ],
)
def test_whether_it_is_taken_as_each_release_says_it(reading, statement, elements, taking):
    (use,) = reading([statement(**elements)]).facts.uses
    assert use.taking == taking


def request(**elements):
    return {
        "resourceType": "MedicationRequest", "id": "r", "status": "active", "intent": "order", "subject": SUBJECT,
        "medicationCodeableConcept": {"text": "warfarin 5 mg tablet"}, "authoredOn": "2026-10-01",
        "dosageInstruction": [{"text": "1 tablet daily"}],
    } | elements  # fmt: skip


def test_a_proposal_of_somebody_is_not_what_is_taken(reading):
    for intent, taking in (("order", "yes"), ("proposal", "uncertain"), ("option", "uncertain")):
        assert reading([request(intent=intent)]).facts.uses[0].taking == taking


def test_a_request_that_says_when_its_status_changed_ended_on_that_day(reading):
    (use,) = reading([request(status="stopped", statusChanged="2026-11-03T10:00:00Z")]).facts.uses
    assert (use.end, use.end_basis) == (date(2026, 11, 3), "status-changed")


def medication(name="m", **elements):
    return {"resourceType": "Medication", "id": name} | elements


def used(reading, statement, *medications):
    record = statement(
        medicationCodeableConcept=None, medicationReference={"reference": "Medication/m"}
    )
    return reading([record, *medications]).facts.uses


D3 = {"text": "vitamin D3"}


def ratio(value, unit, per, per_unit):
    return {"numerator": {"value": value, "unit": unit}, "denominator": {"value": per, "unit": per_unit}}  # fmt: skip


def test_an_ingredient_that_is_not_active_is_none(reading, statement):
    carrier = {"itemCodeableConcept": {"text": "vitamin K1"}, "isActive": False}
    active = {"itemCodeableConcept": D3, "strength": ratio(1000, "IU", 1, "tablet")}
    (use,) = used(reading, statement, medication(ingredient=[carrier, active]))
    assert (use.ingredient, use.daily) == ("vitamin-d3", 1000)


def test_an_ingredient_may_stand_in_a_medication_of_its_own(reading, statement):
    inner = medication("inner", code=D3)
    by_reference = medication(ingredient=[{"itemReference": {"reference": "Medication/inner"}}])
    (use,) = used(reading, statement, by_reference, inner)
    assert use.ingredient == "vitamin-d3"
    assert used(reading, statement, by_reference) == ()


@pytest.mark.parametrize(
    ("strength", "dosage", "daily"),
    [
        (ratio(800, "IU", 2, "mL"), "2 mL daily", 800),
        (ratio(1000, "IU", 1, "tablet"), "2 tablets daily", 2000),
        (ratio(1000, "furlong", 1, "tablet"), "2 tablets daily", None),
        (ratio(1000, "IU", 1, "mg"), "2 tablets daily", None),
    ],
)
def test_a_strength_counts_per_what_it_says(reading, statement, strength, dosage, daily):
    record = statement(
        dosage=dosage, medicationCodeableConcept=None, medicationReference={"reference": "Medication/m"}
    )  # fmt: skip
    product = medication(ingredient=[{"itemCodeableConcept": D3, "strength": strength}])
    (use,) = reading([record, product]).facts.uses
    assert use.daily == daily


def test_a_form_for_the_skin_is_not_systemic(reading, statement):
    cream = medication(code={"text": "vitamin K1"}, form={"text": "cream"})
    assert [use.systemic for use in used(reading, statement, cream)] == [False]


# Whose it is ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["p", "q"])
def test_a_contained_subject_is_the_patient_only_under_the_patients_id(name):
    person = {"resourceType": "Patient", "id": name}
    record = {"subject": {"reference": f"#{name}"}, "contained": [{"id": "o"}, person]}
    assert Subject("p", []).of(record) == ("own" if name == "p" else "unstated")


def test_the_patient_of_records_is_known_only_if_all_agree():
    def about(reference):
        return {"resourceType": "Observation", "subject": {"reference": reference}}

    same = [about("Patient/p"), about("https://a.example/r4/Patient/p"), about("#inside"), about("Group/g")]  # fmt: skip
    assert only_subject(same) == "p"
    assert only_subject([*same, about("Patient/q")]) is None
    assert only_subject([about("Group/g")]) is None


def test_records_of_several_patients_are_told_apart_by_every_kind_of_reference():
    people = [
        {"resourceType": "Patient", "id": "p", "fullUrl": "urn:uuid:1"},
        {"resourceType": "Patient", "id": "q"},
    ]

    def about(reference):
        return {"resourceType": "Observation", "id": reference, "subject": {"reference": reference}}

    records = [about(one) for one in (
        "urn:uuid:1", "Patient/q", "https://a.example/r4/Patient/q", "q", "urn:uuid:q", "Group/g", "#x",
    )]  # fmt: skip
    groups = group_by_patient([*people, *records])
    assert {name: [one["id"] for one in held if "subject" in one] for name, held in groups.items()} == {
        "p": ["urn:uuid:1"],
        "q": ["Patient/q", "https://a.example/r4/Patient/q", "q", "urn:uuid:q"],
        "": ["Group/g", "#x"],
    }  # fmt: skip


# Bundles and answers ---------------------------------------------------------------------------------------------------


def test_a_list_in_place_of_a_bundle_is_read_unless_a_part_is_unreadable():
    assert read_prefetch([inr()]) == (PrefetchState.DATA, (inr(),), "")
    assert read_prefetch([]).state is PrefetchState.EMPTY
    assert read_prefetch([inr(), 7]) == (PrefetchState.FAILED, (inr(),), "")


def test_entries_of_which_one_is_unreadable_are_not_everything():
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": inr()}, 7]}
    assert read_prefetch(bundle) == (PrefetchState.FAILED, (inr(),), "")


def test_resources_are_found_in_wrappers_but_not_below_the_deepest():
    wrapped = {"resource": inr()}
    assert resources_in(wrapped) == [inr()]
    assert resources_in({"resourceType": "Bundle", "entry": [{"resource": 7}, wrapped]}) == [inr()]
    deep = inr()
    for _ in range(12):
        deep = [deep]
    assert resources_in(deep) == []


def test_what_a_server_says_about_its_search_is_no_resource_of_the_answer():
    remark = {"resourceType": "OperationOutcome"}
    bundle = {"resourceType": "Bundle", "entry": [{"resource": inr()}, {"resource": remark}, 7, {}]}
    assert FetchResult(state="read", value=bundle).resources == (inr(),)
    assert FetchResult(state="read", value=inr()).resources == (inr(),)
    assert FetchResult(state="failed", reason="not-json").resources == ()
