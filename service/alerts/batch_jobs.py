"""Batch runs that were asked for on the dashboard: they wait, run one at a time, and can be stopped and taken up.

waiting -> running -> done | failed | cancelled | interrupted; ``stopping`` asks the runner to end a running one.
What was interrupted, cancelled or failed may wait again and goes on where it was left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from sqlalchemy import Connection, Row, and_, or_, select

from rules.errors import RequestError
from service import audit
from service.alerts.past_answers import micros
from service.alerts.screen_tables import batch_job
from service.alerts.values import AuditEntry

if TYPE_CHECKING:
    from service.alerts.database import Database
    from service.alerts.keyring import Keyring

JobState = Literal[
    "waiting", "running", "stopping", "done", "failed", "cancelled", "interrupted"
]  # fmt: skip
RESUMABLE: frozenset[str] = frozenset({"failed", "cancelled", "interrupted"})
ACTIVE: frozenset[str] = frozenset({"waiting", "running", "stopping"})


class JobOptions(msgspec.Struct, frozen=True, kw_only=True):
    """With what a run is made; ``as_of`` is ISO 8601 with zone, "" for the manifest's moment."""

    as_of: str = ""
    profile: str = ""
    store: bool = False


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run; ``source`` is a path below the allowed root, or the kind of an upload (never its name)."""

    tenant: str
    id: str
    origin: Literal["upload", "path"]
    source: str
    place: str
    options: JobOptions
    state: JobState
    asked_by: str
    asked: int
    started: int | None
    finished: int | None
    exit_code: int | None
    says: str
    attempts: int


def ask_for(
    database: Database, keyring: Keyring, *, tenant: str, job: str, origin: str, source: str, place: str,
    options: JobOptions, actor: str, at: datetime,
) -> None:  # fmt: skip
    """Put a run at the end of the queue; ``place`` is the machine that holds its files."""
    row = {
        "tenant": tenant, "id": job, "origin": origin, "source": source, "place": place, "state": "waiting",
        "options": msgspec.json.encode(options).decode(), "asked_by": actor, "asked": micros(at),
    }  # fmt: skip

    def put(connection: Connection) -> None:
        connection.execute(batch_job.insert().values(row))
        _note(connection, keyring, tenant, job, "run-asked", actor, at, after=f"{origin} {source}")

    database.write(put)


def move(
    database: Database, keyring: Keyring, *, tenant: str, job: str, allowed: Collection[str], to: JobState, actor: str,
    at: datetime, values: Mapping[str, Any] | None = None,
) -> bool:  # fmt: skip
    """Change the state if it is one of ``allowed``; tells whether it was. Part of the audit trail."""
    return database.write(
        partial(
            _move, keyring=keyring, tenant=tenant, job=job, allowed=allowed, to=to, actor=actor, at=at,
            values=values or {},
        )
    )  # fmt: skip


def jobs(
    database: Database, tenant: str, *, before: tuple[int, str] | None = None, limit: int = 25
) -> list[Job]:
    """Runs of a client, newest first; ``before`` is (asked, id) of the last one seen."""
    query = select(batch_job).where(batch_job.c.tenant == tenant)
    if before is not None:
        asked, name = before
        query = query.where(
            or_(
                batch_job.c.asked < asked,
                and_(batch_job.c.asked == asked, batch_job.c.id < name),
            )
        )
    query = query.order_by(batch_job.c.asked.desc(), batch_job.c.id.desc()).limit(limit)
    with database.reading() as connection:
        return [_job(row) for row in connection.execute(query)]


def job_of(database: Database, tenant: str, job: str) -> Job:
    """One run; raises RequestError (404)."""
    query = select(batch_job).where(batch_job.c.tenant == tenant, batch_job.c.id == job)
    with database.reading() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise RequestError("There is no such run.", status=404, code="not-found")
    return _job(row)


def queued(database: Database, place: str) -> list[Job]:
    """What waits or runs on a machine, oldest first, of all clients."""
    query = (
        select(batch_job)
        .where(batch_job.c.state.in_(ACTIVE), batch_job.c.place == place)
        .order_by(batch_job.c.asked, batch_job.c.id)
    )
    with database.reading() as connection:
        return [_job(row) for row in connection.execute(query)]


def _move(
    connection: Connection, *, keyring: Keyring, tenant: str, job: str, allowed: Collection[str], to: JobState,
    actor: str, at: datetime, values: Mapping[str, Any],
) -> bool:  # fmt: skip
    changed = connection.execute(
        batch_job.update()
        .where(
            batch_job.c.tenant == tenant,
            batch_job.c.id == job,
            batch_job.c.state.in_(list(allowed)),
        )
        .values({"state": to, **values})
    ).rowcount
    if changed:
        _note(connection, keyring, tenant, job, f"run-{to}", actor, at)
    return bool(changed)


def _note(
    connection: Connection, keyring: Keyring, tenant: str, job: str, action: str, actor: str, at: datetime, *,
    after: str = "",
) -> None:  # fmt: skip
    entry = AuditEntry(
        tenant=tenant, at=at, actor=actor, action=action, object=f"run/{job}", after=after
    )
    audit.append(connection, keyring, entry)


def _job(row: Row[Any]) -> Job:
    told = {name: row._mapping[name] for name in Job.__struct_fields__}
    told["options"] = msgspec.json.decode(told["options"] or "{}")
    return msgspec.convert(told, Job)
