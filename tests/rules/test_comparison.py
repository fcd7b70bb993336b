"""What a hospital's pack changes is said in words; what it changes without saying so is a failure."""

import shutil
from pathlib import Path

import pytest

from rules.comparison import further_packs, play_all, tell_difference, without_further
from rules.rulebook import load_rulebook

ROOT = Path(__file__).parents[2]
PACK = ROOT / "examples" / "st_elsewhere" / "st_elsewhere_pack"
OURS = [pack.head.id for pack in load_rulebook().packs]

UNDECLARED = '''"""Calls every intake unknown, and tells nobody."""

from rules.authoring import derivation


@derivation(gives=["vitamin-d-start-blocked"])
def nobody_may_start(e):
    yield e.finding("vitamin-d-start-blocked")
'''


@pytest.fixture(scope="module")
def together():
    return load_rulebook([*OURS, "st-elsewhere"], [PACK])


def test_each_change_is_one_sentence_with_reason_and_approver(together):
    told = "\n".join(tell_difference(together))
    assert (
        "st-elsewhere changes thiazide.vitamin-d-above (Daily vitamin D above which a thiazide asks for a calcium): "
        "from 4,000 international units a day to 2,000 international units a day on 2026-10-14. Reason: Many of our patients"
    ) in told
    assert "Approved by Drugs and therapeutics committee of St Elsewhere" in told
    assert "st-elsewhere adds the rule ste-warfarin-strong-vitamin-d (info)" in told
    assert "st-elsewhere retires dk-k2-form (MK-4 and MK-7). Reason: The nutrition team" in told
    assert (
        "adds the code VITD25 of https://lab.st-elsewhere.example/codes: read as 25(OH)D." in told
    )
    assert "st-elsewhere adds the number ste.warfarin.loading-from" in told


def test_our_own_packs_differ_from_nothing():
    book = load_rulebook()
    assert list(tell_difference(book)) == []
    assert further_packs(book) == ()


def test_without_the_hospital_our_number_and_our_rule_are_back(together):
    ours = without_further(together)
    assert "dk-k2-form" in ours.rules
    assert ours.parameters == load_rulebook().parameters


@pytest.mark.parametrize("matcher", ["compiled", "durable"])
def test_stories_that_the_pack_changes_on_purpose_are_listed_not_hidden(together, matcher):
    played = play_all(together, matcher)
    assert played.failures == ()
    changed = {(one.title, why) for one, why in played.changed}
    assert changed == {
        ("4,000 units a day", "thiazide.vitamin-d-above is another number"),
        ("MK-4 of 100 mcg a day", "dk-k2-form is retired"),
        ("MK-4 of 1,000 mcg a day", "dk-k2-form is retired"),
    }
    assert played.stories > 500


def test_a_difference_that_the_pack_does_not_declare_is_a_failure(tmp_path):
    folder = tmp_path / "st_elsewhere_pack"
    shutil.copytree(PACK, folder)
    (folder / "silence.py").write_text(UNDECLARED, encoding="utf-8")
    played = play_all(load_rulebook([*OURS, "st-elsewhere"], [folder]), "compiled")
    assert any("vitd-deficiency-treat" in str(one) for one in played.failures)
    assert all("vitd-deficiency-treat" not in str(one) for one, _ in played.changed)
