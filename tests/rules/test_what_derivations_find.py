"""Records of a few lines in the words of stories, and in full what is found in them (``records.yaml``).

A story tells which cards are shown; here it is told what the findings below them hold, rest on, and say is missing.
"""

from datetime import UTC, date, datetime, time
from pathlib import Path

import msgspec
import pytest
import yaml

from rules.engine import Engine
from rules.facts import Finding
from rules.rulebook import load_rulebook
from rules.stories import read_stories

BOOK = load_rulebook()
ENGINE = Engine(BOOK, "compiled")
EVERYTHING = tuple(BOOK.finding_fields)
TODAY = date(2026, 11, 22)
RECORDS = yaml.safe_load(Path(__file__).with_name("records.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def facts_of(tmp_path):
    def _facts_of(told):
        file = tmp_path / "story.yaml"
        story = {"vignette": "a record", "today": TODAY, "patient": "70-year-old woman"} | told
        file.write_text(yaml.safe_dump([story | {"expect": "nothing"}], sort_keys=False))
        (read,) = read_stories(file, BOOK.vocabulary)
        return read.facts

    return _facts_of


def findings_in(facts):
    moment = datetime.combine(TODAY, time(12), UTC)
    answer = ENGINE.assess(facts, as_of=moment, today=TODAY, asked=EVERYTHING)
    assert answer.failures == ()
    return answer.findings


def shown(finding):
    known = {field: value for field, value in finding.values.items() if value is not None}
    return known | {
        "about": finding.about,
        "missing": list(finding.missing),
        "because": [_name(one) for one in finding.because],
        "parameters": sorted(used.name for used in finding.parameters),
    }


def _name(one):
    """A finding by its name, a fact by what it is a record of."""
    if isinstance(one, Finding):
        return one.name
    told = (
        getattr(one, field, None)
        for field in ("ingredient", "measure", "problem", "procedure", "food")
    )
    return next((name for name in told if name), type(one).__name__)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["record"])
def test_a_record_holds_these_findings(facts_of, record):
    told = {key: value for key, value in record.items() if key not in {*EVERYTHING, "record"}}
    found = findings_in(facts_of(told))
    expected = {name: record[name] for name in EVERYTHING if name in record}
    assert expected
    for name, lines in expected.items():
        wanted = lines if isinstance(lines, list) else [lines] if lines != "none" else []
        assert [shown(one) for one in found if one.name == name] == wanted


@pytest.mark.parametrize("only", ["active-vitamin-d", "vitamin-d-25oh", "active-vitamin-d-or-25oh"])
def test_an_active_form_counts_by_any_of_its_classes(facts_of, only):
    """A hospital's own ingredient may be put into one class alone."""
    facts = facts_of({"takes": ["calcitriol 0.25 ug/d", "vitamin-d3 50000 IU daily"]})
    uses = [
        one
        if one.ingredient == "vitamin-d3"
        else msgspec.structs.replace(one, classes=frozenset({only}))
        for one in facts.uses
    ]
    found = findings_in(msgspec.structs.replace(facts, uses=tuple(uses)))
    resting = {
        "active-vitamin-d-taken", "active-vitamin-d-overlap", "calcium-raising-exposure",
        "vitamin-d-in-any-form", "vitamin-d-start-blocked",
    }  # fmt: skip
    named = {one.name for one in found if "calcitriol" in map(_name, one.because)}
    assert resting <= named
