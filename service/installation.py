"""Whether the files of our packages are really ours: PyPI has distributions called ``rules`` and ``service`` too."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Final

from rules.errors import KnowledgeError

# Top-level packages that another distribution could bring as well, silently replacing files of ours.
OWN_PACKAGES: Final = ("rules", "fhir_adapter", "service")


def refuse_clashes() -> None:
    """Refuse to run when another distribution has put files into our packages (PyPI has a ``rules`` of its own).

    Raises:
        KnowledgeError: a file of our packages is not ours; the remedy is an environment of our own.
    """
    foreign = foreign_files()
    if foreign:
        raise KnowledgeError(
            f"another distribution wrote into the packages of dekacard: {', '.join(foreign[:3])}.",
            remedy="Install dekacard into an environment of its own (uv tool install dekacard, or pipx).",
        )


def foreign_files() -> list[str]:
    """Files directly in our packages that our wheel did not bring, or not with this size.

    Only our own list of files is read: asking every distribution takes longer than the rest of the start.
    A checkout (editable install) has no such list and is taken as it is.
    """
    try:
        files = importlib.metadata.distribution("dekacard").files or []
    except importlib.metadata.PackageNotFoundError:
        return []
    ours = {str(file): file for file in files if file.parts[0] in OWN_PACKAGES}
    if not ours:
        return []
    root = Path(str(files[0].locate())).parents[len(files[0].parts) - 1]
    foreign: list[str] = []
    for package in OWN_PACKAGES:
        for path in sorted((root / package).glob("*.py")):
            known = ours.get(f"{package}/{path.name}")
            if known is None or (known.size is not None and known.size != path.stat().st_size):
                foreign.append(f"{package}/{path.name}")
    return foreign
