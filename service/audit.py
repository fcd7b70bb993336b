"""The audit trail: append-only lines, each sealed over the one before with a key kept outside the database.

``mac = HMAC(key, [prev, tenant, seq, every field])``: an edited, removed, exchanged or inserted line breaks the
chain; the sealed head shows a cut tail; heads written elsewhere show a store that was set back as a whole.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select

from service.alerts import models
from service.alerts.keyring import Keyring, KeyringError
from service.alerts.past_answers import micros
from service.alerts.values import AuditEntry

_FIELDS = (
    "actor",
    "action",
    "object",
    "patient",
    "before",
    "after",
    "reason",
    "request_id",
    "outcome",
)
_CHUNK = 5_000
_encode = msgspec.json.Encoder(order="deterministic").encode


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one tenant's chain, as it is written to the log for safe keeping."""

    tenant: str
    seq: int
    mac: str


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A place where the trail is not what was written."""

    tenant: str
    seq: int
    says: str


class Chain:
    """Appends lines inside one write transaction; ``close`` stores the new heads."""

    def __init__(self, connection: Connection, keyring: Keyring) -> None:
        self._connection = connection
        self._keyring = keyring
        self._heads: dict[str, dict[str, Any]] = {}
        self._waiting: list[dict[str, Any]] = []
        self._lines: set[tuple[str, str]] = set()

    def append(self, entry: AuditEntry, line: str = "") -> int:
        """Add one entry; ``line`` is the id it had in the spool. Returns its number in the tenant's chain."""
        head = self._head(entry.tenant)
        row = {
            "tenant": entry.tenant, "seq": head["seq"] + 1, "at": micros(entry.at), "line": line,
            "key_id": self._keyring.audit_current, "prev": head["mac"],
            **{field: getattr(entry, field) for field in _FIELDS},
        }  # fmt: skip
        row["mac"] = self._keyring.audit_mac(row["key_id"], _body(row))
        head["seq"], head["mac"] = row["seq"], row["mac"]
        self._waiting.append(row)
        self._lines.add((entry.tenant, line))
        return int(row["seq"])

    def holds(self, tenant: str, line: str) -> bool:
        """Tell whether a spool line was appended in this transaction already."""
        return (tenant, line) in self._lines

    def close(self) -> None:
        """Write the lines and the heads; call it once, before the transaction ends."""
        if not self._waiting:
            return
        self._connection.execute(models.audit.insert(), self._waiting)
        self._waiting = []
        for head in self._heads.values():
            _store_head(self._connection, self._keyring, head)

    def _head(self, tenant: str) -> dict[str, Any]:
        if tenant not in self._heads:
            held = self._connection.execute(
                select(models.audit_head).where(models.audit_head.c.tenant == tenant)
            ).one_or_none()
            fresh = {"tenant": tenant, "first_seq": 1, "first_prev": "", "seq": 0, "mac": ""}
            self._heads[tenant] = dict(held._mapping) if held else fresh
        return self._heads[tenant]


def append(connection: Connection, keyring: Keyring, entry: AuditEntry) -> None:
    """Add one entry in the transaction of what it is about."""
    chain = Chain(connection, keyring)
    chain.append(entry)
    chain.close()


def heads(connection: Connection) -> list[Head]:
    """The end of every chain; keep them where the database's owner cannot write."""
    table = models.audit_head
    rows = connection.execute(
        select(table.c.tenant, table.c.seq, table.c.mac).order_by(table.c.tenant)
    )
    return [Head(tenant=row.tenant, seq=row.seq, mac=row.mac) for row in rows]


def verify(
    connection: Connection, keyring: Keyring, known: Iterable[Head] = (), *, only: str = ""
) -> list[Fault]:
    """Every fault of every chain; an empty list means that the trail is whole.

    ``known`` are heads that were kept elsewhere: each must still be part of its chain. ``only`` names one tenant.
    """
    kept: dict[str, dict[int, str]] = {}
    for head in known:
        kept.setdefault(head.tenant, {})[head.seq] = head.mac
    in_lines = set(connection.scalars(select(models.audit.c.tenant).distinct()))
    rows = connection.execute(select(models.audit_head)).all()
    by_tenant = {row.tenant: row for row in rows}
    faults: list[Fault] = []
    every = in_lines | by_tenant.keys() | kept.keys()
    for tenant in [only] if only else sorted(every):
        end = by_tenant.get(tenant)
        if end is None:
            faults.append(
                Fault(tenant=tenant, seq=0, says="has no head: the end of its chain was removed")
            )
        else:
            faults += _verify_chain(connection, keyring, end, kept.get(tenant, {}))
    return faults


