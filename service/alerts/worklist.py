"""What waits for a pharmacist: filtered, ordered by priority and newness, paged by key."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, func, literal_column, or_, select

from rules.errors import RequestError
from service.alerts import models
from service.alerts.silences import shown_conditions

View = Literal["todo", "all-open", "closed", "everything"]
PAGE = 50
LARGEST_PAGE = 200
_EACH = 20  # alerts of one patient that a page shows; the rest stand on the patient's own page
Place = TypeVar("Place")


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What to show of one tenant.

    ``todo`` is the opening view: open, not snoozed, not given way, warning and critical ones and what could
    not be evaluated. Shadow alerts show only when ``mode`` asks for them. ``due_by`` (microseconds) asks for alerts
    that were put off until then or earlier. ``after`` is the cursor of a page.
    """

    tenant: str
    view: View = "todo"
    rule: str = ""
    indicator: str = ""
    assignee: str = ""
    unassigned: bool = False
    patient: str = ""
    kind: str = ""
    about: str = ""
    course: str = ""
    mode: str = ""
    due_by: int = 0
    after: str = ""
    size: int = PAGE


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and the cursor of the next page ("" at the end)."""

    rows: list[Row[Any]]
    after: str = ""


def page(connection: Connection, wanted: Filter, now: int) -> Page:
    """One page: the highest priority first (critical before all else), then what changed last."""
    table = models.alert
    size = max(1, min(wanted.size, LARGEST_PAGE))
    query = (
        select(table)
        .where(*_conditions(wanted, now), *_unsilenced(connection, wanted, now))
        .order_by(table.c.priority.desc(), table.c.changed.desc(), table.c.id.desc())
        .limit(size + 1)
    )
    if wanted.after:
        priority, changed, number = _cursor(wanted.after)
        query = query.where(
            table.c.priority <= priority,  # said apart, so that the index starts there
            or_(
                table.c.priority < priority,
                table.c.changed < changed,
                and_(table.c.changed == changed, table.c.id < number),
            ),
        )
    rows = list(connection.execute(query).all())
    more = len(rows) > size
    rows = rows[:size]
    return Page(rows=rows, after=_mark(rows[-1]) if more else "")


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """The alerts of one patient, the most urgent first; ``total`` counts also those that are not in ``rows``."""

    patient: str
    total: int
    rows: list[Row[Any]]


class Patients(msgspec.Struct, frozen=True, kw_only=True):
    """Patients and the cursor of the next page ("" at the end)."""

    gathered: list[Gathered]
    after: str = ""


def page_of_patients(connection: Connection, wanted: Filter, now: int) -> Patients:
    """One page of patients, each with its alerts: who has the highest priority first; no patient on two pages."""
    table = models.alert
    size = max(1, min(wanted.size, LARGEST_PAGE))
    priority, changed = func.max(table.c.priority), func.max(table.c.changed)
    conditions = [*_conditions(wanted, now), *_unsilenced(connection, wanted, now)]
    # An expression, so that SQLite does not walk every patient of years in the order of their own index
    who = table.c.patient.concat(literal_column("''"))
    query = (
        select(who.label("patient"), func.count().label("total"), priority.label("priority"), changed.label("changed"))
        .where(*conditions)
        .group_by(who)
        .order_by(priority.desc(), changed.desc(), who.desc())
        .limit(size + 1)
    )  # fmt: skip
    if wanted.after:
        above, later, key = _place_of_patient(wanted.after)
        query = query.having(
            or_(
                priority < above,
                and_(priority == above, changed < later),
                and_(priority == above, changed == later, who < key),
            )
        )
    found = list(connection.execute(query).all())
    more, found = len(found) > size, found[:size]
    mark = [found[-1].priority, found[-1].changed, found[-1].patient] if more else None
    return Patients(
        gathered=[
            Gathered(
                patient=one.patient,
                total=one.total,
                rows=_first_of(connection, conditions, one.patient),
            )
            for one in found
        ],
        after=_encoded(mark) if mark else "",
    )


def _first_of(
    connection: Connection, conditions: list[ColumnElement[bool]], patient: str
) -> list[Row[Any]]:
    """The most urgent alerts of one patient; one by one, because SQLite reads all open ones for a list."""
    table = models.alert
    query = (
        select(table)
        .where(*conditions, table.c.patient == patient)
        # An expression, so that SQLite takes the patient's index and not the order of the whole list
        .order_by((table.c.priority + 0).desc(), table.c.changed.desc(), table.c.id.desc())
        .limit(_EACH)
    )
    return list(connection.execute(query).all())


def count_open(connection: Connection, tenant: str, now: int) -> Mapping[str, int]:
    """How many alerts of the opening view there are, by indicator."""
    table = models.alert
    rows = connection.execute(
        select(table.c.indicator, func.count())
        .where(*_conditions(Filter(tenant=tenant), now), *shown_conditions(connection, tenant, now))
        .group_by(table.c.indicator)
    )
    return {row[0]: row[1] for row in rows}


def _unsilenced(connection: Connection, wanted: Filter, now: int) -> list[ColumnElement[bool]]:
    """Silenced alerts stay out of the opening view only; every other view shows them."""
    return shown_conditions(connection, wanted.tenant, now) if wanted.view == "todo" else []


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
    if wanted.due_by:
        found.append(table.c.snoozed_until <= wanted.due_by)
    if wanted.unassigned:
        found.append(table.c.assignee == "")
    for name in ("rule", "about", "indicator", "assignee", "patient", "kind", "course"):
        value = getattr(wanted, name)
        if value:
            found.append(table.c[name] == value)
    return found


def _mark(row: Row[Any]) -> str:
    return _encoded([row.priority, row.changed, row.id])


def _encoded(place: list[Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()


def _cursor(mark: str) -> tuple[int, int, int]:
    return _decoded(mark, tuple[int, int, int])


def _place_of_patient(mark: str) -> tuple[int, int, str]:
    return _decoded(mark, tuple[int, int, str])


def _decoded(mark: str, kind: type[Place]) -> Place:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(mark), type=kind)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise RequestError("'after' is no cursor of this list.", status=422) from error
