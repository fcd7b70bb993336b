"""From facts to recommendations, with a pack small enough to read beside the test."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from rules.assessment import HistoryEntry
from rules.engine import Engine
from rules.errors import EngineError, KnowledgeError
from rules.facts import Condition, Context, FactSet, MedicationUse, Patient
from rules.rulebook import Rulebook, load_rulebook

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
TODAY = date(2026, 11, 22)


@pytest.fixture
def rulebook(tiny_pack):
    return load_rulebook(["tiny"], [tiny_pack])


@pytest.fixture(params=["durable", "compiled"])
def engine(rulebook, request):
    with_matcher = Engine(rulebook, request.param)
    yield with_matcher
    with_matcher.close()


def taking(dose: float | None, *, status: str = "active", **more) -> MedicationUse:
    return MedicationUse(
        source=("MedicationStatement/1",),
        record="MedicationStatement/1",
        ingredient="thing",
        product="Thing",
        status=status,
        daily=dose,
        unit="ug",
        dose_known=dose is not None,
        **more,
    )


def facts(*uses: MedicationUse, **more) -> FactSet:
    return FactSet(patient=Patient(source=("Patient/1",), id="1"), uses=uses, **more)


def assess(engine, given, **more):
    return engine.assess(given, as_of=NOON, today=TODAY, **more)


def names(assessment):
    return [(one.rule, one.indicator) for one in assessment.recommendations]


def test_the_stronger_rule_speaks_and_the_weaker_is_listed(engine) -> None:
    assessment = assess(engine, facts(taking(10.5)))
    assert names(assessment) == [("tiny-high", "warning")]
    assert [(one.rule, one.by) for one in assessment.superseded] == [("tiny-any", "tiny-high")]


def test_a_rule_on_trial_never_silences_one_that_speaks(engine) -> None:
    assessment = assess(engine, facts(taking(10.5)), quiet=["tiny-high"])
    assert names(assessment) == [("tiny-high", "warning"), ("tiny-any", "info")]
    both = assess(engine, facts(taking(10.5)), quiet=["tiny-high", "tiny-any"])
    assert [(one.rule, one.by) for one in both.superseded] == [("tiny-any", "tiny-high")]


def test_a_limit_is_not_its_own_breach(engine) -> None:
    assert names(assess(engine, facts(taking(10.0)))) == [("tiny-any", "info")]


def test_the_limit_of_that_day_decides(engine) -> None:
    then = engine.assess(facts(taking(10.5)), as_of=NOON, today=date(2023, 12, 31))
    assert names(then) == [("tiny-any", "info")]


def test_an_unknown_dose_satisfies_no_comparison(engine) -> None:
    assessment = assess(engine, facts(taking(None)))
    assert names(assessment) == [("tiny-any", "info")]
    assert assessment.recommendations[0].summary == "Thing at dose not recorded."
    assert assessment.recommendations[0].missing == ("the dose",)


def test_the_indicator_rises_with_a_finding_about_the_patient(engine) -> None:
    severe = Condition(source=("Condition/1",), problem="severe-thing")
    one = assess(engine, facts(taking(50), conditions=(severe,))).recommendations[0]
    assert one.indicator == "critical"
    assert [action.id for action in one.suggestions] == ["tiny-task", "tiny-link"]


def test_a_draft_may_be_deleted_and_an_existing_order_may_not(engine) -> None:
    draft = assess(engine, facts(taking(50, taking="draft"))).recommendations[0]
    assert [(action.id, action.targets) for action in draft.suggestions] == [
        ("tiny-task", ()),
        ("tiny-delete", ("MedicationStatement/1",)),
    ]
    existing = assess(engine, facts(taking(50))).recommendations[0]
    assert [action.id for action in existing.suggestions] == ["tiny-task"]


def test_actions_carry_the_numbers_in_force(engine) -> None:
    task = assess(engine, facts(taking(50))).recommendations[0].suggestions[0]
    assert task.data == {"due": 10, "parts": [10, 3]}
    assert task.description == "Ask about thing"


def test_a_recommendation_shows_its_arithmetic_and_sources(engine) -> None:
    one = assess(engine, facts(taking(1234.5))).recommendations[0]
    assert one.summary == "Thing at 1,234.5 mcg a day."
    assert one.source == ("MedicationStatement/1",)
    assert [(used.name, used.value, used.basis) for used in one.parameters] == [
        ("tiny.limit", 10, "project-policy")
    ]
    assert one.citations[0].url == "https://doi.org/10.1000/1"
    assert (one.status, one.reviewed, one.topic_code) == ("draft", None, "TINYHIGH")
    assert [finding.name for finding in one.chain] == ["taken"]


def test_two_products_about_one_subject_make_one_recommendation(engine) -> None:
    second = taking(40)
    second = MedicationUse(
        **{f: getattr(second, f) for f in second.__struct_fields__}
        | {"source": ("MedicationStatement/2",)}
    )
    one = assess(engine, facts(taking(50), second)).recommendations
    assert len(one) == 1
    assert one[0].source == ("MedicationStatement/1", "MedicationStatement/2")


def test_teaching_is_silent_unless_asked_for_and_reads_what_was_superseded(engine) -> None:
    assert "tiny-advice" not in dict(names(assess(engine, facts(taking(50)))))
    taught = assess(engine, facts(taking(50), context=Context(verbosity="education")))
    assert names(taught) == [("tiny-high", "warning"), ("tiny-advice", "info")]


def test_a_rule_bound_to_a_hook_is_silent_at_others(engine) -> None:
    context = Context(verbosity="education", hook="order-sign", moment="order")
    assert ("tiny-advice", "info") not in names(assess(engine, facts(taking(50), context=context)))


# History -------------------------------------------------------------------------------------------------------


def answered(
    one, *, days: float, outcome: str = "overridden", reason: str = "", user: str = "u"
) -> HistoryEntry:
    return HistoryEntry(
        rule=one.rule,
        about=one.about,
        fingerprint=one.fingerprint,
        outcome=outcome,
        reason=reason,
        when=NOON - timedelta(days=days),
        user=user,
    )


@pytest.mark.parametrize(("days", "silent"), [(29.9, True), (30, False), (-1, False)])
def test_a_warning_answered_by_the_same_user_is_silent_for_its_window(engine, days, silent) -> None:
    given = facts(taking(50))
    one = assess(engine, given).recommendations[0]
    again = assess(engine, given, history=[answered(one, days=days)], user="u")
    assert bool(again.suppressed) is silent
    assert bool(again.recommendations) is not silent


def test_a_warning_answered_by_somebody_else_speaks_again(engine) -> None:
    given = facts(taking(50))
    one = assess(engine, given).recommendations[0]
    assert assess(engine, given, history=[answered(one, days=1)], user="v").recommendations


def test_information_is_remembered_for_the_patient_whoever_looks(engine) -> None:
    given = facts(taking(5))
    one = assess(engine, given).recommendations[0]
    again = assess(engine, given, history=[answered(one, days=89)], user="v")
    assert [silent.rule for silent in again.suppressed] == ["tiny-any"]


def test_another_dose_speaks_again(engine) -> None:
    one = assess(engine, facts(taking(50))).recommendations[0]
    changed = assess(engine, facts(taking(60)), history=[answered(one, days=1)], user="u")
    assert names(changed) == [("tiny-high", "warning")]


def test_wrong_data_stays_silent_until_the_data_change(engine) -> None:
    given = facts(taking(50))
    one = assess(engine, given).recommendations[0]
    told = [answered(one, days=900, reason="data-wrong")]
    assert assess(engine, given, history=told, user="u").suppressed
    assert assess(engine, facts(taking(51)), history=told, user="u").recommendations


def test_having_been_shown_silences_only_what_is_said_once_in_a_while(engine) -> None:
    high, quiet = facts(taking(50)), facts(taking(5))
    one = assess(engine, high).recommendations[0]
    assert assess(
        engine, high, history=[answered(one, days=1, outcome="shown")], user="u"
    ).recommendations
    yearly = assess(engine, quiet).recommendations[0]
    assert assess(engine, quiet, history=[answered(yearly, days=364, outcome="shown")]).suppressed
    assert assess(
        engine, quiet, history=[answered(yearly, days=365, outcome="shown")]
    ).recommendations


def test_a_suppressed_rule_still_takes_the_weaker_one_with_it(engine) -> None:
    given = facts(taking(50))
    one = assess(engine, given).recommendations[0]
    again = assess(engine, given, history=[answered(one, days=1)], user="u")
    assert again.recommendations == ()
    assert [gone.rule for gone in again.superseded] == ["tiny-any"]


# What breaks ---------------------------------------------------------------------------------------------------


def broken(rulebook: Rulebook, name: str, function) -> Engine:
    rulebook.rules[name] = replace(rulebook.rules[name], conclude=function)
    return Engine(rulebook, "compiled")


def test_a_broken_rule_is_recorded_and_the_others_still_speak(rulebook) -> None:
    def fail(case):
        raise RuntimeError("secret words of the patient")

    assessment = assess(broken(rulebook, "tiny-high", fail), facts(taking(50)))
    assert names(assessment) == [("tiny-any", "info")]
    assert [(one.rule, one.error) for one in assessment.failures] == [("tiny-high", "RuntimeError")]


def test_a_broken_derivation_is_recorded(rulebook) -> None:
    def fail(e):
        raise KeyError("x")

    rulebook.derivations = tuple(
        replace(one, derive=fail) if one.name == "taken" else one for one in rulebook.derivations
    )
    assessment = assess(Engine(rulebook, "compiled"), facts(taking(50)))
    assert assessment.recommendations == ()
    assert [(one.rule, one.error) for one in assessment.failures] == [("taken", "KeyError")]


def test_an_unknown_band_profile_is_refused_instead_of_having_no_bands(engine) -> None:
    with pytest.raises(KnowledgeError, match=r"no band profile 'nam-2012'.*Choose one of nam-2011"):
        assess(engine, facts(taking(1), context=Context(profile="nam-2012")))


def test_facts_that_no_matcher_may_see_fail_the_patient_loudly(engine) -> None:
    with pytest.raises(EngineError, match="cannot be evaluated"):
        assess(engine, facts(*(taking(50) for _ in range(1_001))))


def test_an_unknown_matcher_is_named(rulebook) -> None:
    with pytest.raises(EngineError, match="choose durable or compiled"):
        assess(Engine(rulebook, "clips"), facts(taking(1)))


# The rulebook --------------------------------------------------------------------------------------------------


def test_provenance_names_pack_version_and_digest(engine, rulebook) -> None:
    assert assess(engine, facts()).provenance.packs == {
        "tiny": f"2026.11.1+{rulebook.packs[0].digest[:16]}"
    }


@pytest.mark.parametrize(
    ("wanted", "says"), [(["absent"], "is not found"), (["tiny==2025.1"], "is version 2026.11.1")]
)
def test_a_pack_that_is_not_there_as_named_is_refused(tiny_pack, wanted, says) -> None:
    with pytest.raises(KnowledgeError, match=says):
        load_rulebook(wanted, [tiny_pack])


def test_a_pinned_version_may_be_a_prefix(tiny_pack) -> None:
    assert load_rulebook(["tiny == 2026.11"], [tiny_pack.parent]).packs[0].head.id == "tiny"


def test_derivations_that_read_each_other_are_refused(tiny_pack) -> None:
    file = tiny_pack / "derivations.py"
    file.write_text(
        file.read_text(encoding="utf-8").replace(
            'gives=["taken"])', 'gives=["taken"], reads=["severe"])'
        ),
        encoding="utf-8",
    )
    with pytest.raises(KnowledgeError, match="circle"):
        load_rulebook(["tiny"], [tiny_pack])
