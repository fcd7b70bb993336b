"""Tables behind the screens for silences, batch jobs and the hand-over; the same metadata as all others."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from service.alerts.models import audit, metadata

Long = BigInteger().with_variant(Integer(), "sqlite")


def _key(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _number(name: str) -> Column[int]:
    return Column(name, Long, nullable=False, server_default="0")


def _instant(name: str) -> Column[int]:
    return Column(name, Long, nullable=False)


def _maybe(name: str) -> Column[int | None]:
    return Column(name, Long, nullable=True)


def _row_id() -> Column[int]:
    return Column("id", Long, primary_key=True, autoincrement=True)


# rule or patient may be "" (every one), never both; unit and patient_group narrow a rule; times counts what was not shown because of it
silence = Table(
    "silence",
    metadata,
    _row_id(),
    _key("tenant"),
    _text("rule"),
    _text("patient"),
    _number("covers_critical"),
    _key("state"),
    _text("reason"),
    _text("sealed_with"),
    Column("note", LargeBinary, nullable=True),
    _text("asked_by"),
    _instant("asked"),
    _instant("until"),
    _text("decided_by"),
    _maybe("decided"),
    _text("lifted_by"),
    _maybe("lifted"),
    _number("times"),
    _maybe("last_hidden"),
    _text("unit"),
    _text("patient_group"),
    Index("silence_by_end", "tenant", "state", "until"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

batch_job = Table(
    "batch_job",
    metadata,
    _key("tenant"),
    _key("id"),
    _key("origin"),
    _text("source"),
    _text("place"),
    _text("options"),
    _key("state"),
    _text("asked_by"),
    _instant("asked"),
    _maybe("started"),
    _maybe("finished"),
    _maybe("exit_code"),
    _text("says"),
    _number("attempts"),
    PrimaryKeyConstraint("tenant", "id"),
    Index("batch_job_by_age", "tenant", "asked", "id"),
    Index("batch_job_by_state", "state", "asked"),
    sqlite_strict=True,
)

handover_note = Table(
    "handover_note",
    metadata,
    _row_id(),
    _key("tenant"),
    _instant("shift"),
    _instant("at"),
    _text("actor"),
    _text("sealed_with"),
    Column("note", LargeBinary, nullable=False),
    Index("handover_note_by_shift", "tenant", "shift", "id"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

# The audit search asks who, and about whom; both are answered newest first
Index("audit_by_actor", audit.c.tenant, audit.c.actor, audit.c.seq)
Index("audit_by_patient", audit.c.tenant, audit.c.patient, audit.c.seq)
