"""What is taken now, and since when: records of one ingredient joined into courses.

A course begins with the earliest contiguous record of its ingredient, so that a renewed prescription makes
nothing new. Asserted and authored dates say "then or earlier". A second product that is taken beside an
older one has a course of its own: what is steady never hides what is new.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from rules.evidence import Evidence
from rules.facts import Finding, MedicationUse

ENDED = frozenset({"stopped", "completed", "ended"})


@dataclass(frozen=True)
class Course:
    """One product line of an ingredient: the records in use now, and those they continue.

    ``start`` is ``None`` when unknown; with ``at_least`` it began then or earlier. ``proposed`` means that
    nothing of it is taken yet.
    """

    ingredient: str
    current: tuple[MedicationUse, ...]
    past: tuple[MedicationUse, ...]
    start: date | None
    at_least: bool
    proposed: bool

    @property
    def uses(self) -> tuple[MedicationUse, ...]:
        """Every record of the course, current ones first."""
        return (*self.current, *self.past)

    @property
    def daily(self) -> float:
        """The sum of the known daily doses of the records in use."""
        return sum(use.daily for use in self.current if use.daily is not None)

    @property
    def dose_known(self) -> bool:
        """Whether every record in use has a daily dose."""
        return all(use.daily is not None for use in self.current)

    def days(self, today: date) -> int | None:
        """Days since it began; 0 for a proposed one, ``None`` when the start is unknown."""
        if self.proposed:
            return 0
        return None if self.start is None else (today - self.start).days


def days_of(finding: Finding) -> int | None:
    """The field ``days`` of a finding, ``None`` when it is unknown."""
    days: int | None = finding.values.get("days")  # type: ignore[assignment]
    return days


def is_current(use: MedicationUse, today: date) -> bool:
    """Whether a record is in use or proposed: systemic, begun, not ended (both end days count)."""
    if use.systemic is False or use.taking not in {"yes", "draft"}:
        return False
    if use.end is not None and use.end < today:
        return False
    return use.taking == "draft" or use.start is None or use.start <= today


def is_planned(use: MedicationUse, today: date) -> bool:
    """Whether a record is active but begins only later."""
    return (
        use.taking == "yes"
        and use.systemic is not False
        and use.start is not None
        and use.start > today
    )


def was_taken(use: MedicationUse, today: date) -> bool:
    """Whether a record was taken once and is not in use any more."""
    if use.systemic is False:
        return False
    ended = use.end is not None and use.end < today
    return use.status in ENDED or (ended and use.taking in {"yes", "uncertain"})


def last_day(use: MedicationUse) -> date | None:
    """The last day of a record that ended; without an end date, the day on which its end was recorded."""
    if use.end is not None:
        return use.end
    recorded = use.recorded
    return recorded if recorded is not None and recorded != use.start else None


def courses_of(
    e: Evidence, uses: Iterable[MedicationUse], *, one_course: bool = False
) -> list[Course]:
    """The courses of one ingredient (or class), the longest running first.

    ``one_course`` treats all records as one therapy whatever their strengths, and an ended record without an
    end date as continued by the next prescription: right for anticoagulants, whose renewals replace each other.
    """
    held = tuple(uses)
    if not held:
        return []
    key = ("courses", one_course, tuple(map(id, held)))  # facts live as long as their evidence
    return list(e.once(key, lambda: _courses(e, held, one_course=one_course)))


def _courses(e: Evidence, held: Sequence[MedicationUse], *, one_course: bool) -> list[Course]:
    gap = timedelta(days=e.parameter("course.gap").value)
    renewal = timedelta(days=e.parameter("course.renewal").value) if one_course else None
    past = [use for use in held if was_taken(use, e.today)]
    lines: list[list[MedicationUse]] = []
    for use in sorted((u for u in held if is_current(u, e.today)), key=_by_start):
        same = next((line for line in lines if one_course or _same_product(line, use)), None)
        if same is None:
            lines.append([use])
        else:
            same.append(use)
    courses = [_course(line, past, e.today, gap, renewal) for line in lines]
    return sorted(courses, key=lambda one: (one.proposed, one.start is None, one.start or date.min))


def newest_that_matters(courses: Sequence[Course], floor: float) -> Course:
    """The newest course, leaving aside new ones that together stay below ``floor`` beside a relevant older intake."""
    newest_first = list(reversed(courses))
    dropped = 0.0
    while len(newest_first) > 1:
        first, rest = newest_first[0], newest_first[1:]
        dropped += first.daily
        older_matters = any(not c.dose_known for c in rest) or sum(c.daily for c in rest) >= floor
        if not first.dose_known or dropped >= floor or not older_matters:
            break
        newest_first = rest
    return newest_first[0]


def _course(
    line: list[MedicationUse],
    past: Sequence[MedicationUse],
    today: date,
    gap: timedelta,
    renewal: timedelta | None,
) -> Course:
    taken = [use for use in line if use.taking != "draft"]
    first = min((use.start for use in taken if use.start is not None), default=None)
    if first is None and not taken and renewal is not None:
        first = today  # a drafted anticoagulant may renew what has just ended
    joined = _joined(past, first, gap, renewal) if first is not None else []
    starts = [use.start for use in (*taken, *joined) if use.start is not None]
    start = min(starts, default=None)
    earliest = [use for use in (*taken, *joined) if use.start == start]
    at_least = any(use.start_is_bound for use in earliest) or any(
        use.start is None for use in taken
    )
    return Course(
        ingredient=line[0].ingredient, current=tuple(line), past=tuple(joined), start=start,
        at_least=at_least, proposed=not taken and not joined,
    )  # fmt: skip


def _joined(
    past: Sequence[MedicationUse], start: date, gap: timedelta, renewal: timedelta | None
) -> list[MedicationUse]:
    """Ended records that lead, without a gap, to ``start``; newest first."""
    joined: list[MedicationUse] = []
    for use in sorted(past, key=lambda one: one.start or date.min, reverse=True):
        if use.start is None or use.start >= start:
            continue
        ended = last_day(use)
        if ended is not None:
            continued = ended + gap >= start
        else:
            continued = renewal is not None and use.start + renewal >= start
        if continued:
            joined.append(use)
            start = use.start
    return joined


def _same_product(line: Sequence[MedicationUse], use: MedicationUse) -> bool:
    """Whether a record repeats a product line: the same dose, and either a later prescription or the same words.

    An active record with another dose, or with a start and words of its own, is a second product.
    """
    for other in line:
        if (
            use.ingredient != other.ingredient
            or use.daily != other.daily
            or use.amount != other.amount
        ):
            continue
        if _words(use) == _words(other):
            return True
        if (
            use.daily is not None
            and use.taking == "yes"
            and (use.start_is_bound or use.kind != other.kind)
        ):
            return True
    return False


def _words(use: MedicationUse) -> str:
    return " ".join(use.product.casefold().split())


def _by_start(use: MedicationUse) -> tuple[bool, bool, date, tuple[str, ...]]:
    return (use.taking == "draft", use.start is None, use.start or date.min, use.source)
