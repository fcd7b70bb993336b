"""Threat model, safety case and ASVS list: every row has a test that exists, or a reason; the pages are up to date."""

import runpy
from collections import Counter

import pytest


@pytest.fixture(scope="module")
def script(root):
    return runpy.run_path(str(root / "scripts" / "trust_pages.py"))


def test_the_pages_are_up_to_date_and_every_named_test_exists(script, capsys):
    assert script["main"](["--check"]) == 0, capsys.readouterr().err


def test_no_requirement_of_the_standard_was_dropped(script):
    """ASVS 5.0.0 has 70 requirements of level 1; every one of its 17 chapters has some of the two levels."""
    lines = script["table"]("asvs")["lines"]
    levels = Counter(line["level"] for line in lines.values())
    assert levels == {1: 70, 2: 184}
    assert {int(name[1:].split(".")[0]) for name in lines} == set(range(1, 18))
    numbers = [tuple(map(int, name[1:].split("."))) for name in lines]
    assert numbers == sorted(set(numbers))


def test_the_tables_hold_every_row_that_was_asked_for(script):
    threats = script["table"]("threats")
    assert (len(threats["inputs"]), len(threats["attacks"]), len(threats["faults"])) >= (13, 14, 15)


def test_a_missing_test_and_a_bare_row_are_named(script, monkeypatch, capsys):
    made = {
        "threats": {"inputs": [{"what": "bare", "defence": "d"}], "attacks": [], "faults": [],
                    "data": [{"what": "unproven"}], "cryptography": []},
        "hazards": {"hazards": {"h": {"controls": [{"what": "c", "tests": ["tests/no.py::test_no"]}]}}},
        "asvs": {"lines": {"V1.1.1": {"proof": "gone", "why": "both"}}, "proofs": {}},
    }  # fmt: skip
    monkeypatch.setitem(script["main"].__globals__, "table", made.__getitem__)
    monkeypatch.setitem(script["main"].__globals__, "PAGES", {})
    assert script["main"](["--check"]) == 1
    told = capsys.readouterr().err
    for one in ("tests/no.py::test_no", "bare", "unproven", "V1.1.1", "gone"):
        assert one in told


def test_no_control_is_claimed_to_be_signed(script):
    assert script["table"]("hazards")["reviewed"] is None
    assert "no clinician has reviewed" in script["safety_case"]()
