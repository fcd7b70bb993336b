"""Cards kept as issued, feedback that finds its call in any order, and the history made of both."""

from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import select, text

from service.alerts import models
from service.alerts.clinicians import read_entry
from service.alerts.past_answers import PastAnswers, instant
from service.alerts.store import Store
from tests.service.alerts.patience import wait_until
from tests.service.alerts.stories import (
    ABOUT,
    NOON,
    RULE,
    RULES,
    call,
    cards_for,
    recommendation,
    reviewed,
)

T = "st-elsewhere"
REASON = {
    "code": "already-managed",
    "system": "https://dekacard.org/override",
    "display": "Already managed",
}


def entry(card, outcome="overridden", stamp="2026-11-22T12:01:00Z", **more):
    return {"card": card, "outcome": outcome, "outcomeTimestamp": stamp, **more}


def rows(database, table):
    with database.reading() as connection:
        return connection.execute(select(table)).all()


@pytest.fixture
def issue(recorder, drainer, keyring):
    """Records a call with its card and returns the card's uuid."""

    def issue(made, found=None, *, drain=True):
        found = found or reviewed(recommendation())
        cards = cards_for(keyring, made, found)
        recorder.record(made, found, cards, may_speak=RULES)
        if drain:
            drainer.drain()
        return cards[0].uuid

    return issue


def test_a_card_is_kept_as_issued(database, keyring, issue):
    uuid = issue(call(1))
    assert Store(database, keyring).card(T, uuid)["summary"] == "Ongoing vitamin K2 with warfarin."


@pytest.mark.requirement("C60")
def test_feedback_finds_its_call_once_however_often_it_comes(database, recorder, drainer, issue):
    uuid = issue(call(1))
    told = entry(
        uuid, overrideReason={"reason": REASON, "userComment": "Frau Müller weiß Bescheid"}
    )
    for _ in range(3):
        recorder.feedback(T, "vitamin-dk-patient-view", [told, told], NOON)
    drainer.drain()
    (kept,) = rows(database, models.feedback)
    assert (kept.matched, kept.outcome, kept.reason_code) == (1, "overridden", "already-managed")
    assert "Müller" not in str(kept)
    (alert,) = rows(database, models.alert)
    assert (alert.state, alert.clinician_outcome) == ("new", "overridden"), (
        "closing stays with the pharmacist"
    )
    assert sum(one.overridden for one in rows(database, models.rule_daily)) == 1


def test_feedback_that_is_faster_than_its_card_is_matched_when_the_card_comes(
    database, recorder, drainer, keyring, issue
):
    made = call(1)
    uuid = cards_for(keyring, made, reviewed(recommendation()))[0].uuid
    recorder.feedback(T, "s", [entry(uuid, "accepted", acceptedSuggestions=[{"id": "s1"}])], NOON)
    drainer.drain()
    assert rows(database, models.feedback)[0].matched == 0
    issue(made)
    (kept,) = rows(database, models.feedback)
    assert (kept.matched, kept.accepted, kept.evaluation) == (1, "s1", made.id)


@pytest.mark.requirement("C61", "C64")
def test_unknown_cards_and_outcomes_are_kept_and_disturb_nobody(database, recorder, drainer, issue):
    uuid = issue(call(1))
    batch = [
        entry("no-such-card"),
        entry(uuid, "ignored"),
        "nonsense",
        None,
        {"card": 5},
        entry(uuid, "accepted"),
    ]
    recorder.feedback(T, "s", batch, NOON)
    drainer.drain()
    kept = rows(database, models.feedback)
    assert len(kept) == len(batch)
    assert sum(one.matched for one in kept) == 1


@pytest.mark.parametrize(
    "stamp",
    [
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+14:00",
        "2026-11-23T12:06:01Z",
        "2025-10-18T11:59:59Z",
    ],
)
def test_a_stamp_that_cannot_be_right_gives_way_to_when_the_feedback_came(
    database, keyring, recorder, drainer, issue, stamp
):
    uuid = issue(call(1))
    for minutes in (5, 6):
        came = NOON + timedelta(minutes=minutes)
        recorder.feedback(T, "s", [entry(uuid, stamp=stamp)], came)
    drainer.drain()
    (kept,) = rows(database, models.feedback)
    (alert,) = rows(database, models.alert)
    told = Store(database, keyring).events(T, alert.id)
    assert instant(kept.at) == NOON + timedelta(minutes=5)
    assert kept.at in [one["at"] for one in told]


@pytest.mark.requirement("C61")
@pytest.mark.parametrize("stamp", ["2026-11-23T12:00:00Z", "2025-10-18T12:00:00Z"])
def test_a_stamp_that_can_be_right_is_kept(database, recorder, drainer, issue, stamp):
    recorder.feedback(T, "s", [entry(issue(call(1)), stamp=stamp)], NOON)
    drainer.drain()
    assert instant(rows(database, models.feedback)[0].at).isoformat()[:10] == stamp[:10]


@pytest.mark.parametrize("microseconds", [-(2**62), 2**62])
def test_an_instant_outside_the_calendar_is_still_shown(microseconds):
    assert 1 <= instant(microseconds).year <= 9999


def test_feedback_of_another_client_finds_nothing(database, recorder, drainer, issue):
    uuid = issue(call(1))
    recorder.feedback("mercy", "s", [entry(uuid)], NOON)
    drainer.drain()
    assert rows(database, models.feedback)[0].matched == 0


