"""What the demo's further screens show: cards answered at the bedside, trials of rules, silences, notes, a batch run.

As in the year itself nothing is written into tables by hand: everything goes through the doors that people use.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson

from service.alerts.batch_jobs import JobOptions, ask_for
from service.alerts.handover import add_note
from service.alerts.keyring import card_uuid
from service.alerts.lifecycle import Request
from service.alerts.past_answers import micros
from service.alerts.silences import Limits, Wish, ask, decide
from service.alerts.values import Call, IssuedCard, Mode
from service.alerts.worklist import Filter
from service.dashboard.gate import DEMO_TENANT
from service.dashboard.runs_queue import RunQueue, this_machine
from service.rollout import ask as ask_for_mode

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service.alerts.record import Record
    from service.review import Review

_SEED: Final = 20_261_123
_LEAD: Final = "user/k-osei"
_SECOND: Final = "user/m-adeyemi"
_TRIAL_ENDED: Final = timedelta(days=60)  # before that these rules were only recorded
_ON_TRIAL: Final[dict[str, Mode]] = {
    "vka-subtherapeutic-inr-with-k": "shadow",
    "vitd-high-strength-daily": "shadow",
}
_ANSWERED: Final = 0.45  # of the cards; most are closed without a word
_ACCEPTED: Final = 0.6
_RUN_PATIENTS: Final = 60
_UNITS: Final = ("3 West", "4 East", "Cardiology", "", "", "")


def trial_of(at: datetime, today: datetime) -> dict[str, Mode]:
    """Rules that were not live yet on that day."""
    return dict(_ON_TRIAL) if today - at > _TRIAL_ENDED else {}


def unit_of_demo(patient: str) -> str:
    """The invented care unit of an invented patient; some are at home."""
    return _UNITS[int(patient[1:]) % len(_UNITS)]


def cards_of(record: Record, call: Call, done: Review) -> list[IssuedCard]:
    """The cards of a visit as far as the record keeps them for its figures."""
    key = record.keyring.recommendation_key
    return [
        IssuedCard(
            uuid=card_uuid(
                key(call.tenant, call.patient, one.rule, one.about), call.hook_instance, call.service
            ),
            body={"summary": one.summary, "indicator": one.indicator}, indicator=one.indicator,
            subjects=((one.rule, one.about),),
        )
        for one in done.assessment.recommendations
        if call.mode_of(one.rule) == "live"
    ]  # fmt: skip


def answer_cards(record: Record, call: Call, done: Review, cards: list[IssuedCard]) -> None:
    """Let the ordering clinician answer some of them."""
    reasons = {one.rule: one.override_reasons for one in done.assessment.recommendations}
    for card in cards:
        chance = random.Random(f"{_SEED} {card.uuid}")  # noqa: S311 - the same year each time, nothing secret
        if chance.random() > _ANSWERED:
            continue
        entry: dict[str, Any] = {"card": card.uuid, "outcome": "accepted"}
        offered = reasons.get(card.subjects[0][0], ())
        if offered and chance.random() > _ACCEPTED:
            reason = chance.choice(offered)
            entry = {
                "card": card.uuid, "outcome": "overridden",
                "overrideReason": {"reason": {"code": reason.code, "system": reason.system}},
            }  # fmt: skip
        later = call.received + timedelta(minutes=chance.randint(1, 30))
        entry["outcomeTimestamp"] = later.isoformat()
        record.feedback(call.tenant, call.service, [entry], later)


def furnish(application: FastAPI, today: datetime) -> None:
    """Silences, a wish for another mode, decisions of today, notes of two shifts, and a run over some patients."""
    record: Record = application.state.recorder
    _work_today(record, today)
    _silence(record, today)
    ask_for_mode(
        record.database, record.keyring, tenant=DEMO_TENANT, rule="vitd-ul-exceeded", before="live", after="review",
        reason="More than half of its cards are overridden; let pharmacists see them first.", actor=_LEAD,
        at=today - timedelta(hours=3), second_person=True,
    )  # fmt: skip
    _leave_notes(record, today)
    _run(application, today)
    application.state.parts.renew_silences()


def _work_today(record: Record, today: datetime) -> None:
    """A few decisions of the shift that runs, so that there is something to hand over."""
    store = record.store()
    rows = store.page(Filter(tenant=DEMO_TENANT, view="todo", size=40), today).rows
    steps: tuple[Mapping[str, Any], ...] = (
        {"action": "resolve", "reason": "prescriber-contacted", "note": "Warfarin clinic informed, INR on Friday."},
        {"action": "snooze", "until": today + timedelta(hours=9)},
        {"action": "claim"},
        {"action": "resolve", "reason": "patient-counselled"},
        {"action": "data-problem", "reason": "patient-not-taking"},
    )  # fmt: skip
    untouched = [row for row in rows if row.state == "new" and not row.assignee]
    for place, row in enumerate(untouched[3:13]):
        at = today - timedelta(minutes=12 * (place + 1))
        given = Request(at=at, actor=_SECOND, **steps[place % len(steps)])
        store.change(DEMO_TENANT, row.id, row.version, given)


def _silence(record: Record, today: datetime) -> None:
    store = record.store()
    rows = store.page(Filter(tenant=DEMO_TENANT, view="all-open", size=100), today).rows
    warned = next((row for row in rows if row.indicator == "warning" and row.state == "new"), None)
    grave = next((row for row in rows if row.indicator == "critical" and row.assignee), None)

    def wish(days: int, reason: str, ago: int, **more: Any) -> int:
        at = today - timedelta(days=ago)
        given = Wish(
            tenant=DEMO_TENANT, actor=_LEAD, at=at, until=at + timedelta(days=days), reason=reason, **more
        )  # fmt: skip
        return ask(record.database, record.keyring, given, Limits())

    wish(30, "rule-under-review", 4, rule="vka-k-stable-consistent", note="Wording is being revised.")  # fmt: skip
    wish(14, "local-protocol", 40, rule="vitd-deficiency-treat")
    wish(14, "local-protocol", 1, rule="vitd-empiric-supplement", unit="Cardiology", group="older")
    if warned is not None:
        wish(21, "managed-elsewhere", 2, rule=warned.rule, patient=warned.patient)
    if grave is not None:
        asked = wish(5, "goals-of-care", 1, patient=grave.patient, covers_critical=True)
        decide(
            record.database, record.keyring, tenant=DEMO_TENANT, number=asked, approve=False, actor=_SECOND,
            at=today - timedelta(hours=20),
        )  # fmt: skip
        wish(5, "managed-elsewhere", 0, rule=grave.rule, patient=grave.patient, covers_critical=True)  # fmt: skip


def _leave_notes(record: Record, today: datetime) -> None:
    from service.dashboard.handover_page import Shifts
    from service.settings import Settings

    shifts = Shifts(Settings.model_fields["shift_starts"].default, today.tzinfo or UTC)
    begin = shifts.around(today)[0]
    before = shifts.around(begin - timedelta(minutes=1))[0]
    told = (
        (before, begin - timedelta(minutes=10), "Two interface outages at 02:10 and 02:40; prescriptions were unread then."),
        (begin, today - timedelta(minutes=20), "Cardiology asks for a call before any change of warfarin on their ward."),
    )  # fmt: skip
    for shift, at, text in told:
        add_note(
            record.database, record.keyring, tenant=DEMO_TENANT, shift=micros(shift), actor=_SECOND, at=at, text=text
        )  # fmt: skip


def _run(application: FastAPI, today: datetime) -> None:
    """Put a run over the newest state of some patients into the queue."""
    from service.dashboard.demo_year import Year

    queue: RunQueue = application.state.run_queue
    newest = {patient: resources for _, patient, resources in Year(today).visits()}
    job = uuid.uuid5(uuid.NAMESPACE_URL, f"demo run {today.isoformat()}").hex
    folder = queue.place(DEMO_TENANT, job) / "in"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "upload.ndjson").open("wb") as file:
        for patient in sorted(newest)[:_RUN_PATIENTS]:
            for one in newest[patient]:
                file.write(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE))
        file.write(b'{"resourceType": "Observation", "id": "cut-off", "status": "fin\n')
    record: Record = application.state.recorder
    ask_for(
        record.database, record.keyring, tenant=DEMO_TENANT, job=job, origin="upload", source="upload.ndjson",
        place=this_machine(), options=JobOptions(as_of=today.isoformat()), actor=_LEAD, at=today - timedelta(hours=2),
    )  # fmt: skip
    queue.wake()


def wait_for_run(application: FastAPI, seconds: float = 60) -> None:
    """Wait until nothing is in the queue any more, or until the time is over."""
    from service.alerts.batch_jobs import queued

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not queued(application.state.recorder.database, this_machine()):
            return
        time.sleep(0.2)
