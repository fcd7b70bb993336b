"""A client's own codes are understood in its calls, asked for in its name, and hold for nobody else."""

import json
import os
from datetime import datetime
from urllib.parse import unquote

import pytest
import yaml
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from rules.code_maps import CodeMap, MappedCode
from rules.errors import KnowledgeError
from rules.rulebook import load_rulebook
from service.alerts.record import open_record
from service.app import create_app
from service.batch.clientele import following
from service.bootstrap import build_engine, record_options
from service.cds_hooks.client_profile import ProfileRefused
from service.cds_hooks.clients import ClientRegistry
from service.cds_hooks.minting import make_key, mint_token
from service.clients_cli import app as clients
from service.local_codes import ClientCodes, local_codes
from service.review import Case, review
from service.settings import Settings
from service.site_knowledge import read_code_maps
from tests.fhir_server.server import FhirServer
from tests.service.batch.people import AS_OF, LOINC
from tests.service.batch.test_code_maps import LABS, OURS, concept_map, element, somebody
from tests.service.batch.test_review import hook_call, options

NOW = datetime.fromisoformat(AS_OF)
BASE = "https://cds.example.org"
VIEW = "/cds-services/vitamin-dk-patient-view"
RULE = "vka-inr-high-no-otc-k"
RENAMED = concept_map((LABS, LOINC, element("INR-NEW", "6301-6")))


class Hospitals:
    """Two clients of one service; only ``mapped`` has codes of its own."""

    def __init__(self, place, base):
        self.keys = {name: make_key("ES384", name) for name in ("mapped", "plain")}
        self.folder = place / "clients"
        self.folder.mkdir()
        self.map = place / "maps" / "local.json"
        self.map.parent.mkdir()
        self.tick = 1_700_000_000_000_000_000
        self.write(OURS)
        for name, key in self.keys.items():
            profile = {
                "id": name, "title": name, "rules": {"mode": "live", "accept_draft": True}, "deadline_ms": 2000,
                "trust": {"issuers": [f"https://{name}.example.org"], "jwks": key.public_set(), "audience_base": BASE},
                "fhir": {"bases": [base]},
            }  # fmt: skip
            profile |= {"code_maps": ["../maps/local.json"]} if name == "mapped" else {}
            (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(profile))
        self.settings = Settings(
            clients=self.folder, engine="compiled", jti_store=f"sqlite:///{place}/used.sqlite", discovery_needs_token=True,
            store_url=f"sqlite:///{place}/record.sqlite", spool_dir=place / "spool", keyring=place / "keys.json",
        )  # fmt: skip
        open_record(
            record_options(self.settings), create_keys=True, upgrade=True, clock=None
        ).close()

    def write(self, value):
        self.map.write_text(value if isinstance(value, str) else json.dumps(value))
        # Two writes within one tick of the file system's clock would look like one.
        self.tick += 1_000_000
        os.utime(self.map, ns=(self.tick, self.tick))

    def token(self, name, path):
        issuer = f"https://{name}.example.org"
        signed = mint_token(
            self.keys[name], issuer=issuer, audience=BASE + path, now=NOW.timestamp()
        )
        return {"authorization": f"Bearer {signed}"}

    def rules(self, client, name, body):
        answer = client.post(VIEW, json=body, headers=self.token(name, VIEW))
        assert answer.status_code == 200, answer.text
        report = answer.json()["extension"]["org.dekacard.review"]
        return {one["rule"] for one in report.get("rules", [])}


@pytest.fixture
def ehr():
    with FhirServer(resources=somebody(), token="tok") as running:
        yield running


@pytest.fixture
def hospitals(tmp_path, ehr):
    return Hospitals(tmp_path, ehr.base)


@pytest.fixture
def served(hospitals):
    with TestClient(create_app(hospitals.settings, clock=lambda: NOW), base_url=BASE) as client:
        client.app.state.clients.look_every = 0
        yield client


def test_of_two_clients_only_the_one_with_the_map_is_understood(hospitals, served):
    body = hook_call(somebody(), [])
    assert RULE in hospitals.rules(served, "mapped", body)
    assert RULE not in hospitals.rules(served, "plain", body)
    assert RULE in hospitals.rules(served, "mapped", body)


