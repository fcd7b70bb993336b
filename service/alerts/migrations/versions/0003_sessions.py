"""Sessions of people who signed in to the dashboard; the cookie's secret is kept as its hash only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Long = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "session",
        sa.Column("secret_hash", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("form_token", sa.Text, nullable=False),
        sa.Column("created", Long, nullable=False),
        sa.Column("seen", Long, nullable=False),
        sa.Column("expires", Long, nullable=False),
        sa.PrimaryKeyConstraint("secret_hash"),
        sa.ForeignKeyConstraint(
            ["tenant", "account"], ["account.tenant", "account.name"], name="session_of_account"
        ),
        sqlite_strict=True,
    )
    op.create_index("session_by_account", "session", ["tenant", "account"])


def downgrade() -> None:
    """Remove it."""
    op.drop_index("session_by_account", table_name="session")
    op.drop_table("session")
