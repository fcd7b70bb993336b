"""What a worker notes about its calls: counts and times for the metrics, one line for the log.

On the path of a card this costs a few additions. The library that publishes the figures is loaded behind the first
answer, and gets what was noted once a second; what a killed worker had not passed on is at most one second.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from service.telemetry_log import dropped

if TYPE_CHECKING:
    from service.alerts.values import IssuedCard
    from service.cds_hooks.prefetch import Supply
    from service.review import Review
    from service.telemetry_metrics import Metrics

Labels = tuple[str, ...]
MOST_TIMES: Final = (
    20_000  # where nobody publishes, as inside a host that never asks, the oldest are forgotten
)
SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"  # the name is that of the library


def _tell_nobody(_event: str, **_: object) -> None:
    pass


class CallNote:
    """What became of one call; filled while it is answered, told once at its end."""

    __slots__ = ("client", "hook", "incomplete", "line", "reason")

    def __init__(self) -> None:
        self.client = self.hook = self.reason = ""
        self.incomplete = False
        self.line: dict[str, Any] = {}


current: ContextVar[CallNote | None] = ContextVar("dekacard_call", default=None)


class Telemetry:
    """Counts of one worker, waiting to be published."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Labels], float] = {}
        self._times: deque[tuple[str, Labels, float]] = deque(maxlen=MOST_TIMES)
        self._publishing = threading.Lock()
        self.open_calls = 0
        # Only a process of our own logs its calls; inside another program that is the host's affair
        self.tell: Callable[..., None] = _tell_nobody
        self.streams = 0
        # The server knows of calls whose turn has not come at all; without it those that began are counted
        self.calls_waiting: Callable[[], int] = lambda: self.open_calls
        self._ending: asyncio.Event | None = None

    def ending(self) -> asyncio.Event:
        """Set when this worker is about to end; of the loop that first asks."""
        if self._ending is None:
            self._ending = asyncio.Event()
        return self._ending

    def end_streams(self) -> None:
        """Let every open stream end; to be called in the loop that serves."""
        self.ending().set()

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        """Add to a counter; its name and labels are those of ``telemetry_metrics.COUNTERS``."""
        key, counts = (name, labels), self._counts
        counts[key] = counts.get(key, 0) + by

    def time(self, name: str, seconds: float, *labels: str) -> None:
        """Note how long something took; the names are those of ``telemetry_metrics.TIMES``."""
        self._times.append((name, labels, seconds))

    def known_client(self, client: str) -> None:
        """The call was made by this client."""
        note = current.get()
        if note is not None:
            note.client = client

    def refused(self, reason: str) -> None:
        """A caller was not believed; ``reason`` is a code of ours, for the log and the metrics alone."""
        self.count("jwt_rejected", reason)
        note = current.get()
        if note is not None:
            note.reason = reason

    def limited(self, client: str) -> None:
        """A client called more often than was agreed."""
        self.count("calls_limited", client)
        note = current.get()
        if note is not None:
            note.reason = "calls-per-minute"

    def reviewed(
        self,
        review: Review,
        cards: Sequence[IssuedCard],
        modes: Mapping[str, str],
        late: Sequence[str] = (),
    ) -> None:
        """Count what a review gave: rules that fired, cards, gaps, and what was not evaluated."""
        assessment = review.assessment
        for one in assessment.recommendations:
            self.count("rule_fired", one.rule, modes.get(one.rule, "shadow"))
        for failure in assessment.failures:
            self.count("rule_failed", failure.rule)
        for gap in review.gaps:
            self.count("gaps", gap.code)
        shown = {"critical": 0, "warning": 0, "info": 0}
        for card in cards:
            shown[card.indicator] = shown.get(card.indicator, 0) + 1
        for indicator, number in shown.items():
            if number:
                self.count("cards", indicator, by=number)
        if late:
            self.count("evaluation_incomplete", "deadline")
        if assessment.failures:
            self.count("evaluation_incomplete", "rule-failed")
        note = current.get()
        if note is not None:
            note.incomplete = bool(late or assessment.failures)
            note.line = {
                "rules": len(assessment.recommendations), "cards": len(cards), **shown,
                "gaps": len(review.gaps), "failures": len(assessment.failures),
            }  # fmt: skip

    def answered(self, entries: Sequence[Any]) -> None:
        """Count what clinicians answered; anything but the two outcomes of CDS Hooks counts as ``other``."""
        for entry in entries:
            outcome = entry.get("outcome") if isinstance(entry, dict) else None
            known = isinstance(outcome, str) and outcome in {"accepted", "overridden"}
            self.count("feedback", str(outcome) if known else "other")

    def fetched(self, client: str, seconds: float, supply: Supply) -> None:
        """Note what asking a client's FHIR server gave: everything, less, or nothing before the deadline."""
        outcome = "late" if supply.late else "incomplete" if supply.unread else "read"
        self.time("fhir_fetch_seconds", seconds, client, outcome)

    def publish(self, metrics: Metrics) -> None:
        """Pass on what was noted since the last time."""
        with self._publishing:
            counts, self._counts = self._counts, {}
            times, self._times = self._times, deque(maxlen=MOST_TIMES)
            for (name, labels), by in counts.items():
                metrics.add(name, labels, by)
            for name, labels, seconds in times:
                metrics.observe(name, labels, seconds)
            for cause, number in list(dropped.items()):
                metrics.add("log_dropped", (cause,), number)
            dropped.clear()
            metrics.set("sse_clients", self.streams)
            metrics.set("calls_open", self.open_calls - self.streams)
