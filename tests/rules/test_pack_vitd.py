"""Vitamin D packs: bands in both unit families, declared reading, and suggestions that nobody here objects to."""

import ast
import inspect
import re
import textwrap
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from rules.engine import Engine
from rules.facts import Context, FactSet, LabOrder, LabResult, MedicationUse, Patient
from rules.rulebook import BUNDLED, load_rulebook
from rules.vignettes import stories_of

TODAY = date(2026, 11, 22)
AS_OF = datetime(2026, 11, 22, 12, tzinfo=UTC)
RULEBOOK = load_rulebook()
ENGINE = Engine(RULEBOOK, "compiled")
OURS = {"vitamin-d-status", "vitamin-d-safety", "interactions", "education", "data-quality"}
STORIES = stories_of(RULEBOOK, BUNDLED)


# Bands ----------------------------------------------------------------------------------------------------------------

# Written down from the published pairs, a second time and apart from the packs: at each edge the value just
# below, the edge itself, and the value just above.
PAIRS = {10: 25, 12: 30, 20: 50, 30: 75, 50: 125, 60: 150, 100: 250, 150: 375}
EDGES = {
    "nam-2011": [(12, "deficient", "insufficient"), (20, "insufficient", "sufficient")],
    "endo-2011": [(20, "deficient", "insufficient"), (30, "insufficient", "sufficient")],
    "endo-2024": [(12, "deficient", "sufficient")],
    "uk-ros-2018": [(10, "deficient", "insufficient"), (20, "insufficient", "sufficient")],
    "ce-2023": [(20, "deficient", "insufficient"), (30, "insufficient", "sufficient")],
}
UPPER = {
    "nam-2011": [(50, "sufficient", "high"), (150, "high", "toxic")],
    "endo-2011": [(100, "sufficient", "high"), (150, "high", "toxic")],
    "endo-2024": [(100, "sufficient", "high"), (150, "high", "toxic")],
    "uk-ros-2018": [(50, "sufficient", "high"), (150, "high", "toxic")],
    "ce-2023": [(60, "sufficient", "high"), (100, "high", "toxic")],
}
WARNING_ABOVE = {
    "nam-2011": 100,
    "endo-2011": 100,
    "endo-2024": 100,
    "uk-ros-2018": 100,
    "ce-2023": 60,
}


def level(value: float, unit: str = "ng/mL", comparator: str = "", **more) -> LabResult:
    said = {
        "group": "total",
        "taken": TODAY - timedelta(days=20),
        "reported": f"{value} {unit}",
    } | more
    return LabResult(
        measure="25ohd",
        value=value,
        unit=unit,
        comparator=comparator,
        source=("Observation/1",),
        **said,
    )


def patient(years: int | None = 55) -> Patient:
    if years is None:
        return Patient()
    return Patient(
        age_years=years, age_days=years * 365 + 100, birth_date=date(TODAY.year - years, 1, 1)
    )


def assessed(*labs: LabResult, profile: str = "nam-2011", years: int | None = 55, **more):
    facts = FactSet(patient=patient(years), context=Context(profile=profile), labs=labs, **more)
    answer = ENGINE.assess(facts, as_of=AS_OF, today=TODAY)
    assert answer.failures == ()
    return answer


def band_of(answer) -> str | None:
    return next(
        (one.values["band"] for one in answer.findings if one.name == "vitamin-d-level"), None
    )


def sides():
    for profile, edges in EDGES.items():
        for mass, below, at in edges:
            for unit, cut in (("ng/mL", mass), ("nmol/L", PAIRS[mass])):
                yield profile, unit, cut - 0.1, below
                yield profile, unit, cut, at
    for profile, edges in UPPER.items():
        for mass, up_to, above in edges:
            for unit, cut in (("ng/mL", mass), ("nmol/L", PAIRS[mass])):
                yield profile, unit, cut, up_to
                yield profile, unit, cut + 0.1, above


