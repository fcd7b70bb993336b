"""Passwords of local accounts: argon2id, long rather than intricate, checked as slowly for nobody as for somebody."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY
from sqlalchemy import Connection, delete, select, update

from rules.errors import RequestError
from service.alerts import identity_tables, models
from service.identity import note
from service.identity_guessable import is_guessable

if TYPE_CHECKING:
    from service.alerts.database import Database
    from service.alerts.keyring import Keyring

SHORTEST: Final = 15  # characters; length decides, composition rules do not (NIST SP 800-63B)
LONGEST: Final = 256
_MOST_AT_ONCE: Final = 4  # each verification takes 64 MiB

_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
_verifying = threading.BoundedSemaphore(_MOST_AT_ONCE)
_unknown: list[str] = []


def hash_password(password: str, words: Iterable[str]) -> str:
    """What is kept of a new password.

    Args:
        password: as it was typed.
        words: what everybody knows of whom it is for (the name, the client, the site).

    Raises:
        RequestError: it is too short, too long, or too easy to guess (422).
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise RequestError(f"a password has {SHORTEST} to {LONGEST} characters.", status=422)
    if is_guessable(password, words):
        raise RequestError(
            "this password is easy to guess: many people use it, or it says little besides words that everybody here "
            "knows. Four or more words that have nothing to do with each other make a good one.",
            status=422,
        )
    with _verifying:
        return _hasher.hash(password)


def set_password(
    database: Database, keyring: Keyring, *, tenant: str, name: str, password: str, actor: str, now: datetime,
    words: Iterable[str] = (),
) -> None:  # fmt: skip
    """Give an account a (new) password; its sessions and open invitations end. ``words`` are those of the site.

    Raises:
        RequestError: the password is too short, too long or easy to guess, or there is no such account.
    """
    hashed = hash_password(password, (name, tenant, *words))

    def store(connection: Connection) -> None:
        store_password(connection, tenant, name, hashed)
        note(connection, keyring, tenant, actor, "password-set", name, now)

    database.write(store)


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
            _hasher.verify(held or _no_account(), password[: LONGEST + 1])
        except (VerificationError, InvalidHashError):
            return False
    return bool(held)


def store_password(connection: Connection, tenant: str, name: str, hashed: str) -> None:
    """Put a hash in place; whoever used the account until now signs in anew.

    Raises:
        RequestError: there is no such account, or a provider signs its person in (404).
    """
    table = models.account
    changed = connection.execute(
        update(table)
        .where(table.c.tenant == tenant, table.c.name == name, table.c.provider == "")
        .values(password_hash=hashed)
    )
    if changed.rowcount == 0:
        raise RequestError("there is no such local account.", status=404, code="not-found")
    for gone in (
        identity_tables.session,
        identity_tables.invitation,
        identity_tables.sign_in_step,
    ):
        connection.execute(delete(gone).where(gone.c.tenant == tenant, gone.c.account == name))


def _no_account() -> str:
    """A hash that nobody knows the password of, made on first use."""
    if not _unknown:
        _unknown.append(_hasher.hash(secrets.token_urlsafe(16)))
    return _unknown[0]
