"""The statements that nearly every line of the spool runs, built once: building them anew costs more than running them.

Parameters that find a row are called ``key_`` and its column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Executable, Table, bindparam, case, select
from sqlalchemy.dialects import postgresql, sqlite

from service.alerts import models

_INSERTS: dict[str, Callable[[Table], Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def _here(table: Table, *names: str) -> tuple[ColumnElement[bool], ...]:
    return tuple(table.c[name] == bindparam(f"key_{name}") for name in names)


evaluation_taken = select(models.evaluation.c.id).where(*_here(models.evaluation, "tenant", "id"))
evaluation_new = models.evaluation.insert()

patient_seen = (
    models.patient.update()
    .where(*_here(models.patient, "tenant", "patient"))
    .values(last_seen=bindparam("now"), unit=bindparam("now_unit"), groups=bindparam("now_groups"))
)

evidence_there = select(models.evidence.c.stored).where(*_here(models.evidence, "tenant", "digest"))
evidence_seen = (
    models.evidence.update()
    .where(*_here(models.evidence, "tenant", "digest"))
    .values(stored=bindparam("now"))
)
evidence_new = models.evidence.insert()

alerts_of_patient = (
    select(models.alert)
    .where(*_here(models.alert, "tenant", "patient"))
    .order_by(models.alert.c.episode)
)
alert_counted = (
    models.alert.update()
    .where(*_here(models.alert, "tenant", "id"))
    .values(seen_count=models.alert.c.seen_count + 1, last_seen=bindparam("newest"))
    .returning(models.alert)
)

card_new = models.issued_card.insert()
feedback_before_card = select(models.feedback).where(
    *_here(models.feedback, "tenant", "card"), models.feedback.c.matched == 0
)

_occurred: dict[str, Executable] = {
    name: insert(models.occurrence).on_conflict_do_update(
        index_elements=["tenant", "alert", "origin", "evidence_hash"],
        set_={"times": models.occurrence.c.times + 1},
    )
    for name, insert in _INSERTS.items()
}


def _remembered(dialect: str) -> Executable:
    table = models.answer
    new = _INSERTS[dialect](table)
    newest = case((new.excluded.at > table.c.at, new.excluded.at), else_=table.c.at)
    kept: Executable = new.on_conflict_do_update(
        index_elements=list(table.primary_key.columns), set_={"at": newest}
    )
    return kept


_answered = {name: _remembered(name) for name in _INSERTS}


def occurrence_counted(connection: Connection) -> Executable:
    """A sighting of an alert by one origin: new, or one more."""
    return _occurred[connection.dialect.name]


def answer_kept(connection: Connection) -> Executable:
    """An answer for suppression: new, or only newer."""
    return _answered[connection.dialect.name]
