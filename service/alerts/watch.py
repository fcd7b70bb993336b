"""One review against the alerts of its patient: open, count, escalate, give way, mark, clear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Row

from rules.assessment import Gap
from rules.errors import DekacardError
from service.alerts import models, statements
from service.alerts.keyring import Keyring
from service.alerts.lifecycle import OPEN, SEVERITIES, Known, Seen, observe
from service.alerts.outbox import announce
from service.alerts.past_answers import instant, micros
from service.alerts.priority import added_up
from service.alerts.sightings import Sighting, evidence_state, may_clear
from service.alerts.tally import Tally
from service.alerts.unrepeated import only_grew_old
from service.alerts.values import Call, Receiver
from service.evidence_vault import recorded_answer

SYSTEM = "dekacard"
NOT_REPEATED = "not-repeated"


class Watch:
    """The alerts of one patient while one review is taken in."""

    def __init__(
        self, connection: Connection, keyring: Keyring, tally: Tally, call: Call, patient: str, *,
        quiet: timedelta, receivers: tuple[Receiver, ...],
    ) -> None:  # fmt: skip
        self._connection = connection
        self._keyring = keyring
        self._tally = tally
        self._call = call
        self._patient = patient
        self._quiet = quiet
        self._receivers = [one for one in receivers if one.tenant == call.tenant]
        self._at = micros(call.received)
        here = {"key_tenant": call.tenant, "key_patient": patient}
        rows = connection.execute(statements.alerts_of_patient, here)
        self._newest: dict[str, Row[Any]] = {row.key: row for row in rows}
        self._holding: set[str] = set()

    def see(self, sighting: Sighting) -> None:
        """Take in that this holds now."""
        key = self._key(sighting.rule, sighting.about)
        self._holding.add(key)
        row = self._newest.get(key)
        course = observe(
            _known(row) if row is not None else None,
            Seen(
                indicator=sighting.indicator,
                evidence_hash=sighting.evidence_hash,
                at=self._call.received,
            ),
            self._quiet,
        )
        if row is None or course in {"first", "recurred"}:
            number = self._open(key, sighting, course, row)
        else:
            number = int(row.id)
            self._go_on(row, sighting, course)
        self._occurred(number, sighting)

    def holds(self, rule: str, about: str) -> None:
        """Take in that this still holds, though nobody was told again."""
        row = self._held(rule, about)
        if row is not None:
            self._count(row, {})

    def gives_way(self, rule: str, about: str, by: str) -> None:
        """Take in that a stronger rule speaks for this one."""
        row = self._held(rule, about)
        if row is None or row.state not in OPEN:
            return
        values: dict[str, Any] = {}
        if row.suppressed_by != by and not self._late(row):
            values |= self._moved(row, suppressed_by=by)
            self._tell(row, "suppressed", after=by)
        self._count(row, values)

    def mark_evidence(self, now: Mapping[str, frozenset[str]]) -> None:
        """Mark every alert, open or closed, that rests on a result which was amended or withdrawn.

        A late line knows values that were valid then; what was taken back stays so.
        """
        for row in self._newest.values():
            state = evidence_state(msgspec.json.decode(row.sources or "{}"), now)
            if not state or row.evidence_state == state:
                continue
            if state != "withdrawn" and self._late(row):
                continue
            self._change(row, self._moved(row, evidence_state=state, new_data=1))
            self._tell(row, f"evidence-{state}", before=row.evidence_state, after=state)

    def clear_the_rest(
        self, *, answer: Mapping[str, Any], facts: Mapping[str, Any], unread: Iterable[str], gaps: Iterable[Gap],
        evaluated: Iterable[str], now: Mapping[str, frozenset[str]],
    ) -> None:  # fmt: skip
        """Close what no longer holds, where everything that its rule needs was read.

        What is silent only because its result grew old stays open, marked ``not-repeated``.
        """
        failures = answer["failures"]
        names, gaps, unread = set(evaluated), list(gaps), set(unread)
        for key, row in self._newest.items():
            if row.state not in OPEN or key in self._holding or self._late(row) or not names:
                continue
            about_rule = row.kind == "recommendation"
            if may_clear(
                msgspec.json.decode(row.needs or "[]"), msgspec.json.decode(row.concerns or "[]"), row.rule,
                unread=unread, gaps=gaps if about_rule else (), failures=failures, evaluated=names, rule_names=about_rule,
            ):  # fmt: skip
                if about_rule and self._only_grew_old(row, answer, facts, now):
                    self._stay_open(row)
                else:
                    self._clear(row)

    # Steps -----------------------------------------------------------------------------------------------------

    def _only_grew_old(
        self, row: Row[Any], answer: Mapping[str, Any], facts: Mapping[str, Any], now: Mapping[str, frozenset[str]]
    ) -> bool:  # fmt: skip
        sources = msgspec.json.decode(row.sources or "{}")
        if not any(sources.values()) or evidence_state(sources, now):
            return False  # it rests on no result, or on one that was taken back or amended
        try:
            described = recorded_answer(
                self._connection, self._keyring, self._call.tenant, row.evaluation
            )
        except DekacardError:
            return True  # what it rests on can no longer be looked at: a person decides
        for then in described["recommendations"]:
            if (then["rule"], then["about"]) == (row.rule, row.about):
                return only_grew_old(then, answer, facts)
        return True

    def _stay_open(self, row: Row[Any]) -> None:
        if row.evidence_state == NOT_REPEATED:
            return
        self._change(row, self._moved(row, evidence_state=NOT_REPEATED, new_data=1))
        self._tell(row, f"evidence-{NOT_REPEATED}", before=row.evidence_state, after=NOT_REPEATED)

    def _clear(self, row: Row[Any]) -> None:
        self._change(
            row,
            self._moved(
                row, state="cleared",
                is_open=0, closed=self._at, closed_by=SYSTEM, close_reason="facts-no-longer-hold",
                snoozed_until=None, wakes_on="", suppressed_by="",
            ),
        )  # fmt: skip
        self._tell(row, "cleared", before=row.state, after="cleared")

    def _open(self, key: str, sighting: Sighting, course: str, before: Row[Any] | None) -> int:
        call = self._call
        values = {
            "tenant": call.tenant, "key": key, "episode": before.episode + 1 if before is not None else 1,
            "patient": self._patient, "kind": sighting.kind, "rule": sighting.rule, "about": sighting.about,
            "state": "new", "course": course, "first_seen": self._at, "last_seen": self._at, "changed": self._at,
            **self._described(sighting, course),
        }  # fmt: skip
        row = self._connection.execute(
            models.alert.insert().values(values).returning(models.alert)
        ).one()
        self._newest[key] = row
        self._tell(row, "recurred" if course == "recurred" else "opened", after="new")
        self._tally.add(call.tenant, self._at, sighting.rule, call.mode_of(sighting.rule), opened=1)
        self._announce(row)
        return int(row.id)

    def _go_on(self, row: Row[Any], sighting: Sighting, course: str) -> None:
        values: dict[str, Any] = {}
        late = self._late(row)
        if row.suppressed_by and not late:
            values |= self._moved(row, suppressed_by="")
            self._tell(row, "resumed", before=row.suppressed_by)
        if course in {"new-data", "escalated"}:
            described = self._described(sighting, course)
            # What active data raised is no draft's alone, or it would close with the unsigned order.
            described["from_draft"] = int(row.from_draft and sighting.from_draft)
            values |= self._moved(row, new_data=1, evidence_state="", **described)
            values["course"] = "escalated" if course == "escalated" else "ongoing"
            if course == "escalated" or row.wakes_on == "new-result":
                values |= {"snoozed_until": None, "wakes_on": ""}
            self._tell(row, course, before=row.indicator, after=sighting.indicator)
        elif (
            course == "ongoing"
            and not late
            and (row.course, row.mode) != ("ongoing", self._mode(sighting.rule))
        ):
            values |= {
                "course": "ongoing" if row.course == "first" else row.course,
                "mode": self._mode(sighting.rule),
            }
        if row.from_draft and not sighting.from_draft and not late:
            values["from_draft"] = 0
        if row.evidence_state == NOT_REPEATED and not late:
            values["evidence_state"] = ""
        self._count(row, values)
        if not _is_urgent(row):
            self._announce(self._newest[row.key])

    def _described(self, sighting: Sighting, course: str) -> dict[str, Any]:
        encode = msgspec.json.encode
        parts = added_up(sighting.indicator, course, sighting.priority)
        return {
            "priority": sum(part.points for part in parts), "priority_parts": encode(parts).decode(),
            "rule_version": sighting.version, "topic_code": sighting.topic_code, "title": sighting.title,
            "summary": sighting.summary, "indicator": sighting.indicator, "severity": SEVERITIES[sighting.indicator],
            "mode": self._mode(sighting.rule), "fingerprint": sighting.fingerprint,
            "evidence_hash": sighting.evidence_hash, "evaluation": self._call.id,
            "needs": encode(sighting.needs).decode(), "concerns": encode(sighting.concerns).decode(),
            "sources": encode(sighting.sources).decode(), "from_draft": int(sighting.from_draft),
        }  # fmt: skip

    def _occurred(self, number: int, sighting: Sighting) -> None:
        call = self._call
        seen = {
            "tenant": call.tenant, "alert": number, "origin": call.origin, "evidence_hash": sighting.evidence_hash,
            "evaluation": call.id, "mode": self._mode(sighting.rule), "indicator": sighting.indicator, "at": self._at,
        }  # fmt: skip
        self._connection.execute(statements.occurrence_counted(self._connection), seen)

    def _announce(self, row: Row[Any]) -> None:
        if _is_urgent(row):
            for receiver in self._receivers:
                announce(self._connection, row, receiver, self._at)

    def _held(self, rule: str, about: str) -> Row[Any] | None:
        key = self._key(rule, about)
        self._holding.add(key)
        return self._newest.get(key)

    def _key(self, rule: str, about: str) -> str:
        return self._keyring.recommendation_key(self._call.tenant, self._call.patient, rule, about)

    def _late(self, row: Row[Any]) -> bool:
        """A later look at this alert was taken in before."""
        return self._at < int(row.last_seen)

    def _mode(self, rule: str) -> str:
        return self._call.mode_of(rule)

    def _count(self, row: Row[Any], values: Mapping[str, Any]) -> None:
        """Being seen again is no change by itself: whoever edits the alert meanwhile is not disturbed."""
        newest = max(self._at, row.last_seen)
        if values:
            self._change(
                row, {"seen_count": models.alert.c.seen_count + 1, "last_seen": newest, **values}
            )
            return
        here = {"key_tenant": self._call.tenant, "key_id": row.id, "newest": newest}
        self._newest[row.key] = self._connection.execute(statements.alert_counted, here).one()

    def _moved(self, row: Row[Any], **values: Any) -> dict[str, Any]:
        return {
            **values,
            "changed": max(self._at, row.changed),
            "version": models.alert.c.version + 1,
        }

    def _change(self, row: Row[Any], values: Mapping[str, Any]) -> None:
        table = models.alert
        self._newest[row.key] = self._connection.execute(
            table.update()
            .where(table.c.tenant == self._call.tenant, table.c.id == row.id)
            .values(values)
            .returning(table)
        ).one()

    def _tell(self, row: Row[Any], action: str, *, before: str = "", after: str = "") -> None:
        self._connection.execute(
            models.event.insert().values(
                tenant=self._call.tenant, alert=row.id, at=self._at, actor=SYSTEM, action=action, before=before,
                after=after, evaluation=self._call.id, alert_version=row.version,
            )
        )  # fmt: skip


def _is_urgent(row: Row[Any]) -> bool:
    return row.indicator == "critical" and row.mode in {"live", "review"}


def _known(row: Row[Any]) -> Known:
    return Known(
        state=row.state, indicator=row.indicator, evidence_hash=row.evidence_hash, last_seen=instant(row.last_seen),
        closed=instant(row.closed) if row.closed is not None else None,
    )  # fmt: skip
