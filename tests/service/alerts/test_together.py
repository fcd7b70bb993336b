"""Several alerts decided at once and taken back: nobody's work is lost, nothing critical is set aside in a heap."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from rules.errors import RequestError
from service import audit
from service.alerts import models
from service.alerts.lifecycle import Request
from service.alerts.store import NotThere, Store
from service.alerts.together import MOST, UNDO, change_together, take_back
from service.alerts.worklist import Filter
from tests.service.alerts.stories import NOON, RULES, call, inr, recommendation, reviewed

T = "st-elsewhere"
LATER = NOON + timedelta(hours=1)


@pytest.fixture
def store(database, keyring):
    return Store(database, keyring)


@pytest.fixture
def three(store, recorder, drainer):
    """A critical alert and two warnings, of three patients."""
    for number, indicator in enumerate(("critical", "warning", "warning")):
        made = call(number, patient=f"p{number}")
        recorder.record(made, reviewed(recommendation(indicator=indicator)), may_speak=RULES)
    drainer.drain()
    rows = store.page(Filter(tenant=T), NOON).rows
    assert [row.indicator for row in rows] == ["critical", "warning", "warning"]
    return rows


def ask(action, actor="user/ann", **more):
    return Request(action=action, actor=actor, at=LATER, **more)


def seen(rows):
    return [(row.id, row.version) for row in rows]


def acted_on(database):
    table = models.rule_daily
    with database.reading() as connection:
        found = connection.execute(select(table.c.acted_on, table.c.dismissed)).all()
    return sum(row.acted_on for row in found), sum(row.dismissed for row in found)


def test_a_joint_decision_is_told_audited_and_taken_back_whole(store, three, database, keyring):
    done = change_together(store, T, seen(three), ask("resolve", reason="dose-changed"))
    assert (done.changed, done.refused) == (tuple(row.id for row in three), ())
    assert not store.page(Filter(tenant=T), NOON).rows
    assert acted_on(database) == (3, 0)
    back = take_back(store, T, done.id, "user/ann", LATER + timedelta(seconds=5))
    assert back.changed == done.changed
    after = store.page(Filter(tenant=T), NOON).rows
    assert [(one.id, one.state, one.closed, one.version) for one in after] == [
        (row.id, "new", None, row.version + 2) for row in three
    ]
    assert acted_on(database) == (0, 0)
    assert [one["action"] for one in store.events(T, three[0].id)] == ["opened", "resolve", "undo"]
    with database.reading() as connection:
        assert audit.verify(connection, keyring) == []
        told = connection.scalars(select(models.audit.c.action)).all()
    assert told.count("undo") == 3
    with pytest.raises(NotThere):
        take_back(store, T, done.id, "user/ann", LATER)


def test_critical_alerts_are_never_overridden_in_a_heap(store, three):
    done = change_together(store, T, seen(three), ask("override", reason="will-monitor"))
    assert done.changed == (three[1].id, three[2].id)
    ((number, says),) = [(one.number, one.says) for one in done.refused]
    assert number == three[0].id
    assert "one by one" in says
    assert store.alert(T, three[0].id) == three[0]


def test_what_a_colleague_changed_stays_as_the_colleague_left_it(store, three):
    store.change(T, three[1].id, three[1].version, ask("claim", "user/bob"))
    done = change_together(store, T, seen(three), ask("acknowledge"))
    assert done.changed == (three[0].id, three[2].id)
    assert store.alert(T, three[1].id).assignee == "user/bob"
    store.change(T, three[2].id, three[2].version + 1, ask("comment", "user/bob", note="Called."))
    back = take_back(store, T, done.id, "user/ann", LATER)
    assert back.changed == (three[0].id,)
    assert [one.number for one in back.refused] == [three[2].id]
    assert store.alert(T, three[2].id).state == "acknowledged"


def test_only_the_same_person_of_the_same_client_takes_it_back_and_only_for_a_while(store, three):
    done = change_together(store, T, seen(three[:1]), ask("claim"))
    for tenant, actor in ((T, "user/bob"), ("elsewhere", "user/ann")):
        with pytest.raises(NotThere):
            take_back(store, tenant, done.id, actor, LATER)
    with pytest.raises(RequestError, match="too late"):
        take_back(store, T, done.id, "user/ann", LATER + UNDO + timedelta(seconds=1))
    assert store.alert(T, three[0].id).assignee == "user/ann"


def test_a_snooze_that_is_taken_back_leaves_the_one_of_before(store, three):
    until = LATER + timedelta(days=3)
    row = store.change(
        T, three[1].id, three[1].version, ask("snooze", until=until, wakes_on="new-result")
    )
    done = change_together(store, T, [(row.id, row.version)], ask("snooze", until=until + UNDO))
    assert store.alert(T, row.id).wakes_on == ""
    take_back(store, T, done.id, "user/ann", LATER)
    back = store.alert(T, row.id)
    assert (back.snoozed_until, back.wakes_on) == (row.snoozed_until, "new-result")


@pytest.mark.parametrize("action", ["reopen", "comment", "data-problem", "wake"])
def test_some_things_are_done_one_by_one(store, three, action):
    with pytest.raises(RequestError, match="one by one"):
        change_together(store, T, seen(three), ask(action, reason="x", note="x"))


def test_none_and_too_many_are_refused(store):
    for wanted in ([], [(number, 1) for number in range(MOST + 1)]):
        with pytest.raises(RequestError):
            change_together(store, T, wanted, ask("claim"))
    done = change_together(store, T, [(999, 1)], ask("claim"))
    assert (done.id, done.changed) == ("", ())


def test_a_new_result_wakes_only_what_waits_for_one(store, three, recorder, drainer):
    until = LATER + timedelta(days=5)
    for row, wakes_on in zip(three[1:], ("new-result", "escalation"), strict=True):
        store.change(T, row.id, row.version, ask("snooze", until=until, wakes_on=wakes_on))
    for number in (1, 2):
        newer = reviewed(recommendation(because=(inr(1.5, ref="Observation/new"),)))
        made = call(number + 10, patient=f"p{number}", minutes=90)
        recorder.record(made, newer, may_speak=RULES)
    drainer.drain()
    woken, asleep = (store.alert(T, row.id) for row in three[1:])
    assert (woken.snoozed_until, woken.wakes_on, woken.new_data) == (None, "", 1)
    assert (asleep.snoozed_until is not None, asleep.new_data) == (True, 1)
    worse = reviewed(recommendation(indicator="critical", because=(inr(1.2),)))
    recorder.record(call(30, patient="p1", minutes=120), worse, may_speak=RULES)
    drainer.drain()
    assert store.alert(T, three[2].id).snoozed_until is None


def test_pages_of_patients_neither_repeat_nor_split_a_patient(store, recorder, drainer):
    for number in range(7):
        found = [recommendation(indicator="critical" if number == 4 else "warning")]
        if number % 2:
            found.append(recommendation(rule="vka-inr-high", about=""))
        recorder.record(call(number, patient=f"p{number}"), reviewed(*found), may_speak=RULES)
    drainer.drain()
    met, after = [], ""
    while True:
        page = store.patients(Filter(tenant=T, after=after, size=2), NOON)
        met += page.gathered
        assert len(page.gathered) <= 2
        after = page.after
        if not after:
            break
    assert len({one.patient for one in met}) == len(met) == 7
    assert sorted(one.total for one in met) == [1, 1, 1, 1, 2, 2, 2]
    assert met[0].rows[0].indicator == "critical"
    assert all({row.patient for row in one.rows} == {one.patient} for one in met)
    with pytest.raises(RequestError):
        store.patients(Filter(tenant=T, after="bm9uc2Vuc2U="), NOON)
