"""A patient of a run whom the store or the engine refuses is kept aside or told as failed; the others are alerts."""

import pytest

from rules.errors import KnowledgeError
from service.alerts import models
from service.alerts.intake import Intake
from service.batch import storing
from service.batch.notes import Note
from tests.service.alerts.conftest import (  # noqa: F401 - fixtures
    database_url,
    postgres_server,
    record_connection,
    record_server,
)
from tests.service.batch.test_store import NIGHTS, on_warfarin, site  # noqa: F401 - a fixture

PEOPLE = [on_warfarin(key) for key in ("ada", "ben", "cleo")]


@pytest.mark.parametrize(
    ("error", "says"),
    [(ZeroDivisionError("MRN-canary"), "ZeroDivisionError"), (KnowledgeError("in words"), "in words")],
)  # fmt: skip
def test_who_cannot_be_taken_in_is_kept_aside_alone(site, monkeypatch, error, says):  # noqa: F811
    whole = Intake._take_review

    def broken(self, line):
        if line.call.patient == "ben":
            raise error
        whole(self, line)

    monkeypatch.setattr(Intake, "_take_review", broken)
    done = site.review(PEOPLE, NIGHTS[0])
    (aside,) = site.rows(models.spool_reject)
    assert aside.problem == says
    assert len(site.alerts()) == 2
    assert "canary" not in done.output + str(aside)


def test_whom_the_engine_refused_is_a_failed_evaluation_of_the_record(site, monkeypatch):  # noqa: F811
    """As a worker notes it down where the engine breaks on somebody."""
    whole = storing.notes_in

    def noted(path):
        for note in whole(path):
            broke = note.patient == "ben"
            yield Note(patient="ben", error="engine-fault") if broke else note

    monkeypatch.setattr(storing, "notes_in", noted)
    site.review(PEOPLE, NIGHTS[0])
    outcomes = [one.outcome for one in site.rows(models.evaluation)]
    assert len(outcomes) == 3
    assert outcomes.count("failed") == 1
    assert len(site.alerts()) == 2
    assert not site.rows(models.spool_reject)
