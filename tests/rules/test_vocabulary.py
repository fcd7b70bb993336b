"""Codes, names and units: every listed example is read as listed, and nothing that is flagged is ever looked up."""

import re

import pytest

from rules.errors import KnowledgeError
from rules.vocabulary import load_vocabulary

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"


@pytest.fixture(scope="module")
def codes(root):
    return root / "rules" / "packs" / "core" / "codes"


@pytest.fixture(scope="module")
def vocabulary(codes):
    return load_vocabulary([codes])


def _codes_of(vocabulary, system):
    return [
        code
        for listed in vocabulary.content.code_lists
        if listed.system == system
        for code in (*listed.codes, *listed.not_ours)
    ]


def _luhn(digits):
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return (10 - total % 10) % 10


def _verhoeff(number):
    multiply = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ]
    permute = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
    while len(permute) < 8:
        permute.append([permute[-1][permute[1][digit]] for digit in range(10)])
    check = 0
    for place, digit in enumerate(reversed(number)):
        check = multiply[check][permute[place % 8][int(digit)]]
    return check == 0


def test_every_loinc_code_has_its_check_digit(vocabulary):
    found = _codes_of(vocabulary, LOINC)
    assert len(found) > 50
    assert [c for c in found if _luhn(c.split("-")[0]) != int(c.split("-")[1])] == []


def test_every_snomed_code_has_its_check_digit(vocabulary):
    found = _codes_of(vocabulary, SNOMED)
    assert len(found) > 80
    assert not _verhoeff("372756007"), "one digit off must be noticed"
    assert [code for code in found if not _verhoeff(code)] == []


def test_every_listed_name_is_found_and_every_trap_is_not(vocabulary):
    wrong = []
    for entry in vocabulary.content.names:
        ids = {entry.is_} if isinstance(entry.is_, str) else set(entry.is_)
        assert entry.finds, f"{ids} has no example"
        assert entry.ignores, f"{ids} has no trap"
        for words in entry.finds:
            found = {i for one in vocabulary.named(words) for i in one.ids}
            if not ids <= found:
                wrong.append((words, "is not read as", ids, found))
        wrong += [
            (words, "is read as", ids)
            for words in entry.ignores
            if any(set(one.ids) == ids for one in vocabulary.named(words))
        ]
    assert wrong == []


def test_foods_and_purposes_keep_their_examples(vocabulary):
    for entries, find in (
        (vocabulary.content.foods, vocabulary.foods_in),
        (vocabulary.content.purposes, vocabulary.purposes_in),
    ):
        for name, entry in entries.items():
            assert [words for words in entry.finds if name not in find(words)] == []
            assert [words for words in entry.ignores if name in find(words)] == []


@pytest.mark.parametrize(
    "words",
    ["K-Dur 20 mEq", "Klor-Con M20", "potassium chloride", "Special K", "K+", "Slow-K", "Kaolin"],
)
def test_potassium_is_never_vitamin_k(vocabulary, words):
    names = {i for one in vocabulary.named(words) for i in one.ids}
    assert not {i for i in names if "vitamin-k" in vocabulary.classes(i)}


def test_what_is_flagged_is_never_looked_up(vocabulary):
    assert vocabulary.unresolved
    for one in vocabulary.unresolved:
        for system in {listed.system for listed in vocabulary.content.code_lists}:
            if one.code != "none" and one.flag in {"K-mod", "K-low", "X"}:
                assert vocabulary.drug(system, one.code) is None
                assert vocabulary.result(system, one.code) is None
                assert vocabulary.problem(system, one.code) is None


def test_the_codes_that_others_mislabel_are_not_ours(vocabulary):
    for code in ("14905-4", "58980-4", "30313-1", "5902-2", "62291-0"):
        assert vocabulary.result(LOINC, code) is None
    assert vocabulary.result(LOINC, "62290-2").is_ == "1-25-ohd"
    assert vocabulary.result(LOINC, "1990-1").is_ == "parent-vitamin-d"


def test_a_strength_in_mg_is_never_taken_for_units(vocabulary):
    amounts = {
        code: vocabulary.drug(RXNORM, code).components[0].amount
        for code in ("1367410", "705728", "801663", "309263")
    }
    assert amounts == {"1367410": 50000, "705728": 50000, "801663": 2000, "309263": 400}


def test_prefixes_reach_below_a_category_and_the_longest_decides(vocabulary):
    assert vocabulary.problem(ICD, "D86.0").is_ == "sarcoidosis"
    assert vocabulary.problem(ICD, "N18.32").stage == 3
    assert vocabulary.problem(ICD, "N18.9").stage is None
    assert vocabulary.problem(ICD, "K90.0").is_ == "coeliac"
    assert vocabulary.problem(ICD, "E8352").is_ == "hypercalcaemia"
    assert vocabulary.problem(ICD, "Z95.3") is None
    atc = "http://www.whocc.no/atc"
    assert vocabulary.drug(atc, "B01AA03").components[0].ingredient == "warfarin"
    assert vocabulary.drug(atc, "B01AA99").components[0].ingredient == "vitamin-k-antagonist"
    assert vocabulary.drug(atc, "C09AA03") is None


