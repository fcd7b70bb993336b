"""Records that once led to silence where a warning was due, or to a warning where none was."""

import re
from datetime import UTC, datetime

import pytest

from service.bootstrap import build_engine
from service.documents import cases_in
from service.explanation import Explainer
from service.review import Case, review
from service.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
OWN = {"reference": "Patient/p"}
PATIENT = {"resourceType": "Patient", "id": "p", "birthDate": "1950-01-01", "gender": "male"}
WARFARIN = {
    "resourceType": "MedicationRequest", "id": "w", "status": "active", "intent": "order", "subject": OWN,
    "medicationCodeableConcept": {"text": "Warfarin 5 mg tablet"}, "authoredOn": "2022-02-01",
}  # fmt: skip


@pytest.fixture(scope="module")
def engine():
    return build_engine(Settings(engine="compiled"))


def product(words, **changes):
    return {
        "resourceType": "MedicationStatement", "id": "s", "status": "active", "subject": OWN,
        "medicationCodeableConcept": {"text": words}, "effectivePeriod": {"start": "2026-11-15"},
        "dosage": [{"text": "1 capsule daily"}],
    } | changes  # fmt: skip


def inr(value, **changes):
    return {
        "resourceType": "Observation", "id": "i", "status": "final", "subject": OWN,
        "code": {"coding": [{"system": "http://loinc.org", "code": "6301-6"}]},
        "effectiveDateTime": "2026-11-20T09:00:00Z", "valueQuantity": {"value": value},
    } | changes  # fmt: skip


def reviewed(engine, *resources):
    return review(Case(resources=[PATIENT, *resources], patient_id="p"), NOON, engine)


def about_vitamin_k(review):
    rules = [one.rule for one in review.assessment.recommendations]
    return [rule for rule in rules if rule.startswith("vka-")]


@pytest.mark.parametrize(
    "words",
    [
        "Vitamin D and K", "Vitamins D & K", "Vitamin D3 & K", "D3/K drops", "Vitamin A, D, E, K", "fat-soluble vitamins A D E K",
        "Vitamins C and K", "K-vitamin", "K vitamini", "витамин \u041a2", "Menaquinona-7", "Menachinone", "メナテトレノン", "Filloquinona",
    ],
)  # fmt: skip
def test_vitamin_k_beside_warfarin_is_found_by_any_of_its_names(engine, words):
    assert about_vitamin_k(reviewed(engine, WARFARIN, product(words)))


@pytest.mark.parametrize(
    "words", ["варфарин 2.5 мг", "ワーファリン", "Varfarina 5 mg", "와파린", "华法林"]
)
def test_warfarin_is_found_by_any_of_its_names(engine, words):
    warfarin = WARFARIN | {"medicationCodeableConcept": {"text": words}}
    assert "vka-mk7-new" in about_vitamin_k(reviewed(engine, warfarin, product("Vitamin K2")))


@pytest.mark.parametrize(
    "words",
    ["Vitamin D3 (no K2)", "Vitamin D3 1000 IU, without vitamin K2", "Vitamin K1-frei", "K2-free D3", "Vitamin D3, K-Dur 20",
     "K-vitaminantagonist", "Special K vitamin cereal"],
)  # fmt: skip
def test_words_that_deny_vitamin_k_or_mean_potassium_raise_no_alarm(engine, words):
    found = reviewed(engine, WARFARIN, product(words), inr(2.5))
    assert not [rule for rule in about_vitamin_k(found) if "new" in rule]


@pytest.mark.parametrize("value", [0, -100])
def test_a_dose_of_nothing_is_an_unknown_dose(engine, value):
    dosage = {
        "doseAndRate": [{"doseQuantity": {"value": value, "unit": "mcg"}}],
        "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
    }
    found = reviewed(engine, WARFARIN, product("Vitamin K2", dosage=[dosage]))
    assert "vka-mk7-new" in about_vitamin_k(found)


@pytest.mark.parametrize("status", [None, "", "taking it"])
def test_vitamin_k_of_no_readable_status_is_asked_about_on_an_antagonist(engine, status):
    found = reviewed(engine, WARFARIN, product("Vitamin K2", status=status))
    assert [gap.source for gap in found.gap_cards] == ["MedicationStatement/s"]
    assert not reviewed(engine, product("Vitamin K2", status=status)).gap_cards


