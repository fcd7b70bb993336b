"""Each example says what its line in examples/README.md promises."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app as command_line

EXAMPLES = Path(__file__).parents[2] / "examples"
AS_OF = "2026-11-22T12:00:00Z"
# Rules, and the words of gaps that could matter. People of 75 and over without vitamin D are told of it besides.
SAID = {
    "01-warfarin-new-mk7-coded": ({"vka-mk7-new": "warning"}, set()),
    "02-warfarin-new-mk7-free-text": (
        {"vka-mk7-new": "warning", "vitd-empiric-supplement": "info"},
        set(),
    ),
    "03-warfarin-multivitamin": ({"vka-k1-supplement-new": "info"}, set()),
    "04-warfarin-stable-k": ({"vka-k-stable-consistent": "info"}, set()),
    "05-doac-with-k2": ({}, set()),
    "06-phytonadione-reversal": ({}, set()),
    "07-mechanical-valve-order-sign": (
        {"vka-mk7-new": "critical", "vitd-ul-exceeded": "info"},
        set(),
    ),
    "08-low-inr-on-k2": (
        {"vka-subtherapeutic-inr-with-k": "warning", "vitd-empiric-supplement": "info"},
        set(),
    ),
    "09-renewed-last-week": (
        {"vka-k-stable-consistent": "info", "vitd-empiric-supplement": "info"},
        set(),
    ),
    "10-r5-bundle": ({"vka-mk7-new": "warning"}, {"not-read"}),
    "11-ugly-partial-prefetch": ({}, {"not-read", "medication-not-found", "not-valid-fhir"}),
    "12-ugly-text-and-strangers": (
        {"dq-lab-unusable": "info"},
        {"medication-not-recognised"},
    ),
}


def test_every_example_has_its_expectation_and_its_line():
    names = {path.stem for path in EXAMPLES.glob("*.json")}
    assert names == set(SAID)
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in names)


@pytest.mark.parametrize("name", sorted(SAID))
def test_an_example_says_what_it_promises(name):
    arguments = ["explain", str(EXAMPLES / f"{name}.json"), "--as-of", AS_OF, "--json"]
    result = CliRunner().invoke(command_line, arguments)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    rules, gaps = SAID[name]
    assert {one["rule"]: one["indicator"] for one in answer["recommendations"]} == rules
    assert {gap["code"] for gap in answer["gaps"]} == gaps
