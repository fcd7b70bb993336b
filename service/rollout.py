"""How far each rule may speak for each client: off, shadow (recorded only), review (worklist only), live (cards).

All rules are evaluated alike; the mode decides afterwards. A change needs a reason, and a second person where the site
asks for one. The worker reads the modes from a snapshot in memory that is renewed in the background.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rules.errors import RequestError
from service.alerts.past_answers import micros
from service.alerts.values import MODES, AuditEntry, Mode

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from rules.assessment import Recommendation, Superseded
    from rules.rulebook import Rulebook
    from service.alerts.database import Database
    from service.alerts.keyring import Keyring
    from service.cds_hooks.client_profile import RuleModes

_RENEW_SECONDS = 5.0
# After a pause without calls, the first call waits for the store, but no longer than for earlier answers
_IDLE_SECONDS = 10.0
_LONGEST_WAIT = 0.05


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Recommendations by how far they may go; ``hidden`` are live rules that gave way to one that is not live."""

    live: tuple[Recommendation, ...] = ()
    review: tuple[Recommendation, ...] = ()
    shadow: tuple[Recommendation, ...] = ()
    off: tuple[Recommendation, ...] = ()
    hidden: tuple[Superseded, ...] = ()


def split(
    recommendations: Iterable[Recommendation],
    superseded: Iterable[Superseded],
    default: Mode,
    modes: Mapping[str, Mode],
) -> Split:
    """Sort an answer by mode. A rule in trial must not silence a live one: such pairs are named in ``hidden``."""
    sorted_: dict[str, list[Recommendation]] = {mode: [] for mode in MODES}
    for one in recommendations:
        sorted_[modes.get(one.rule, default)].append(one)
    hidden = tuple(
        one
        for one in superseded
        if modes.get(one.rule, default) == "live" and modes.get(one.by, default) != "live"
    )
    return Split(hidden=hidden, **{mode: tuple(held) for mode, held in sorted_.items()})


def modes_in_force(
    rulebook: Rulebook, rules: RuleModes, decided: Mapping[str, Mode]
) -> dict[str, Mode]:
    """How far each rule reaches for one client: as its profile says, or as was decided since.

    A live rule that no clinician has signed is only recorded (``shadow``) unless the client accepts drafts.
    """
    modes: dict[str, Mode] = {}
    for rule, card in rulebook.cards.items():
        mode = decided.get(rule, rules.of(rule))
        signed = card.reviewed is not None or rulebook.pack_of[rule].head.status == "reviewed"
        unsigned = mode == "live" and not (signed or rules.accept_draft)
        modes[rule] = "shadow" if unsigned else mode
    return modes


