"""The worked examples of the analysts' guide: their files are written, their commands run, their answers compared."""

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from service.cli import app
from tests.service.batch.test_review import rows

GUIDE = Path(__file__).parents[3] / "docs" / "analysts"
MARK = re.compile(r"<!-- (\w+): (\S+) -->")


class Block(NamedTuple):
    kind: str
    name: str
    text: str


def blocks(page):
    """Fenced blocks, with what the comment above each says it is."""
    mark = None
    for token in MarkdownIt().parse((GUIDE / page).read_text()):
        if token.type == "html_block":
            mark = MARK.search(token.content)
        elif token.type == "fence":
            yield Block(*(mark.groups() if mark else ("", "")), token.content)
            mark = None


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_local_codes(here):
    found = list(blocks("local-codes.md"))
    for one in found:
        if one.kind == "file":
            (here / one.name).parent.mkdir(exist_ok=True)
            (here / one.name).write_text(one.text)
    commands = [one.text.removeprefix("$ ") for one in found if one.kind == "run"]
    assert len(commands) == 2
    for command in commands:
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, (done.output, done.exception)
    answers = {one.name: one.text for one in found if one.kind == "told"}
    said = json.loads(answers["code_maps"])
    account = json.loads((here / "after" / "run.json").read_text())
    assert {"age:25ohd", "age:inr"} <= account["distributions"].keys()
    told = account["code_maps"]
    assert [{name: one[name] for name in said[0]} for one in told] == said
    assert rows(here / "before") == []
    gaps = map(json.loads, (here / "before" / "gaps.ndjson").read_text().splitlines())
    assert {one["patient"] for one in gaps} == {None}
    spoken = [
        f"{one['patient']}: {one['rule']} ({one['indicator']})" for one in rows(here / "after")
    ]
    assert spoken == answers["recommendations"].splitlines()
