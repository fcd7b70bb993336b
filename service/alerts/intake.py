"""From a line of the spool to the store: evaluation, evidence, alerts, cards, answers, audit, counters; once each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from rules.facts import FactSet
from service.alerts import models, statements
from service.alerts.clinicians import apply_feedback, keep_cards
from service.alerts.folding import unfold
from service.alerts.keyring import Keyring
from service.alerts.past_answers import micros
from service.alerts.sightings import (
    Sighting,
    call_failed,
    current_sources,
    not_evaluated,
    recommended,
)
from service.alerts.silences import count_held_back, marks_of
from service.alerts.tally import Tally
from service.alerts.values import (
    AuditEntry,
    AuditLine,
    Call,
    FailureLine,
    FeedbackLine,
    Line,
    Receiver,
    ReviewLine,
)
from service.alerts.watch import Watch
from service.audit import Chain
from service.evidence_vault import Evidence, bound, keep, seal_text
from service.patient_groups import groups_of

_UNDECIDED = "order-select"  # an order that is only being composed never makes an alert


class Intake:
    """Applies lines inside one write transaction; ``close`` writes what was gathered over all of them."""

    def __init__(
        self,
        connection: Connection,
        keyring: Keyring,
        *,
        quiet: timedelta,
        receivers: tuple[Receiver, ...] = (),
    ) -> None:
        self._connection = connection
        self._keyring = keyring
        self._quiet = quiet
        self._receivers = receivers
        self._chain = Chain(connection, keyring)
        self._tally = Tally(connection)

    def apply(self, line: Line) -> None:
        """Take one line in; a line that was taken in before changes nothing."""
        match line:
            case ReviewLine():
                self._take_review(line)
            case FailureLine():
                self._take_failure(line)
            case FeedbackLine():
                self._take_feedback(line)
            case _:
                self._take_audit(line)

    def close(self) -> None:
        """Write audit lines and counters; call it once, before the transaction ends."""
        self._chain.close()
        self._tally.close()

    def _take_review(self, line: ReviewLine) -> None:
        call = line.call
        if self._seen(call):
            return
        facts = msgspec.json.decode(line.facts)
        answer = unfold(line.answer, facts)
        patient = self._patient(call, groups_of(msgspec.json.decode(line.facts, type=FactSet)))
        as_of = datetime.fromisoformat(answer["provenance"]["as_of"])
        stored = Evidence(
            facts=line.facts,
            answer=line.answer,
            gaps=line.gaps,
            history=line.history,
            user=call.user,
            quiet=line.quiet,
            asked=line.asked,
        )
        digest = keep(self._connection, self._keyring, call.tenant, stored, micros(call.received))
        fired = recommended(answer, facts)
        self._evaluation(
            call, patient, as_of=as_of, outcome="incomplete" if answer["failures"] or line.gap_cards else "complete",
            fired=fired, knowledge=answer["provenance"]["packs"], evidence=digest, cards=len(line.cards),
            gaps=len(line.gaps), failures=len(answer["failures"]),
        )  # fmt: skip
        if call.hook != _UNDECIDED:
            self._watch(line, answer, facts, patient, fired)
        keep_cards(self._connection, self._keyring, self._tally, line, patient, fired)
        self._tally.reviewed(call, fired, answer)
        unsaid = {(rule, about) for rule, about, _ in call.silenced}
        rules = ",".join(
            f"{one.rule}@{one.version}:"
            + ("silenced" if (one.rule, one.about) in unsaid else call.mode_of(one.rule))
            for one in fired
        )
        held = {number for _, _, number in call.silenced}
        count_held_back(self._connection, call.tenant, held, micros(call.received))
        self._audit(call, patient, action="review", after=rules, reason=_knowledge(answer))

    def _watch(
        self,
        line: ReviewLine,
        answer: Mapping[str, Any],
        facts: Mapping[str, Any],
        patient: str,
        fired: list[Sighting],
    ) -> None:
        watch = Watch(
            self._connection,
            self._keyring,
            self._tally,
            line.call,
            patient,
            quiet=self._quiet,
            receivers=self._receivers,
        )
        for sighting in fired:
            if line.call.mode_of(sighting.rule) != "off":
                watch.see(sighting)
        for sighting in not_evaluated(line.gap_cards, answer["failures"]):
            watch.see(sighting)
        for silent in answer["suppressed"]:
            watch.holds(silent["rule"], silent["about"])
        for weaker in answer["superseded"]:
            watch.gives_way(weaker["rule"], weaker["about"], weaker["by"])
        now = current_sources(facts, line.withdrawn)
        watch.mark_evidence(now)
        if facts["context"]["moment"] == "view":
            watch.clear_the_rest(
                answer=answer, facts=facts, unread=(*facts["context"]["unread"], *line.clearing.unread), gaps=line.gaps,
                evaluated=line.clearing.rules, now=now,
            )  # fmt: skip

    def _take_failure(self, line: FailureLine) -> None:
        call = line.call
        if self._seen(call):
            return
        patient = self._patient(call)
        self._evaluation(
            call, patient, as_of=call.received, outcome="failed", fired=[], knowledge={}, evidence="", cards=0, gaps=0,
            failures=1,
        )  # fmt: skip
        watch = Watch(
            self._connection,
            self._keyring,
            self._tally,
            call,
            patient,
            quiet=self._quiet,
            receivers=self._receivers,
        )
        watch.see(call_failed(line.error))
        self._tally.failed(call)
        self._audit(call, patient, action="review", after="", reason=line.error, outcome="failed")

    def _take_feedback(self, line: FeedbackLine) -> None:
        if self._audited(line.tenant, line.id):
            return
        outcomes = apply_feedback(self._connection, self._keyring, self._tally, line)
        entry = AuditEntry(
            tenant=line.tenant, at=line.received, actor=f"client/{line.tenant}", action="feedback", object=line.service,
            after=",".join(outcomes), request_id=line.request_id,
        )  # fmt: skip
        self._chain.append(entry, line.id)

    def _take_audit(self, line: AuditLine) -> None:
        if not self._audited(line.entry.tenant, line.id):
            self._chain.append(line.entry, line.id)

    def _seen(self, call: Call) -> bool:
        here = {"key_tenant": call.tenant, "key_id": call.id}
        return self._connection.scalar(statements.evaluation_taken, here) is not None

    def _audited(self, tenant: str, line: str) -> bool:
        if self._chain.holds(tenant, line):
            return True
        table = models.audit
        there = select(table.c.seq).where(table.c.tenant == tenant, table.c.line == line)
        return self._connection.scalar(there) is not None

    def _patient(self, call: Call, groups: Iterable[str] = ()) -> str:
        key = self._keyring.patient_key(call.tenant, call.patient)
        now = micros(call.received)
        marks = marks_of(groups)
        here = {
            "key_tenant": call.tenant, "key_patient": key, "now": now, "now_unit": call.unit, "now_groups": marks,
        }  # fmt: skip
        changed = self._connection.execute(statements.patient_seen, here)
        if changed.rowcount == 0:
            sealed_with, reference = seal_text(
                self._keyring, call.patient, bound("patient", call.tenant, key)
            )
            self._connection.execute(
                models.patient.insert().values(
                    tenant=call.tenant, patient=key, sealed_with=sealed_with, reference=reference, first_seen=now,
                    last_seen=now, unit=call.unit, groups=marks,
                )
            )  # fmt: skip
        return key

    def _evaluation(
        self, call: Call, patient: str, *, as_of: datetime, outcome: str, fired: list[Sighting],
        knowledge: Mapping[str, str], evidence: str, cards: int, gaps: int, failures: int,
    ) -> None:  # fmt: skip
        rules = [
            [one.rule, one.version, one.about, call.mode_of(one.rule), one.indicator]
            for one in fired
        ]
        row = {
            "tenant": call.tenant, "id": call.id, "patient": patient, "hook": call.hook, "service": call.service,
            "hook_instance": call.hook_instance, "user_ref": call.user, "request_id": call.request_id,
            "origin": call.origin, "run": call.run, "mode": call.mode, "received": micros(call.received),
            "as_of": micros(as_of), "outcome": outcome, "fired": msgspec.json.encode(rules).decode(),
            "knowledge": msgspec.json.encode(knowledge).decode(), "evidence": evidence, "cards": cards, "gaps": gaps,
            "failures": failures, "elapsed_us": round((call.elapsed_ms or 0) * 1000),
        }  # fmt: skip
        self._connection.execute(statements.evaluation_new, row)

    def _audit(
        self, call: Call, patient: str, *, action: str, after: str, reason: str, outcome: str = "ok"
    ) -> None:
        entry = AuditEntry(
            tenant=call.tenant, at=call.received, actor=call.user or f"client/{call.tenant}", action=action,
            object=f"evaluation/{call.id}", patient=patient, after=after, reason=reason, request_id=call.request_id,
            outcome=outcome,
        )  # fmt: skip
        self._chain.append(entry, call.id)


def _knowledge(answer: Mapping[str, Any]) -> str:
    return " ".join(
        f"{name}={mark}" for name, mark in sorted(answer["provenance"]["packs"].items())
    )
