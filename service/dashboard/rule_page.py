"""The page of one rule: what it does, how often it fires, what became of that, and how far it may reach."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from rules.errors import RequestError
from service.alerts.decisions import Decisions, decisions
from service.alerts.past_answers import micros
from service.alerts.values import MODES
from service.dashboard import rule_chart
from service.dashboard.reasons import reasons_for
from service.dashboard.rules_page import SPANS, USUAL_SPAN, span_of, status_of
from service.rollout import as_mode, ask, changes, decide
from service.rule_figures import figures, wilson
from service.rule_trends import trends

if TYPE_CHECKING:
    from starlette.responses import Response

    from rules.rulebook import Rulebook
    from service.alerts.values import Mode
    from service.dashboard.desk import Desk, Visit
    from service.rule_entries import Catalogue

_STATES: Final = ("resolved", "overridden", "data-problem", "cleared", "acknowledged", "new")
_LONGEST_REASON: Final = 500


class RulePage:
    """Shows one rule, and takes changes of its mode."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._catalogue: tuple[Rulebook, Catalogue] | None = None
        self._playing = threading.Lock()
        desk.route("GET", "/rules/{rule}", "see-rules", self.show)
        desk.route("POST", "/rules/{rule}/mode", "change-modes", self.ask)
        desk.route("POST", "/rules/{rule}/changes/{number:row}", "change-modes", self.decide)

    def show(self, visit: Visit) -> Response:
        """One rule in full."""
        return self._render(visit)

    def ask(self, visit: Visit) -> Response:
        """Ask for another mode; where the site wants a second person, it waits for one."""
        rule, tenant = self._rule(visit), visit.who.tenant
        reason = visit.form.get("reason", "").strip()
        if len(reason) > _LONGEST_REASON:
            return self._render(
                visit, problem=f"A reason has {_LONGEST_REASON} characters at most."
            )
        parts, record = self._desk.parts, self._desk.record
        before = parts.mode_of(tenant, rule)
        try:
            wanted = _other_mode(visit.form.get("mode", ""), before)
            made = ask(
                record.database, record.keyring, tenant=tenant, rule=rule, before=before, after=wanted, reason=reason,
                actor=visit.who.actor, at=visit.now, second_person=parts.settings.second_person,
            )  # fmt: skip
        except RequestError as error:
            return self._render(visit, problem=f"Not done: {error}", status=error.status)
        parts.renew_modes()
        return self._back(visit, "asked" if made.state == "asked" else "changed")

    def decide(self, visit: Visit) -> Response:
        """Approve or refuse what a colleague asked for."""
        self._rule(visit)
        decision = visit.form.get("decision", "")
        if decision not in {"approve", "refuse"}:
            return self._render(visit, problem="Choose to approve or to refuse.", status=422)
        record = self._desk.record
        try:
            decide(
                record.database, record.keyring, tenant=visit.who.tenant, change=visit.path["number"],
                approve=decision == "approve", actor=visit.who.actor, at=visit.now,
            )  # fmt: skip
        except RequestError as error:
            return self._render(visit, problem=f"Not done: {error}", status=error.status)
        self._desk.parts.renew_modes()
        return self._back(visit, "changed" if decision == "approve" else "refused")

    # Steps ----------------------------------------------------------------------------------------------------------

    def _render(self, visit: Visit, *, problem: str = "", status: int = 200) -> Response:
        rule, tenant = self._rule(visit), visit.who.tenant
        parts, database = self._desk.parts, self._desk.record.database
        book = parts.engine.rulebook
        span = span_of(visit.query)
        today = rule_chart.day_number(visit.now)
        since = today - int(span) + 1
        counted = [
            one
            for one in figures(database, tenant, since_day=since, until_day=today)
            if one.rule == rule
        ]
        course = trends(database, tenant, since_day=since, until_day=today, rules=[rule])[rule]
        became = decisions(database, tenant, rule, micros(visit.now - timedelta(days=int(span))))
        acted = sum(one.acted_on for one in counted)
        closed = acted + sum(one.dismissed for one in counted)
        asked = changes(database, tenant, rule)
        return visit.page(
            "rule.html", status=status if problem else 200, problem=problem, done=_done(visit), rule=rule,
            entry=self._entries(book).entry(rule), card=book.cards[rule], state=status_of(book, rule),
            citations=[book.citations[key] for key in book.cards[rule].cites],
            mode=parts.mode_of(tenant, rule), modes=MODES, counted=counted, course=course, chart=rule_chart.chart_of(course),
            plot=rule_chart, became=became, bar=_bar(became), reasons=_worded(became, self._words(book, rule)),
            acted=acted, closed=closed, interval=wilson(acted, closed), changes=asked,
            waiting=[one for one in asked if one.state == "asked"], spans=SPANS, span=span, link=_link(rule),
            second_person=parts.settings.second_person,
        )  # fmt: skip

    def _rule(self, visit: Visit) -> str:
        rule: str = visit.path["rule"]
        book = self._desk.parts.engine.rulebook
        if rule not in book.cards or rule not in book.rules:
            raise RequestError("There is no such rule in force.", status=404, code="not-found")
        return rule

    def _entries(self, book: Rulebook) -> Catalogue:
        """The catalogue of these packs; its stories are played once, by whoever comes first."""
        from service.rule_entries import Catalogue

        with self._playing:
            if self._catalogue is None or self._catalogue[0] is not book:
                self._catalogue = (book, Catalogue(book))
            return self._catalogue[1]

    @staticmethod
    def _words(book: Rulebook, rule: str) -> dict[str, str]:
        words = {code: held.display for code, held in book.override_reasons.items()}
        for choices in reasons_for(book, rule).values():
            words |= {one.code: one.display for one in choices}
        return words

    @staticmethod
    def _back(visit: Visit, done: str) -> Response:
        return visit.go(f"/rules/{quote(visit.path['rule'])}?{urlencode({'done': done})}")


