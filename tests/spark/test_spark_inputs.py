"""On Spark as on one machine: local codes are understood, deletions applied, and alerts stored once."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.batch.cli import app
from service.batch.run import Run
from tests.service.batch.people import write_lines
from tests.service.batch.test_code_maps import OURS, somebody
from tests.service.batch.test_exports import deletion
from tests.service.batch.test_review import options, results
from tests.service.batch.test_store import NIGHTS, Site, on_warfarin

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(autouse=True)
def _workers_find_the_package(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYSPARK_PYTHON", os.sys.executable)


def review(site, folder, out, as_of, *more):
    arguments = [str(folder), "--out", str(out), "--as-of", as_of, "--quiet", *more]
    done = CliRunner(env=site.settings).invoke(app, arguments)
    assert done.exit_code == 0, (done.output, done.exception)


def test_local_codes_deletions_and_the_record(tmp_path):
    site = Site(f"sqlite:///{tmp_path}/record.db", tmp_path)
    people = {"ada": somebody("ada"), "ben": on_warfarin("ben"), "cyd": on_warfarin("cyd")}
    folder = write_lines(tmp_path / "in", people, [], parts=1)
    (folder / "gone.ndjson").write_text(json.dumps(deletion("MedicationStatement/cyd-s1")) + "\n")
    (folder / "manifest.json").write_text(
        json.dumps({"transactionTime": NIGHTS[2], "output": [], "deleted": [{"type": "Bundle", "url": "https://x/gone.ndjson"}]})
    )  # fmt: skip
    maps = tmp_path / "local.json"
    maps.write_text(json.dumps(OURS))
    given = ["--store", "--client", "developer", "--code-map", str(maps)]
    review(site, folder, tmp_path / "spark", NIGHTS[2], *given, "--spark", "local[2]")
    known = options(as_of=NIGHTS[2], client="developer", code_maps=(str(maps),))
    Run(tmp_path / "local").review([folder], known)
    assert results(tmp_path / "spark") == results(tmp_path / "local")
    assert json.loads((tmp_path / "spark" / "run.json").read_text())["deletions"]["applied"] == 1
    stored = {(one.rule, one.seen_count) for one in site.alerts("vka-k-ongoing-unmonitored")}
    assert stored == {("vka-k-ongoing-unmonitored", 1)}
    assert site.alerts("vka-inr-high-no-otc-k")
    review(site, folder, tmp_path / "again", NIGHTS[2], *given, "--workers", "1")
    assert {one.seen_count for one in site.alerts("vka-k-ongoing-unmonitored")} == {1}
