"""The table of defences fits the sources and the threat model; all are taken away by command."""

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
