"""The page of one alert: what, why now, on what evidence, what can be done, and what would clear it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from rules.errors import DekacardError
from rules.facts import Fact, Finding
from rules.wording import Wording
from service.alerts.past_answers import micros
from service.alerts.silences import covering
from service.cds_hooks.detail import DetailWriter, data_below
from service.dashboard.casebook import Case, about_patient, case_of, reference_of
from service.dashboard.deciding import colleagues
from service.dashboard.history import change_since, past_decisions, sealed_events
from service.dashboard.reasons import (
    THE_REST,
    Choice,
    reason_words,
    reasons_for,
    snooze_choices,
    wakes_for,
)
from service.dashboard.rule_tree import tree_of
from service.dashboard.worklist_page import parts_shown

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from sqlalchemy import Row
    from starlette.responses import Response

    from rules.rulebook import Rulebook
    from service.alerts.store import Store
    from service.dashboard.desk import Desk, Visit
    from service.dashboard.replaying import Outcome


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of evidence in words, with where it was read."""

    says: str
    sources: tuple[str, ...]


class AlertPage:
    """Shows alerts."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.route("GET", "/a/{number:row}", "see-alerts", self.show)

    def show(self, visit: Visit) -> Response:
        """One alert, as it stands."""
        return self.render(visit, visit.path["number"])

    def render(
        self,
        visit: Visit,
        number: int,
        *,
        problem: str = "",
        status: int = 200,
        replayed: Outcome | None = None,
    ) -> Response:
        """The page, with what went wrong on top if something did, and a replay if one was asked for."""
        store = self._desk.record.store()
        tenant = visit.who.tenant
        row = store.alert(tenant, number)
        book = self._desk.parts.engine.rulebook
        case = case_of(store, tenant, row.evaluation)
        self._desk.note(visit, "view", f"alert/{number}", patient=row.patient)
        words, may_triage = Wording(book), visit.who.may("triage")
        others = _others(store, tenant, row, visit)
        return visit.page(
            "alert.html", status=status, problem=problem, alert=row, events=sealed_events(store, tenant, row),
            silence=_silence(store, row, visit), patient=reference_of(store, tenant, row.patient), score=parts_shown(row), replayed=replayed,
            about=about_patient(case.facts) if case else "", may_triage=may_triage, tree=tree_of(case, row, book),
            choices=reasons_for(book, row.rule), gaps=case.gaps if case else (),
            reason_words=partial(reason_words, book),
            others=others, title=book.vocabulary.title, putting_off=_putting_off(self._desk, visit, row),
            hidden_by_this=[one for one in others if one.suppressed_by == row.rule],
            colleagues=colleagues(self._desk, tenant) if may_triage else [], past=past_decisions(store, tenant, row.rule, visit.now),
            change=change_since(store, tenant, row, lambda fact: _said(words, fact)), **_told(case, row, book),
        )  # fmt: skip


class PuttingOff(msgspec.Struct, frozen=True, kw_only=True):
    """How an alert may be put off now: ``latest`` in microseconds, spans that fit, a last day if one begins before."""

    latest: int
    spans: list[Choice]
    last_day: date | None
    wakes: dict[str, str]
    in_all: int  # hours that all snoozes of a critical alert last together; 0 for others


def _putting_off(desk: Desk, visit: Visit, row: Row[Any]) -> PuttingOff | None:
    latest = desk.record.store().latest_snoozes([row], visit.now)[row.id]
    if latest is None:
        return None
    spans, limits = snooze_choices(latest - visit.now), desk.record.options.snooze
    if latest < visit.now + limits.longest(row.indicator):
        spans.append(Choice(code=THE_REST, display="as long as is still allowed"))
    today, last_day = (one.astimezone(desk.zone).date() for one in (visit.now, latest))
    return PuttingOff(
        latest=micros(latest), spans=spans, last_day=last_day if last_day > today else None, wakes=wakes_for(row.indicator),
        in_all=limits.critical // timedelta(hours=1) if row.indicator == "critical" else 0,
    )  # fmt: skip


def _silence(store: Store, row: Row[Any], visit: Visit) -> Row[Any] | None:
    """What keeps this alert from being shown, if something does."""
    with store.database.reading() as connection:
        return covering(connection, row, micros(visit.now))


def _others(store: Store, tenant: str, row: Row[Any], visit: Visit) -> list[Row[Any]]:
    from service.alerts.worklist import Filter

    wanted = Filter(tenant=tenant, view="all-open", patient=row.patient, size=20)
    return [one for one in store.page(wanted, visit.now).rows if one.id != row.id]


def _told(case: Case | None, row: Row[Any], book: Rulebook) -> dict[str, Any]:
    told = case.recommendation(row.rule, row.about) if case else None
    card = book.cards.get(row.rule)
    empty: dict[str, Any] = {
        "told": told, "why_now": [], "evidence": [], "chain": [], "numbers": [], "elements": "", "card": card,
    }  # fmt: skip
    if told is None:
        return empty
    words, details = Wording(book), DetailWriter(book)
    return empty | {
        "why_now": _sentences(words, (one for one in told.because if isinstance(one, Finding))),
        "evidence": [
            Evidence(says=_said(words, fact), sources=fact.source)
            for fact in data_below(told.because)
        ],
        "chain": _sentences(words, told.chain),
        "numbers": [details.say_parameter(used) for used in told.parameters],
        "elements": _elements(told.because),
    }


def _sentences(words: Wording, findings: Iterable[Finding]) -> list[str]:
    return list(dict.fromkeys(_said(words, one) for one in findings))


def _said(words: Wording, reason: Fact | Finding) -> str:
    """The sentence, or the bare name where today's packs have no words for what was found then."""
    try:
        return words.say(reason)
    except (DekacardError, KeyError):
        return reason.name if isinstance(reason, Finding) else "recorded data"


def _elements(because: Iterable[Fact | Finding]) -> str:
    """The stored elements as text; never as markup."""
    facts = [msgspec.to_builtins(fact) for fact in data_below(because)]
    kept = [
        {name: value for name, value in fact.items() if value not in (None, "", [], ())}
        for fact in facts
    ]
    return msgspec.json.format(msgspec.json.encode(kept), indent=2).decode()
