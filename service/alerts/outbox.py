"""Announcing unclaimed critical alerts to other systems: once per alert and receiver, without patient data.

A delivery carries the same ``Idempotency-Key`` in every attempt. Between the receiver's answer and our note of it lies
the only moment in which a crash makes us send again: the key is how the receiver knows.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, select

from service.alerts import models
from service.alerts.database import Database
from service.alerts.lifecycle import OPEN
from service.alerts.past_answers import micros
from service.alerts.values import Receiver

_log = logging.getLogger("dekacard.outbox")
_LEASE = timedelta(seconds=60)
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=1)
_ATTEMPTS = 40  # a bit more than a day and a half of trying
_MINUTE = 60_000_000
_OK = range(200, 300)

Post = Callable[[str, bytes, Mapping[str, str]], int]
"""Sends a body to a URL with headers and returns the HTTP status; raises on no answer."""


def announce(connection: Connection, alert: Row[Any], receiver: Receiver, at: int) -> None:
    """Plan the announcement of an alert, unless it was planned before."""
    table = models.outbox
    there = select(table.c.id).where(
        table.c.tenant == alert.tenant, table.c.alert == alert.id, table.c.receiver == receiver.name
    )
    if connection.scalar(there) is None:
        connection.execute(
            table.insert().values(
                tenant=alert.tenant, alert=alert.id, receiver=receiver.name, state="waiting", delivery=uuid.uuid4().hex,
                due=at + round(receiver.after_minutes * _MINUTE),
            )
        )  # fmt: skip


def deliver(database: Database, receivers: tuple[Receiver, ...], post: Post, now: datetime) -> int:
    """Send what is due and return how many were delivered; what fails is tried again later."""
    by_name = {(one.tenant, one.name): one for one in receivers}
    delivered = 0
    with database.reading() as connection:  # most rounds find nothing, and then write nothing
        again = any(
            connection.scalar(select(models.outbox.c.id).where(*_again(one)).limit(1)) is not None
            for one in receivers
        )
        due = connection.scalar(select(models.outbox.c.id).where(*_due(micros(now))).limit(1))
    if again:
        database.write(partial(_plan_again, receivers=receivers, at=micros(now)))
    if not again and due is None:
        return 0
    while (taken := database.write(partial(_take, now=now))) is not None:
        receiver = by_name.get((taken.tenant, taken.receiver))
        if receiver is None:
            error = "no receiver of this name is configured"
        else:
            error = _send(taken, receiver, post)
        delivered += not error
        database.write(partial(_note, row=taken, error=error, now=now))
    return delivered


def http_post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Send by HTTP, without following redirects and without proxies of the environment."""
    import httpx2

    with httpx2.Client(follow_redirects=False, trust_env=False, timeout=10) as client:
        return int(client.post(url, content=body, headers=dict(headers)).status_code)


def _plan_again(connection: Connection, receivers: tuple[Receiver, ...], at: int) -> None:
    """What was claimed or closed when it was due, and is open and unclaimed again, gets its time once more."""
    for one in receivers:
        connection.execute(
            models.outbox.update()
            .where(*_again(one))
            .values(state="waiting", due=at + round(one.after_minutes * _MINUTE))
        )


def _again(receiver: Receiver) -> tuple[ColumnElement[bool], ...]:
    table, alert = models.outbox, models.alert
    unclaimed = (
        select(alert.c.id)
        .where(alert.c.tenant == table.c.tenant, alert.c.id == table.c.alert)
        .where(alert.c.state.in_(OPEN), alert.c.assignee == "", alert.c.indicator == "critical")
        .where(alert.c.mode.in_(("live", "review")))
        .exists()
    )
    return (
        table.c.state == "not-needed",
        table.c.tenant == receiver.tenant,
        table.c.receiver == receiver.name,
        unclaimed,
    )


def _due(at: int) -> tuple[ColumnElement[bool], ...]:
    table = models.outbox
    return (
        table.c.state.in_(("waiting", "sending")),
        table.c.due <= at,
        table.c.leased_until.is_(None) | (table.c.leased_until <= at),
    )


def _take(connection: Connection, now: datetime) -> Row[Any] | None:
    """Lease the next due announcement whose alert is still unclaimed, and drop those that are not."""
    table, alert, at = models.outbox, models.alert, micros(now)
    while True:
        row = connection.execute(
            select(
                table,
                alert.c.state.label("alert_state"),
                alert.c.assignee,
                alert.c.rule,
                alert.c.indicator,
            )
            .join(alert, (alert.c.tenant == table.c.tenant) & (alert.c.id == table.c.alert))
            .where(*_due(at))
            .order_by(table.c.due, table.c.id)
            .limit(1)
        ).one_or_none()
        if row is None:
            return None
        here = table.c.id == row.id
        if row.alert_state in OPEN and not row.assignee:
            lease = at + round(_LEASE.total_seconds() * 1_000_000)
            connection.execute(
                table.update()
                .where(here)
                .values(state="sending", leased_until=lease, attempts=row.attempts + 1)
            )
            return row
        connection.execute(table.update().where(here).values(state="not-needed"))


def _send(row: Row[Any], receiver: Receiver, post: Post) -> str:
    body = msgspec.json.encode(
        {
            "alert": row.alert,
            "tenant": row.tenant,
            "rule": row.rule,
            "indicator": row.indicator,
            "delivery": row.delivery,
        }
    )
    headers = {"Content-Type": "application/json", "Idempotency-Key": row.delivery}
    if receiver.secret:
        mark = hmac.digest(receiver.secret.encode(), body, hashlib.sha256).hex()
        headers["X-Dekacard-Signature"] = f"sha256={mark}"
    try:
        status = post(receiver.url, body, headers)
    except Exception as error:  # noqa: BLE001  whatever the network does, it is tried again
        return type(error).__name__
    return "" if status in _OK else f"HTTP {status}"


def _note(connection: Connection, row: Row[Any], error: str, now: datetime) -> None:
    table = models.outbox
    if not error:
        values: dict[str, Any] = {
            "state": "sent",
            "sent": micros(now),
            "leased_until": None,
            "last_error": "",
        }
    elif row.attempts + 1 >= _ATTEMPTS:
        values = {"state": "given-up", "leased_until": None, "last_error": error}
        _log.error("outbox: gave up announcing alert %s to %s (%s)", row.alert, row.receiver, error)
    else:
        pause = min(_FIRST_PAUSE * 2 ** min(row.attempts, 10), _LONGEST_PAUSE)
        values = {
            "state": "waiting",
            "leased_until": None,
            "last_error": error,
            "due": micros(now + pause),
        }
    connection.execute(table.update().where(table.c.id == row.id).values(values))
