"""Modes: evaluated alike, told apart, changed with a reason and where wanted by two; and what each rule did."""

import threading
import time

import pytest

from rules.assessment import Superseded
from rules.errors import RequestError, Unavailable
from service import audit
from service.alerts import models
from service.alerts.lifecycle import Request
from service.alerts.store import Store
from service.rollout import ModeBoard, as_mode, ask, changes, decide, split
from service.rule_figures import figures, wilson
from service.silence_board import SilenceBoard
from tests.service.alerts.stories import (
    NOON,
    RULE,
    RULES,
    call,
    cards_for,
    recommendation,
    reviewed,
)

T = "st-elsewhere"
DAY = int(NOON.timestamp()) // 86_400


def wish(database, keyring, **more):
    given = {"tenant": T, "rule": RULE, "before": "shadow", "after": "live", "reason": "reviewed 60 firings",
             "actor": "user/ann", "at": NOON, "second_person": False, **more}  # fmt: skip
    return ask(database, keyring, **given)


def test_every_mode_is_sorted_out_and_a_live_rule_hidden_by_a_trial_is_named():
    made = [recommendation(rule=name) for name in ("a", "b", "c", "d")]
    gone = [
        Superseded(rule="a", by="c"),
        Superseded(rule="b", by="c"),
        Superseded(rule="x", by="a"),
    ]
    parts = split(made, gone, "live", {"b": "review", "c": "shadow", "d": "off"})
    assert [
        [one.rule for one in part] for part in (parts.live, parts.review, parts.shadow, parts.off)
    ] == [["a"], ["b"], ["c"], ["d"]]
    assert parts.hidden == (gone[0],)


def test_a_change_is_in_force_at_once_where_one_person_may(database, keyring):
    board = ModeBoard(lambda: database)
    wish(database, keyring)
    board.renew()
    assert (board.of(T), board.of("mercy")) == ({RULE: "live"}, {})


def test_a_second_person_decides_where_the_site_asks_for_it(database, keyring):
    board = ModeBoard(lambda: database)
    asked = wish(database, keyring, second_person=True)
    with pytest.raises(RequestError, match="second person"):
        decide(
            database, keyring, tenant=T, change=asked.id, approve=True, actor="user/ann", at=NOON
        )
    with pytest.raises(RequestError, match="does not wait"):
        decide(
            database,
            keyring,
            tenant="mercy",
            change=asked.id,
            approve=True,
            actor="user/bob",
            at=NOON,
        )
    board.renew()
    assert board.of(T) == {}
    decide(database, keyring, tenant=T, change=asked.id, approve=True, actor="user/bob", at=NOON)
    board.renew()
    assert board.of(T) == {RULE: "live"}
    (kept,) = changes(database, T, RULE)
    assert (kept.state, kept.asked_by, kept.decided_by, kept.reason) == (
        "made",
        "user/ann",
        "user/bob",
        "reviewed 60 firings",
    )
    with database.reading() as connection:
        assert audit.verify(connection, keyring) == []
        assert audit.heads(connection)[0].seq == 2


def test_a_refused_change_changes_nothing(database, keyring):
    asked = wish(database, keyring, second_person=True)
    decide(database, keyring, tenant=T, change=asked.id, approve=False, actor="user/bob", at=NOON)
    board = ModeBoard(lambda: database)
    board.renew()
    assert board.of(T) == {}


@pytest.mark.parametrize("wrong", [{"reason": "  "}, {"after": "loud"}])
def test_a_change_needs_a_reason_and_a_mode_that_exists(database, keyring, wrong):
    with pytest.raises(RequestError):
        wish(database, keyring, **wrong)


def test_a_mode_has_one_of_four_names():
    assert as_mode("shadow") == "shadow"
    with pytest.raises(RequestError):
        as_mode("Live")


