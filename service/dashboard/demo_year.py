"""A year of believable alerts: invented patients, really reviewed and really recorded, then triaged by colleagues.

Nothing is written into tables by hand: each visit goes through ``review`` and the recorder, each decision through
the store. The same seed gives the same year.
"""

from __future__ import annotations

import random
import time
import uuid
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import yaml
from sqlalchemy import select

from rules.errors import Unavailable
from service.alerts import models
from service.alerts.access import accounts, new_account
from service.alerts.lifecycle import Request
from service.alerts.past_answers import instant
from service.alerts.values import Call
from service.alerts.worklist import Filter
from service.dashboard.demo_screens import answer_cards, cards_of, trial_of, unit_of_demo
from service.dashboard.gate import DEMO_TENANT
from service.dashboard.reasons import reasons_for
from service.review import Case, review

if TYPE_CHECKING:
    from rules.engine import Engine
    from service.alerts.record import Record

Visit = tuple[datetime, str, list[dict[str, Any]]]
_SEED: Final = 20_261_122
_YEAR: Final = 365
_COLLEAGUES: Final = ("m-adeyemi", "j-lindqvist", "s-rahman")
_DECIDED: Final[tuple[tuple[str, int], ...]] = (
    ("resolve", 55),
    ("override", 17),
    ("data-problem", 10),
    ("acknowledge", 18),
)
_LATELY: Final = 0.35  # of the patients came in within the last days, so that something waits
_SETTLED_DAYS: Final = 12  # what is older was mostly decided
_LOOKS: Final[tuple[int, ...]] = (
    *range(0, 14, 2),
    *range(14, 400, 14),
)  # days ago on which colleagues worked the list off
_CRITICAL_DAYS: Final = 2.0  # within which a critical alert is closed
_CLAIMED: Final = 0.5  # of the critical ones that are younger
_SOON: Final = 0.07  # of the others at a look within the last days
_IN_TIME: Final = 0.7  # of those that are older


