"""Several alerts decided at once, and the way back for as long as nobody has touched them since."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import Connection, Row, select

from rules.errors import RequestError
from service import audit
from service.alerts import models
from service.alerts.lifecycle import Request, Standing
from service.alerts.past_answers import micros
from service.alerts.store import NotThere, Stale, Store, put_standing, row_of, standing_of
from service.alerts.tally import Tally
from service.alerts.triage_tables import taken_together
from service.alerts.values import AuditEntry

# Longer than it takes to read what was done and reach the button, also with a screen reader (WCAG 2.2.1 asks for 20 s)
UNDO: Final = timedelta(minutes=2)
MOST: Final = 200
TOGETHER: Final = frozenset(
    {"acknowledge", "claim", "release", "assign", "snooze", "resolve", "override"}
)
_COUNTED: Final = {"resolve": "acted_on", "override": "dismissed"}


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One alert of a joint decision: its version afterwards, and how it stood before."""

    number: int
    version: int
    before: Standing


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that was left as it is, and why."""

    number: int
    says: str
    code: Literal["changed", "critical", "unfit"] = "unfit"


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a joint decision; ``id`` takes it back."""

    id: str
    changed: tuple[int, ...]
    refused: tuple[Refused, ...]


def change_together(
    store: Store, tenant: str, wanted: Sequence[tuple[int, int]], request: Request
) -> Done:
    """Do the same with several alerts, each at the version it was seen at; those that do not fit stay as they are.

    Raises:
        RequestError: the action is none that is done together, or there are too many or none at all.
    """
    if request.action not in TOGETHER:
        raise RequestError(f"'{request.action}' is done one by one.", status=422)
    if not wanted:
        raise RequestError("no alert is chosen.", status=422)
    if len(wanted) > MOST:
        raise RequestError(f"at most {MOST} alerts can be decided together.", status=422)
    return store.database.write(
        partial(_change, store=store, tenant=tenant, wanted=tuple(wanted), request=request)
    )


def take_back(store: Store, tenant: str, number: str, actor: str, at: datetime) -> Done:
    """Undo one's own joint decision; alerts that somebody changed since stay as they are.

    Raises:
        NotThere: there is no such decision of this person, or it was taken back already.
        RequestError: it is too late.
    """
    return store.database.write(
        partial(_take_back, store=store, tenant=tenant, number=number, actor=actor, at=at)
    )


def _change(
    connection: Connection, *, store: Store, tenant: str, wanted: tuple[tuple[int, int], ...], request: Request
) -> Done:  # fmt: skip
    entries: list[Entry] = []
    refused: list[Refused] = []
    for number, version in dict(wanted).items():
        try:
            row = row_of(connection, tenant, number)
            if request.action == "override" and row.indicator == "critical":
                # Setting aside what may kill takes a look at each
                says = "critical alerts are overridden one by one"
                refused.append(Refused(number=number, says=says, code="critical"))
                continue
            before = standing_of(row)
            after = store.change_within(
                connection, tenant=tenant, number=number, version=version, request=request
            )
        except Stale:
            refused.append(_overtaken(number))
        except RequestError as error:
            refused.append(Refused(number=number, says=str(error).rstrip(".")))
        else:
            entries.append(Entry(number, after.version, before))
    mark = secrets.token_urlsafe(12) if entries else ""
    if entries:
        _remember(connection, tenant, mark, entries, request)
    return Done(id=mark, changed=tuple(entry.number for entry in entries), refused=tuple(refused))


def _overtaken(number: int) -> Refused:
    return Refused(number=number, says="a colleague changed it meanwhile", code="changed")


def _remember(
    connection: Connection, tenant: str, mark: str, entries: list[Entry], request: Request
) -> None:
    at = micros(request.at)
    connection.execute(
        taken_together.delete().where(taken_together.c.at < micros(request.at - UNDO))
    )
    connection.execute(
        taken_together.insert().values(
            tenant=tenant, id=mark, actor=request.actor, action=request.action, at=at,
            entries=msgspec.json.encode(entries).decode(),
        )
    )  # fmt: skip


def _take_back(
    connection: Connection, *, store: Store, tenant: str, number: str, actor: str, at: datetime
) -> Done:
    held = taken_together
    row = connection.execute(
        select(held).where(held.c.tenant == tenant, held.c.id == number, held.c.actor == actor)
    ).one_or_none()
    if row is None:
        raise NotThere("decision to take back")
    if micros(at - UNDO) > row.at:
        raise RequestError("it is too late to take this back; reopen the alerts.", status=422)
    connection.execute(held.delete().where(held.c.tenant == tenant, held.c.id == number))
    changed: list[int] = []
    refused: list[Refused] = []
    for entry in msgspec.json.decode(row.entries, type=list[Entry]):
        alert = row_of(connection, tenant, entry.number)
        if alert.version != entry.version:
            refused.append(_overtaken(entry.number))
            continue
        put_standing(connection, alert, entry.before, micros(at), claimed=alert.claimed)
        _tell(connection, store, alert, entry.before.state, actor, at, row)
        changed.append(entry.number)
    return Done(id="", changed=tuple(changed), refused=tuple(refused))


def _tell(
    connection: Connection, store: Store, alert: Row[Any], state: str, actor: str, at: datetime, done: Row[Any]
) -> None:  # fmt: skip
    connection.execute(
        models.event.insert().values(
            tenant=alert.tenant, alert=alert.id, at=micros(at), actor=actor, action="undo", before=alert.state,
            after=state, reason=done.action, alert_version=alert.version + 1,
        )
    )  # fmt: skip
    counted = _COUNTED.get(done.action)
    if counted is not None:
        tally = Tally(connection)
        tally.add(alert.tenant, done.at, alert.rule, alert.mode, **{counted: -1})
        tally.close()
    audit.append(
        connection,
        store.keyring,
        AuditEntry(
            tenant=alert.tenant, at=at, actor=actor, action="undo", object=f"alert/{alert.id}", patient=alert.patient,
            before=f"{alert.state} v{alert.version}", after=f"{state} v{alert.version + 1}", reason=done.action,
        ),
    )  # fmt: skip
