"""The skeleton of a pack passes the check as it is written, and its stories play in a repository of its own."""

import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rules.errors import KnowledgeError
from rules.rulebook import load_rulebook
from rules.vignettes import play
from service.cli import Exit, app
from service.new_pack import write_pack

TODAY = date(2028, 2, 29)  # its review is due on a day that exists
OURS = [pack.head.id for pack in load_rulebook().packs]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pack("north-hospital", tmp_path_factory.mktemp("packs"), today=TODAY)


def test_the_command_writes_a_pack_that_the_check_finds_clean(tmp_path):
    made = CliRunner().invoke(app, ["rules", "new-pack", "a-b", "--out", str(tmp_path)])
    assert made.exit_code == Exit.DONE, made.output
    pack = tmp_path / "a-b" / "a_b_pack"
    assert f"dekacard rules check {pack}" in made.output
    checked = CliRunner().invoke(app, ["rules", "check", str(pack), "--engine", "compiled"])
    assert checked.exit_code == Exit.DONE, checked.output
    assert "a-b adds the rule a-b-example (info)" in checked.output


def test_every_kind_of_file_is_there_and_no_mark_is_left(folder):
    written = {
        path.relative_to(folder.parent).as_posix()
        for path in folder.parent.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    inside = {"__init__.py", "pack.toml", "parameters.yaml", "findings.yaml", "cards.yaml", "rules.py",
              "codes/local.yaml", "vignettes/north-hospital-example.yaml"}  # fmt: skip
    assert written == {"README.md", "pyproject.toml", "tests/test_pack.py"} | {
        f"north_hospital_pack/{one}" for one in inside
    }
    for place in written:
        text = (folder.parent / place).read_text(encoding="utf-8")
        assert not re.search(r"\$[{a-z]", text), place


@pytest.mark.parametrize("matcher", ["durable", "compiled"])
def test_its_own_stories_end_as_told(folder, matcher):
    book = load_rulebook([*OURS, "north-hospital"], [folder])
    assert play(book, folder, matcher) == []
    assert book.cards["north-hospital-example"].review_due == date(2029, 2, 28)


def test_another_number_is_noticed_by_its_stories(folder, tmp_path):
    copy = write_pack("south", tmp_path, today=TODAY)
    numbers = copy / "parameters.yaml"
    numbers.write_text(numbers.read_text().replace("value: 2000", "value: 1999"))
    assert len(play(load_rulebook([*OURS, "south"], [copy]), copy, "compiled")) == 1


def test_pytest_in_its_own_repository_plays_them(folder):
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("DEKACARD_", "PYTEST_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder.parent, env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "4 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["North", "a--b", "../x", "", "1st", "a_b"])
def test_an_unfit_name_is_refused(tmp_path, name):
    with pytest.raises(KnowledgeError, match="is no name for a pack"):
        write_pack(name, tmp_path, today=TODAY)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_and_a_folder_that_exists_are_refused(tmp_path):
    with pytest.raises(KnowledgeError, match="there is a pack 'core' already"):
        write_pack("core", tmp_path, today=TODAY)
    write_pack("east", tmp_path, today=TODAY)
    with pytest.raises(KnowledgeError, match="exists already; nothing was written"):
        write_pack("east", tmp_path, today=TODAY)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ('[retires]\n"dk-k2-from" = "a slip"', "which is no rule"),
        ('[overrides]\n"k.warn.k1" = "no number given"', "which this pack does not state"),
    ],
)
def test_what_is_retired_or_overridden_must_exist(tmp_path, section, says):
    pack = write_pack("west", tmp_path, today=TODAY)
    head = pack / "pack.toml"
    head.write_text(head.read_text().partition("# To change one")[0] + section)
    with pytest.raises(KnowledgeError, match=says):
        load_rulebook([*OURS, "west"], [pack])


def test_nobody_retires_a_rule_without_an_approver(tmp_path):
    pack = write_pack("west", tmp_path, today=TODAY)
    head = pack / "pack.toml"
    text = re.sub(r"approver = .*", "", head.read_text()).partition("[overrides]")[0]
    head.write_text(text + '[retires]\n"dk-k2-form" = "because"')
    with pytest.raises(KnowledgeError, match="without an approver"):
        load_rulebook([*OURS, "west"], [pack])
