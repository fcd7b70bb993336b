"""Which review of a patient a page shows: the newest that read the whole, not the newest that looked at a single draft."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import func, select

from service.alerts import models
from service.alerts.past_answers import micros
from service.dashboard.casebook import OF_ONE_DRAFT, Case, case_of
from service.dashboard.timeline import wanted

if TYPE_CHECKING:
    from sqlalchemy import Row

    from service.alerts.store import Store

_QUIET: Final = timedelta(
    hours=24
)  # house policy: a hospital without a review for a day has lost its feed
_LOOKED_AT: Final = (
    25  # reviews that are opened in search of a whole one; each costs one decryption
)


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """The review that a page shows.

    ``unread`` are the sources that it could not have, of those that a page needs; ``passed_over`` is when the newest
    review came that was left out for a more complete one (microseconds), None where none was.
    """

    received: int
    case: Case | None
    unread: tuple[str, ...] = ()
    passed_over: int | None = None


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """When a patient of a client was reviewed last (microseconds); None before the first.

    ``is_quiet`` says that it is so long ago that an empty list proves nothing.
    """

    newest: int | None
    is_quiet: bool


def feed_of(store: Store, tenant: str, now: datetime) -> Feed:
    """How fresh the lists are: they show what reviews found, and nothing without any."""
    table = models.evaluation
    with store.database.reading() as connection:
        newest = connection.scalar(
            select(func.max(table.c.received)).where(table.c.tenant == tenant)
        )
    return Feed(newest=newest, is_quiet=newest is None or newest < micros(now - _QUIET))


def is_known(store: Store, tenant: str, patient: str) -> bool:
    """Whether any review of this patient is kept."""
    return bool(_reviews(store, tenant, patient, 1))


def shown_review(store: Store, tenant: str, patient: str) -> Shown | None:
    """The newest review that read medication and results; else the newest that read some; None without any.

    A call for the choice of an order is taken only where nothing else is kept.
    """
    rows = _reviews(store, tenant, patient, _LOOKED_AT)
    if not rows:
        return None
    fallback: Shown | None = None
    for row in rows:
        case = case_of(store, tenant, row.id) if row.evidence else None
        if case is None:
            continue
        unread = tuple(
            source for source in wanted().needed_sources if source in case.facts.context.unread
        )
        passed = rows[0].received if row.received < rows[0].received else None
        found = Shown(received=row.received, case=case, unread=unread, passed_over=passed)
        if not unread and row.hook != OF_ONE_DRAFT:
            return found
        fallback = fallback or found
    return fallback or Shown(received=rows[0].received, case=None)


def _reviews(store: Store, tenant: str, patient: str, count: int) -> list[Row[Any]]:
    """The newest reviews, those of an order's choice and those without evidence last."""
    table = models.evaluation
    with store.database.reading() as connection:
        return list(
            connection.execute(
                select(table.c.id, table.c.received, table.c.hook, table.c.evidence)
                .where(table.c.tenant == tenant, table.c.patient == patient)
                .order_by(
                    (table.c.evidence != "").desc(),
                    (table.c.hook == OF_ONE_DRAFT).asc(),
                    table.c.received.desc(),
                )
                .limit(count)
            )
        )
