"""Who has nothing on file but results that no rule takes up is not reviewed; what is said stays the same."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine import Engine
from rules.rulebook import load_rulebook
from service.batch.reviewing import Reviewer
from service.batch.run import Run
from service.batch.shards import Form, Record
from service.batch.untriggered import Untriggered
from service.batch.values import ShardReport
from service.documents import TYPES_OF_SOURCE
from tests.service.batch.people import WARFARIN, lab, patient, request, statement
from tests.service.batch.test_review import options

ENGINE = Engine(load_rulebook(), "compiled")
EXPORTED = {kind for source, types in TYPES_OF_SOURCE.items() if source != "diet" for kind in types}
CALCIUM, CREATININE, INR, EGFR, VITAMIN_D = "17861-6", "2160-0", "6301-6", "33914-3", "1989-3"
BIRTHS = st.sampled_from(
    ["1990-03-01", "1951-11-22", "1951-11-23", "1938-01-05", "2008-02-29", "2026-10-01", "1990", "x", None]
)  # fmt: skip


@st.composite
def results(draw, key, number):
    code = draw(st.sampled_from([CALCIUM, CREATININE, INR, "8302-2"] * 3 + [EGFR, VITAMIN_D]))
    value = draw(st.sampled_from([0.4, 2.4, 9.1, 14.0, 35, 170, None]))
    unit = draw(st.sampled_from(["mg/dL", "mmol/L", "{INR}", "ng/mL", "mL/min/{1.73_m2}", ""]))
    taken = draw(st.sampled_from(["2026-11-10", "2026-06-01", "2020-01-01", "2027-01-01", "2026"]))
    made = lab(key, code, value, unit, number, taken=taken)
    kind = draw(st.integers(0, 14))
    if kind == 0:
        made["status"] = draw(st.sampled_from(["entered-in-error", "preliminary", "unknown"]))
    elif kind == 1:
        made["component"] = [{"code": lab(key, VITAMIN_D, 1, "", 0)["code"], **_value(9, "ng/mL")}]
    elif kind == 2:
        made["category"] = [{"coding": [{"code": "social-history"}]}]
        made["valueString"] = "eats natto"
    elif kind == 3:
        made["code"] = {"text": draw(st.sampled_from(["INR", "25-OH vitamin D", "Calcium"]))}
    elif kind == 4:
        made["subject"] = {"reference": "Patient/another"}
    return made


def _value(value, unit):
    return {"valueQuantity": {"value": value, "unit": unit, "code": unit}}


@st.composite
def people(draw):
    key = f"p{draw(st.integers(0, 30)):03}"
    born = patient(key, born=draw(BIRTHS))
    born["gender"] = draw(st.sampled_from(["female", "male", None]))
    own = [draw(results(key, number)) for number in range(draw(st.integers(1, 5)))]
    extra = draw(st.integers(0, 7))
    if extra == 0:
        own.append(request(key, WARFARIN, 1))
    elif extra == 1:
        own.append(statement(key, None, 1, words="Vitamin D3 50000 IU daily"))
    elif extra == 2:
        own.append(statement(key, None, 1, words="Wundermittel forte"))
    lines = [json.dumps({name: value for name, value in one.items() if value is not None})
             for one in [born, *own]]  # fmt: skip
    if extra == 3:
        lines[-1] = lines[-1][:-9]  # cut off
    elif extra == 4:
        lines.pop(0)  # nobody knows who it is
    return key, [line.encode() for line in lines]


def reviewer(*, sieve=True):
    return Reviewer(
        ENGINE, options(sieve=sieve), ["all.ndjson"], {}, EXPORTED, {"diet": "not fetched"}
    )


def answered(who, everybody):
    """What is shown of each patient, and how many there were: gaps count where they matter."""
    shown, report = [], ShardReport()
    for number, (key, raws) in enumerate(everybody):
        records = [Record(key, Form.LINE, 0, 0, number, raw) for raw in raws]
        answer = json.loads(who.review_patient(key, records, report) or "null")
        if answer is not None:
            answer["gaps"] = [gap for gap in answer["gaps"] if gap["matters"]]
        shown.append(
            answer if answer and any(map(answer.get, ("rows", "gaps", "failures"))) else None
        )
    counts = report.patients, report.reviewed, report.failures, report.firings, report.indicators
    return shown, counts, report.rejects


@settings(max_examples=150, deadline=None)
@given(st.lists(people(), min_size=1, max_size=10))
def test_what_is_shown_is_what_a_review_of_everybody_shows(everybody):
    assert answered(reviewer(), everybody) == answered(reviewer(sieve=False), everybody)


def reviews_of(monkeypatch, codes, *, born="1990-03-01", others=()):
    """How many of twenty alike, with results of these codes each, were reviewed."""
    one, calls = reviewer(), []
    whole = one._reviewed
    monkeypatch.setattr(one, "_reviewed", lambda *given: calls.append(1) or whole(*given))
    everybody = []
    for number in range(20):
        key = f"q{number}"
        own = [lab(key, code, number, "mg/dL", place) for place, code in enumerate(codes)]
        made = [patient(key, born=born), *own, *(other(key) for other in others)]
        everybody.append((key, [json.dumps(line).encode() for line in made]))
    _, counts, _ = answered(one, everybody)
    assert counts[:2] == (20, 20)
    return len(calls)


@pytest.mark.parametrize("codes", [[CREATININE], [CALCIUM], [INR], [CALCIUM, CREATININE, INR]])
def test_context_alone_is_not_reviewed(monkeypatch, codes):
    assert reviews_of(monkeypatch, codes) == 0


@pytest.mark.parametrize("codes", [[VITAMIN_D], [EGFR], [CALCIUM, VITAMIN_D]])
def test_a_result_that_a_rule_takes_up_by_itself_is_reviewed(monkeypatch, codes):
    assert reviews_of(monkeypatch, codes) == 20


def test_context_of_a_trigger_is_reviewed(monkeypatch):
    assert reviews_of(monkeypatch, [CALCIUM], others=[lambda key: request(key, WARFARIN, 9)]) == 20


def test_they_are_counted_apart_and_the_page_says_so(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    lines = {
        "Patient": [patient(key) for key in ("ada", "ben", "cyd", "dot")],
        "Observation": [lab("ada", CREATININE, 1, "mg/dL", 1), lab("ben", VITAMIN_D, 9, "ng/mL", 1), lab("cyd", CALCIUM, 9, "mg/dL", 1)],
        "MedicationRequest": [request("cyd", WARFARIN, 1)],
    }  # fmt: skip
    for kind, own in lines.items():
        (folder / f"{kind}.ndjson").write_text("".join(json.dumps(one) + "\n" for one in own))
    for number, (sieve, count) in enumerate([(True, 1), (False, 0)]):
        out = tmp_path / f"out-{number}"
        told = Run(out).review([folder], options(sieve=sieve)).told["patients"]
        assert (told["in"], told["reviewed"], told["untriggered"]) == (4, 4, count)
        assert told["nothing_to_say"] >= count + 1  # dot, of whom there is the Patient alone
        assert ("with context only" in (out / "summary.html").read_text()) == bool(count)


def test_what_was_found_about_one_infant_stands_for_no_other():
    """Here something is said about the first day of life alone: whoever comes first must not decide for the rest."""
    one, born = reviewer(), {"new": "2026-11-21", "older": "2026-10-02"}
    charts = {
        key: [Record(key, Form.LINE, 0, 0, number, json.dumps(line).encode())
              for number, line in enumerate([patient(key, born=day), lab(key, CREATININE, 1, "", 1)])]
        for key, day in born.items()
    }  # fmt: skip
    for order in (["new", "older"], ["older", "new"]):
        untriggered = Untriggered(
            ENGINE, one._as_of, one._today, quick=True,
            alone=lambda key, record: None if key == "new" else one._silent_alone(key, record),
        )  # fmt: skip
        found = {key: untriggered.holds_of(key, charts[key]) for key in order}
        assert found == {"new": False, "older": True}


def test_a_rule_that_argues_from_absence_still_speaks(monkeypatch):
    assert reviews_of(monkeypatch, [CREATININE], born="1938-01-05") == 20
