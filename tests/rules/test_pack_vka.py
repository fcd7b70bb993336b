"""What the stories of the vitamin K pack cannot tell: words at their longest, order, courses, replayed suggestions."""

import itertools
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from rules.engine import Engine
from rules.facts import (
    Condition,
    Context,
    FactSet,
    Goal,
    LabOrder,
    LabResult,
    MedicationUse,
    Patient,
)
from rules.rulebook import BUNDLED, load_rulebook
from rules.vignettes import stories_of

TODAY = date(2026, 11, 22)
AS_OF = datetime(2026, 11, 22, 12, tzinfo=UTC)
RULEBOOK = load_rulebook(["core", "vitamin-k-antagonists"])
VKAS = sorted(RULEBOOK.vocabulary.members("vka"))
STORIES = stories_of(RULEBOOK, BUNDLED / "vitamin_k_antagonists")


@pytest.fixture(scope="module")
def engine():
    made = Engine(RULEBOOK, matcher="compiled")
    yield made
    made.close()


def use(
    ingredient: str, daily: float | None = None, days: int | None = None, **more
) -> MedicationUse:
    record = more.pop("record", f"MedicationStatement/{ingredient}-{daily}-{days}")
    start = None if days is None else TODAY - timedelta(days=days)
    given = {
        "record": record, "source": (record,), "ingredient": ingredient, "product": record,
        "classes": RULEBOOK.vocabulary.classes(ingredient), "start": start, "daily": daily, "amount": daily,
        "interval_days": 1.0 if daily else None, "dose_known": daily is not None,
        "unit": RULEBOOK.vocabulary.unit_of(ingredient),
    }  # fmt: skip
    return MedicationUse(**(given | more))


def inr(value: float, days: int, **more) -> LabResult:
    return LabResult(
        source=(f"Observation/inr-{days}-{value}",), measure="inr", value=value, reported=str(value),
        taken=TODAY - timedelta(days=days), instant=AS_OF - timedelta(days=days), **more,
    )  # fmt: skip


def assess(engine, *facts, **context):
    held = {
        "uses": MedicationUse,
        "labs": LabResult,
        "conditions": Condition,
        "goals": Goal,
        "orders": LabOrder,
    }
    split = {name: tuple(f for f in facts if isinstance(f, kind)) for name, kind in held.items()}
    whole = FactSet(patient=Patient(id="p", age_years=70), context=Context(**context), **split)
    answer = engine.assess(whole, as_of=AS_OF, today=TODAY)
    assert answer.failures == ()
    return answer


def spoken(answer):
    return {(one.rule, one.indicator) for one in answer.recommendations}


# Words --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("story", STORIES, ids=lambda story: Path(story.where).name)
def test_no_summary_is_too_long_with_the_longest_names(engine, story):
    """Every antagonist, and for each form of vitamin K its longest title, takes its turn in every story."""
    for name in VKAS:
        uses = tuple(
            msgspec.structs.replace(u, ingredient=name, classes=RULEBOOK.vocabulary.classes(name)) if "vka" in u.classes
            else msgspec.structs.replace(u, ingredient=_longest(u.ingredient)) if "vitamin-k" in u.classes else u
            for u in story.facts.uses
        )  # fmt: skip
        answer = engine.assess(
            msgspec.structs.replace(story.facts, uses=uses), as_of=story.as_of, today=story.today
        )
        for one in answer.recommendations:
            assert len(one.summary.encode("utf-16-le")) // 2 < 140, one.summary


def _longest(ingredient: str) -> str:
    form = next(f for f in ("k1", "mk7", "mk4") if f in RULEBOOK.vocabulary.classes(ingredient))
    return max(
        RULEBOOK.vocabulary.members(form), key=lambda name: len(RULEBOOK.vocabulary.title(name))
    )


def test_a_card_shows_its_arithmetic_and_its_sources(engine):
    answer = assess(engine, use("warfarin", 5, 700), use("vitamin-k2-mk7", 90, 5))
    (card,) = answer.recommendations
    values = {p.name: p.value for p in card.parameters}
    assert (values["k.floor.mk7"], values["pair.new"]) == (10, 14)
    assert {c.key for c in card.citations} == {"schurgers-2007", "theuwissen-2013"}
    assert {f.name for f in card.chain} >= {
        "relevant-vitamin-k",
        "vitamin-k-with-vka",
        "listed-vka",
    }
    assert set(card.source) == {
        "MedicationStatement/warfarin-5-700",
        "MedicationStatement/vitamin-k2-mk7-90-5",
    }
    assert "90 mcg a day" in card.why
    assert card.status == "draft"
    assert card.reviewed is None


# Order and doors ----------------------------------------------------------------------------------------------------


