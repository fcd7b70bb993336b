"""One-time tokens that let somebody choose a password: the first administrator's, and those of invited people.

A token has 256 random bits and is typed into a form, never part of an address; the store keeps its hash.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import Connection, delete, func, select

from rules.errors import NotTrusted, RequestError
from service.alerts import identity_tables, models
from service.alerts.past_answers import micros
from service.identity import hash_of, note
from service.identity_accounts import refuse_bad_name
from service.identity_passwords import hash_password, store_password

if TYPE_CHECKING:
    from service.alerts.database import Database
    from service.alerts.keyring import Keyring

SET_UP_LIFE: Final = timedelta(minutes=15)
INVITED_LIFE: Final = timedelta(hours=24)


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """Who a token is for; an empty account is the first administrator, whose form says the name."""

    tenant: str
    account: str


def open_set_up(database: Database, now: datetime) -> str | None:
    """A token for making the first administrator; None when there is an account already.

    Each call makes the token of an earlier one worthless.
    """
    token = secrets.token_urlsafe(32)
    table = identity_tables.invitation

    def write(connection: Connection) -> bool:
        connection.execute(delete(table).where(table.c.account == ""))
        if _accounts_exist(connection):
            return False
        _insert(connection, token, "", "", now, SET_UP_LIFE)
        return True

    return token if database.write(write) else None


def invite(
    database: Database, keyring: Keyring, *, tenant: str, account: str, actor: str, now: datetime
) -> str:
    """A token with which somebody chooses the (new) password of an account; an earlier one is worthless.

    Raises:
        RequestError: there is no such local account in force (404).
    """
    token = secrets.token_urlsafe(32)
    table, account_table = identity_tables.invitation, models.account

    def write(connection: Connection) -> None:
        there = connection.scalar(
            select(account_table.c.name).where(
                account_table.c.tenant == tenant, account_table.c.name == account,
                account_table.c.disabled == 0, account_table.c.provider == "",
            )
        )  # fmt: skip
        if there is None:
            raise RequestError("there is no such local account.", status=404, code="not-found")
        connection.execute(
            delete(table).where(table.c.tenant == tenant, table.c.account == account)
        )
        _insert(connection, token, tenant, account, now, INVITED_LIFE)
        note(connection, keyring, tenant, actor, "account-invited", account, now)

    database.write(write)
    return token


def accept(
    database: Database, keyring: Keyring, *, token: str, tenant: str, name: str, password: str, now: datetime,
    words: Iterable[str] = (),
) -> Invitation:  # fmt: skip
    """Use a token up and give its account the password: the account that can sign in now.

    ``tenant`` and ``name`` are those of the first administrator, whose account is made by this; an invitation
    has its own. ``words`` are those of the site, which make a poor password.

    Raises:
        NotTrusted: the token was never given, was used, or is too old (401).
        RequestError: the name or the password will not do; the token can be used again (422).
    """
    with database.reading() as connection:
        known = _find(connection, token, now)
    wanted = known if known.account else Invitation(tenant=tenant, account=name)
    if not known.account:
        if not tenant:
            raise RequestError("choose a client.", status=422)
        refuse_bad_name(name)
    hashed = hash_password(password, (wanted.account, wanted.tenant, *words))

    def write(connection: Connection) -> None:
        _find(connection, token, now)  # somebody may have been quicker
        _use(connection, token)
        if not known.account:
            if _accounts_exist(connection):
                raise NotTrusted("set-up is over: there is an account", status=401)
            connection.execute(
                models.account.insert().values(
                    tenant=wanted.tenant, name=wanted.account, role="admin", created=micros(now)
                )
            )
            note(
                connection, keyring, wanted.tenant, "set-up", "account-made", wanted.account, now, after="admin"
            )  # fmt: skip
        store_password(connection, wanted.tenant, wanted.account, hashed)
        note(
            connection, keyring, wanted.tenant, f"user/{wanted.account}", "password-set", wanted.account, now
        )  # fmt: skip

    database.write(write)
    return wanted


def set_up_is_open(database: Database, now: datetime) -> bool:
    """Whether the first administrator can be made now."""
    table = identity_tables.invitation
    with database.reading() as connection:
        found = connection.scalar(
            select(func.count())
            .select_from(table)
            .where(table.c.account == "", table.c.expires > micros(now))
        )
    return bool(found)


def write_token(file: Path, token: str) -> None:
    """Put a token where only the owner of the service can read it; what was there before is replaced."""
    file.unlink(missing_ok=True)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as opened:
        opened.write(token + "\n")


def _find(connection: Connection, token: str, now: datetime) -> Invitation:
    # Found by the hash of 256 random bits: how long the search takes tells nothing about a token
    table = identity_tables.invitation
    row = connection.execute(
        select(table).where(
            table.c.token_hash == hash_of(token.strip()), table.c.expires > micros(now)
        )
    ).one_or_none()
    if row is None:
        raise NotTrusted("a set-up token that is unknown, used or too old", status=401)
    return Invitation(tenant=row.tenant, account=row.account)


def _use(connection: Connection, token: str) -> None:
    table = identity_tables.invitation
    connection.execute(delete(table).where(table.c.token_hash == hash_of(token.strip())))


def _insert(
    connection: Connection, token: str, tenant: str, account: str, now: datetime, life: timedelta
) -> None:
    connection.execute(
        identity_tables.invitation.insert().values(
            token_hash=hash_of(token), tenant=tenant, account=account, created=micros(now), expires=micros(now + life),
        )
    )  # fmt: skip


def _accounts_exist(connection: Connection) -> bool:
    return bool(connection.scalar(select(func.count()).select_from(models.account)))
