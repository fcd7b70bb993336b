"""The other side of what the record usually meets: what comes twice, comes for nobody, or cannot be taken in."""

import logging
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from rules.assessment import Gap
from rules.errors import NotTrusted, RequestError
from service.alerts import models, schema, silences
from service.alerts import spool as spool_module
from service.alerts.access import bearer_of, disable_account, mint_token, new_account
from service.alerts.clinicians import read_entry
from service.alerts.drainer import Drainer
from service.alerts.keyring import KeyringError, new_keyring, read_keyring, write_keyring
from service.alerts.lifecycle import Request, SnoozeLimits, Standing, act
from service.alerts.lines import pack_line
from service.alerts.outbox import announce, deliver
from service.alerts.past_answers import PastAnswers, micros
from service.alerts.record import Record
from service.alerts.recorder import SpoolRecorder
from service.alerts.sightings import may_clear
from service.alerts.spool import Spool
from service.alerts.spool_reader import segments
from service.alerts.store import NotThere, Store
from service.alerts.values import AuditEntry, AuditLine, FeedbackLine, Receiver
from tests.service.alerts.stories import (
    ABOUT,
    NOON,
    RULE,
    RULES,
    call,
    cards_for,
    mk7,
    recommendation,
    reviewed,
    warfarin,
)

T = "st-elsewhere"
PAGER = Receiver(name="pager", tenant=T, url="https://pager.example/a", after_minutes=0)


def rows(database, table):
    with database.reading() as connection:
        return connection.execute(select(table).order_by(*table.primary_key)).all()


def entry(number=0):
    return AuditEntry(tenant=T, at=NOON, actor="user/a", action="view", object=f"alert/{number}")


# What comes twice -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    "line",
    [
        AuditLine(id="one", entry=entry()),
        FeedbackLine(id="one", tenant=T, service="s", received=NOON, entries=({"card": "x"},)),
    ],
)
def test_a_line_that_was_written_twice_leaves_one_trace(
    database, keyring, options, drainer, line, at_once
):
    opened = Spool(Path(options.spool))
    for _ in range(2):
        opened.append(pack_line(line, keyring))
        if not at_once:
            drainer.drain()
    opened.close()
    drainer.drain()
    assert len(rows(database, models.audit)) == 1
    assert not rows(database, models.spool_reject)


def test_a_failed_call_that_is_told_twice_failed_once(database, recorder, drainer):
    for _ in range(2):
        recorder.record_failure(call(1), "engine-fault")
        drainer.drain()
    (kept,) = rows(database, models.evaluation)
    assert (kept.outcome, kept.failures) == ("failed", 1)
    assert not rows(database, models.spool_reject)
    assert len(rows(database, models.audit)) == 1


def test_a_receiver_is_told_of_an_alert_once_however_often_it_is_planned(
    database, recorder, drainer
):
    recorder.record(call(1), reviewed(recommendation(indicator="critical")), may_speak=RULES)
    drainer.drain()
    (alert,) = rows(database, models.alert)
    for _ in range(2):
        database.write(lambda connection: announce(connection, alert, PAGER, micros(NOON)))
    assert len(rows(database, models.outbox)) == 1


def test_a_card_about_one_rule_twice_was_shown_once_for_it(database, recorder, drainer, keyring):
    found = reviewed(recommendation(), recommendation(about="vitamin-k1"))
    subjects = ((RULE, ABOUT), (RULE, "vitamin-k1"))
    cards = [
        msgspec.structs.replace(one, subjects=subjects)
        for one in cards_for(keyring, call(1), found)
    ]
    recorder.record(call(1), found, cards, may_speak=RULES)
    drainer.drain()
    assert len(rows(database, models.issued_card)) == 2
    assert sum(one.shown for one in rows(database, models.rule_daily)) == 1


# What belongs to nobody -------------------------------------------------------------------------------------------


def test_what_was_held_back_without_an_alert_makes_none(database, recorder, drainer):
    recorder.record(call(1), reviewed(suppressed=((RULE, ABOUT),)), may_speak=RULES)
    drainer.drain()
    assert not rows(database, models.alert)
    assert not rows(database, models.spool_reject)


