"""Stories end as told, by both matchers; and a story that is told wrong is found out, in words."""

import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from rules.engine import Engine
from rules.errors import KnowledgeError
from rules.rulebook import BUNDLED, load_rulebook
from rules.stories import read_stories
from rules.story_words import Unreadable, day_of, interval_of
from rules.vignettes import play, play_story, read_expectation, stories_of, vignette_files

FILES = vignette_files(BUNDLED)
TODAY = date(2026, 11, 22)


@pytest.fixture(scope="module")
def rulebook():
    return load_rulebook()


@pytest.fixture(scope="module", params=["durable", "compiled"])
def engine(request, rulebook):
    made = Engine(rulebook, matcher=request.param)
    yield made
    made.close()


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.parent.name}/{file.stem}")
def test_every_story_ends_as_told(engine, rulebook, file):
    told = [
        failure for story in stories_of(rulebook, file) if (failure := play_story(engine, story))
    ]
    assert not told, "\n".join(map(str, told))


STORY = """
- vignette: A man on warfarin began MK-7
  today: 2026-11-22
  patient: 66-year-old man
  takes: [warfarin since 2 years ago, vitamin-k2-mk7 90 ug/d since 5 days ago]
"""


def _play(tmp_path: Path, rulebook, text: str) -> str:
    file = tmp_path / "story.yaml"
    file.write_text(text, encoding="utf-8")
    return "\n".join(map(str, play(rulebook, file, "compiled")))


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        (
            "nothing",
            'vka-mk7-new spoke (warning, about vitamin-k2-mk7), but was not expected: "New vitamin K2',
        ),
        ('["vka-mk7-new, info"]', "vka-mk7-new was expected as info, but spoke as warning."),
        (
            '["vka-mk7-new, warning", "vka-natto, warning"]',
            "vka-natto was expected (warning), but stayed silent.",
        ),
        (
            '["vka-mk7-new, warning, about vitamin-k1"]',
            "vka-mk7-new was expected (warning), but stayed silent.",
        ),
        (
            '["vka-mk7-new, warning; suggests delete-draft"]',
            "vka-mk7-new should suggest delete-draft; it suggests ",
        ),
        (
            '["vka-mk7-new, warning; suggests not order-inr"]',
            "vka-mk7-new should not suggest order-inr, but does.",
        ),
        (
            '["vka-mk7-new, warning; because of natto-eaten"]',
            "vka-mk7-new should rest on natto-eaten; it rests on ",
        ),
        ("['vka-mk7-new, warning; says \"sky\"']", "vka-mk7-new should say 'sky'"),
    ],
)
def test_a_story_told_wrong_is_found_out_in_words(tmp_path, rulebook, expect, said):
    told = _play(tmp_path, rulebook, f"{STORY}  expect: {expect}\n")
    assert said in told
    assert "story.yaml:2: A man on warfarin began MK-7" in told


def test_a_story_told_right_has_no_difference(tmp_path, rulebook):
    assert _play(tmp_path, rulebook, f'{STORY}  expect: ["vka-mk7-new, warning"]\n') == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('finds: ["relevant-vitamin-k about vitamin-k2-mk7: daily 91"]', "does not hold ({"),
        ('finds: ["no relevant-vitamin-k"]', "does not hold ({"),
        ('finds: ["natto-eaten"]', "not found at all"),
        ('superseded: ["vka-natto by vka-mk7-new"]', "should have given way to vka-mk7-new"),
    ],
)
def test_findings_and_supersession_are_checked_too(tmp_path, rulebook, line, said):
    text = f'{STORY}  {line}\n  expect: ["vka-mk7-new, warning"]\n'
    assert said in _play(tmp_path, rulebook, text)


def test_findings_that_hold_are_no_difference(tmp_path, rulebook):
    finds = 'finds: ["relevant-vitamin-k about vitamin-k2-mk7: daily 90, proposed no", "no natto-eaten"]'
    assert (
        _play(tmp_path, rulebook, f'{STORY}  {finds}\n  expect: ["vka-mk7-new, warning"]\n') == ""
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("takes: [warfrin]", "no ingredient is called 'warfrin'"),
        ("takes: [Warfarin]", "'Warfarin' is not understood"),
        ("takes: [warfarin 5 spoons/d]", "unknown unit 'spoons'"),
        ("takes: [warfarin 5 mg now and then]", "'now and then' does not say how often"),
        ("takes: [warfarin status lost]", "unknown status 'lost'"),
        ("takes: [vitamin-d3 25 ug/d]", "write vitamin-d3 in [IU], not in ug"),
        ("labs: [inr high]", "is no result"),
        ("goals: [inr 2.5]", "is no goal"),
        ("patient: somebody", "is not of the form"),
        ("history: [vka-mk7-new forgotten today]", "is not understood in 'history'"),
        ("history: [vka-natto shown today]", "vka-natto does not speak in this story"),
        ("lab: [inr 2.4 on 2026-11-01]", "unknown key 'lab'"),
        ('expect: ["vka-mk7-new warning"]', "should read like 'vka-mk7-new, warning'"),
        ('expect: ["vka-mk7-new, warning; hopes for x"]', "is not understood in 'expect'"),
    ],
)
def test_a_line_outside_the_grammar_is_refused_with_its_place(tmp_path, rulebook, line, said):
    key = line.partition(":")[0]
    kept = [one for one in STORY.splitlines() if not one.startswith(f"  {key}:")]
    text = "\n".join([*kept, f"  {line}", *(["  expect: nothing"] if key != "expect" else [])])
    with pytest.raises(KnowledgeError, match=r"story\.yaml:2: ") as refused:
        _play(tmp_path, rulebook, text + "\n")
    assert said in str(refused.value)


