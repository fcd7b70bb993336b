"""The gate of coverage judges by its figures, and a part that no test came near is no part that is covered."""

import runpy

import pytest


@pytest.fixture(scope="module")
def gate(root):
    return runpy.run_path(str(root / "scripts" / "coverage_gate.py"))


def test_a_part_below_its_figure_is_named(gate):
    found = {"rules": (99.9, {}), "fhir_adapter": (95.0, {}), "service": (94.9, {})}
    assert gate["judge"](found) == ["rules", "service"]


def test_what_is_measured_elsewhere_and_what_is_not_measured_at_all_are_told(gate, tmp_path):
    assert gate["measure"](tmp_path / "measured", ["tests/rules/test_reconcile.py"]) == 0
    found = gate["shares"](tmp_path / "measured")
    assert found["service"][0] == 0.0
    assert 0 < found["rules"][0] < 100
    assert "rules/reconcile.py" not in found["rules"][1], "whole files are not listed"
    assert "rules/driver.py" in found["rules"][1]
