"""Tables of who signs in: sessions, second factors, invitations, half-finished sign-ins, counted attempts.

Secrets are kept as their hash, or sealed with a key that is not in the database. The tables stand beside those of the
record, on the same metadata; ``account`` itself is in ``models``.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from service.alerts.models import Long, metadata


def _keys(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False) for name in names]


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False, server_default="") for name in names]


def _instants(*names: str) -> list[Column[int]]:
    return [Column(name, Long, nullable=False) for name in names]


def _of_account(name: str) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["tenant", "account"], ["account.tenant", "account.name"], name=f"{name}_of_account"
    )


# ``provider``, ``outside`` (its session there), ``acr`` and ``amr``: what an OpenID provider said about the sign-in
session = Table(
    "session", metadata,
    *_keys("secret_hash", "tenant", "account", "form_token"), *_instants("created", "seen", "expires"),
    *_texts("id", "method", "provider", "outside", "acr", "amr", "browser"),
    PrimaryKeyConstraint("secret_hash"), _of_account("session"),
    Index("session_by_account", "tenant", "account"), Index("session_by_outside", "provider", "outside"),
    sqlite_strict=True,
)  # fmt: skip

# ``confirmed`` is empty until a code from it was shown; ``last_step`` is the newest 30 s step that let somebody in
second_factor = Table(
    "second_factor", metadata,
    *_keys("tenant", "account"), *_texts("sealed_with"), Column("secret", LargeBinary, nullable=False),
    *_instants("created"), Column("confirmed", Long, nullable=True),
    Column("last_step", Long, nullable=False, server_default="0"),
    PrimaryKeyConstraint("tenant", "account"), _of_account("second_factor"),
    sqlite_strict=True,
)  # fmt: skip

recovery_code = Table(
    "recovery_code", metadata,
    *_keys("tenant", "account", "code_hash"), *_instants("created"),
    PrimaryKeyConstraint("tenant", "account", "code_hash"), _of_account("recovery_code"),
    sqlite_strict=True,
)  # fmt: skip

# An empty ``account`` is the first set-up of the installation, whose form names the account
invitation = Table(
    "invitation", metadata,
    *_keys("token_hash"), *_texts("tenant", "account"), *_instants("created", "expires"),
    PrimaryKeyConstraint("token_hash"), Index("invitation_by_account", "tenant", "account"),
    sqlite_strict=True,
)  # fmt: skip

# A password that was right and waits for its code, or a visit to an OpenID provider that has not come back
sign_in_step = Table(
    "sign_in_step", metadata,
    *_keys("secret_hash", "kind"), *_texts("tenant", "account", "sealed_with"),
    Column("body", LargeBinary, nullable=True), *_instants("created", "expires"),
    PrimaryKeyConstraint("secret_hash"), Index("sign_in_step_by_age", "expires"),
    sqlite_strict=True,
)  # fmt: skip

attempt = Table(
    "attempt", metadata,
    *_keys("key"), *_instants("count", "expires"),
    PrimaryKeyConstraint("key"), Index("attempt_by_age", "expires"),
    sqlite_strict=True,
)  # fmt: skip
