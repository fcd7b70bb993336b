"""Silences in the record: who asked for which, why and until when, who agreed, who lifted it, and what it held back.

asked -> in-force | refused; in-force -> lifted. One that covers critical alerts, or that the site does not
leave to one person, needs a second one. It ends by itself at its time; nothing removes the line that tells of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, not_, or_, select

from rules.errors import DekacardError, RequestError
from service import audit
from service.alerts import models
from service.alerts.past_answers import micros
from service.alerts.screen_tables import silence
from service.alerts.values import AuditEntry
from service.evidence_vault import bound, seal_text, unseal_text
from service.patient_groups import groups
from service.silence_board import Silence

if TYPE_CHECKING:
    from service.alerts.database import Database
    from service.alerts.keyring import Keyring

SilenceState = Literal["asked", "in-force", "refused", "lifted"]
View = Literal["now", "waiting", "past"]
Approval = Literal["critical", "wide", "always"]  # which silences wait for a second person
_MOST_UNITS = 500
_MOST_IN_FORCE = 500  # per client: with more, nobody knows any longer what is silent


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a site lets a silence last (house policy, not a clinical statement)."""

    usual: timedelta = timedelta(days=90)
    critical: timedelta = timedelta(days=7)
    approval: Approval = "critical"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants silent; ``patient`` is the record's key, ``reason`` a code, ``note`` free text."""

    tenant: str
    actor: str
    at: datetime
    until: datetime
    reason: str
    note: str = ""
    rule: str = ""
    patient: str = ""
    unit: str = ""
    group: str = ""
    covers_critical: bool = False

    def waits(self, approval: Approval) -> bool:
        """Whether a second person has to agree: always for critical alerts, else as the site asks for it."""
        return (
            self.covers_critical
            or approval == "always"
            or (approval == "wide" and not self.patient)
        )


def marks_of(groups: Iterable[str]) -> str:
    """Codes of groups as a patient's row keeps them: each between commas, so that one can be looked for."""
    return "".join(f",{code}," for code in sorted(groups))


def ask(database: Database, keyring: Keyring, wish: Wish, limits: Limits) -> int:
    """Ask for a silence; in force at once unless a second person has to agree. Returns its number.

    Raises:
        RequestError: it names neither rule nor patient, or ends too late or too early, or has no reason.
    """
    _check(wish, limits)
    return database.write(
        partial(_ask, keyring=keyring, wish=wish, waits=wish.waits(limits.approval))
    )


def decide(
    database: Database, keyring: Keyring, *, tenant: str, number: int, approve: bool, actor: str, at: datetime
) -> None:  # fmt: skip
    """Approve or refuse a silence that somebody else asked for; raises RequestError."""
    database.write(
        partial(
            _decide, keyring=keyring, tenant=tenant, number=number, approve=approve, actor=actor, at=at
        )
    )  # fmt: skip


def lift(
    database: Database, keyring: Keyring, *, tenant: str, number: int, actor: str, at: datetime
) -> None:
    """End a silence before its time; raises RequestError when it is not in force."""
    database.write(partial(_lift, keyring=keyring, tenant=tenant, number=number, actor=actor, at=at))  # fmt: skip


def all_in_force(database: Database) -> dict[str, list[Silence]]:
    """Every silence in force, by client; those past their end are left to ``until``."""
    query = select(silence).where(silence.c.state == "in-force").order_by(silence.c.id)
    found: dict[str, list[Silence]] = {}
    with database.reading() as connection:
        for row in connection.execute(query):
            found.setdefault(row.tenant, []).append(_plain(row))
    return found


def silences(
    database: Database, tenant: str, view: View, now: datetime, *, before: int = 0, limit: int = 50
) -> list[Row[Any]]:
    """Silences of a client, newest first; ``before`` is the number of the last one seen."""
    at = micros(now)
    over = or_(silence.c.state.in_(("refused", "lifted")), silence.c.until <= at)
    wanted = {
        "now": and_(silence.c.state == "in-force", silence.c.until > at),
        "waiting": and_(silence.c.state == "asked", silence.c.until > at),
        "past": over,
    }[view]
    query = select(silence).where(silence.c.tenant == tenant, wanted)
    if before:
        query = query.where(silence.c.id < before)
    with database.reading() as connection:
        return list(connection.execute(query.order_by(silence.c.id.desc()).limit(limit)))


