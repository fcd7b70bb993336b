"""The vocabulary, the fixtures, and a short way to read a record at one fixed moment."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fhir_adapter.bundles import resources_in
from fhir_adapter.reader import read
from rules.vocabulary import load_vocabulary

HERE = Path(__file__).parent
AS_OF = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def vocabulary(root):
    """The codes of the core pack."""
    return load_vocabulary([root / "rules" / "packs" / "core" / "codes"])


@pytest.fixture(scope="session")
def bundle():
    """Resources of a fixture by its name."""
    return lambda name: resources_in(json.loads((HERE / "fixtures" / f"{name}.json").read_text()))


@pytest.fixture(scope="session")
def fixture_names():
    """Every fixture."""
    names = sorted(path.stem for path in (HERE / "fixtures").glob("*.json"))
    assert names
    return names


@pytest.fixture(scope="session")
def reading(vocabulary):
    """Read resources of patient ``p`` (or another) at one fixed moment."""

    def _read(resources, patient_id="p", **further):
        options = {"as_of": AS_OF, "zone": UTC, "vocabulary": vocabulary} | further
        return read(resources, patient_id=patient_id, **options)

    return _read


@pytest.fixture
def statement():
    """A MedicationStatement in words; keywords replace or add elements, None removes one."""

    def _statement(text="Vitamin K2 (MK-7) 100 mcg capsule", dosage="1 capsule daily", **elements):
        resource = {
            "resourceType": "MedicationStatement",
            "id": "s",
            "status": "active",
            "medicationCodeableConcept": {"text": text},
            "subject": {"reference": "Patient/p"},
            "effectivePeriod": {"start": "2026-11-10"},
            "dosage": [{"text": dosage}] if isinstance(dosage, str) else dosage,
        } | elements
        return {key: value for key, value in resource.items() if value is not None}

    return _statement
