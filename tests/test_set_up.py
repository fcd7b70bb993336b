"""The set-up does what README promises, and says the exact line to run where it cannot."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("sh", "dirname", "id", "cat", "cksum", "tr", "cut")


def _bootstrap(purpose: str, path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs scripts/bootstrap with nothing but the programs in ``path``."""
    return subprocess.run(
        ["sh", str(ROOT / "scripts" / "bootstrap"), purpose],
        env={"PATH": str(path), "HOME": str(path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A folder with the few programs every system has: no Python, no compiler, no apt-get."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(shutil.which(name))
    return folder


def test_an_unknown_purpose_is_refused(bare_path):
    run = _bootstrap("everything", bare_path)
    assert run.returncode == 2
    assert "usage" in run.stderr


def test_without_python_the_line_to_run_is_printed(bare_path):
    run = _bootstrap("run", bare_path)
    assert run.returncode == 1
    assert "no Python 3.11 or newer" in run.stderr
    assert re.search(r"^    sudo apt-get install -y python3", run.stderr, re.MULTILINE)


def test_a_python_that_does_not_run_is_passed_over(bare_path, tmp_path):
    broken = bare_path / "python3"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    (bare_path / "python3.13").symlink_to(sys.executable)
    run = _bootstrap("run", bare_path, DEKACARD_VENV=str(tmp_path / "venv"))
    assert run.returncode == 1
    assert "a C compiler is missing" in run.stderr  # it got past the search for Python
    assert re.search(r"^    sudo apt-get install -y gcc", run.stderr, re.MULTILINE)


def test_every_target_prepares_what_it_needs_and_is_listed():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):.*?## .+\n((?:\t.+\n)*)", makefile, re.MULTILINE)
    assert {name for name, _ in targets} == set(
        re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    )
    for name, recipe in targets:
        if "$(bin)" in recipe or "run-tests" in recipe:
            assert recipe.startswith("\tsh scripts/bootstrap "), name
    listed = subprocess.run(
        ["make", "-s", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")},
    )
    assert {line.split("\t")[0] for line in listed.stdout.splitlines()} == {
        name for name, _ in targets
    }


def test_the_wheel_carries_the_three_packages_and_their_data(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        capture_output=True,
        check=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob("dekacard-*.whl")
    shutil.unpack_archive(wheel, tmp_path / "inside", "zip")
    inside = {
        p.relative_to(tmp_path / "inside") for p in (tmp_path / "inside").rglob("*") if p.is_file()
    }
    for package in ("rules", "fhir_adapter", "service"):
        here = {
            p.relative_to(ROOT)
            for p in (ROOT / package).rglob("*")
            if p.is_file() and "__pycache__" not in p.parts
        }
        assert here <= inside, sorted(here - inside)
    assert {p.parts[0] for p in inside if not p.parts[0].endswith(".dist-info")} == {
        "rules",
        "fhir_adapter",
        "service",
    }