def note_of(keyring: Keyring, row: Row[Any]) -> str:
    """The note of a silence in words; "" when there is none or its key is gone."""
    if row.note is None:
        return ""
    try:
        return unseal_text(keyring, row.sealed_with, row.note, bound("silence", row.tenant))
    except DekacardError as error:
        return f"({error})"


def hidden_now(connection: Connection, row: Row[Any]) -> int:
    """How many open alerts of the worklist this silence hides."""
    table = models.alert
    count = (
        select(func.count())
        .select_from(table)
        .where(
            table.c.tenant == row.tenant,
            table.c.is_open == 1,
            table.c.mode.in_(("live", "review")),
            _covered(_plain(row)),
        )
    )
    return int(connection.scalar(count) or 0)


def shown_conditions(connection: Connection, tenant: str, now: int) -> list[ColumnElement[bool]]:
    """What keeps silenced alerts out of the opening view; empty without silences, so that it costs nothing then."""
    rows = connection.execute(
        select(silence).where(
            silence.c.tenant == tenant, silence.c.state == "in-force", silence.c.until > now
        )
    ).all()
    return [not_(_covered(_plain(row))) for row in rows]


def covering(connection: Connection, alert: Row[Any], now: int) -> Row[Any] | None:
    """The silence in force that keeps this alert from being shown, if there is one."""
    rows = connection.execute(
        select(silence).where(
            silence.c.tenant == alert.tenant, silence.c.state == "in-force", silence.c.until > now,
            silence.c.rule.in_(("", alert.rule)), silence.c.patient.in_(("", alert.patient)),
        )
    ).all()  # fmt: skip
    if alert.kind != "recommendation" or not rows:
        return None
    unit, belongs = _whereabouts(connection, alert)
    return next(
        (
            row for row in rows
            if (row.covers_critical or alert.indicator != "critical") and _plain(row).reaches(unit, belongs)
        ),
        None,
    )  # fmt: skip


def units_of(database: Database, tenant: str) -> list[str]:
    """Care units on which patients of this client are known to be."""
    table = models.patient
    query = select(table.c.unit).where(table.c.tenant == tenant, table.c.unit != "").distinct()
    with database.reading() as connection:
        return list(connection.scalars(query.order_by(table.c.unit).limit(_MOST_UNITS)))


def _whereabouts(connection: Connection, alert: Row[Any]) -> tuple[str, frozenset[str]]:
    """Unit and groups of the patient of an alert, as the newest review found them."""
    table = models.patient
    row = connection.execute(
        select(table.c.unit, table.c.groups).where(
            table.c.tenant == alert.tenant, table.c.patient == alert.patient
        )
    ).one_or_none()
    return (row.unit, frozenset(row.groups.split(","))) if row else ("", frozenset())


def count_held_back(connection: Connection, tenant: str, numbers: Iterable[int], at: int) -> None:
    """Count what was not shown because of these silences."""
    for number in numbers:
        connection.execute(
            silence.update()
            .where(silence.c.tenant == tenant, silence.c.id == number)
            .values(times=silence.c.times + 1, last_hidden=at)
        )


# Steps ----------------------------------------------------------------------------------------------------------------


def _check(wish: Wish, limits: Limits) -> None:
    if not wish.rule and not wish.patient:
        raise RequestError("a silence names a rule, a patient, or both.", status=422)
    if wish.patient and (wish.unit or wish.group):
        raise RequestError("a silence is for one patient, or for a unit or group.", status=422)
    if wish.group and wish.group not in groups():
        raise RequestError("there is no such group of patients.", status=422)
    if not wish.reason:
        raise RequestError("a silence needs a reason.", status=422)
    if wish.until <= wish.at:
        raise RequestError("a silence ends in the future.", status=422)
    longest = limits.critical if wish.covers_critical else limits.usual
    if wish.until - wish.at > longest:
        what = "a silence of critical alerts" if wish.covers_critical else "a silence"
        raise RequestError(f"{what} lasts {longest.days} days at most here.", status=422)