def test_a_version_behind_the_system_changes_nothing(vocabulary):
    assert vocabulary.drug(f"{RXNORM}|2026-11", "11289") == vocabulary.drug(RXNORM, "11289")
    assert vocabulary.drug(f"{RXNORM}|2026-11", "11289").components[0].ingredient == "warfarin"
    assert vocabulary.problem(f"{ICD}|2026", "D86.0").is_ == "sarcoidosis"
    assert vocabulary.problem(f"{ICD}|2026", "Z95.3") is None
    assert vocabulary.drug("urn:nobody|1", "11289") is None


def test_timings_and_names_of_results_and_routes_are_read_whole(vocabulary):
    abbreviations = "http://terminology.hl7.org/CodeSystem/v3-GTSAbbreviation"
    assert vocabulary.timing(abbreviations, "BID") == 0.5
    assert vocabulary.timing(abbreviations, "TID") == pytest.approx(1 / 3)
    assert vocabulary.timing(abbreviations, "ONCE-UPON-A-TIME") is None
    assert vocabulary.result_named("International  Normalised Ratio") == "inr"
    assert vocabulary.result_named("inr of the neighbour") == ""
    assert vocabulary.route_named("By Mouth") == "oral"
    assert vocabulary.route_named("by mouth of the horse") == ""


def test_only_what_is_counted_in_units_has_an_amount_that_is_never_daily(vocabulary):
    (entry,) = vocabulary.content.never_assumed_daily
    assert entry.unit == "[IU]"
    assert vocabulary.never_daily_from("vitamin-d3") == entry.from_
    assert vocabulary.never_daily_from("warfarin") is None


def test_units_of_results_are_read_in_any_spelling_and_never_across_families(vocabulary):
    for spelling in ("ng/mL", "NG/ML", "ug/L", "mcg/L", "µg/L", "μg/l"):
        assert vocabulary.lab_unit("25ohd", spelling).unit == "ng/mL"
    assert vocabulary.lab_unit("25ohd", "nmol/l").unit == "nmol/L"
    assert vocabulary.lab_unit("25ohd", "mg/dL") is None
    for measure, entry in vocabulary.measures.items():
        families = [unit.family for unit in entry.units.values()]
        assert len(families) == len(set(families)), measure


def test_amounts_know_their_substance(vocabulary):
    units, ug = vocabulary.dose_unit("IU"), vocabulary.dose_unit("mcg")
    assert vocabulary.amount("vitamin-d3", 125, ug) == 5000
    assert vocabulary.amount("vitamin-k2-mk7", 100, ug) == 100
    assert vocabulary.amount("vitamin-k2-mk7", 100, units) is None
    assert vocabulary.amount("warfarin", 5, vocabulary.dose_unit("mg")) == 5
    for spelling in ("µg", "μg", "ug", "mcg", "microgram"):
        assert vocabulary.dose_unit(spelling) == ug
    for spelling in ("[iU]", "[IU]", "IE", "UI", "UNT", "I.E.", "international units"):
        assert vocabulary.dose_unit(spelling) == units


def test_every_id_that_codes_and_names_point_to_has_a_title(vocabulary):
    special = {"other", "free-of-vitamin-k"}
    for entry in vocabulary.content.names:
        for identifier in {entry.is_} if isinstance(entry.is_, str) else set(entry.is_):
            assert identifier in special or identifier in vocabulary.ingredients
    for entry in vocabulary.ingredients.values():
        assert not entry.narrows or entry.narrows in vocabulary.ingredients
        assert not re.search(r"\b(IU|ug|µg)\b", entry.title)


def _pack(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "local.yaml").write_text(text)
    return folder


def test_a_local_pack_adds_its_own_codes(codes, tmp_path):
    local = _pack(
        tmp_path / "codes",
        "code_lists:\n  - {for: results, system: 'urn:lab', source: ours, release: '1',"
        " codes: {QUICK: {is: inr, flag: V}}}\n",
    )
    vocabulary = load_vocabulary([codes, local])
    assert vocabulary.result("urn:lab", "QUICK").is_ == "inr"
    assert ("urn:lab", "QUICK") in vocabulary.codes_of("inr")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("foods: {natto: {title: natto}}", "stands twice"),
        ("ingredients: {x: {title: x, classes: [], unit: mg, colour: red}}", "colour"),
        ("ingredients: {x: {title: x, classes: [], unit: mg}, x: {title: y}}", "stands twice"),
        (
            (
                "code_lists: [{for: results, system: 'http://loinc.org', source: s, release: r,"
                " codes: {6301-6: {is: inr, flag: V}}}]"
            ),
            "two lists",
        ),
        (
            (
                "code_lists: [{for: results, system: x, source: s, release: r,"
                " codes: {a: {is: inr, flag: K-mod}}}]"
            ),
            "K-mod",
        ),
        (
            (
                "code_lists: [{for: drugs, system: x, source: s, release: r,"
                " codes: {a: {is: warfarin, strength: 5 tablets, flag: V}}}]"
            ),
            "no strength",
        ),
        (
            (
                "code_lists: [{for: problems, system: x, source: s, release: r,"
                " codes: {a: {is: headache, flag: V}}}]"
            ),
            "not known",
        ),
    ],
)
def test_a_wrong_list_is_refused_with_its_place(codes, tmp_path, text, says):
    local = _pack(tmp_path / "codes", text)
    with pytest.raises(KnowledgeError, match=r"local\.yaml") as caught:
        load_vocabulary([codes, local])
    assert says in str(caught.value)
