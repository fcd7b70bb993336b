"""Cards: which are shown, which are folded, what stands in them, and what never gets into them."""

import json
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from fastapi.testclient import TestClient
from markdown_it import MarkdownIt

from rules.assessment import Gap, RuleFailure, Superseded
from service.app import create_app
from service.cds_hooks.cards import Circumstances
from service.cds_hooks.client_profile import CardStyle
from service.cds_hooks.contexts import read_hook_call
from service.cds_hooks.prefetch import supply_of
from service.cds_hooks.wording import escaped, short_summary
from service.conformance.responses import check_response
from service.gaps import GapNotice
from service.review import Case, review
from service.settings import Settings

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CASES = sorted((ROOT / "tests" / "acceptance" / "cases").glob("V*.json"))


@pytest.fixture(scope="module")
def parts():
    return create_app(Settings(dev=True, engine="compiled"), clock=lambda: NOON).state.parts


@pytest.fixture(scope="module")
def done(parts):
    call = read_hook_call(
        json.loads((ROOT / "examples" / "01-warfarin-new-mk7-coded.json").read_text())
    )
    supply = supply_of(call)
    case = Case(resources=supply.resources, patient_id=call.patient_id, unread=supply.unread)
    return review(case, NOON, parts.engine)


def where(parts, **changed):
    usual = {
        "style": CardStyle(),
        "name_card": parts.card_names("t", "p", "h", "s"),
        "modes": dict.fromkeys(parts.engine.rulebook.cards, "live"),
        "propose": lambda _: [
            {"type": "create", "description": "d", "resource": {"resourceType": "Task"}}
        ],
    }
    return Circumstances(**(usual | changed))


def with_indicators(done, *indicators):
    """The same review with as many recommendations, each of its own subject."""
    one = done.assessment.recommendations[0]
    many = tuple(
        msgspec.structs.replace(
            one, indicator=indicator, about=f"subject-{place}", title=f"Title {place}"
        )
        for place, indicator in enumerate(indicators)
    )
    assessment = msgspec.structs.replace(done.assessment, recommendations=many)
    return msgspec.structs.replace(done, assessment=assessment)


class TestFolding:
    def test_three_are_shown(self, parts, done):
        cards = parts.cards.write(with_indicators(done, "warning", "info", "info"), where(parts))
        assert [card.kind for card in cards] == ["recommendation"] * 3

    def test_the_rest_is_named_in_a_fourth(self, parts, done):
        cards = parts.cards.write(
            with_indicators(done, "warning", "info", "info", "info", "info"), where(parts)
        )
        assert [card.kind for card in cards] == ["recommendation"] * 3 + ["folded"]
        assert "Title 3; Title 4" in cards[-1].body["summary"]
        assert cards[-1].body["detail"].count("vka-mk7-new") == 1  # equal lines are said once
        assert len(cards[-1].subjects) == 2

    def test_critical_ones_are_never_folded(self, parts, done):
        cards = parts.cards.write(with_indicators(done, *["critical"] * 5, "warning"), where(parts))
        assert [card.indicator for card in cards] == ["critical"] * 5 + ["warning"]
        assert [card.kind for card in cards].count("folded") == 1

    @pytest.mark.requirement("C47")
    def test_the_most_urgent_stands_first_and_each_names_its_drug(self, parts, done):
        cards = parts.cards.write(
            with_indicators(done, "warning", "critical", "info"), where(parts)
        )
        assert [card.indicator for card in cards] == ["critical", "warning", "info"]
        for card in cards:
            assert "vitamin K2" in card.body["summary"]

    def test_a_folded_card_is_as_urgent_as_what_it_names(self, parts, done):
        cards = parts.cards.write(with_indicators(done, *["warning"] * 4), where(parts))
        assert cards[-1].body["indicator"] == "warning"


