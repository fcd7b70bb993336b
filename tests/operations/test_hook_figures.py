"""One command measures and keeps every figure about hook calls; quick, and without the project to compare with."""

import json
import subprocess
import sys

import pytest

from benchmarks.report import kept, page

SIZES = ("small", "large")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, root):
    into = tmp_path_factory.mktemp("figures")
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--quick",
        "--save",
        "--without-peers",
        "--into",
        str(into),
    ]
    done = subprocess.run(
        [*command, "hooks"], cwd=root, capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout).keys() == {"hook", "hook_server", "lifetime"}
    return into


def test_every_row_is_measured_and_kept(folder):
    results = kept(folder)
    server = results["hook_server"]["rows"]["ratios"]
    hook = results["hook"]["rows"]["ratios"]
    for size in SIZES:
        for row in ("no record", "spooled", "RS384", "ES384"):
            assert server[f"{size}: {row} / echo"] > 0
        assert server[f"{size}: no record, p99 at 8 connections / echo"] > 0
        assert hook[f"{size}, durable: CPU of a call / echo"] > 0
        assert hook[f"{size}, durable: p99 at 8 connections / echo"] > 0
    lifetime = results["lifetime"]["rows"]
    assert lifetime["scale"]["own: cold start, s of CPU"] > 0
    assert lifetime["scale"]["own: memory, MB"] > 0
    # What was left out is a row with its reason, never a missing one
    for name in ("hook_server", "lifetime"):
        assert results[name]["rows"]["not measured"] == {"HealthChain": "not asked for"}
        assert results[name]["remark"].startswith("A quick run")


def test_the_page_of_these_results_is_written_beside_them(folder):
    written = (folder / "benchmarks.md").read_text()
    assert written == page(kept(folder))
    for words in ("## Hook server", "small: ES384 / echo", "own: memory, MB", "HealthChain"):
        assert words in written
