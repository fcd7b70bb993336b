"""A hospital's ConceptMap: only what says sameness is used, and what is not used is counted with its reason."""

import hashlib

import orjson
import pytest

from fhir_adapter.concept_map import read_concept_map
from rules.code_maps import MappedCode
from rules.errors import KnowledgeError

LOCAL, LOINC = "https://lab.example/codes", "http://loinc.org"


def concept_map(*targets, code="INR1", source=LOCAL, target=LOINC, **more):
    element = {"code": code, "target": list(targets)}
    group = {"source": source, "target": target, "element": [element]}
    return {"resourceType": "ConceptMap", "status": "active", "group": [group], **more}


def read(value):
    return read_concept_map(orjson.dumps(value), "map.json")


SAME = {"code": "6301-6", "equivalence": "equivalent"}
ENTRY = MappedCode(system=LOCAL, code="INR1", to_system=LOINC, to_code="6301-6")


@pytest.mark.parametrize(
    "said", [{"equivalence": "equal"}, {"equivalence": "equivalent"}, {"relationship": "equivalent"}]
)  # fmt: skip
def test_sameness_is_read_as_each_release_says_it(said):
    data = orjson.dumps(concept_map({"code": " 6301-6 ", **said}, version="7"))
    found = read_concept_map(data, "map.json")
    assert found.entries == (ENTRY,)
    assert (found.name, found.version) == ("map.json", "7")
    assert found.digest == hashlib.sha256(data).hexdigest()
    assert found.unused == {}


def test_a_version_behind_a_system_is_left_away_and_what_stands_twice_counts_once():
    found = read(concept_map(SAME, SAME, source=f"{LOCAL}|2026", target=f"{LOINC}|2.78"))
    assert found.entries == (ENTRY,)
    assert found.version == "unversioned"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ({"code": "34714-6", "equivalence": "narrower"}, "relation narrower"),
        ({"code": "34714-6", "relationship": "related-to"}, "relation related-to"),
        ({"code": "34714-6"}, "relation not stated"),
        ({"equivalence": "equal"}, "entry without a code"),
        ({**SAME, "dependsOn": [{"property": "x"}]}, "entry that depends on further data"),
        ({**SAME, "product": [{"property": "x"}]}, "entry that depends on further data"),
    ],
)
def test_what_is_not_the_same_is_not_used_and_told(target, reason):
    found = read(concept_map(SAME, target))
    assert found.entries == (ENTRY,)
    assert found.unused == {reason: 1}


def test_a_group_without_systems_and_an_element_without_a_code_are_told():
    value = concept_map(SAME)
    value["group"] += concept_map(SAME, source="")["group"] + concept_map(SAME, code=" ")["group"]
    found = read(value)
    assert found.entries == (ENTRY,)
    assert found.unused == {"entry without a code": 1, "group without code systems": 1}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "is no JSON"),
        (b"[]", "is no FHIR ConceptMap"),
        (b'{"resourceType": "ValueSet"}', "is no FHIR ConceptMap"),
        (orjson.dumps(concept_map(SAME) | {"status": "retired"}), "is retired"),
        (orjson.dumps(concept_map({"code": "1", "equivalence": "wider"})), "says of no code"),
    ],
)
def test_what_is_no_usable_map_is_refused_by_its_name(data, says):
    with pytest.raises(KnowledgeError, match=says) as refused:
        read_concept_map(data, "map.json")
    assert refused.value.where == "map.json"
