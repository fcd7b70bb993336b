"""The page for pharmacists works as printed: its files are written out, opened and played."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rules.errors import KnowledgeError
from rules.rulebook import BUNDLED, find_packs, load_rulebook
from rules.vignettes import play

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "pharmacists" / "changing-a-rule.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- (\w+): (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


def _blocks(mark: str) -> list[tuple[str, str]]:
    return [(place, text) for kind, place, text in BLOCK.findall(PAGE) if kind == mark]


@pytest.fixture
def north(tmp_path: Path) -> Path:
    for place, text in _blocks("file"):
        file = tmp_path / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path / "north"


def _with(folder: Path):
    bundled = [name for name, (place, _) in find_packs().items() if place.parent == BUNDLED]
    return load_rulebook([*bundled, "north"], [folder])


def test_the_page_shows_three_files_and_quotes_the_packs_word_by_word():
    assert [place for place, _ in _blocks("file")] == [
        "north/pack.toml", "north/parameters.yaml", "north/vignettes/vka-k1-supplement-new.yaml",
    ]  # fmt: skip
    quoted = _blocks("quoted")
    assert len(quoted) == 2
    for place, text in quoted:
        source = re.sub(r"  # noqa: \S+", "", (ROOT / place).read_text(encoding="utf-8"))
        assert text.strip() in source, place


@pytest.mark.parametrize("matcher", ["durable", "compiled"])
def test_the_worked_change_ends_as_the_page_says(north, matcher):
    rulebook = _with(north)
    assert rulebook.overridden["k.warn.k1"][0] == "north"
    assert play(rulebook, north, matcher) == []
    assert play(rulebook, BUNDLED / "vitamin_k_antagonists", matcher) == []


def test_without_the_new_number_the_new_story_fails(north):
    (north / "parameters.yaml").unlink()
    (north / "pack.toml").write_text((north / "pack.toml").read_text().partition("[overrides]")[0])
    (failure,) = play(_with(north), north, "compiled")
    assert failure.differences == (
        "vka-k1-supplement-new was expected as warning, but spoke as info.",
    )


def test_a_number_dated_earlier_changes_the_story_that_the_page_names(north):
    ((day, told),) = _blocks("told")
    parameters = north / "parameters.yaml"
    parameters.write_text(parameters.read_text().replace("2026-12-01:\n", f"{day}:\n"))
    failures = play(_with(north), BUNDLED / "vitamin_k_antagonists", "compiled")
    assert [str(one).partition(": ")[2] for one in failures] == [told.rstrip("\n")]


def test_an_override_without_a_reason_is_refused(north):
    head = north / "pack.toml"
    head.write_text(head.read_text().partition("[overrides]")[0])
    with pytest.raises(KnowledgeError, match=r"give a reason under \[overrides\] and an approver"):
        _with(north)


def test_the_command_of_the_page_checks_the_pack(north):
    command = f"{Path(sys.executable).parent / 'dekacard'} rules check {north} --engine compiled"
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("DEKACARD_")
    }
    done = subprocess.run(
        command.split(), capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert "north changes k.warn.k1" in done.stdout, done.stdout + done.stderr
    assert "vka-k1-supplement-new" not in done.stdout
