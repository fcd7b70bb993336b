"""Two hundred planted faults, the same for the same source: the tests notice nearly all of them."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutation.__main__ import PARTS, all_mutants, draw, equivalents
from tests.mutation.mutants import mutants_of

ROOT = Path(__file__).parents[2]
GOAL = 0.88  # of a drawn sample, which strays by some percent; the goal of a whole part is 95 % (python -m tests.mutation)


def test_the_tests_notice_what_is_planted():
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutation", "--sample", "200", "--goal", str(GOAL)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout[done.stdout.index('{\n  "mutants"') :])
    assert told["tried"] == 200
    assert set(told["parts"]) == set(PARTS)


def test_a_sample_is_drawn_evenly_and_always_the_same():
    mutants = all_mutants(["units", "reconcile", "encoding"])
    drawn = draw(mutants, 30, 5)
    assert drawn == draw(mutants, 30, 5) != draw(mutants, 30, 6)
    assert [sum(part == one for one, _ in drawn) for part in ("units", "reconcile", "encoding")] == [10] * 3  # fmt: skip


def test_what_is_called_unnoticeable_is_a_fault_of_a_part_still():
    listed = equivalents()
    files = {name for names, *_ in PARTS.values() for name in names}
    assert {file for file, _ in listed} <= files
    found = Counter(
        (file, one.place)
        for file in {file for file, _ in listed}
        for one in mutants_of(ROOT, Path(file))
    )
    # once: else a fault that people would notice hides behind its twin
    assert {one: found[one] for one in listed} == dict.fromkeys(listed, 1)


@pytest.fixture
def written(tmp_path):
    (tmp_path / "doses.py").write_text(
        "import functools\n\n@functools.cache\ndef is_large(dose: int = 3) -> bool:\n"
        '    """Whether it is."""\n    if dose < 0:\n        raise ValueError("too small")\n'
        "    return dose > 100\n"
    )
    return tmp_path


def test_conditions_are_changed_and_words_are_not(written):
    found = [str(one) for one in mutants_of(written, Path("doses.py"))]
    assert found == [
        "doses.py:6 is_large: < 0 -> <= 0",
        "doses.py:6 is_large: 0 -> 1",
        "doses.py:8 is_large: > 100 -> >= 100",
        "doses.py:8 is_large: 100 -> 101",
    ]


def test_that_two_lists_are_as_long_is_an_assertion_and_no_logic(tmp_path):
    (tmp_path / "pairs.py").write_text("def f(a, b):\n    return zip(a, b, strict=True)\n")
    found = [one.now for one in mutants_of(tmp_path, Path("pairs.py"))]
    assert found == ["zip(None, b, strict=True)", "zip(a, None, strict=True)", "zip(b, strict=True)", "zip(a, strict=True)"]  # fmt: skip


def test_a_planted_fault_is_in_force_behind_a_decorator_and_a_cache(written):
    """In a process of its own: what is planted stays planted."""
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import doses
from tests.mutation.mutants import mutants_of, plant
held = doses.is_large
before = held(100)
*_, edge, _last = mutants_of(Path(sys.argv[1]), Path("doses.py"))
assert plant(Path(sys.argv[1]), edge)
print(before, held(100), edge)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(written)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.startswith("False True doses.py:8 is_large: > 100 -> >= 100")
