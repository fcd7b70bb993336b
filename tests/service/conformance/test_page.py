"""Every requirement has its test or its reason, and the page that says so is up to date."""

import runpy

import pytest


@pytest.fixture(scope="module")
def script(root):
    return runpy.run_path(str(root / "scripts" / "conformance_page.py"))


def test_every_requirement_has_a_test_or_a_reason(script):
    listed, tests = script["requirements"](), script["gather"]()
    assert list(listed) == [f"C{number}" for number in range(1, 78)]
    assert script["open_requirements"](listed, tests) == []


def test_the_page_is_up_to_date(script):
    assert script["main"](["--check"]) == 0


def test_an_open_requirement_and_a_stray_marker_are_named(script):
    listed = {"C1": {"says": "a"}, "C2": {"says": "b", "reason": "r"}, "C3": {"says": "c"}}
    assert script["open_requirements"](listed, {"C3": ["t"], "C9": ["u"]}) == ["C1", "C9"]
    assert "| C1 | a | **open** |" in script["page"](listed, {})
