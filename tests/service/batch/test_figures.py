"""The published figures are those that were kept, and the invented exports are what they say."""

import json
import platform

from benchmarks.population import write_population
from benchmarks.report import PAGE, kept, machine, page


def test_the_page_of_figures_is_made_from_what_is_kept():
    results = kept()
    assert "batch" in results
    assert PAGE.read_text() == page(results), "run: python -m benchmarks.report"


def test_the_machine_is_described_without_its_name():
    told = machine()
    assert platform.node() not in told.values()
    assert told["Python"] == platform.python_version()


def test_an_invented_export_is_the_same_every_time_and_mostly_of_no_concern(tmp_path):
    for name in ("one", "two"):
        write_population(tmp_path / name, 60, 0.1)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "two").iterdir())
    lines = []
    for name in files:
        data = (tmp_path / "one" / name).read_bytes()
        assert data == (tmp_path / "two" / name).read_bytes()
        lines += data.splitlines()
    assert {json.loads(line)["resourceType"] for line in lines} >= {
        "Patient",
        "Observation",
        "Goal",
    }
    relevant = [
        line for line in lines if b"itamin D" in line or b"arfarin" in line or b'"6301-6"' in line
    ]
    assert 0 < len(relevant) < 0.05 * len(lines)
