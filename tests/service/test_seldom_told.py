"""What the service seldom has to say: a list of which one query failed, a version nobody writes, a site without clients."""

import asyncio
import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from fhir_adapter.bundles import PrefetchState
from fhir_adapter.proposals import Proposed
from rules.assessment import ProposedAction
from rules.errors import DekacardError, KnowledgeError
from rules.facts import Context, FactSet, Finding, Patient
from service import bootstrap, pack_archive, site_knowledge
from service.app import FaultBarrier, create_app
from service.cds_hooks import detail
from service.cds_hooks.cards import Circumstances
from service.cds_hooks.client_profile import CardStyle, ClientProfile
from service.cds_hooks.contexts import read_hook_call
from service.cds_hooks.prefetch import REASONS, supply_of
from service.cds_hooks.proposing import _action, proposer
from service.cli import Exit
from service.cli import app as command
from service.dashboard.casebook import Case as Recorded
from service.explained_text import _silence
from service.explanation import _names
from service.new_pack import ENDING, _templates
from service.pack_archive import ArchiveMissing
from service.review import Case, review
from service.rules_page import _example
from service.settings import Settings, SettingsRefused
from service.site_knowledge import read_code_maps
from service.telemetry import Telemetry
from tests.service.alerts.stories import mk7
from tests.service.trust.conftest import written_profile

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXAMPLE = ROOT / "examples" / "01-warfarin-new-mk7-coded.json"
FAILED = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}
NOTHING = {"resourceType": "Bundle", "type": "searchset", "total": 0}


@pytest.fixture(scope="module")
def parts():
    return create_app(Settings(dev=True, engine="compiled"), clock=lambda: NOON).state.parts


@pytest.fixture(scope="module")
def done(parts):
    call = read_hook_call(json.loads(EXAMPLE.read_text()))
    supply = supply_of(call)
    case = Case(resources=supply.resources, patient_id=call.patient_id, unread=supply.unread)
    return review(case, NOON, parts.engine)


def written(parts, done, **changed):
    where = Circumstances(
        style=CardStyle(), name_card=parts.card_names("t", "p", "h", "s"), propose=lambda _: [],
        modes=dict.fromkeys(parts.engine.rulebook.cards, "live"), **changed,
    )  # fmt: skip
    return [card.body for card in parts.cards.write(done, where)]


# Hooks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_of_two_queries_for_one_source_the_worse_one_counts(order):
    profile = ClientProfile.model_validate(
        written_profile(prefetch={"medicationRequests": {"sent_as": ["one", "two"]}})
    )
    body = json.loads(EXAMPLE.read_text())
    sent = {"one": NOTHING, "two": FAILED}
    body["prefetch"] = {name: sent[name] for name in order}
    unread = supply_of(read_hook_call(body), profile).unread
    assert unread["medication-requests"] == REASONS[PrefetchState.FAILED]
    body["prefetch"] = {"one": NOTHING, "two": NOTHING}
    assert "medication-requests" not in supply_of(read_hook_call(body), profile).unread


def test_a_version_that_nobody_writes_gets_no_actions(parts):
    propose = proposer(parts.engine.rulebook.vocabulary, patient_id="p", as_of=NOON, version="R99")
    assert propose(ProposedAction(id="check-label", kind="task", label="l", description="d")) == []


@pytest.mark.parametrize(
    ("form", "member"), [("resource", "resource"), ("resourceId", "resourceId")]
)
def test_a_deletion_names_its_target_where_the_client_looks(form, member):
    proposal = ProposedAction(id="check-label", kind="task", label="l", description="d")
    action = _action(Proposed("delete", resource_id="MedicationRequest/1"), proposal, form)
    assert action == {"type": "delete", "description": "d", member: "MedicationRequest/1"}


def test_a_card_without_reasons_to_decline_has_no_such_member(parts, done):
    (body,) = written(parts, done)
    assert body["overrideReasons"]
    (one,) = done.assessment.recommendations
    silent = msgspec.structs.replace(
        done.assessment, recommendations=(msgspec.structs.replace(one, override_reasons=()),)
    )
    (body,) = written(parts, msgspec.structs.replace(done, assessment=silent))
    assert "overrideReasons" not in body


def test_sentences_that_are_kept_for_the_next_card_never_change_what_it_says(
    parts, done, monkeypatch
):
    usual = written(parts, done)
    details = parts.cards._details
    details._parameter_lines.clear()
    details._standing.clear()
    monkeypatch.setattr(detail, "_MOST_KEPT", 0)
    assert written(parts, done) == usual
    (one,) = done.assessment.recommendations
    list(details._evidence(one, "another"))
    assert len(details._standing) == 1
    details._parameter_lines.update(dict.fromkeys(((0, "a"), (1, "b")), (None, "")))
    details.parameter_line(one.parameters[0], "mass")
    assert len(details._parameter_lines) == 1


