"""What a hospital's pack changes is said in words; what it changes without saying so is a failure."""

import shutil
from pathlib import Path

import pytest

from rules.comparison import further_packs, play_all, tell_difference, without_further
from rules.errors import KnowledgeError
from rules.rulebook import load_rulebook

ROOT = Path(__file__).parents[2]
PACK = ROOT / "examples" / "st_elsewhere" / "st_elsewhere_pack"
OURS = [pack.head.id for pack in load_rulebook().packs]

UNDECLARED = '''"""Finds something of everybody, and tells nobody."""

from rules.authoring import derivation


@derivation(gives=["FINDING"])
def of_everybody(e):
    yield e.finding("FINDING", reason="house")
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


@pytest.mark.parametrize(
    ("finding", "rule"),
    [
        ("vitamin-d-start-blocked", "vitd-deficiency-treat"),
        # Other rules gave way in these stories, and what they gave way to is as it was
        ("high-thrombotic-risk", "vka-subtherapeutic-inr-with-k was expected as warning, but spoke as critical"),
    ],
)  # fmt: skip
def test_a_difference_that_the_pack_does_not_declare_is_a_failure(tmp_path, finding, rule):
    folder = tmp_path / "st_elsewhere_pack"
    shutil.copytree(PACK, folder)
    undeclared = UNDECLARED.replace("FINDING", finding)
    (folder / "silence.py").write_text(undeclared, encoding="utf-8")
    played = play_all(load_rulebook([*OURS, "st-elsewhere"], [folder]), "compiled")
    told = [str(one) for one in played.failures if rule in str(one)]
    assert told
    assert all("broke" not in one for one in told), "the derivation must work to be undeclared"
    assert all(rule not in str(one) for one, _ in played.changed)


def changed_copy(tmp_path, **files):
    """The hospital's pack with pieces of its files replaced: ``file_yaml=(old, new)``."""
    folder = tmp_path / "st_elsewhere_pack"
    shutil.copytree(PACK, folder)
    for name, (old, new) in files.items():
        file = folder / name.replace("_", ".")
        assert old in file.read_text(encoding="utf-8")
        file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    return load_rulebook([*OURS, "st-elsewhere"], [folder])


def retiring(tmp_path, name):
    line = '"dk-k2-form" ='
    return changed_copy(tmp_path, pack_toml=(line, f'"{name}" = "Ours."\n{line}'))


def test_a_rule_that_gave_way_to_a_retired_one_speaks_and_says_why(tmp_path):
    played = play_all(retiring(tmp_path, "vitd-level-toxic"), "compiled")
    assert played.failures == ()
    why = {reason for _, reason in played.changed}
    assert any(
        "vitd-level-toxic, which it gave way to, is retired" in one.split("; ") for one in why
    )
    assert any(one.split("; ")[0] == "vitd-level-toxic is retired" for one in why)


def test_a_story_with_an_answer_to_a_retired_rule_is_changed_and_stops_nothing(tmp_path):
    """The story tells how an alert was answered; under the hospital's pack there is no alert to answer."""
    played = play_all(retiring(tmp_path, "vitd-deficiency-treat"), "compiled")
    answered = {
        one.title: (str(one), why)
        for one, why in played.changed
        if "Answered yesterday" in one.title
    }
    said, why = answered["Answered yesterday, and nothing has changed since"]
    assert "does not speak in this story" in said
    assert why.split("; ")[0] == "vitd-deficiency-treat is retired"


def test_a_rule_that_speaks_in_complete_stories_of_ours_is_told_as_added(tmp_path):
    conditions = """    c.vka << finding("current-vka"),
    c.capsule << finding("ste-strong-capsule"),
"""
    any_vitamin_d = """    c.vka << finding("age-group"),
    c.capsule << finding("vitamin-d-source"),
"""
    book = changed_copy(tmp_path, rules_py=(conditions, any_vitamin_d))
    played = play_all(book, "compiled")
    assert "ste-warfarin-strong-vitamin-d is added" in {why for _, why in played.changed}


def test_a_story_that_fails_without_the_hospital_too_is_a_failure(tmp_path):
    """Without the data-quality pack some stories of ours miss a rule; the hospital's pack does not explain that."""
    names = [name for name in OURS if name != "data-quality"]
    alone = play_all(load_rulebook(names), "compiled")
    retiring(tmp_path, "vitd-hypercalcaemia")  # one of those stories tells of it too
    pack = tmp_path / "st_elsewhere_pack"
    with_pack = play_all(load_rulebook([*names, "st-elsewhere"], [pack]), "compiled")
    places = {one.where for one in alone.failures}
    assert any("vitd-hypercalcaemia.yaml" in one for one in places)
    assert places <= {one.where for one in with_pack.failures}
    assert places.isdisjoint(one.where for one, _ in with_pack.changed)


def test_names_that_a_pack_reads_records_by_are_counted(tmp_path):
    book = changed_copy(tmp_path)
    codes = next(pack for pack in book.packs if pack.head.id == "st-elsewhere").codes
    (codes / "names.yaml").write_text(
        "names: [{is: vitamin-d3, words: [elsewherol], finds: [elsewherol]}]\n", encoding="utf-8"
    )
    assert "st-elsewhere adds 1 of the names that records are read by." in tell_difference(book)


def test_a_pack_without_codes_of_its_own_adds_none(tmp_path):
    copy = tmp_path / "st_elsewhere_pack"
    shutil.copytree(PACK, copy)
    shutil.rmtree(copy / "codes")
    told = list(tell_difference(load_rulebook([*OURS, "st-elsewhere"], [copy])))
    assert any("adds the rule ste-warfarin-strong-vitamin-d" in one for one in told)
    assert not any("adds the code" in one for one in told)


def test_a_story_of_the_hospital_that_cannot_go_on_stops_the_check(tmp_path):
    """It is theirs to mend: nothing they declare can explain it."""
    book = changed_copy(tmp_path)
    file = next(iter((tmp_path / "st_elsewhere_pack" / "vignettes").glob("*.yaml")))
    story = "- vignette: x\n  today: 2026-11-22\n  history: [vka-natto shown today]\n  expect: nothing\n"
    file.write_text(story, encoding="utf-8")
    with pytest.raises(KnowledgeError, match="vka-natto does not speak in this story"):
        play_all(book, "compiled")
