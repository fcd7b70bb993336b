"""Who the patient is and what the problem list says, as far as vitamin D rules ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rules.authoring import derivation

if TYPE_CHECKING:
    from rules.evidence import Evidence
    from rules.facts import Condition, Fact, Finding


@derivation(gives=("age-group", "aged-one-or-over"))
def age_group(e: Evidence) -> Iterator[Finding]:
    """Infant, child or adult; nothing at all while the age is unknown."""
    years = e.patient.age_years
    if years is None:
        return
    adult, infant = e.parameter("age.adult"), e.parameter("age.one-year")
    group = "adult" if years >= adult.value else "infant" if years < infant.value else "child"
    made = e.finding(
        "age-group",
        because=(e.patient,),
        parameters=(adult, infant),
        group=group,
        years=years,
        days=e.patient.age_days if group == "infant" else None,
    )
    yield made
    if group != "infant":
        yield e.finding("aged-one-or-over", because=(made,), years=years)


@derivation(
    gives=(
        "medication-lists-read",
        "problems-read",
        "vitamin-d-labs-read",
        "minerals-read",
        "kidney-labs-read",
    )
)
def what_was_read(e: Evidence) -> Iterator[Finding]:
    """Rules that argue from absence may speak only where everything was looked at."""
    if not e.unread("medication-statements") and not e.unread("medication-requests"):
        yield e.finding("medication-lists-read")
    if not e.unread("conditions"):
        yield e.finding("problems-read")
    if not e.unread("labs-25ohd"):
        yield e.finding("vitamin-d-labs-read")
    if not e.unread("labs-minerals"):
        yield e.finding("minerals-read")
    if not e.unread("labs-kidney"):
        yield e.finding("kidney-labs-read")


@derivation(
    gives=("pregnant-or-breastfeeding", "pregnant", "breastfed-infant"), reads=("age-group",)
)
def pregnancy_and_breastfeeding(e: Evidence) -> Iterator[Finding]:
    """From the problem list; an entry older than a pregnancy can last no longer counts as one."""
    longest = e.parameter("pregnancy.longest")
    pregnant: list[Fact] = [
        one for one in _active(e, "pregnancy") if (e.days_since(one.onset) or 0) <= longest.value
    ]
    nursing: list[Fact] = list(_active(e, "breastfeeding"))
    if any(made.values["group"] == "infant" for made in e.findings("age-group")):
        if nursing:
            yield e.finding("breastfed-infant", because=nursing)
        return
    if pregnant:
        yield e.finding("pregnant", because=pregnant, parameters=(longest,))
    if pregnant or nursing:
        yield e.finding(
            "pregnant-or-breastfeeding", because=(*pregnant, *nursing), parameters=(longest,)
        )


@derivation(gives=("granulomatous-disease",))
def granulomatous_disease(e: Evidence) -> Iterator[Finding]:
    """Active sarcoidosis, tuberculosis, other granulomatous disease or lymphoma."""
    problems = e.parameter("problems.granulomatous")
    active = [one for problem in problems.value for one in _active(e, problem)]
    if active:
        yield e.finding(
            "granulomatous-disease",
            because=active,
            parameters=(problems,),
            disease=active[0].problem,
        )


@derivation(gives=("primary-hyperparathyroidism",), needs=("problem:primary-hyperparathyroidism",))
def primary_hyperparathyroidism(e: Evidence) -> Iterator[Finding]:
    """Primary only: secondary and tertiary hyperparathyroidism ask for vitamin D."""
    active = list(_active(e, "primary-hyperparathyroidism"))
    if active:
        yield e.finding("primary-hyperparathyroidism", because=active)


@derivation(gives=("fat-malabsorption",))
def fat_malabsorption(e: Evidence) -> Iterator[Finding]:
    """A condition or an operation after which fat-soluble vitamins are absorbed poorly."""
    problems = e.parameter("problems.malabsorption")
    causes: list[tuple[str, Fact]] = [
        (one.problem, one) for name in problems.value for one in _active(e, name)
    ]
    causes += [("bariatric-surgery", one) for one in e.procedures_of("bariatric-surgery")]
    if causes:
        yield e.finding(
            "fat-malabsorption",
            because=[fact for _, fact in causes],
            parameters=(problems,),
            cause=causes[0][0],
        )


@derivation(gives=("stone-disease",))
def stone_disease(e: Evidence) -> Iterator[Finding]:
    """Kidney stones or hypercalciuria, active, or not longer ago than the window even if resolved."""
    problems, window = e.parameter("problems.stones"), e.parameter("stones.window")
    counted = []
    for name in problems.value:
        for one in e.conditions_of(name):
            ages = [
                age
                for age in (e.days_since(one.onset), e.days_since(one.abated))
                if age is not None
            ]
            if one.clinical_status == "active" or (ages and min(ages) <= window.value):
                counted.append(one)
    if counted:
        yield e.finding(
            "stone-disease",
            because=counted,
            parameters=(problems, window),
            disease=counted[0].problem,
        )


def _active(e: Evidence, problem: str) -> Iterator[Condition]:
    return (one for one in e.conditions_of(problem) if one.clinical_status == "active")
