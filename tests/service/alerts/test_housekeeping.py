"""What ends by itself: drafts that never became active, and what may no longer be kept."""

from datetime import timedelta

from sqlalchemy import func, select

from service import audit
from service.alerts import models
from service.alerts.housekeeping import close_stale_drafts
from service.alerts.lifecycle import Request
from service.alerts.retention import remove_expired
from service.alerts.store import Store
from service.alerts.values import Retention
from service.evidence_vault import recorded_answer
from tests.service.alerts.stories import (
    NOON,
    RULES,
    call,
    cards_for,
    mk7,
    recommendation,
    reviewed,
    warfarin,
)

T = "st-elsewhere"
DAY = timedelta(days=1)


def test_a_signed_order_that_never_became_active_closes_by_itself(database, recorder, drainer):
    draft = recommendation(because=(mk7(taking="draft"), warfarin()))
    recorder.record(call(1, hook="order-sign"), reviewed(draft, moment="order", hook="order-sign"))
    recorder.record(call(2, patient="p2"), reviewed(recommendation()))
    drainer.drain()
    assert close_stale_drafts(database, NOON + 6 * DAY, 7) == 0
    assert close_stale_drafts(database, NOON + 8 * DAY, 7) == 1
    assert close_stale_drafts(database, NOON + 8 * DAY, 7) == 0
    with database.reading() as connection:
        closed = connection.execute(
            select(models.alert).where(models.alert.c.state == "cleared")
        ).one()
    assert (closed.close_reason, closed.from_draft) == ("draft-never-active", 1)


def test_retention_removes_what_is_old_and_nothing_that_is_open(
    database, recorder, drainer, keyring
):
    for number in (1, 2):
        made, found = call(number, patient=f"p{number}"), reviewed(recommendation())
        recorder.record(made, found, cards_for(keyring, made, found), may_speak=RULES)
        recorder.feedback(T, "s", [{"card": "x", "outcome": "accepted"}], NOON)
    drainer.drain()
    Store(database, keyring).change(T, 1, 1, Request(action="resolve", actor="user/a", at=NOON))
    kept = remove_expired(database, keyring, NOON + 300 * DAY, Retention())
    assert not any(kept.values())
    gone = remove_expired(database, keyring, NOON + 400 * DAY, Retention())
    # Two patients with the same facts share one piece of evidence: one of their alerts is open
    assert (gone["evidence"], gone["issued_card"], gone["alert"], gone["audit"]) == (0, 1, 0, 0)
    gone = remove_expired(database, keyring, NOON + 2200 * DAY, Retention())
    assert (gone["alert"], gone["evaluation"], gone["audit"]) == (1, 1, 5)
    with database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(models.alert)) == 1
        assert connection.scalar(select(models.audit.c.action)) == "retention"
        assert audit.verify(connection, keyring) == []
        assert connection.scalar(select(func.count()).select_from(models.retention_permit)) == 0


def test_retention_leaves_whatever_an_open_alert_rests_on(database, recorder, drainer, keyring):
    """Seen with one evidence, then with another, then only counted for years: all that is needed to judge it stays."""
    doses = (45.0, 90.0)
    for number, dose in enumerate(doses):
        made = call(number, minutes=number)
        found = reviewed(
            recommendation(because=(mk7(dose), warfarin())), uses=(mk7(dose), warfarin())
        )
        recorder.record(made, found, cards_for(keyring, made, found), may_speak=RULES)
        uuid = cards_for(keyring, made, found)[0].uuid
        recorder.feedback(T, "s", [{"card": uuid, "outcome": "accepted"}], NOON)
    drainer.drain()
    gone = remove_expired(database, keyring, NOON + 5000 * DAY, Retention())
    assert not any(gone[kept] for kept in ("evidence", "issued_card", "evaluation", "feedback"))
    with database.reading() as connection:
        assert connection.scalar(select(models.alert.c.is_open)) == 1
        for number in range(len(doses)):
            recorded_answer(connection, keyring, T, call(number, minutes=number).id)
    store, late = Store(database, keyring), NOON + 5000 * DAY
    seen = store.alert(T, 1).version
    store.change(T, 1, seen, Request(action="resolve", actor="user/a", at=late))
    gone = remove_expired(database, keyring, NOON + 5001 * DAY, Retention())
    assert (gone["evidence"], gone["issued_card"], gone["evaluation"], gone["feedback"]) == (
        2,
        2,
        2,
        2,
    )
    assert gone["alert"] == 0, "it was closed only yesterday"


def test_evidence_that_came_again_is_kept_from_the_last_time_on(
    database, recorder, drainer, keyring
):
    """Without an alert, so that nothing else keeps it."""
    for number, day in ((1, 0), (2, 200)):
        recorder.record(call(number, minutes=day * 1440), reviewed())
    drainer.drain()
    gone = remove_expired(database, keyring, NOON + 500 * DAY, Retention())
    assert gone["evidence"] == 0
    gone = remove_expired(database, keyring, NOON + 600 * DAY, Retention())
    assert gone["evidence"] == 1