def test_the_figures_of_a_rule_add_up(database, recorder, drainer, keyring):
    for number in range(4):
        made, found = call(number, patient=f"p{number}"), reviewed(recommendation())
        cards = cards_for(keyring, made, found)
        recorder.record(made, found, cards, may_speak=RULES)
        outcome = "accepted" if number == 0 else "overridden"
        recorder.feedback(
            T,
            "s",
            [{"card": cards[0].uuid, "outcome": outcome, "outcomeTimestamp": NOON.isoformat()}],
            NOON,
        )
    for number in range(4, 10):
        recorder.record(call(number, patient=f"p{number}"), reviewed(), may_speak=RULES)
    drainer.drain()
    store = Store(database, keyring)
    store.change(T, 1, 2, Request(action="resolve", actor="user/a", at=NOON))
    store.change(T, 2, 2, Request(action="override", reason="x", actor="user/a", at=NOON))
    found = {
        one.rule: one
        for one in figures(database, T, since_day=DAY, until_day=DAY, rules=[RULE, "never-fires"])
    }
    seen = found[RULE]
    assert (seen.evaluations, seen.fired, seen.shown, seen.opened) == (10, 4, 4, 4)
    assert (seen.accepted, seen.overridden, seen.acted_on, seen.dismissed) == (1, 3, 1, 1)
    assert (seen.per_thousand, seen.override_rate, seen.acted_rate) == (400.0, 0.75, 0.5)
    assert not seen.silent
    assert found["never-fires"].silent
    assert figures(database, T, since_day=DAY + 1, until_day=DAY + 9) == []
    assert figures(database, "mercy", since_day=DAY, until_day=DAY) == []


def test_the_interval_of_a_proportion_is_that_of_wilson():
    assert wilson(0, 0) == (None, None)
    low, high = wilson(8, 10)
    assert (round(low, 4), round(high, 4)) == (
        0.4902,
        0.9433,
    )  # Newcombe 1998's method 3 gives the same
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0


def test_what_was_silenced_stays_silent_when_the_store_is_down_at_the_start(
    database, keyring, tmp_path
):
    wish(database, keyring, after="off")
    memory = tmp_path / "modes.json"
    assert ModeBoard(lambda: database, memory).of(T) == {RULE: "off"}

    def down():
        raise Unavailable("the store does not answer")

    assert ModeBoard(down, memory).of(T) == {RULE: "off"}
    assert ModeBoard(down, tmp_path / "none.json").of(T) == {}


def test_the_first_call_after_a_pause_has_the_mode_of_now(database, keyring):
    now = [1000.0]
    board = ModeBoard(lambda: database, clock=lambda: now[0])
    assert board.of(T) == {}
    wish(database, keyring)
    now[0] += 3600
    assert board.of(T) == {RULE: "live"}


def test_a_store_that_does_not_answer_after_a_pause_holds_nobody_up(database, keyring):
    now, may_answer, asked = [1000.0], threading.Event(), []

    def silent():
        asked.append(1)
        assert len(asked) == 1 or may_answer.wait(30)
        return database

    board = ModeBoard(silent, clock=lambda: now[0])
    wish(database, keyring)
    now[0] += 3600
    assert board.of(T) == {}, "what was known holds"
    assert len(asked) == 2
    may_answer.set()
    now[0] += 3600
    for _ in range(500):
        if board.of(T):
            break
        now[0] += 3600
        time.sleep(0.01)
    assert board.of(T) == {RULE: "live"}


def test_a_rule_changed_again_has_one_mode_and_not_two(database, keyring):
    board = ModeBoard(lambda: database)
    wish(database, keyring)
    wish(database, keyring, before="live", after="off")
    board.renew()
    assert board.of(T) == {RULE: "off"}
    with database.reading() as connection:
        assert len(connection.execute(models.rule_mode.select()).all()) == 1


def test_a_board_without_a_store_knows_nothing_and_asks_nobody(tmp_path):
    board = ModeBoard()
    board.renew()
    assert board.of(T) == {}
    silences = SilenceBoard()
    silences.renew()
    assert silences.of(T, lambda: "k", NOON) == ()


@pytest.mark.parametrize("kind", [ModeBoard, SilenceBoard])
def test_what_another_call_has_just_begun_to_read_is_not_read_twice(database, kind):
    asked = []

    def store():
        asked.append(1)
        return database

    board = kind(store)
    before = len(asked)
    assert before
    board._renew_in_background()  # somebody else was faster, between the look at the clock and the lock
    assert len(asked) == before