class Year:
    """The invented patients and what happened to them."""

    def __init__(self, today: datetime) -> None:
        text = (files("service.dashboard") / "demo_year.yaml").read_text(encoding="utf-8")
        self._told: Mapping[str, Any] = yaml.safe_load(text)
        self._today = today
        self._chance = random.Random(_SEED)  # noqa: S311 - the same year each time, nothing secret

    def visits(self) -> list[Visit]:
        """Moment, patient and the record as it stood then, oldest first."""
        found: list[Visit] = []
        number = 100
        for kind in self._told["archetypes"]:
            for _ in range(kind["patients"]):
                number += self._chance.randint(1, 9)
                patient = f"{self._chance.choice(self._told['identifiers'])}{number:05d}"
                found.extend(self._life(patient, kind))
        return sorted(found, key=lambda visit: (visit[0], visit[1]))

    def _life(self, patient: str, kind: Mapping[str, Any]) -> Iterator[Visit]:
        chance = self._chance
        dated = list(self._resources(patient, kind))
        person = {
            "resourceType": "Patient", "id": patient, "gender": chance.choice(("female", "male")),
            "birthDate": f"{self._today.year - chance.randint(*kind['age'])}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}",
        }  # fmt: skip
        visited = set(chance.sample(range(_YEAR), chance.randint(2, 5)))
        if "first_visit" in kind:
            visited = {chance.randint(*kind["first_visit"])}
        if chance.random() < _LATELY:
            visited.add(chance.randint(0, _SETTLED_DAYS - 1))
        for days in sorted(visited, reverse=True):
            at = (self._today - timedelta(days=days)).replace(
                hour=chance.randint(7, 11), minute=chance.randint(0, 59)
            )
            if at > self._today:  # the demo was started early in the morning
                at -= timedelta(days=1)
            known = [one for day, one in dated if day <= at]
            if known:
                yield at, patient, [person, *known]

    def _resources(
        self, patient: str, kind: Mapping[str, Any]
    ) -> Iterator[tuple[datetime, dict[str, Any]]]:
        chance, subject = self._chance, {"reference": f"Patient/{patient}"}
        begun: datetime | None = None
        for place, product in enumerate(kind["products"]):
            begun = self._today - timedelta(days=chance.randint(*product["days"]))
            yield begun, {
                "resourceType": "MedicationStatement", "id": f"{patient}-s{place}", "status": "active", "subject": subject,
                "medicationCodeableConcept": {"text": product["text"]}, "effectivePeriod": {"start": _day(begun)},
                "dateAsserted": _day(begun), "dosage": [_once_daily("One every morning", {"value": 1})],
            }  # fmt: skip
        if "warfarin" in kind:
            since = self._today - timedelta(days=chance.randint(*kind["warfarin"]["days"]))
            yield since, {
                "resourceType": "MedicationRequest", "id": f"{patient}-r0", "status": "active", "intent": "order",
                "medicationCodeableConcept": {"coding": [self._told["codings"]["warfarin"]]}, "subject": subject,
                "authoredOn": _day(since),
                "dosageInstruction": [_once_daily("5 mg daily", {"value": 5, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"})],
            }  # fmt: skip
            low, high = self._told["inr_target"]
            yield since, {
                "resourceType": "Goal", "id": f"{patient}-g0", "lifecycleStatus": "active", "description": {"text": "INR"}, "subject": subject,
                "target": [{"measure": {"coding": [self._told["codings"]["inr"]]}, "detailRange": {"low": {"value": low}, "high": {"value": high}}}],
            }  # fmt: skip
        for measure in ("inr", "25ohd", "calcium"):
            if measure in kind:
                yield from self._results(patient, measure, kind[measure], begun)

    def _results(
        self, patient: str, measure: str, course: Mapping[str, Any], begun: datetime | None
    ) -> Iterator[tuple[datetime, dict[str, Any]]]:
        chance, place = self._chance, 0
        day = self._today - timedelta(days=_YEAR + chance.randint(0, course["every"]))
        while day < self._today:
            value = (
                chance.gauss(course["around"], course["spread"] / 2)
                + course.get("rise", 0) * place / 3
            )
            if begun is not None and day > begun + timedelta(days=7):
                value += course.get("after_product", 0)
            quantity: dict[str, Any] = {"value": round(max(0.9, value), 1)}
            if measure in self._told["units"]:
                quantity |= {**self._told["units"][measure], "system": "http://unitsofmeasure.org"}
            limits = [
                {"high": {**quantity, "value": limit}}
                for name, limit in self._told["upper_limits"].items()
                if name == measure
            ]
            yield day, {
                "resourceType": "Observation", "id": f"{patient}-{measure}-{place}", "status": "final", "referenceRange": limits,
                "code": {"coding": [self._told["codings"][measure]]}, "subject": {"reference": f"Patient/{patient}"},
                "effectiveDateTime": _day(day), "valueQuantity": quantity,
            }  # fmt: skip
            place += 1
            day += timedelta(days=max(3, round(chance.gauss(course["every"], course["every"] / 4))))


def live_year(record: Record, engine: Engine, today: datetime, *, profile: str = "nam-2011") -> int:
    """Review and record a year of visits, some days at a time, and decide meanwhile what came up; how many visits.

    Decisions stand between the visits, as in life: what was closed comes back when a later result says so.
    """
    _employ(record, today)
    visits = Year(today).visits()
    for days, together in groupby(visits, lambda visit: _next_look(today - visit[0])):
        last = [_record(record, engine, visit, today, profile) for visit in together][-1]
        wait_for_visit(record, last)
        _decide_what_waits(
            record, engine, today - timedelta(days=days), lately=days < _SETTLED_DAYS
        )
    return len(visits)


def _next_look(ago: timedelta) -> int:
    """How many days ago colleagues looked for the first time after a visit."""
    return _LOOKS[bisect_right(_LOOKS, max(0, ago.days)) - 1]


def _record(record: Record, engine: Engine, visit: Visit, today: datetime, profile: str) -> str:
    """Review one visit and hand it to the record; the number of its evaluation."""
    at, patient, resources = visit
    case = Case(resources=resources, patient_id=patient, profile=profile)
    done = review(case, at, engine, validation="off")
    number = uuid.uuid5(uuid.NAMESPACE_URL, f"demo {patient} {at.isoformat()}")
    call = Call(
        id=number.hex, tenant=DEMO_TENANT, patient=patient, received=at, hook="patient-view",
        service="vitamin-dk-patient-view", hook_instance=str(number), user="Practitioner/demo", elapsed_ms=2.0,
        modes=trial_of(at, today), unit=unit_of_demo(patient),
    )  # fmt: skip
    cards = cards_of(record, call, done)
    may_speak = tuple(sorted(engine.rulebook.cards))
    record.record(call, done, cards, gap_cards=done.gap_cards, may_speak=may_speak)
    answer_cards(record, call, done, cards)
    return call.id


def _decide_what_waits(record: Record, engine: Engine, now: datetime, *, lately: bool) -> None:
    """Let invented colleagues decide: what is critical within days, most of the rest within weeks."""
    store, after = record.store(), ""
    chance = random.Random(f"{_SEED} {now.isoformat()}")  # noqa: S311 - the same year each time, nothing secret
    waiting: list[Any] = []
    while True:
        page = store.page(Filter(tenant=DEMO_TENANT, view="all-open", after=after, size=200), now)
        waiting += page.rows
        after = page.after
        if not after:
            break
    for row in sorted(waiting, key=lambda one: one.id):
        # A new sighting of an old alert is news: colleagues look at it again within the same time
        waited = (now.timestamp() - row.last_seen / 1e6) / 86_400
        if row.indicator == "critical":
            if waited > _CRITICAL_DAYS:
                _decide(store, engine, row, chance, _later(row.last_seen, chance, 2_800), now)
            elif chance.random() < _CLAIMED:
                _claim(store, row, chance, min(now, _later(row.last_seen, chance, 300)))
        elif chance.random() < (_SOON if lately and waited < _SETTLED_DAYS else _IN_TIME):
            _decide(store, engine, row, chance, _later(row.last_seen, chance, 2_000), now)


def _employ(record: Record, today: datetime) -> None:
    """Accounts of the colleagues, without passwords: nobody can sign in as them, and work can be handed to them."""
    held = {one["name"] for one in accounts(record.database, DEMO_TENANT)}
    for name in _COLLEAGUES:
        if name not in held:
            new_account(
                record.database, record.keyring, tenant=DEMO_TENANT, name=name, role="pharmacist",
                actor="demo", now=today,
            )  # fmt: skip


def _claim(store: Any, row: Any, chance: random.Random, at: datetime) -> Any:
    """Somebody takes it, if nobody has; the alert as it stands then."""
    if row.assignee:
        return row
    taken = Request(action="claim", actor=f"user/{chance.choice(_COLLEAGUES)}", at=at)
    return store.change(DEMO_TENANT, row.id, row.version, taken)


def _decide(
    store: Any, engine: Engine, row: Any, chance: random.Random, at: datetime, now: datetime
) -> None:
    """Whoever is on it decides; critical alerts, and those that were acknowledged before, are closed."""
    row = _claim(store, row, chance, min(now, at))
    closing = row.indicator == "critical" or row.state == "acknowledged"
    decided = [one for one in _DECIDED if not closing or one[0] != "acknowledge"]
    action: Any = chance.choices([name for name, _ in decided], [weight for _, weight in decided])[0]  # fmt: skip
    coded = reasons_for(engine.rulebook, row.rule).get(action, [])
    reason = chance.choice(coded).code if coded else ""
    later = min(now, at + timedelta(minutes=chance.randint(2, 90)))
    given = Request(action=action, actor=row.assignee, at=later, reason=reason)
    store.change(DEMO_TENANT, row.id, row.version, given)


def wait_for_visit(record: Record, number: str, seconds: float = 120) -> None:
    """Wait until the record's own thread has moved a visit, and with it all before it, into the store.

    Raises:
        Unavailable: it has not done so in time.
    """
    until = time.monotonic() + seconds
    table = models.evaluation
    there = select(table.c.id).where(table.c.tenant == DEMO_TENANT, table.c.id == number)
    while time.monotonic() < until:
        with record.database.reading() as connection:
            if connection.scalar(there) is not None:
                return
        time.sleep(0.02)
    raise Unavailable("the record does not take the demo year in.")


def _later(microseconds: int, chance: random.Random, most: int) -> datetime:
    """Up to ``most`` minutes after an instant of the store."""
    return instant(microseconds) + timedelta(minutes=chance.randint(5, most))


def _day(at: datetime) -> str:
    return at.date().isoformat()


def _once_daily(words: str, quantity: dict[str, Any]) -> dict[str, Any]:
    return {
        "text": words,
        "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
        "doseAndRate": [{"doseQuantity": quantity}],
    }
