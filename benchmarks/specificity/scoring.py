"""Reviews invented people through the one use case of the product, and holds what was said against what was true."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks.specificity.people import Person, draw
from benchmarks.specificity.records import TODAY, chart
from rules.engine import Engine
from rules.rulebook import load_rulebook
from service.review import Case, review

AS_OF = datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=UTC)
URGENT = {"warning", "critical"}

# Which danger a card speaks of. Rules that are not named here speak of none: their warnings always count as false.
SPEAKS_OF = {
    "gap-card": "vitamin-k-on-antagonist",
    "vka-mk7-new": "vitamin-k-on-antagonist", "vka-k-ongoing-unmonitored": "vitamin-k-on-antagonist",
    "vka-mk4": "vitamin-k-on-antagonist", "vka-k1-supplement-new": "vitamin-k-on-antagonist",
    "vka-k-exposure-changed": "vitamin-k-on-antagonist", "vka-subtherapeutic-inr-with-k": "vitamin-k-on-antagonist",
    "inr-recheck-overdue-after-k-change": "vitamin-k-on-antagonist", "vka-natto": "vitamin-k-on-antagonist",
    "vka-inr-high-no-otc-k": "inr-high", "vka-doac-overlap": "two-anticoagulants",
    "vka-fat-malabsorption-drug": "uptake-hindered", "vitd-hypercalcaemia": "hypercalcaemia",
    "digoxin-vitd-calcium": "hypercalcaemia", "vitd-level-toxic": "toxic-level", "vitd-level-high": "toxic-level",
    "vitd-deficiency-treat": "severe-deficiency", "vitd-ul-exceeded": "far-too-much-vitamin-d",
    "vitd-high-strength-daily": "far-too-much-vitamin-d", "vitd-loading-overrun": "far-too-much-vitamin-d",
    "infant-vitd-dose": "far-too-much-vitamin-d", "vitd-granulomatous": "disease-with-vitamin-d",
    "vitd-primary-hyperparathyroidism": "disease-with-vitamin-d", "vitd-active-analogue-overlap": "hypercalcaemia",
}  # fmt: skip


@dataclass
class Score:
    """Counts over all people; ``missed`` and ``wrong`` keep keys of people, so that each can be looked at."""

    people: int = 0
    endangered: int = 0
    cards: Counter[str] = field(default_factory=Counter)
    urgent_to_safe: int = 0
    true: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)
    dangers: Counter[str] = field(default_factory=Counter)
    unreachable: Counter[str] = field(default_factory=Counter)
    spoken: Counter[str] = field(default_factory=Counter)
    urgently: Counter[str] = field(default_factory=Counter)
    notices: int = 0
    missed: dict[str, list[int]] = field(default_factory=dict)
    wrong: dict[str, list[int]] = field(default_factory=dict)


def score(
    people: int, seed: int, *, antagonist: float = 0.03, vitamin_k: float = 1.0, first: int = 0
) -> Score:
    """Draw, record, review and count; the same arguments give the same score."""
    engine = Engine(load_rulebook(), matcher="compiled")
    total = Score()
    for key in range(first, first + people):
        person = draw(key, seed, antagonist=antagonist, vitamin_k=vitamin_k)
        written = chart(person, seed)
        case = Case(resources=written.resources, patient_id=f"p{key}", hook="patient-view")
        answer = review(case, AS_OF, engine, validation="off")
        if answer.assessment.failures:
            raise RuntimeError(f"person {key}: {answer.assessment.failures}")
        said = [(one.rule, one.indicator) for one in answer.assessment.recommendations]
        said += [("gap-card", "info") for one in answer.notices if "vitamin-k" in one.gap.concerns]
        _count(total, person, said, written.out_of_reach)
        total.notices += bool(answer.notices)
    engine.close()
    return total


def _count(total: Score, person: Person, said: list[tuple[str, str]], hidden: set[str]) -> None:
    total.people += 1
    total.endangered += bool(person.dangers)
    for rule, indicator in said:
        total.cards[indicator] += 1
        if indicator not in URGENT:
            continue
        right = SPEAKS_OF.get(rule) in person.dangers
        (total.true if right else total.false)[rule] += 1
        if not right:
            total.wrong.setdefault(rule, []).append(person.key)
        total.urgent_to_safe += not person.dangers
    for danger in person.dangers:
        total.dangers[danger] += 1
        speaking = [indicator for rule, indicator in said if SPEAKS_OF.get(rule) == danger]
        if danger in hidden:
            total.unreachable[danger] += 1
        elif speaking:
            total.spoken[danger] += 1
            total.urgently[danger] += any(one in URGENT for one in speaking)
        else:
            total.missed.setdefault(danger, []).append(person.key)


def figures(total: Score) -> dict[str, Any]:
    """The score as ratios; ``None`` where nothing was counted."""
    reachable = {
        name: total.dangers[name] - total.unreachable[name] for name in sorted(total.dangers)
    }
    true, false = sum(total.true.values()), sum(total.false.values())
    safe = total.people - total.endangered
    return {
        "people": total.people,
        "endangered": total.endangered,
        "recall": _share(sum(total.spoken.values()), sum(reachable.values())),
        "recall_urgent": _share(sum(total.urgently.values()), sum(reachable.values())),
        "dangers_without_any_trace": _share(sum(total.unreachable.values()), sum(total.dangers.values())),
        "ppv_urgent": _share(true, true + false),
        "urgent_per_1000_safe": _per_1000(total.urgent_to_safe, safe),
        "cards_per_1000": {name: _per_1000(total.cards[name], total.people) for name in ("critical", "warning", "info")},
        "gap_cards_per_1000": _per_1000(total.notices, total.people),
        "by_danger": {
            name: {"true": total.dangers[name], "reachable": count, "spoken": total.spoken[name], "urgently": total.urgently[name]}
            for name, count in reachable.items()
        },
        "by_rule": {
            rule: {"true": total.true[rule], "false": total.false[rule],
                   "ppv": _share(total.true[rule], total.true[rule] + total.false[rule]),
                   "per_1000": _per_1000(total.true[rule] + total.false[rule], total.people)}
            for rule in sorted(total.true.keys() | total.false.keys())
        },
    }  # fmt: skip


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _per_1000(count: int, people: int) -> float | None:
    return round(1000 * count / people, 2) if people else None