@pytest.mark.parametrize(("profile", "unit", "value", "band"), list(sides()))
def test_each_band_begins_where_its_profile_says_in_the_unit_reported(profile, unit, value, band):
    # Bands are what rules test; the engine computes them only where a rule could use them, so they are asked for.
    assert derived_band(level(value, unit), profile, 55) == band


@pytest.mark.parametrize(
    ("unit", "value", "band"),
    [("ng/mL", 11.9, "deficient"), ("ng/mL", 12, "insufficient"), ("ng/mL", 19.9, "insufficient"), ("ng/mL", 20, "sufficient"),
     ("nmol/L", 29.9, "deficient"), ("nmol/L", 30, "insufficient"), ("nmol/L", 49.9, "insufficient"), ("nmol/L", 50, "sufficient")],
)  # fmt: skip
@pytest.mark.parametrize("profile", sorted(EDGES))
def test_under_18_every_profile_uses_the_paediatric_table(profile, unit, value, band):
    assert derived_band(level(value, unit), profile, 9) == band


def derived_band(lab: LabResult, profile: str, years: int) -> str:
    from rules.evidence import Evidence
    from rules.in_force import KnowledgeInForce

    facts = FactSet(patient=patient(years), context=Context(profile=profile), labs=(lab,))
    evidence = Evidence(facts, KnowledgeInForce(RULEBOOK, TODAY, profile), as_of=AS_OF, today=TODAY)
    for derivation in RULEBOOK.derivations:
        if all(evidence.first(name) for name in derivation.requires):
            for finding in derivation.derive(evidence):
                evidence.add(finding)
    return str(evidence.findings("vitamin-d-level")[0].values["band"])


@pytest.mark.parametrize("profile", sorted(WARNING_ABOVE))
@pytest.mark.parametrize("unit", ["ng/mL", "nmol/L"])
def test_a_high_level_is_a_warning_above_the_profiles_cut_off(profile, unit):
    cut = WARNING_ABOVE[profile] if unit == "ng/mL" else PAIRS[WARNING_ABOVE[profile]]
    spoken = {
        (r.rule, r.indicator)
        for r in assessed(level(cut + 0.1, unit), profile=profile).recommendations
    }
    assert ("vitd-level-high", "warning") in spoken
    silent = {r.rule for r in assessed(level(cut, unit), profile=profile).recommendations}
    assert "vitd-level-high" not in silent


def test_the_level_of_1_25_dihydroxyvitamin_d_never_enters():
    hormone = msgspec.structs.replace(level(8, "pg/mL"), measure="1-25-ohd", group="")
    assert band_of(assessed(hormone)) is None


@pytest.mark.parametrize("unit", ["ng/mL", "nmol/L"])
def test_fractions_in_two_unit_families_are_never_added(unit):
    other = "nmol/L" if unit == "ng/mL" else "ng/mL"
    answer = assessed(level(7, unit, group="d3"), level(4, other, group="d2"))
    assert band_of(answer) is None
    assert "dq-lab-unusable" in {r.rule for r in answer.recommendations}


def test_a_unit_of_a_third_family_is_said_to_be_unusable_not_banded():
    answer = assessed(level(7, "pg/mL"))
    assert [r.rule for r in answer.recommendations] == ["dq-lab-unusable"]


# Parts of the lists that the packs name -------------------------------------------------------------------------------


def listed(parameter: str) -> list[str]:
    return next(iter(RULEBOOK.parameters[parameter].values.values())).value


def ordered(measure: str, **more) -> set[str]:
    from rules.facts import Condition

    problem = more.pop("problem", None)
    conditions = (Condition(problem=problem),) if problem else ()
    facts = FactSet(
        patient=patient(45), context=Context(hook="order-sign", moment="order"), conditions=conditions,
        orders=(LabOrder(measure=measure, state="draft", source=("ServiceRequest/1",)),), **more,
    )  # fmt: skip
    return {r.rule for r in ENGINE.assess(facts, as_of=AS_OF, today=TODAY).recommendations}


