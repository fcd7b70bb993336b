"""What an evaluation was made from: facts, history and answer, compressed, sealed when a key is set."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, select

from rules.assessment import Gap, HistoryEntry
from rules.errors import DekacardError
from rules.facts import FactSet
from service.alerts import models, statements
from service.alerts.folding import unfold, whole
from service.alerts.keyring import Keyring

_CODEC = "zlib"
_LEVEL = 6
_ROTATED_AT_ONCE = 200
SEEN_AGAIN: Final = timedelta(days=1)  # evidence that comes again is marked as new so often at most


class EvidenceMissing(DekacardError):
    """The evidence was removed by retention, or never stored."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The used elements of the record, as facts; ``answer`` is the assessment made from them, folded over them.

    Both stay bytes: a replay compares them byte for byte (``canonical``). ``history`` is None when it could
    not be read, and then nothing was suppressed. ``quiet`` are the rules that were not live for the caller,
    ``asked`` the findings that were worked out in any case.
    """

    facts: msgspec.Raw
    answer: msgspec.Raw
    gaps: tuple[Gap, ...] = ()
    history: tuple[HistoryEntry, ...] | None = ()
    user: str = ""
    quiet: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()

    def fact_set(self) -> FactSet:
        """The facts as the engine was given them."""
        return msgspec.json.decode(self.facts, type=FactSet)

    def canonical(self) -> bytes:
        """The canonical bytes of the answer."""
        return whole(self.answer, self.facts)

    def said(self) -> dict[str, Any]:
        """The answer as plain values."""
        return unfold(self.answer, msgspec.json.decode(self.facts))


def keep(
    connection: Connection, keyring: Keyring, tenant: str, evidence: Evidence, now: int
) -> str:
    """Store evidence under its keyed digest and return that; equal evidence is stored once, and kept from the last time on."""
    body = msgspec.json.encode(evidence)
    digest = keyring.digest(f"evidence {tenant}", body)
    here = {"key_tenant": tenant, "key_digest": digest}
    stored = connection.scalar(statements.evidence_there, here)
    if stored is None:
        key, sealed = keyring.seal(zlib.compress(body, _LEVEL), _bound(tenant, digest))
        row = {
            "tenant": tenant, "digest": digest, "codec": _CODEC, "sealed_with": key, "body": sealed, "stored": now,
        }  # fmt: skip
        connection.execute(statements.evidence_new, row)
    elif now - stored > SEEN_AGAIN // timedelta(microseconds=1):
        connection.execute(statements.evidence_seen, {**here, "now": now})
    return digest


def fetch(connection: Connection, keyring: Keyring, tenant: str, digest: str) -> Evidence:
    """Evidence by its digest; raises EvidenceMissing or KeyringError."""
    table = models.evidence
    row = connection.execute(
        select(table).where(table.c.tenant == tenant, table.c.digest == digest)
    ).one_or_none()
    if row is None:
        raise EvidenceMissing(
            "the evidence of this evaluation is gone: retention removed it, or none was stored."
        )
    return _opened(row, keyring)


def recorded_answer(
    connection: Connection, keyring: Keyring, tenant: str, evaluation: str
) -> dict[str, Any]:
    """What an evaluation said; raises EvidenceMissing or KeyringError."""
    table = models.evaluation
    digest = connection.scalar(
        select(table.c.evidence).where(table.c.tenant == tenant, table.c.id == evaluation)
    )
    return fetch(connection, keyring, tenant, digest or "").said()


def fetch_all(
    connection: Connection, keyring: Keyring, tenant: str, digests: Collection[str]
) -> dict[str, Evidence]:
    """Evidence of many digests by one query; what is gone or cannot be opened is left out."""
    table = models.evidence
    rows = connection.execute(
        select(table).where(table.c.tenant == tenant, table.c.digest.in_(set(digests)))
    )
    found = {}
    for row in rows:
        with contextlib.suppress(DekacardError):
            found[row.digest] = _opened(row, keyring)
    return found


def _opened(row: Row[Any], keyring: Keyring) -> Evidence:
    body = keyring.unseal(row.sealed_with, row.body, _bound(row.tenant, row.digest))
    return msgspec.json.decode(zlib.decompress(body), type=Evidence)


def seal_text(keyring: Keyring, words: str, bound_to: str) -> tuple[str, bytes]:
    """A small text (a note, a reference) sealed like evidence: (key id, body)."""
    return keyring.seal(words.encode(), bound_to)


def unseal_text(keyring: Keyring, key: str, body: bytes, bound_to: str) -> str:
    """The text again."""
    return keyring.unseal(key, body, bound_to).decode()


# Table -> its sealed column, the columns that find a row, and how the seal is bound to it.
_SEALED: dict[str, tuple[str, tuple[str, ...]]] = {
    "evidence": ("body", ("tenant", "digest")),
    "patient": ("reference", ("tenant", "patient")),
    "issued_card": ("body", ("tenant", "uuid", "evaluation")),
}


def bound(table: str, *names: str) -> str:
    """What a sealed value is bound to: moved elsewhere, it does not open."""
    return "\n".join((table, *names))


def _bound(tenant: str, digest: str) -> str:
    return bound("evidence", tenant, digest)


def rotate(connection: Connection, keyring: Keyring) -> int:
    """Seal one batch of old values with the current key and return how many; 0 means that all are.

    Notes and comments of append-only tables keep their key: those keys stay in the keyring until retention.
    """
    done = 0
    for name, (column, keys) in _SEALED.items():
        table = models.metadata.tables[name]
        rows = connection.execute(
            select(*(table.c[k] for k in keys), table.c.sealed_with, table.c[column])
            .where(table.c.sealed_with != keyring.evidence_current)
            .limit(_ROTATED_AT_ONCE - done)
        ).all()
        for row in rows:
            places: dict[str, Any] = {key: row._mapping[key] for key in keys}
            where = bound(name, *places.values())
            body = keyring.unseal(row.sealed_with, row._mapping[column], where)
            key, sealed = keyring.seal(body, where)
            connection.execute(
                table.update()
                .where(*(table.c[k] == value for k, value in places.items()))
                .values({"sealed_with": key, column: sealed})
            )
        done += len(rows)
        if done >= _ROTATED_AT_ONCE:
            break
    return done
