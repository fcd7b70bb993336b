"""The rules page: every rule in force, how far it reaches, and whether it earns its keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from service.alerts.lifecycle import SEVERITIES
from service.dashboard.rule_chart import day_number, spark_of
from service.rule_figures import RuleFigures, figures, wilson
from service.rule_trends import Trend, trends

if TYPE_CHECKING:
    from starlette.responses import Response

    from rules.rulebook import Rulebook
    from service.alerts.values import Mode
    from service.dashboard.desk import Desk, Visit

SPANS: Final = {"28": "4 weeks", "91": "13 weeks", "364": "52 weeks"}
USUAL_SPAN: Final = "91"
_SHOWS: Final = {
    "": "All",
    "pattern": "Pattern changed",
    "silent": "Never fired",
    "not-live": "Not live",
    "waiting": "Change waits",
}


class RuleLine(msgspec.Struct, frozen=True, kw_only=True):
    """One rule as a row; rates are shares of one, None where nothing was counted."""

    rule: str
    title: str
    pack: str
    indicators: tuple[str, ...]
    mode: Mode
    status: str
    is_overdue: bool
    fired: int
    shown: int
    opened: int
    acted_on: int
    dismissed: int
    answered: int
    overridden: int
    spark: str
    outside: int
    is_silent: bool
    waits: bool

    @property
    def closed(self) -> int:
        """Alerts that people closed."""
        return self.acted_on + self.dismissed

    @property
    def acted(self) -> float | None:
        """The yield: acted on among those that people closed."""
        return self.acted_on / self.closed if self.closed else None

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """The 95 % interval of the yield."""
        return wilson(self.acted_on, self.closed)

    @property
    def override_rate(self) -> float | None:
        """Overridden among the cards that clinicians answered."""
        return self.overridden / self.answered if self.answered else None


class RulesPage:
    """Shows the list."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.route("GET", "/rules", "see-rules", self.show)

    def show(self, visit: Visit) -> Response:
        """Every rule in force."""
        span, shows = span_of(visit.query), visit.query.get("show", "")
        shows = shows if shows in _SHOWS else ""
        lines = self._lines(visit, int(span))
        return visit.page(
            "rules.html", lines=[one for one in lines if _is_shown(one, shows)], all_rules=len(lines),
            spans=SPANS, span=span, shows=_SHOWS, show=shows,
            counts={code: sum(_is_shown(one, code) for one in lines) for code in _SHOWS},
            second_person=self._desk.parts.settings.second_person,
        )  # fmt: skip

    def _lines(self, visit: Visit, days: int) -> list[RuleLine]:
        from service.rollout import changes

        parts, database, tenant = self._desk.parts, self._desk.record.database, visit.who.tenant
        book = parts.engine.rulebook
        names = sorted(name for name in book.cards if name in book.rules)
        today = day_number(visit.now)
        since = today - days + 1
        counted = figures(database, tenant, since_day=since, until_day=today, rules=names)
        courses = trends(database, tenant, since_day=since, until_day=today, rules=names)
        waiting = {one.rule for one in changes(database, tenant) if one.state == "asked"}
        lines = [
            _line(
                book, name, parts.mode_of(tenant, name), [one for one in counted if one.rule == name], courses[name],
                visit, waits=name in waiting,
            )
            for name in names
        ]  # fmt: skip
        return sorted(lines, key=lambda one: (-one.fired, one.rule))


def span_of(query: Mapping[str, str]) -> str:
    """The span of days that an address asks for, if it is one of ours."""
    given = query.get("days", USUAL_SPAN)
    return given if given in SPANS else USUAL_SPAN


def status_of(book: Rulebook, name: str) -> str:
    """``reviewed`` where a clinician signed, else what the pack says of itself."""
    return "reviewed" if book.cards[name].reviewed else book.pack_of[name].head.status


def _line(
    book: Rulebook, name: str, mode: Mode, counted: list[RuleFigures], course: Trend, visit: Visit, *, waits: bool
) -> RuleLine:  # fmt: skip
    card = book.cards[name]
    total = _summed(counted)
    return RuleLine(
        rule=name, title=card.title, pack=book.pack_of[name].head.title, mode=mode, waits=waits,
        indicators=tuple(sorted({line.is_ for line in card.indicator}, key=SEVERITIES.__getitem__, reverse=True)), status=status_of(book, name),
        is_overdue=card.review_due < visit.now.date(), spark=spark_of(course), outside=len(course.outside),
        is_silent=any(one.evaluations for one in counted) and not total["fired"],
        answered=total["accepted"] + total["overridden"],
        **{key: total[key] for key in ("fired", "shown", "opened", "acted_on", "dismissed", "overridden")},
    )  # fmt: skip


def _summed(counted: list[RuleFigures]) -> dict[str, int]:
    names = ("fired", "shown", "accepted", "overridden", "opened", "acted_on", "dismissed")
    return {name: sum(getattr(one, name) for one in counted) for name in names}


def _is_shown(line: RuleLine, shows: str) -> bool:
    tests: dict[str, Any] = {
        "pattern": line.outside,
        "silent": line.is_silent,
        "not-live": line.mode != "live",
        "waiting": line.waits,
    }
    return bool(tests.get(shows, True))
