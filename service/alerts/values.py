"""What the card path hands to the record: plain values, quick to write down, without a database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

import msgspec

from rules.assessment import Assessment, Gap, HistoryEntry
from rules.facts import FactSet
from service.alerts.lifecycle import SnoozeLimits

Mode = Literal["off", "shadow", "review", "live"]
MODES: tuple[Mode, ...] = ("off", "shadow", "review", "live")
CardKind = Literal["recommendation", "folded", "gap", "failure"]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a hook, or one patient of a batch run.

    ``id`` is unique per call (a random UUID), ``tenant`` the client, ``patient`` the patient's id on the
    client's server. ``source`` says where it came from when that is not a hook (batch run and line); ``run``
    is the batch run. ``mode`` is the client's mode, ``modes`` the rules that differ from it; ``silenced`` names
    what a silence kept from being shown: rule, subject, number of the silence. ``unit`` is the care unit of the patient.
    ``received`` is the instant on the service's clock (aware); ``elapsed_ms`` what the review took.
    """

    id: str
    tenant: str
    patient: str
    received: datetime
    hook: str = "patient-view"
    service: str = ""
    hook_instance: str = ""
    user: str = ""
    request_id: str = ""
    source: str = ""
    run: str = ""
    mode: Mode = "live"
    modes: dict[str, Mode] = {}
    silenced: tuple[tuple[str, str, int], ...] = ()
    unit: str = ""
    elapsed_ms: float | None = None

    def mode_of(self, rule: str) -> Mode:
        """How far this rule may speak for this client."""
        return self.modes.get(rule, self.mode)

    @property
    def origin(self) -> str:
        """What a repeat of the same event has in common: batch line, or hook instance and service."""
        if self.source:
            return self.source
        return (
            f"{self.service or self.hook}:{self.hook_instance}" if self.hook_instance else self.id
        )


class IssuedCard(msgspec.Struct, frozen=True, kw_only=True):
    """A card exactly as it went out; ``subjects`` lists the (rule, about) pairs it speaks of."""

    uuid: str
    body: Any
    indicator: str = "info"
    kind: CardKind = "recommendation"
    subjects: tuple[tuple[str, str], ...] = ()


class Reviewed(Protocol):
    """The part of a review that is recorded (``service.review.Review`` has it)."""

    @property
    def assessment(self) -> Assessment:
        """What the rules said."""

    @property
    def gaps(self) -> Sequence[Gap]:
        """What could not be read or had."""

    @property
    def facts(self) -> FactSet:
        """What the rules were given."""

    @property
    def withdrawn(self) -> Sequence[str]:
        """Records that say of themselves that they were an error (``Type/id``)."""


class Clearing(msgspec.Struct, frozen=True, kw_only=True):
    """Whose alerts this review may close: rules that were evaluated with everything they need.

    ``unread`` are sources that were read, but not surely as a whole.
    """

    rules: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


class ReviewLine(msgspec.Struct, frozen=True, kw_only=True, tag="review"):
    """What one evaluation leaves behind; ``answer`` holds the assessment folded over the facts (``alerts.folding``).

    ``quiet`` and ``asked`` are what the engine was told besides the facts (``Engine.assess``).
    """

    call: Call
    answer: msgspec.Raw
    facts: msgspec.Raw
    gaps: tuple[Gap, ...] = ()
    gap_cards: tuple[Gap, ...] = ()
    withdrawn: tuple[str, ...] = ()
    history: tuple[HistoryEntry, ...] | None = ()
    cards: tuple[IssuedCard, ...] = ()
    clearing: Clearing = Clearing()
    quiet: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()


class FailureLine(msgspec.Struct, frozen=True, kw_only=True, tag="failure"):
    """A call that could not be evaluated at all; ``error`` is a stable code, never the caller's data."""

    call: Call
    error: str


class FeedbackLine(msgspec.Struct, frozen=True, kw_only=True, tag="feedback"):
    """A feedback body as it came in, with who sent it and when."""

    id: str
    tenant: str
    service: str
    received: datetime
    entries: tuple[Any, ...]
    request_id: str = ""


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what to which object; ids and codes only, never a name or free text of a patient."""

    tenant: str
    at: datetime
    actor: str
    action: str
    object: str = ""
    patient: str = ""
    before: str = ""
    after: str = ""
    reason: str = ""
    request_id: str = ""
    outcome: str = "ok"


class AuditLine(msgspec.Struct, frozen=True, kw_only=True, tag="audit"):
    """An audit entry on its way through the spool; ``id`` makes its replay idempotent."""

    id: str
    entry: AuditEntry


Line = ReviewLine | FailureLine | FeedbackLine | AuditLine


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long things are kept; defaults of this project, to be set by the site's own rules."""

    evidence: timedelta = timedelta(days=396)
    cards: timedelta = timedelta(days=396)
    answers: timedelta = timedelta(days=730)
    alerts: timedelta = timedelta(days=2192)
    audit: timedelta = timedelta(days=2192)
    rejects: timedelta = timedelta(days=396)


class RecordOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where the record lives and how patient it is.

    ``history_seconds`` bounds the time spent on reading earlier answers; ``history_days`` how far back
    they count. ``keep_drained_hours`` keeps spool files after they reached the store, so that a store
    restored from an older backup catches up by itself.
    """

    database_url: str
    spool: str
    keyring: str
    history_seconds: float = 0.05
    history_days: int = 400
    keep_drained_hours: float = 24.0
    quiet_days: int = 90
    draft_days: int = 7
    backlog_lines: int = 10_000
    receivers: tuple[Receiver, ...] = ()
    retention: Retention = Retention()
    snooze: SnoozeLimits = SnoozeLimits()


class Receiver(msgspec.Struct, frozen=True, kw_only=True):
    """Where unclaimed critical alerts of a tenant are announced, ``after_minutes`` after they appeared."""

    name: str
    tenant: str
    url: str
    secret: str = ""
    after_minutes: float = 15.0
