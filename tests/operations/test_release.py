"""What goes out beside the program: the list of its parts, the question for weaknesses, and a site that loads nothing."""

import json
import os
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser

import pytest

TAGS = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src"}


def test_the_bill_of_materials_names_every_locked_package(root):
    printed = subprocess.run(["sh", "scripts/sbom"], cwd=root, capture_output=True, text=True, check=True)  # fmt: skip
    bill = json.loads(printed.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    named = {(part["name"], part["version"]) for part in bill["components"]}
    locked = {
        (package["name"], package["version"])
        for package in tomllib.loads((root / "uv.lock").read_text())["package"]
        if package["name"] != "dekacard"
    }
    assert named == locked
    assert ("durable-rules", "2.0.28") in named
    assert all(part["purl"].startswith("pkg:pypi/") for part in bill["components"])


def test_where_nobody_can_be_asked_for_weaknesses_the_answer_is_not_yes(root):
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}  # fmt: skip
    asked = subprocess.run(
        [sys.executable, "scripts/audit-packages"], cwd=root, capture_output=True, text=True,
        env={**os.environ, **nowhere, "NO_PROXY": "", "no_proxy": ""}, check=False,
    )  # fmt: skip
    assert asked.returncode == 3, asked.stdout + asked.stderr
    assert asked.stdout.startswith("NOT VERIFIED")


class TestContinuousIntegration:
    @pytest.mark.parametrize(
        "step", ["bandit -q -r rules fhir_adapter service -lll", "scripts/audit-packages", "mkdocs build --strict", "scripts/sbom"],
    )  # fmt: skip
    def test_it_does_all_of_it(self, root, step):
        assert step in (root / ".ci" / "run").read_text()

    @pytest.mark.parametrize(("status", "told"), [(0, "ok"), (3, "NOT VERIFIED: because"), (1, "")])
    def test_what_could_not_be_verified_is_told_and_what_failed_ends_it(
        self, root, tmp_path, status, told
    ):
        text = (root / ".ci" / "run").read_text()
        function = re.search(r"^step_or_say\(\) \{.*?^\}", text, re.MULTILINE | re.DOTALL)[0]
        script = f"set -euo pipefail\nscratch={tmp_path}\nlog=$scratch/log\n: >$log\n{function}\nstep_or_say 1 audit bash -c 'echo because; exit {status}'\n"  # fmt: skip
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == (1 if status == 1 else 0), done.stderr
        summary = (tmp_path / "log").read_text()
        assert told in summary
        assert ("FAILED" in done.stdout) == (status == 1)


class _Loads(HTMLParser):
    """What a page loads by itself."""

    def __init__(self):
        super().__init__()
        self.loaded = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "link" and given.get("rel") in {"canonical", "prev", "next"}:
            return
        self.loaded.append(given.get(TAGS.get(tag, ""), "") or "")


def test_the_site_of_the_documentation_is_whole_and_loads_nothing_from_elsewhere(root, tmp_path):
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "site")],
        cwd=root, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    sources = list((root / "docs").rglob("*.md"))
    assert len(pages) >= len(sources)
    for page in pages:
        reader = _Loads()
        reader.feed(page.read_text(encoding="utf-8"))
        foreign = [one for one in reader.loaded if "://" in one or one.startswith("//")]
        assert foreign == [], page
    for sheet in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"url\([\"']?https?:|@import", sheet.read_text(encoding="utf-8")), (
            sheet
        )
