"""What ends by itself: drafts that never became active, and what may no longer be kept."""

from datetime import timedelta

from sqlalchemy import func, select

from service import audit
from service.alerts import models
from service.alerts.housekeeping import Retention, close_stale_drafts, remove_expired
from service.alerts.lifecycle import Request
from service.alerts.store import Store
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
    # Two patients with the same facts share one piece of evidence.
    assert (gone["evidence"], gone["issued_card"], gone["alert"], gone["audit"]) == (1, 2, 0, 0)
    gone = remove_expired(database, keyring, NOON + 2200 * DAY, Retention())
    assert (gone["alert"], gone["evaluation"], gone["audit"]) == (1, 2, 5)
    with database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(models.alert)) == 1
        assert connection.scalar(select(models.audit.c.action)) == "retention"
        assert audit.verify(connection, keyring) == []
        assert connection.scalar(select(func.count()).select_from(models.retention_permit)) == 0
