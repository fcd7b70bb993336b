"""The strict models: referee of the quick reader, and explainer of what it stumbled over."""

import subprocess
import sys

import pytest

from fhir_adapter.resources import explain, parsed, problems_of, version_of

PARITY_FLOOR = 25  # resources of the fixtures that the strict models accept


def test_the_quick_reader_agrees_with_the_parsed_models(reading, bundle, fixture_names):
    agreed = 0
    for name in fixture_names:
        found = bundle(name)
        patient = found[0]["id"]
        rest = [one for one in found if one["resourceType"] == "Medication"]
        for resource in found:
            if problems_of(resource):
                continue
            raw = reading([resource, *rest], patient)
            strict = reading([parsed(resource), *rest], patient)
            assert (raw.facts, raw.gaps) == (strict.facts, strict.gaps), (name, resource["id"])
            agreed += 1
    assert agreed >= PARITY_FLOOR


@pytest.mark.parametrize(
    ("resource", "version"),
    [
        ({"resourceType": "MedicationOrder"}, "STU3"),
        ({"resourceType": "MedicationStatement", "medication": {"concept": {}}}, "R5"),
        ({"resourceType": "MedicationStatement", "dosage": {"step": [{}]}}, "R5"),
        (
            {"resourceType": "MedicationRequest", "dosageInstruction": [{"doseQuantity": {}}]},
            "STU3",
        ),
        ({"resourceType": "MedicationStatement", "taken": "y"}, "STU3"),
        ({"resourceType": "MedicationRequest", "dosageInstruction": [{"doseAndRate": []}]}, "R4"),
    ],
)
def test_versions_are_told_by_keys(resource, version):
    assert version_of(resource) == version


def test_an_explanation_names_the_element_and_never_the_content():
    secret = {"resourceType": "Observation", "id": "o", "status": ["Agatha Example"], "oops": 1}
    gaps = explain([secret, secret])
    assert gaps
    assert {gap.source for gap in gaps} == {"Observation/o"}
    assert "Agatha" not in repr(gaps)
    assert any("oops" in gap.path for gap in gaps)


def test_unknown_types_are_explained_not_raised():
    odd = {"resourceType": "Observation", "contained": [{"resourceType": "FooType"}]}
    assert problems_of(odd)
    assert problems_of({"resourceType": "FooType"})
    assert problems_of({})


def test_what_the_reader_stumbled_over_is_handed_on(reading, statement):
    strange = statement("the small blue ones")
    assert reading([strange]).suspicious == (strange,)
    assert reading([statement()]).suspicious == ()


def test_reading_alone_never_loads_the_models(root):
    program = (
        "import sys, datetime, pathlib\n"
        "from rules.vocabulary import load_vocabulary\n"
        "from fhir_adapter.reader import read\n"
        "v = load_vocabulary([pathlib.Path('rules/packs/core/codes')])\n"
        "now = datetime.datetime.now(datetime.UTC)\n"
        "read([], patient_id='p', vocabulary=v, as_of=now, zone=datetime.UTC)\n"
        "print([n for n in sys.modules if n.startswith(('fhir.', 'pydantic'))])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.strip() == "[]"
