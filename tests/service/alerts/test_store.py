"""Triage: two people never undo each other unseen, pages neither repeat nor skip, closed alerts come back rightly."""

import threading
from datetime import timedelta

import pytest

from rules.errors import RequestError
from service import audit
from service.alerts.lifecycle import Request
from service.alerts.store import NotThere, Stale, Store
from service.alerts.worklist import Filter
from tests.service.alerts.stories import (
    ABOUT,
    NOON,
    RULE,
    RULES,
    call,
    inr,
    mk7,
    recommendation,
    reviewed,
    warfarin,
)

T = "st-elsewhere"


@pytest.fixture
def store(database, keyring):
    return Store(database, keyring)


def ask(action, actor="user/ann", **more):
    return Request(action=action, actor=actor, at=NOON + timedelta(hours=1), **more)


def take(recorder, drainer, made, review):
    recorder.record(made, review, gap_cards=review.gap_cards, may_speak=RULES)
    drainer.drain()


def only(store, view="everything"):
    (row,) = store.page(Filter(tenant=T, view=view), NOON).rows
    return row


def test_of_two_simultaneous_edits_one_wins_and_the_other_sees_what_changed(
    store, recorder, drainer, database, keyring
):
    take(recorder, drainer, call(1), reviewed(recommendation()))
    seen = only(store)
    ready, told = threading.Barrier(2), {}

    def edit(actor, action):
        ready.wait()
        try:
            told[actor] = store.change(T, seen.id, seen.version, ask(action, actor, reason="coded"))
        except Stale as stale:
            told[actor] = stale

    people = [
        threading.Thread(target=edit, args=one)
        for one in (("user/ann", "resolve"), ("user/bob", "override"))
    ]
    for one in people:
        one.start()
    for one in people:
        one.join()
    (loser,) = [one for one in told.values() if isinstance(one, Stale)]
    (winner,) = [one for one in told.values() if not isinstance(one, Stale)]
    assert loser.status == 409
    assert (
        (loser.newer.version, loser.newer.state)
        == (winner.version, winner.state)
        == (2, only(store).state)
    )
    actions = [one["action"] for one in store.events(T, seen.id)]
    assert len(actions) == 2, "the loser left no trace in the history"
    with database.reading() as connection:
        assert audit.verify(connection, keyring) == []


def test_being_seen_again_disturbs_nobody(store, recorder, drainer):
    take(recorder, drainer, call(1), reviewed(recommendation()))
    seen = only(store)
    take(recorder, drainer, call(2, minutes=1), reviewed(recommendation()))
    assert store.change(T, seen.id, seen.version, ask("acknowledge")).state == "acknowledged"


def test_an_alert_of_another_client_is_not_there(store, recorder, drainer):
    take(recorder, drainer, call(1), reviewed(recommendation()))
    number = only(store).id
    for use in (
        lambda: store.alert("mercy", number),
        lambda: store.events("mercy", number),
        lambda: store.change("mercy", number, 1, ask("acknowledge")),
    ):
        with pytest.raises(NotThere):
            use()
    assert store.page(Filter(tenant="mercy", view="everything"), NOON).rows == []


def test_a_closed_alert_stays_closed_on_the_same_evidence_and_recurs_on_new(
    store, recorder, drainer
):
    take(recorder, drainer, call(1), reviewed(recommendation()))
    first = only(store)
    store.change(
        T, first.id, 1, ask("override", reason="already-managed", note="clinic follows her")
    )
    take(recorder, drainer, call(2, minutes=120), reviewed(recommendation()))
    assert (only(store).state, only(store).seen_count) == ("overridden", 2)
    take(
        recorder,
        drainer,
        call(3, minutes=180),
        reviewed(recommendation(because=(mk7(360.0), warfarin()))),
    )
    old, new = sorted(
        store.page(Filter(tenant=T, view="everything"), NOON).rows, key=lambda row: row.episode
    )
    assert (old.state, new.state, new.course, new.episode, new.key) == (
        "overridden",
        "new",
        "recurred",
        2,
        old.key,
    )
    note = [one["note"] for one in store.events(T, first.id) if one["action"] == "override"]
    assert note == ["clinic follows her"]


def test_a_snooze_hides_until_it_ends_or_it_gets_worse(store, recorder, drainer):
    take(recorder, drainer, call(1), reviewed(recommendation()))
    row = only(store, "todo")
    store.change(T, row.id, 1, ask("snooze", until=NOON + timedelta(days=2)))
    assert store.page(Filter(tenant=T), NOON + timedelta(days=1)).rows == []
    assert len(store.page(Filter(tenant=T), NOON + timedelta(days=3)).rows) == 1
    take(recorder, drainer, call(2, minutes=5), reviewed(recommendation(indicator="critical")))
    assert only(store, "todo").snoozed_until is None


def test_the_opening_view_shows_what_matters_and_keeps_trials_apart(store, recorder, drainer):
    found = reviewed(
        recommendation(rule="a-warning"), recommendation(rule="b-critical", indicator="critical"),
        recommendation(rule="c-info", indicator="info"), recommendation(rule="d-shadow", indicator="critical"),
        recommendation(rule="e-review", indicator="critical"),
    )  # fmt: skip
    take(recorder, drainer, call(1, modes={"d-shadow": "shadow", "e-review": "review"}), found)
    todo = store.page(Filter(tenant=T), NOON).rows
    assert {row.rule for row in todo[:2]} == {"b-critical", "e-review"}
    assert [row.rule for row in todo[2:]] == ["a-warning"]
    assert [row.rule for row in store.page(Filter(tenant=T, indicator="info"), NOON).rows] == [
        "c-info"
    ]
    assert [row.rule for row in store.page(Filter(tenant=T, mode="shadow"), NOON).rows] == [
        "d-shadow"
    ]


def test_pages_neither_repeat_nor_skip(store, recorder, drainer):
    for number in range(53):
        indicator = ("critical", "warning")[number % 2]
        recorder.record(
            call(number, patient=f"p{number}", minutes=number // 5),
            reviewed(recommendation(indicator=indicator)),
        )
    drainer.drain()
    seen, after = [], ""
    while True:
        page = store.page(Filter(tenant=T, size=7, after=after), NOON)
        seen += [row.id for row in page.rows]
        after = page.after
        if not after:
            break
    assert len(seen) == len(set(seen)) == 53
    assert seen == [row.id for row in store.page(Filter(tenant=T, size=200), NOON).rows]
    with pytest.raises(RequestError):
        store.page(Filter(tenant=T, after="nonsense"), NOON)


def test_the_patient_is_found_again_by_those_who_may(store, recorder, drainer):
    take(
        recorder,
        drainer,
        call(1, patient="MRN-1"),
        reviewed(recommendation(about=ABOUT), labs=[inr()]),
    )
    assert store.patient_reference(T, only(store).patient) == "MRN-1"
    assert only(store).rule == RULE