class TestModes:
    @pytest.mark.parametrize("mode", ["off", "shadow", "review"])
    def test_only_live_rules_become_cards(self, parts, done, mode):
        assert parts.cards.write(done, where(parts, modes={"vka-mk7-new": mode})) == []

    def test_a_rule_in_trial_never_silences_a_live_one_unsaid(self, parts, done):
        assessment = msgspec.structs.replace(
            done.assessment,
            superseded=(Superseded(rule="vka-natto", by="vka-mk7-new", about=""),),
        )
        changed = msgspec.structs.replace(done, assessment=assessment)
        modes = {"vka-natto": "live", "vka-mk7-new": "shadow"}
        (card,) = parts.cards.write(changed, where(parts, modes=modes))
        assert card.kind == "failure"
        assert "vka-natto" in card.body["detail"]

    def test_a_draft_speaks_only_where_drafts_are_accepted(self, parts):
        profile = parts._developer.profile
        refusing = profile.model_copy(
            update={
                "id": "other",
                "rules": profile.rules.model_copy(update={"accept_draft": False}),
            }
        )
        assert set(parts.modes(refusing).values()) == {"shadow"}
        assert set(parts.modes(profile).values()) == {"live"}


def test_a_broken_rule_is_a_card_of_its_own(parts, done):
    assessment = msgspec.structs.replace(
        done.assessment, failures=(RuleFailure(rule="vka-natto", version="1", error="KeyError"),)
    )
    cards = parts.cards.write(msgspec.structs.replace(done, assessment=assessment), where(parts))
    assert cards[-1].kind == "failure"
    assert "vka-natto" in cards[-1].body["summary"]
    assert "KeyError" not in json.dumps(cards[-1].body)


@pytest.mark.requirement("C40", "C41", "C42", "C44")
def test_cards_that_belong_to_no_rule_conform_too(parts, done):
    """The rest folded, data that could not be read, a broken rule, and what came too late."""
    many = with_indicators(done, *["warning"] * 5)
    failure = RuleFailure(rule="vka-natto", version="1", error="KeyError")
    unread = Gap(source="labs-inr", code="not-read", says="INR results could not be had.")
    several = msgspec.structs.replace(
        many,
        assessment=msgspec.structs.replace(many.assessment, failures=(failure,)),
        notices=(GapNotice(gap=unread, summary="INR unread, " * 20, detail=unread.says),),
    )
    cards = parts.cards.write(several, where(parts))
    cards.append(parts.cards.late(["labs-inr"], where(parts).name_card))
    kinds = [card.kind for card in cards]
    assert kinds == ["recommendation"] * 3 + ["folded", "gap", "failure", "failure"]
    assert check_response({"cards": [card.body for card in cards]}) == ()
    assert [card.body["indicator"] for card in cards] == ["warning"] * 4 + ["info"] * 3


