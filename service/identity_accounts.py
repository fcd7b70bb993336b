"""What an administrator sees and changes of the accounts of a client; never a secret, never the last administrator."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Connection, delete, func, select, update

from rules.errors import RequestError
from service.alerts import identity_tables, models
from service.alerts.access import ROLES, Role, refuse_last_admin
from service.alerts.past_answers import micros
from service.identity import note

if TYPE_CHECKING:
    from service.alerts.database import Database
    from service.alerts.keyring import Keyring

LONGEST_NAME = 64


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One account in a list."""

    name: str
    role: Role
    disabled: bool
    provider: str
    has_password: bool
    has_factor: bool
    sessions: int


def accounts_of(database: Database, tenant: str, now: datetime) -> list[Account]:
    """The accounts of a client by name."""
    account, factor, session = (
        models.account,
        identity_tables.second_factor,
        identity_tables.session,
    )
    with database.reading() as connection:
        rows = connection.execute(
            select(account).where(account.c.tenant == tenant).order_by(account.c.name)
        ).all()
        guarded = set(
            connection.scalars(
                select(factor.c.account).where(
                    factor.c.tenant == tenant, factor.c.confirmed.is_not(None)
                )
            )
        )
        counted = connection.execute(
            select(session.c.account, func.count())
            .where(session.c.tenant == tenant, session.c.expires > micros(now))
            .group_by(session.c.account)
        )
        open_ones = {name: int(count) for name, count in counted}
    return [
        Account(
            name=row.name, role=row.role, disabled=bool(row.disabled), provider=row.provider,
            has_password=bool(row.password_hash), has_factor=row.name in guarded, sessions=open_ones.get(row.name, 0),
        )
        for row in rows
    ]  # fmt: skip


def refuse_bad_name(name: str) -> None:
    """Refuse a name that could not stand in lists, addresses and the audit trail.

    Raises:
        RequestError: it is empty, too long, or holds what is not printable (422).
    """
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or "/" in name:
        raise RequestError(
            f"a name has 1 to {LONGEST_NAME} printable characters without a slash.", status=422
        )


def change_role(
    database: Database, keyring: Keyring, *, tenant: str, name: str, role: str, actor: str, now: datetime,
) -> None:  # fmt: skip
    """Give a local account another role; its sessions end, so that nobody keeps a page they may not see.

    Raises:
        RequestError: there is no such role or local account, or it is the last administrator.
    """
    if role not in ROLES:
        raise RequestError(f"there is no role {role!r}; choose {', '.join(ROLES)}.", status=422)
    table, session = models.account, identity_tables.session
    here = (table.c.tenant == tenant) & (table.c.name == name)

    def write(connection: Connection) -> None:
        before = connection.scalar(select(table.c.role).where(here, table.c.provider == ""))
        if before is None:
            raise RequestError("there is no such local account.", status=404, code="not-found")
        if before == role:
            return
        if before == "admin":
            refuse_last_admin(connection, tenant, name)
        connection.execute(update(table).where(here).values(role=role))
        connection.execute(
            delete(session).where(session.c.tenant == tenant, session.c.account == name)
        )
        note(connection, keyring, tenant, actor, "role-changed", name, now, after=role)

    database.write(write)


def enable_account(
    database: Database, keyring: Keyring, *, tenant: str, name: str, actor: str, now: datetime
) -> None:
    """Open a disabled account again; its sessions and tokens of before stay worthless.

    Raises:
        RequestError: there is no such disabled account (404).
    """
    table, token = models.account, models.token

    def write(connection: Connection) -> None:
        changed = connection.execute(
            update(table)
            .where(table.c.tenant == tenant, table.c.name == name, table.c.disabled == 1)
            .values(disabled=0)
        )
        if changed.rowcount == 0:
            raise RequestError("there is no such disabled account.", status=404, code="not-found")
        connection.execute(
            update(token)
            .where(token.c.tenant == tenant, token.c.account == name, token.c.revoked.is_(None))
            .values(revoked=micros(now))
        )
        gone = identity_tables.session
        connection.execute(delete(gone).where(gone.c.tenant == tenant, gone.c.account == name))
        note(connection, keyring, tenant, actor, "account-enabled", name, now)

    database.write(write)