def _ask(connection: Connection, *, keyring: Keyring, wish: Wish, waits: bool) -> int:
    at = micros(wish.at)
    standing = connection.scalar(
        select(func.count())
        .select_from(silence)
        .where(
            silence.c.tenant == wish.tenant,
            silence.c.state.in_(("in-force", "asked")),
            silence.c.until > at,
        )
    )
    if (standing or 0) >= _MOST_IN_FORCE:
        raise RequestError("there are too many silences; lift some first.", status=422)
    sealed_with, note = seal_text(keyring, wish.note, bound("silence", wish.tenant))
    state: SilenceState = "asked" if waits else "in-force"
    number = connection.execute(
        silence.insert()
        .values(
            tenant=wish.tenant, rule=wish.rule, patient=wish.patient, covers_critical=int(wish.covers_critical),
            state=state, reason=wish.reason, sealed_with=sealed_with, note=note if wish.note else None,
            asked_by=wish.actor, asked=at, until=micros(wish.until), unit=wish.unit, patient_group=wish.group,
        )
        .returning(silence.c.id)
    ).scalar_one()  # fmt: skip
    where = "".join(
        f", {kind} {value}" for kind, value in (("unit", wish.unit), ("group", wish.group)) if value
    )
    what = f"{wish.rule or 'every rule'}{where} until {wish.until.isoformat(timespec='minutes')}"
    _note(
        connection, keyring, wish.tenant, number, f"silence-{state}", wish.actor, wish.at, after=what,
        reason=wish.reason, patient=wish.patient,
    )  # fmt: skip
    return int(number)


def _decide(
    connection: Connection, *, keyring: Keyring, tenant: str, number: int, approve: bool, actor: str, at: datetime
) -> None:  # fmt: skip
    row = _one(connection, tenant, number)
    if row.state != "asked" or row.until <= micros(at):
        raise RequestError("this silence does not wait for a decision.", status=422)
    if row.asked_by == actor:
        raise RequestError("a second person decides; you asked for it yourself.", status=403)
    state: SilenceState = "in-force" if approve else "refused"
    connection.execute(
        silence.update()
        .where(silence.c.tenant == tenant, silence.c.id == number)
        .values(state=state, decided_by=actor, decided=micros(at))
    )
    _note(connection, keyring, tenant, number, f"silence-{state}", actor, at, patient=row.patient)


def _lift(
    connection: Connection, *, keyring: Keyring, tenant: str, number: int, actor: str, at: datetime
) -> None:
    row = _one(connection, tenant, number)
    if row.state not in {"in-force", "asked"} or row.until <= micros(at):
        raise RequestError("this silence has ended already.", status=422)
    connection.execute(
        silence.update()
        .where(silence.c.tenant == tenant, silence.c.id == number)
        .values(state="lifted", lifted_by=actor, lifted=micros(at))
    )
    _note(connection, keyring, tenant, number, "silence-lifted", actor, at, patient=row.patient)


def _one(connection: Connection, tenant: str, number: int) -> Row[Any]:
    row = connection.execute(
        select(silence).where(silence.c.tenant == tenant, silence.c.id == number)
    ).one_or_none()
    if row is None:
        raise RequestError("there is no such silence.", status=404, code="not-found")
    return row


def _plain(row: Row[Any]) -> Silence:
    return Silence(
        id=row.id, rule=row.rule, patient=row.patient, covers_critical=bool(row.covers_critical), until=row.until, unit=row.unit,
        group=row.patient_group,
    )  # fmt: skip


def _covered(one: Silence) -> ColumnElement[bool]:
    """Alerts that this silence keeps from being shown; never what could not be evaluated."""
    table = models.alert
    parts = [table.c.kind == "recommendation"]
    if one.rule:
        parts.append(table.c.rule == one.rule)
    if one.patient:
        parts.append(table.c.patient == one.patient)
    if not one.covers_critical:
        parts.append(table.c.indicator != "critical")
    if one.unit or one.group:
        where = [models.patient.c.unit == one.unit] if one.unit else []
        if one.group:
            where.append(models.patient.c.groups.contains(marks_of([one.group]), autoescape=True))
        parts.append(
            exists().where(
                models.patient.c.tenant == table.c.tenant, models.patient.c.patient == table.c.patient, *where
            )
        )  # fmt: skip
    return and_(*parts)


def _note(
    connection: Connection, keyring: Keyring, tenant: str, number: int, action: str, actor: str, at: datetime, *,
    after: str = "", reason: str = "", patient: str = "",
) -> None:  # fmt: skip
    entry = AuditEntry(
        tenant=tenant, at=at, actor=actor, action=action, object=f"silence/{number}", patient=patient, after=after,
        reason=reason,
    )  # fmt: skip
    audit.append(connection, keyring, entry)
