"""The figures of the service in Prometheus' form: of all workers together, wherever they are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from service.telemetry import SHARED_FOLDER

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
_PREFIX: Final = "dekacard"
_CALL_BUCKETS: Final = (
    0.002, 0.004, 0.006, 0.01, 0.015, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.0, 5.0
)  # fmt: skip

# name: (what it counts, labels). No label ever holds text from outside: codes of ours and ids of profiles alone.
COUNTERS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "rule_fired": ("Recommendations, by rule and how far the rule reaches.", ("rule", "mode")),
    "rule_failed": ("Rules that broke while they were evaluated.", ("rule",)),
    "cards": ("Cards in answers, by urgency.", ("indicator",)),
    "gaps": ("Data that could not be read or had, by code.", ("code",)),
    "evaluation_incomplete": ("Reviews that did not cover everything, by cause.", ("cause",)),
    "feedback": ("Answers of clinicians to cards, as they came in.", ("outcome",)),
    "jwt_rejected": ("Callers that were not believed, by reason.", ("reason",)),
    "fhir_rests": (
        "Times a client's FHIR server was left alone because it was silent.",
        ("client",),
    ),
    "keys_not_renewed": (
        "Times a client's source of keys gave none that can be used.",
        ("client",),
    ),
    "calls_limited": ("Calls refused with 429, by client.", ("client",)),
    "calls_shed": ("Calls refused with 503 because too many waited.", ()),
    "faults": ("Unexpected errors that a caller met.", ("kind",)),
    "log_dropped": ("Keys, values and foreign texts kept out of the log.", ("cause",)),
    "worker_restarts": ("Workers that ended on their own and were started again.", ("cause",)),
}
TIMES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "cds_request_seconds": ("Calls of hooks, from first byte to answer.", ("hook", "outcome")),
    "http_request_seconds": ("All other requests, by route.", ("route", "method", "status")),
    "evaluation_seconds": ("Reading the patient's data and evaluating the rules.", ()),
    "fhir_fetch_seconds": ("Asking a client's FHIR server.", ("client", "outcome")),
}
GAUGES: Final[dict[str, str]] = {
    "sse_clients": "Open worklists that listen for news.",
    "calls_open": "Calls that are being answered or wait for it.",
    "spool_backlog_lines": "Lines that the disk refused and that wait in memory.",
    "spool_lost_lines": "Lines lost because disk and memory were full.",
    "worker_started_seconds": "When this worker began, in seconds since 1970.",
}


class Metrics:
    """The metrics of one process; with a shared folder in the environment they are those of all processes."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._counters = {
            name: Counter(f"{_PREFIX}_{name}", help_text, labels, registry=self._registry)
            for name, (help_text, labels) in COUNTERS.items()
        }
        self._times = {
            name: Histogram(
                f"{_PREFIX}_{name}",
                help_text,
                labels,
                registry=self._registry,
                buckets=_CALL_BUCKETS,
            )
            for name, (help_text, labels) in TIMES.items()
        }
        self._gauges = {
            name: Gauge(
                f"{_PREFIX}_{name}",
                help_text,
                registry=self._registry,
                multiprocess_mode="max" if name == "worker_started_seconds" else "livesum",
            )
            for name, help_text in GAUGES.items()
        }
        self._children: dict[tuple[str, tuple[str, ...]], Any] = {}

    def add(self, name: str, labels: tuple[str, ...], by: float) -> None:
        """Add to a counter."""
        self._child(self._counters, name, labels).inc(by)

    def observe(self, name: str, labels: tuple[str, ...], seconds: float) -> None:
        """Note a time."""
        self._child(self._times, name, labels).observe(seconds)

    def set(self, name: str, value: float) -> None:
        """Set a gauge of this process."""
        self._gauges[name].set(value)

    def render(self, further: Iterable[Collector] = ()) -> bytes:
        """Everything in the text form of Prometheus; ``further`` are figures of the site, worked out when asked."""
        shared = os.environ.get(SHARED_FOLDER)
        if shared:
            registry = CollectorRegistry()
            registry.register(_OfAllProcesses(Path(shared)))
        else:
            registry = self._registry
        site = CollectorRegistry()
        for collector in further:
            site.register(collector)
        return generate_latest(registry) + generate_latest(site)

    def _child(self, metrics: dict[str, Any], name: str, labels: tuple[str, ...]) -> Any:
        child = self._children.get((name, labels))
        if child is None:
            metric = metrics[name]
            child = metric.labels(*labels) if labels else metric
            self._children[name, labels] = child
        return child


class _OfAllProcesses(Collector):
    """The figures in a shared folder.

    The library's own collector fails for ever once a process has died between making its file and writing its head.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Everything that has been written."""
        from prometheus_client.multiprocess import MultiProcessCollector

        files = [str(file) for file in sorted(self._folder.glob("*.db")) if _has_begun(file)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


def _has_begun(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # the process has just ended
        return False


def forget_worker(process: int) -> None:
    """The gauges of a process that ended count no longer; its counters stay."""
    if os.environ.get(SHARED_FOLDER):
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(process)  # type: ignore[no-untyped-call]
