"""The store as screens and interfaces use it: read an alert with all that is known, and change it safely."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, select

from rules.errors import DekacardError, RequestError
from service import audit
from service.alerts import models, worklist
from service.alerts.database import Database
from service.alerts.keyring import Keyring
from service.alerts.lifecycle import OPEN, Request, SnoozeLimits, Standing, act
from service.alerts.past_answers import instant, micros
from service.alerts.tally import Tally
from service.alerts.values import AuditEntry
from service.evidence_vault import bound, seal_text, unseal_text

_ACTED_ON = {"resolve"}
_DISMISSED = {"override", "data-problem"}


class Stale(RequestError):
    """Somebody else was quicker; ``newer`` is the alert as it stands now (409)."""

    def __init__(self, newer: Row[Any]) -> None:
        self.newer = newer
        super().__init__(
            f"the alert has changed (version {newer.version}).", status=409, code="conflict"
        )


class NotThere(RequestError):
    """There is no such thing for this tenant (404)."""

    def __init__(self, what: str) -> None:
        super().__init__(f"there is no such {what}.", status=404, code="not-found")


class Store:
    """Alerts of all tenants; every method names the tenant it may see."""

    def __init__(
        self, database: Database, keyring: Keyring, *, limits: SnoozeLimits | None = None
    ) -> None:
        self.database = database
        self.keyring = keyring
        self._limits = limits or SnoozeLimits()

    def page(self, wanted: worklist.Filter, now: datetime) -> worklist.Page:
        """One page of the worklist."""
        with self.database.reading() as connection:
            return worklist.page(connection, wanted, micros(now))

    def patients(self, wanted: worklist.Filter, now: datetime) -> worklist.Patients:
        """One page of the worklist, gathered by patient."""
        with self.database.reading() as connection:
            return worklist.page_of_patients(connection, wanted, micros(now))

    def alert(self, tenant: str, number: int) -> Row[Any]:
        """One alert; raises NotThere."""
        with self.database.reading() as connection:
            return row_of(connection, tenant, number)

    def events(self, tenant: str, number: int) -> list[dict[str, Any]]:
        """Everything that happened to an alert, oldest first, with its notes."""
        table = models.event
        with self.database.reading() as connection:
            row_of(connection, tenant, number)
            rows = connection.execute(
                select(table)
                .where(table.c.tenant == tenant, table.c.alert == number)
                .order_by(table.c.id)
            ).all()
        return [{**row._asdict(), "note": self._note(row)} for row in rows]

    def occurrences(self, tenant: str, number: int, limit: int = 200) -> list[Row[Any]]:
        """Where the alert was seen, newest first."""
        table = models.occurrence
        with self.database.reading() as connection:
            return list(
                connection.execute(
                    select(table)
                    .where(table.c.tenant == tenant, table.c.alert == number)
                    .order_by(table.c.id.desc())
                    .limit(limit)
                ).all()
            )

    def patient_reference(self, tenant: str, patient: str) -> str:
        """The id of a patient on the client's server."""
        table = models.patient
        with self.database.reading() as connection:
            row = connection.execute(
                select(table).where(table.c.tenant == tenant, table.c.patient == patient)
            ).one_or_none()
        if row is None:
            raise NotThere("patient")
        return unseal_text(
            self.keyring, row.sealed_with, row.reference, bound("patient", tenant, patient)
        )

    def card(self, tenant: str, uuid: str) -> dict[str, Any]:
        """A card as it was issued last; raises NotThere."""
        table = models.issued_card
        with self.database.reading() as connection:
            row = connection.execute(
                select(table)
                .where(table.c.tenant == tenant, table.c.uuid == uuid)
                .order_by(table.c.issued.desc())
                .limit(1)
            ).one_or_none()
        if row is None:
            raise NotThere("card")
        where = bound("issued_card", tenant, uuid, row.evaluation)
        body = zlib.decompress(self.keyring.unseal(row.sealed_with, row.body, where))
        card: dict[str, Any] = msgspec.json.decode(body)
        return card

    def latest_snoozes(self, rows: Sequence[Row[Any]], now: datetime) -> dict[int, datetime | None]:
        """Until when each of these alerts of one tenant may be put off now; None where not at all."""
        with self.database.reading() as connection:
            found = latest_snoozes(connection, rows, now, self._limits)
        return {
            row.id: found[row.id] if row.state in OPEN and found[row.id] > now else None
            for row in rows
        }

    def change(self, tenant: str, number: int, version: int, request: Request) -> Row[Any]:
        """Act on an alert that the caller saw at ``version``; event and audit line are part of it.

        Raises:
            Stale: it has changed since; the error holds the newer row.
            NotThere: there is no such alert for this tenant.
            RequestError: the action does not fit.
        """
        return self._write(
            partial(
                self.change_within, tenant=tenant, number=number, version=version, request=request
            )
        )

    def change_within(
        self, connection: Connection, *, tenant: str, number: int, version: int, request: Request
    ) -> Row[Any]:
        """The same inside a write transaction of the caller's."""
        row = row_of(connection, tenant, number)
        if row.version != version:
            raise Stale(row)
        before, at = standing_of(row), micros(request.at)
        after = act(before, request, self._limits)
        if request.action == "snooze":
            _refuse_endless_snooze(connection, row, request, self._limits)
        claimed = at if after.assignee and after.assignee != before.assignee else row.claimed
        put_standing(connection, row, after, at, claimed=claimed)
        self._tell(connection, row, request, after.state, at)
        return row_of(connection, tenant, number)

    def _tell(
        self, connection: Connection, row: Row[Any], request: Request, state: str, at: int
    ) -> None:
        sealed_with, note = seal_text(
            self.keyring, request.note, bound("event", row.tenant, str(row.id))
        )
        connection.execute(
            models.event.insert().values(
                tenant=row.tenant, alert=row.id, at=at, actor=request.actor, action=request.action, before=row.state,
                after=state, reason=request.reason, sealed_with=sealed_with, note=note if request.note else None,
                alert_version=row.version + 1,
            )
        )  # fmt: skip
        tally = Tally(connection)
        acted, dismissed = int(request.action in _ACTED_ON), int(request.action in _DISMISSED)
        tally.add(row.tenant, at, row.rule, row.mode, acted_on=acted, dismissed=dismissed)
        tally.close()
        audit.append(
            connection,
            self.keyring,
            AuditEntry(
                tenant=row.tenant, at=request.at, actor=request.actor, action=request.action, object=f"alert/{row.id}",
                patient=row.patient, before=f"{row.state} v{row.version}", after=f"{state} v{row.version + 1}",
                reason=request.reason,
            ),
        )  # fmt: skip

    def _note(self, row: Row[Any]) -> str:
        if row.note is None:
            return ""
        try:
            return unseal_text(
                self.keyring, row.sealed_with, row.note, bound("event", row.tenant, str(row.alert))
            )
        except DekacardError as error:
            return f"({error})"

    def _write(self, job: Callable[[Connection], Row[Any]]) -> Row[Any]:
        return self.database.write(job)


