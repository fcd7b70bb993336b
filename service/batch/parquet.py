"""Recommendations as a Parquet table (extra ``batch``); the schema is documented in docs/analysts/outputs.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

_ROWS: Final = 50_000
_LISTS: Final = frozenset({"sources", "missing"})


def schema(columns: tuple[str, ...]) -> Any:
    """Text columns; ``sources`` and ``missing`` are lists of text. Nothing is ever null."""
    return pa.schema(
        [
            pa.field(name, pa.list_(pa.string()) if name in _LISTS else pa.string(), nullable=False)
            for name in columns
        ]
    )


class ParquetRows:
    """Writes rows in groups of fixed size, so that the same rows give the same bytes."""

    def __init__(self, path: Path) -> None:
        from service.batch.outputs import COLUMNS

        self._schema = schema(COLUMNS)
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        """Add one row."""
        self._rows.append(row)
        if len(self._rows) == _ROWS:
            self._flush()

    def close(self) -> None:
        """Write what waits and end the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []
