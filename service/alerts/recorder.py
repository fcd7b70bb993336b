"""What the app calls: one durable line before each answer, and earlier answers within a time limit.

Nothing here imports SQLAlchemy: a card never waits for the database, and is answered without it.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec

from rules.assessment import Gap, HistoryEntry
from service.alerts.folding import fold
from service.alerts.keyring import Keyring
from service.alerts.lines import pack_line
from service.alerts.past_answers import PastAnswers
from service.alerts.spool import Spool
from service.alerts.values import (
    AuditEntry,
    AuditLine,
    Call,
    Clearing,
    FailureLine,
    FeedbackLine,
    IssuedCard,
    Line,
    Reviewed,
    ReviewLine,
)

_log = logging.getLogger("dekacard.record")
_encode = msgspec.json.Encoder(order="deterministic").encode


class Recorder(Protocol):
    """Everything a door may tell the record, or ask it."""

    def record(
        self,
        call: Call,
        review: Reviewed,
        cards: Sequence[IssuedCard] = (),
        *,
        history: Sequence[HistoryEntry] | None = (),
        gap_cards: Sequence[Gap] = (),
        may_speak: Sequence[str] = (),
        quiet: Collection[str] = (),
    ) -> bool:
        """Write one review down before its answer goes out."""

    def record_failure(self, call: Call, error: str) -> bool:
        """Write down that a call could not be evaluated."""

    def feedback(
        self,
        tenant: str,
        service: str,
        entries: Sequence[Any],
        received: datetime,
        *,
        request_id: str = "",
    ) -> bool:
        """Write down what clinicians answered."""

    def audit(self, entry: AuditEntry) -> bool:
        """Write down who did what."""

    def history(
        self, tenant: str, patient: str, user: str, now: datetime
    ) -> tuple[HistoryEntry, ...] | None:
        """Earlier answers about a patient; None when they could not be read in time."""

    def close(self) -> None:
        """Leave nothing unwritten."""


class SpoolRecorder(Recorder):
    """Writes to the spool of this process; thread-safe. Create it in each worker, after any fork."""

    def __init__(
        self,
        folder: Path,
        keyring: Keyring,
        past: PastAnswers | None = None,
        *,
        backlog_lines: int = 10_000,
    ) -> None:
        self._spool = Spool(folder)
        self._keyring = keyring
        self._past = past
        self._backlog: deque[bytes] = deque(maxlen=backlog_lines)
        self._backlog_lock = threading.Lock()
        self.counters = {"lines": 0, "refused": 0, "lost": 0, "history_unread": 0}

    @property
    def backlog(self) -> int:
        """Lines that the disk refused so far; they are kept in memory and tried again."""
        return len(self._backlog)

    def record(
        self,
        call: Call,
        review: Reviewed,
        cards: Sequence[IssuedCard] = (),
        *,
        history: Sequence[HistoryEntry] | None = (),
        gap_cards: Sequence[Gap] = (),
        may_speak: Sequence[str] = (),
        quiet: Collection[str] = (),
    ) -> bool:
        """Write one review down before its answer goes out.

        ``history`` is what the engine was given (None = could not be read), ``gap_cards`` the gaps that
        became cards, ``may_speak`` the rules that could have spoken at this hook: without them no alert
        is cleared. ``quiet`` are the rules that were not live for the caller.
        False means that the disk refused the line; it waits in memory, and the answer may still go out.
        """
        return self._write(
            ReviewLine(
                call=call,
                answer=msgspec.Raw(fold(review.assessment, review.facts)),
                facts=msgspec.Raw(_encode(review.facts)),
                gaps=tuple(review.gaps),
                gap_cards=tuple(gap_cards),
                withdrawn=tuple(review.withdrawn),
                history=None if history is None else tuple(history),
                cards=tuple(cards),
                clearing=Clearing(rules=tuple(may_speak)),
                quiet=tuple(sorted(quiet)),
            )
        )

    def record_failure(self, call: Call, error: str) -> bool:
        """Write down that a call could not be evaluated; ``error`` is a stable code."""
        return self._write(FailureLine(call=call, error=error))

    def feedback(
        self,
        tenant: str,
        service: str,
        entries: Sequence[Any],
        received: datetime,
        *,
        request_id: str = "",
    ) -> bool:
        """Write feedback entries down as they came; they find their cards later, in any order, once each."""
        line = FeedbackLine(
            id=uuid.uuid4().hex, tenant=tenant, service=service, received=received,
            entries=tuple(entries), request_id=request_id,
        )  # fmt: skip
        return self._write(line)

    def audit(self, entry: AuditEntry) -> bool:
        """Write down a view, an export, a log-in: anything that is not a write to the store by itself."""
        return self._write(AuditLine(id=uuid.uuid4().hex, entry=entry))

    def history(
        self, tenant: str, patient: str, user: str, now: datetime
    ) -> tuple[HistoryEntry, ...] | None:
        """Earlier answers about this patient; None when they could not be read in time: then suppress nothing."""
        del user  # entries name their user: who may be spared what is for the rules to say
        if self._past is None:
            return ()
        found = self._past.of(tenant, self._keyring.patient_key(tenant, patient), now)
        if found is None:
            self.counters["history_unread"] += 1
        return found

    def close(self) -> None:
        """Write what waits, sync, and let the segment go; what nobody takes is told as lost."""
        with self._backlog_lock:
            self._write_backlog()
            if self._backlog:
                kept = self._rescue(tuple(self._backlog))
                left = len(self._backlog) - kept
                self.counters["lost"] += left
                _log.error(
                    "the spool's disk refuses to the end: %d lines went straight to the store, %d are lost",
                    kept,
                    left,
                )
                self._backlog.clear()
        self._spool.close()
        if self._past is not None:
            self._past.close()

    def _rescue(self, bodies: Sequence[bytes]) -> int:
        """Keep lines elsewhere that the spool's disk refused to the end; how many were."""
        del bodies
        return 0

    def _write(self, line: Line) -> bool:
        body = pack_line(line, self._keyring)
        self.counters["lines"] += 1
        if self._backlog:
            with self._backlog_lock:
                self._write_backlog()
        try:
            self._spool.append(body)
        except OSError as error:
            self._keep(body, error)
            return False
        return True

    def _keep(self, body: bytes, error: OSError) -> None:
        self.counters["refused"] += 1
        with self._backlog_lock:
            if len(self._backlog) == self._backlog.maxlen:
                self.counters["lost"] += 1
                _log.error("a line is lost: the spool's disk refuses, and memory holds no more")
            self._backlog.append(body)
        _log.error(
            "spool refused a line (errno %s); %d wait in memory", error.errno, len(self._backlog)
        )

    def _write_backlog(self) -> None:
        while self._backlog:
            try:
                self._spool.append(self._backlog[0])
            except OSError:
                return
            self._backlog.popleft()


def may_speak(cards: Mapping[str, Any], hook: str, verbosity: str) -> tuple[str, ...]:
    """Rules that could have spoken at this hook: their silence means that they do not hold."""
    return tuple(
        sorted(
            name
            for name, card in cards.items()
            if (not card.hooks or hook in card.hooks)
            and (verbosity == "education" or not card.education)
        )
    )