def trim(connection: Connection, keyring: Keyring, tenant: str, before: int) -> int:
    """Remove lines older than ``before`` (microseconds) from the start of a chain, which then begins later.

    The caller holds the permit of retention. Returns how many lines went.
    """
    table = models.audit
    head = connection.execute(
        select(models.audit_head).where(models.audit_head.c.tenant == tenant)
    ).one_or_none()
    newest = connection.scalar(
        select(table.c.seq)
        .where(table.c.tenant == tenant, table.c.at >= before)
        .order_by(table.c.seq)
        .limit(1)
    )
    last_gone = (newest if newest is not None else (head.seq + 1 if head else 1)) - 1
    if head is None or last_gone < head.first_seq:
        return 0
    prev = connection.scalar(
        select(table.c.mac).where(table.c.tenant == tenant, table.c.seq == last_gone)
    )
    gone = connection.execute(
        table.delete().where(table.c.tenant == tenant, table.c.seq <= last_gone)
    ).rowcount
    _store_head(
        connection, keyring, {**head._mapping, "first_seq": last_gone + 1, "first_prev": prev}
    )
    return gone


def _verify_chain(
    connection: Connection, keyring: Keyring, head: Row[Any], kept: Mapping[int, str]
) -> list[Fault]:
    faults: list[Fault] = []

    def blame(seq: int, says: str) -> None:
        faults.append(Fault(tenant=head.tenant, seq=seq, says=says))

    if not hmac.compare_digest(head.seal, _seal(keyring, head._asdict())):
        blame(head.seq, "the head was altered")
    seq, prev = head.first_seq - 1, head.first_prev
    for row in _lines(connection, head.tenant):
        if row.seq != seq + 1:
            blame(row.seq, f"line {seq + 1} is missing")
        if row.prev != prev:
            blame(row.seq, "does not continue the line before it")
        try:
            sealed = keyring.audit_mac(row.key_id, _body(row._asdict()))
        except KeyringError as error:
            blame(row.seq, str(error))
        else:
            if not hmac.compare_digest(row.mac, sealed):
                blame(row.seq, "was altered")
        if row.seq in kept and kept[row.seq] != row.mac:
            blame(row.seq, "differs from the head kept elsewhere")
        seq, prev = row.seq, row.mac
    if (seq, prev) != (head.seq, head.mac):
        blame(seq, f"the chain ends here, its head says {head.seq}")
    if any(number > seq for number in kept):
        blame(seq, f"a head kept elsewhere says {max(kept)}: the store was set back")
    return faults


def _lines(connection: Connection, tenant: str) -> Iterator[Row[Any]]:
    table = models.audit
    last = -1
    while True:
        rows = connection.execute(
            select(table)
            .where(table.c.tenant == tenant, table.c.seq > last)
            .order_by(table.c.seq)
            .limit(_CHUNK)
        ).all()
        if not rows:
            return
        yield from rows
        last = rows[-1].seq


def _store_head(connection: Connection, keyring: Keyring, head: Mapping[str, Any]) -> None:
    table = models.audit_head
    sealed = {**head, "key_id": keyring.audit_current}
    sealed["seal"] = _seal(keyring, sealed)
    changed = connection.execute(
        table.update().where(table.c.tenant == head["tenant"]).values(sealed)
    )
    if changed.rowcount == 0:
        connection.execute(table.insert().values(sealed))


def _body(row: Mapping[str, Any]) -> bytes:
    fields = ("prev", "tenant", "seq", "at", "line", "key_id", *_FIELDS)
    return _encode([row[field] for field in fields])


def _seal(keyring: Keyring, head: Mapping[str, Any]) -> str:
    fields = ("tenant", "first_seq", "first_prev", "seq", "mac", "key_id")
    try:
        return keyring.audit_mac(
            head["key_id"], _encode(["head", *(head[field] for field in fields)])
        )
    except KeyringError:
        return ""


def sealed_lines(
    connection: Connection, keyring: Keyring, tenant: str, objects: Collection[str]
) -> list[Row[Any]]:
    """The lines about some objects whose seal is right and that continue the line before them.

    A look at single lines: it says nothing about lines that were removed. ``verify`` proves the whole chain.
    """
    table = models.audit
    rows = connection.execute(
        select(table).where(table.c.tenant == tenant, table.c.object.in_(set(objects)))
    ).all()
    before = {
        row.seq: row.mac
        for row in connection.execute(
            select(table.c.seq, table.c.mac).where(
                table.c.tenant == tenant, table.c.seq.in_({row.seq - 1 for row in rows})
            )
        )
    }
    head = connection.execute(
        select(models.audit_head).where(models.audit_head.c.tenant == tenant)
    ).one_or_none()
    if head is not None:
        before[head.first_seq - 1] = head.first_prev
    return [row for row in rows if before.get(row.seq - 1) == row.prev and _is_sealed(row, keyring)]


def _is_sealed(row: Row[Any], keyring: Keyring) -> bool:
    try:
        sealed = keyring.audit_mac(row.key_id, _body(row._asdict()))
    except KeyringError:
        return False
    return hmac.compare_digest(row.mac, sealed)
