"""Claims: each sentence of the source text has a certainty, sources, and rules that represent it; none is orphaned."""

import re

import pytest

from rules.claims import Claim, orphans, read_claims, unclaimed
from rules.errors import KnowledgeError
from rules.rulebook import load_rulebook

RULEBOOK = load_rulebook()
CLAIMS = read_claims(RULEBOOK)
ABOUT_DATA = {"dq-lab-unusable", "dq-supplement-dose-unknown"}


def test_all_25_sentences_are_represented():
    assert sorted(CLAIMS) == [f"S{number:02}" for number in range(1, 26)]


def test_no_claim_is_orphaned():
    assert orphans(RULEBOOK, CLAIMS) == ()


def test_a_claim_whose_rules_are_all_retired_is_found():
    lost = CLAIMS["S12"].model_copy(update={"rules": ("retired-long-ago",)})
    assert orphans(RULEBOOK, {"S12": lost}) == ("S12",)


def test_every_clinical_rule_stands_for_a_claim():
    assert set(unclaimed(RULEBOOK, CLAIMS.values())) == ABOUT_DATA


@pytest.mark.parametrize("field", ["rules", "sources"])
def test_a_claim_that_names_what_is_not_there_is_refused(monkeypatch, field):
    broken = {"S01": CLAIMS["S01"].model_dump() | {field: ("no-such-thing",)}}
    monkeypatch.setattr(RULEBOOK, "claims", broken)
    with pytest.raises(KnowledgeError, match="no-such-thing"):
        read_claims(RULEBOOK)


def test_an_incomplete_claim_is_refused(monkeypatch):
    entry = CLAIMS["S01"].model_dump()
    del entry["certainty"]
    monkeypatch.setattr(RULEBOOK, "claims", {"S01": entry})
    with pytest.raises(KnowledgeError, match="certainty"):
        read_claims(RULEBOOK)


def test_claims_are_written_for_people():
    for name, claim in CLAIMS.items():
        words = " ".join((claim.says, claim.certainty, *claim.triples))
        assert not re.search(r"\bIU\b|\bug\b|µ|μ", words), name


def test_a_claim_about_missing_proof_never_feeds_a_warning():
    """Sentences 12, 13, 21 and 24 are theory: only teaching cards and information may say them."""
    for name in ("S12", "S21", "S24"):
        for rule in CLAIMS[name].rules:
            assert {line.is_ for line in RULEBOOK.cards[rule].indicator} == {"info"}, (name, rule)


TEACHING = sorted(name for name, card in RULEBOOK.cards.items() if card.education)


def test_the_teaching_cards_are_known():
    assert TEACHING == [
        "dk-diet-sources", "dk-high-d-without-k2", "dk-k2-form", "dk-pairing-common-range", "doac-vitamin-k-no-interaction",
    ]  # fmt: skip


@pytest.mark.parametrize("name", TEACHING)
def test_teaching_says_that_causal_evidence_is_lacking_and_never_advises_to_start_k2(name):
    card = RULEBOOK.cards[name]
    assert "causal evidence" in card.limits.casefold()
    everything = " ".join((card.summary, card.why, *card.options)).casefold()
    assert not re.search(
        r"(start|add|take|begin|consider)\w* (vitamin )?k2|k2 supplement(s)? (is|are) (advised|recommended)",
        everything,
    )
    actions = [RULEBOOK.actions[choice.action] for choice in card.suggests]
    assert all(action.kind == "link" for action in actions)


def test_a_claim_is_a_value():
    assert Claim.model_validate(CLAIMS["S01"].model_dump()) == CLAIMS["S01"]