def row_of(connection: Connection, tenant: str, number: int) -> Row[Any]:
    """An alert as it stands; raises NotThere."""
    table = models.alert
    row = connection.execute(
        select(table).where(table.c.tenant == tenant, table.c.id == number)
    ).one_or_none()
    if row is None:
        raise NotThere("alert")
    return row


def latest_snoozes(
    connection: Connection, rows: Sequence[Row[Any]], at: datetime, limits: SnoozeLimits
) -> dict[int, datetime]:
    """Until when each of these alerts of one tenant may be put off at ``at``; in the past where not at all.

    All snoozes of a critical alert together last as long as one may, counted from the first. Only an escalation starts
    the count again: what somebody put off was a lesser thing then. Closing and opening again, or another person's
    snooze, does not.
    """
    critical = [row for row in rows if row.indicator == "critical"]
    event, other = models.event, models.event.alias()
    escalated = (
        select(func.coalesce(func.max(other.c.id), 0))
        .where(
            other.c.tenant == event.c.tenant,
            other.c.alert == event.c.alert,
            other.c.action == "escalated",
        )
        .scalar_subquery()
    )
    latest = {row.id: at + limits.longest(row.indicator) for row in rows}
    if not critical:
        return latest
    first = connection.execute(
        select(event.c.alert, func.min(event.c.at))
        .where(
            event.c.tenant == critical[0].tenant,
            event.c.alert.in_([row.id for row in critical]),
            event.c.action == "snooze",
            event.c.id > escalated,
        )
        .group_by(event.c.alert)
    )
    for number, begun in first:
        latest[number] = min(latest[number], instant(begun) + limits.critical)
    return latest


def _refuse_endless_snooze(
    connection: Connection, row: Row[Any], request: Request, limits: SnoozeLimits
) -> None:
    latest = latest_snoozes(connection, [row], request.at, limits)[row.id]
    if request.until is not None and request.until > latest:
        raise RequestError(
            f"all snoozes of a critical alert together last {limits.critical} at most, from the first one.",
            status=422,
        )


def put_standing(
    connection: Connection, row: Row[Any], after: Standing, at: int, *, claimed: int | None
) -> None:
    """Write a standing over the version that ``row`` is; who was quicker wins."""
    table = models.alert
    connection.execute(
        table.update()
        .where(table.c.tenant == row.tenant, table.c.id == row.id, table.c.version == row.version)
        .values(
            state=after.state, is_open=int(after.state in OPEN), assignee=after.assignee,
            close_reason=after.close_reason, closed_by=after.closed_by, new_data=int(after.new_data), changed=at,
            version=row.version + 1, snoozed_until=micros(after.snoozed_until) if after.snoozed_until else None,
            wakes_on=after.wakes_on, closed=micros(after.closed) if after.closed else None, claimed=claimed,
        )
    )  # fmt: skip


def standing_of(row: Row[Any]) -> Standing:
    """The part of an alert that actions change."""
    return Standing(
        state=row.state, wakes_on=row.wakes_on, indicator=row.indicator, assignee=row.assignee, close_reason=row.close_reason,
        snoozed_until=instant(row.snoozed_until) if row.snoozed_until is not None else None,
        closed=instant(row.closed) if row.closed is not None else None, closed_by=row.closed_by,
        new_data=bool(row.new_data),
    )  # fmt: skip