def test_the_order_of_facts_never_matters(engine):
    facts = [
        use("warfarin", 5, 700), use("vitamin-k2-mk7", 90, 60), use("vitamin-k2-mk7", 45, 4), use("vitamin-k1", 100, 4),
        inr(1.6, 5),
    ]  # fmt: skip
    answers = {msgspec.json.encode([(r.rule, r.about, r.indicator, r.summary, r.why, r.fingerprint)
               for r in assess(engine, *order).recommendations]) for order in itertools.permutations(facts)}  # fmt: skip
    assert len(answers) == 1


def test_both_matchers_agree_on_every_story(engine):
    durable = Engine(RULEBOOK, matcher="durable")
    for story in STORIES:
        one = engine.assess(story.facts, as_of=story.as_of, today=story.today)
        other = durable.assess(story.facts, as_of=story.as_of, today=story.today)
        assert one.recommendations == other.recommendations, story.where
        assert one.superseded == other.superseded, story.where
    durable.close()


# Courses ------------------------------------------------------------------------------------------------------------


def test_a_pause_of_seven_days_is_one_course_and_of_eight_a_new_one(engine):
    for pause, new in ((7, False), (8, True)):
        before = use(
            "vitamin-k2-mk7",
            90,
            100,
            end=TODAY - timedelta(days=5 + pause),
            taking="no",
            status="completed",
        )
        answer = assess(engine, use("warfarin", 5, 700), before, use("vitamin-k2-mk7", 90, 5))
        assert (("vka-mk7-new", "warning") in spoken(answer)) is new


def test_a_statement_and_the_prescription_of_the_same_product_are_one_course(engine):
    statement = use("vitamin-k2-mk7", 90, 200)
    prescription = use(
        "vitamin-k2-mk7", 90, 3, kind="request", start_is_bound=True, record="MedicationRequest/1"
    )
    answer = assess(
        engine, use("warfarin", 5, 700), statement, prescription, inr(2.4, 10), inr(2.5, 50)
    )
    assert spoken(answer) == {("vka-k-stable-consistent", "info")}


def test_warfarin_of_several_strengths_is_one_therapy(engine):
    answer = assess(
        engine,
        use("warfarin", 5, 700),
        use("warfarin", 2.5, 3),
        use("vitamin-k2-mk7", 90, 200),
        inr(2.4, 10),
        inr(2.5, 50),
    )
    assert spoken(answer) == {("vka-k-stable-consistent", "info")}


def test_a_drafted_renewal_of_warfarin_makes_nothing_new(engine):
    ended = use("warfarin", 5, 700, end=TODAY - timedelta(days=3), taking="no", status="completed")
    draft = use(
        "warfarin",
        5,
        None,
        taking="draft",
        status="draft",
        kind="request",
        record="MedicationRequest/1",
    )
    answer = assess(
        engine, ended, draft, use("vitamin-k2-mk7", 90, 200), inr(2.4, 10), inr(2.5, 50)
    )
    assert spoken(answer) == {("vka-k-stable-consistent", "info")}


def test_a_prescription_that_ended_long_ago_does_not_make_new_warfarin_old(engine):
    long_ago = use("warfarin", 5, 2000, taking="no", status="completed")
    answer = assess(engine, long_ago, use("warfarin", 5, 3), use("vitamin-k2-mk7", 90, 200))
    assert ("vka-mk7-new", "warning") in spoken(answer)


def test_an_active_warfarin_that_begins_next_week_is_uncertain_not_absent(engine):
    answer = assess(engine, use("warfarin", 5, -7), use("vitamin-k2-mk7", 90, 200))
    assert spoken(answer) == {("vka-mk7-new", "info")}


def test_a_product_whose_last_day_is_today_is_still_taken(engine):
    ends_today = use("vitamin-k2-mk7", 90, 5, end=TODAY)
    ended = use("vitamin-k2-mk7", 90, 5, end=TODAY - timedelta(days=1))
    assert spoken(assess(engine, use("warfarin", 5, 700), ends_today)) == {
        ("vka-mk7-new", "warning")
    }
    assert spoken(assess(engine, use("warfarin", 5, 700), ended)) == set()


def test_an_unknown_route_is_no_reason_to_leave_a_product_out(engine):
    assert spoken(
        assess(engine, use("warfarin", 5, 700), use("vitamin-k2-mk7", 90, 5, systemic=None))
    )


# Suggestions --------------------------------------------------------------------------------------------------------


def test_a_suggested_inr_raises_no_new_objection_and_calms_the_warning(engine):
    facts = (use("warfarin", 5, 700), use("vitamin-k2-mk7", 90, 60))
    (before,) = assess(engine, *facts).recommendations
    assert "order-inr" in {action.id for action in before.suggestions}
    draft = LabOrder(
        source=("ServiceRequest/1",), measure="inr", state="draft", due=TODAY + timedelta(days=3)
    )
    assert spoken(assess(engine, *facts, draft)) == set()


