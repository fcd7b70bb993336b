"""Lines of the audit trail by who, what, when and about whom; newest first, paged by their number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import ColumnElement, Row, select

from service.alerts import models

if TYPE_CHECKING:
    from service.alerts.database import Database

PAGE = 50


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines of a tenant; "" and None mean any.

    ``about`` is the beginning of an object ("alert/7", "rule/"), ``patient`` the record's key, ``since`` and
    ``until`` are microseconds (the end is not included), ``before`` the number of the last line seen.
    """

    tenant: str
    actor: str = ""
    action: str = ""
    about: str = ""
    patient: str = ""
    outcome: str = ""
    since: int | None = None
    until: int | None = None
    before: int = 0


def lines(database: Database, wanted: Wanted, limit: int = PAGE) -> list[Row[Any]]:
    """The lines, newest first."""
    query = select(models.audit).where(*_conditions(wanted))
    with database.reading() as connection:
        return list(
            connection.execute(query.order_by(models.audit.c.seq.desc()).limit(limit)).all()
        )


def head_of(database: Database, tenant: str) -> Row[Any] | None:
    """The end of a tenant's chain; None before the first line."""
    table = models.audit_head
    with database.reading() as connection:
        return connection.execute(select(table).where(table.c.tenant == tenant)).one_or_none()


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    table = models.audit
    found: list[ColumnElement[bool]] = [table.c.tenant == wanted.tenant]
    for name in ("actor", "action", "patient", "outcome"):
        value = getattr(wanted, name)
        if value:
            found.append(table.c[name] == value)
    if wanted.about:
        found.append(table.c.object.startswith(wanted.about, autoescape=True))
    if wanted.since is not None:
        found.append(table.c.at >= wanted.since)
    if wanted.until is not None:
        found.append(table.c.at < wanted.until)
    if wanted.before:
        found.append(table.c.seq < wanted.before)
    return found