def test_only_its_searches_name_its_codes(hospitals, served, ehr):
    body = hook_call(somebody(), [])
    del body["prefetch"]
    body |= {
        "fhirServer": ehr.base,
        "fhirAuthorization": {
            "access_token": "tok", "token_type": "Bearer", "expires_in": 300, "scope": "x", "subject": "x"
        },
    }  # fmt: skip
    for name, named in (("mapped", True), ("plain", False)):
        ehr.seen.clear()
        assert (RULE in hospitals.rules(served, name, body)) is named
        asked = [code for one in ehr.asked("Observation") for code in one.query.get("code", ())]
        assert asked
        assert any(f"{LABS}|INR1" in one for one in asked) is named
        listed = served.get("/cds-services", headers=hospitals.token(name, "/cds-services")).text
        assert (f"{LABS}|INR1" in unquote(listed)) is named


def test_a_changed_map_is_taken_over_and_one_for_the_worse_is_not(hospitals, served):
    body = hook_call(somebody(), [])
    assert RULE in hospitals.rules(served, "mapped", body)
    hospitals.write(RENAMED)
    assert RULE not in hospitals.rules(served, "mapped", body)
    registry = served.app.state.clients
    for wrong, said in (
        ("{", "no JSON"),
        (concept_map((LABS, LOINC, element("NA", "2951-2"))), "no entry leads to a code"),
    ):
        hospitals.write(wrong)
        assert RULE not in hospitals.rules(served, "mapped", body)
        assert said in registry.problem
        assert "mapped.yaml" in registry.problem
    hospitals.map.unlink()
    assert RULE not in hospitals.rules(served, "mapped", body)
    assert "cannot be read" in registry.problem
    hospitals.write(OURS)
    assert RULE in hospitals.rules(served, "mapped", body)
    assert registry.problem == ""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("{", "no JSON"),
        ({"resourceType": "ValueSet"}, "no FHIR ConceptMap"),
        (concept_map((LABS, LOINC, element("NA", "2951-2"))), "no entry leads to a code"),
    ],
)
def test_a_service_does_not_start_with_a_map_that_cannot_be_used(hospitals, wrong, said):
    hospitals.write(wrong)
    with pytest.raises(ProfileRefused, match=said) as refused:
        create_app(hospitals.settings, clock=lambda: NOW)
    assert "mapped.yaml: code_maps" in str(refused.value)
    checked = CliRunner().invoke(clients, ["check", "--folder", str(hospitals.folder)])
    assert checked.exit_code == 7
    assert said in checked.output


def test_what_is_said_rests_on_the_maps_by_name_and_digest(hospitals):
    engine = build_engine(hospitals.settings)
    maps = read_code_maps([hospitals.map])
    case = Case(resources=somebody(), patient_id="ada")
    own = Case(resources=somebody(), patient_id="ada", codes=local_codes(engine.rulebook, maps))
    plain, mapped = (review(one, NOW, engine).assessment.provenance for one in (case, own))
    assert plain.local_codes == {}
    assert mapped.local_codes == {"local": maps[0].mark}
    assert mapped.packs == plain.packs
    engine.close()


def test_other_packs_take_the_maps_along_or_are_refused_whole(hospitals):
    first, second = load_rulebook(), load_rulebook(("core", "vitamin-d-status"))
    maps = read_code_maps([hospitals.map])
    codes = ClientCodes(first)
    before = codes.of("mapped", maps)
    assert codes.of("mapped", maps) is before
    nowhere = CodeMap(
        name="nowhere", version="1", digest="0" * 64,
        entries=(MappedCode(system="x", code="y", to_system="z", to_code="0"),),
    )  # fmt: skip
    with pytest.raises(KnowledgeError, match="no entry leads"):
        codes.learn(second, {"mapped": maps, "other": (nowhere,)})
    assert codes.of("mapped", maps) is before
    codes.learn(second, {"mapped": maps})
    assert codes.of("mapped", maps) is not before


def test_doctor_tells_what_a_clients_maps_add(hospitals, monkeypatch):
    from service.cli import app

    monkeypatch.setenv("DEKACARD_CLIENTS", str(hospitals.folder))
    told = CliRunner().invoke(app, ["doctor", "--client", "mapped"]).output
    assert "code map local 7: 3 of its 5 codes concern a rule" in told
    assert "1 not usable: relation wider" in told
    assert (
        "inr is to be asked for with its own codes: Observation?patient={{context.patientId}}"
        in told
    )
    assert f"{LABS}|INR1" in told
    assert "code map" not in CliRunner().invoke(app, ["doctor", "--client", "plain"]).output


def test_a_population_of_the_client_is_read_by_them_too(hospitals):
    registry = ClientRegistry.load(hospitals.folder)
    for name, maps in (("mapped", (str(hospitals.map.resolve()),)), ("plain", ())):
        assert following(options(), registry.by_id(name)).code_maps == maps