@pytest.mark.parametrize("problem", listed("testing.indications"))
def test_each_listed_problem_is_a_reason_for_a_level(problem):
    assert "vitd-test-not-indicated" in ordered("25ohd")
    assert "vitd-test-not-indicated" not in ordered("25ohd", problem=problem)


@pytest.mark.parametrize("problem", listed("testing.indications-1-25"))
def test_each_listed_problem_is_a_reason_for_the_hormone(problem):
    assert "vitd-125-wrong-test" in ordered("1-25-ohd")
    assert "vitd-125-wrong-test" not in ordered("1-25-ohd", problem=problem)


@pytest.mark.parametrize(
    "problem", [*listed("problems.granulomatous"), *listed("problems.blocking-vitamin-d")]
)
def test_each_listed_problem_blocks_the_start_of_vitamin_d(problem):
    from rules.facts import Condition

    assert "vitd-deficiency-treat" in {r.rule for r in assessed(level(10)).recommendations}
    answer = assessed(level(10), conditions=(Condition(problem=problem),))
    assert "vitd-deficiency-treat" not in {r.rule for r in answer.recommendations}


# Derivations ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "derivation", [d for d in RULEBOOK.derivations if not d.derive.__module__.startswith("rules.packs.core")],
    ids=lambda d: d.name,
)  # fmt: skip
def test_a_derivation_declares_every_finding_it_reads(derivation):
    """What is read without being declared might not be there yet, or might be left out as not asked for."""
    module = inspect.getmodule(derivation.derive)
    functions = {
        n.name: n
        for n in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(module))))
        if isinstance(n, ast.FunctionDef)
    }
    waiting, seen, read = [derivation.derive.__name__], set(), set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        for node in ast.walk(functions[name]):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"first", "findings"}
            ):
                read |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                waiting.append(node.func.id)
    assert read - set(derivation.gives) <= below(derivation)


def below(derivation) -> set[str]:
    """What is declared, and what that in turn is made from."""
    waiting, declared = [*derivation.reads, *derivation.requires], set()
    while waiting:
        name = waiting.pop()
        if name not in declared:
            declared.add(name)
            waiting += [
                r for d in RULEBOOK.derivations if name in d.gives for r in (*d.reads, *d.requires)
            ]
    return declared


# Suggestions ----------------------------------------------------------------------------------------------------------


def replayed(facts: FactSet, action) -> FactSet:
    """The facts once the reader has taken the suggestion: its drafts stand in the order."""
    data, targets = action.data, set(action.targets)
    uses = tuple(use for use in facts.uses if use.record not in targets)
    orders = tuple(order for order in facts.orders if not targets.intersection(order.source))
    if action.kind == "order-test":
        orders += tuple(
            LabOrder(measure=test, state="draft", source=(f"ServiceRequest/new-{test}",))
            for test in data["tests"]
        )
    if action.kind in {"prescribe", "replace-draft"}:
        uses += tuple(drafted(facts, action))
    return msgspec.structs.replace(facts, uses=uses, orders=orders)


def drafted(facts: FactSet, action) -> list[MedicationUse]:
    data = action.data
    interval = float(data["interval_days"])
    if data.get("keep_product"):
        old = [use for use in facts.uses if use.record in action.targets]
        return [
            msgspec.structs.replace(
                use,
                interval_days=interval,
                daily=(use.amount or 0) / interval,
                doses=data.get("doses"),
            )
            for use in old
        ]
    ingredient = data["ingredient"]
    return [
        MedicationUse(
            record="MedicationRequest/new", source=("MedicationRequest/new",), ingredient=ingredient, kind="request",
            classes=tuple(RULEBOOK.vocabulary.classes(ingredient)), taking="draft", status="draft", unit=data["unit"],
            amount=float(data["amount"]), interval_days=interval, daily=float(data["amount"]) / interval, dose_known=True,
            doses=data.get("doses"),
        )
    ]  # fmt: skip


def spoken(facts: FactSet, story) -> set[str]:
    answer = ENGINE.assess(facts, as_of=story.as_of, today=story.today)
    return {r.rule for r in answer.recommendations} | {gone.rule for gone in answer.superseded}


