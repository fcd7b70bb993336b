"""Who is known by a Patient resource alone is reviewed once for all who share the traits; the answers stay the same."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine import Engine
from rules.rulebook import load_rulebook
from service.batch.reviewing import Reviewer
from service.batch.shards import Form, Record
from service.batch.values import ShardReport
from service.documents import TYPES_OF_SOURCE
from tests.service.batch.people import lab, patient, statement
from tests.service.batch.test_review import options

ENGINE = Engine(load_rulebook(), "compiled")
EXPORTED = {kind for source, types in TYPES_OF_SOURCE.items() if source != "diet" for kind in types}

BIRTHS = st.sampled_from(
    ["1990-03-01", "1990-11-22", "1990-11-23", "1951-11-22", "1951-11-23", "1938-01-05", "2019-06-30", "2008-02-29",
     "2026-10-01", "2026-10-02", "2025-11-22", "2025-11-23", "1990", "1990-03", "2031-01-01", "x", "", None, 5]
)  # fmt: skip


@st.composite
def people(draw):
    key = f"p{draw(st.integers(0, 30)):03}"
    made = patient(key, born=draw(BIRTHS))
    made["gender"] = draw(st.sampled_from(["female", "male", "", " ", None, ["female"]]))
    extra = draw(st.integers(0, 9))
    if extra == 0:
        made["deceasedBoolean"] = draw(st.booleans())
    elif extra == 1:
        made["deceasedDateTime"] = "2020-01-01"
    elif extra == 2:
        made["name"] = [{"text": "Patient"}]
    elif extra == 3:
        made["id"] = "another"
    text = json.dumps({name: value for name, value in made.items() if value is not None})
    if extra == 4:
        text = text[:-1] + ', "gender": "male"}'  # a key twice is refused
    more = []
    if extra == 5:
        more.append(statement(key, None, 1, words="Vitamin D3 50000 IU daily"))
    elif extra == 6:
        more.append(lab(key, "1989-3", 9, "ng/mL", 1))
    return key, [text.encode(), *(json.dumps(one).encode() for one in more)]


def reviewer():
    return Reviewer(ENGINE, options(), ["Patient.ndjson"], {}, EXPORTED, {"diet": "not fetched"})


def answered(who, everybody):
    report = ShardReport()
    lines = []
    for number, (key, raws) in enumerate(everybody):
        records = [Record(key, Form.LINE, 0, 0, number, raw) for raw in raws]
        lines.append(who().review_patient(key, records, report))
    return lines, report


@settings(max_examples=60, deadline=None)
@given(st.lists(people(), min_size=1, max_size=12))
def test_what_was_said_about_others_changes_nothing(everybody):
    one = reviewer()
    assert answered(lambda: one, everybody) == answered(reviewer, everybody)


def test_those_who_share_traits_are_reviewed_once(monkeypatch):
    calls = []
    one = reviewer()
    whole = one._reviewed
    monkeypatch.setattr(one, "_reviewed", lambda *given: calls.append(1) or whole(*given))
    everybody = [
        (f"q{number}", [json.dumps(patient(f"q{number}", born=f"1990-03-{day:02}")).encode()])
        for number, day in enumerate(range(1, 21))
    ]
    lines, report = answered(lambda: one, everybody)
    assert len(calls) == 1
    assert lines == [None] * 20
    assert (report.patients, report.reviewed, report.silent) == (20, 20, 20)


@pytest.mark.parametrize("seed", range(3))
def test_reports_add_up_in_any_order(seed):
    rng = random.Random(seed)
    reports = [
        ShardReport(
            patients=n, reviewed=n, firings={"a": n}, gaps={"b": 1}, measures={"m": {"0": n}}
        )
        for n in range(1, 5)
    ]
    rng.shuffle(reports)
    total = ShardReport()
    for one in reports:
        total.add(one)
    assert total == ShardReport(
        patients=10, reviewed=10, firings={"a": 10}, gaps={"b": 4}, measures={"m": {"0": 10}}
    )
