"""Second factors, invitations, half-finished sign-ins and counted attempts; what is known of a session's sign-in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

Long = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OF_SESSION = ("id", "method", "provider", "outside", "acr", "amr", "browser")
_OF_ACCOUNT = ("provider", "subject")
_TABLES = ("second_factor", "recovery_code", "invitation", "sign_in_step", "attempt")


def upgrade() -> None:
    """Make the tables and columns."""
    op.execute("DELETE FROM session")  # a session of before has no number to end it by
    for table, names in (("session", _OF_SESSION), ("account", _OF_ACCOUNT)):
        for name in names:
            op.add_column(table, _text(name))
    op.create_index("session_by_outside", "session", ["provider", "outside"])
    op.create_index("account_by_subject", "account", ["provider", "subject"])
    op.create_table(
        "second_factor", *_keys("tenant", "account"), _text("sealed_with"),
        sa.Column("secret", sa.LargeBinary, nullable=False), *_instants("created"),
        sa.Column("confirmed", Long, nullable=True),
        sa.Column("last_step", Long, nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("tenant", "account"), _of_account("second_factor"), sqlite_strict=True,
    )  # fmt: skip
    op.create_table(
        "recovery_code", *_keys("tenant", "account", "code_hash"), *_instants("created"),
        sa.PrimaryKeyConstraint("tenant", "account", "code_hash"), _of_account("recovery_code"), sqlite_strict=True,
    )  # fmt: skip
    op.create_table(
        "invitation", *_keys("token_hash"), _text("tenant"), _text("account"), *_instants("created", "expires"),
        sa.PrimaryKeyConstraint("token_hash"), sqlite_strict=True,
    )  # fmt: skip
    op.create_index("invitation_by_account", "invitation", ["tenant", "account"])
    op.create_table(
        "sign_in_step", *_keys("secret_hash", "kind"), _text("tenant"), _text("account"), _text("sealed_with"),
        sa.Column("body", sa.LargeBinary, nullable=True), *_instants("created", "expires"),
        sa.PrimaryKeyConstraint("secret_hash"), sqlite_strict=True,
    )  # fmt: skip
    op.create_index("sign_in_step_by_age", "sign_in_step", ["expires"])
    op.create_table(
        "attempt", *_keys("key"), *_instants("count", "expires"),
        sa.PrimaryKeyConstraint("key"), sqlite_strict=True,
    )  # fmt: skip
    op.create_index("attempt_by_age", "attempt", ["expires"])


def downgrade() -> None:
    """Remove them."""
    for table in reversed(_TABLES):
        op.drop_table(table)
    op.drop_index("account_by_subject", table_name="account")
    op.drop_index("session_by_outside", table_name="session")
    for table, names in (("account", _OF_ACCOUNT), ("session", _OF_SESSION)):
        for name in names:
            op.drop_column(table, name)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default="")


def _keys(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _instants(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, Long, nullable=False) for name in names]


def _of_account(name: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["tenant", "account"], ["account.tenant", "account.name"], name=f"{name}_of_account"
    )