class TestStyle:
    def test_one_action_per_suggestion(self, parts, done):
        two = [
            {"type": "create", "description": "first", "resource": {}},
            {"type": "create", "description": "second", "resource": {}},
        ]
        two[0]["resource"] = {"resourceType": "ServiceRequest", "code": {"text": "Calcium"}}
        style = CardStyle(one_action_per_suggestion=True)
        (card,) = parts.cards.write(done, where(parts, style=style, propose=lambda _: two))
        suggestions = card.body["suggestions"]
        assert {len(one["actions"]) for one in suggestions} == {1}
        labels = [one["label"] for one in suggestions]
        assert labels[0].endswith("(Calcium)")
        assert labels[1].endswith("(2 of 2)")
        assert len(set(labels)) == len(labels)
        assert len({one["uuid"] for one in suggestions}) == len(suggestions)
        assert "by hand" not in card.body["detail"]

    @pytest.mark.requirement("C49")
    @pytest.mark.parametrize(
        "verbs", [("delete", "create"), ("create", "delete"), ("update", "update")]
    )
    def test_half_of_a_replacement_can_never_be_taken(self, parts, done, verbs):
        pair = [{"type": verb, "description": "Swap [it]"} for verb in verbs]
        (whole,) = parts.cards.write(done, where(parts, propose=lambda _: pair))
        assert {len(one["actions"]) for one in whole.body["suggestions"]} == {2}
        style = CardStyle(one_action_per_suggestion=True)
        (card,) = parts.cards.write(done, where(parts, style=style, propose=lambda _: pair))
        assert not {"suggestions", "selectionBehavior"} & set(card.body)
        told = card.body["detail"].partition("**Possible here by hand only**")[2]
        for proposal in done.assessment.recommendations[0].suggestions:
            assert escaped(proposal.description) in told.partition("**Numbers used**")[0]

    @pytest.mark.requirement("C46")
    def test_without_suggestions_there_is_no_selection_behavior(self, parts, done):
        (card,) = parts.cards.write(done, where(parts, style=CardStyle(suggestions=False)))
        assert not {"suggestions", "selectionBehavior"} & set(card.body)

    @pytest.mark.requirement("C44")
    def test_topic_is_the_same_for_every_call(self, parts, done):
        (card,) = parts.cards.write(done, where(parts))
        assert card.body["source"]["topic"]["code"] == "VKAMK7NEW"
        (card,) = parts.cards.write(done, where(parts, style=CardStyle(topic_code="rule-id")))
        assert card.body["source"]["topic"]["code"] == "vka-mk7-new"

    @pytest.mark.requirement("C54")
    def test_links_only_to_listed_places(self, parts, done):
        (card,) = parts.cards.write(done, where(parts))
        assert "links" not in card.body
        style = CardStyle(links=("https://doi.org",))
        (card,) = parts.cards.write(done, where(parts, style=style))
        cited = [one for one in done.assessment.recommendations[0].citations if one.url]
        assert {one.url.startswith("https://doi.org/") for one in cited} == {True}
        assert card.body["links"] == [
            {"label": one.label, "url": one.url, "type": "absolute"} for one in cited
        ]
        assert [one for one in check_response({"cards": [card.body]}) if "link" in one.check] == []


class TestIdentity:
    def test_the_same_problem_in_the_same_event_keeps_its_uuid(self, parts):
        first = parts.card_names("t", "p", "h", "s")("rule", "about")
        assert parts.card_names("t", "p", "h", "s")("rule", "about") == first
        others = {
            parts.card_names("u", "p", "h", "s")("rule", "about"),
            parts.card_names("t", "q", "h", "s")("rule", "about"),
            parts.card_names("t", "p", "i", "s")("rule", "about"),
            parts.card_names("t", "p", "h", "r")("rule", "about"),
            parts.card_names("t", "p", "h", "s")("other", "about"),
            parts.card_names("t", "p", "h", "s")("rule", "other"),
        }
        assert first not in others
        assert len(others) == 6


