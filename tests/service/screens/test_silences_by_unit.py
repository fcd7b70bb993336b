"""Silences for a care unit and for a group of patients: only whoever is surely meant, on the card and on the list."""

import json
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from rules.errors import RequestError
from rules.facts import Condition, Context, FactSet, Patient
from service.alerts import models
from service.alerts.past_answers import micros
from service.alerts.screen_tables import silence
from service.alerts.silences import Limits, Wish, ask, covering, hidden_now
from service.patient_groups import groups, groups_of
from service.silence_board import Silence
from tests.service.alerts.stories import call, mk7, recommendation, reviewed, warfarin
from tests.service.dashboard.conftest import NOON, T
from tests.service.screens.test_silences import RULE, board, todo, wish

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-warfarin-new-mk7-coded.json"
NEW_K = "vka-mk7-new"


def person(age=None, **more):
    return FactSet(patient=Patient(id="p", age_years=age), **more)


@pytest.mark.parametrize(
    ("facts", "belongs"),
    [
        (person(), {"no-antagonist"}),
        (person(17, uses=(warfarin(),)), {"minors", "antagonist"}),
        (person(18, uses=(warfarin(),)), {"adults", "antagonist"}),
        (person(64, uses=(warfarin(),)), {"adults", "antagonist"}),
        (person(65, uses=(mk7(),)), {"older", "no-antagonist"}),
        (person(70, context=Context(unread={"medication-requests": "late"})), {"older"}),
        (person(uses=(msgspec.structs.replace(warfarin(), taking="uncertain"),)), set()),
        (person(uses=(warfarin(),), conditions=(Condition(problem="pregnancy"),)), {"antagonist", "pregnant"}),
        (person(uses=(warfarin(),), conditions=(Condition(problem="pregnancy", clinical_status="resolved"),)), {"antagonist"}),
    ],
)  # fmt: skip
def test_only_who_surely_belongs_is_in_a_group(facts, belongs):
    assert groups_of(facts) == belongs


def test_every_group_names_what_the_packs_know(site):
    vocabulary = site.app.state.engine.rulebook.vocabulary
    classes = {kind for one in vocabulary.ingredients.values() for kind in one.classes}
    lists = vocabulary.content.code_lists
    coded = {code.get("is") for held in lists for code in held.codes.values()}
    for group in groups().values():
        assert {*group.classes, *group.without} <= classes
        assert {*group.problems, *group.procedures} <= coded


def seen(site, number, patient, unit="", **more):
    """A review of somebody on a unit."""
    made = call(number, tenant=T, patient=patient, unit=unit)
    site.record.record(made, reviewed(recommendation(), **more), may_speak=(RULE,))
    site.wait_for(models.evaluation, models.evaluation.c.id == made.id)
    return site.record.keyring.patient_key(T, patient)


def test_the_list_hides_only_whoever_is_on_the_unit_now(site):
    here = seen(site, 1, "a", "3 West")
    seen(site, 2, "b", "ICU")
    seen(site, 3, "c")
    wish(site, rule=RULE, unit="3 West")
    hidden = {row.id for row in site.alerts(patient=here)}
    everyone = {row.id for row in site.alerts()}
    assert todo(site) == everyone - hidden
    with site.record.database.reading() as connection:
        (row,) = connection.execute(select(silence)).all()
        assert hidden_now(connection, row) == 1
        covered = {one.id for one in site.alerts() if covering(connection, one, micros(NOON))}
    assert covered == hidden
    seen(site, 4, "a", "ICU")  # moved
    assert todo(site) == everyone
    seen(site, 5, "a", "3 West")
    assert todo(site) == everyone - hidden
    seen(site, 6, "a")  # nobody says where
    assert todo(site) == everyone


def test_the_list_hides_only_whoever_is_of_the_group(site):
    yes = seen(site, 1, "a")  # takes warfarin
    seen(site, 2, "b", uses=(mk7(),))
    wish(site, rule=RULE, group="antagonist")
    assert todo(site) == {row.id for row in site.alerts()} - {row.id for row in site.alerts(patient=yes)}  # fmt: skip


def test_a_silence_reaches_where_both_hold():
    one = Silence(id=1, rule=RULE, unit="ICU", group="older")
    assert one.reaches("ICU", {"older", "antagonist"})
    assert not one.reaches("ICU", {"adults"})
    assert not one.reaches("", {"older"})
    assert Silence(id=2, rule=RULE).reaches("", ())


