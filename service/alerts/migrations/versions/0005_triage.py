"""What the worklist orders by and remembers: a priority score, what wakes a snoozed alert, undo, and kept views."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Long = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BEFORE = {
    "alert_worklist": ["tenant", "is_open", "severity", "changed", "id"],
    "alert_by_rule": ["tenant", "rule", "is_open", "severity", "changed"],
    "alert_by_assignee": ["tenant", "assignee", "is_open", "severity"],
}
_AFTER = {
    "alert_worklist": ["tenant", "is_open", "priority", "changed", "id"],
    "alert_by_rule": ["tenant", "rule", "is_open", "priority", "changed"],
    "alert_by_assignee": ["tenant", "assignee", "is_open", "priority", "changed"],
}


def upgrade() -> None:
    """Add columns and tables; alerts of before get the part of the score that their severity gives."""
    op.add_column("alert", sa.Column("priority", Long, nullable=False, server_default="0"))
    for name in ("priority_parts", "wakes_on"):
        op.add_column("alert", sa.Column(name, sa.Text, nullable=False, server_default=""))
    op.execute(
        "UPDATE alert SET priority = CASE severity WHEN 2 THEN 70 WHEN 1 THEN 40 ELSE 10 END"
    )
    _exchange(_AFTER)
    op.create_table(
        "taken_together",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("tenant", "id", "actor", "action")),
        sa.Column("at", Long, nullable=False),
        sa.Column("entries", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
        sqlite_strict=True,
    )
    op.create_index("taken_together_by_age", "taken_together", ["at"])
    op.create_table(
        "saved_view",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("tenant", "account", "name")),
        sa.Column("filters", sa.Text, nullable=False),
        sa.Column("created", Long, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "account", "name"),
        sa.ForeignKeyConstraint(
            ["tenant", "account"], ["account.tenant", "account.name"], name="saved_view_of_account"
        ),
        sqlite_strict=True,
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("saved_view")
    op.drop_index("taken_together_by_age", table_name="taken_together")
    op.drop_table("taken_together")
    _exchange(_BEFORE)
    for name in ("wakes_on", "priority_parts", "priority"):
        op.drop_column("alert", name)


def _exchange(wanted: dict[str, list[str]]) -> None:
    for name, columns in wanted.items():
        op.drop_index(name, table_name="alert")
        op.create_index(name, "alert", columns)
