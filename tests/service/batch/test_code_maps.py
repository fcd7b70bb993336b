"""A hospital's own codes, given by a ConceptMap, mean what they stand for: in files, at the hook, and to the sieve."""

import json
from datetime import datetime

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fhir_adapter.concept_map import read_concept_map
from fhir_adapter.relevance import Relevance
from fhir_adapter.sieve import Sieve
from rules.errors import KnowledgeError
from rules.rulebook import load_rulebook
from service.app import create_app
from service.batch.cli import app
from service.batch.run import Run
from service.site_knowledge import read_code_maps
from tests.service.batch.people import (  # fmt: skip
    AS_OF,
    LOINC,
    RXNORM,
    bundle,
    coded,
    lab,
    of_each_type,
    patient,
    request,
    statement,
    write_lines,
)
from tests.service.batch.test_review import hook_call, options, rows

LABS = "https://st-elsewhere.example.org/labs"
DRUGS = "https://st-elsewhere.example.org/formulary"
SNOMED = "http://snomed.info/sct"


def element(code, target, relation="equivalent", **more):
    return {"code": code, "target": [{"code": target, "equivalence": relation, **more}]}


def concept_map(*groups, **more):
    made = [
        {"source": source, "target": target, "element": elements}
        for source, target, *elements in groups
    ]
    return {"resourceType": "ConceptMap", "status": "active", "version": "7", "group": made} | more


OURS = concept_map(
    (LABS, LOINC, element("VITD", "1989-3"), element("INR1", "6301-6", "equal"), element("NA", "2951-2"), element("VITDX", "1989-3", "wider")),
    (DRUGS, RXNORM, element("WARF5", "855332"), element("AMLO5", "197361")),
)  # fmt: skip


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "local.json"
    path.write_text(json.dumps(OURS))
    return path


def somebody(key="ada"):
    """On warfarin and vitamin K2, with a high INR and a low vitamin D: all in local codes."""
    own = [
        patient(key),
        *of_each_type(key),
        statement(key, None, 1, words="Vitamin K2 MK-7 100 mcg daily"),
    ]
    own.append(request(key, coded(DRUGS, "WARF5", "house brand 5"), 1))
    for number, (code, value, unit) in enumerate(
        (("INR1", 5.6, "{INR}"), ("VITD", 9.5, "ng/mL")), 1
    ):
        made = lab(key, code, value, unit, number, taken="2026-11-20")
        made["code"] = coded(LABS, code, "local test")
        own.append(made)
    return own


def told(out):
    return {one["rule"] for one in rows(out)}


@pytest.mark.parametrize("sieve", [True, False])
def test_local_codes_mean_what_they_stand_for(tmp_path, written, sieve):
    folder = write_lines(tmp_path / "in", {"ada": somebody()}, [])
    Run(tmp_path / "without").review([folder], options(sieve=sieve))
    account = Run(tmp_path / "with").review(
        [folder], options(sieve=sieve, code_maps=(str(written),))
    )
    new = told(tmp_path / "with") - told(tmp_path / "without")
    assert {"vka-inr-high-no-otc-k", "vitd-deficiency-treat"} <= new
    (mapped,) = account.told["code_maps"]
    assert (mapped["map"], mapped["version"], mapped["used"]) == ("local", "7", 3)
    assert mapped["of_no_concern"] == 2
    assert mapped["not_usable"] == {"relation wider": 1}
    assert len(mapped["digest"]) == 64


def test_the_hook_understands_them_too_and_asks_for_them(written):
    from service.settings import Settings

    running = create_app(
        Settings(dev=True, code_maps=(written,)), clock=lambda: datetime.fromisoformat(AS_OF)
    )
    with TestClient(running, base_url="http://127.0.0.1:8080") as client:
        answer = client.post(
            "/cds-services/vitamin-dk-patient-view", json=hook_call(somebody(), [])
        ).json()
        plan = client.get("/cds-services").text
    assert any("INR 5.6" in card["summary"] for card in answer["cards"])
    assert f"{LABS}|INR1" in plan.replace("%7C", "|")


