"""The hand-over: each shift holds what happened in it, what is left stands as it is now, notes are sealed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from service.alerts import models
from service.alerts.handover import Shift, add_note, handover, notes
from service.alerts.lifecycle import Request
from service.alerts.past_answers import micros
from service.alerts.retention import remove_expired
from service.alerts.screen_tables import handover_note
from service.alerts.silences import Limits, Wish, ask
from service.alerts.values import Retention
from service.dashboard.handover_page import Shifts
from service.settings import Settings, SettingsRefused
from tests.service.alerts.stories import recommendation
from tests.service.dashboard.conftest import NOON, T

SEVEN = NOON.replace(hour=7)
DAY_SHIFT = Shift(start=micros(SEVEN), end=micros(SEVEN + timedelta(hours=8)))
STARTS = ("07:00", "15:00", "23:00")


@pytest.mark.parametrize(
    ("at", "begin", "end"),
    [
        ("2026-11-22T06:59", "2026-11-21T23:00", "2026-11-22T07:00"),
        ("2026-11-22T07:00", "2026-11-22T07:00", "2026-11-22T15:00"),
        ("2026-11-22T23:30", "2026-11-22T23:00", "2026-11-23T07:00"),
    ],
)
def test_a_shift_begins_with_its_hour_and_ends_with_the_next(at, begin, end):
    zone = ZoneInfo("UTC")
    told = Shifts(STARTS, zone).around(datetime.fromisoformat(at).replace(tzinfo=zone))
    assert [one.isoformat(timespec="minutes")[:16] for one in told] == [begin, end]


def test_the_night_of_the_clock_change_is_an_hour_longer():
    begin, end = Shifts(STARTS, ZoneInfo("Europe/Vienna")).around(datetime(2026, 10, 25, 0, tzinfo=UTC))  # fmt: skip
    assert end.astimezone(UTC) - begin.astimezone(UTC) == timedelta(hours=9)


def test_one_start_makes_days_and_nonsense_is_no_setting():
    begin, end = Shifts(("06:30",), ZoneInfo("UTC")).around(NOON)
    assert (begin.hour, begin.minute, end - begin) == (6, 30, timedelta(days=1))
    with pytest.raises(SettingsRefused):
        Settings.read({}, shift_starts=("25:00",))


def test_what_happened_in_a_shift_stands_in_it_and_in_no_other(site):
    site.see(1, recommendation(indicator="critical"), patient="a")
    site.see(2, recommendation(), patient="b")
    site.see(3, recommendation(), patient="c")
    site.see(4, recommendation(), tenant="mercy", patient="theirs")
    store = site.record.store()
    critical, second, third = sorted(site.alerts(), key=lambda row: row.id)
    ann = {"actor": "user/ann", "at": NOON}
    store.change(T, second.id, second.version, Request(action="resolve", reason="dose-changed", **ann))  # fmt: skip
    store.change(T, third.id, third.version, Request(action="snooze", until=NOON + timedelta(hours=8), **ann))  # fmt: skip
    tonight = micros(NOON.replace(hour=23))
    told = handover(site.record.database, T, DAY_SHIFT, micros(NOON), tonight)
    assert told.opened == {"critical": 1, "warning": 2}
    assert [(row.id, row.reason) for row in told.done] == [(second.id, "dose-changed")]
    assert [row.id for row in told.snoozed] == [row.id for row in told.due] == [third.id]
    assert [row.id for row in told.unclaimed] == [critical.id]
    assert told.left == {"critical": 1}
    store.change(T, critical.id, critical.version, Request(action="claim", **ann))
    later = Shift(start=DAY_SHIFT.end, end=tonight)
    told = handover(site.record.database, T, later, micros(NOON), later.start)
    assert (told.opened, told.done, told.snoozed, told.due, told.unclaimed) == ({}, [], [], [], [])


def test_an_escalation_is_handed_over(site):
    site.see(1, recommendation(), patient="a")
    site.see(2, recommendation(indicator="critical"), patient="a")
    told = handover(site.record.database, T, DAY_SHIFT, micros(NOON), DAY_SHIFT.end)
    assert [row.action for row in told.escalated] == ["escalated"]


def test_what_was_done_with_a_rule_on_trial_is_not_counted(site):
    site.see(1, recommendation(), patient="a")
    (row,) = site.alerts()
    told = Request(action="resolve", actor="user/ann", at=NOON, reason="dose-changed")
    site.record.store().change(T, row.id, row.version, told)
    now, span = micros(NOON), (site.record.database, T, DAY_SHIFT)
    assert handover(*span, now, DAY_SHIFT.end).actions.get("resolve") == 1
    table = models.alert
    site.record.database.write(
        lambda connection: connection.execute(table.update().where(table.c.id == row.id).values(mode="shadow"))
    )  # fmt: skip
    assert "resolve" not in handover(*span, now, DAY_SHIFT.end).actions


def test_a_snoozed_critical_stands_once_and_never_nowhere(site):
    site.see(1, recommendation(indicator="critical"), patient="a")
    (row,) = site.alerts()
    store = site.record.store()
    for hours in (1, 2):
        row = store.change(T, row.id, row.version, Request(action="snooze", actor="user/ann", at=NOON, until=NOON + timedelta(hours=hours)))  # fmt: skip
    told = handover(site.record.database, T, DAY_SHIFT, micros(NOON), DAY_SHIFT.end)
    assert [one.id for one in told.due] == [one.id for one in told.snoozed] == [row.id]
    assert told.unclaimed == []
    assert told.actions["snooze"] == 1, "alerts are counted, not what was done with them"
    told = handover(site.record.database, T, DAY_SHIFT, micros(NOON), micros(NOON) + 1)
    assert (told.due, [one.id for one in told.unclaimed]) == ([], [row.id])


def test_an_alert_that_was_closed_twice_counts_once(site):
    site.see(1, recommendation(), patient="a")
    (row,) = site.alerts()
    ann = {"actor": "user/ann", "at": NOON}
    for action, reason in (
        ("resolve", "dose-changed"),
        ("reopen", "new-information"),
        ("override", "will-monitor"),
    ):
        given = Request(action=action, reason=reason, **ann)
        row = site.record.store().change(T, row.id, row.version, given)
    told = handover(site.record.database, T, DAY_SHIFT, micros(NOON), DAY_SHIFT.end)
    assert (told.closed, told.actions["resolve"], told.actions["override"]) == (1, 1, 1)


def test_notes_are_sealed_and_belong_to_their_shift_and_client(site):
    given = {"tenant": T, "actor": "user/ann", "at": NOON}
    add_note(site.record.database, site.record.keyring, shift=1, text="Call Dr Grey", **given)
    assert [one.text for one in notes(site.record.database, site.record.keyring, T, 1)] == ["Call Dr Grey"]  # fmt: skip
    assert notes(site.record.database, site.record.keyring, T, 2) == []
    assert notes(site.record.database, site.record.keyring, "mercy", 1) == []
    with site.record.database.reading() as connection:
        row = connection.execute(select(handover_note)).one()
    assert b"Grey" not in row.note


def test_the_page_shows_a_shift_and_keeps_a_note(site):
    site.see(1, recommendation(indicator="critical", summary="<b>25(OH)D</b> too high"), patient="a")  # fmt: skip
    page = site.get("/handover").text
    assert "<strong>1</strong> critical, unclaimed now" in page
    assert "&lt;b&gt;25(OH)D&lt;/b&gt; too high" in page
    shift = page.split('name="shift" value="')[1].split('"')[0]
    assert int(shift) == DAY_SHIFT.start
    answer = site.post("/handover", shift=shift, note="<script>x</script>\nsecond line")
    assert answer.status_code == 303
    after = site.get(answer.headers["location"]).text
    assert "&lt;script&gt;x&lt;/script&gt;" in after
    earlier = after.split('href="/handover?shift=')[1].split('"')[0]
    before = site.get(f"/handover?shift={earlier}").text
    assert "&lt;script&gt;" not in before
    assert "Later shift" in before
    for note in ("", "x" * 2001):
        assert site.post("/handover", shift=shift, note=note).status_code == 422


@pytest.mark.parametrize("shift", ["x", "-5", "1", "9" * 30, str(micros(NOON + timedelta(days=2)))])
def test_a_shift_that_is_none_is_refused(site, shift):
    assert site.get(f"/handover?shift={shift}").status_code in {404, 422}


def test_readers_read_it_and_write_nothing(site):
    site.sign_in("reader")
    assert "<textarea" not in site.get("/handover").text
    assert site.post("/handover", shift=str(DAY_SHIFT.start), note="x").status_code == 403


def test_a_note_of_another_shift_number_goes_to_the_shift_it_falls_into(site):
    site.post("/handover", shift=str(DAY_SHIFT.start + 12345), note="late")
    assert len(notes(site.record.database, site.record.keyring, T, DAY_SHIFT.start)) == 1


def test_retention_removes_old_notes_and_ended_silences_only(site):
    long_ago = NOON - timedelta(days=3000)
    for at in (long_ago, NOON):
        add_note(site.record.database, site.record.keyring, tenant=T, shift=1, actor="user/a", at=at, text=at.isoformat())  # fmt: skip
        given = Wish(tenant=T, actor="user/a", at=at, until=at + timedelta(days=7), reason="x", rule="r")  # fmt: skip
        ask(site.record.database, site.record.keyring, given, Limits())
    gone = remove_expired(site.record.database, site.record.keyring, NOON, Retention())
    assert (gone["handover_note"], gone["silence"], gone["batch_job"]) == (1, 1, 0)
    assert len(notes(site.record.database, site.record.keyring, T, 1)) == 1
