"""The sieve skips no line that parsing would keep, however the JSON is written; relevance skips nothing the reader uses."""

import json
import random
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_adapter.ndjson import chunks_of, key_of, key_of_line
from fhir_adapter.needles import libraries, searching
from fhir_adapter.reader import read
from fhir_adapter.sieve import Sieve, lines_at
from rules.facts import Context
from rules.rulebook import load_rulebook

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
VOCABULARY = load_rulebook().vocabulary
SHELF = {
    "Medication/d3": {
        "resourceType": "Medication",
        "id": "d3",
        "code": {"text": "Vitamin D3 1000 IU"},
    },
    "Medication/dull": {
        "resourceType": "Medication",
        "id": "dull",
        "code": {"coding": [{"system": "http://x.org", "code": "1", "display": "Amlodipine"}]},
    },
}
EXACT = Sieve(VOCABULARY, SHELF, quick=False)
QUICK = {name: Sieve(VOCABULARY, SHELF, library=name) for name in libraries()}
LOINC, RXNORM, SNOMED = (
    "http://loinc.org",
    "http://www.nlm.nih.gov/research/umls/rxnorm",
    "http://snomed.info/sct",
)

CODES = st.sampled_from(
    [(LOINC, code) for code in ("6301-6", "1989-3", "62292-8", "8480-6", "12345-1", "17861-6")]
    + [(RXNORM, code) for code in ("855332", "11289", "197361")]
    + [(SNOMED, code) for code in ("34713006", "195662009", "430715008", "372756006")]
    + [("http://hl7.org/fhir/sid/icd-10-cm", code) for code in ("E55.9", "E559", "J00")]
    + [("http://www.whocc.no/atc", code) for code in ("B01AA03", "A11CC05", "C08CA01")]
)
WORDS = st.sampled_from(
    [
        "Warfarin 5 mg", "WARFARIN", "Vitamin D₃ 1000 IU", "Vitamine K2", "Phytoménadione", "Amlodipine [Norvasc]",
        "INR", "inr ", "Calcium", "Mystery", "", " ", "osteoporosis", "Ostéoporosis", "eats natto", "納豆", 'a "b" \\ c', "tab\there",
    ]
)  # fmt: skip


@st.composite
def concepts(draw):
    made = {}
    if draw(st.booleans()):
        made["coding"] = []
        for system, code in draw(st.lists(CODES, max_size=2)):
            coding = {
                "system": system,
                "code": draw(st.sampled_from([code, f" {code}", code + "\u2003"])),
            }
            if draw(st.booleans()):
                coding["display"] = draw(WORDS)
            if draw(st.integers(0, 5)) == 0:
                del coding[draw(st.sampled_from(["system", "code"]))]
            made["coding"].append(coding)
    if draw(st.booleans()):
        made["text"] = draw(WORDS)
    return made


@st.composite
def resources(draw):
    kind = draw(
        st.sampled_from(
            ["Observation"] * 3
            + [
                "MedicationRequest",
                "MedicationStatement",
                "Condition",
                "Procedure",
                "ServiceRequest",
                "Goal",
            ]
        )
    )
    made = {
        "resourceType": kind,
        "id": draw(st.sampled_from(["a", "b-6301-6"])),
        "status": "active",
    }
    made["subject"] = {
        "reference": draw(
            st.sampled_from(["Patient/p", "http://h.org/fhir/Patient/p", "Patient/p/_history/2"])
        )
    }
    if kind.startswith("Medication"):
        shape = draw(st.integers(0, 5))
        if shape == 0:
            made["medicationReference"] = {
                "reference": f"Medication/{draw(st.sampled_from(['d3', 'dull', 'gone']))}"
            }
            if draw(st.booleans()):
                made["medicationReference"]["display"] = draw(WORDS)
        elif shape == 1:
            made["medicationReference"] = {"reference": "#m"}
            made["contained"] = [
                {"resourceType": "Medication", "id": "m", "code": draw(concepts())}
            ]
        elif shape == 2:
            made["medication"] = {"concept": draw(concepts())}
        elif shape < 5:
            made["medicationCodeableConcept"] = draw(concepts())
    elif kind == "Goal":
        made["target"] = [{"measure": draw(concepts()), "detailRange": {"low": {"value": 2}}}]
    else:
        made["code"] = draw(concepts())
    if kind == "Observation":
        made["status"] = "final"
        if draw(st.booleans()):
            made["component"] = [{"code": draw(concepts()), "valueQuantity": {"value": 2.5}}]
        if draw(st.booleans()):
            made["category"] = [
                {
                    "coding": [
                        {
                            "code": draw(
                                st.sampled_from(["social-history", "Social-History", "laboratory"])
                            )
                        }
                    ]
                }
            ]
            made["valueString"] = draw(WORDS)
    if draw(st.integers(0, 4)) == 0:
        made["note"] = [{"text": draw(WORDS)}]
    return made


