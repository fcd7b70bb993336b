"""``--store``: what a run found becomes alerts of one client, the same as if a hook had found it; once each.

A run is known by its results, its client and that client's modes: the same data reviewed again at the same
moment change nothing, and a run that was killed while it was handed over goes on where it was. Instants
are those of the review, so what a hook saw later stands above what an export of last night says.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import Connection, func, select

from rules.errors import DekacardError, RequestError, Unavailable
from service import audit
from service.alerts import models
from service.alerts.intake import Intake
from service.alerts.lines import pack_line
from service.alerts.past_answers import micros
from service.alerts.recorder import may_speak
from service.alerts.runs import begin_run, end_run, run_ended
from service.alerts.values import AuditEntry, Call, Clearing, FailureLine, ReviewLine
from service.batch.answers import MEASURED
from service.batch.notes import Note, Watched, notes_in
from service.batch.values import Interrupted, Reject
from service.batch.workshop import WATCHED, write_whole
from service.documents import TYPES_OF_SOURCE
from service.evidence_vault import bound, unseal_text
from service.pack_archive import archive

if TYPE_CHECKING:
    from rules.rulebook import Rulebook
    from service.alerts.record import Record
    from service.alerts.values import Mode
    from service.batch.inputs import Inputs
    from service.cds_hooks.client_profile import ClientProfile

_log = logging.getLogger("dekacard.record")
_AT_ONCE: Final = 100
_HOOK: Final = "patient-view"  # a patient of a population is reviewed as if the record were opened
_NO_ANSWER: Final = (
    "The store does not answer. What is done is kept; go on with --resume once it does."
)


class Handover:
    """Gives a run to the record of one client."""

    def __init__(
        self,
        record: Record,
        rulebook: Rulebook,
        profile: ClientProfile,
        modes: Mapping[str, Mode],
        *,
        verbosity: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = record.database
        self._keyring = record.keyring
        self._options = record.options
        self._rulebook = rulebook
        self._tenant = profile.id
        self._mode = profile.rules.mode
        self._modes = {rule: mode for rule, mode in modes.items() if mode != self._mode}
        self._may_speak = may_speak(rulebook.cards, _HOOK, verbosity)
        self._quiet = tuple(sorted(rule for rule, mode in modes.items() if mode != "live"))
        self._clock = clock

    def refuse_future(self, as_of: str) -> None:
        """What hooks see until a moment to come would count as older than the run; raises RequestError."""
        if as_of and datetime.fromisoformat(as_of) > self._clock():
            raise RequestError("--store takes no moment in the future.")

    def refuse_older_data(self, as_of: str, exported: str) -> None:
        """Data of an earlier moment would pass for newer than what hooks saw since; raises RequestError."""
        if as_of and exported and datetime.fromisoformat(as_of) > datetime.fromisoformat(exported):
            raise RequestError(
                f"--store takes no --as-of later than the export itself ({exported}): "
                "what happened in between would look as if it had ended."
            )

    def prepare(self, work: Path) -> None:
        """Tell the workers whose silence matters: patients of this client who have alerts.

        Raises:
            Interrupted: the store does not answer.
        """
        if (work / WATCHED).exists():
            return
        try:
            write_whole(work / WATCHED, Watched.of(self._with_alerts()).to_bytes())
        except Unavailable:
            raise Interrupted(_NO_ANSWER) from None

    def hand_over(
        self,
        told: Mapping[str, Any],
        rejects: Iterable[Reject],
        inputs: Inputs,
        notes: Sequence[Path],
    ) -> dict[str, int]:
        """Take every note into the record; what is there already is passed over.

        Returns how many patients were taken in, and what became of alerts; of a run that had been taken in whole
        before, only what is new, and how many were there.

        Raises:
            Interrupted: the store does not answer.
        """
        as_of = datetime.fromisoformat(told["as_of"])
        run = self._run_of(told)
        clearing = Clearing(rules=self._may_speak, unread=uncertain_sources(rejects, inputs))
        try:
            return self._take_all(run, as_of, told, notes, clearing)
        except Unavailable:
            raise Interrupted(_NO_ANSWER) from None

    def _take_all(
        self,
        run: str,
        as_of: datetime,
        told: Mapping[str, Any],
        notes: Sequence[Path],
        clearing: Clearing,
    ) -> dict[str, int]:
        before = self._outcome_of(run) if run_ended(self._database, self._tenant, run) else {}
        begin_run(
            self._database, tenant=self._tenant, run=run, source=_source(told), digest=run,
            knowledge=" ".join(f"{name}={mark}" for name, mark in told["knowledge"].items()), at=as_of,
        )  # fmt: skip
        self._database.write(partial(archive, rulebook=self._rulebook, now=self._clock()))
        not_taken = 0
        waiting = _all(notes)
        while group := list(islice(waiting, _AT_ONCE)):
            lines = [self._line(note, run, as_of, clearing) for note in group]
            not_taken += self._take(lines)
        whole = self._outcome_of(run)
        counts = {name: number - before.get(name, 0) for name, number in whole.items()}
        counts |= {"not-taken": not_taken, "there-before": before.get("patients", 0)}
        self._database.write(partial(self._finish, run=run, counts=counts, at=as_of))
        end_run(
            self._database, tenant=self._tenant, run=run, state="done",
            counts={**told["patients"], "not-taken": not_taken, **{name: n for name, n in whole.items() if name != "patients"}},
            at=self._clock(),
        )  # fmt: skip
        return counts

    def _line(
        self, note: Note, run: str, as_of: datetime, clearing: Clearing
    ) -> ReviewLine | FailureLine:
        call = Call(
            id=hashlib.sha256(f"{run}\n{note.patient}".encode()).hexdigest()[:32],
            tenant=self._tenant,
            patient=note.patient,
            received=as_of,
            hook="batch",
            source=f"run/{run}",
            run=run,
            mode=self._mode,
            modes=self._modes,
        )
        if note.error:
            return FailureLine(call=call, error=note.error)
        return ReviewLine(
            call=call,
            answer=note.answer,
            facts=note.facts,
            gaps=note.gaps,
            gap_cards=note.gap_cards,
            withdrawn=note.withdrawn,
            clearing=clearing,
            quiet=self._quiet,
            asked=MEASURED,
        )

    def _take(self, lines: Sequence[ReviewLine | FailureLine]) -> int:
        """Take a group in; a line that cannot be is kept aside with its reason, and counted."""
        try:
            self._database.write(partial(self._apply, lines=lines))
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  one of them is at fault: find it, keep it aside
            if len(lines) > 1:
                return sum(self._take([line]) for line in lines)
            reason = str(error) if isinstance(error, DekacardError) else type(error).__name__
            _log.error("a patient of a run could not be taken in (%s); see spool_reject", reason)
            self._database.write(partial(self._put_aside, line=lines[0], reason=reason))
            return 1
        return 0

    def _apply(self, connection: Connection, lines: Sequence[ReviewLine | FailureLine]) -> None:
        intake = Intake(
            connection,
            self._keyring,
            quiet=timedelta(days=self._options.quiet_days),
            receivers=self._options.receivers,
        )
        for line in lines:
            intake.apply(line)
        intake.close()

    def _put_aside(
        self, connection: Connection, line: ReviewLine | FailureLine, reason: str
    ) -> None:
        connection.execute(
            models.spool_reject.insert().values(
                segment=line.call.source, position=0, problem=reason, at=micros(self._clock()),
                body=pack_line(line, self._keyring),
            )
        )  # fmt: skip

    def _finish(
        self, connection: Connection, run: str, counts: Mapping[str, int], at: datetime
    ) -> None:
        entry = AuditEntry(
            tenant=self._tenant, at=at, actor=f"run/{run}", action="run", object=f"run/{run}",
            after=",".join(f"{name}={number}" for name, number in counts.items()),
        )  # fmt: skip
        audit.append(connection, self._keyring, entry)

    def _outcome_of(self, run: str) -> dict[str, int]:
        """How many patients are in the record by this run, and what happened to alerts, by the name of the event."""
        event, evaluation, seen = models.event, models.evaluation, models.occurrence
        of_run = (evaluation.c.tenant == self._tenant) & (evaluation.c.run == run)
        happened = (
            select(event.c.action, func.count())
            .join(
                evaluation,
                (evaluation.c.tenant == event.c.tenant) & (evaluation.c.id == event.c.evaluation),
            )
            .where(of_run)
            .group_by(event.c.action)
            .order_by(event.c.action)
        )
        alerts = select(func.count(seen.c.alert.distinct())).where(
            seen.c.tenant == self._tenant, seen.c.origin == f"run/{run}"
        )
        with self._database.reading() as connection:
            told = {
                "patients": connection.scalar(select(func.count()).where(of_run)) or 0,
                **{str(action): int(number) for action, number in connection.execute(happened)},
            }
            begun = told.get("opened", 0) + told.get("recurred", 0)
            return told | {"seen-again": (connection.scalar(alerts) or 0) - begun}

    def _with_alerts(self) -> Iterator[str]:
        patient, alert = models.patient, models.alert
        query = select(patient).where(
            patient.c.tenant == self._tenant,
            select(alert.c.id)
            .where(alert.c.tenant == patient.c.tenant, alert.c.patient == patient.c.patient)
            .exists(),
        )
        with self._database.reading() as connection:
            for row in connection.execute(query):
                name = bound("patient", row.tenant, row.patient)
                yield unseal_text(self._keyring, row.sealed_with, row.reference, name)

    def _run_of(self, told: Mapping[str, Any]) -> str:
        modes = [self._mode, sorted(self._modes.items())]
        marked = msgspec.json.encode([self._tenant, modes, dict(told)], order="deterministic")
        return hashlib.sha256(marked).hexdigest()[:32]


def uncertain_sources(rejects: Iterable[Reject], inputs: Inputs) -> tuple[str, ...]:
    """Sources of which something was rejected that may have been anybody's: no alert that needs them is cleared."""
    kinds = {source.name: source.kind for source in inputs.sources}
    lost = {kinds.get(one.file, "") for one in rejects if not one.patient}
    return tuple(
        source
        for source, types in sorted(TYPES_OF_SOURCE.items())
        if "" in lost or not lost.isdisjoint(types)
    )


def modes_set_by_hand(record: Record, tenant: str) -> dict[str, Mode]:
    """Modes that were decided for a client since its profile was written; raises Unavailable."""
    table = models.rule_mode
    with record.database.reading() as connection:
        rows = connection.execute(table.select().where(table.c.tenant == tenant))
        return {row.rule: row.mode for row in rows}


def _source(told: Mapping[str, Any]) -> str:
    """What a list of runs shows: names of inputs may say whose they are, so it is only counted."""
    return f"{len(told['inputs'])} files, {sum(one['bytes'] for one in told['inputs'])} bytes"


def _all(notes: Sequence[Path]) -> Iterator[Note]:
    for path in notes:
        yield from notes_in(path)
