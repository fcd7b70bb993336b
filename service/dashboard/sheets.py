"""Tables for spreadsheets that no cell can turn into a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

# What spreadsheets take for the start of a formula, also in its full-width form (OWASP ASVS 5.0.0, 1.2.10)
_FORMULA: Final = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_BOM: Final = "\ufeff"  # without it a widely used spreadsheet reads UTF-8 as something else


def harmless(cell: str | int) -> str:
    """A cell as text; one that a spreadsheet would calculate gets an apostrophe in front."""
    text = str(cell)
    if isinstance(cell, str) and text.lstrip(" \u00a0").startswith(_FORMULA):
        return f"'{text}"
    return text


def csv_text(heads: Sequence[str], rows: Iterable[Sequence[str | int]]) -> bytes:
    """A CSV file (RFC 4180, UTF-8 with a byte order mark), every text cell made harmless."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(heads)
    for row in rows:
        writer.writerow([harmless(cell) for cell in row])
    return (_BOM + out.getvalue()).encode()
