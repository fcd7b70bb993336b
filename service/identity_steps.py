"""Half of a sign-in: a right password that waits for its code, or a visit to an OpenID provider.

What was said so far stays here, sealed; the browser holds 256 random bits that find it once.
"""

from __future__ import annotations

import hmac
import os
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from sqlalchemy import Connection, delete, select

from rules.errors import NotTrusted
from service.alerts import identity_tables
from service.alerts.past_answers import micros
from service.identity import hash_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from service.alerts.database import Database
    from service.alerts.keyring import Keyring

LIFE: Final = timedelta(minutes=10)
_NONCE_BYTES: Final = 12  # NIST SP 800-38D 8.2: 96 bits
Kind = Literal["code", "enrol", "provider"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What is known already; ``body`` belongs to whoever made the step."""

    kind: Kind
    tenant: str = ""
    account: str = ""
    body: bytes = b""


def begin_step(database: Database, keyring: Keyring, step: Step, now: datetime) -> str:
    """Keep the step and return the secret for the browser, told once."""
    secret = secrets.token_urlsafe(32)
    hashed = hash_of(secret)
    nonce = os.urandom(_NONCE_BYTES)
    row = {
        "secret_hash": hashed, "kind": step.kind, "tenant": step.tenant, "account": step.account,
        "sealed_with": "identity", "created": micros(now), "expires": micros(now + LIFE),
        "body": nonce + _cipher(keyring).encrypt(nonce, step.body, hashed.encode()),
    }  # fmt: skip
    table = identity_tables.sign_in_step

    def write(connection: Connection) -> None:
        connection.execute(delete(table).where(table.c.expires <= micros(now)))
        connection.execute(table.insert().values(row))

    database.write(write)
    return secret


def step_of(
    database: Database, keyring: Keyring, secret: str, kinds: tuple[Kind, ...], now: datetime
) -> Step:
    """The step that this secret belongs to; it can be asked for again.

    Raises:
        NotTrusted: there is none of these kinds, or it is too old (401).
    """
    with database.reading() as connection:
        return _read(connection, keyring, secret, kinds, now)


def end_step(
    database: Database, keyring: Keyring, secret: str, kinds: tuple[Kind, ...], now: datetime
) -> Step:
    """The step that this secret belongs to, which nobody can ask for again.

    Raises:
        NotTrusted: there is none of these kinds, it is too old, or it was ended already (401).
    """
    table = identity_tables.sign_in_step

    def write(connection: Connection) -> Step:
        found = _read(connection, keyring, secret, kinds, now)
        connection.execute(delete(table).where(table.c.secret_hash == hash_of(secret)))
        return found

    return database.write(write)


def _read(
    connection: Connection, keyring: Keyring, secret: str, kinds: tuple[Kind, ...], now: datetime
) -> Step:
    table, hashed = identity_tables.sign_in_step, hash_of(secret)
    row = connection.execute(
        select(table).where(
            table.c.secret_hash == hashed, table.c.expires > micros(now), table.c.kind.in_(kinds)
        )
    ).one_or_none()
    if row is None:
        raise NotTrusted("no such step of a sign-in", status=401)
    nonce, sealed = row.body[:_NONCE_BYTES], row.body[_NONCE_BYTES:]
    body = _cipher(keyring).decrypt(nonce, sealed, hashed.encode())
    return Step(kind=row.kind, tenant=row.tenant, account=row.account, body=body)


def _cipher(keyring: Keyring) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM as Cipher  # noqa: N811 - loaded when needed

    return Cipher(hmac.digest(keyring.identity, b"dekacard sign-in step", "sha256"))
