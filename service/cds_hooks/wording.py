"""Text for cards: Markdown without a way in for foreign markup, and summaries of fewer than 140 characters."""

from __future__ import annotations

import re

SUMMARY_LIMIT = 140  # CDS Hooks 2.0: "<140 character summary"

# Names and product texts come from a record: whatever means something to Markdown or HTML loses its meaning.
_ESCAPES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        "\n": " ",
        "\r": " ",
        "\t": " ",
        **{sign: f"\\{sign}" for sign in "\\`*_[]|~#!"},
    }
)
_MEANS_SOMETHING = re.compile(r"[&<>\n\r\t\\`*_\[\]|~#!]")
_WEB_ADDRESS = re.compile(r"(?i)(?=://)|(?<=\bwww)(?=\.)")
# What opens a list or draws a line, at the beginning of a text or as the whole of it
_LINE_MARK = re.compile(r"^(\d{0,9})(?=[-+.)](?:[\s-]|\Z))")
_MAY_MARK = frozenset("-+.)0123456789")
_NUMBER_AT_END = re.compile(r"[\d.,/]+[\d%]?$|^[<>≥≤]$")


def escaped(text: str) -> str:
    """Text that shows in GitHub-flavoured Markdown exactly as it is written, links and HTML included."""
    text = text.strip()  # four blanks in front make code of a line
    plain = text.translate(_ESCAPES) if _MEANS_SOMETHING.search(text) else text
    if "://" in plain or "www." in plain.lower():
        plain = _WEB_ADDRESS.sub(r"\\", plain)
    return _LINE_MARK.sub(r"\1\\", plain) if plain[:1] in _MAY_MARK else plain


def short_summary(text: str) -> str:
    """One line of fewer than 140 UTF-16 units; shortened at a word, never within a number and its unit."""
    line = " ".join(text.split())
    if _units(line) < SUMMARY_LIMIT:
        return line
    words = line.split(" ")
    while words and _units(" ".join(words)) > SUMMARY_LIMIT - 2:
        words.pop()
    while words and _NUMBER_AT_END.search(words[-1]):
        words.pop()
    if not words:
        kept = line
        while _units(kept) > SUMMARY_LIMIT - 2:
            kept = kept[:-1]
        return kept + "…"
    return " ".join(words).rstrip(",;:") + "…"


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