@pytest.mark.parametrize(("kind", "silences"), [("folded", False), ("recommendation", True)])
def test_only_an_answer_to_a_card_of_its_own_becomes_history(
    database, recorder, drainer, keyring, kind, silences
):
    made, found = call(1), reviewed(recommendation())
    (card,) = cards_for(keyring, made, found)
    recorder.record(made, found, (msgspec.structs.replace(card, kind=kind),), may_speak=RULES)
    recorder.feedback(T, "s", [entry(card.uuid)], NOON)
    drainer.drain()
    assert rows(database, models.feedback)[0].matched == 1
    answered = {one.outcome for one in rows(database, models.answer)}
    assert ("overridden" in answered) is silences


@pytest.mark.parametrize(
    "told",
    [
        {"overrideReason": {"reason": {"code": "x", "system": "s"}}},
        {"overrideReasons": [{"reason": {"code": "x", "system": "s"}}, {"reason": {"code": "y"}}]},
        {"overrideReasons": [{"userComment": "?"}, {"reason": {"code": "x", "system": "s"}}]},
        {
            "extension": {
                "com.epic.cdshooks.feedback.overrideReason.reason": {"code": "x", "system": "s"}
            }
        },
        {
            "extension": {
                "com.epic.cdshooks.feedback.overrideReason.code": "x",
                "com.epic.cdshooks.feedback.overrideReason.system": "s",
            }
        },
    ],
)
@pytest.mark.requirement("C62", "C63")
def test_every_shape_of_a_reason_is_read(told):
    read = read_entry(entry("c", **told))
    assert (read.reason_code, read.reason_system) == ("x", "s")


def test_history_says_what_was_shown_and_answered_and_to_whom(
    database, database_url, recorder, drainer, keyring, issue
):
    uuid = issue(call(1))
    recorder.feedback(T, "s", [entry(uuid, overrideReason={"reason": REASON})], NOON)
    drainer.drain()
    past = PastAnswers(database_url, limit=5)
    later = NOON + timedelta(hours=1)
    found = past.of(T, keyring.patient_key(T, "p1"), later)
    assert [(one.rule, one.about, one.outcome, one.reason, one.user) for one in found] == [
        (RULE, ABOUT, "overridden", "already-managed", "Practitioner/1"),
        (RULE, ABOUT, "shown", "", "Practitioner/1"),
    ]
    assert found[0].fingerprint == f"{RULE}-warning"
    assert past.of(T, keyring.patient_key(T, "p2"), later) == ()
    assert past.of("mercy", keyring.patient_key(T, "p1"), later) == ()
    assert past.of(T, keyring.patient_key(T, "p1"), later + timedelta(days=401)) == ()
    past.close()


def test_it_is_connected_before_the_first_call_asks(database, database_url):
    """To connect takes longer than a call may wait; the first one would not learn what was dismissed."""
    if database.is_sqlite:
        return
    asking = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%FROM answer WHERE%'"
        " AND pid <> pg_backend_pid()"
    )

    def is_connected():
        with database.reading() as connection:
            return bool(connection.scalar(asking))

    assert not is_connected()
    past = PastAnswers(database_url)
    past.connect()
    wait_until(is_connected)
    past.close()


def test_a_history_that_cannot_be_read_in_time_is_none_and_rests(tmp_path):
    for url in (f"sqlite:///{tmp_path}/none.db", "postgresql://nobody@127.0.0.1:9/none"):
        past = PastAnswers(url, limit=0.2)
        assert past.of("t", "p", NOON) is None
        assert past.of("t", "p", NOON) is None
        past.close()


def test_a_store_that_is_locked_does_not_hold_up_the_history_of_sqlite(
    database, database_url, keyring, issue
):
    if not database.is_sqlite:
        return
    issue(call(1))
    past = PastAnswers(database_url, limit=5)
    with database.writing() as connection:
        connection.execute(models.answer.update().values(reason="x"))
        found = past.of(T, keyring.patient_key(T, "p1"), NOON + timedelta(hours=1))
    assert [one.reason for one in found] == [""]
    past.close()


def test_an_answer_that_any_of_several_users_may_have_given_is_laid_to_none(
    database, recorder, drainer, issue
):
    """Feedback names no user, and two of them were given one card under one hookInstance."""
    found = reviewed(recommendation())
    uuid = issue(call(1, instance="shared", user="Practitioner/1"), found)
    assert issue(call(2, minutes=1, instance="shared", user="Practitioner/2"), found) == uuid
    given = [entry(uuid, stamp="2026-11-22T12:05:00Z")]
    recorder.feedback(T, "vitamin-dk-patient-view", given, NOON + timedelta(minutes=5))
    drainer.drain()
    answered = [one for one in rows(database, models.answer) if one.outcome == "overridden"]
    assert [one.user_ref for one in answered] == ["several users"]
    told = [one.actor for one in rows(database, models.event) if one.action.startswith("clinician")]
    assert told == ["several users"]


def test_whoever_gets_the_card_only_after_the_answer_has_not_given_it(
    database, recorder, drainer, issue
):
    uuid = issue(call(1, instance="shared", user="Practitioner/1"), drain=False)
    issue(call(2, minutes=9, instance="shared", user="Practitioner/2"), drain=False)
    given = [entry(uuid, stamp="2026-11-22T12:05:00Z")]
    recorder.feedback(T, "vitamin-dk-patient-view", given, NOON + timedelta(minutes=5))
    drainer.drain()
    answered = [one for one in rows(database, models.answer) if one.outcome == "overridden"]
    assert [one.user_ref for one in answered] == ["Practitioner/1"]
