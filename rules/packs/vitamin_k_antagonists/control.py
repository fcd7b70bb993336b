"""The INR on an antagonist: low with vitamin K, high, or unstable; and high-dose vitamin D beside it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from statistics import stdev

from rules.authoring import derivation
from rules.evidence import Evidence
from rules.facts import Finding
from rules.packs.core.courses import days_of
from rules.packs.core.inr import inrs


@derivation(
    gives=["low-inr-on-vitamin-k"],
    requires=["current-vka", "inr-latest", "inr-target"],
    reads=["relevant-vitamin-k", "natto-eaten"],
)
def low_inr_while_vitamin_k_is_taken(e: Evidence) -> Iterator[Finding]:
    """A recent INR below target, drawn on or after the day on which the vitamin K source was begun."""
    vka, latest = e.findings("current-vka")[0], e.findings("inr-latest")[0]
    target = e.findings("inr-target")[0]
    window, established = e.parameter("inr.window-low"), e.parameter("vka.established")
    on_vka = days_of(vka)
    if vka.proposed or (on_vka is not None and on_vka < established.value):
        return
    below = latest.value < target.low and latest.comparator in {"", "<", "<="}
    if not below or latest.days > window.value:
        return
    sources = [
        source
        for source in e.findings("relevant-vitamin-k")
        if source.taken
        and isinstance(first := source.values.get("first_days"), int)
        and e.today - timedelta(days=first) <= latest.on
    ]
    for source in (*sources, *e.findings("natto-eaten")):
        yield e.finding(
            "low-inr-on-vitamin-k", source.about, because=[latest, target, source, vka],
            parameters=[window, established], value=latest.value, comparator=latest.comparator,
            days=latest.days, low=target.low,
            high=target.high, assumed=target.assumed, vka=vka.about,
        )  # fmt: skip


@derivation(
    gives=["high-inr", "inr-above-critical"],
    requires=["recent-vka", "inr-latest"],
    reads=["recent-reversal"],
)
def high_inr_on_an_antagonist(e: Evidence) -> Iterator[Finding]:
    """A recent high INR, unless a reversal has just been given."""
    vka, latest = e.findings("recent-vka")[0], e.findings("inr-latest")[0]
    window, high, top = (
        e.parameter("inr.window-high"),
        e.parameter("inr.high"),
        e.parameter("inr.critical"),
    )
    if latest.comparator in {"<", "<="} or latest.value < high.value or latest.days > window.value:
        return
    if e.first("recent-reversal") is not None:
        return
    yield e.finding(
        "high-inr", "inr", because=[latest, vka], parameters=[window, high], value=latest.value,
        comparator=latest.comparator, days=latest.days, vka=vka.about, vka_status=vka.status,
    )  # fmt: skip
    if latest.value > top.value or (latest.comparator == ">" and latest.value >= top.value):
        yield e.finding(
            "inr-above-critical", "inr", because=[latest], parameters=[top],
            value=latest.value, comparator=latest.comparator, limit=float(top.value),
        )  # fmt: skip


@derivation(gives=["inr-unstable"], requires=["current-vka", "inr-latest", "no-vitamin-k-listed"])
def unstable_inr(e: Evidence) -> Iterator[Finding]:
    """Widely varying INRs on an established antagonist, without a known vitamin K product."""
    vka, latest = e.findings("current-vka")[0], e.findings("inr-latest")[0]
    least, window = e.parameter("unstable.min-days"), e.parameter("unstable.window")
    count, limit, high = (
        e.parameter("unstable.min-results"),
        e.parameter("unstable.sd"),
        e.parameter("inr.high"),
    )
    days = days_of(vka)
    if vka.proposed or days is None or days < least.value:
        return
    recent = [
        lab for lab in inrs(e)
        if not lab.comparator and lab.taken is not None and (e.today - lab.taken).days <= window.value
    ]  # fmt: skip
    values = [lab.value for lab in recent if lab.value is not None]
    if len(values) < count.value or latest.value >= high.value:
        return
    spread = stdev(values)
    if spread > limit.value:
        yield e.finding(
            "inr-unstable", "inr", because=[*recent, vka], parameters=[least, window, count, limit, high],
            sd=round(spread, 3), results=len(values), latest=latest.value,
        )  # fmt: skip


@derivation(
    gives=["high-dose-vitamin-d-with-vka"],
    requires=["current-vka", "vitamin-d-intake", "no-vitamin-k-listed"],
    reads=["vitamin-d-loading", "vitamin-d-loading-overrun", "vitamin-d-high-strength-daily"],
    needs=["class:native-vitamin-d"],
)
def high_dose_vitamin_d_beside_an_antagonist(e: Evidence) -> Iterator[Finding]:
    """High daily vitamin D whose label may also list vitamin K2; loading courses have rules of their own."""
    vka, intake, limit = (
        e.findings("current-vka")[0],
        e.findings("vitamin-d-intake")[0],
        e.parameter("check-label.daily"),
    )
    courses = ("vitamin-d-loading", "vitamin-d-loading-overrun", "vitamin-d-high-strength-daily")
    if intake.daily > limit.value and all(e.first(name) is None for name in courses):
        yield e.finding(
            "high-dose-vitamin-d-with-vka",
            because=[intake, vka],
            parameters=[limit],
            daily=intake.daily,
            vka=vka.about,
        )
