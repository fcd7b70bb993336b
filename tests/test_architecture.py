"""The house stands as planned: who imports whom, how long a file is, what it is called, what it never names."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PACKAGES = ("rules", "fhir_adapter", "service")
LONGEST_FILE = 350  # lines: what a reader keeps in mind; architecture decides, this only counts
DRAWERS = {"utils", "util", "common", "helpers", "helper", "manager", "misc", "base"}
MAY_IMPORT_IN_A_PACK = {"rules.authoring", "rules.errors", "rules.evidence", "rules.facts"}

# One breach of every contract in pyproject.toml, in the order of the contracts there.
BREACHES = {
    "rules/planted_storey.py": "import fhir_adapter",
    "rules/planted_web.py": "import fastapi",
    "fhir_adapter/planted_rules.py": "import rules.packs",
    "rules/packs/planted_pack.py": "import rules.rulebook",
    "rules/planted_engine.py": "import durable_rules_engine",
    "service/planted_models.py": "from fhir.resources.R4B.patient import Patient",
}

# Written in pieces, so that this file does not name them itself.
NEVER_NAMED = {
    "a folder of one machine": re.compile(
        # What stands below the worklist's own address is a page, and no folder
        r"/wo" + r"rk/(?!act\b|export\b|undo\b|views\b)\w|/ro" + r"ot/\w"
        r"|/tm" + r"p/(?:brief|bash_jobs|studio)|\.\./sha" + r"red"
    ),
    "a registry other than the public one": re.compile(
        "(?:index-" + r"url|find-" + r"links)\s*=?\s*\S*:/" + r"/(?!pypi\.org)"
    ),
}


def _contracts(root: Path) -> list[str]:
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    return [contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]]


def _lint_imports(folder: Path) -> str:
    """What import-linter says about the three packages that lie in ``folder``."""
    command = Path(sys.executable).with_name("lint-imports")
    run = subprocess.run(
        [command, "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return run.stdout + run.stderr


def _modules(root: Path) -> list[Path]:
    return sorted(p for package in PACKAGES for p in (root / package).rglob("*.py"))


def test_every_layer_imports_only_what_lies_below_it(root):
    report = _lint_imports(root)
    for name in _contracts(root):
        assert f"{name} KEPT" in report, report


def test_a_planted_breach_of_each_contract_is_named(root, tmp_path):
    shutil.copy(root / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(
            root / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name, breach in BREACHES.items():
        (tmp_path / name).write_text(f"{breach}\n")
    report = _lint_imports(tmp_path)
    assert len(BREACHES) == len(_contracts(root))
    for contract, planted in zip(_contracts(root), BREACHES, strict=True):
        assert f"{contract} BROKEN" in report, report
        assert planted.removesuffix(".py").replace("/", ".") in report


def test_a_pack_imports_only_what_authors_are_given(root):
    for path in (root / "rules" / "packs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                if name.partition(".")[0] in PACKAGES:
                    assert name in MAY_IMPORT_IN_A_PACK or name.startswith("rules.packs."), (
                        path,
                        name,
                    )
                else:
                    assert name.partition(".")[0] in sys.stdlib_module_names, (path, name)


def test_no_file_is_too_long_to_be_read_at_one_sitting(root):
    # A migration is written once, in one piece, and never read as a whole again.
    read = [path for path in _modules(root) if path.parent.name != "versions"]
    lengths = {path: len(path.read_text().splitlines()) for path in read}
    assert not {str(p.relative_to(root)): n for p, n in lengths.items() if n > LONGEST_FILE}


def test_no_module_is_a_drawer(project_files):
    assert not [str(p) for p in project_files if p.suffix == ".py" and p.stem.lower() in DRAWERS]


def test_every_python_file_opens_with_its_purpose(project_files):
    silent = [
        str(path)
        for path in project_files
        if path.suffix == ".py"
        and not (ast.get_docstring(ast.parse(path.read_text())) or "").strip()
    ]
    assert not silent


def test_no_module_lies_beside_a_folder_of_its_own_name(root):
    assert not [str(p) for p in _modules(root) if p.with_suffix("").is_dir()]


@pytest.mark.parametrize("what", NEVER_NAMED)
def test_no_file_names(what, project_files):
    named = [
        f"{path}:{number}"
        for path in project_files
        for number, line in enumerate(_lines(path), start=1)
        if NEVER_NAMED[what].search(line)
    ]
    assert not named


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a folder of one machine", "open('/ro" + "ot/x')"),
        ("a registry other than the public one", "index-" + "url = https://mirror.example/simple"),
    ],
)
def test_the_search_for_names_finds_one(what, line):
    assert NEVER_NAMED[what].search(line)


def test_the_lock_file_names_the_public_index_only(root):
    hosts = set(re.findall(r"https?://([^/\"]+)", (root / "uv.lock").read_text()))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []


def test_no_test_leaves_the_service_to_the_clock_of_the_day(root):
    """A review counts ages from its clock: a test that does not say which one may fail some day by its date alone."""
    unsaid = [
        f"{path.relative_to(root)}:{call.lineno}"
        for path in sorted((root / "tests").rglob("*.py"))
        for call in _calls_without_a_clock(path.read_text())
    ]
    assert not unsaid


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("create_app(settings)", True),
        ("app.create_app(settings, fast=True)", True),
        ("assemble(settings)", True),
        ("create_app(settings, clock=clock)", False),
        ("create_app(parts.settings, parts=parts)", False),
    ],
)
def test_the_search_for_a_clock_tells_who_has_one(line, told):
    assert bool(_calls_without_a_clock(line)) is told


def _calls_without_a_clock(text: str) -> list[ast.Call]:
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return [
        call
        for call in calls
        if getattr(call.func, "attr", getattr(call.func, "id", "")) in {"create_app", "assemble"}
        and not {"clock", "parts"} & {one.arg for one in call.keywords}
    ]
