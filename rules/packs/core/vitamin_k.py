"""Vitamin K that is taken: sources by form, what changed lately, what was given for reversal, natto."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from rules.authoring import derivation
from rules.evidence import Evidence
from rules.facts import Finding, MedicationUse
from rules.packs.core.courses import (
    Course,
    courses_of,
    is_current,
    last_day,
    newest_that_matters,
    was_taken,
)
from rules.packs.core.inr import inrs
from rules.packs.core.words import lacking_dose, text

# Forms whose products are summed; each has its own floor, and nothing is added across forms.
FORMS = ("k1", "mk7", "mk4")
_ANY_FORM = tuple(f"class:{form}" for form in FORMS)
UNSPECIFIED = frozenset({"vitamin-k", "vitamin-k2"})


def given_for_a_purpose(e: Evidence, use: MedicationUse) -> bool:
    """Reversal, newborn prophylaxis or a documented stabilisation protocol: never a supplement.

    An injection is no supplement whatever its form; a single or as-needed dose of K1 is none either.
    """
    if use.route in e.parameter("reversal.routes").value:
        return True
    if set(use.purposes) & set(e.parameter("vitamin-k.purposes").value):
        return True
    return "k1" in use.classes and (use.single or use.as_needed)


def supplements_of(e: Evidence, form: str) -> list[MedicationUse]:
    """Every record of one form of vitamin K that is taken as a supplement, whatever its status."""
    return [
        use
        for use in e.uses_of(form)
        if use.systemic is not False and not given_for_a_purpose(e, use)
    ]


def _by_ingredient(uses: Sequence[MedicationUse]) -> dict[str, list[MedicationUse]]:
    grouped: dict[str, list[MedicationUse]] = {}
    for use in uses:
        grouped.setdefault(use.ingredient, []).append(use)
    return dict(sorted(grouped.items()))


def courses_of_form(e: Evidence, form: str) -> list[Course]:
    """Courses of every ingredient of a form, the longest running first."""
    courses = [
        c for held in _by_ingredient(supplements_of(e, form)).values() for c in courses_of(e, held)
    ]
    return sorted(courses, key=lambda c: (c.proposed, c.start is None, c.start or date.min))


def subject_of(ingredients: Sequence[str]) -> str:
    """One name for products of one form: the specific one where any product is specific."""
    return min(ingredients, key=lambda name: (name in UNSPECIFIED, name))


@derivation(gives=["relevant-vitamin-k"], needs=_ANY_FORM)
def vitamin_k_above_its_floor(e: Evidence) -> Iterator[Finding]:
    """Products of one form sum; an unknown dose counts as relevant, since it could be any."""
    for form in FORMS:
        courses = courses_of_form(e, form)
        if not courses:
            continue
        floor = e.parameter(f"k.floor.{form}")
        known = sum(c.daily for c in courses)
        dose_known = all(c.dose_known for c in courses)
        if dose_known and known < floor.value:
            continue
        newest = newest_that_matters(courses, floor.value)
        taken = [c.days(e.today) for c in courses if not c.proposed]
        about = subject_of([c.ingredient for c in courses])
        missing = [] if dose_known else [lacking_dose(e, about)]
        if newest.start is None and not newest.proposed:
            missing.append(text(e, "missing_start_new", name=e.name_of(about)))
        yield e.finding(
            "relevant-vitamin-k", about,
            because=[use for c in courses for use in c.uses],
            parameters=[floor, e.parameter("course.gap")], missing=missing,
            form=form, daily=known or None, dose_known=dose_known,
            products=len({use.record for c in courses for use in c.current}),
            proposed=newest.proposed, taken=bool(taken), days=newest.days(e.today), since=newest.start,
            first_days=max((days for days in taken if days is not None), default=None),
            single_ingredient=all(use.single_ingredient for use in newest.current),
        )  # fmt: skip


@derivation(gives=["unspecified-multivitamin"], needs=["class:multivitamin"])
def multivitamin_that_may_hold_vitamin_k(e: Evidence) -> Iterator[Finding]:
    """A multivitamin without a list of contents; one that lists vitamin K is read as vitamin K instead."""
    with_k = {use.record for form in FORMS for use in e.uses_of(form)}
    uses = [use for use in e.uses_of("multivitamin") if use.record not in with_k]
    courses = courses_of(e, uses)
    if courses:
        newest = courses[-1]
        yield e.finding(
            "unspecified-multivitamin", newest.ingredient, because=newest.uses,
            missing=[text(e, "missing_multivitamin")],
            proposed=newest.proposed, taken=not newest.proposed, days=newest.days(e.today), since=newest.start,
        )  # fmt: skip


@derivation(gives=["vitamin-k-intake"])
def vitamin_k_from_all_products(e: Evidence) -> Iterator[Finding]:
    """Sums per form, for the rules on people without an antagonist."""
    current = {
        form: [use for use in supplements_of(e, form) if is_current(use, e.today)] for form in FORMS
    }
    uses = [use for form in FORMS for use in current[form]]
    sums = {form: sum(use.daily or 0.0 for use in current[form]) for form in FORMS}
    unknown = [use for use in uses if use.daily is None]
    read = not (e.unread("medication-statements") or e.unread("medication-requests"))
    yield e.finding(
        "vitamin-k-intake", because=uses,
        missing=[lacking_dose(e, use.ingredient) for use in unknown],
        products=len({use.record for use in uses}), unknown_products=len({use.record for use in unknown}),
        k1=sums["k1"], mk7=sums["mk7"], mk4=sums["mk4"], k2=sums["mk7"] + sums["mk4"],
        complete=read and not unknown,
    )  # fmt: skip


@derivation(gives=["no-vitamin-k-listed"])
def no_vitamin_k_on_the_lists(e: Evidence) -> Iterator[Finding]:
    """No product with vitamin K in use, where both lists were read."""
    if e.unread("medication-statements") or e.unread("medication-requests"):
        return
    if not any(is_current(use, e.today) for use in e.uses_of("vitamin-k")):
        yield e.finding("no-vitamin-k-listed")


@derivation(gives=["vitamin-k-change"], needs=_ANY_FORM)
def vitamin_k_stopped_or_changed(e: Evidence) -> Iterator[Finding]:
    """A relevant supplement that was stopped, or whose dose changed between two dated records."""
    window = e.parameter("pair.overdue-to").value
    for form in FORMS:
        changes = [
            change
            for held in _by_ingredient(supplements_of(e, form)).values()
            for change in (*_stops(e, form, held), *_dose_changes(e, form, held))
            if 0 <= change.days <= window
        ]
        yield from sorted(changes, key=lambda one: one.days)[:1]


def _stops(e: Evidence, form: str, uses: Sequence[MedicationUse]) -> Iterator[Finding]:
    floor, least = e.parameter(f"k.floor.{form}"), e.parameter("change.min-use")
    settled = e.parameter("inr.after-change")
    continued = {use.record for course in courses_of(e, uses) for use in course.past}
    past = [use for use in uses if was_taken(use, e.today) and use.record not in continued]
    gap = timedelta(days=e.parameter("course.gap").value)
    for use in past:
        on = last_day(use)
        if on is None or (use.daily is not None and use.daily < floor.value):
            continue
        begun = min(
            [
                one.start
                for one in past
                if one.start and use.start and one.start <= use.start <= _reaches(one, gap)
            ],
            default=use.start,
        )
        if begun is not None and (on - begun).days + 1 < least.value and not use.start_is_bound:
            continue
        missing = (
            [] if use.end is not None else [text(e, "missing_stop", name=e.name_of(use.ingredient))]
        )
        if begun is None:
            missing.append(text(e, "missing_start", name=e.name_of(use.ingredient)))
        yield e.finding(
            "vitamin-k-change", use.ingredient, because=[use], missing=missing,
            parameters=[floor, least, settled], change="stopped", effect="rise",
            days=(e.today - on).days, on=on, before=use.daily,
            checked=_drawn_since(e, on, settled.value), inr_since=_drawn_since(e, on),
        )  # fmt: skip


def _reaches(use: MedicationUse, gap: timedelta) -> date:
    """The last day on which another record would continue this one; without an end, none does."""
    ended = last_day(use)
    return date.min if ended is None else ended + gap


def _dose_changes(e: Evidence, form: str, uses: Sequence[MedicationUse]) -> Iterator[Finding]:
    """Two dated records of one ingredient, one after the other, whose doses differ enough."""
    floor = e.parameter(f"k.floor.{form}")
    share, amount = e.parameter("change.min-share"), e.parameter(f"change.min-{form}")
    settled = e.parameter("inr.after-change")
    for course in courses_of(e, uses):
        if course.proposed:
            continue
        now = max(course.current, key=lambda use: (use.start or date.min, use.source))
        before = max(
            (use for use in course.past if use.start is not None and last_day(use) is not None),
            key=lambda use: (use.start, use.source), default=None,
        )  # fmt: skip
        if before is None or now.start is None or now.daily is None or before.daily is None:
            continue
        difference = abs(now.daily - before.daily)
        enough = difference >= amount.value and difference >= share.value * before.daily
        if enough and max(now.daily, before.daily) >= floor.value:
            change, effect = (
                ("increased", "fall") if now.daily > before.daily else ("decreased", "rise")
            )
            yield e.finding(
                "vitamin-k-change", course.ingredient, because=[before, now],
                parameters=[floor, share, amount, settled],
                change=change, effect=effect, days=(e.today - now.start).days, on=now.start,
                before=before.daily, after=now.daily,
                checked=_drawn_since(e, now.start, settled.value), inr_since=_drawn_since(e, now.start),
            )  # fmt: skip


def _drawn_since(e: Evidence, day: date, settled: int = 1) -> bool:
    """Whether an INR was drawn ``settled`` days after a day, or later."""
    return any(lab.taken is not None and (lab.taken - day).days >= settled for lab in inrs(e))


@derivation(gives=["recent-reversal"], needs=["class:k1", "class:pcc"])
def vitamin_k_given_for_reversal(e: Evidence) -> Iterator[Finding]:
    """Reversal doses of the last 72 hours; they are recorded by the day, so three calendar days count."""
    window, dose = e.parameter("reversal.window-days"), e.parameter("reversal.min-oral")
    given = [use for use in e.uses_of("pcc") if use.status != "not-taken"]
    for use in e.uses_of("k1"):
        injected = use.route in e.parameter("reversal.routes").value
        large = (
            (use.single or use.as_needed) and use.amount is not None and use.amount >= dose.value
        )
        if use.status != "not-taken" and (injected or large or "reversal" in use.purposes):
            given.append(use)
    for use in given:
        on = use.start or use.recorded or use.end
        days = e.days_since(on)
        if use.taking == "draft" or (days is not None and 0 <= days <= window.value):
            yield e.finding(
                "recent-reversal", use.ingredient, because=[use], parameters=[window, dose], on=on
            )


@derivation(gives=["natto-eaten"], needs=["food:natto"])
def natto_in_the_diet(e: Evidence) -> Iterator[Finding]:
    """Natto on the newest diet record that is not too old; an undated record of a current habit counts."""
    window = e.parameter("diet.window")
    newest_first = sorted(
        e.diets_of("natto"), key=lambda one: (one.recorded or date.min, one.source), reverse=True
    )
    for diet in newest_first:
        days = e.days_since(diet.recorded)
        if days is None or 0 <= days <= window.value:
            missing = [] if days is not None else [text(e, "missing_diet_day")]
            yield e.finding(
                "natto-eaten",
                "natto",
                because=[diet],
                parameters=[window],
                missing=missing,
                recorded=diet.recorded,
            )
            return