@pytest.mark.parametrize(
    "wrong", [{"unit": "ICU"}, {"group": "older"}, {"rule": RULE, "group": "nobody"}, {"rule": RULE, "patient": "k", "unit": "ICU"}],
)  # fmt: skip
def test_what_is_too_wide_or_unclear_is_refused(site, wrong):
    with pytest.raises(RequestError):
        wish(site, **wrong)


@pytest.mark.parametrize(
    ("approval", "more", "waits"),
    [
        ("critical", {"unit": "ICU"}, False), ("critical", {"covers_critical": True}, True), ("wide", {"unit": "ICU"}, True),
        ("wide", {}, True), ("wide", {"patient": "k"}, False), ("always", {"patient": "k"}, True),
    ],
)  # fmt: skip
def test_a_second_person_agrees_where_the_site_asks_for_it(site, approval, more, waits):
    given = Wish(
        tenant=T, actor="user/ann", at=NOON, until=NOON + timedelta(days=5), reason="local-protocol", rule=RULE, **more
    )  # fmt: skip
    ask(site.record.database, site.record.keyring, given, Limits(approval=approval))
    with site.record.database.reading() as connection:
        row = connection.execute(select(silence)).one()
    assert row.state == ("asked" if waits else "in-force")
    assert bool(board(site).of(T, lambda: "k", NOON)) is not waits


def hook(site, patient, unit=""):
    body = json.loads(EXAMPLE.read_text(encoding="utf-8").replace("ex-01", patient))
    body["hookInstance"] = f"{patient}-{unit}"
    body["context"]["encounterId"] = "e1"
    if unit:
        body["prefetch"]["encounter"] = {
            "resourceType": "Encounter", "id": "e1", "status": "in-progress", "subject": {"reference": f"Patient/{patient}"},
            "location": [{"status": "active", "location": {"display": unit}}],
        }  # fmt: skip
    answer = site.client.post("/cds-services/vitamin-dk-patient-view", json=body).json()
    return [card["source"]["topic"]["display"] for card in answer["cards"]], answer["extension"]["org.dekacard.review"].get("suppressed", [])  # fmt: skip


def test_a_hook_leaves_the_card_out_on_that_unit_only(site):
    topics, _ = hook(site, "u-1", "3 West")
    assert any(NEW_K in words for words in topics)
    site.wait_for(models.patient, models.patient.c.unit == "3 West")
    page = site.get("/silences").text
    assert "<option>3 West</option>" in page
    told = {"rule": NEW_K, "reason": "local-protocol", "until": "2026-11-29", "critical": "yes"}
    assert site.post("/silences", **told, unit="4 East").status_code == 422
    del told["critical"]
    assert site.post("/silences", **told, unit="3 West").status_code == 303
    assert "on <strong>3 West</strong>" in site.get("/silences").text
    topics, silent = hook(site, "u-2", "3 West")
    spoken = {one["rule"] for one in silent}
    assert NEW_K in spoken
    assert not any(NEW_K in words for words in topics)
    for elsewhere in ("ICU", ""):
        topics, silent = hook(site, "u-3", elsewhere)
        assert any(NEW_K in words for words in topics), elsewhere
        assert silent == []


def test_a_hook_leaves_the_card_out_for_that_group_only(site):
    wish(site, rule=NEW_K, group="minors")
    site.app.state.parts.renew_silences()
    topics, silent = hook(site, "g-1")
    assert any(NEW_K in words for words in topics)
    assert silent == []
    wish(site, rule=NEW_K, group="antagonist")
    site.app.state.parts.renew_silences()
    topics, silent = hook(site, "g-2")
    assert not any(NEW_K in words for words in topics)
    assert NEW_K in {one["rule"] for one in silent}


def test_discovery_asks_for_the_encounter_only_where_the_site_works_by_units(site):
    from service.cds_hooks.discovery import SERVICES, discovery_document

    vocabulary = site.app.state.engine.rulebook.vocabulary
    asked = json.loads(discovery_document(vocabulary, SERVICES, encounter=True))["services"][0]
    assert asked["prefetch"]["encounter"] == "Encounter/{{context.encounterId}}"
    assert "encounter" in asked["usageRequirements"]
    plain = json.loads(discovery_document(vocabulary, SERVICES))["services"][0]
    assert "encounter" not in plain["prefetch"]
