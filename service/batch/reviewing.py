"""From the hits of one shard to the reviews of its patients, sorted by patient."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import orjson

from fhir_adapter.bundles import group_by_patient, resources_in
from fhir_adapter.elements import Resource
from rules.alike import silent_about_all_of_this_age
from rules.engine import Engine
from rules.errors import EngineError, RequestError
from service.batch.answers import MEASURED, Answers
from service.batch.deletions import Deletions
from service.batch.medications import medications_for
from service.batch.notes import Notebook
from service.batch.shards import Form, Record
from service.batch.untriggered import Traits, Untriggered, of_this_age, traits_of
from service.batch.values import CRASHED, Options, Reject, ShardReport
from service.batch.versions import Outdated, is_outdated
from service.documents import NOT_IN_DOCUMENT, TYPES_OF_SOURCE
from service.front_door import read_json
from service.review import Case, Review, review

_BROKEN: Final = "a line could not be read"
_SET_ASIDE: Final = "The worker process crashed each time it reviewed the patient; nothing is said."
_MOST_TRAITS: Final = 262_144
_NOTHING_TO_SAY: Final = ShardReport(patients=1, reviewed=1, silent=1)


class Reviewer:
    """Reviews patients with one engine; one per worker."""

    def __init__(
        self,
        engine: Engine,
        options: Options,
        names: Sequence[str],
        shelf: Mapping[str, Resource],
        exported: Iterable[str],
        unread: Mapping[str, str],
    ) -> None:
        self._engine = engine
        self._options = options
        self._names = names
        self._shelf = shelf
        self._exported = frozenset(exported)
        self._as_of = datetime.fromisoformat(options.as_of)
        self._zone = ZoneInfo(options.zone)
        self._answers = Answers(engine.rulebook, self._as_of)
        self._unread = unread
        self._today = self._as_of.astimezone(self._zone).date()
        self._silent: set[Traits | None] = set()
        self._by_day: set[Traits] = set()
        self._untriggered = Untriggered(
            engine, self._as_of, self._today, self._silent_alone, quick=options.sieve
        )
        self.notebook: Notebook | None = None
        self.deletions = Deletions()
        self.outdated: Outdated = {}
        self.tell: Callable[[str], None] | None = None
        self.aside: frozenset[str] = frozenset()

    def review_all(
        self, patients: Iterable[tuple[str, list[Record]]], report: ShardReport
    ) -> Iterator[bytes]:
        """One JSON line for each patient about whom anything is to be said, in the order given."""
        for key, own in patients:
            if key in self.aside:
                self._set_aside(key, own, report)
                continue
            if self.tell is not None:
                self.tell(key)
            line = self.review_patient(key, own, report)
            if line is not None:
                yield line

    def _set_aside(self, key: str, records: list[Record], report: ShardReport) -> None:
        """Name a patient whose data nobody may touch again in this run."""
        report.patients += 1
        first = min(records, key=_place)
        _Gathered(self._names, report, key).reject(first, CRASHED, _SET_ASIDE)
        if self.notebook is not None:
            self.notebook.take_failure(key, CRASHED)

    def review_patient(self, key: str, records: list[Record], report: ShardReport) -> bytes | None:
        """The answer about one patient as a JSON line; None when nothing is to be said.

        Most of a population are known by their Patient resource alone. A review takes nothing from that but a few
        traits, so silence about one of them is silence about all who share them; and about all of the same age,
        unless the day of birth was looked at.
        """
        watched = self.notebook is not None and self.notebook.watches(key)
        if watched or self.deletions.listed:
            return self._reviewed(key, records, report)[0]
        if len(records) > 1:
            if self._untriggered.holds_of(key, records):
                _nothing_said(report)
                report.untriggered += 1
                return None
            return self._reviewed(key, records, report)[0]
        traits = traits_of(key, records[0])
        if traits is None:
            return self._reviewed(key, records, report)[0]
        rough = of_this_age(traits, self._today)
        if rough not in self._silent and traits not in self._silent:
            own = ShardReport()
            line, done = self._reviewed(key, records, own)
            if line is None and done is not None and not done.gap_cards and own == _NOTHING_TO_SAY:
                self._remember(traits, rough, done)
            report.add(own)
            return line
        _nothing_said(report)
        return None

    def _silent_alone(self, key: str, record: Record) -> Review | None:
        """The review of a patient as if there were only this record; None unless nothing at all came of it."""
        report = ShardReport()
        gathered = _Gathered(self._names, report, key, {})
        gathered.take(record)
        done = self._review(key, gathered.resources, gathered.unread(self._exported))
        line = self._answers.answer(key, done, self._unread, report)
        return done if line is None and not done.gap_cards and report == ShardReport() else None

    def _remember(self, traits: Traits, rough: Traits | None, done: Review) -> None:
        """Keep for how many this silence stands."""
        if rough is not None and rough not in self._by_day:
            if len(self._silent) < _MOST_TRAITS and silent_about_all_of_this_age(
                self._engine, done.facts, as_of=self._as_of, today=self._today, asked=MEASURED
            ):
                self._silent.add(rough)
                return
            self._by_day.add(rough)  # few: as many as there are ages
        if len(self._silent) < _MOST_TRAITS:
            self._silent.add(traits)

    def _reviewed(
        self, key: str, records: list[Record], report: ShardReport
    ) -> tuple[bytes | None, Review | None]:
        records.sort(key=_place)
        report.patients += 1
        gathered = _Gathered(self._names, report, key, self.outdated)
        for record in records:
            gathered.take(record)
        unread = gathered.unread(self._exported)
        resources = self.deletions.remaining(gathered.resources)
        report.deleted += len(gathered.resources) - len(resources)
        if self.deletions.patient_left(key, gathered.resources, resources):
            report.patients -= 1
            return None, None
        try:
            done = self._review(key, resources, unread)
        except EngineError:
            gathered.reject(records[0], "engine", "The engine did not evaluate the patient.")
            if self.notebook is not None:
                self.notebook.take_failure(key, "engine-fault")
            return None, None
        report.reviewed += 1
        if self.notebook is not None:
            self.notebook.take(key, done)
        answer = self._answers.answer(key, done, self._unread, report)
        if answer is None:
            report.silent += 1
            return None, done
        return orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE), done

    def _review(self, key: str, resources: list[Resource], unread: Mapping[str, str]) -> Review:
        case = Case(
            resources=[*resources, *medications_for(resources, self._shelf)],
            patient_id=key,
            profile=self._options.profile,
            verbosity=self._options.verbosity,
            zone=self._zone,
            unread=unread,
            quiet=self._options.quiet,
            asked=MEASURED,
        )
        return review(case, self._as_of, self._engine, validation=self._options.validation)


def _nothing_said(report: ShardReport) -> None:
    report.patients += 1
    report.reviewed += 1
    report.silent += 1


def _place(record: Record) -> tuple[int, int, int]:
    return record.file, record.offset, record.line


class _Gathered:
    """The resources of one patient as they come out of the records."""

    def __init__(
        self, names: Sequence[str], report: ShardReport, key: str, outdated: Outdated | None = None
    ) -> None:
        self._names, self._report, self._key = names, report, key
        self._outdated = outdated or {}
        self.resources: list[Resource] = []
        self._lines = False
        self._types: set[str] = set()
        self._broken: set[str] = set()

    def take(self, record: Record) -> None:
        """Read one record strictly; what is refused leaves its type unread for this patient."""
        if record.form is Form.BROKEN:
            self._lines = True
            self._broken.add(record.raw.decode())
            self.reject(record, "not-json", "The line is no JSON.")
            return
        try:
            value = read_json(record.raw, max_bytes=sys.maxsize)
        except RequestError as error:
            self._broken.add(_type_of(record.raw))
            self._lines = self._lines or record.form is Form.LINE
            self.reject(record, "not-strict-json", str(error))
            return
        if record.form is Form.LINE:
            self._lines = True
            if is_outdated(value, self._outdated):
                self._report.outdated += 1
            else:
                self.resources.append(value)
        elif record.form is Form.SUPPLY:
            self._types.update(value["types"])
            self.resources += value["resources"]
        else:
            own = resources_in(value)
            self._types.update(str(one.get("resourceType")) for one in own)
            self.resources += group_by_patient(own).get(self._key, own)

    def unread(self, exported: frozenset[str]) -> dict[str, str]:
        """Sources of which nothing could be had for this patient, and those with a broken line."""
        present = self._types | (exported if self._lines else set())
        unread = {
            source: NOT_IN_DOCUMENT if not self._lines else "not fetched"
            for source, types in TYPES_OF_SOURCE.items()
            if present.isdisjoint(types)
        }
        for source, types in TYPES_OF_SOURCE.items():
            if "" in self._broken or not self._broken.isdisjoint(types):
                unread[source] = _BROKEN
        return unread

    def reject(self, record: Record, code: str, says: str) -> None:
        self._report.rejects.append(
            Reject(
                file=self._names[record.file],
                line=record.line + 1,
                code=code,
                says=says,
                patient=self._key,
                number=record.file,
                offset=record.offset,
            )
        )


def _type_of(raw: bytes) -> str:
    """The type of a line that parses, however bad it is otherwise; empty when even that is not sure."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return ""
    kind = value.get("resourceType") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) and kind != "Bundle" else ""


def count(values: Iterable[str], into: dict[str, int]) -> None:
    """Add the values to a tally."""
    for name, number in Counter(values).items():
        into[name] = into.get(name, 0) + number
