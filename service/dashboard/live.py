"""Tells an open worklist that something new came in: how much, and nothing else, so that no row moves under a hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from rules.errors import RequestError, Unavailable
from service.alerts import models

if TYPE_CHECKING:
    from starlette.responses import Response

    from service.dashboard.desk import Desk, Visit

_EVERY: Final = 1.0  # seconds between two looks
_LOOKS: Final = 120  # then the browser connects again, and who asks is checked again
_LAST: Final = 2**62


class Live:
    """Serves the stream."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.route("GET", "/live", "see-alerts", self.stream, keeps_awake=False)

    def stream(self, visit: Visit) -> Response:
        """How many alerts came after the newest one that the page shows, whenever that number grows."""
        since = visit.query.get("since", "")
        if not since.isascii() or not since.isdigit() or int(since[:20]) > _LAST:
            raise RequestError("'since' is the number of an alert.", status=422)
        return StreamingResponse(
            self._numbers(visit.who.tenant, int(since[:20])), media_type="text/event-stream"
        )

    async def _numbers(self, tenant: str, since: int) -> AsyncIterator[str]:
        told = 0
        yield "retry: 2000\n\n"
        for _ in range(_LOOKS):
            try:
                count = await run_in_threadpool(self._count, tenant, since)
            except Unavailable:
                return
            if count > told:
                told = count
                yield f"data: {count} new {'alert' if count == 1 else 'alerts'}, show\n\n"
            await asyncio.sleep(_EVERY)

    def _count(self, tenant: str, since: int) -> int:
        table = models.alert
        query = select(func.count()).where(
            table.c.tenant == tenant,
            table.c.id > since,
            table.c.is_open == 1,
            table.c.mode.in_(("live", "review")),
            (table.c.severity > 0) | (table.c.kind == "not-evaluated"),
        )
        with self._desk.record.database.reading() as connection:
            return int(connection.scalar(query) or 0)


def newest_of(desk: Desk, tenant: str) -> int:
    """The number of a client's newest alert; 0 when there is none."""
    with desk.record.database.reading() as connection:
        return int(
            connection.scalar(
                select(func.max(models.alert.c.id)).where(models.alert.c.tenant == tenant)
            )
            or 0
        )