def test_explanations_name_the_map(tmp_path, written):
    from service.cli import app as everything

    path = tmp_path / "one.json"
    path.write_text(json.dumps(bundle(somebody())))
    run = CliRunner(env={"DEKACARD_CODE_MAPS": str(written)})
    done = run.invoke(everything, ["explain", str(path), "--json", "--as-of", AS_OF])
    assert list(json.loads(done.stdout)["provenance"]["local_codes"]) == ["local"]


def test_the_command_takes_maps(tmp_path, written):
    folder = write_lines(tmp_path / "in", {"ada": somebody()}, [])
    arguments = [
        str(folder),
        "--out",
        str(tmp_path / "out"),
        "--as-of",
        AS_OF,
        "--quiet",
        "--workers",
        "2",
    ]
    done = CliRunner().invoke(app, [*arguments, "--code-map", str(written)])
    assert done.exit_code == 0, done.output
    assert "vka-inr-high-no-otc-k" in told(tmp_path / "out")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"resourceType": "ValueSet"}, "no FHIR ConceptMap"),
        (concept_map(status="retired"), "retired"),
        (concept_map((LABS, LOINC, element("VITD", "1989-3", "narrower"))), "same as another"),
        (concept_map((LABS, LOINC, element("NA", "2951-2"))), "no entry leads to a code"),
        (concept_map((LABS, LOINC, element("X", "1989-3"), element("X", "6301-6"))), "two different things"),
        (concept_map((LABS, LOINC, element("VITD", "1989-3", dependsOn=[{"property": "x", "value": "y"}]))), "same as another"),
        (concept_map((LOINC, LOINC, element("6301-6", "1989-3"))), "stands in two lists"),
    ],
)  # fmt: skip
def test_a_map_that_cannot_be_meant_is_refused_with_its_reason(tmp_path, wrong, said):
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(wrong))
    with pytest.raises(KnowledgeError, match=said):
        load_rulebook(code_maps=read_code_maps((path,)))


def test_relationship_of_r5_and_codes_listed_by_prefix(tmp_path):
    made = concept_map(
        (
            DRUGS,
            "http://www.whocc.no/atc",
            {"code": "W", "target": [{"code": "B01AA03", "relationship": "equivalent"}]},
        )
    )
    path = tmp_path / "r5.json"
    path.write_text(json.dumps(made))
    vocabulary = load_rulebook(code_maps=read_code_maps((path,))).vocabulary
    assert [one.ingredient for one in vocabulary.drug(DRUGS, "W").components] == ["warfarin"]


_codes = st.text(st.characters(min_codepoint=33, max_codepoint=0x17F), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(_codes, st.sampled_from(["1989-3", "6301-6", "17861-6"])), min_size=1, max_size=4, unique_by=lambda one: one[0]),
    st.booleans(),
    st.integers(0, 5),
)  # fmt: skip
def test_the_sieve_keeps_whatever_a_local_code_makes_relevant(entries, ascii_only, spaces):
    made = concept_map((LABS, LOINC, *(element(code, target) for code, target in entries)))
    try:
        mapped = read_concept_map(json.dumps(made).encode(), "made")
        vocabulary = _rulebook_with(mapped).vocabulary
    except KnowledgeError:
        return  # blanks around a code make it another entry's
    lines = []
    for number, (code, _) in enumerate(entries):
        one = lab("ada", code, 1, "ng/mL", number)
        one["code"] = {"coding": [{"code": code, "system": LABS}]}
        lines.append(
            json.dumps(
                one, ensure_ascii=ascii_only, indent=None, separators=(",", ":" + " " * spaces)
            )
        )
        lines.append(json.dumps(lab("ada", "8480-6", 120, "mm[Hg]", number)))
    relevance, sieve = Relevance(vocabulary, {}), Sieve(vocabulary, {})
    data = "\n".join(lines).encode()
    kept = {number for number, _, _ in sieve.sift(data, "Observation")}
    wanted = {number for number, line in enumerate(lines) if relevance.concerns(json.loads(line))}
    assert wanted
    assert wanted <= kept


def _rulebook_with(mapped):
    from rules.rulebook import Rulebook

    if not _packs:
        _packs.extend(load_rulebook().packs)
    return Rulebook(_packs, [mapped])


_packs = []