def test_a_story_reads_into_the_facts_it_tells(tmp_path, rulebook):
    file = tmp_path / "story.yaml"
    file.write_text(
        """- vignette: v
  today: 2026-11-22
  patient: 4-month-old girl
  hook: order-sign
  takes:
    - draft vitamin-d3 50000 IU every 14 days + vitamin-k2-mk7 0.1 mg/d
    - calcitriol 0.25 ug/d since at least 2025-11-22 as needed not coded
    - warfarin since 2 years ago until yesterday status on-hold
  labs: [25ohd d3 < 30 nmol/L 20 days ago by north, inr 2.4 on 2026-11-01 at 08:30 preliminary, calcium 9.9 mg/dL 3 days ago upper limit 10.3]
  has: [ckd stage 3 since 2020-01-01, nephrolithiasis resolved 2024-01-01]
  orders: [draft 25ohd, inr authored 3 days ago due in 5 days]
  unread: [labs-kidney]
  expect: nothing
""",
        encoding="utf-8",
    )
    facts = read_stories(file, rulebook.vocabulary)[0].facts
    d3, mk7, calcitriol, warfarin = facts.uses
    assert (facts.patient.age_years, facts.patient.birth_date) == (0, date(2026, 7, 22))
    assert (d3.taking, d3.amount, d3.interval_days, d3.daily, d3.record) == (
        "draft",
        50000,
        14,
        3571.428571,
        mk7.record,
    )
    assert (mk7.amount, mk7.unit, mk7.single_ingredient) == (100, "ug", False)
    assert (
        calcitriol.start,
        calcitriol.start_is_bound,
        calcitriol.as_needed,
        calcitriol.coded,
    ) == (date(2025, 11, 22), True, True, False)
    assert (warfarin.taking, warfarin.dose_known, warfarin.end) == (
        "uncertain",
        False,
        date(2026, 11, 21),
    )
    vitamin_d, inr, calcium = facts.labs
    assert (vitamin_d.group, vitamin_d.comparator, vitamin_d.unit, vitamin_d.performer) == (
        "d3",
        "<",
        "nmol/L",
        "north",
    )
    assert (inr.status, inr.instant.hour, inr.unit) == ("preliminary", 8, "")
    assert (calcium.value, calcium.reference_high, calcium.taken) == (9.9, 10.3, date(2026, 11, 19))
    assert (facts.conditions[0].stage, facts.conditions[1].clinical_status) == (3, "resolved")
    assert [(order.state, order.due) for order in facts.orders] == [
        ("draft", None),
        ("pending", date(2026, 11, 27)),
    ]
    assert facts.context.moment == "order"
    assert set(facts.context.unread) == {"labs-kidney"}


def test_days_and_intervals_read_as_people_say_them():
    assert [day_of(said, TODAY) for said in ("today", "yesterday", "3 weeks ago", "1 year ago", "in 5 days", "2024-02-29")] == [
        TODAY, date(2026, 11, 21), date(2026, 11, 1), date(2025, 11, 22), date(2026, 11, 27), date(2024, 2, 29),
    ]  # fmt: skip
    assert [
        interval_of(said, "") for said in ("/d", "weekly", "2 times a day", "every 3 days", "")
    ] == [1, 7, 0.5, 3, None]
    with pytest.raises(Unreadable):
        interval_of("rarely", "")


def test_only_the_own_pack_is_compared_unless_the_story_is_complete(rulebook):
    story = next(
        s for s in stories_of(rulebook, BUNDLED / "vitamin_k_antagonists") if "4,600" in s.title
    )
    engine = Engine(rulebook, matcher="compiled")
    assert play_story(engine, story) is None
    failure = play_story(engine, replace(story, complete=True))
    assert failure is not None
    assert "vitd-ul-exceeded spoke" in str(failure)


def test_expectations_come_apart():
    line = read_expectation(
        'a-rule, info, about vitamin-k1; suggests x, not y; because of f; says "z; w"', "here"
    )
    assert (line.rule, line.indicator, line.about) == ("a-rule", "info", "vitamin-k1")
    assert (line.suggests, line.because, line.says) == (("x", "not y"), ("f",), ("z; w",))


def test_the_pytest_plugin_plays_a_pack_of_ones_own(tmp_path):
    pack = tmp_path / "own"
    (pack / "vignettes").mkdir(parents=True)
    (pack / "pack.toml").write_text(
        'id = "own"\ntitle = "Own"\nversion = "2026.11.1"\nrequires = ["core"]\nowner = "us"\nstatus = "draft"\n',
        encoding="utf-8",
    )
    right = STORY.strip() + '\n  expect: ["vka-mk7-new, warning"]\n'
    wrong = STORY.strip() + '\n  expect: ["vka-natto, warning"]\n'
    stuck = STORY.strip() + "\n  history: [vka-natto shown today]\n  expect: nothing\n"
    (pack / "vignettes" / "stories.yaml").write_text(right + wrong + stuck, encoding="utf-8")
    nobodys = tmp_path / "vignettes" / "stories.yaml"  # no pack lies beside it
    nobodys.parent.mkdir()
    nobodys.write_text(wrong, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "rules.pytest_vignettes", "--dekacard-engine", "compiled",
         "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True, text=True, timeout=120, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert "2 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "vka-natto does not speak in this story" in done.stdout
    assert "vka-natto was expected (warning), but stayed silent." in done.stdout
