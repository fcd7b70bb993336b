"""Cards speak in the family of units that a client's clinicians read; what is decided never changes with it."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import yaml

from rules.facts import LabResult
from service.app import create_app
from service.cds_hooks.cards import Circumstances
from service.cds_hooks.client_profile import CardStyle, ClientProfile
from service.cds_hooks.unit_families import UnitFamilies
from service.review import Case, review
from service.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
UCUM = "http://unitsofmeasure.org"


@pytest.fixture(scope="module")
def parts():
    return create_app(Settings(dev=True, engine="compiled"), clock=lambda: NOON).state.parts


def measured(code, value, unit):
    return {
        "resourceType": "Observation", "id": f"o-{code}", "status": "final",
        "subject": {"reference": "Patient/p"}, "effectiveDateTime": "2026-11-10",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
    }  # fmt: skip


def details(parts, units, *observations):
    """The details of all cards, and the review they are made from."""
    patient = {"resourceType": "Patient", "id": "p", "birthDate": "1960-05-01", "gender": "female"}
    done = review(Case(resources=[patient, *observations], patient_id="p"), NOON, parts.engine)
    where = Circumstances(
        style=CardStyle(), name_card=parts.card_names("t", "p", "h", "s"), propose=lambda _: [],
        modes=dict.fromkeys(parts.engine.rulebook.cards, "live"), units=units,
    )  # fmt: skip
    cards = parts.cards.write(done, where)
    assert cards
    return "\n".join(card.body["detail"] for card in cards), done


LOW = (measured("62292-8", 10, "ng/mL"), measured("68438-1", 25, "nmol/L"))


def test_thresholds_begin_with_the_family_of_the_client(parts):
    as_reported, first = details(parts, "as-reported", LOW[0])
    molar, second = details(parts, "molar", LOW[0])
    mass, _ = details(parts, "mass", LOW[0])
    assert "30 nmol/L (12 ng/mL)" in molar
    assert "12 ng/mL (30 nmol/L)" in mass
    assert "30 nmol/L (12 ng/mL)" not in as_reported
    assert first.assessment == second.assessment


def test_a_result_of_the_other_family_is_translated_beside_it(parts):
    molar, _ = details(parts, "molar", LOW[0])
    assert "10 ng/mL on 2026-11-10 (about 25 nmol/L)" in molar
    mass, _ = details(parts, "mass", LOW[0])
    assert "about" not in mass.partition("Patient data used")[2].partition("**")[0]
    mass, _ = details(parts, "mass", LOW[1])
    assert "25 nmol/L on 2026-11-10 (about 10 ng/mL)" in mass


def test_translations_keep_their_sign_and_say_nothing_of_what_is_unknown(parts):
    families = UnitFamilies(parts.engine.rulebook, parts.cards._details._words)
    calcium = LabResult(source=(), measure="calcium", value=10.5, unit="mg/dL", comparator=">")
    assert families.equivalent(calcium, "molar") == "about >2.62 mmol/L"
    assert families.equivalent(calcium, "mass") == ""
    for changed in ({"problem": "implausible"}, {"value": None}, {"unit": "furlong"}, {"measure": "inr"}):  # fmt: skip
        assert families.equivalent(msgspec.structs.replace(calcium, **changed), "molar") == ""


@pytest.mark.parametrize("measure", ["25ohd", "calcium", "calcium-corrected", "calcium-ionised"])
def test_every_unit_told_is_one_in_which_the_measure_is_reported(parts, root, measure):
    told = parts.engine.rulebook.texts["equivalents"]["measures"][measure]
    codes = yaml.safe_load(
        (Path(root) / "rules/packs/core/codes/measures.yaml").read_text(encoding="utf-8")
    )
    units = codes["measures"][measure]["units"]
    assert units[told["mass"]]["family"] == "mass"
    assert units[told["molar"]]["family"] == "molar"


def test_a_profile_says_which_family(parts):
    rules = {"mode": "live", "accept_draft": True}
    assert ClientProfile(id="a", title="a", rules=rules).units == "as-reported"
    assert ClientProfile(id="a", title="a", rules=rules, units="molar").units == "molar"


@pytest.mark.parametrize(
    "value",
    [{"furlong": 5, "fathom": 2}, {"ng/mL": "any", "nmol/L": "any"}],
    ids=["no unit of a family", "no numbers"],
)
def test_a_threshold_that_is_no_pair_of_families_is_said_as_it_stands(parts, value):
    families = UnitFamilies(parts.engine.rulebook, parts.cards._details._words)
    plain = families.threshold(value, "", "as-reported")
    assert families.threshold(value, "", "molar") == plain