def offers():
    for story in STORIES:
        answer = ENGINE.assess(story.facts, as_of=story.as_of, today=story.today)
        for recommendation in answer.recommendations:
            for action in recommendation.suggestions:
                if action.kind in {"order-test", "prescribe", "replace-draft", "delete-draft"}:
                    yield story, recommendation.rule, action


def test_a_suggestion_taken_raises_no_new_objection():
    objections, tried = [], 0
    for story, rule, action in offers():
        order = Context(
            hook="order-sign",
            moment="order",
            profile=story.facts.context.profile,
            unread=story.facts.context.unread,
        )
        before = msgspec.structs.replace(story.facts, context=order)
        new = spoken(replayed(before, action), story) - spoken(before, story)
        tried += 1
        if new:
            objections.append(
                f"{re.sub('.*/', '', story.where)}: {rule} suggests {action.id}, to which {sorted(new)} would object"
            )
    assert tried > 200, "the stories offer too little to prove anything"
    assert objections == []


# Numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "counts"),
    [("final", True), ("amended", True), ("corrected", True), ("preliminary", False), ("registered", False), ("cancelled", False)],
)  # fmt: skip
def test_only_results_that_will_not_change_any_more_decide(status, counts):
    spoken = {r.rule for r in assessed(level(9, status=status)).recommendations}
    assert ("vitd-deficiency-treat" in spoken) is counts


@pytest.mark.parametrize(
    ("years", "daily", "spoken"),
    [(10, 2000, False), (10, 2001, True), (11, 2001, False), (11, 4001, True)],
)
def test_the_european_upper_levels_can_be_chosen(monkeypatch, years, daily, spoken):
    chosen = next(iter(RULEBOOK.parameters["profile.ul"].values.values()))
    european = chosen.model_copy(update={"value": "vitd.ul.efsa-2023"})
    monkeypatch.setitem(
        RULEBOOK.parameters["profile.ul"].values,
        next(iter(RULEBOOK.parameters["profile.ul"].values)),
        european,
    )
    use = MedicationUse(
        record="MedicationStatement/1", source=("MedicationStatement/1",), ingredient="vitamin-d3", classes=("native-vitamin-d",),
        amount=daily, unit="[IU]", interval_days=1.0, daily=float(daily), dose_known=True, start=date(2026, 1, 1),
    )  # fmt: skip
    facts = FactSet(patient=patient(years), uses=(use,))
    answer = Engine(RULEBOOK, "compiled").assess(facts, as_of=AS_OF, today=TODAY)
    assert ("vitd-ul-exceeded" in {r.rule for r in answer.recommendations}) is spoken


def moved(value: float) -> tuple[float, float]:
    """A fifth more, a fifth less, and at least by one: a story at the edge must notice."""
    return value * 1.2 + 1, value * 0.8 - 1


def plain_numbers():
    for pack in RULEBOOK.packs:
        if pack.head.id in OURS:
            for name, parameter in pack.parameters.items():
                for day, held in parameter.values.items():
                    if isinstance(held.value, int | float):
                        yield name, day, held.value


@pytest.mark.parametrize(("name", "day", "value"), list(plain_numbers()))
def test_every_number_is_held_by_a_story_from_both_sides(monkeypatch, name, day, value):
    from rules.vignettes import play_story

    held = RULEBOOK.parameters[name].values[day]
    for other in moved(value):
        monkeypatch.setitem(
            RULEBOOK.parameters[name].values, day, held.model_copy(update={"value": other})
        )
        engine = Engine(RULEBOOK, "compiled")
        noticed = False
        for story in STORIES:
            if story.pack not in OURS:
                continue
            try:
                noticed = play_story(engine, story) is not None
            except Exception:  # noqa: BLE001 - a story whose history no longer fits has noticed, too
                noticed = True
            if noticed:
                break
        assert noticed, f"{name}: {value} could be {other}, and no story would notice"
