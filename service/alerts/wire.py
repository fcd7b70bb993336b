"""What the JSON interface says: models for OpenAPI, and rows turned into them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from service.alerts.past_answers import instant

_LARGEST: Final = 2**63 - 1  # what a column for whole numbers holds


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("no database keeps a text with NUL")
    return value


Number = Annotated[int, Field(ge=1, le=_LARGEST)]
Text = Annotated[str, AfterValidator(_without_nul)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Alert(_Part):
    """One problem of one patient, in its newest form. ``patient`` is a key of ours, never the patient's id."""

    id: int
    patient: str
    kind: Literal["recommendation", "not-evaluated"]
    rule: str
    rule_version: str
    about: str
    indicator: Literal["critical", "warning", "info"]
    title: str
    summary: str
    mode: Literal["off", "shadow", "review", "live"]
    state: Literal["new", "acknowledged", "resolved", "overridden", "data-problem", "cleared"]
    course: str
    episode: int
    seen_count: int
    first_seen: datetime
    last_seen: datetime
    changed: datetime
    new_data: bool
    evidence_state: Literal["", "amended", "withdrawn", "not-repeated"]
    from_draft: bool
    assignee: str
    snoozed_until: datetime | None
    snooze_at_most: datetime | None = Field(
        description="The latest ``until`` that a snooze may name now; null where it may not be put off."
    )
    suppressed_by: str
    close_reason: str
    closed: datetime | None
    closed_by: str
    clinician_outcome: str
    evaluation: str
    version: int = Field(
        description="Send it back with an action: an older one is refused with 409."
    )


class AlertPage(_Part):
    """A page of the worklist; ``after`` asks for the next one and is empty at the end."""

    alerts: list[Alert]
    after: str


class Event(_Part):
    """Something that happened to an alert; it never changes."""

    id: int
    at: datetime
    actor: str
    action: str
    before: str
    after: str
    reason: str
    note: str
    evaluation: str
    alert_version: int


class ActionWanted(_Part):
    """What to do with an alert. ``reason`` is a code, ``until`` for snoozing, ``to`` for assigning."""

    action: Literal[
        "acknowledge", "claim", "release", "assign", "resolve", "override", "data-problem", "snooze", "wake",
        "comment", "reopen",
    ]  # fmt: skip
    version: int = Field(ge=0, le=_LARGEST)
    reason: Text = Field(default="", max_length=200)
    note: Text = Field(default="", max_length=4000)
    until: datetime | None = None
    to: Text = Field(default="", max_length=200)


class Conflict(_Part):
    """The alert as it stands now, because somebody else was quicker."""

    message: str
    newer: Alert


class RuleLine(_Part):
    """What one rule did in one mode over the days asked for."""

    rule: str
    mode: str
    evaluations: int
    fired: int
    shown: int
    accepted: int
    overridden: int
    opened: int
    acted_on: int
    dismissed: int
    failed: int
    per_thousand: float | None
    override_rate: float | None
    acted_rate: float | None
    yield_low: float | None
    yield_high: float | None
    silent: bool


class ModeWanted(_Part):
    """The mode that a rule should have for this client, and why."""

    mode: Literal["off", "shadow", "review", "live"]
    reason: Text = Field(min_length=3, max_length=1000)


class Decision(_Part):
    """A second person's word on a change that somebody else asked for."""

    approve: bool


class ModeChange(_Part):
    """A change of mode: ``asked`` (a second person is needed), ``made`` or ``refused``."""

    id: int
    rule: str
    before: str
    after: str
    state: Literal["asked", "made", "refused"]
    reason: str
    asked_by: str
    decided_by: str


class PacksReloaded(_Part):
    """What came of reading the packs again: the digest in force now, and why new ones were refused."""

    accepted: bool
    knowledge: str
    problems: list[str]


class RunLine(_Part):
    """A batch run."""

    id: str
    source: str
    state: str
    started: datetime
    finished: datetime | None
    knowledge: str
    counts: dict[str, Any]


def alert_of(row: Any, snooze_at_most: datetime | None) -> Alert:
    """An alert from its row, and until when it may be put off."""
    values = {name: getattr(row, name) for name in Alert.model_fields if name != "snooze_at_most"}
    values["snooze_at_most"] = snooze_at_most
    for name in ("first_seen", "last_seen", "changed", "snoozed_until", "closed"):
        values[name] = instant(values[name]) if values[name] is not None else None
    for name in ("new_data", "from_draft"):
        values[name] = bool(values[name])
    return Alert(**values)


def event_of(row: dict[str, Any]) -> Event:
    """An event from its row."""
    return Event(
        **{name: row[name] for name in Event.model_fields if name != "at"}, at=instant(row["at"])
    )


def change_of(change: Any) -> ModeChange:
    """A change of mode from its value."""
    return ModeChange(**{name: getattr(change, name) for name in ModeChange.model_fields})


def run_of(row: Any) -> RunLine:
    """A run from its row."""
    return RunLine(
        id=row.id,
        source=row.source,
        state=row.state,
        started=instant(row.started),
        finished=instant(row.finished) if row.finished is not None else None,
        knowledge=row.knowledge,
        counts=msgspec.json.decode(row.counts or "{}"),
    )
