"""Who sits before the dashboard: passwords of local accounts, and sessions that the server can end.

A session is 256 random bits in a cookie; the store keeps their hash. It ends after a time without use, after a
longer time in any case, with sign-out, and with its account. The role is read anew for each request.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY
from sqlalchemy import Connection, delete, select, update

from rules.errors import NotTrusted, RequestError
from service import audit
from service.alerts import identity_tables, models
from service.alerts.access import RIGHTS, Right, Role
from service.alerts.past_answers import micros
from service.alerts.values import AuditEntry

if TYPE_CHECKING:
    from service.alerts.database import Database
    from service.alerts.keyring import Keyring

IDLE: Final = timedelta(minutes=15)
ABSOLUTE: Final = timedelta(hours=12)
SHORTEST_PASSWORD: Final = (
    15  # characters; length decides, composition rules do not (NIST SP 800-63B)
)
LONGEST_PASSWORD: Final = 256
_REMEMBER_USE: Final = timedelta(minutes=1)  # how exactly the last use is known
_MOST_AT_ONCE: Final = 4  # each verification takes 64 MiB

_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
_verifying = threading.BoundedSemaphore(_MOST_AT_ONCE)


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: account, client, role, and the token that each form of this session carries."""

    tenant: str
    account: str
    role: Role
    form_token: str

    @property
    def actor(self) -> str:
        """The name in events and the audit trail."""
        return f"user/{self.account}"

    def may(self, right: Right) -> bool:
        """Whether the role has this right."""
        return right in RIGHTS[self.role]


def set_password(
    database: Database, keyring: Keyring, *, tenant: str, name: str, password: str, actor: str, now: datetime,
) -> None:  # fmt: skip
    """Give an account a (new) password; its sessions end.

    Raises:
        RequestError: the password is too short or too long, or there is no such account.
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise RequestError(
            f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.", status=422
        )
    if password.strip().lower() in {name.lower(), tenant.lower()} or len(set(password)) < 5:  # noqa: PLR2004
        raise RequestError("this password is too easy to guess.", status=422)
    hashed = _hasher.hash(password)
    database.write(
        partial(
            _store_password, keyring=keyring, tenant=tenant, name=name, hashed=hashed, actor=actor, now=now,
        )
    )  # fmt: skip


def check_password(database: Database, *, tenant: str, name: str, password: str) -> bool:
    """Whether this is the account's password; takes as long when there is no such account."""
    table = models.account
    with database.reading() as connection:
        held = connection.scalar(
            select(table.c.password_hash).where(
                table.c.tenant == tenant, table.c.name == name, table.c.disabled == 0
            )
        )
    with _verifying:
        try:
            _hasher.verify(held or _no_account(), password[: LONGEST_PASSWORD + 1])
        except (VerificationError, InvalidHashError):
            return False
    return bool(held)


def open_session(
    database: Database, keyring: Keyring, *, tenant: str, name: str, now: datetime
) -> str:
    """A new session of an account whose owner has been recognised; the secret for the cookie, told once."""
    secret = secrets.token_urlsafe(32)
    row = {
        "secret_hash": _hash(secret), "tenant": tenant, "account": name, "form_token": secrets.token_urlsafe(32),
        "created": micros(now), "seen": micros(now), "expires": micros(now + ABSOLUTE),
    }  # fmt: skip
    database.write(partial(_open, keyring=keyring, row=row, now=now))
    return secret


def session_of(database: Database, secret: str, now: datetime, *, is_use: bool = True) -> SignedIn:
    """Who holds this secret now; ``is_use`` starts the time without use anew.

    Raises:
        NotTrusted: there is no such session any more (401).
    """
    table, account = identity_tables.session, models.account
    at, hashed = micros(now), _hash(secret)
    with database.reading() as connection:
        row = connection.execute(
            select(table, account.c.role)
            .join(
                account, (account.c.tenant == table.c.tenant) & (account.c.name == table.c.account)
            )
            .where(table.c.secret_hash == hashed, account.c.disabled == 0)
        ).one_or_none()
    if row is None or row.expires <= at or row.seen + IDLE // timedelta(microseconds=1) <= at:
        raise NotTrusted("no session")
    if is_use and at - row.seen > _REMEMBER_USE // timedelta(microseconds=1):
        database.write(
            lambda held: held.execute(
                update(table).where(table.c.secret_hash == hashed).values(seen=at)
            )
        )
    return SignedIn(
        tenant=row.tenant, account=row.account, role=row.role, form_token=row.form_token
    )


def close_session(database: Database, secret: str) -> None:
    """End a session; nothing happens when it has ended already."""
    table = identity_tables.session
    database.write(
        lambda connection: connection.execute(
            delete(table).where(table.c.secret_hash == _hash(secret))
        )
    )


def _open(
    connection: Connection, *, keyring: Keyring, row: dict[str, object], now: datetime
) -> None:
    table = identity_tables.session
    connection.execute(delete(table).where(table.c.expires <= micros(now)))
    connection.execute(table.insert().values(row))
    entry = AuditEntry(
        tenant=str(row["tenant"]), at=now, actor=f"user/{row['account']}", action="sign-in"
    )
    audit.append(connection, keyring, entry)


def _store_password(
    connection: Connection, *, keyring: Keyring, tenant: str, name: str, hashed: str, actor: str, now: datetime,
) -> None:  # fmt: skip
    table = models.account
    changed = connection.execute(
        update(table)
        .where(table.c.tenant == tenant, table.c.name == name)
        .values(password_hash=hashed)
    )
    if changed.rowcount == 0:
        raise RequestError("there is no such account.", status=404, code="not-found")
    gone = identity_tables.session
    connection.execute(delete(gone).where(gone.c.tenant == tenant, gone.c.account == name))
    entry = AuditEntry(
        tenant=tenant, at=now, actor=actor, action="password-set", object=f"account/{name}"
    )
    audit.append(connection, keyring, entry)


_unknown: list[str] = []


def _no_account() -> str:
    """A hash that nobody knows the password of, made on first use."""
    if not _unknown:
        _unknown.append(_hasher.hash(secrets.token_urlsafe(16)))
    return _unknown[0]


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