class TestDetail:
    def test_shows_data_numbers_sources_limits_and_the_disclaimer(self, parts, done):
        (card,) = parts.cards.write(done, where(parts))
        detail = card.body["detail"]
        for heading in (
            "Patient data used",
            "Why now",
            "Options",
            "Numbers used",
            "Evidence and limits",
        ):
            assert f"**{heading}**" in detail
        assert "`MedicationStatement/st-1`" in detail
        assert "100 mcg a day" in detail
        assert "since 2026-11-15" in detail
        assert "https://doi.org/" in detail
        assert "not yet reviewed by a clinician" in detail
        assert "Does not replace clinical judgement" in detail

    @pytest.mark.requirement("C43")
    @pytest.mark.parametrize(
        "text",
        [
            "<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "[click](https://evil.example)",
            "![x](https://evil.example/x.png)", "https://evil.example", "www.evil.example", "`code` | table |",
            "# heading", "- item", "1. item", "**bold** _em_ ~~gone~~", "line\nbreak\r\n\r\nparagraph",
            "&lt;b&gt; &amp;", "<https://evil.example>", "\\<b>", "+ item", "> quote", "=====\n-----",
            "-", "+", "1.", "2)", "--", "---", "- - -", "    code", "\t- item", "5.5 mg", "-5 mg",
        ],
    )  # fmt: skip
    def test_foreign_text_shows_as_it_is_written(self, text):
        reader = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable(
            ["table", "strikethrough"]
        )
        words = {"paragraph_open", "inline", "paragraph_close", "text", "text_special"}
        # In a line of its own, and in that of a list
        for item in ([], ["bullet_list_open", "list_item_open"]):
            tokens = reader.parse("- " * bool(item) + escaped(text))
            inline = [child for token in tokens for child in token.children or []]
            kinds = [token.type for token in (*tokens, *inline)]
            assert [one for one in kinds if one.endswith("_open")] == [*item, "paragraph_open"]
            assert {one for one in kinds if "list" not in one} <= words
            assert "".join(child.content for child in inline).split() == text.split()

    @pytest.mark.requirement("C43")
    def test_foreign_text_of_a_record_is_escaped_on_the_way(self, parts):
        """In a recommendation, in a card about data that could not be read, and as the name of a record."""
        hostile = "<img src=x onerror=alert(1)> [x](https://evil.example) | **b** www.evil.example"
        request = json.loads((ROOT / "examples" / "01-warfarin-new-mk7-coded.json").read_text())
        warfarin = request["prefetch"]["medicationRequests"]["entry"][0]["resource"]
        warfarin["medicationCodeableConcept"] = {"text": f"Warfarin {hostile} 5 mg tablet"}
        warfarin["id"] = "`<b>x"
        statements = request["prefetch"]["medicationStatements"]["entry"]
        unread = {"resourceType": "MedicationStatement", "id": hostile, "status": "active"}
        unread["subject"] = statements[0]["resource"]["subject"]
        unread["medicationCodeableConcept"] = {"text": "bone complex from the market"}
        statements.append({"resource": unread})
        request["prefetch"]["medicationStatements"].pop("total", None)
        with TestClient(
            create_app(Settings(dev=True, engine="compiled"), clock=lambda: NOON),
            base_url="http://localhost",
        ) as client:
            answer = client.post("/cds-services/vitamin-dk-patient-view", json=request).json()
        kinds = [card["source"]["topic"]["code"] for card in answer["cards"]]
        assert kinds == ["VKAMK7NEW", "DKNOTREAD"]
        reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
        for card in answer["cards"]:
            tokens = reader.parse(card["detail"])
            inline = [child for token in tokens for child in token.children or []]
            shown = "".join(child.content for child in inline)
            assert hostile in shown
            assert not [one for one in (*tokens, *inline) if one.type.startswith(("html", "table"))]
            links = [one.attrs["href"] for one in inline if one.type == "link_open"]
            assert [one for one in links if not one.startswith("https://doi.org/")] == []
        # An id stands between backticks, without what would end them
        assert "`MedicationRequest/bx`" in answer["cards"][0]["detail"]


class TestSummary:
    @pytest.mark.requirement("C40")
    def test_139_units_stay_and_140_are_shortened(self):
        assert short_summary("x" * 139) == "x" * 139
        for text in ("x" * 140, "words " * 23 + "or", "\N{PILL}" * 70):  # 140 units each
            short = short_summary(text)
            assert len(short.encode("utf-16-le")) // 2 < 140
            assert short.endswith("…")

    @pytest.mark.requirement("C40")
    def test_is_never_cut_between_a_number_and_its_unit(self):
        for padding in range(100, 140):
            text = "a" * padding + " take 5,000 international units a day for 8 weeks, or ask"
            short = short_summary(text)
            assert len(short) < 140
            assert not short.rstrip("…").rstrip()[-1].isdigit()

    def test_counts_utf16_units_and_removes_line_breaks(self):
        short = short_summary("\U0001f600 " * 60)
        assert len(short.encode("utf-16-le")) // 2 < 140
        assert short_summary("a\nb\r\nc") == "a b c"


@pytest.mark.requirement("C39", "C40", "C41", "C42", "C43", "C44", "C46", "C48", "C50")
@pytest.mark.parametrize("file", CASES, ids=lambda path: path.stem)
def test_every_answer_conforms(file):
    case = json.loads(file.read_text(encoding="utf-8"))
    settings = Settings(
        dev=True, engine="compiled", profile=case["profile"], verbosity=case["verbosity"]
    )
    application = create_app(settings, clock=lambda: datetime.fromisoformat(case["as_of"]))
    with TestClient(application, base_url="http://localhost") as client:
        answer = client.post(
            f"/cds-services/vitamin-dk-{case['request']['hook']}", json=case["request"]
        )
    assert answer.status_code == 200
    drafts = case["request"]["context"].get("draftOrders", {}).get("entry", [])
    references = {f"{one['resource']['resourceType']}/{one['resource']['id']}" for one in drafts}
    found = check_response(answer.json(), draft_orders=references)
    # Da Vinci CRD wants a deletion to create something in its place; leaving a product out is an option here
    assert not [one for one in found if one.check != "action-delete-alone"]
    for card in answer.json()["cards"]:
        # What the record itself says stands between these marks; everything else is ours
        ours = re.sub("“[^”]*”", "", card["summary"] + card["detail"])
        assert not re.search(r"\b(IU|ug)\b|[µμ]g", ours)
        # Without a uuid of its own nobody could say which suggestion was taken
        names = [card["uuid"], *(one["uuid"] for one in card.get("suggestions", ()))]
        assert len({uuid.UUID(name) for name in names}) == len(names)
        for one in card.get("suggestions", ()):
            for action in one["actions"]:
                assert ("resourceId" in action) == (action["type"] == "delete")
                assert ("resource" in action) == (action["type"] != "delete")


def signed(request, drafts):
    """The same patient's order-sign call with these drafts."""
    context = {key: value for key, value in request["context"].items() if key != "selections"}
    entries = [{"resource": draft} for draft in drafts]
    return {
        **request,
        "hook": "order-sign",
        "context": context
        | {"draftOrders": {"resourceType": "Bundle", "type": "collection", "entry": entries}},
    }


def after(drafts, actions):
    """The drafts once somebody has taken a suggestion."""
    kept = {f"{one['resourceType']}/{one['id']}": one for one in drafts}
    for place, action in enumerate(actions):
        if action["type"] == "delete":
            kept.pop(action["resourceId"])
            continue
        resource = dict(action["resource"])
        resource.setdefault("id", f"taken-{place}")
        kept[f"{resource['resourceType']}/{resource['id']}"] = resource
    return list(kept.values())


@pytest.mark.parametrize("file", CASES, ids=lambda path: path.stem)
def test_a_suggestion_that_was_taken_raises_no_new_objection(file):
    case = json.loads(file.read_text(encoding="utf-8"))
    request = case["request"]
    settings = Settings(
        dev=True, engine="compiled", profile=case["profile"], verbosity=case["verbosity"]
    )
    application = create_app(settings, clock=lambda: datetime.fromisoformat(case["as_of"]))
    drafts = [one["resource"] for one in request["context"].get("draftOrders", {}).get("entry", [])]

    def objections(body):
        answer = client.post(f"/cds-services/vitamin-dk-{body['hook']}", json=body)
        report = answer.json()["extension"]["org.dekacard.review"]
        return {
            one["rule"] for one in report.get("rules", []) if one["indicator"] != "info"
        }, answer.json()

    with TestClient(application, base_url="http://localhost") as client:
        before, answer = objections(request)
        before |= objections(signed(request, drafts))[0]
        for card in answer["cards"]:
            for suggestion in card.get("suggestions", []):
                taken = after(drafts, suggestion["actions"])
                new = objections(signed(request, taken))[0] - before
                assert not new, (card["source"]["topic"]["code"], suggestion["label"])
