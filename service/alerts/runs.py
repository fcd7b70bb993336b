"""Batch runs in the record: begun, counted, ended. A run of the same id begins once and may be resumed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select

from service.alerts import models
from service.alerts.database import Database
from service.alerts.past_answers import micros


def begin_run(
    database: Database,
    *,
    tenant: str,
    run: str,
    source: str,
    digest: str,
    knowledge: str,
    at: datetime,
) -> None:
    """Note that a run has begun; one that is resumed goes on under its id."""
    values = {
        "source": source,
        "digest": digest,
        "knowledge": knowledge,
        "state": "running",
        "finished": None,
    }
    database.write(partial(_put, tenant=tenant, run=run, values=values, started=micros(at)))


def end_run(
    database: Database,
    *,
    tenant: str,
    run: str,
    state: str,
    counts: Mapping[str, Any],
    at: datetime,
) -> None:
    """Note how a run ended (``done``, ``failed``, ``cancelled``) and what it counted."""
    values = {
        "state": state,
        "counts": msgspec.json.encode(dict(counts)).decode(),
        "finished": micros(at),
    }
    database.write(partial(_put, tenant=tenant, run=run, values=values, started=micros(at)))


def run_ended(database: Database, tenant: str, run: str) -> bool:
    """Whether this run was taken in whole before."""
    table = models.run
    here = (table.c.tenant == tenant) & (table.c.id == run) & (table.c.state == "done")
    with database.reading() as connection:
        return connection.execute(select(table.c.id).where(here)).first() is not None


def runs(database: Database, tenant: str, limit: int = 50) -> list[Row[Any]]:
    """Runs of a client, newest first."""
    table = models.run
    with database.reading() as connection:
        return list(
            connection.execute(
                select(table)
                .where(table.c.tenant == tenant)
                .order_by(table.c.started.desc())
                .limit(limit)
            ).all()
        )


def _put(
    connection: Connection, *, tenant: str, run: str, values: Mapping[str, Any], started: int
) -> None:
    table = models.run
    here = (table.c.tenant == tenant) & (table.c.id == run)
    if connection.execute(table.update().where(here).values(values)).rowcount == 0:
        connection.execute(table.insert().values(tenant=tenant, id=run, started=started, **values))
