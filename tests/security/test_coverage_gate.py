"""The gate of coverage judges branches and lines, and a part that no test came near is no part that is covered."""

import runpy

import pytest


@pytest.fixture(scope="module")
def gate(root):
    return runpy.run_path(str(root / "scripts" / "coverage_gate.py"))


@pytest.mark.parametrize(
    ("part", "branches", "lines", "low"),
    [
        ("rules", 100.0, 100.0, False),
        ("rules", 99.9, 100.0, True),
        ("service", 95.0, 95.0, False),
        ("service", 94.9, 99.0, True),  # together they would make 98
        ("fhir_adapter", 99.0, 94.9, True),
    ],
)
def test_branches_and_lines_are_judged_each_for_themselves(gate, part, branches, lines, low):
    assert gate["is_low"](part, gate["Share"](branches, lines)) is low


def test_branches_are_counted_apart_from_lines(gate, tmp_path):
    data = tmp_path / "measured"
    assert gate["measure"]("rules", data, ("tests/rules/test_reconcile.py",)) == 0
    found = gate["share"]("rules", data)
    assert 0 < found.branches < found.lines < 100
    assert "rules/reconcile.py" not in found.missing, "whole files are not listed"
    assert "->" in found.missing["rules/driver.py"]


def test_what_no_test_came_near_is_not_covered(gate, tmp_path):
    data = tmp_path / "measured"
    assert gate["measure"]("rules", data, ("tests/rules/test_claims.py",)) == 0
    assert gate["share"]("service", data) == gate["Share"](0.0, 0.0)


def test_every_part_is_measured_by_tests_that_are_there(gate, root):
    assert set(gate["TESTS"]) == set(gate["WANTED"])
    named = [one for tests in gate["TESTS"].values() for one in tests]
    assert named
    assert [one for one in named if not (root / one).is_dir()] == []