def test_an_answer_to_a_card_that_made_no_alert_is_counted_all_the_same(
    database, recorder, drainer, keyring
):
    draft = reviewed(
        recommendation(because=(mk7(taking="draft"), warfarin())), moment="order", hook="order-select"
    )  # fmt: skip
    made = call(1, hook="order-select")
    cards = cards_for(keyring, made, draft)
    recorder.record(made, draft, cards, may_speak=RULES)
    told = {"card": cards[0].uuid, "outcome": "overridden"}
    recorder.feedback(T, "vitamin-dk-order-select", [told], NOON + timedelta(minutes=1))
    drainer.drain()
    assert not rows(database, models.alert)
    (kept,) = rows(database, models.feedback)
    assert kept.matched == 1
    assert sum(one.overridden for one in rows(database, models.rule_daily)) == 1


def test_a_card_that_was_never_issued_is_not_there(database, keyring):
    with pytest.raises(NotThere):
        Store(database, keyring).card(T, "never")


def test_what_is_no_suggestion_is_not_taken_for_one():
    given = ["a", {}, {"id": 7}, {"id": ""}, {"id": "kept"}]
    assert read_entry({"card": "c", "acceptedSuggestions": given}).accepted == ("kept",)


def test_a_gap_about_something_else_does_not_hold_an_alert_open():
    def cleared(*concerns):
        gap = Gap(source="MedicationStatement/x", concerns=concerns)
        return may_clear(
            ["medication"], [ABOUT], RULE, unread=(), gaps=[gap], failures=(), evaluated=[RULE]
        )

    assert (cleared("vitamin-d3"), cleared(ABOUT), cleared()) == (True, False, False)


# What cannot be taken in ------------------------------------------------------------------------------------------


def test_a_line_of_other_keys_is_kept_aside_and_its_neighbours_are_taken_in(
    database, keyring, options, drainer, caplog
):
    opened = Spool(Path(options.spool))
    for number, keys in enumerate((keyring, msgspec.structs.replace(keyring, evidence=new_keyring().evidence), keyring)):  # fmt: skip
        opened.append(pack_line(AuditLine(id=str(number), entry=entry(number)), keys))
    opened.close()
    drainer.drain()
    assert [one.object for one in rows(database, models.audit)] == ["alert/0", "alert/2"]
    (aside,) = rows(database, models.spool_reject)
    assert "evidence" in aside.problem or "altered" in aside.problem
    assert "could not be taken in" in caplog.text
    assert drainer.drain() == 0


def test_a_line_longer_than_a_segment_does_not_leave_an_empty_one_behind(tmp_path, monkeypatch):
    opened = Spool(tmp_path, segment_bytes=5)
    monkeypatch.setattr(spool_module.os, "write", lambda *_: 0)
    with pytest.raises(OSError, match="full"):
        opened.append(b"{}")
    monkeypatch.undo()
    opened.append(b"{}")
    opened.close()
    (only,) = segments(tmp_path)
    assert only.stat().st_size == len(b"12345678 {}\n")


def test_what_no_longer_fits_in_memory_is_counted_as_lost(tmp_path, keyring, monkeypatch, caplog):
    small = SpoolRecorder(tmp_path, keyring, backlog_lines=2)
    monkeypatch.setattr(spool_module.os, "write", lambda *_: 0)
    for number in range(3):
        assert not small.audit(entry(number))
    monkeypatch.undo()
    assert (small.backlog, small.counters["lost"]) == (2, 1)
    assert "memory holds no more" in caplog.text
    assert small.audit(entry(3))
    small.close()
    (path,) = segments(tmp_path)
    assert len(path.read_bytes().splitlines()) == 3


def test_a_recorder_without_a_store_knows_of_no_earlier_answers(tmp_path, keyring):
    assert SpoolRecorder(tmp_path, keyring).history(T, "p1", "u", NOON) == ()


def test_a_question_that_nobody_waits_for_any_longer_is_not_asked(database, database_url):
    """The store stands still while two calls ask; the second question was given up before its turn came."""
    if database.is_sqlite:
        return
    past = PastAnswers(database_url, limit=0.1)
    assert past.of(T, "p", NOON) in {(), None}
    with database.writing() as connection:
        connection.exec_driver_sql("LOCK TABLE answer IN ACCESS EXCLUSIVE MODE")
        for _ in range(2):
            past._resting_until = 0.0
            assert past.of(T, "p", NOON) is None
    past._limit, past._resting_until = 5.0, 0.0
    assert past.of(T, "p", NOON) == ()
    past.close()


