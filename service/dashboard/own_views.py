"""Views that somebody keeps: a name of their own for the filters of a list, seen by nobody else."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

from sqlalchemy import Connection, func, select

from rules.errors import RequestError
from service.alerts.past_answers import micros
from service.alerts.triage_tables import saved_view

if TYPE_CHECKING:
    from starlette.responses import Response

    from service.dashboard.desk import Desk, Visit

_MOST: Final = 20
_LONGEST: Final = 40


class OwnViews:
    """Takes the forms that keep and drop a view."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.route("POST", "/work/views", "see-alerts", self.keep)
        desk.route("POST", "/work/views/drop", "see-alerts", self.drop)

    def keep(self, visit: Visit) -> Response:
        """Keep the filters of the list under a name; the same name again takes the new ones."""
        from service.dashboard.worklist_page import kept_filters

        name = " ".join(visit.form.get("name", "").split())
        if not name or len(name) > _LONGEST:
            raise RequestError(f"A view needs a name of at most {_LONGEST} characters.", status=422)
        given = {key.removeprefix("f_"): value for key, value in visit.form.items()}
        filters = urlencode(kept_filters(given))
        self._desk.record.database.write(
            partial(_keep, place=_place(visit, name), filters=filters, now=micros(visit.now))
        )
        return visit.go(f"/work?{filters}" if filters else "/work")

    def drop(self, visit: Visit) -> Response:
        """Forget a view."""
        place = _place(visit, visit.form.get("name", ""))
        self._desk.record.database.write(partial(_drop, place=place))
        return visit.go("/work")


def own_views(desk: Desk, visit: Visit) -> list[tuple[str, dict[str, str]]]:
    """Names and filters of the views that this person keeps."""
    table = saved_view
    with desk.record.database.reading() as connection:
        rows = connection.execute(
            select(table.c.name, table.c.filters)
            .where(table.c.tenant == visit.who.tenant, table.c.account == visit.who.account)
            .order_by(table.c.name)
        ).all()
    return [(row.name, dict(parse_qsl(row.filters))) for row in rows]


def _place(visit: Visit, name: str) -> dict[str, str]:
    return {"tenant": visit.who.tenant, "account": visit.who.account, "name": name}


def _keep(connection: Connection, *, place: dict[str, str], filters: str, now: int) -> None:
    table = saved_view
    where = [table.c[column] == value for column, value in place.items()]
    if connection.execute(table.update().where(*where).values(filters=filters)).rowcount:
        return
    held = connection.scalar(select(func.count()).select_from(table).where(*where[:2]))
    if (held or 0) >= _MOST:
        raise RequestError(f"At most {_MOST} views can be kept; drop one first.", status=422)
    connection.execute(table.insert().values(**place, filters=filters, created=now))


def _drop(connection: Connection, *, place: dict[str, Any]) -> None:
    table = saved_view
    connection.execute(
        table.delete().where(*(table.c[key] == value for key, value in place.items()))
    )
