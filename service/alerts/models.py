"""The tables of the store. Instants are microseconds since 1970 UTC; the tenant stands in every key.

SQLite tables are STRICT, hence only TEXT, INTEGER, REAL and BLOB. Migrations own the schema: this file must
describe what they made (a test compares the two on both databases).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()
_GLANCE = ("severity", "indicator", "kind", "mode", "suppressed_by", "snoozed_until", "patient")
Long = BigInteger().with_variant(Integer(), "sqlite")


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False, server_default="") for name in names]


def _number(name: str, default: int = 0) -> Column[int]:
    return Column(name, Long, nullable=False, server_default=str(default))


def _numbers(*names: str) -> list[Column[int]]:
    return [_number(name) for name in names]


def _instants(*names: str) -> list[Column[int]]:
    return [Column(name, Long, nullable=False) for name in names]


def _keys(*names: str) -> list[Column[str]]:
    return [_key(name) for name in names]


def _maybe_instant(name: str) -> Column[int | None]:
    return Column(name, Long, nullable=True)


def _key(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _table(name: str, *parts: Any) -> Table:
    return Table(name, metadata, *parts, sqlite_strict=True, sqlite_autoincrement=_counted(parts))


def _counted(parts: tuple[Any, ...]) -> bool:
    """Row numbers of SQLite are never given twice, also after retention removed the last row."""
    return any(isinstance(part, Column) and part.autoincrement is True for part in parts)


def _row_id() -> Column[int]:
    return Column("id", Long, primary_key=True, autoincrement=True)


store_mark = _table("store_mark", _key("name"), _key("value"), PrimaryKeyConstraint("name"))

patient = _table(
    "patient",
    *_keys("tenant", "patient"),
    *_texts("sealed_with"),
    Column("reference", LargeBinary, nullable=False),
    *_instants("first_seen", "last_seen"),
    *_texts("unit", "groups"),  # as the newest review found them
    PrimaryKeyConstraint("tenant", "patient"),
)

evaluation = _table(
    "evaluation",
    *_keys("tenant", "id", "patient"),
    *_texts("hook", "service", "hook_instance", "user_ref", "request_id", "origin", "run", "mode"),
    *_instants("received", "as_of"),
    *_texts("outcome", "fired", "knowledge", "evidence"),
    *_numbers("cards", "gaps", "failures", "elapsed_us"),
    PrimaryKeyConstraint("tenant", "id"),
    Index("evaluation_by_patient", "tenant", "patient", "received"),
    Index("evaluation_by_day", "tenant", "received"),
    Index("evaluation_by_run", "tenant", "run"),
)

evidence = _table(
    "evidence",
    *_keys("tenant", "digest"),
    *_texts("codec", "sealed_with"),
    Column("body", LargeBinary, nullable=False),
    *_instants("stored"),
    PrimaryKeyConstraint("tenant", "digest"),
    Index("evidence_by_age", "stored"),
    Index("evidence_by_key", "sealed_with"),
)

alert = _table(
    "alert",
    _row_id(),
    *_keys("tenant", "key"),
    _number("episode", 1),
    _key("patient"),
    *_texts("kind"),
    _key("rule"),
    *_texts("rule_version", "about", "topic_code", "indicator"),
    *_numbers("severity", "priority"),
    *_texts("title", "summary", "mode", "priority_parts", "wakes_on"),
    _key("state"),
    *_texts("course", "close_reason", "fingerprint", "evidence_hash"),
    *_texts("evidence_state", "evaluation", "needs", "concerns", "sources"),
    _number("is_open", 1),
    *_numbers("from_draft", "new_data"),
    _number("seen_count", 1),
    *_instants("first_seen", "last_seen", "changed"),
    *_texts("assignee"),
    _maybe_instant("claimed"),
    _maybe_instant("snoozed_until"),
    *_texts("suppressed_by"),
    _maybe_instant("closed"),
    *_texts("closed_by", "clinician_outcome"),
    _number("version", 1),
    UniqueConstraint("tenant", "key", "episode", name="alert_once_per_episode"),
    UniqueConstraint("tenant", "id", name="alert_of_tenant"),
    Index("alert_worklist", "tenant", "is_open", "priority", "changed", "id", *_GLANCE),
    Index("alert_by_patient", "tenant", "patient"),
    Index("alert_by_rule", "tenant", "rule", "is_open", "priority", "changed"),
    Index("alert_by_assignee", "tenant", "assignee", "is_open", "priority", "changed"),
)

occurrence = _table(
    "occurrence",
    _row_id(),
    _key("tenant"),
    Column("alert", Long, nullable=False),
    _key("origin"),
    *_texts("evidence_hash", "evaluation", "mode", "indicator"),
    *_instants("at"),
    _number("times", 1),
    UniqueConstraint("tenant", "alert", "origin", "evidence_hash", name="occurrence_once"),
    ForeignKeyConstraint(
        ["tenant", "alert"], ["alert.tenant", "alert.id"], name="occurrence_of_alert"
    ),
)

event = _table(
    "event",
    _row_id(),
    _key("tenant"),
    Column("alert", Long, nullable=False),
    *_instants("at"),
    *_texts("actor"),
    _key("action"),
    *_texts("before", "after", "reason", "sealed_with"),
    Column("note", LargeBinary, nullable=True),
    *_texts("evaluation"),
    _number("alert_version"),
    ForeignKeyConstraint(["tenant", "alert"], ["alert.tenant", "alert.id"], name="event_of_alert"),
    Index("event_by_alert", "tenant", "alert", "id"),
    Index("event_by_age", "at"),
)

issued_card = _table(
    "issued_card",
    *_keys("tenant", "uuid", "evaluation", "patient"),
    *_texts("service", "hook_instance", "user_ref"),
    *_texts("kind", "indicator", "subjects", "sealed_with"),
    Column("body", LargeBinary, nullable=False),
    *_instants("issued"),
    PrimaryKeyConstraint("tenant", "uuid", "evaluation"),
    Index("issued_card_by_age", "issued"),
)

feedback = _table(
    "feedback",
    *_keys("tenant", "id"),
    *_texts("service", "card"),
    _number("matched"),
    *_texts("evaluation", "outcome", "reason_code", "reason_system", "accepted", "sealed_with"),
    Column("comment", LargeBinary, nullable=True),
    *_instants("at", "received"),
    PrimaryKeyConstraint("tenant", "id"),
    Index("feedback_by_card", "tenant", "card"),
    Index("feedback_by_age", "received"),
)

answer = _table(
    "answer",
    *_keys("tenant", "patient", "rule"),
    *_texts("about", "fingerprint"),
    _key("outcome"),
    *_texts("user_ref", "reason"),
    *_instants("at"),
    PrimaryKeyConstraint(
        "tenant", "patient", "rule", "about", "fingerprint", "outcome", "user_ref", "reason"
    ),
    Index("answer_by_age", "tenant", "patient", "at"),
)

run = _table(
    "run",
    *_keys("tenant", "id"),
    *_texts("source", "digest", "state", "knowledge", "counts"),
    *_instants("started"),
    _maybe_instant("finished"),
    PrimaryKeyConstraint("tenant", "id"),
    Index("run_by_age", "tenant", "started"),
)

rule_daily = _table(
    "rule_daily",
    _key("tenant"),
    _number("day"),
    *_keys("rule", "mode"),
    *_numbers("evaluations", "fired", "shown", "accepted"),
    *_numbers("overridden", "opened", "acted_on", "dismissed", "failed"),
    PrimaryKeyConstraint("tenant", "day", "rule", "mode"),
)

rule_mode = _table(
    "rule_mode",
    *_keys("tenant", "rule", "mode"),
    *_instants("since"),
    PrimaryKeyConstraint("tenant", "rule"),
)

mode_change = _table(
    "mode_change",
    _row_id(),
    *_keys("tenant", "rule"),
    *_texts("before"),
    *_keys("after", "state"),
    *_texts("reason", "asked_by"),
    *_instants("asked"),
    *_texts("decided_by"),
    _maybe_instant("decided"),
    Index("mode_change_by_rule", "tenant", "rule", "id"),
)

pack_archive = _table(
    "pack_archive",
    *_keys("digest", "pack"),
    *_texts("version"),
    Column("body", LargeBinary, nullable=False),
    *_instants("archived"),
    PrimaryKeyConstraint("digest"),
    Index("pack_archive_by_name", "pack", "version"),
)

outbox = _table(
    "outbox",
    _row_id(),
    _key("tenant"),
    Column("alert", Long, nullable=False),
    *_keys("receiver", "state"),
    *_texts("delivery"),
    _number("attempts"),
    *_instants("due"),
    _maybe_instant("leased_until"),
    _maybe_instant("sent"),
    *_texts("last_error"),
    UniqueConstraint("tenant", "alert", "receiver", name="outbox_once"),
    ForeignKeyConstraint(["tenant", "alert"], ["alert.tenant", "alert.id"], name="outbox_of_alert"),
    Index("outbox_by_due", "state", "due"),
)

account = _table(
    "account",
    *_keys("tenant", "name", "role"),
    *_texts("password_hash"),
    _number("disabled"),
    *_instants("created"),
    *_texts("provider", "subject"),  # of an OpenID provider that knows this person
    PrimaryKeyConstraint("tenant", "name"),
    Index("account_by_subject", "provider", "subject"),
)

token = _table(
    "token", *_keys("tenant", "id", "account", "secret_hash"), *_instants("created", "expires"),
    _maybe_instant("revoked"),
    PrimaryKeyConstraint("tenant", "id"), UniqueConstraint("secret_hash", name="token_secret"),
    ForeignKeyConstraint(["tenant", "account"], ["account.tenant", "account.name"], name="token_of_account"),
)  # fmt: skip

audit = _table(
    "audit",
    _key("tenant"),
    Column("seq", Long, nullable=False),
    *_instants("at"),
    *_texts("actor"),
    _key("action"),
    *_texts("object", "patient", "before", "after", "reason", "request_id", "outcome", "line"),
    _key("key_id"),
    *_texts("prev"),
    _key("mac"),
    PrimaryKeyConstraint("tenant", "seq"),
    Index("audit_by_age", "tenant", "at"),
    Index("audit_by_object", "tenant", "object"),
    Index("audit_by_line", "tenant", "line"),
)

audit_head = _table(
    "audit_head",
    _key("tenant"),
    _number("first_seq", 1),
    *_texts("first_prev"),
    _number("seq"),
    *_texts("mac", "key_id", "seal"),
    PrimaryKeyConstraint("tenant"),
)

spool_position = _table(
    "spool_position",
    _key("segment"),
    _number("position"),
    *_instants("updated"),
    PrimaryKeyConstraint("segment"),
)

spool_reject = _table(
    "spool_reject",
    _row_id(),
    _key("segment"),
    _number("position"),
    *_texts("problem"),
    Column("body", LargeBinary, nullable=False),
    *_instants("at"),
)

retention_permit = _table(
    "retention_permit", _key("name"), *_instants("before"), PrimaryKeyConstraint("name")
)

# Written once: triggers refuse to change them, and to remove them except by retention.
APPEND_ONLY = {"event": "at", "feedback": "received", "audit": "at"}
