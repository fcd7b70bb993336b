"""Whose record it is: nothing of another patient is ever evaluated, and nothing is lost in silence."""

import pytest


def _of(patient, statement, reference):
    return statement(id=patient, subject=reference)


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Patient/p"},
        {"reference": "Patient/p/_history/2"},
        {"reference": "https://ehr.example.org/r4/Patient/p"},
        {"reference": "urn:uuid:p"},
        {"reference": "urn:uuid:0c1"},
        {"identifier": {"system": "urn:mrn", "value": "7"}},
    ],
)
def test_every_way_to_name_the_patient(reading, statement, subject):
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "fullUrl": "urn:uuid:0c1",
        "identifier": [{"system": "urn:mrn", "value": "7"}],
    }
    read = reading([patient, statement(subject=subject)])
    assert len(read.facts.uses) == 1
    assert read.counts.get("of_other_patients", 0) == 0


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Patient/q"},
        {"reference": "Group/p"},
        {"reference": "urn:uuid:other"},
        {"identifier": {"system": "urn:mrn", "value": "8"}},
    ],
)
def test_others_are_counted_and_never_read(reading, statement, subject):
    patient = {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [{"system": "urn:mrn", "value": "7"}],
    }
    read = reading([patient, statement(subject=subject)])
    assert read.facts.uses == ()
    assert read.counts["of_other_patients"] == 1


def test_a_record_without_subject_counts_only_if_nobody_else_is_there(reading, statement):
    nobodys = statement(id="n", subject=None)
    alone = reading([nobodys])
    assert len(alone.facts.uses) == 1
    among_others = reading([nobodys, statement(id="o", subject={"reference": "Patient/q"})])
    assert among_others.facts.uses == ()
    assert [gap.code for gap in among_others.gaps] == ["subject-not-stated"]
    assert "uncoded-medication" in among_others.gaps[0].concerns


def test_without_an_id_the_only_patient_is_meant(reading, statement):
    assert len(reading([statement()], patient_id=None).facts.uses) == 1
    two = [statement(), statement(id="o", subject={"reference": "Patient/q"})]
    read = reading(two, patient_id=None)
    assert read.facts.uses == ()
    assert [gap.code for gap in read.gaps] == ["patient-not-known"]


def test_age_is_counted_on_the_day_of_the_review(reading):
    def age(born):
        patient = reading([{"resourceType": "Patient", "id": "p", "birthDate": born}]).facts.patient
        return patient.age_years, patient.age_days, patient.age_approximate

    assert age("1958-11-22") == (68, 24837, False)
    assert age("1958-11-23")[0] == 67
    assert age("2026-11-12")[1] == 10
    assert age("1958") == (67, 24798, True)
    assert age("2030-01-01") == (None, None, False)
    assert age("soon") == (None, None, False)


def test_of_two_versions_the_later_counts_in_any_order(reading, statement):
    old = statement(meta={"lastUpdated": "2026-11-01T00:00:00Z"})
    new = statement(status="stopped", meta={"lastUpdated": "2026-11-02T00:00:00Z"})
    for order in ([old, new], [new, old]):
        read = reading(order)
        assert [use.taking for use in read.facts.uses] == ["no"]
        assert read.counts["duplicates"] == 1
