"""Silences, batch jobs that the dashboard starts, notes of the hand-over; and two ways into the audit trail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Long = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, Long, nullable=False, server_default="0")


def _instant(name: str) -> sa.Column[int]:
    return sa.Column(name, Long, nullable=False)


def _maybe(name: str) -> sa.Column[int | None]:
    return sa.Column(name, Long, nullable=True)


def upgrade() -> None:
    """Make the tables and indexes."""
    op.create_table(
        "silence",
        sa.Column("id", Long, primary_key=True, autoincrement=True),
        _key("tenant"),
        _text("rule"),
        _text("patient"),
        _number("covers_critical"),
        _key("state"),
        _text("reason"),
        _text("sealed_with"),
        sa.Column("note", sa.LargeBinary, nullable=True),
        _text("asked_by"),
        _instant("asked"),
        _instant("until"),
        _text("decided_by"),
        _maybe("decided"),
        _text("lifted_by"),
        _maybe("lifted"),
        _number("times"),
        _maybe("last_hidden"),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("silence_by_end", "silence", ["tenant", "state", "until"])
    op.create_table(
        "batch_job",
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
        sa.PrimaryKeyConstraint("tenant", "id"),
        sqlite_strict=True,
    )
    op.create_index("batch_job_by_age", "batch_job", ["tenant", "asked", "id"])
    op.create_index("batch_job_by_state", "batch_job", ["state", "asked"])
    op.create_table(
        "handover_note",
        sa.Column("id", Long, primary_key=True, autoincrement=True),
        _key("tenant"),
        _instant("shift"),
        _instant("at"),
        _text("actor"),
        _text("sealed_with"),
        sa.Column("note", sa.LargeBinary, nullable=False),
        sqlite_strict=True,
        sqlite_autoincrement=True,
    )
    op.create_index("handover_note_by_shift", "handover_note", ["tenant", "shift", "id"])
    op.create_index("audit_by_actor", "audit", ["tenant", "actor", "seq"])
    op.create_index("audit_by_patient", "audit", ["tenant", "patient", "seq"])


def downgrade() -> None:
    """Remove them."""
    op.drop_index("audit_by_patient", table_name="audit")
    op.drop_index("audit_by_actor", table_name="audit")
    for name, table in (
        ("handover_note_by_shift", "handover_note"),
        ("batch_job_by_state", "batch_job"),
        ("batch_job_by_age", "batch_job"),
        ("silence_by_end", "silence"),
    ):
        op.drop_index(name, table_name=table)
    for table in ("handover_note", "batch_job", "silence"):
        op.drop_table(table)
