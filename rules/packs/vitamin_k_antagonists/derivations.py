"""Vitamin K meets the antagonist: how long, how closely watched, how stable."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from rules.authoring import derivation
from rules.evidence import Evidence
from rules.facts import Fact, Finding, LabResult, MedicationUse
from rules.packs.core.courses import courses_of, days_of
from rules.packs.core.inr import inrs
from rules.packs.core.words import text


def _later(first: int | None, second: int | None) -> int | None:
    """Days since the later of two starts; unknown when either is unknown."""
    return None if first is None or second is None else min(first, second)


@derivation(gives=["vitamin-k-with-vka"], requires=["listed-vka", "relevant-vitamin-k"])
def vitamin_k_together_with_an_antagonist(e: Evidence) -> Iterator[Finding]:
    """One pair per form of vitamin K; an unknown start counts as new."""
    vka, window = e.findings("listed-vka")[0], e.parameter("pair.new")
    for source in e.findings("relevant-vitamin-k"):
        days = _later(days_of(source), days_of(vka))
        yield e.finding(
            "vitamin-k-with-vka", source.about, because=[source, vka], parameters=[window],
            vka=vka.about, form=source.form, daily=source.values.get("daily"), days=days,
            new=days is None or days <= window.value,
            taken=vka.certain and not vka.proposed and not source.proposed,
        )  # fmt: skip


@derivation(gives=["multivitamin-with-vka"], requires=["listed-vka", "unspecified-multivitamin"])
def multivitamin_together_with_an_antagonist(e: Evidence) -> Iterator[Finding]:
    """A multivitamin of unknown composition matters only while it is new."""
    vka, multi = e.findings("listed-vka")[0], e.findings("unspecified-multivitamin")[0]
    window = e.parameter("pair.new")
    days = _later(days_of(multi), days_of(vka))
    yield e.finding(
        "multivitamin-with-vka", multi.about, because=[multi, vka], parameters=[window],
        vka=vka.about, days=days, new=days is None or days <= window.value,
    )  # fmt: skip


# Monitoring ----------------------------------------------------------------------------------------------------


def _ordered(e: Evidence) -> list[Fact]:
    """Orders of an INR that will soon be carried out: drafted now, written lately, or due soon."""
    age, ahead = e.parameter("monitored.order-age").value, e.parameter("monitored.order-due").value
    soon: list[Fact] = []
    for order in e.orders_of("inr"):
        written, due = e.days_since(order.authored), e.days_since(order.due)
        lately = written is not None and 0 <= written <= age
        near = due is not None and 0 <= -due <= ahead
        if order.state == "draft" or lately or near:
            soon.append(order)
    return soon


def _inr_after(e: Evidence, begun: date | None) -> LabResult | None:
    """A recent INR drawn late enough after a change to say something about it."""
    settled, age = e.parameter("inr.after-change").value, e.parameter("monitored.inr-age").value
    for lab in inrs(e):
        days = e.days_since(lab.taken)
        if begun is None or lab.taken is None or days is None or days > age:
            continue
        if lab.taken >= begun + timedelta(days=settled):
            return lab
    return None


def _watched(
    e: Evidence, about: str, days: int | None, because: list[Fact | Finding]
) -> Finding | None:
    begun = None if days is None else e.today - timedelta(days=days)
    ordered, result = _ordered(e), _inr_after(e, begun)
    if not ordered and result is None:
        return None
    names = ["inr.after-change", "monitored.inr-age", "monitored.order-age", "monitored.order-due"]
    return e.finding(
        "vitamin-k-monitored", about, because=[*because, *ordered, *([result] if result else [])],
        parameters=[e.parameter(name) for name in names],
        inr_days=e.days_since(result.taken) if result else None,
    )  # fmt: skip


@derivation(
    gives=["vitamin-k-monitored", "vitamin-k-monitored-while-taken"],
    reads=["vitamin-k-with-vka", "new-fat-malabsorption-drug"],
)
def inr_checked_after_the_change(e: Evidence) -> Iterator[Finding]:
    """Per exposure: an INR ordered for soon, or drawn late enough after it and not long ago."""
    for pair in (*e.findings("vitamin-k-with-vka"), *e.findings("new-fat-malabsorption-drug")):
        watched = _watched(e, pair.about, days_of(pair), [pair])
        if watched is None:
            continue
        yield watched
        if pair.name == "vitamin-k-with-vka" and pair.taken:
            yield e.finding("vitamin-k-monitored-while-taken", pair.about, because=[watched])


@derivation(
    gives=["vitamin-k-steady", "vitamin-k-not-steady"],
    requires=["vitamin-k-with-vka"],
    reads=["inr-target", "vitamin-k-change"],
)
def inr_stable_on_unchanged_intake(e: Evidence) -> Iterator[Finding]:
    """Long enough unchanged, and the two newest INRs in target, both drawn late enough; else why not."""
    target, results = e.findings("inr-target")[0], inrs(e)[:2]
    names = ["stable.min-days", "stable.inr-after", "stable.newest-inr"]
    parameters = [e.parameter(name) for name in names]
    for pair in e.findings("vitamin-k-with-vka"):
        reason = _why_not_steady(e, pair, target, results)
        if reason:
            yield e.finding(
                "vitamin-k-not-steady", pair.about, because=[pair, target, *results],
                parameters=parameters, missing=_missing_inr(e, results), reason=reason, last=_last_inr(e, results),
            )  # fmt: skip
        elif pair.taken:
            yield e.finding(
                "vitamin-k-steady", pair.about, because=[pair, target, *results], parameters=parameters,
                days=pair.days, newest=results[0].value, before=results[1].value,
                inr_days=e.days_since(results[0].taken), low=target.low, high=target.high,
            )  # fmt: skip


def _why_not_steady(e: Evidence, pair: Finding, target: Finding, results: list[LabResult]) -> str:
    least, after = e.parameter("stable.min-days").value, e.parameter("stable.inr-after").value
    oldest, days = e.parameter("stable.newest-inr").value, days_of(pair)
    if days is None:
        return text(e, "not_steady_start")
    if days < least:
        return text(e, "not_steady_young", days=least)
    if e.findings("vitamin-k-change", pair.about):
        return text(e, "not_steady_changed")
    if len(results) < 2:  # noqa: PLR2004 - a trend needs two results
        return text(e, "missing_inr_unread" if e.unread("labs-inr") else "not_steady_few")
    first_day = e.today - timedelta(days=days - after)
    if any(lab.taken is None or lab.taken < first_day for lab in results):
        return text(e, "not_steady_early", days=after)
    if any(
        lab.comparator or not target.low <= (lab.value or 0.0) <= target.high for lab in results
    ):
        return text(e, "not_steady_range")
    newest = e.days_since(results[0].taken)
    if newest is None or newest > oldest:
        return text(e, "not_steady_old", days=oldest)
    return ""


def _missing_inr(e: Evidence, results: list[LabResult]) -> list[str]:
    if results:
        return []
    return [text(e, "missing_inr_unread" if e.unread("labs-inr") else "missing_inr")]


def _last_inr(e: Evidence, results: list[LabResult]) -> str:
    if not results or results[0].taken is None:
        return text(e, "last_inr_unread" if e.unread("labs-inr") else "last_inr_none")
    said = f"{results[0].comparator}{results[0].value:g}"
    return text(e, "last_inr", value=said, day=results[0].taken.isoformat())


# Forms ---------------------------------------------------------------------------------------------------------


@derivation(
    gives=["mk4-with-vka", "mk4-pharmacological"], reads=["vitamin-k-with-vka", "vitamin-k-steady"]
)
def mk4_beside_an_antagonist(e: Evidence) -> Iterator[Finding]:
    """A pharmacological dose always calls for a word; a smaller or unknown one unless the INR is stable on it."""
    limit = e.parameter("k.critical.mk4")
    for pair in e.findings("vitamin-k-with-vka"):
        if pair.form != "mk4":
            continue
        daily = pair.values.get("daily")
        large = daily is not None and daily >= limit.value
        if large:
            yield e.finding(
                "mk4-pharmacological", pair.about, because=[pair], parameters=[limit], daily=daily
            )
        if large or e.first("vitamin-k-steady", pair.about) is None:
            yield e.finding(
                "mk4-with-vka",
                pair.about,
                because=[pair],
                parameters=[limit],
                vka=pair.vka,
                daily=daily,
            )


@derivation(
    gives=["new-vitamin-k1-source", "vitamin-k1-substantial"],
    reads=["vitamin-k-with-vka", "multivitamin-with-vka"],
)
def new_source_of_vitamin_k1(e: Evidence) -> Iterator[Finding]:
    """New K1 at or above its floor, or a new multivitamin that does not say what it holds."""
    limit = e.parameter("k.warn.k1")
    for pair in e.findings("vitamin-k-with-vka"):
        if pair.form != "k1" or not pair.new:
            continue
        source, daily = e.findings("relevant-vitamin-k", pair.about)[0], pair.values.get("daily")
        large = daily is not None and daily >= limit.value
        if large or (not source.dose_known and source.single_ingredient):
            yield e.finding(
                "vitamin-k1-substantial", pair.about, because=[pair], parameters=[limit]
            )
        yield e.finding(
            "new-vitamin-k1-source", pair.about, because=[pair], vka=pair.vka, daily=daily
        )
    for multi in e.findings("multivitamin-with-vka"):
        if multi.new:
            yield e.finding("new-vitamin-k1-source", multi.about, because=[multi], vka=multi.vka)


# Changes -------------------------------------------------------------------------------------------------------


@derivation(
    gives=["vitamin-k-change-unchecked"],
    requires=["current-vka"],
    reads=["vitamin-k-with-vka", "vitamin-k-change"],
)
def change_without_an_inr(e: Evidence) -> Iterator[Finding]:
    """A start, stop or change of vitamin K weeks ago, with no INR since and none ordered."""
    vka = e.findings("current-vka")[0]
    first, last = e.parameter("pair.overdue-from"), e.parameter("pair.overdue-to")
    if vka.proposed or _ordered(e):
        return
    results = inrs(e)
    changes: list[tuple[Finding, str, int]] = [
        (pair, "started", pair.days)
        for pair in e.findings("vitamin-k-with-vka")
        if pair.taken and days_of(pair) is not None
    ]
    changes += [(one, one.change, one.days) for one in e.findings("vitamin-k-change")]
    said: set[str] = set()
    for finding, change, days in changes:
        on = e.today - timedelta(days=days)
        since = any(lab.taken is not None and lab.taken > on for lab in results)
        if since or not first.value <= days <= last.value or finding.about in said:
            continue
        said.add(finding.about)
        yield e.finding(
            "vitamin-k-change-unchecked", finding.about, because=[finding, vka], parameters=[first, last],
            missing=_missing_inr(e, results), change=change, days=days,
            last_inr_days=e.days_since(results[0].taken) if results else None,
        )  # fmt: skip


@derivation(
    gives=["new-fat-malabsorption-drug"],
    requires=["current-vka"],
    needs=["class:fat-malabsorption-drug"],
)
def new_drug_that_hinders_uptake(e: Evidence) -> Iterator[Finding]:
    """Orlistat, a bile acid sequestrant or mineral oil, proposed or begun lately; an unknown start counts as new."""
    vka, window = e.findings("current-vka")[0], e.parameter("pair.new")
    by_name: dict[str, list[MedicationUse]] = {}
    for use in e.uses_of("fat-malabsorption-drug"):
        by_name.setdefault(use.ingredient, []).append(use)
    for name in sorted(by_name):
        for course in courses_of(e, by_name[name], one_course=True):
            days = course.days(e.today)
            if days is None or days <= window.value:
                yield e.finding(
                    "new-fat-malabsorption-drug", name, because=[*course.uses, vka], parameters=[window],
                    proposed=course.proposed, days=days, vka=vka.about,
                )  # fmt: skip
