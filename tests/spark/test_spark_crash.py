"""A crash of the engine on Spark costs one patient, who is named: the same bytes as on one machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.batch.people import AS_OF, population, write_lines
from tests.service.batch.test_review import rejects, results

ROOT = Path(__file__).parents[2]
# Workers begun anew import this before anything of ours, wherever Spark starts them.
_PLANT = "import tests.faults.crashing\n"


def review(folder, out, code, *more, **planted):
    """A run in a process of its own, whose workers die for some patients."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.crashing", str(folder), "--out", str(out),
         "--as-of", AS_OF, "--quiet", *more],
        capture_output=True, cwd=ROOT, env=os.environ | planted, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr.decode()
    return done.stderr


@pytest.fixture
def planted(tmp_path):
    """The environment in which each Python process dies for two patients."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_PLANT)
    return {
        "CRASHES_FOR": "p007,p021",
        "CRASHES_BY": "segv",
        "PYTHONPATH": f"{site}:{ROOT}",
        "PYSPARK_PYTHON": sys.executable,
    }


def test_the_patient_is_named_and_all_others_are_reviewed_as_on_one_machine(tmp_path, planted):
    folder = write_lines(tmp_path / "in", *population(30), parts=4)
    review(folder, tmp_path / "local", 12, "--workers", "2", **planted)
    said = review(folder, tmp_path / "spark", 12, "--spark", "local-cluster[2,1,1024]", **planted)
    assert b"2 set aside" in said
    assert sorted((one["patient"], one["code"]) for one in rejects(tmp_path / "spark")) == [
        ("p007", "worker-crashed"),
        ("p021", "worker-crashed"),
    ]
    told = json.loads((tmp_path / "spark" / "run.json").read_text())
    assert (told["patients"]["in"], told["patients"]["reviewed"]) == (30, 28)
    assert results(tmp_path / "spark") == results(tmp_path / "local")
