"""Recommendations as a Parquet table (extra ``batch``); the schema is documented in docs/analysts/reviewing-a-population.md."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
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
            columns = [
                (_lists if name in _LISTS else _texts)([row[name] for row in self._rows])
                for name in self._schema.names
            ]
            self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))
            self._rows = []


# ``pa.array`` would do, but it imports pandas wherever that is installed, which takes longer than most runs.
def _texts(values: Iterable[str]) -> Any:
    builder = pa.lib.StringBuilder()
    builder.append_values(list(values))
    return builder.finish()


def _lists(values: Sequence[Sequence[str]]) -> Any:
    ends = array("i", [0, *accumulate(map(len, values))])
    offsets = pa.Array.from_buffers(pa.int32(), len(ends), [None, pa.py_buffer(ends)])
    return pa.ListArray.from_arrays(offsets, _texts(chain.from_iterable(values)))
