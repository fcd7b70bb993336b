"""Whatever arrives: no exception, no changed input, and the same answer in any order."""

import copy

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SEARCHED = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["Patient/p", "active", "2026-11-01", "mg", "http://loinc.org", "6301-6", "1-0-1"]
    )
)
KEYS = [
    "resourceType", "id", "status", "subject", "reference", "medicationCodeableConcept", "medication",
    "medicationReference", "coding", "system", "code", "text", "dosage", "dosageInstruction", "timing",
    "repeat", "frequency", "period", "periodUnit", "doseAndRate", "doseQuantity", "value", "unit",
    "valueQuantity", "effectivePeriod", "start", "end", "effectiveDateTime", "contained", "ingredient",
    "strength", "numerator", "denominator", "component", "target", "measure", "detailRange", "low", "high",
    "category", "clinicalStatus", "onsetDateTime", "birthDate", "boundsDuration", "count", "item", "note",
]  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=12,
)
TYPES = [
    "Patient", "MedicationStatement", "MedicationRequest", "Medication", "Observation", "Condition",
    "Procedure", "Goal", "ServiceRequest", "NutritionIntake", "Basic",
]  # fmt: skip
resources = st.builds(
    lambda kind, body: {**body, "resourceType": kind, "subject": {"reference": "Patient/p"}},
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(KEYS), anything, max_size=8),
)


@SEARCHED
@given(st.lists(resources | anything, max_size=5))
def test_nothing_raises_and_nothing_is_changed(reading, found):
    before = copy.deepcopy(found)
    read = reading(found)
    assert repr(found) == repr(before)
    assert not [gap for gap in read.gaps if gap.code == "resource-not-readable"]


def _broken(resource, path, value):
    changed = copy.deepcopy(resource)
    holder = changed
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return changed


def _paths(value, before=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*before, key)
            yield from _paths(inner, (*before, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield (*before, place)
            yield from _paths(inner, (*before, place))


@SEARCHED
@given(data=st.data())
def test_one_broken_element_never_costs_the_other_records(reading, bundle, fixture_names, data):
    found = bundle(data.draw(st.sampled_from(fixture_names)))
    place = data.draw(st.integers(0, len(found) - 1))
    path = data.draw(st.sampled_from(list(_paths(found[place]))))
    odd = _broken(found[place], path, data.draw(anything))
    patient = found[0]["id"]
    whole = reading(found, patient)
    read = reading([*found[:place], odd, *found[place + 1 :]], patient)
    assert not [gap for gap in read.gaps if gap.code == "resource-not-readable"]
    name = f"{found[place].get('resourceType')}/{found[place].get('id')}"
    if place > 0 and odd.get("resourceType") == found[place]["resourceType"] != "Medication":
        kept = [lab for lab in whole.facts.labs if lab.source != (name,)]
        assert all(lab in read.facts.labs for lab in kept)


ODD = (None, True, 5, "x", "", [], {}, ["x"], [None], [[{}]], {"x": {}}, [{"x": 1}, "x", 5])


def test_no_element_of_another_shape_breaks_the_reader(reading, bundle, fixture_names):
    """Every element that the published records have, each once in all these shapes."""
    tried = set()
    for name in fixture_names:
        patient, *others = bundle(name)
        for resource in others:
            for path in _paths(resource):
                shape = (resource["resourceType"], *(0 if isinstance(step, int) else step for step in path))  # fmt: skip
                if shape in tried:
                    continue
                tried.add(shape)
                for odd in ODD:
                    read = reading([patient, _broken(resource, path, odd)], patient["id"])
                    broken = [gap for gap in read.gaps if gap.code == "resource-not-readable"]
                    assert not broken, (name, path, odd)
    assert len(tried) > 100


@SEARCHED
@given(data=st.data())
def test_the_order_of_resources_never_matters(reading, bundle, fixture_names, data):
    found = bundle(data.draw(st.sampled_from(fixture_names)))
    patient = found[0]["id"]
    shuffled = data.draw(st.permutations(found))
    one, two = reading(found, patient), reading(shuffled, patient)
    assert (one.facts, one.gaps, one.counts) == (two.facts, two.gaps, two.counts)


def test_a_fault_of_the_reader_itself_becomes_a_gap(reading, statement, monkeypatch):
    def fail(*_):
        raise RuntimeError("the name of a patient")

    monkeypatch.setattr("fhir_adapter.reader.read_condition", fail)
    condition = {"resourceType": "Condition", "id": "c", "subject": {"reference": "Patient/p"}}
    read = reading([condition, statement()])
    assert [(gap.source, gap.code) for gap in read.gaps] == [
        ("Condition/c", "resource-not-readable")
    ]
    assert "patient" not in read.gaps[0].says
    assert len(read.facts.uses) == 1