@st.composite
def lines(draw):
    made = draw(resources())
    if made["resourceType"].startswith("Medication") and draw(st.integers(0, 7)) == 0:
        twin = {"resourceType": made["resourceType"], "medicationCodeableConcept": draw(concepts())}
        made["contained"] = [*made.get("contained", ()), twin]
    names = list(made)
    order = draw(st.integers(0, 99))
    if order % 2:  # as most servers write it: whose it is comes after what it is
        names.sort(key=lambda name: (name != "resourceType", name in {"subject", "note"}))
    else:
        random.Random(order).shuffle(names)
    text = json.dumps(
        {name: made[name] for name in names},
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" , ", " :\t")])),
    )
    way = draw(st.integers(0, 4))
    if way == 0:
        text = text.replace("/", "\\/")
    elif way == 1 and "\\" not in text:
        letter = draw(st.sampled_from("6deiorc"))
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return made, text.encode()


def facts_and_gaps(resource):
    reading = read(
        [*SHELF.values(), resource],
        patient_id="p",
        vocabulary=VOCABULARY,
        as_of=NOW,
        zone=UTC,
        context=Context(),
    )
    facts = reading.facts
    return [
        *facts.uses, *facts.labs, *facts.conditions, *facts.procedures, *facts.goals, *facts.orders, *facts.diets,
        *reading.gaps,
    ]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(resources())
def test_what_is_of_no_concern_gives_neither_fact_nor_gap(resource):
    if not EXACT.concerns(resource):
        assert not facts_and_gaps(resource)


@pytest.mark.parametrize("library", libraries())
@settings(max_examples=300, deadline=None)
@given(st.lists(lines(), min_size=1, max_size=8), st.booleans())
def test_the_sieve_keeps_every_line_that_parsing_keeps(library, made, mixed):
    kind = made[0][0]["resourceType"]
    data = b"\n".join(line for _, line in made)
    exact = {one.number for one in EXACT.sift(data, "") if EXACT.concerns(json.loads(one.line))}
    for _ in range(2):  # what was found dull the first time is not looked at again
        kept = list(QUICK[library].sift(data, "" if mixed else kind))
        assert exact <= {
            one.number for one in kept if one.certain or EXACT.concerns(json.loads(one.line))
        }
        assert all(one.line == made[one.number][1] for one in kept)


ODD = [
    '{"coding":[{"system":"http://loinc.org","code":" 6301-6"}]}',
    '{"coding":[{"system":"http://loinc.org","code":"\\u0036301-6"}]}',
    '{"coding":[{"system":"http://loinc.org","code":"\\t6301-6"}]}',
    '{"text":"\\u0049NR"}',
    '{"text":"\uff29\uff2e\uff32"}',
    '{"text":"I\\u004eR"}',
]


@pytest.mark.parametrize("library", libraries())
@pytest.mark.parametrize("code", ODD)
def test_a_result_that_is_spelt_in_an_odd_way_is_found(library, code):
    line = f'{{"resourceType":"Observation","id":"x","status":"final","code":{code},"subject":{{"reference":"Patient/p"}}}}'
    assert EXACT.concerns(json.loads(line))
    assert list(QUICK[library].sift(line.encode(), "Observation"))


DULL = {
    "Observation": {"code": {"coding": [{"system": LOINC, "code": "8480-6"}]}},
    "MedicationRequest": {"medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": "1", "display": "Lisinopril"}]}},
    "Condition": {"code": {"coding": [{"system": SNOMED, "code": "195662009"}]}},
    "Goal": {"description": {"text": "Walk more"}},
}  # fmt: skip


@pytest.mark.parametrize("library", [name for name in libraries() if name != "none"])
@pytest.mark.parametrize("kind", DULL)
def test_most_lines_of_no_concern_are_never_parsed(library, kind):
    subject = {"subject": {"reference": "Patient/p"}}
    dull = {"resourceType": kind, "id": "x", **DULL[kind], **subject, "note": [{"text": "Übung"}]}
    text = json.dumps(dull, separators=(",", ":"), ensure_ascii=False)
    data = b"\n".join([text.encode()] * 50)
    assert not list(QUICK[library].sift(data, kind))
    assert len(list(EXACT.sift(data, kind))) == 50


@pytest.mark.parametrize("library", [name for name in libraries() if name != "none"])
@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(0, 3))
def test_both_libraries_find_the_same_lines(library, pieces, lines):
    data = b"\n".join([*pieces, *[b'{"x":"abc 7"}'] * lines])
    expressions = [rb"(?i:ABC)\s?", rb"(?m:[\\\x80-\xff][^\n]*$)"]
    expected = {
        number
        for number, line in enumerate(data.split(b"\n"))
        if b"abc" in line.lower() or b"\\" in line or not line.isascii()
    }
    places = searching(library, expressions)(data)
    assert places == sorted(places)
    assert set(lines_at(data, places)) == expected


@settings(max_examples=300, deadline=None)
@given(lines())
def test_the_patient_of_a_line_is_the_same_with_and_without_parsing(made):
    resource, line = made
    assert key_of(json.loads(line)) == key_of(resource) == "p"
    assert key_of_line(line) in {None, "p"}


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
def test_stretches_give_each_line_once(tmp_path, step):
    path = tmp_path / "x.ndjson"
    rng = random.Random(3)
    whole = [bytes([97 + n % 26]) * rng.choice([0, 1, 5, 63, 64, 300]) for n in range(200)]
    path.write_bytes(b"\n".join(whole))
    size = path.stat().st_size
    seen = b"".join(
        chunk.data for offset in range(0, size, step) for chunk in chunks_of(path, offset, step)
    )
    assert seen == path.read_bytes()
