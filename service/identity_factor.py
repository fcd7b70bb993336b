"""The second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes for the day it is lost.

The app's secret is sealed with a key derived from the keyring, which is not in the database. A code lets in once.
Recovery codes have 120 random bits, so their SHA-256 is kept (OWASP ASVS 5.0.0, 6.5.2: a slow hash below 112 bits).
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyotp
from sqlalchemy import Connection, Row, delete, func, select, update

from rules.errors import DekacardError, RequestError
from service.alerts import identity_tables
from service.alerts.past_answers import micros
from service.identity import hash_of, note

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from service.alerts.database import Database
    from service.alerts.keyring import Keyring

RECOVERY_CODES: Final = 10
_STEP_SECONDS: Final = 30
_STEPS_AROUND: Final = (0, -1, 1)  # a telephone's clock may be half a minute off
_DIGITS: Final = 6
_CODE_BYTES: Final = 15
_NONCE_BYTES: Final = 12  # NIST SP 800-38D 8.2: 96 bits
_DERIVED: Final = "identity"  # how ``sealed_with`` names a key derived from the identity key


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What an authenticator app is given: the secret (base32) and the address that carries it (for a QR code)."""

    secret: str
    address: str


def begin(
    database: Database, keyring: Keyring, *, tenant: str, account: str, now: datetime
) -> Enrolment:
    """The secret of a factor that is not confirmed yet; the same one until it is confirmed or reset.

    Raises:
        RequestError: the account has a confirmed second factor already (409).
    """
    fresh = pyotp.random_base32()
    row = {
        "tenant": tenant, "account": account, "sealed_with": _DERIVED, "created": micros(now),
        "secret": _seal(keyring, fresh, tenant, account),
    }  # fmt: skip

    def write(connection: Connection) -> str:
        held = _held(connection, tenant, account)
        if held is None:
            connection.execute(identity_tables.second_factor.insert().values(row))
            return fresh
        if held.confirmed is not None:
            raise RequestError(
                "this account has a second factor; reset it first.", status=409, code="conflict"
            )
        return _unseal(keyring, held.secret, tenant, account)

    secret = database.write(write)
    address = pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=f"dekacard {tenant}")
    return Enrolment(secret=secret, address=address)


def confirm(
    database: Database, keyring: Keyring, *, tenant: str, account: str, code: str, now: datetime
) -> list[str] | None:
    """Put the factor in force if the code comes from it: its recovery codes, told once; None if it does not."""
    codes = [_new_code() for _ in range(RECOVERY_CODES)]

    def write(connection: Connection) -> list[str] | None:
        held = _held(connection, tenant, account)
        if held is None or held.confirmed is not None:
            return None
        step = _step_of(_unseal(keyring, held.secret, tenant, account), code, now)
        if step is None:
            return None
        table = identity_tables.second_factor
        connection.execute(
            update(table).where(*_of(table, tenant, account)).values(confirmed=micros(now), last_step=step)
        )  # fmt: skip
        _replace_codes(connection, tenant, account, codes, now)
        note(connection, keyring, tenant, f"user/{account}", "second-factor-set", account, now)
        return codes

    return database.write(write)


def check(
    database: Database, keyring: Keyring, *, tenant: str, account: str, code: str, now: datetime
) -> bool:
    """Whether the code is right and was not used before; a recovery code is gone once it was."""

    def write(connection: Connection) -> bool:
        held = _held(connection, tenant, account)
        if held is None or held.confirmed is None:
            return False
        step = _step_of(_unseal(keyring, held.secret, tenant, account), code, now)
        if step is None:
            return _use_recovery_code(connection, keyring, tenant, account, code, now)
        if step <= held.last_step:  # the code was seen already: over a shoulder, or in a proxy
            return False
        table = identity_tables.second_factor
        connection.execute(update(table).where(*_of(table, tenant, account)).values(last_step=step))
        return True

    return database.write(write)


def is_set(database: Database, tenant: str, account: str) -> bool:
    """Whether the account has a confirmed second factor."""
    with database.reading() as connection:
        held = _held(connection, tenant, account)
    return held is not None and held.confirmed is not None


def codes_left(database: Database, tenant: str, account: str) -> int:
    """How many recovery codes are unused."""
    table = identity_tables.recovery_code
    with database.reading() as connection:
        count = select(func.count()).select_from(table).where(*_of(table, tenant, account))
        return int(connection.scalar(count) or 0)


