"""Figures of the whole site, worked out when they are asked for: knowledge, spool, store, alerts, rules.

They are the same from whichever worker they come. A store that does not answer leaves its figures out and says so in
``dekacard_store_up``; nothing here ever waits in the way of a card.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.alerts.spool_reader import segments
from service.telemetry_monitors import rule_monitors

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from service.alerts.record import Record
    from service.parts import Parts

FRESH_SECONDS: Final = (
    15.0  # figures of the store are at most this old; asking costs the store something
)
_SEVERITIES: Final = {0: "info", 1: "warning", 2: "critical"}


class SiteFigures(Collector):
    """What one scrape adds to the counters of the workers."""

    def __init__(self, parts: Parts, record: Record | None) -> None:
        self._parts = parts
        self._record = record
        self._lock = threading.Lock()
        self._kept: tuple[Metric, ...] = ()
        self._kept_at = float("-inf")
        self._positions: dict[str, tuple[int, int]] = {}

    def describe(self) -> list[Metric]:
        """Nothing, so that registering asks no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything that is known now."""
        now = self._parts.clock()
        yield from self._knowledge(now)
        yield from self._clients()
        if self._record is None:
            return
        if self._lock.acquire(
            blocking=False
        ):  # a store that hangs is waited for by one scrape alone
            try:
                if time.monotonic() - self._kept_at > FRESH_SECONDS:
                    self._kept = tuple(self._of_the_store(self._record, now))
                    self._kept_at = time.monotonic()
            finally:
                self._lock.release()
        yield from self._kept
        yield from self._spool(self._record, now)

    def _knowledge(self, now: datetime) -> Iterator[Metric]:
        book = self._parts.engine.rulebook
        info = GaugeMetricFamily(
            "dekacard_knowledge_info", "Packs in force.", labels=["pack", "version", "status"]
        )
        for pack in book.packs:
            info.add_metric([pack.head.id, pack.head.version, pack.head.status], 1)
        yield info
        yield _single(
            "dekacard_software_info", "The version of dekacard.", 1, version=self._parts.software
        )
        overdue = GaugeMetricFamily(
            "dekacard_knowledge_days_past_review",
            "Days since a rule should have been read again; negative before.",
            labels=["rule"],
        )
        for rule, card in sorted(book.cards.items()):
            overdue.add_metric([rule], (now.date() - card.review_due).days)
        yield overdue

    def _clients(self) -> Iterator[Metric]:
        registry = self._parts.registry
        if registry is not None:
            wrong = 1.0 if registry.problem else 0.0
            yield _single(
                "dekacard_profiles_refused",
                "1 while a changed client profile could not be taken over.",
                wrong,
            )

    def _of_the_store(self, record: Record, now: datetime) -> Iterator[Metric]:
        up = GaugeMetricFamily("dekacard_store_up", "1 while the store of the record answers.")
        try:
            figures = tuple(self._read(record, now))
        except Exception:  # noqa: BLE001 - whatever the store answers, the other figures are still given
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from figures

    def _read(self, record: Record, now: datetime) -> Iterator[Metric]:
        from sqlalchemy import func, select

        from service.alerts import models
        from service.alerts.past_answers import instant

        alert, position, run = models.alert, models.spool_position, models.run
        with record.database.reading() as connection:
            waiting = connection.execute(
                select(alert.c.tenant, alert.c.severity, func.count(), func.min(alert.c.first_seen))
                .where(alert.c.is_open == 1, alert.c.mode.in_(("live", "review")))
                .group_by(alert.c.tenant, alert.c.severity)
            ).all()
            unclaimed = connection.execute(
                select(alert.c.tenant, func.min(alert.c.first_seen))
                .where(alert.c.is_open == 1, alert.c.severity == 2, alert.c.claimed.is_(None))  # noqa: PLR2004
                .where(alert.c.mode.in_(("live", "review")))
                .group_by(alert.c.tenant)
            ).all()
            self._positions = {
                row.segment: (row.position, row.updated)
                for row in connection.execute(
                    select(position.c.segment, position.c.position, position.c.updated)
                )
            }
            heads = connection.execute(
                select(models.audit_head.c.tenant, models.audit_head.c.seq)
            ).all()
            rejects = connection.scalar(select(func.count()).select_from(models.spool_reject)) or 0
            batches = connection.execute(
                select(run.c.tenant, run.c.state, func.count()).group_by(run.c.tenant, run.c.state)
            ).all()
        number = GaugeMetricFamily(
            "dekacard_alerts_open", "Alerts that are open.", labels=["client", "severity"]
        )
        age = GaugeMetricFamily(
            "dekacard_alert_age_seconds", "Age of the oldest open alert.", labels=["client", "severity"]
        )  # fmt: skip
        for row in waiting:
            labels = [row[0], _SEVERITIES.get(row[1], "other")]
            number.add_metric(labels, row[2])
            age.add_metric(labels, (now - instant(row[3])).total_seconds())
        oldest = GaugeMetricFamily(
            "dekacard_critical_unclaimed_seconds", "Age of the oldest critical alert that nobody took.", labels=["client"]
        )  # fmt: skip
        for row in unclaimed:
            oldest.add_metric([row[0]], (now - instant(row[1])).total_seconds())
        ends = GaugeMetricFamily(
            "dekacard_audit_head_seq", "Last number of the audit chain; it never falls.", labels=["client"]
        )  # fmt: skip
        for row in heads:
            ends.add_metric([row[0]], row[1])
        items = GaugeMetricFamily(
            "dekacard_batch_runs", "Runs over a population, by state.", labels=["client", "state"]
        )
        for row in batches:
            items.add_metric([row[0], row[1]], row[2])
        yield from (number, age, oldest, ends, items)
        yield _single(
            "dekacard_spool_rejects", "Lines of the spool that could not be understood.", rejects
        )
        yield from rule_monitors(record.database, now)

    def _spool(self, record: Record, now: datetime) -> Iterator[Metric]:
        depth, oldest = 0, 0.0
        for path in segments(Path(record.options.spool)):
            taken, moved = self._positions.get(path.name, (0, 0))
            try:
                left = path.stat().st_size - taken
            except FileNotFoundError:
                continue
            if left > 0:
                depth += left
                since = max(moved, _begun(path)) / 1_000_000
                oldest = max(oldest, now.timestamp() - since)
        yield _single(
            "dekacard_spool_depth_bytes", "Bytes of the spool that are not in the store.", depth
        )
        yield _single(
            "dekacard_spool_age_seconds",
            "Since when lines wait without any being taken in; 0 when none waits.",
            oldest,
        )


def _begun(segment: Path) -> int:
    """When a segment was begun, in microseconds since 1970: its name says so."""
    head = segment.name.partition("-")[0]
    return int(head) if head.isdigit() else 0


def _single(name: str, says: str, value: float, **labels: str) -> Metric:
    figure = GaugeMetricFamily(name, says, labels=list(labels))
    figure.add_metric(list(labels.values()), value)
    return figure


def scrape_of(parts: Parts, record: Record | None) -> Callable[[], list[Collector]]:
    """The site's figures as the list that ``Metrics.render`` takes; made once, so that they are remembered."""
    figures = SiteFigures(parts, record)
    return lambda: [figures]
