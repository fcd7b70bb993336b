"""Writes the reference pages that follow from the code, and the example of an explanation.

    python docs/reference/generate.py            # write
    python docs/reference/generate.py --check    # exit code 1 if a page is out of date

A test runs the check, so that a setting, an option or an exit code cannot change without its page.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic_core import PydanticUndefined
from typer.testing import CliRunner

from rules import errors
from rules.rulebook import load_rulebook
from service.batch.values import BatchExit
from service.cli import MOUNTED, Exit, app
from service.conformance.cli import EXIT_UNREACHABLE
from service.record_cli import EXIT_DIFFERS, EXIT_TAMPERED
from service.rules_page import claims_page, rules_page
from service.settings import PREFIX, Settings

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "01-warfarin-new-mk7-coded.json"
AS_OF = "2026-11-22T12:00:00Z"
EXIT_WORDS = {
    Exit.DONE: "Done; for `rules check`, every vignette ended as told.",
    Exit.FAILED: "Something was refused that has no number of its own; the message says what.",
    Exit.USAGE: "The command line itself was wrong.",
    Exit.FINDINGS_OPEN: "A check found something: a vignette ended otherwise, or there was none to play.",
    Exit.RULES_FAILED: "Reviewed, but a rule broke for at least one patient; the output names it.",
    Exit.INPUT_REFUSED: "The input is no JSON, holds no patient data, or breaks the rules for JSON.",
    Exit.KNOWLEDGE_REFUSED: "A pack cannot be used; the message names file and line.",
    Exit.SETTINGS_REFUSED: "A setting is unknown or impossible, or what it asks for cannot be had.",
    Exit.ENGINE_FAULT: "The rules engine did not evaluate a whole patient; its answer was not used.",
    Exit.NOT_HEALTHY: "`doctor` found something that keeps the service from working.",
}
# Exit codes that one command alone has
EXITS_OF_COMMANDS = (
    (
        EXIT_TAMPERED,
        "tampered",
        "`audit verify` found an edit, a deletion, an exchange or a cut of the trail.",
    ),
    (EXIT_DIFFERS, "differs", "`replay` gave other bytes than were recorded."),
    (EXIT_UNREACHABLE, "unreachable", "`conformance`: the service does not answer."),
    (
        BatchExit.REJECTS,
        "rejects",
        "`review` is done, and something could not be used: see `rejects.ndjson`.",
    ),
    (
        BatchExit.INTERRUPTED,
        "interrupted",
        "`review` was stopped, or the store did not answer; `--resume` goes on.",
    ),
    (
        BatchExit.OUTPUT_BUSY,
        "output-refused",
        "`review`: the output folder is in use, or holds another run.",
    ),
)
HTTP_WORDS = {
    200: "Answered. `cards` may be empty: then everything needed was looked at and nothing was worth saying.",
    400: "The body is no strict JSON, a required member is missing, or the hook is not the service's.",
    401: "The caller could not be identified. The reason is in the log of the service, never in the answer.",
    403: "Known, but not allowed; in development mode: not from this machine.",
    404: "There is no such service or address.",
    405: "The address does not offer this method.",
    412: "No list of medications could be had at all, not even one page, neither prefetched nor fetched, and no medication is drafted.",
    413: "The body is larger than `DEKACARD_MAX_BODY_BYTES`.",
    415: "The body is not `application/json` or `application/fhir+json` in UTF-8.",
    422: "A query or path parameter does not have the expected form.",
    500: "An unexpected error. Nothing was evaluated; the log has type and place.",
    503: "The rules could not be evaluated, or something needed did not answer in time. Try again.",
}


def pages() -> Iterator[tuple[Path, str]]:
    """Every generated file with its content."""
    yield HERE / "cli.md", command_page()
    yield HERE / "settings.md", settings_page()
    yield HERE / "errors.md", errors_page()
    rulebook = load_rulebook()
    yield HERE / "rules.md", rules_page(rulebook)
    yield HERE / "claims.md", claims_page(rulebook)


def command_page() -> str:
    """All commands with their arguments and options."""
    lines = ["# Command line", "", "Generated from the code. Exit codes: [errors](errors.md).", ""]
    for name, command in _commands(typer.main.get_command(app), "dekacard"):
        lines += [f"## `{name}`", "", (command.help or "").strip().replace("\n\n", "\n"), ""]
        rows = [
            f"| `{_spelt(one)}` | {(getattr(one, 'help', None) or '').strip()} |"
            for one in command.params
            if one.name != "help"
        ]
        if rows:
            lines += ["| argument or option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def _spelt(parameter: Any) -> str:
    if parameter.param_type_name == "option":
        return " ".join((*parameter.opts, *parameter.secondary_opts))
    return str(parameter.metavar or parameter.name).upper()


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    mounted = MOUNTED.get(name.removeprefix("dekacard "))
    if mounted is not None:
        module, attribute = mounted
        command = typer.main.get_command(getattr(importlib.import_module(module), attribute))
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child in sorted(children):
        yield from _commands(children[child], f"{name} {child}")


def settings_page() -> str:
    """All settings with their defaults."""
    lines = [
        "# Settings",
        "",
        "Generated from the code. Settings are environment variables; an unknown name is refused.",
        "`dekacard config check` prints those in force.",
        "",
        "| name | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in sorted(Settings.model_fields.items()):
        default = "" if field.default in {None, "", PydanticUndefined} else field.default
        shown = "" if default in ("", ()) else f"`{default}`"
        lines.append(f"| `{PREFIX}{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """Exit codes, HTTP answers, and the tree of errors."""
    lines = [
        "# Errors",
        "",
        "Generated from the code.",
        "",
        "## Exit codes",
        "",
        "| code | name | meaning |",
        "|---|---|---|",
    ]
    lines += [
        f"| {int(code)} | {code.name.lower().replace('_', '-')} | {EXIT_WORDS[code]} |"
        for code in Exit
    ]
    lines += [f"| {code} | {name} | {words} |" for code, name, words in EXITS_OF_COMMANDS]
    lines += ["", "## HTTP", ""]
    lines += [
        "Every refusal is an OperationOutcome (`application/fhir+json`) that never repeats the input, and carries CORS headers.",
        "", "| status | meaning |", "|---|---|",
    ]  # fmt: skip
    lines += [f"| {status} | {words} |" for status, words in HTTP_WORDS.items()]
    lines += [
        "",
        "## The tree",
        "",
        "```text",
        (errors.__doc__ or "").partition("\n\n")[2].strip(),
        "```",
    ]
    return "\n".join(lines) + "\n"


def example() -> str:
    """The first example explained, with the versions of the day taken out."""
    result = CliRunner().invoke(app, ["explain", str(EXAMPLE), "--json", "--as-of", AS_OF])
    told = json.loads(result.stdout)
    told["provenance"]["software"] = "0.0.0"
    told["provenance"]["packs"] = dict.fromkeys(
        told["provenance"]["packs"], "2026.11.1+0000000000000000"
    )
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    stale = [
        path
        for path, text in pages()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path.name} is out of date; run python docs/reference/generate.py\n")
        return 1 if stale else 0
    for path, text in pages():
        path.write_text(text, encoding="utf-8")
    # Its words change with the packs, so its form alone is held to the schema and to the code, by a test
    (HERE / "explain.example.json").write_text(example(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
