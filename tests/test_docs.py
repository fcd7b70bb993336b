"""The documentation is true: its commands run, its links lead somewhere, its pages can be found."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent
EXECUTABLE = {"bash", "console", "python", "sh"}
RUN_BY_CI = {"pip", "uv"}  # they create environments of their own
MARK = re.compile(r"<!-- run: (\S+) -->")


class Block(NamedTuple):
    """A fenced block of a page, and the name that the comment above it gives to the way it is run."""

    page: str
    line: int
    language: str
    way: str
    text: str


def _blocks(page: str) -> Iterator[Block]:
    way = ""
    for token in MarkdownIt().parse((ROOT / page).read_text()):
        if token.type == "html_block" and (mark := MARK.search(token.content)):
            way = mark[1]
        elif token.type == "fence":
            language = token.info.split(" ")[0]
            if language in EXECUTABLE:
                yield Block(page, token.map[0] + 1, language, way, token.content)
            way = ""


BLOCKS = [block for page in ("README.md", "CONTRIBUTING.md") for block in _blocks(page)]
RUN_HERE = [block for block in BLOCKS if block.way == "here"]


def _commands(text: str) -> list[str]:
    return [line.removeprefix("$ ") for line in text.splitlines() if line.strip()]


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def test_every_command_shown_is_run_somewhere():
    unknown = [b for b in BLOCKS if b.way not in {"make", "here"} | RUN_BY_CI]
    assert not unknown
    assert {"make"} | RUN_BY_CI <= {b.way for b in BLOCKS}


def test_the_make_commands_are_targets_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    shown = [c for b in BLOCKS if b.way == "make" for c in _commands(b.text)]
    assert shown == ["make demo", "make test"]
    for command in shown:
        assert re.search(rf"^{command.removeprefix('make ')}: ## ", makefile, re.MULTILINE)


def test_ci_runs_the_lines_for_pip_and_uv_as_they_stand():
    ci = (ROOT / ".ci" / "run").read_text()
    loop = re.search(r"^for way in (.*); do", ci, re.MULTILINE)
    assert loop is not None
    assert set(loop[1].split()) == RUN_BY_CI
    assert 'scripts/readme-block "$way"' in ci
    for way in RUN_BY_CI:
        printed = subprocess.run(
            ["sh", "scripts/readme-block", way],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        (block,) = [b for b in BLOCKS if b.way == way]
        assert printed.stdout == block.text


def test_an_unknown_block_is_an_error():
    run = subprocess.run(["sh", "scripts/readme-block", "nowhere"], cwd=ROOT, check=False)
    assert run.returncode == 1


@pytest.mark.parametrize("block", RUN_HERE, ids=lambda block: f"{block.page}:{block.line}")
def test_the_block_runs_as_it_stands(block):
    command = (
        [sys.executable, "-c", block.text]
        if block.language == "python"
        else ["bash", "-euo", "pipefail", "-c", "\n".join(_commands(block.text))]
    )
    run = subprocess.run(
        command,
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_card_in_readme_is_what_the_command_prints():
    (shown,) = [b for b in RUN_HERE if "explain" in b.text]
    run = subprocess.run(
        ["bash", "-c", shown.text],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    printed = _words(run.stdout)
    page = (ROOT / "README.md").read_text()
    (card,) = re.findall(r"<!-- output of the block above.*?```text\n(.*?)```", page, re.DOTALL)
    position = 0
    for part in card.split("...\n"):
        found = printed.find(_words(part), position)
        assert found >= 0, f"not printed, or not in this order: {part}"
        position = found + 1


def _words(text: str) -> str:
    """The words alone: how wide the terminal is, and how it draws a box, is no part of a card."""
    return " ".join(re.sub(r"[^\w\s.,;:()\[\]/“”'-]", " ", text).split())


def test_the_flags_of_the_engine_are_the_same_wherever_they_are_written():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    flags = settings["tool"]["uv"]["extra-build-variables"]["durable-rules"]["CPPFLAGS"]
    (pin,) = [d for d in settings["project"]["dependencies"] if d.startswith("durable-rules")]
    for name in ("README.md", "scripts/bootstrap"):
        text = (ROOT / name).read_text()
        assert f'"{flags}"' in text, name
        assert pin in text, name
    assert (
        f'"{flags}"'
        in (ROOT / "docs" / "adr" / "0003-durable-rules-behind-a-driver.md").read_text()
    )


def test_every_link_within_the_project_leads_somewhere(project_files):
    broken = []
    for path in project_files:
        if path.suffix != ".md":
            continue
        for token in MarkdownIt().parse(path.read_text()):
            for child in token.children or ():
                target = child.attrGet("href") or child.attrGet("src") or ""
                name = target.partition("#")[0]
                if name and "://" not in target and not (path.parent / name).exists():
                    broken.append(f"{path}: {target}")
    assert not broken


def test_every_page_can_be_found_from_the_index(project_files):
    docs = ROOT / "docs"
    linked = set()
    for page in [docs / "index.md", *docs.glob("*/index.md")]:
        for name in re.findall(r"\]\(([^)#:]+)", page.read_text()):
            linked.add((page.parent / name).resolve())
    pages = {p for p in project_files if p.suffix == ".md" and p.is_relative_to(docs)}
    assert not {str(p.relative_to(docs)) for p in pages - linked - {docs / "index.md"}}


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "adr").glob("*.md")), ids=lambda p: p.stem)
def test_a_decision_says_context_decision_price_and_way_back(path):
    text = path.read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
        "Context",
        "Decision",
        "Price",
        "Way back",
    ]
    assert text.startswith(f"# {path.stem[:4]}. ")
    assert re.search(r"^Decided \d{4}-\d\d-\d\d\.", text, re.MULTILINE)


def test_the_glossary_has_one_entry_per_word_in_order():
    words = re.findall(
        r"^\| \*\*(.+?)\*\* \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE
    )
    assert words
    assert words == sorted(set(words), key=str.lower)
