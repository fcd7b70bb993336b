"""What waits for a pharmacist: filtered, ordered by severity and newness, paged by key."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select

from rules.errors import RequestError
from service.alerts import models

View = Literal["todo", "all-open", "closed", "everything"]
PAGE = 50
LARGEST_PAGE = 200


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What to show of one tenant.

    ``todo`` is the opening view: open, not snoozed, not given way, warning and critical ones and what could
    not be evaluated. Shadow alerts show only when ``mode`` asks for them. ``after`` is the cursor of a page.
    """

    tenant: str
    view: View = "todo"
    rule: str = ""
    indicator: str = ""
    assignee: str = ""
    unassigned: bool = False
    patient: str = ""
    kind: str = ""
    course: str = ""
    mode: str = ""
    after: str = ""
    size: int = PAGE


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and the cursor of the next page ("" at the end)."""

    rows: list[Row[Any]]
    after: str = ""


def page(connection: Connection, wanted: Filter, now: int) -> Page:
    """One page: critical first, then what changed last."""
    table = models.alert
    size = max(1, min(wanted.size, LARGEST_PAGE))
    query = (
        select(table)
        .where(*_conditions(wanted, now))
        .order_by(table.c.severity.desc(), table.c.changed.desc(), table.c.id.desc())
        .limit(size + 1)
    )
    if wanted.after:
        severity, changed, number = _cursor(wanted.after)
        query = query.where(
            table.c.severity <= severity,  # said apart, so that the index starts there
            or_(
                table.c.severity < severity,
                table.c.changed < changed,
                and_(table.c.changed == changed, table.c.id < number),
            ),
        )
    rows = list(connection.execute(query).all())
    more = len(rows) > size
    rows = rows[:size]
    return Page(rows=rows, after=_mark(rows[-1]) if more else "")


def count_open(connection: Connection, tenant: str, now: int) -> Mapping[str, int]:
    """How many alerts of the opening view there are, by indicator."""
    table = models.alert
    rows = connection.execute(
        select(table.c.indicator, func.count())
        .where(*_conditions(Filter(tenant=tenant), now))
        .group_by(table.c.indicator)
    )
    return {row[0]: row[1] for row in rows}


def _conditions(wanted: Filter, now: int) -> list[ColumnElement[bool]]:
    table = models.alert
    found: list[ColumnElement[bool]] = [table.c.tenant == wanted.tenant]
    if wanted.view in {"todo", "all-open"}:
        found.append(table.c.is_open == 1)
    elif wanted.view == "closed":
        found.append(table.c.is_open == 0)
    if wanted.view == "todo":
        found.append(or_(table.c.snoozed_until.is_(None), table.c.snoozed_until <= now))
        found.append(table.c.suppressed_by == "")
        if not wanted.indicator:
            found.append(or_(table.c.severity > 0, table.c.kind == "not-evaluated"))
    found.append(
        table.c.mode == wanted.mode if wanted.mode else table.c.mode.in_(("live", "review"))
    )
    if wanted.unassigned:
        found.append(table.c.assignee == "")
    for name in ("rule", "indicator", "assignee", "patient", "kind", "course"):
        value = getattr(wanted, name)
        if value:
            found.append(table.c[name] == value)
    return found


def _mark(row: Row[Any]) -> str:
    return base64.urlsafe_b64encode(
        msgspec.json.encode([row.severity, row.changed, row.id])
    ).decode()


def _cursor(mark: str) -> tuple[int, int, int]:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(mark), type=tuple[int, int, int])
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise RequestError("'after' is no cursor of this list.", status=422) from error