def test_the_suggested_swap_raises_no_objection(engine):
    warfarin = use("warfarin", 5, 700)
    draft = use(
        "vitamin-k2-mk7",
        90,
        None,
        taking="draft",
        status="draft",
        kind="request",
        record="MedicationRequest/1",
    )
    (before,) = assess(engine, warfarin, draft, hook="order-sign", moment="order").recommendations
    swap = next(action for action in before.suggestions if action.id == "swap-to-d3-only")
    assert swap.targets == ("MedicationRequest/1",)
    instead = use(
        swap.data["ingredient"],
        float(swap.data["amount"]),
        None,
        taking="draft",
        record="MedicationRequest/1",
    )
    assert spoken(assess(engine, warfarin, instead, hook="order-sign", moment="order")) == set()


def test_an_existing_order_is_never_changed_by_a_suggestion(engine):
    for story in STORIES:
        drafts = {u.record for u in story.facts.uses if u.taking == "draft"}
        for one in engine.assess(story.facts, as_of=story.as_of, today=story.today).recommendations:
            for action in one.suggestions:
                assert set(action.targets) <= drafts, story.where
                assert bool(action.targets) == (action.kind in {"delete-draft", "replace-draft"}), (
                    story.where
                )


def test_no_suggestion_proposes_a_dose_of_the_antagonist(engine):
    for story in STORIES:
        for one in engine.assess(story.facts, as_of=story.as_of, today=story.today).recommendations:
            prescribed = [
                a.data.get("ingredient", "")
                for a in one.suggestions
                if a.kind in {"prescribe", "replace-draft"}
            ]
            assert not any(
                "vka" in RULEBOOK.vocabulary.classes(name) for name in prescribed if name
            )


# Unknown ------------------------------------------------------------------------------------------------------------


def test_unread_lists_silence_only_what_argues_from_absence(engine):
    for story in STORIES:
        unread = {"medication-statements": "timeout"}
        context = msgspec.structs.replace(story.facts.context, unread=unread)
        facts = msgspec.structs.replace(story.facts, context=context)
        whole = {
            r.rule
            for r in engine.assess(
                story.facts, as_of=story.as_of, today=story.today
            ).recommendations
        }
        less = {
            r.rule
            for r in engine.assess(facts, as_of=story.as_of, today=story.today).recommendations
        }
        assert whole - less <= {"vka-inr-unstable-review-k", "vka-high-dose-vitd-check-label"}, (
            story.where
        )
        assert not less - whole, story.where


def test_several_goals_are_narrowed_to_what_they_share(engine):
    goals = (Goal(measure="inr", low=2.0, high=3.0), Goal(measure="inr", low=2.5, high=3.5))
    answer = assess(
        engine, use("warfarin", 5, 700), use("vitamin-k2-mk7", 90, 60), inr(2.3, 5), *goals
    )
    (card,) = answer.recommendations
    assert (card.rule, "2.5 to 3" in card.summary) == ("vka-subtherapeutic-inr-with-k", True)
    assert any("several INR targets" in words for words in card.missing)


def test_a_rule_that_breaks_is_recorded_and_hides_no_other(engine, monkeypatch):
    broken = load_rulebook(["core", "vitamin-k-antagonists"])

    def fail(_case):
        raise ValueError("secret words of a patient")

    broken.rules["vka-natto"] = replace(broken.rules["vka-natto"], conclude=fail)
    story = next(s for s in STORIES if "Natto is a source" in s.title)
    answer = Engine(broken, matcher="compiled").assess(
        story.facts, as_of=story.as_of, today=story.today
    )
    assert [failure.rule for failure in answer.failures] == ["vka-natto"]
    assert "secret" not in answer.failures[0].error
    assert {r.rule for r in answer.recommendations} == {"vka-subtherapeutic-inr-with-k"}


@pytest.mark.parametrize(
    "product", ["vitamin-k2-mk7", "vitamin-k2", "vitamin-k2-mk4", "vitamin-k1"]
)
@pytest.mark.parametrize("drafts", [("warfarin",), ("product",), ("warfarin", "product")])
def test_only_the_draft_of_the_vitamin_k_may_be_changed_and_never_that_of_the_antagonist(
    engine, product, drafts
):
    records = {"warfarin": "MedicationRequest/w", "product": "MedicationRequest/k"}
    state = {name: "draft" if name in drafts else "yes" for name in records}
    told = assess(
        engine,
        use("warfarin", 5.0, 5, record=records["warfarin"], taking=state["warfarin"]),
        use(product, 45_000.0 if product == "vitamin-k2-mk4" else 1_000.0, 5, record=records["product"], taking=state["product"]),
    )  # fmt: skip
    said = [one for one in told.recommendations if one.suggestions]
    assert said
    touched = {target for one in said for s in one.suggestions for target in s.targets}
    assert touched == ({records["product"]} if "product" in drafts else set())
