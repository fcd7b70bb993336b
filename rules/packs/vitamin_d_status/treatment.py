"""What became of a low level: rechecked or not, and how it answered to vitamin D2; who needs none measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rules.authoring import derivation
from rules.packs.vitamin_d_status.intervals import interval_of

if TYPE_CHECKING:
    from datetime import date

    from rules.evidence import Evidence
    from rules.facts import Fact, Finding, LabResult

MEASURE = "25ohd"
NEVER_ALONE = "d2"


@derivation(
    gives=("vitamin-d-repeat-due",),
    reads=("vitamin-d-source", "age-group"),
    needs=("measure:25ohd",),
)
def repeat_due(e: Evidence) -> Iterator[Finding]:
    """A deficient result, vitamin D started around or after it long enough ago, and no later level."""
    after, effect = e.parameter("testing.retest-after"), e.parameter("testing.retest-effect-after")
    before, until = (
        e.parameter("testing.treatment-before-result"),
        e.parameter("testing.treatment-after-result"),
    )
    child = any(made.values["group"] == "child" for made in e.findings("age-group"))
    cut = e.parameter_or_none("vitd.paediatric.deficient" if child else "vitd.band.deficient")
    sources = e.findings("vitamin-d-source")
    if cut is None or e.unread("labs-25ohd") or not sources:
        return
    results = _results(e)
    for source in sources:
        days, since = source.values.get("days"), source.values.get("since")
        if (
            not isinstance(days, int)
            or days < after.value
            or source.values["proposed"]
            or since is None
        ):
            continue
        low = [
            lab for lab in results
            if lab.unit in cut.value and interval_of(lab).below(cut.value[lab.unit])
            and -before.value <= _between(lab.taken, since) <= until.value
        ]  # fmt: skip
        later = [lab for lab in results if _between(since, lab.taken) >= effect.value]
        if low and not later:
            yield e.finding(
                "vitamin-d-repeat-due", because=(low[0], source), parameters=(cut, after, effect, before, until),
                drug=source.about, days=days, since=since, taken=low[0].taken,
            )  # fmt: skip
            return


@derivation(
    gives=("d2-response-low",),
    requires=("vitamin-d-source", "vitamin-d-level", "vitamin-d-level-under-adequate"),
    needs=("class:native-vitamin-d",),
)
def response_to_vitamin_d2(e: Evidence) -> Iterator[Finding]:
    """Long enough on D2, the level drawn long enough into it, and still low; not where D2 is chosen on purpose."""
    source, level = e.first("vitamin-d-source", "vitamin-d2"), e.first("vitamin-d-level")
    if source is None or level is None or e.first("vitamin-d-level-under-adequate") is None:
        return
    days, since, drawn = (
        source.values.get("days"),
        source.values.get("since"),
        level.values.get("taken"),
    )
    chosen, used, into = (
        e.parameter("d2.chosen-for"),
        e.parameter("d2.taken-for"),
        e.parameter("d2.level-after"),
    )
    if any(
        one.clinical_status != "resolved" for name in chosen.value for one in e.conditions_of(name)
    ):
        return
    if (
        any(e.procedures_of(name) for name in chosen.value)
        or not isinstance(days, int)
        or source.values["proposed"]
    ):
        return
    if days < used.value or _between(since, drawn) < into.value:
        return
    yield e.finding(
        "d2-response-low", "vitamin-d2", because=(level, source), parameters=(used, into, chosen),
        value=level.values["value"], comparator=level.values["comparator"], unit=level.values["unit"],
        taken=drawn, into=_between(since, drawn),
    )  # fmt: skip


@derivation(gives=("empiric-group",), reads=("age-group", "pregnant", "breastfed-infant"))
def group_for_empiric_vitamin_d(e: Evidence) -> Iterator[Finding]:
    """Pregnancy before age, age before prediabetes: the reason that says most comes first."""
    oldest, adult, infant = (
        e.parameter(name) for name in ("empiric.oldest-from", "age.adult", "age.one-year")
    )
    years = e.patient.age_years
    prediabetes = [one for one in e.conditions_of("prediabetes") if one.clinical_status == "active"]
    reasons: list[tuple[str, Fact | Finding]] = [
        ("pregnancy", made) for made in e.findings("pregnant")
    ]
    reasons += [("breastfed-infant", made) for made in e.findings("breastfed-infant")]
    if years is not None and years >= oldest.value:
        reasons.append(("older-age", e.patient))
    if years is not None and infant.value <= years < adult.value:
        reasons.append(("childhood", e.patient))
    if years is not None and years >= adult.value:
        reasons += [("prediabetes", one) for one in prediabetes]
    if reasons:
        table = e.parameter("vitd.reference-by-age")
        daily = next((row["daily"] for row in table.value if (years or 0) < row["below_years"]), 0)
        names = e.parameter("empiric.words").value
        yield e.finding(
            "empiric-group", because=[why for _, why in reasons], parameters=(oldest, table),
            group=names[reasons[0][0]], daily_reference=int(daily),
        )  # fmt: skip


def _results(e: Evidence) -> list[LabResult]:
    statuses = e.parameter("lab.usable-statuses").value
    return [
        lab for lab in e.labs_of(MEASURE)
        if lab.status in statuses and lab.taken is not None and lab.taken <= e.today and lab.group != NEVER_ALONE
    ]  # fmt: skip


def _between(first: object, second: object) -> int:
    """Days from one day to the other; -1 when either is unknown, so that nothing long can be claimed."""
    one: date | None = first  # type: ignore[assignment]
    other: date | None = second  # type: ignore[assignment]
    return -1 if one is None or other is None else (other - one).days
