"""The command line: exit codes, sentences instead of tracebacks, quick help, a demo that shows cards."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import Exit, app
from service.demo import demo_calls

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.json"))
HEAVY = {"fhir.resources", "sqlalchemy", "fastapi", "uvicorn", "pydantic", "rich.markdown"}


def run(*arguments, body=None):
    return CliRunner().invoke(app, list(arguments), input=body)


class TestExplain:
    @pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
    def test_shows_every_example_in_words(self, file):
        result = run("explain", str(file), "--as-of", "2026-11-22T12:00:00Z")
        assert result.exit_code == 0, result.output
        assert "Patient ex-" in result.output

    def test_shows_data_chain_numbers_and_sources(self):
        result = run("explain", str(EXAMPLES[0]), "--as-of", "2026-11-22T12:00:00Z")
        for words in (
            "WARNING",
            "vka-mk7-new",
            "MedicationStatement/st-1",
            "100 mcg a day",
            "Chain",
            "Numbers",
            "Sources",
        ):
            assert words in result.output

    def test_says_nothing_found_only_when_everything_was_looked_at(self):
        request = json.loads((ROOT / "examples" / "05-doac-with-k2.json").read_text())
        nothing = {"resourceType": "Bundle", "type": "searchset", "total": 0}
        request["prefetch"] = dict.fromkeys(request["prefetch"], nothing) | {
            "patient": {
                "resourceType": "Patient",
                "id": "ex-05",
                "gender": "female",
                "birthDate": "1985-07-07",
            }
        }
        options = ("explain", "-", "--as-of", "2026-11-22T12:00:00Z")
        assert "Nothing found" in run(*options, body=json.dumps(request)).output
        del request["prefetch"]["inr"]
        result = run(*options, body=json.dumps(request))
        assert "Nothing found" not in result.output
        assert "INR results could not be had" in result.output

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ("{", Exit.INPUT_REFUSED),
            ('{"a": 1, "a": 2}', Exit.INPUT_REFUSED),
            ("{}", Exit.INPUT_REFUSED),
            ("[1, 2]", Exit.INPUT_REFUSED),
            ('{"hook": "patient-view"}', Exit.INPUT_REFUSED),
            ('"text"', Exit.INPUT_REFUSED),
        ],
    )
    def test_bad_input_is_a_sentence_and_a_number(self, body, code):
        result = run("explain", "-", body=body)
        assert result.exit_code == code
        assert result.stdout == ""
        assert result.stderr.startswith("dekacard: ")

    def test_a_file_that_is_not_there(self):
        result = run("explain", "nothing.json")
        assert result.exit_code == Exit.INPUT_REFUSED
        assert "nothing.json" in result.stderr

    @pytest.mark.parametrize("moment", ["yesterday", "2026-11-22T12:00:00", "2026-13-01T00:00:00Z"])
    def test_a_moment_needs_a_zone(self, moment):
        assert run("explain", str(EXAMPLES[0]), "--as-of", moment).exit_code == Exit.INPUT_REFUSED

    def test_an_unknown_profile_is_refused_with_the_known_ones(self):
        result = run("explain", str(EXAMPLES[0]), "--profile", "moon-1969")
        assert result.exit_code == Exit.SETTINGS_REFUSED
        assert "nam-2011" in result.stderr

    def test_one_object_for_each_patient(self):
        people = [
            {"resourceType": "Patient", "id": f"p{number}", "birthDate": "1950-01-01"}
            for number in range(3)
        ]
        bundle = {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"resource": one} for one in people],
        }
        result = run("explain", "-", "--json", body=json.dumps(bundle))
        told = [json.loads(line)["patient"]["id"] for line in result.stdout.splitlines()]
        assert told == ["p0", "p1", "p2"]
        result = run("explain", "-", "--json", "--patient", "p1", body=json.dumps(bundle))
        assert [json.loads(line)["patient"]["id"] for line in result.stdout.splitlines()] == ["p1"]


class TestRules:
    def test_list_and_show(self):
        rows = json.loads(run("rules", "list", "--json").stdout)
        assert {"vka-mk7-new", "vka-natto"} <= {row["rule"] for row in rows}
        for row in rows:
            shown = run("rules", "show", row["rule"])
            assert shown.exit_code == 0, shown.output
            assert row["topic_code"] in shown.output

    def test_an_unknown_rule_is_refused_with_similar_ones(self):
        result = run("rules", "show", "vka-unknown")
        assert result.exit_code == Exit.KNOWLEDGE_REFUSED
        assert "vka-natto" in result.stderr

    def test_check_plays_every_vignette(self):
        result = run("rules", "check", "--engine", "compiled")
        assert result.exit_code == 0, result.output
        assert "vignettes end as told" in result.output

    def test_claims(self):
        assert run("rules", "claims").exit_code == 0


class TestDoctor:
    def test_finds_this_installation_healthy(self):
        result = run("doctor")
        assert result.exit_code == 0, result.output
        assert "engine durable" in result.output

    def test_names_the_remedy_when_the_engine_cannot_be_imported(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "durable_rules_engine", None)
        result = run("doctor")
        assert result.exit_code == Exit.NOT_HEALTHY
        assert "CPPFLAGS" in result.output

    def test_names_another_distribution_in_our_packages(self, monkeypatch):
        monkeypatch.setattr(
            "importlib.metadata.packages_distributions", lambda: {"rules": ["rules", "dekacard"]}
        )
        result = run("doctor")
        assert result.exit_code == Exit.NOT_HEALTHY
        assert "pip uninstall rules" in result.output

    def test_unknown_setting_stops_every_command(self, monkeypatch):
        monkeypatch.setenv("DEKACARD_ENGIN", "compiled")
        assert run("explain", str(EXAMPLES[0])).exit_code == Exit.SETTINGS_REFUSED
        assert run("config", "check").exit_code == Exit.SETTINGS_REFUSED


class TestServe:
    def test_refuses_without_profiles_or_development_mode(self):
        assert run("serve").exit_code == Exit.SETTINGS_REFUSED

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "dekacard.example.org"])
    def test_development_mode_stays_on_this_machine(self, host):
        result = run("serve", "--dev", "--host", host)
        assert result.exit_code == Exit.SETTINGS_REFUSED
        assert "loopback" in result.stderr

    def test_a_killed_worker_is_replaced(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "service.cli",
            "serve",
            "--dev",
            "--port",
            str(port),
            "--engine",
            "compiled",
        ]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            first = wait_for_worker(port, process.pid, other_than=None)
            os.kill(first, signal.SIGSEGV)
            assert wait_for_worker(port, process.pid, other_than=first) != first
        finally:
            process.terminate()
            process.wait(timeout=120)


def wait_for_worker(port, parent, other_than):
    for _ in range(2400):  # a busy machine takes its time
        children = Path(f"/proc/{parent}/task/{parent}/children")
        workers = [int(one) for one in children.read_text().split()] if children.exists() else []
        if workers and other_than not in workers:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10).close()
            except OSError:
                pass
            else:
                return workers[0]
        time.sleep(0.05)
    raise AssertionError("no worker came up")


class TestDemo:
    def test_shows_real_cards_once(self):
        result = run("demo", "--once")
        assert result.exit_code == 0, result.output
        for words in (
            "WARNING VKAMK7NEW",
            "CRITICAL VKAMK7NEW",
            "Decline because",
            "INFO DKNOTREAD",
        ):
            assert words in result.output
        assert "http://127.0.0.1:" in result.output

    def test_its_requests_are_the_published_examples(self):
        published = [json.loads(file.read_text(encoding="utf-8")) for file in EXAMPLES]
        calls = [request for _, request in demo_calls()]
        assert len(calls) >= 4
        assert all(request in published for request in calls)


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from service.cli import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_card_loads_neither_database_nor_what_only_trust_needs():
    code = (
        "import sys, json; from datetime import UTC, datetime; from fastapi.testclient import TestClient; "
        "from service.app import create_app; from service.settings import Settings; "
        "app = create_app(Settings(dev=True), clock=lambda: datetime(2026, 11, 22, tzinfo=UTC)); "
        f"body = json.load(open({str(EXAMPLES[0])!r})); "
        "client = TestClient(app, base_url='http://localhost').__enter__(); "
        "answer = client.post('/cds-services/vitamin-dk-patient-view', json=body); "
        "assert answer.json()['cards']; "
        "print(sorted({'sqlalchemy', 'joserfc', 'rich', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
