"""YAML of the packs, read strictly: duplicate keys are refused, and every refusal names file and line."""

from __future__ import annotations

import re
from collections.abc import Hashable
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from rules.errors import KnowledgeError

try:
    from yaml import CSafeLoader as _Base
except ImportError:  # the C parser is ten times faster, but the plain one reads the same
    from yaml import SafeLoader as _Base  # type: ignore[assignment]


class _StrictLoader(_Base):
    """Refuses a key that stands twice, and a key that is not a plain value."""

    place: str = ""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, Hashable):
            raise KnowledgeError("a key is not a plain value.", where=f"{loader.place}:{line}")
        if key in seen:
            raise KnowledgeError(
                f"the key {key!r} stands twice.", where=f"{loader.place}:{line}", remedy="Keep one."
            )
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


# YAML 1.1 reads the words on, off, yes and no as true and false; here they are words, as in YAML 1.2.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in _StrictLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"true|True|false|False"), list("tTfF")
)
_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(file: Path | Traversable) -> Any:
    """Read one YAML file; an empty file gives ``{}``.

    Raises:
        KnowledgeError: the file is no YAML, or a key stands twice.
    """
    loader = _StrictLoader(file.read_text(encoding="utf-8"))
    loader.place = str(file)
    try:
        return loader.get_single_data() or {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise KnowledgeError(
            f"not readable as YAML: {error.problem}.", where=f"{file}:{line}"
        ) from None
    except yaml.YAMLError as error:
        raise KnowledgeError(f"not readable as YAML: {error}.", where=str(file)) from None
    finally:
        loader.dispose()


def line_of(file: Path | Traversable, key: str) -> int:
    """The line on which a top-level ``key`` stands, for messages; 1 when it cannot be told."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith((f"{key}:", f"'{key}':", f'"{key}":')):
            return number
    return 1