def test_a_receiver_that_never_answers_is_given_up_and_said_so(
    database, keyring, options, recorder, caplog
):
    drainer = Drainer(database, keyring, msgspec.structs.replace(options, receivers=(PAGER,)))
    recorder.record(call(1), reviewed(recommendation(indicator="critical")), may_speak=RULES)
    drainer.drain()
    tries = []
    for hours in range(0, 120, 2):
        deliver(database, (PAGER,), lambda *_: tries.append(1) or 500, NOON + timedelta(hours=hours))  # fmt: skip
    drainer.stop()
    (row,) = rows(database, models.outbox)
    assert (row.state, len(tries)) == ("given-up", 40)
    assert "gave up announcing" in caplog.text


def test_housekeeping_removes_and_tells_heads_once_in_a_while_only(options, keyring, database, caplog):  # fmt: skip
    record = Record(options, keyring, clock=lambda: NOON)
    record.audit(entry())
    Drainer(database, keyring, options).drain()
    caplog.set_level(logging.INFO)
    last = record._round(0.0)
    assert record._round(last) == last
    record.close()
    assert caplog.text.count("retention removed") == 1
    assert caplog.text.count("audit head tenant=") == 1


def test_an_installation_without_migrations_says_so(tmp_path, monkeypatch):
    (tmp_path / "versions").mkdir()
    monkeypatch.setattr(schema, "_MIGRATIONS", tmp_path)
    with pytest.raises(schema.SchemaError, match="install dekacard again"):
        schema.newest_revision()


# What is refused --------------------------------------------------------------------------------------------------


def test_an_account_without_a_name_and_one_that_is_not_there_are_refused(database, keyring):
    given = {"tenant": T, "actor": "operator", "now": NOON}
    for name, tenant in (("", T), ("ann", "")):
        with pytest.raises(RequestError, match="a name and a client"):
            new_account(database, keyring, **given | {"tenant": tenant}, name=name, role="lead")
    with pytest.raises(RequestError, match="no such account"):
        disable_account(database, keyring, name="nobody", **given)
    assert not rows(database, models.account)
    assert not rows(database, models.audit)


def test_a_token_says_why_it_is_worth_nothing(database, keyring):
    given = {"tenant": T, "actor": "operator", "now": NOON}
    new_account(database, keyring, name="ann", role="lead", **given)
    secret = mint_token(database, keyring, account="ann", **given)
    assert bearer_of(database, f"Bearer {secret}", NOON).account == "ann"
    for shown, at, reason in (
        (f"{secret}x", NOON, "unknown token"),
        (secret, NOON + timedelta(days=4000), "expired token"),
    ):
        with pytest.raises(NotTrusted) as refused:
            bearer_of(database, f"Bearer {shown}", at)
        assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("action", "says"), [("dance", "no action 'dance'"), ("assign", "whom to assign")]
)
def test_an_action_that_is_none_or_names_nobody_is_refused(action, says):
    before = Standing(state="new", indicator="warning")
    with pytest.raises(RequestError, match=says):
        act(before, Request(action=action, actor="user/a", at=NOON), SnoozeLimits())


def test_a_keyring_whose_current_evidence_key_is_missing_is_refused(tmp_path):
    write_keyring(tmp_path / "k", msgspec.structs.replace(new_keyring(), evidence_current="e9"))
    with pytest.raises(KeyringError, match="current evidence key is not listed"):
        read_keyring(tmp_path / "k")
    plain = new_keyring(encrypt=False)
    assert plain.unseal(*plain.seal(b"body", "place"), "place") == b"body"


def test_more_silences_than_anybody_can_oversee_are_refused(database, keyring, monkeypatch):
    monkeypatch.setattr(silences, "_MOST_IN_FORCE", 2)

    def ask(rule, at=NOON):
        wish = silences.Wish(
            tenant=T, rule=rule, actor="user/ann", at=at, until=at + timedelta(days=1), reason="local-protocol"
        )  # fmt: skip
        return silences.ask(database, keyring, wish, silences.Limits())

    ask("a"), ask("b")
    with pytest.raises(RequestError, match="too many silences"):
        ask("c")
    assert ask("c", NOON + timedelta(days=2)), "those that ended count no longer"
