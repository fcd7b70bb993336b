"""The published reference pages, held to the code."""

import importlib.util
import json
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from service.cli import app
from service.settings import Settings, SettingsRefused

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
EXAMPLES = sorted((ROOT / "examples").glob("*.json"))
CASES = sorted((ROOT / "tests" / "acceptance" / "cases").glob("V*.json"))


@pytest.fixture(scope="module")
def schema():
    found = json.loads((REFERENCE / "explain.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found, format_checker=jsonschema.FormatChecker())


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate_reference", REFERENCE / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def explain(body, *options):
    result = CliRunner().invoke(
        app, ["explain", "-", "--json", "--as-of", "2026-11-22T12:00:00Z", *options], input=body
    )
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def members(value, path=""):
    """Every path at which an object of our own making has a member."""
    free = (".values", ".value", ".resource", ".packs", ".counts")
    if isinstance(value, dict) and not path.endswith(free):
        for name, one in value.items():
            yield f"{path}.{name}"
            yield from members(one, f"{path}.{name}")
    elif isinstance(value, list):
        for one in value:
            yield from members(one, f"{path}[]")


def test_generated_pages_are_up_to_date(generate):
    stale = [
        path.name for path, text in generate.pages() if path.read_text(encoding="utf-8") != text
    ]
    assert not stale, "run python docs/reference/generate.py"


def test_the_example_follows_the_schema(schema):
    schema.validate(json.loads((REFERENCE / "explain.example.json").read_text(encoding="utf-8")))


def test_the_example_has_the_form_of_what_is_printed(generate):
    published = json.loads((REFERENCE / "explain.example.json").read_text(encoding="utf-8"))
    printed = json.loads(generate.example())
    assert set(members(published)) == set(members(printed))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_explained_follows_the_schema(file, schema):
    for told in explain(file.read_text(encoding="utf-8")):
        schema.validate(told)


def test_every_acceptance_case_explained_follows_the_schema(schema):
    for file in CASES:
        case = json.loads(file.read_text(encoding="utf-8"))
        options = (
            "--profile",
            case["profile"],
            "--verbosity",
            case["verbosity"],
            "--engine",
            "compiled",
        )
        for told in explain(json.dumps(case["request"]), *options):
            schema.validate(told)


def test_the_schema_refuses_what_is_not_published(schema):
    told = json.loads((REFERENCE / "explain.example.json").read_text(encoding="utf-8"))
    told["recommendations"][0]["mood"] = "good"
    assert not schema.is_valid(told)


def test_every_setting_says_what_it_is_for():
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_an_unknown_setting_is_refused_by_name():
    with pytest.raises(SettingsRefused, match="DEKACARD_ENGIN:"):
        Settings.read({"DEKACARD_ENGIN": "compiled"})


def test_an_impossible_value_is_refused_without_repeating_it(monkeypatch):
    monkeypatch.setenv("DEKACARD_PORT", "secret-words")
    with pytest.raises(SettingsRefused, match="DEKACARD_PORT") as refusal:
        Settings.read()
    assert "secret-words" not in str(refusal.value)
