"""A hospital's own codes stand for listed ones: what they mean, what is refused, and where the answer says so."""

from pathlib import Path

import pytest

from rules.code_maps import CodeMap, MappedCode
from rules.errors import KnowledgeError
from rules.rulebook import load_rulebook
from rules.vocabulary import load_vocabulary

LABS, LOINC = "https://st-elsewhere.example.org/labs", "http://loinc.org"
PROBLEMS, ICD = "https://st-elsewhere.example.org/problems", "http://hl7.org/fhir/sid/icd-10-cm"


def entry(code, to_code, *, system=LABS, to_system=LOINC):
    return MappedCode(system=system, code=code, to_system=to_system, to_code=to_code)


def code_map(*entries, name="local"):
    return CodeMap(name=name, version="7", digest="d" * 64, entries=entries)


@pytest.fixture(scope="module")
def load(root):
    folder = Path(root / "rules" / "packs" / "core" / "codes")
    return lambda *maps: load_vocabulary([folder], maps)


def test_a_local_code_means_what_it_stands_for(load):
    known = load(code_map(entry("VITD", "1989-3"), entry("INR1", "6301-6")))
    assert known.result(LABS, "VITD") == known.result(LOINC, "1989-3") is not None
    assert known.result(LABS, "INR1") == known.result(LOINC, "6301-6")
    assert known.result(LABS, "NA") is None


def test_what_no_pack_knows_changes_nothing(load):
    known = load(code_map(entry("INR1", "6301-6"), entry("HB", "718-7")))
    assert known.result(LABS, "HB") is None


def test_a_target_below_a_listed_category_means_the_category(load):
    plain = load()
    below = next(
        (f"{code}9", plain.problem(listed.system, code))
        for listed in plain.content.code_lists
        if listed.by_prefix and listed.system == ICD
        for code in listed.codes
        if plain.problem(listed.system, code) is not None
        and f"{code}9" not in (*listed.codes, *listed.not_ours)
    )
    known = load(code_map(entry("OWN", below[0], system=PROBLEMS, to_system=ICD)))
    assert known.problem(PROBLEMS, "OWN") == below[1]


def test_a_code_that_is_known_to_concern_no_rule_stays_so(load):
    system, code = next(
        (listed.system, code)
        for listed in load().content.code_lists
        for code in listed.not_ours
    )  # fmt: skip
    known = load(code_map(entry("OWN", code, to_system=system), entry("INR1", "6301-6")))
    lists = [one for one in known.content.code_lists if one.system == LABS]
    assert any("OWN" in one.not_ours for one in lists)
    assert not any("OWN" in one.codes for one in lists)


@pytest.mark.parametrize(
    ("maps", "says"),
    [
        ([code_map(entry("X", "1989-3"), entry("X", "6301-6"))], "two different things"),
        ([code_map(entry("X", "1989-3")), code_map(entry("Y", "6301-6"))], "have this name"),
        ([code_map(entry("X", "718-7"))], "no entry leads"),
    ],
)
def test_a_map_that_cannot_be_meant_is_refused(load, maps, says):
    with pytest.raises(KnowledgeError, match=says):
        load(*maps)


def test_the_rulebook_names_its_maps_and_they_change_its_digest():
    without, given = load_rulebook(), load_rulebook(code_maps=[code_map(entry("X", "1989-3"))])
    assert given.local_codes == {"local": f"7+{'d' * 16}"}
    assert given.digest != without.digest
