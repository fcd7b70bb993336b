"""Exports: no cell that a spreadsheet would calculate, FHIR that is valid, all of a view, and never unseen."""

import csv
import io
import json

import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given
from hypothesis import strategies as st

from service.alerts import models
from service.dashboard.exports import COLUMNS
from service.dashboard.sheets import csv_text, harmless
from tests.service.alerts.stories import inr, recommendation
from tests.service.dashboard.conftest import T
from tests.service.dashboard.test_triage import HOSTILE, act

_numbers = iter(range(9100, 9900))
FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20x",
    "  =cmd|' /C calc'!A0",
    "\u00a0=1",
]


def cells(body):
    return list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("cell", FORMULAS)
def test_what_a_spreadsheet_would_calculate_becomes_text(cell):
    assert harmless(cell) == f"'{cell}"


def test_numbers_and_plain_words_stay_as_they_are():
    assert [harmless(cell) for cell in (42, -1, "INR 2.4", "", "a=b", "<0.5")] == [
        "42",
        "-1",
        "INR 2.4",
        "",
        "a=b",
        "<0.5",
    ]


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=5))
def test_whatever_the_text_every_cell_comes_back_and_none_starts_a_formula(rows):
    read = cells(csv_text(("a", "b"), rows))
    assert len(read) == len(rows) + 1
    for told, row in zip(read[1:], rows, strict=True):
        for cell, given_ in zip(told, row, strict=True):
            assert cell in {given_, f"'{given_}"}
            assert not cell.lstrip(" \u00a0").startswith(
                tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
            )


@pytest.fixture
def patient(site):
    """A patient of this test's own with an alert that tries to be a formula."""
    number = next(_numbers)
    name = f"=cmd|{number}"
    said = recommendation(
        summary="=HYPERLINK(1)", because=(inr(1.6), *recommendation().because[0].because)
    )
    site.see(number, said, patient=name, labs=(inr(1.6),))
    return max(site.alerts(size=200), key=lambda row: row.id)


def test_a_view_leaves_as_csv_with_every_cell_harmless(site, patient):
    answer = site.get("/work/export?format=csv&view=open")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith(
        'attachment; filename="dekacard-alerts-'
    )
    assert answer.content.startswith(b"\xef\xbb\xbf")
    head, *rows = cells(answer.content)
    assert tuple(head) == COLUMNS
    (row,) = [dict(zip(head, one, strict=True)) for one in rows if one[0] == str(patient.id)]
    assert row["problem"] == "'=HYPERLINK(1)"
    assert row["patient"].startswith("'=cmd|")
    assert (row["severity"], row["newest_result"], row["score"]) == (
        "warning",
        "1.6",
        str(patient.priority),
    )


def test_ndjson_holds_the_same_rows_as_they_are(site, patient):
    lines = [
        json.loads(line)
        for line in site.get("/work/export?format=ndjson&view=open").text.splitlines()
    ]
    (row,) = [one for one in lines if one["alert"] == patient.id]
    assert row["problem"] == "=HYPERLINK(1)"
    assert set(row) == set(COLUMNS)
    assert len(lines) == len(site.record.store().page(_open(), site.now).rows)


def _open():
    from service.alerts.worklist import Filter

    return Filter(tenant=T, view="all-open", size=200)


def test_a_patient_leaves_as_a_valid_bundle_with_what_was_decided(site, patient):
    act(site, patient, "resolve", reason="dose-changed")
    answer = site.get(f"/p/{patient.patient}/export?format=fhir")
    assert answer.headers["content-type"] == "application/fhir+json"
    bundle = json.loads(answer.content)
    Bundle.model_validate(bundle)
    (issue,) = [one["resource"] for one in bundle["entry"]]
    assert (issue["resourceType"], issue["status"], issue["severity"]) == (
        "DetectedIssue",
        "final",
        "moderate",
    )
    assert issue["mitigation"][0]["action"]["text"] == "resolved: dose changed"
    assert issue["patient"]["reference"].startswith("Patient/=cmd|")
    assert {"reference": "Observation/inr"} in issue["implicated"]


def test_fhir_without_evidence_says_what_is_left(site, patient):
    with site.record.database.writing() as connection:
        connection.execute(models.evidence.delete())
    bundle = json.loads(site.get("/work/export?format=fhir&view=open").content)
    Bundle.model_validate(bundle)
    told = {one["resource"]["id"]: one["resource"] for one in bundle["entry"]}
    assert told[f"alert-{patient.id}"]["detail"] == "=HYPERLINK(1)"


@pytest.mark.parametrize("form", ["csv", "ndjson", "fhir"])
def test_every_export_is_written_down(site, patient, form):
    site.get(f"/p/{patient.patient}/export?format={form}")
    table = models.audit
    rows = site.wait_for(
        table, table.c.action == "export", table.c.object == f"patient/{patient.patient}/{form}/1"
    )
    assert rows[0].actor == "user/pharmacist-developer"
    assert rows[0].patient == patient.patient


def test_hostile_text_leaves_as_text(site):
    number = next(_numbers)
    site.see(number, recommendation(summary=HOSTILE.replace("\x00", "")), patient=f"px-{number}")
    row = max(site.alerts(size=200), key=lambda one: one.id)
    for form in ("csv", "ndjson", "fhir"):
        answer = site.get(f"/p/{row.patient}/export?format={form}")
        assert answer.status_code == 200
        assert "text/html" not in answer.headers["content-type"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_is_no_format_or_too_much_is_refused(site, patient, monkeypatch):
    assert site.get("/work/export?format=xml").status_code == 422
    assert site.get("/work/export").status_code == 422
    monkeypatch.setattr("service.dashboard.exports._MOST", {"csv": 0})
    answer = site.get("/work/export?format=csv&view=open")
    assert answer.status_code == 422
    assert "narrow it" in answer.text


def test_another_client_gets_nothing(site, patient):
    site.sign_in("pharmacist", tenant="elsewhere")
    assert cells(site.get(f"/p/{patient.patient}/export?format=csv").content)[1:] == []
    assert (
        json.loads(site.get(f"/p/{patient.patient}/export?format=fhir").content).get("entry")
        is None
    )
