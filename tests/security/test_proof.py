"""What is promised names tests that exist; a broken promise is told, and so is one whose tests are elsewhere."""

import json

import msgspec
import pytest
from typer.testing import CliRunner

from rules.errors import DekacardError
from service import proof
from service.cli import Exit
from service.proof_cli import app

RUNNER = CliRunner()


def test_every_test_of_a_promise_exists(root):
    assert (
        proof.unknown_tests(root, [t for one in proof.promises().values() for t in one.tests]) == []
    )


def test_what_is_not_tested_says_why_and_how_it_is_shown():
    bare = {name: one for name, one in proof.promises().items() if not one.tests}
    assert bare
    assert all(one.why and one.command for one in bare.values())


def test_every_command_can_be_run(root):
    for one in proof.promises().values():
        words = one.command.split()
        if words[:2] == ["python", "-m"]:
            place = root / words[2].replace(".", "/")
            assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), one
        elif words[:1] == ["python"]:
            assert (root / words[1]).is_file(), one


@pytest.fixture
def checkout(tmp_path):
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_it.py").write_text(
        "class TestGroup:\n    def test_good(self): pass\n\ndef test_bad(): assert False\n"
    )
    return tmp_path


def promise(*tests, why=""):
    return proof.Promise(promise="It holds.", figure="always", tests=tests, why=why)


def test_tests_are_run_and_the_broken_promise_is_named(checkout, capsys):
    listed = {
        "kept": promise("tests/test_it.py::TestGroup::test_good"),
        "broken": promise("tests/test_it.py::test_bad"),
        "untested": promise(why="nobody can"),
    }
    assert proof.run_tests(listed, checkout) == ["broken"]
    told = capsys.readouterr().out
    assert "BROKEN      broken" in told
    assert "FAILED tests/test_it.py::test_bad" in told
    assert "nobody can" in told


def test_a_test_that_is_not_there_is_no_proof(checkout, tmp_path_factory):
    listed = {"one": promise("tests/test_it.py::test_gone", "tests/test_it.py::test_good")}
    assert proof.unknown_tests(checkout, listed["one"].tests) == list(listed["one"].tests)
    with pytest.raises(proof.NoCheckout, match="test_gone"):
        proof.run_tests(listed, checkout)
    with pytest.raises(proof.NoCheckout, match="no checkout"):
        proof.run_tests(listed, tmp_path_factory.mktemp("elsewhere"))


def test_the_command_prints_for_people_and_for_programs():
    told = RUNNER.invoke(app, ["survives-kills"])
    assert told.exit_code == 0
    assert "SIGKILL" in told.output
    assert "python -m tests.service.alerts.kill" in told.output
    listed = json.loads(RUNNER.invoke(app, ["--json"]).output)
    assert set(listed) == set(proof.promises())


def test_what_was_never_measured_at_full_size_says_so(capsys):
    one = promise("t.py::test")
    for command, measured, told in (
        ("python -m tests.faults.fuzz", "", "not yet at this size"),
        ("python -m tests.faults.fuzz", "2026-11-29: 3", "2026-11-29: 3"),
    ):
        proof.print_promises(
            {"one": msgspec.structs.replace(one, command=command, measured=measured)}
        )
        assert f"measured {told}" in capsys.readouterr().out


def test_the_command_refuses_an_unknown_name_and_ends_by_what_was_found(monkeypatch, checkout):
    refused = RUNNER.invoke(app, ["no-such-promise"])
    assert isinstance(refused.exception, DekacardError)
    for test, code in (("TestGroup::test_good", 0), ("test_bad", Exit.FINDINGS_OPEN)):
        one = {"one": promise(f"tests/test_it.py::{test}")}
        monkeypatch.setattr(proof, "promises", lambda one=one: one)
        assert RUNNER.invoke(app, ["--run", "--checkout", str(checkout)]).exit_code == code
