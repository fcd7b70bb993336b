"""Who sits before the dashboard: sessions that the server holds, and can end.

A session is 256 random bits in a cookie; the store keeps their hash. It ends after a time without use, after a
longer time in any case, with sign-out, and with its account. The role is read anew for each request.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
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
_REMEMBER_USE: Final = timedelta(minutes=1)  # how exactly the last use is known
_LONGEST_MARK: Final = 200  # characters of what a browser or a provider calls itself


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: account, client, role, and the token that each form of this session carries."""

    tenant: str
    account: str
    role: Role
    form_token: str
    session: str = ""
    method: str = ""
    provider: str = ""

    @property
    def actor(self) -> str:
        """The name in events and the audit trail."""
        return f"user/{self.account}"

    def may(self, right: Right) -> bool:
        """Whether the role has this right."""
        return right in RIGHTS[self.role]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """How somebody was recognised: ``acr`` and ``amr`` are what an OpenID provider said of its own log-in."""

    method: str = "password"
    provider: str = ""
    outside: str = ""
    acr: str = ""
    amr: str = ""
    browser: str = ""


def open_session(
    database: Database, keyring: Keyring, *, tenant: str, name: str, now: datetime, proof: Proof | None = None,
    life: timedelta = ABSOLUTE,
) -> str:  # fmt: skip
    """A new session of an account whose owner has been recognised; the secret for the cookie, told once."""
    secret = secrets.token_urlsafe(32)
    marks = {
        mark: value[:_LONGEST_MARK]
        for mark, value in msgspec.structs.asdict(proof or Proof()).items()
    }
    row = {
        "secret_hash": hash_of(secret), "tenant": tenant, "account": name, "form_token": secrets.token_urlsafe(32),
        "created": micros(now), "seen": micros(now), "expires": micros(now + life), "id": secrets.token_hex(6),
        **marks,
    }  # fmt: skip
    database.write(partial(_open, keyring=keyring, row=row, now=now))
    return secret


def session_of(
    database: Database, secret: str, now: datetime, *, is_use: bool = True, idle: timedelta = IDLE
) -> SignedIn:
    """Who holds this secret now; ``is_use`` starts the time without use anew.

    Raises:
        NotTrusted: there is no such session any more (401).
    """
    table, account = identity_tables.session, models.account
    at, hashed = micros(now), hash_of(secret)
    with database.reading() as connection:
        row = connection.execute(
            select(table, account.c.role)
            .join(
                account, (account.c.tenant == table.c.tenant) & (account.c.name == table.c.account)
            )
            .where(table.c.secret_hash == hashed, account.c.disabled == 0)
        ).one_or_none()
    if row is None or row.expires <= at or row.seen + idle // timedelta(microseconds=1) <= at:
        raise NotTrusted("no session")
    if is_use and at - row.seen > _REMEMBER_USE // timedelta(microseconds=1):
        database.write(
            lambda held: held.execute(
                update(table).where(table.c.secret_hash == hashed).values(seen=at)
            )
        )
    return SignedIn(
        tenant=row.tenant, account=row.account, role=row.role, form_token=row.form_token, session=row.id,
        method=row.method, provider=row.provider,
    )  # fmt: skip


def close_session(database: Database, secret: str) -> None:
    """End a session; nothing happens when it has ended already."""
    table = identity_tables.session
    database.write(
        lambda connection: connection.execute(
            delete(table).where(table.c.secret_hash == hash_of(secret))
        )
    )


def sessions_of(
    database: Database, tenant: str, account: str, now: datetime, *, idle: timedelta = IDLE
) -> list[dict[str, Any]]:
    """The open sessions of an account, newest first; nothing that would let anybody in."""
    table, at = identity_tables.session, micros(now)
    with database.reading() as connection:
        rows = connection.execute(
            select(table)
            .where(table.c.tenant == tenant, table.c.account == account, table.c.expires > at)
            .where(table.c.seen > at - idle // timedelta(microseconds=1))
            .order_by(table.c.created.desc())
        ).all()
    shown = ("id", "created", "seen", "expires", "method", "provider", "acr", "amr", "browser")
    return [{name: row._mapping[name] for name in shown} for row in rows]


def end_sessions(
    database: Database, keyring: Keyring, *, tenant: str, account: str, actor: str, now: datetime,
    only: str = "", but: str = "",
) -> int:  # fmt: skip
    """End the sessions of an account and say how many: all, ``only`` the one of this id, or all ``but`` it.

    Raises:
        RequestError: there is no session of the id in ``only`` (404).
    """
    table = identity_tables.session
    where = [table.c.tenant == tenant, table.c.account == account]
    if only:
        where.append(table.c.id == only)
    if but:
        where.append(table.c.id != but)

    def end(connection: Connection) -> int:
        gone = connection.execute(delete(table).where(*where)).rowcount
        if only and not gone:
            raise RequestError("there is no such session.", status=404, code="not-found")
        note(connection, keyring, tenant, actor, "sessions-ended", account, now, after=str(gone))
        return gone

    return database.write(end)


def note(
    connection: Connection, keyring: Keyring, tenant: str, actor: str, action: str, account: str, now: datetime, *,
    outcome: str = "ok", after: str = "",
) -> None:  # fmt: skip
    """One line of the audit trail about an account, in the transaction that it tells of."""
    entry = AuditEntry(
        tenant=tenant, at=now, actor=actor, action=action, object=f"account/{account}", after=after,
        outcome=outcome,
    )  # fmt: skip
    audit.append(connection, keyring, entry)


def hash_of(secret: str) -> str:
    """What is kept of 256 random bits: one SHA-256 is enough, there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _open(
    connection: Connection, *, keyring: Keyring, row: dict[str, object], now: datetime
) -> None:
    table = identity_tables.session
    connection.execute(delete(table).where(table.c.expires <= micros(now)))
    connection.execute(table.insert().values(row))
    account = str(row["account"])
    note(
        connection, keyring, str(row["tenant"]), f"user/{account}", "sign-in", account, now, after=str(row["method"]),
    )  # fmt: skip
