"""Who may use the record from outside: accounts with one role, tokens that are shown once and stored hashed."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, select

from rules.errors import NotTrusted, RequestError
from service import audit
from service.alerts import models
from service.alerts.database import Database
from service.alerts.keyring import Keyring
from service.alerts.past_answers import micros
from service.alerts.values import AuditEntry

Role = Literal["reader", "pharmacist", "lead", "auditor", "admin"]
ROLES: tuple[Role, ...] = ("reader", "pharmacist", "lead", "auditor", "admin")
Right = Literal[
    "see-alerts",
    "triage",
    "see-rules",
    "change-modes",
    "see-audit",
    "manage-accounts",
    "see-runs",
    "start-runs",
    "silence",
    "reload-packs",
]
# The administrator of the machine sees no patients; the auditor sees who did what, and changes nothing.
RIGHTS: dict[Role, frozenset[Right]] = {
    "reader": frozenset({"see-alerts", "see-rules", "see-runs"}),
    "pharmacist": frozenset({"see-alerts", "triage", "see-rules", "see-runs", "start-runs"}),
    "lead": frozenset(
        {"see-alerts", "triage", "see-rules", "change-modes", "see-runs", "start-runs", "silence"}
    ),
    "auditor": frozenset({"see-audit", "see-rules"}),
    "admin": frozenset({"manage-accounts", "see-rules", "reload-packs"}),
}
_PREFIX = "dkt_"


class Bearer(msgspec.Struct, frozen=True, kw_only=True):
    """Who shows a token: the account, its tenant and its role."""

    tenant: str
    account: str
    role: Role

    @property
    def actor(self) -> str:
        """The name in events and the audit trail."""
        return f"user/{self.account}"

    def require(self, right: Right) -> None:
        """Raises NotTrusted (403) without the right."""
        if right not in RIGHTS[self.role]:
            raise NotTrusted(f"role {self.role} lacks {right}", status=403)


def new_account(
    database: Database,
    keyring: Keyring,
    *,
    tenant: str,
    name: str,
    role: str,
    actor: str,
    now: datetime,
) -> None:
    """Make an account; raises RequestError when the role is unknown or the name is taken."""
    if role not in ROLES:
        raise RequestError(f"there is no role {role!r}; choose {', '.join(ROLES)}.", status=422)
    if not name or not tenant:
        raise RequestError("an account needs a name and a client.", status=422)
    wanted = {"tenant": tenant, "name": name, "role": role, "created": micros(now)}
    database.write(partial(_new_account, keyring=keyring, wanted=wanted, actor=actor, now=now))


def disable_account(
    database: Database, keyring: Keyring, *, tenant: str, name: str, actor: str, now: datetime
) -> None:
    """Close an account: its tokens are worth nothing from now on."""
    database.write(
        partial(_disable, keyring=keyring, tenant=tenant, name=name, actor=actor, now=now)
    )


def mint_token(
    database: Database, keyring: Keyring, *, tenant: str, account: str, actor: str, now: datetime,
    life: timedelta = timedelta(days=90),
) -> str:  # fmt: skip
    """A new token, to be shown once; raises RequestError without such an account."""
    secret = _PREFIX + secrets.token_urlsafe(32)
    row = {
        "tenant": tenant, "id": secrets.token_hex(6), "account": account, "secret_hash": _hash(secret),
        "created": micros(now), "expires": micros(now + life),
    }  # fmt: skip
    database.write(partial(_mint, keyring=keyring, row=row, actor=actor, now=now))
    return secret


def revoke_token(
    database: Database, keyring: Keyring, *, tenant: str, token: str, actor: str, now: datetime
) -> None:
    """Make a token worthless, by its id."""
    database.write(
        partial(_revoke, keyring=keyring, tenant=tenant, token=token, actor=actor, now=now)
    )


def accounts(database: Database, tenant: str) -> list[dict[str, Any]]:
    """Accounts of a client with the ids of their tokens; nothing that would let anybody in."""
    account, token = models.account, models.token
    with database.reading() as connection:
        found = connection.execute(
            select(account).where(account.c.tenant == tenant).order_by(account.c.name)
        ).all()
        tokens = connection.execute(
            select(token).where(token.c.tenant == tenant).order_by(token.c.created)
        ).all()
    return [
        {
            "name": one.name, "role": one.role, "disabled": bool(one.disabled),
            "tokens": [
                {"id": held.id, "expires": held.expires, "revoked": held.revoked}
                for held in tokens
                if held.account == one.name
            ],
        }
        for one in found
    ]  # fmt: skip


def bearer_of(database: Database, header: str | None, now: datetime) -> Bearer:
    """Who shows this ``Authorization`` header; raises NotTrusted (401), and says the reason to the log only."""
    scheme, _, secret = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not secret.startswith(_PREFIX):
        raise NotTrusted("no token")
    token, account = models.token, models.account
    with database.reading() as connection:
        row = connection.execute(
            select(
                token.c.tenant,
                token.c.account,
                token.c.expires,
                token.c.revoked,
                account.c.role,
                account.c.disabled,
            )
            .join(
                account, (account.c.tenant == token.c.tenant) & (account.c.name == token.c.account)
            )
            .where(token.c.secret_hash == _hash(secret))
        ).one_or_none()
    reason = _objection(row, micros(now))
    if row is None or reason:
        raise NotTrusted(reason)
    return Bearer(tenant=row.tenant, account=row.account, role=row.role)


def _objection(row: Any, now: int) -> str:
    if row is None:
        return "unknown token"
    if row.revoked is not None:
        return "revoked token"
    if row.expires <= now:
        return "expired token"
    return "disabled account" if row.disabled else ""


def _new_account(
    connection: Connection, *, keyring: Keyring, wanted: dict[str, Any], actor: str, now: datetime
) -> None:
    table = models.account
    there = select(table.c.name).where(
        table.c.tenant == wanted["tenant"], table.c.name == wanted["name"]
    )
    if connection.scalar(there) is not None:
        raise RequestError("an account of this name exists.", status=409, code="conflict")
    connection.execute(table.insert().values(wanted))
    _tell(
        connection,
        keyring,
        wanted["tenant"],
        actor,
        "account-made",
        wanted["name"],
        now,
        after=wanted["role"],
    )


def refuse_last_admin(connection: Connection, tenant: str, name: str) -> None:
    """Refuse to go on when nobody else could manage the accounts of the client.

    Raises:
        RequestError: it is the last administrator (409).
    """
    table = models.account
    admins = connection.scalars(
        select(table.c.name).where(
            table.c.tenant == tenant, table.c.role == "admin", table.c.disabled == 0
        )
    ).all()
    if list(admins) == [name]:
        raise RequestError("this is the last administrator.", status=409, code="conflict")


def _disable(
    connection: Connection, *, keyring: Keyring, tenant: str, name: str, actor: str, now: datetime
) -> None:
    table = models.account
    refuse_last_admin(connection, tenant, name)
    changed = connection.execute(
        table.update().where(table.c.tenant == tenant, table.c.name == name).values(disabled=1)
    )
    if changed.rowcount == 0:
        raise RequestError("there is no such account.", status=404, code="not-found")
    _tell(connection, keyring, tenant, actor, "account-disabled", name, now)


def _mint(
    connection: Connection, *, keyring: Keyring, row: dict[str, Any], actor: str, now: datetime
) -> None:
    table = models.account
    there = connection.scalar(
        select(table.c.role).where(
            table.c.tenant == row["tenant"], table.c.name == row["account"], table.c.disabled == 0
        )
    )
    if there is None:
        raise RequestError("there is no such account.", status=404, code="not-found")
    connection.execute(models.token.insert().values(row))
    _tell(
        connection,
        keyring,
        row["tenant"],
        actor,
        "token-made",
        row["account"],
        now,
        after=row["id"],
    )


def _revoke(
    connection: Connection, *, keyring: Keyring, tenant: str, token: str, actor: str, now: datetime
) -> None:
    table = models.token
    changed = connection.execute(
        table.update()
        .where(table.c.tenant == tenant, table.c.id == token, table.c.revoked.is_(None))
        .values(revoked=micros(now))
    )
    if changed.rowcount == 0:
        raise RequestError("there is no such token in force.", status=404, code="not-found")
    _tell(connection, keyring, tenant, actor, "token-revoked", token, now)


def _tell(
    connection: Connection, keyring: Keyring, tenant: str, actor: str, action: str, about: str, now: datetime, *,
    after: str = "",
) -> None:  # fmt: skip
    entry = AuditEntry(
        tenant=tenant, at=now, actor=actor, action=action, object=f"account/{about}", after=after
    )
    audit.append(connection, keyring, entry)


def _hash(secret: str) -> str:
    """Tokens are 256 random bits: one SHA-256 is enough, there is nothing to guess."""
    return hashlib.sha256(secret.encode()).hexdigest()