def test_a_reference_in_blanks_means_the_same_patient(engine):
    found = reviewed(engine, WARFARIN, product("Vitamin K2", subject={"reference": " Patient/p "}))
    assert "vka-mk7-new" in about_vitamin_k(found)


@pytest.mark.parametrize(
    "code",
    [
        {"text": "INR"},
        {"coding": [{"system": "http://lab.example.org", "code": "PTINR", "display": "INR"}]},
        {"coding": [{"code": "PTINR"}], "text": "PT/INR"},
    ],
)
def test_an_inr_known_by_its_name_alone_is_asked_about_on_an_antagonist(engine, code):
    found = reviewed(engine, WARFARIN, inr(9.5, code=code))
    assert [gap.code for gap in found.gap_cards] == ["result-not-coded"]


def test_a_panel_without_a_value_of_its_own_is_no_gap(engine):
    panel = {
        key: value for key, value in inr(1, code={"text": "INR"}).items() if key != "valueQuantity"
    }
    assert not reviewed(engine, WARFARIN, panel).gaps


def test_a_result_of_a_later_day_decides_nothing_and_hides_nothing(engine):
    later = inr(2.5, id="later", effectiveDateTime="2027-01-01")
    unreadable = inr(9.5, valueQuantity={"value": 9.5, "unit": "s"})
    found = reviewed(engine, WARFARIN, later, unreadable)
    assert [gap.code for gap in found.gaps] == ["result-of-later-day"]
    assert "dq-lab-unusable" in [one.rule for one in found.assessment.recommendations]


def told(engine, *resources):
    explainer = Explainer(engine.rulebook)
    recommendations = explainer.explain(reviewed(engine, *resources), lambda *_: [])[
        "recommendations"
    ]
    return {one["rule"]: one for one in recommendations}


def test_a_comparator_stays_with_its_number_wherever_people_read_it(engine):
    above = inr(
        10, valueQuantity={"value": 10, "comparator": ">", "code": "{INR}", "unit": "{INR}"}
    )
    card = told(engine, WARFARIN, above)["vka-inr-high-no-otc-k"]
    assert card["summary"].startswith("INR >10 on warfarin")
    assert card["because"][0]["says"] == "INR >10 on 2026-11-20"
    level = inr(150, code={"coding": [{"system": "http://loinc.org", "code": "62292-8"}]})
    level["valueQuantity"] = {"value": 150, "comparator": ">", "unit": "ug/L", "code": "ug/L"}
    card = told(engine, level)["vitd-level-toxic"]
    assert card["summary"].startswith("25(OH)D >150 ng/mL")
    assert card["because"][0]["says"] == "25(OH)D >150 mcg/L on 2026-11-20"


def test_a_patient_is_described_in_one_clean_phrase(engine):
    says = [fact["says"] for one in told(engine).values() for fact in one["because"]]
    assert says == ["Patient, male, 76 years"]


def test_what_belongs_to_nobody_is_no_patient_with_nothing_found():
    bundle = {
        "resourceType": "Bundle", "type": "collection",
        "entry": [{"resource": one} for one in (PATIENT, PATIENT | {"id": "q"}, {"resourceType": "Practitioner", "id": "d"})],
    }  # fmt: skip
    assert [case.patient_id for case in cases_in(bundle, Settings())] == ["p", "q"]
    bundle["entry"].append({"resource": inr(9.5, subject=None)})
    assert [case.patient_id for case in cases_in(bundle, Settings())] == ["", "p", "q"]


def test_marks_that_nobody_sees_never_reach_a_reader(engine):
    name = "Vitamin K2 \u202egnp.exe\u202c \x1b[31mred\u200b\nline"
    (card,) = [
        one for rule, one in told(engine, WARFARIN, product(name)).items() if rule.startswith("vka")
    ]
    said = " ".join(fact["says"] for fact in card["because"])
    assert "gnp.exe" in said
    assert said.isprintable()


def test_a_source_states_its_year_once(engine):
    labels = [citation.label for citation in engine.rulebook.citations.values()]
    assert labels
    assert not [label for label in labels if re.search(r"\b((?:19|20)\d\d)\b[^.]*\. \1$", label)]
