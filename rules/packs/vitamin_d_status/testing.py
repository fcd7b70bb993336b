"""Why a 25(OH)D or a 1,25(OH)2D test may be wanted, and whether a new one would come too early."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rules.authoring import derivation
from rules.packs.vitamin_d_status.exposure import amount, taken
from rules.packs.vitamin_d_status.intervals import interval_of

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.facts import Fact, Finding

READS = (
    "vitamin-d-level", "calcium-normal",
    "fat-malabsorption", "primary-hyperparathyroidism", "granulomatous-disease", "hypercalcaemia", "calcium-measured",
    "pregnant", "vitamin-d-low-before", "ckd", "low-egfr", "vitamin-d-intake", "vitamin-d-dose-unknown",
    "unspecified-multivitamin",
)  # fmt: skip
BY_THEMSELVES = (
    "fat-malabsorption", "primary-hyperparathyroidism", "granulomatous-disease", "hypercalcaemia", "pregnant",
    "vitamin-d-low-before", "ckd", "low-egfr", "vitamin-d-dose-unknown", "unspecified-multivitamin",
)  # fmt: skip


@derivation(gives=("indication-for-25ohd",), reads=READS)
def indication_for_25ohd(e: Evidence) -> Iterator[Finding]:
    """Anything on record that may justify a level; a single low eGFR is enough to stay silent."""
    problems, classes = e.parameter("testing.indications"), e.parameter("testing.indicating-drugs")
    high = e.parameter("testing.high-intake")
    reasons: list[Fact | Finding] = [made for name in BY_THEMSELVES for made in e.findings(name)]
    reasons += _listed(e, problems.value)
    reasons += taken(e, *classes.value)
    reasons += [
        made for made in e.findings("vitamin-d-intake") if amount(made, "daily") > high.value
    ]
    reasons += [made for made in e.findings("calcium-measured") if _unusual(e, made)]
    reasons += [
        made for made in e.findings("vitamin-d-level") if made.values["band"] in {"high", "toxic"}
    ]
    if reasons:
        yield e.finding(
            "indication-for-25ohd", because=reasons, parameters=(problems, classes, high)
        )


@derivation(
    gives=("indication-for-1-25-ohd",),
    reads=(
        "granulomatous-disease",
        "primary-hyperparathyroidism",
        "hypercalcaemia",
        "ckd",
        "low-egfr",
    ),
)
def indication_for_calcitriol_level(e: Evidence) -> Iterator[Finding]:
    """Kidney disease, granulomatous disease, parathyroid disease, high calcium, low phosphate, osteomalacia."""
    problems = e.parameter("testing.indications-1-25")
    names = (
        "granulomatous-disease",
        "primary-hyperparathyroidism",
        "hypercalcaemia",
        "ckd",
        "low-egfr",
    )
    reasons: list[Fact | Finding] = [made for name in names for made in e.findings(name)]
    reasons += _listed(e, problems.value)
    low, window = e.parameter("phosphate.low"), e.parameter("phosphate.window")
    for lab in e.labs_of("phosphate"):
        days = e.days_since(lab.taken)
        if lab.unit in low.value and days is not None and days <= window.value:
            reasons += [lab] if interval_of(lab).below(low.value[lab.unit]) else []
    if reasons:
        yield e.finding(
            "indication-for-1-25-ohd", because=reasons, parameters=(problems, low, window)
        )


@derivation(
    gives=("25ohd-ordered", "1-25-ohd-ordered", "25ohd-order-drafted", "1-25-ohd-order-drafted"),
    needs=(
        "order:25ohd",
        "order:1-25-ohd",
    ),
)
def vitamin_d_orders(e: Evidence) -> Iterator[Finding]:
    """Open and drafted orders of both tests; a draft is what an order rule speaks about."""
    for measure in ("25ohd", "1-25-ohd"):
        orders = e.orders_of(measure)
        drafts = [order for order in orders if order.state == "draft"]
        if orders:
            yield e.finding(f"{measure}-ordered", because=orders)
        if drafts:
            yield e.finding(f"{measure}-order-drafted", measure, because=drafts)


@derivation(
    gives=("too-early-to-retest", "may-order-25ohd", "retest-exempt"),
    reads=("vitamin-d-latest", "vitamin-d-level", "vitamin-d-unusable", "hypercalcaemia", "indication-for-25ohd", "age-group"),
)  # fmt: skip
def retest(e: Evidence) -> Iterator[Finding]:
    """A level settles in about three months; earlier repeats are for high levels, high calcium, infants, bad assays."""
    latest, soonest = e.first("vitamin-d-latest"), e.parameter("testing.retest-after")
    bands = {str(made.values["band"]) for made in e.findings("vitamin-d-level")}
    infant = any(made.values["group"] == "infant" for made in e.findings("age-group"))
    exempt = bool(bands & {"high", "toxic"}) or infant
    exempt = exempt or any(
        e.first(name) is not None for name in ("hypercalcaemia", "vitamin-d-unusable")
    )
    if exempt:
        yield e.finding("retest-exempt")
    early = latest is not None and amount(latest, "days") < soonest.value and not exempt
    if early and latest is not None:
        yield e.finding(
            "too-early-to-retest", because=(latest,), parameters=(soonest,), value=latest.values["value"],
            comparator=latest.values["comparator"], unit=latest.values["unit"], taken=latest.values.get("taken"),
            days=latest.values["days"],
        )  # fmt: skip
    elif e.first("indication-for-25ohd") is not None or not _needs_indication(e):
        yield e.finding("may-order-25ohd")


def _needs_indication(e: Evidence) -> bool:
    years = e.patient.age_years
    youngest, oldest = e.parameter("testing.youngest").value, e.parameter("testing.oldest").value
    return years is None or youngest <= years <= oldest


def _listed(e: Evidence, problems: list[str]) -> list[Fact | Finding]:
    """Entries that are not resolved; an unknown status may still be a reason, so it counts as one."""
    return [
        one
        for name in problems
        for one in e.conditions_of(name)
        if one.clinical_status != "resolved"
    ]


def _unusual(e: Evidence, measured: Finding) -> bool:
    """Calcium outside the range at any time in the window: high without the 30 days, or low."""
    low = e.parameter("calcium.total.low")
    unit, kind = measured.values["unit"], measured.values["kind"]
    if e.first("calcium-normal") is None:
        return True
    return kind != "ionised" and unit in low.value and amount(measured, "value") < low.value[unit]