class ModeBoard:
    """The modes of all clients as this worker knows them; renewed in the background while calls come.

    ``database`` gives the connection when it is needed. What was read last is kept in the file ``memory``: a rule
    that was silenced stays silent when the service starts while the store is down. ``clock`` counts seconds.
    """

    def __init__(
        self, database: Callable[[], Database] | None = None, memory: Path | None = None, *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._database = database
        self._memory = memory
        self._clock = clock
        self._renewed = 0.0
        self._read = clock()  # when the store was last read, or nothing had been decided yet
        self._store_answers = True
        self._renewal: threading.Thread | None = None
        self._lock = threading.Lock()
        remembered = self._remembered()
        self._modes: dict[str, dict[str, Mode]] = remembered or {}
        if remembered is None:
            self._try_to_renew()

    def of(self, tenant: str) -> Mapping[str, Mode]:
        """Rules of the client whose mode was set by hand; all others have the mode of its profile.

        After a pause the modes are read first, within a limit; while the store does not answer, what was known holds.
        """
        if self._database is not None and self._clock() - self._renewed > _RENEW_SECONDS:
            self._renew_in_background()
        renewal = self._renewal
        if (
            renewal is not None
            and self._clock() - self._read > _IDLE_SECONDS
            and self._store_answers
        ):
            renewal.join(_LONGEST_WAIT)
            self._store_answers = not renewal.is_alive()
        return self._modes.get(tenant, {})

    def renew(self) -> None:
        """Read the modes now; when the store does not answer, what was known stays."""
        if self._database is None:
            return
        from service.alerts import models

        table = models.rule_mode
        found: dict[str, dict[str, Mode]] = {}
        with self._database().reading() as connection:
            for row in connection.execute(table.select()):
                found.setdefault(row.tenant, {})[row.rule] = row.mode
        changed, self._modes, self._renewed = found != self._modes, found, self._clock()
        self._read, self._store_answers = self._renewed, True
        if self._memory is not None and (changed or not self._memory.exists()):
            part = self._memory.with_name(f".{self._memory.name}.{os.getpid()}")
            part.write_bytes(msgspec.json.encode(found))
            part.replace(self._memory)

    def _remembered(self) -> dict[str, dict[str, Mode]] | None:
        if self._memory is None:
            return None
        try:
            return msgspec.json.decode(self._memory.read_bytes(), type=dict[str, dict[str, Mode]])
        except (OSError, msgspec.MsgspecError):
            return None

    def _renew_in_background(self) -> None:
        with self._lock:
            if self._clock() - self._renewed <= _RENEW_SECONDS:
                return
            self._renewed = self._clock()
            self._renewal = threading.Thread(
                target=self._try_to_renew, name="mode-board", daemon=True
            )
            self._renewal.start()

    def _try_to_renew(self) -> None:
        from rules.errors import Unavailable

        try:
            self.renew()
        except Unavailable:
            return  # what was known stays in force


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change of mode, asked for or made."""

    id: int
    tenant: str
    rule: str
    before: str
    after: Mode
    state: str
    reason: str
    asked_by: str
    decided_by: str


def ask(
    database: Database, keyring: Keyring, *, tenant: str, rule: str, before: Mode, after: Mode, reason: str, actor: str,
    at: datetime, second_person: bool,
) -> Change:  # fmt: skip
    """Ask for a mode; it is in force at once unless the site wants a second person for it.

    Raises:
        RequestError: no reason, or no such mode.
    """
    if after not in MODES:
        raise RequestError(f"there is no mode {after!r}; choose {', '.join(MODES)}.", status=422)
    if not reason.strip():
        raise RequestError("a change of mode needs a reason.", status=422)
    wanted = {
        "tenant": tenant, "rule": rule, "before": before, "after": after, "reason": reason.strip(), "asked_by": actor,
        "asked": micros(at), "state": "asked" if second_person else "made",
    }  # fmt: skip
    return database.write(partial(_ask, keyring=keyring, wanted=wanted, at=at))


def decide(
    database: Database,
    keyring: Keyring,
    *,
    tenant: str,
    change: int,
    approve: bool,
    actor: str,
    at: datetime,
) -> Change:
    """Approve or refuse a change that somebody else asked for.

    Raises:
        RequestError: it is not waiting, or the same person asked for it.
    """
    return database.write(
        partial(
            _decide,
            keyring=keyring,
            tenant=tenant,
            number=change,
            approve=approve,
            actor=actor,
            at=at,
        )
    )


def mode_of(database: Database, tenant: str, rule: str) -> Mode | None:
    """The mode that was set by hand; None where the client's profile decides."""
    from service.alerts import models

    table = models.rule_mode
    query = table.select().where(table.c.tenant == tenant, table.c.rule == rule)
    with database.reading() as connection:
        row = connection.execute(query).one_or_none()
    return as_mode(row.mode) if row is not None else None


def changes(database: Database, tenant: str, rule: str = "") -> list[Change]:
    """Changes of a client, newest first."""
    from service.alerts import models

    table = models.mode_change
    query = table.select().where(table.c.tenant == tenant).order_by(table.c.id.desc())
    if rule:
        query = query.where(table.c.rule == rule)
    with database.reading() as connection:
        return [_change_of(dict(row._mapping)) for row in connection.execute(query)]


def _ask(
    connection: Connection, *, keyring: Keyring, wanted: dict[str, object], at: datetime
) -> Change:
    from service.alerts import models

    table = models.mode_change
    number = connection.execute(table.insert().values(wanted).returning(table.c.id)).scalar_one()
    made = _change_of({**wanted, "id": number, "decided_by": ""})
    if made.state == "made":
        _put_in_force(connection, made, at)
    _audit(connection, keyring, made, f"mode-{made.state}", made.asked_by, at)
    return made


def _decide(
    connection: Connection,
    *,
    keyring: Keyring,
    tenant: str,
    number: int,
    approve: bool,
    actor: str,
    at: datetime,
) -> Change:
    from service.alerts import models

    table = models.mode_change
    row = connection.execute(
        table.select().where(table.c.tenant == tenant, table.c.id == number)
    ).one_or_none()
    if row is None or row.state != "asked":
        raise RequestError("this change does not wait for a decision.", status=422)
    if row.asked_by == actor:
        raise RequestError(
            "a second person decides; you asked for this change yourself.", status=403
        )
    state = "made" if approve else "refused"
    connection.execute(
        table.update()
        .where(table.c.tenant == tenant, table.c.id == number)
        .values(state=state, decided_by=actor, decided=micros(at))
    )
    made = _change_of({**row._mapping, "state": state, "decided_by": actor})
    if approve:
        _put_in_force(connection, made, at)
    _audit(connection, keyring, made, f"mode-{state}", actor, at)
    return made


def _put_in_force(connection: Connection, change: Change, at: datetime) -> None:
    from service.alerts import models

    table = models.rule_mode
    values = {"mode": change.after, "since": micros(at)}
    here = (table.c.tenant == change.tenant) & (table.c.rule == change.rule)
    if connection.execute(table.update().where(here).values(values)).rowcount == 0:
        connection.execute(table.insert().values(tenant=change.tenant, rule=change.rule, **values))


def _audit(
    connection: Connection, keyring: Keyring, change: Change, action: str, actor: str, at: datetime
) -> None:
    from service import audit

    entry = AuditEntry(
        tenant=change.tenant, at=at, actor=actor, action=action, object=f"rule/{change.rule}", before=change.before,
        after=change.after, reason=change.reason,
    )  # fmt: skip
    audit.append(connection, keyring, entry)


def _change_of(row: Mapping[str, object]) -> Change:
    return msgspec.convert({name: row[name] for name in Change.__struct_fields__}, Change)


def as_mode(word: str) -> Mode:
    """The mode of that name; raises RequestError."""
    if word not in MODES:
        raise RequestError(f"there is no mode {word!r}; choose {', '.join(MODES)}.", status=422)
    return word
