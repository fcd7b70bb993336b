"""A site that is far from Greenwich: every day and time on its pages is one of its own clock, and says so."""

from datetime import UTC, datetime
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from service.alerts.past_answers import micros
from service.alerts.screen_tables import silence
from service.dashboard.audit_page import _day
from service.dashboard.runs_page import _moment
from service.silence_board import Silence

FAR = ZoneInfo("Pacific/Auckland")  # 13 hours ahead in November
NOON_THERE = datetime(2026, 11, 28, 23, tzinfo=UTC)


@pytest.fixture
def far(site, monkeypatch):
    monkeypatch.setattr(site.app.state.dashboard, "zone", FAR)
    return site.sign_in("lead")


def test_a_silence_ends_at_noon_of_the_site(far):
    answer = far.post("/silences", rule="vka-mk7-new", reason="local-protocol", until="2026-11-29")
    assert answer.status_code == 303, answer.text
    with far.record.database.reading() as connection:
        row = connection.execute(select(silence).order_by(silence.c.id.desc())).first()
    assert row.until == micros(NOON_THERE)
    page = far.get("/silences").text
    assert "2026-11-29 12:00 NZDT" in page
    assert "noon (Pacific/Auckland)" in page
    assert "UTC" not in page
    told = Silence(id=1, rule="vka-mk7-new", until=row.until)
    assert told.words(FAR) == "silenced until 2026-11-29"
    assert told.words(UTC) == "silenced until 2026-11-28"


def test_a_search_of_the_trail_means_days_of_the_site(far):
    visit = SimpleNamespace(here=datetime(2026, 11, 23, 1, tzinfo=FAR))
    assert _day("2026-11-23", visit) == micros(datetime(2026, 11, 22, 11, tzinfo=UTC))
    assert _day("2026-11-23", visit, after=1) == micros(datetime(2026, 11, 23, 11, tzinfo=UTC))
    assert _day("", visit) is None
    far.sign_in("auditor")
    assert "day in Pacific/Auckland" in far.get("/audit").text


def test_a_run_is_as_of_the_clock_of_the_site(far):
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    visit = SimpleNamespace(now=now, here=now.astimezone(FAR))
    assert _moment("2026-11-29T12:00", visit) == "2026-11-29T12:00:00+13:00"
    assert _moment("2026-11-29T12:00+01:00", visit) == "2026-11-29T12:00:00+01:00"
    assert "As of (Pacific/Auckland)" in far.get("/batch").text


def test_counts_of_days_say_whose_days(far):
    page = far.get("/rules/vka-mk7-new").text
    assert "of UTC days" in page