def renew_codes(
    database: Database, keyring: Keyring, *, tenant: str, account: str, now: datetime
) -> list[str]:
    """New recovery codes, told once; the old ones are worth nothing any more.

    Raises:
        RequestError: the account has no second factor (409).
    """
    codes = [_new_code() for _ in range(RECOVERY_CODES)]

    def write(connection: Connection) -> list[str]:
        held = _held(connection, tenant, account)
        if held is None or held.confirmed is None:
            raise RequestError("there is no second factor.", status=409, code="conflict")
        _replace_codes(connection, tenant, account, codes, now)
        note(connection, keyring, tenant, f"user/{account}", "recovery-codes-made", account, now)
        return codes

    return database.write(write)


def reset(
    database: Database, keyring: Keyring, *, tenant: str, account: str, actor: str, now: datetime
) -> None:
    """Forget the second factor, its recovery codes and every session of the account.

    Raises:
        RequestError: there is none (404).
    """

    def write(connection: Connection) -> None:
        factor = identity_tables.second_factor
        gone = connection.execute(delete(factor).where(*_of(factor, tenant, account)))
        if gone.rowcount == 0:
            raise RequestError("this account has no second factor.", status=404, code="not-found")
        for table in (
            identity_tables.recovery_code,
            identity_tables.session,
            identity_tables.sign_in_step,
        ):
            connection.execute(delete(table).where(*_of(table, tenant, account)))
        note(connection, keyring, tenant, actor, "second-factor-reset", account, now)

    database.write(write)


def _step_of(secret: str, code: str, now: datetime) -> int | None:
    """The time step that the code belongs to; every one is compared, and in constant time."""
    typed = "".join(code.split())
    if len(typed) != _DIGITS or not typed.isascii() or not typed.isdigit():
        return None
    app, at = pyotp.TOTP(secret), int(now.timestamp())
    found = None
    for around in _STEPS_AROUND:
        step = at // _STEP_SECONDS + around
        right = hmac.compare_digest(app.generate_otp(step), typed)
        if right and found is None:
            found = step
    return found


def _new_code() -> str:
    text = base64.b32encode(secrets.token_bytes(_CODE_BYTES)).decode()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


def _use_recovery_code(
    connection: Connection, keyring: Keyring, tenant: str, account: str, code: str, now: datetime
) -> bool:
    table = identity_tables.recovery_code
    used = connection.execute(
        delete(table).where(*_of(table, tenant, account), table.c.code_hash == _code_hash(code))
    )
    if used.rowcount:
        note(connection, keyring, tenant, f"user/{account}", "recovery-code-used", account, now)
    return bool(used.rowcount)


def _replace_codes(
    connection: Connection, tenant: str, account: str, codes: list[str], now: datetime
) -> None:
    table = identity_tables.recovery_code
    connection.execute(delete(table).where(*_of(table, tenant, account)))
    rows = [
        {"tenant": tenant, "account": account, "code_hash": _code_hash(code), "created": micros(now)}
        for code in codes
    ]  # fmt: skip
    connection.execute(table.insert(), rows)


def _code_hash(code: str) -> str:
    return hash_of("".join(code.upper().replace("-", "").split()))


def _held(connection: Connection, tenant: str, account: str) -> Row[Any] | None:
    table = identity_tables.second_factor
    return connection.execute(select(table).where(*_of(table, tenant, account))).one_or_none()


def _of(table: Any, tenant: str, account: str) -> tuple[Any, Any]:
    return table.c.tenant == tenant, table.c.account == account


def _cipher(keyring: Keyring) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM as Cipher  # noqa: N811 - loaded when needed

    return Cipher(hmac.digest(keyring.identity, b"dekacard second factor", "sha256"))


def _bound(tenant: str, account: str) -> bytes:
    return f"second_factor\n{tenant}\n{account}".encode()


def _seal(keyring: Keyring, secret: str, tenant: str, account: str) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + _cipher(keyring).encrypt(nonce, secret.encode(), _bound(tenant, account))


def _unseal(keyring: Keyring, sealed: bytes, tenant: str, account: str) -> str:
    from cryptography.exceptions import InvalidTag

    try:
        return _cipher(keyring).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound(tenant, account)).decode()  # fmt: skip
    except InvalidTag as error:
        raise DekacardError(
            "a second factor was altered, or belongs elsewhere; reset it."
        ) from error
