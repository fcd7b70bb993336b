"""Whose record it is: nothing of another patient is ever evaluated, and nothing is lost in silence."""

import pytest

from fhir_adapter.bundles import resources_in


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


HERE = "https://ehr.example.org/r4"
THERE = "https://other.example.org/r4"


def _codes(read):
    return [gap.code for gap in read.gaps]


@pytest.mark.parametrize(
    "server", [HERE, f"{HERE}/", "https://EHR.example.org/r4", "https://ehr.example.org:443/r4"]
)
def test_an_absolute_reference_counts_on_the_server_of_the_patient(reading, statement, server):
    named = statement(subject={"reference": f"{HERE}/Patient/p/_history/3"})
    read = reading([named], servers=(server,))
    assert len(read.facts.uses) == 1
    assert _codes(read) == []


def test_the_same_id_on_another_server_is_somebody_else_and_said(reading, statement):
    """Ids are unique on one server only (FHIR R4, 2.3.0.2)."""
    named = statement(subject={"reference": f"{THERE}/Patient/p"})
    read = reading(
        [named, statement(id="t", subject={"reference": f"{THERE}/Patient/p"})], servers=(HERE,)
    )
    assert read.facts.uses == ()
    assert read.counts["of_other_patients"] == 2
    (gap,) = read.gaps
    assert (gap.code, gap.source) == ("patient-of-another-server", "MedicationStatement")
    assert gap.says.startswith("2 of them")
    assert "uncoded-medication" in gap.concerns
    # The path is part of the server: two tenants may share a host
    tenant = statement(subject={"reference": "https://ehr.example.org/tenant-b/Patient/p"})
    assert _codes(reading([tenant], servers=(HERE,))) == ["patient-of-another-server"]


def test_the_full_url_of_the_patient_names_a_server_too(reading, statement):
    patient = {"resourceType": "Patient", "id": "p"}
    entries = [
        {"fullUrl": f"{THERE}/Patient/p", "resource": patient},
        {"resource": statement(subject={"reference": f"{THERE}/Patient/p"})},
    ]
    known = resources_in({"resourceType": "Bundle", "entry": entries})
    for servers in ((), (HERE,)):
        read = reading(known, servers=servers)
        assert len(read.facts.uses) == 1
        assert _codes(read) == []


def test_where_no_server_is_known_an_absolute_reference_is_read_and_said(reading, statement):
    named = statement(subject={"reference": f"{HERE}/Patient/p"})
    read = reading([named])
    assert len(read.facts.uses) == 1
    assert _codes(read) == ["patient-server-not-known"]
    two = reading([named, statement(id="t", subject={"reference": f"{THERE}/Patient/p"})])
    assert two.facts.uses == ()
    assert _codes(two) == ["patient-of-another-server"]
    assert two.counts["of_other_patients"] == 2


def test_an_order_for_another_patient_is_not_read_and_said(reading, statement):
    order = {
        **statement(id="o", subject={"reference": "Patient/q"}),
        "resourceType": "MedicationRequest",
    }
    read = reading([], drafts=[order])
    assert read.facts.uses == ()
    assert _codes(read) == ["order-of-another-patient"]


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