def test_a_client_with_a_server_of_its_own_is_not_said_to_have_none(tmp_path):
    jku = {"trust__jwks": None, "trust__jku": "https://ehr.example.org/jwks.json"}
    with_base = written_profile(fhir={"bases": ["https://ehr.example.org/fhir"]}, **jku)
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(with_base))
    told = CliRunner().invoke(command, ["clients", "check", "--folder", str(tmp_path)])
    assert told.exit_code == Exit.DONE, told.output
    assert "example: rules live, drafts accepted" in told.output
    assert "no FHIR base" not in told.output


def test_an_answer_that_broke_half_way_is_cut_off_and_not_answered_twice():
    sent = []

    async def breaks(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("Mrs Canaria")

    async def send(message):
        sent.append(message["type"])

    barrier = FaultBarrier(breaks, Telemetry())
    with pytest.raises(ValueError, match="Canaria"):
        asyncio.run(barrier({"type": "http"}, None, send))
    assert sent == ["http.response.start"]


# Explanations ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "gaps", "said"),
    [(["r"], ["g"], "Not fully evaluated"), ([], ["g"], "see the gaps"), ([], [], "Nothing found")],
)
def test_silence_has_three_reasons_and_never_the_wrong_one(failures, gaps, said):
    assert said in _silence({"failures": failures, "gaps": gaps}).plain


def test_what_a_finding_was_made_from_names_records_and_findings_and_no_circumstance():
    below = Finding(name="below", about="", values={}, because=())
    assert _names((below, Context(hook="patient-view"), mk7())) == ["finding below", "MedicationStatement/k"]  # fmt: skip


def test_a_file_without_the_patient_is_said_to_be_so():
    told = CliRunner().invoke(command, ["explain", str(EXAMPLE), "--patient", "nobody"])
    assert told.exit_code == Exit.INPUT_REFUSED
    assert "The file does not hold this patient." in told.output


def test_a_rule_that_no_story_lets_speak_has_no_example():
    assert _example(None) == []


# Files of a site ------------------------------------------------------------------------------------------------------


def test_a_skeleton_holds_templates_alone(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / f"a.yaml{ENDING}").touch()
    (tmp_path / "deep" / "notes.txt").touch()
    assert [place for place, _ in _templates(tmp_path)] == ["deep/a.yaml"]


def test_a_code_map_that_is_too_large_is_refused_unread(tmp_path, monkeypatch):
    file = tmp_path / "map.json"
    file.write_text("{}  ")
    monkeypatch.setattr(site_knowledge, "_LARGEST", 3)
    with pytest.raises(KnowledgeError, match="larger than any code map"):
        read_code_maps([file])


def test_an_archived_pack_that_is_too_large_is_not_unpacked(tmp_path, monkeypatch):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("core/pack.toml", " " * 1000)
    monkeypatch.setattr(pack_archive, "_LARGEST", 999)
    with pytest.raises(ArchiveMissing, match="larger than any pack"):
        pack_archive._extract(packed.getvalue(), "0", tmp_path / "in")
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize("start", [bootstrap.assemble, bootstrap.check])
def test_a_site_without_clients_does_not_start_unless_it_is_for_development(start):
    with pytest.raises(SettingsRefused):
        start(Settings(engine="compiled"))


def test_a_profile_that_cannot_be_used_is_found_before_the_service_starts(tmp_path):
    good = written_profile(trust__jwks=None, trust__jku="https://ehr.example.org/jwks.json")
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(good))
    bootstrap.check(Settings(engine="compiled", clients=tmp_path))
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(good | {"id": "two", "title": ""}))
    with pytest.raises(DekacardError, match=r"two\.yaml|two"):
        bootstrap.check(Settings(engine="compiled", clients=tmp_path))


def test_a_case_in_which_the_rule_did_not_speak_has_no_recommendation_of_it():
    answer = {"recommendations": [{"rule": "vka-natto", "about": "natto"}]}
    case = Recorded(facts=FactSet(patient=Patient(id="p")), answer=answer, gaps=())
    assert case.recommendation("vka-natto", "") is None
    assert case.recommendation("vka-mk7-new", "natto") is None


def test_providers_that_cannot_be_read_are_found_before_the_service_starts(tmp_path):
    (tmp_path / "oidc.yaml").write_text("- id: [")
    with pytest.raises(DekacardError, match=r"oidc\.yaml"):
        bootstrap.check(Settings(dev=True, engine="compiled", oidc=tmp_path / "oidc.yaml"))


def test_without_a_record_there_is_nothing_to_renew_to_keep_or_to_silence(parts):
    parts.renew_modes()
    parts.renew_silences()
    parts.keep_packs()
    assert parts.silences("developer", "p", NOON) == ()
    assert parts.mode_of("developer", "vka-mk7-new") == "live"
    assert parts.mode_of("developer", "no-such-rule") == "shadow"
