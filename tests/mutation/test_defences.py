"""The table of defences fits the sources and the threat model; all are taken away by command."""

import psutil
import pytest
import yaml

from tests.mutation import defences

ROOT = defences.ROOT
PROVEN = ("inputs", "attacks", "faults", "data", "cryptography")


@pytest.fixture
def rows():
    told = yaml.safe_load((ROOT / "docs/trust/threats.yaml").read_text(encoding="utf-8"))
    return {row["what"]: row for part in PROVEN for row in told[part]}


@pytest.mark.parametrize(
    "removal", defences.removals(), ids=lambda one: f"{one['row']}: {one['old']}: {one['test']}"
)
def test_each_removal_fits_its_source_and_its_row(removal, rows):
    source = (ROOT / removal["file"]).read_text(encoding="utf-8")
    left = defences.without(source, removal)
    if removal["file"].endswith(".py"):
        compile(left, removal["file"], "exec")  # else every test would fail
    assert removal["test"] in rows[removal["row"]]["tests"]


def test_only_rows_with_a_removal_are_called_seen(rows):
    seen = {what for what, row in rows.items() if "seen" in row}
    assert seen
    assert seen <= {removal["row"] for removal in defences.removals()}


def test_what_is_gone_from_the_source_is_told():
    with pytest.raises(ValueError, match="does not hold once: gone"):
        defences.without("here", {"file": "a.py", "old": "gone", "new": ""})


@pytest.fixture
def small(tmp_path):
    (tmp_path / "door.py").write_text("def opens(key):\n    return key == 1\n")
    (tmp_path / "test_door.py").write_text(
        "from door import opens\n\ndef test_strangers():\n    assert not opens(2)\n\ndef test_own():\n    assert opens(1)\n"
    )
    return tmp_path


def test_tests_that_are_taken_along_by_a_crash_have_noticed(small):
    removal = {"row": "r", "file": "door.py", "old": "return key == 1", "new": "import os; os.abort()", "test": "test_door.py"}  # fmt: skip
    assert defences.is_noticed(small, removal)


@pytest.mark.parametrize(("test", "noticed"), [("test_strangers", True), ("test_own", False), ("test_none", False)])  # fmt: skip
def test_a_test_that_passes_or_is_missing_has_noticed_nothing(small, test, noticed):
    before = (small / "door.py").read_text()
    removal = {"row": "r", "file": "door.py", "old": "key == 1", "new": "True", "test": f"test_door.py::{test}"}  # fmt: skip
    assert defences.is_noticed(small, removal) is noticed
    assert (small / "door.py").read_text() == before


def test_a_test_that_waits_for_ever_has_noticed_nothing_and_leaves_nobody_behind(small):
    (small / "test_wait.py").write_text(
        "import subprocess, time\nfrom pathlib import Path\nfrom door import opens\n\ndef test_waits():\n"
        "    beside = subprocess.Popen(['sleep', '600'])\n    Path('beside').write_text(str(beside.pid))\n"
        "    while opens(2):\n        time.sleep(0.1)\n    beside.kill()\n    beside.wait()\n"
    )
    removal = {"row": "r", "file": "door.py", "old": "key == 1", "new": "True", "test": "test_wait.py"}  # fmt: skip
    for seconds in (4, 20, 120):  # a busy machine takes its time to begin
        assert not defences.is_noticed(small, removal, seconds=seconds)
        if (small / "beside").exists():
            break
    number = int((small / "beside").read_text())
    assert not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE


def test_what_fails_with_every_defence_in_place_is_known_by_its_row(small):
    (small / "test_more.py").write_text(
        "import pytest\n\n@pytest.mark.parametrize('x', [1, 2])\ndef test_one(x):\n    assert x == 1\n"
    )
    tests = ["test_door.py::test_own", "test_more.py::test_one"]
    assert defences.failing_anyway(small, tests) == {"test_more.py::test_one"}
    assert defences.failing_anyway(small, tests[:1]) == set()
    assert defences.failing_anyway(small, ["test_door.py::test_none"]) is None


def test_help_is_help_and_a_name_without_removals_is_no_success(capsys):
    with pytest.raises(SystemExit) as ended:
        defences.main(["--help"])
    assert ended.value.code == 0
    assert "defences.yaml" in capsys.readouterr().out
    assert defences.main(["no-such-file"]) == 1
    assert {one["file"] for one in defences.chosen_of(["front_door"])} == {"service/front_door.py"}