def _other_mode(word: str, before: Mode) -> Mode:
    wanted = as_mode(word)
    if wanted == before:
        raise RequestError(f"the mode is {before} already.", status=422)
    return wanted


def _done(visit: Visit) -> str:
    said = {
        "asked": "Asked. It takes effect when a second person approves it.",
        "changed": "Done. The new mode is in force within seconds.",
        "refused": "Refused. Nothing changed.",
    }
    return said.get(visit.query.get("done", ""), "")


def _bar(became: Decisions) -> list[tuple[str, int, float, float]]:
    """State, count, start and width in hundredths, for a stacked bar."""
    total = sum(became.states.values())
    found: list[tuple[str, int, float, float]] = []
    start = 0.0
    for state in _STATES:
        count = became.states.get(state, 0)
        if count:
            width = 100 * count / total
            found.append((state, count, round(start, 2), round(width, 2)))
            start += width
    return found


def _worded(became: Decisions, words: dict[str, str]) -> dict[str, list[tuple[str, int]]]:
    """Reasons in words, those of pharmacists and those that clinicians gave at the card."""

    def told(rows: list[tuple[str, str, int]], wanted: set[str]) -> list[tuple[str, int]]:
        return [
            (words.get(code, code) or "no reason given", count)
            for kind, code, count in rows
            if kind in wanted
        ]

    return {
        "Overridden by pharmacists": told(became.reasons, {"override"}),
        "Data problems": told(became.reasons, {"data-problem"}),
        "Resolved": told(became.reasons, {"resolve"}),
        "Overridden at the card": told(became.clinicians, {"overridden"}),
    }


def _link(rule: str) -> Any:
    def link(days: str) -> str:
        told = f"?{urlencode({'days': days})}" if days != USUAL_SPAN else ""
        return f"/rules/{quote(rule)}{told}"

    return link
