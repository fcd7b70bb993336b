"""Words that derivations put into findings, taken from ``texts.yaml``: no sentence stands in Python."""

from __future__ import annotations

from rules.errors import KnowledgeError
from rules.evidence import Evidence


def text(e: Evidence, key: str, **names: object) -> str:
    """A text of the packs with its names filled in.

    Raises:
        KnowledgeError: no active pack has the text.
    """
    template = e.knowledge.rulebook.texts.get(key)
    if not isinstance(template, str):
        raise KnowledgeError(f"there is no text {key!r}.", remedy="Add it to a texts.yaml.")
    return template.format(**names)


def lacking_dose(e: Evidence, ingredient: str) -> str:
    """Say that the daily dose of an ingredient is not recorded."""
    return text(e, "missing_dose", name=e.name_of(ingredient))
