"""Accounts of people whom an OpenID provider signs in: made at the first sign-in, known by issuer and subject.

The role is what the provider's claim says today. A name that is taken already gets a mark, so that nobody becomes
somebody else by choosing a name.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, select, update

from rules.errors import NotTrusted
from service.alerts import identity_tables, models
from service.alerts.past_answers import micros
from service.identity import note

if TYPE_CHECKING:
    from service.alerts.database import Database
    from service.alerts.keyring import Keyring
    from service.identity_oidc import Departure, Person
    from service.identity_providers import Provider

_CLOCKS = timedelta(seconds=60)  # between the provider's clock and ours


def recognise(
    database: Database, keyring: Keyring, provider: Provider, person: Person, now: datetime
) -> str:
    """The account of a person whom the provider recognised, made if need be, with the role of today.

    Raises:
        NotTrusted: the account was disabled here (403).
    """
    table = models.account
    subject = f"{provider.issuer} {person.subject}"

    def write(connection: Connection) -> str:
        row = connection.execute(
            select(table).where(
                table.c.tenant == provider.client, table.c.provider == provider.id, table.c.subject == subject
            )
        ).one_or_none()  # fmt: skip
        actor = f"oidc/{provider.id}"
        if row is None:
            name = _free_name(connection, provider.client, person.name or "user", subject)
            connection.execute(
                table.insert().values(
                    tenant=provider.client, name=name, role=person.role, created=micros(now), provider=provider.id,
                    subject=subject,
                )
            )  # fmt: skip
            note(
                connection, keyring, provider.client, actor, "account-made", name, now, after=person.role
            )  # fmt: skip
            return name
        if row.disabled:
            raise NotTrusted("oidc: the account is disabled", status=403)
        if row.role != person.role:
            connection.execute(
                update(table)
                .where(table.c.tenant == provider.client, table.c.name == row.name)
                .values(role=person.role)
            )
            note(
                connection, keyring, provider.client, actor, "role-changed", row.name, now, after=person.role
            )  # fmt: skip
        return str(row.name)

    return database.write(write)


def sign_out_outside(
    database: Database, keyring: Keyring, provider: Provider, departure: Departure, now: datetime
) -> int:
    """End the sessions that the provider signed out, and say how many."""
    table, account = identity_tables.session, models.account
    where = [
        table.c.provider == provider.id,
        table.c.tenant == provider.client,
        table.c.created <= micros(departure.at + _CLOCKS),
    ]
    if departure.session:
        where.append(table.c.outside == departure.session)
    here = None
    if departure.subject:
        here = select(account.c.name).where(
            account.c.tenant == provider.client, account.c.provider == provider.id,
            account.c.subject == f"{provider.issuer} {departure.subject}",
        )  # fmt: skip
        where.append(table.c.account.in_(here))

    def write(connection: Connection) -> int:
        gone = connection.scalars(select(table.c.account).where(*where)).all()
        connection.execute(delete(table).where(*where))
        if (
            here is not None
        ):  # and whoever stands between the provider and the code of a second factor
            step = identity_tables.sign_in_step
            connection.execute(
                delete(step).where(step.c.tenant == provider.client, step.c.account.in_(here))
            )
        for name in sorted(set(gone)):
            note(
                connection, keyring, provider.client, f"oidc/{provider.id}", "sessions-ended", name, now
            )  # fmt: skip
        return len(gone)

    return database.write(write)


def _free_name(connection: Connection, tenant: str, wanted: str, subject: str) -> str:
    """The name, with a mark from the subject when somebody has it already."""
    table = models.account
    mark = hashlib.sha256(subject.encode()).hexdigest()
    for name in (wanted, *(f"{wanted}-{mark[:size]}" for size in (6, 12, 24, 64))):
        taken = connection.scalar(
            select(table.c.name).where(table.c.tenant == tenant, table.c.name == name)
        )
        if taken is None:
            return name
    raise NotTrusted("oidc: no name is free", status=403)
