"""One pack folder on disk: its YAML as models, its Python as rules and derivations, its digest."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from rules.authoring import Derivation, Rule
from rules.errors import KnowledgeError
from rules.knowledge import (
    ActionModel,
    CardModel,
    CitationModel,
    FindingModel,
    OverrideReasonModel,
    PackHead,
    Parameter,
)
from rules.yaml_files import line_of, read_yaml

Model = TypeVar("Model", bound=BaseModel)
_SKIPPED = {"__pycache__"}


@dataclass(frozen=True)
class Pack:
    """Everything one folder of knowledge says; ``digest`` is the SHA-256 of its files."""

    head: PackHead
    folder: Path
    digest: str
    parameters: dict[str, Parameter]
    findings: dict[str, FindingModel]
    cards: dict[str, CardModel]
    actions: dict[str, ActionModel]
    override_reasons: dict[str, OverrideReasonModel]
    citations: dict[str, CitationModel]
    wording: dict[str, Any]
    texts: dict[str, Any]
    rules: tuple[Rule, ...] = ()
    derivations: tuple[Derivation, ...] = ()
    claims: dict[str, Any] = field(default_factory=dict)

    @property
    def codes(self) -> Path:
        """Folder of the code lists (it may not exist)."""
        return self.folder / "codes"

    @property
    def vignettes(self) -> Path:
        """Folder of the vignettes (it may not exist)."""
        return self.folder / "vignettes"


def open_pack(folder: Path, module: str | None = None) -> Pack:
    """Read one pack folder; ``module`` is its import name when it is an installed package.

    Raises:
        KnowledgeError: any file of the pack is wrong; the message names file and line.
    """
    head = read_head(folder)
    digest = digest_of(folder)
    rules, derivations = _read_code(folder, module, head, digest)
    return Pack(
        head=head,
        folder=folder,
        digest=digest,
        parameters=_read_models(folder / "parameters.yaml", Parameter),
        findings=_read_models(folder / "findings.yaml", FindingModel),
        cards=_read_models(folder / "cards.yaml", CardModel),
        actions=_read_models(folder / "actions.yaml", ActionModel),
        override_reasons=_read_models(folder / "override_reasons.yaml", OverrideReasonModel),
        citations=_read_models(folder / "citations.yaml", CitationModel),
        wording=_read_plain(folder / "wording.yaml"),
        texts=_read_plain(folder / "texts.yaml"),
        rules=rules,
        derivations=derivations,
        claims=_read_plain(folder / "claims.yaml"),
    )


def digest_of(folder: Path) -> str:
    """SHA-256 over every file of the pack, path and content, in a fixed order."""
    total = hashlib.sha256()
    for path in _files(folder):
        content = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        total.update(f"{name}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not _SKIPPED.intersection(path.parts) and path.suffix != ".pyc":
            yield path


def read_head(folder: Path) -> PackHead:
    """Read ``pack.toml``; raises KnowledgeError when it is missing or wrong."""
    file = folder / "pack.toml"
    if not file.is_file():
        raise KnowledgeError("is no pack: it has no pack.toml.", where=str(folder))
    try:
        return PackHead.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise KnowledgeError(f"not readable as TOML: {error}.", where=str(file)) from None
    except ValidationError as error:
        raise KnowledgeError(_first_problem(error), where=str(file)) from None


def _read_models(file: Path, model: type[Model]) -> dict[str, Model]:
    entries = _read_plain(file)
    read: dict[str, Model] = {}
    for name, entry in entries.items():
        try:
            read[str(name)] = model.model_validate(entry)
        except ValidationError as error:
            where = f"{file}:{line_of(file, str(name))}"
            raise KnowledgeError(f"{name}: {_first_problem(error)}", where=where) from None
    return read


def _read_plain(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise KnowledgeError("must be a mapping from names to entries.", where=str(file))
    return content


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False)
    misspelt = (one for one in problems if one["type"] == "extra_forbidden")
    problem = next(misspelt, problems[0])  # a misspelt key is why the right one is missing
    place = ".".join(str(step) for step in problem["loc"])
    words = "is not a known key" if problem["type"] == "extra_forbidden" else problem["msg"]
    return f"{place}: {words}." if place else f"{words}."


def _read_code(
    folder: Path, module: str | None, head: PackHead, digest: str
) -> tuple[tuple[Rule, ...], tuple[Derivation, ...]]:
    rules: list[Rule] = []
    derivations: list[Derivation] = []
    for loaded in _modules(folder, module, head, digest):
        for value in vars(loaded).values():
            if isinstance(value, Rule) and value not in rules:
                rules.append(value)
            elif isinstance(value, Derivation) and value not in derivations:
                derivations.append(value)
    return tuple(rules), tuple(derivations)


def _modules(folder: Path, module: str | None, head: PackHead, digest: str) -> Iterator[ModuleType]:
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    if module is not None:
        for name in names:
            yield importlib.import_module(f"{module}.{name}")
        return
    # A folder outside the import path gets a name of its own per content, so that a reload never meets
    # the modules of an earlier version.
    package = f"dekacard_pack_{head.id.replace('-', '_')}_{digest[:16]}"
    if package not in sys.modules:
        _import_file(package, folder / "__init__.py", folder)
    for name in names:
        yield sys.modules.get(f"{package}.{name}") or _import_file(
            f"{package}.{name}", folder / f"{name}.py"
        )


def _import_file(name: str, file: Path, folder: Path | None = None) -> ModuleType:
    search = [str(folder)] if folder else None
    if folder is not None and not file.is_file():
        loaded = ModuleType(name)
        loaded.__path__ = [str(folder)]
        sys.modules[name] = loaded
        return loaded
    loader = SourceFileLoader(name, str(file))
    spec = importlib.util.spec_from_file_location(
        name, file, loader=loader, submodule_search_locations=search
    )
    loaded = importlib.util.module_from_spec(cast("ModuleSpec", spec))  # a loader makes sure of it
    sys.modules[name] = loaded
    try:
        loader.exec_module(loaded)
    except KnowledgeError:
        sys.modules.pop(name, None)
        raise
    except Exception as error:
        sys.modules.pop(name, None)
        raise KnowledgeError(
            f"cannot be imported: {type(error).__name__}: {error}.", where=str(file)
        ) from error
    return loaded
