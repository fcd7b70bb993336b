"""What Spark hands from scan to review: parts of hits as Parquet, each sorted by patient."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from service.batch.shards import Form, Record

HITS: Final = "hits"
REPORTED: Final = "report-"
BATCH_ROWS: Final = 2_000


def parts_of(work: Path) -> list[Path]:
    """The parts by number; none where a run does not use Spark."""
    return sorted((work / HITS).glob("*.parquet"))


def forget_parts(work: Path) -> None:
    """Parts of an interrupted run and what was reviewed of them: another cut gives them other patients."""
    for report in work.glob(f"{REPORTED}*"):
        report.unlink()
    shutil.rmtree(work / HITS, ignore_errors=True)


def patients_in_part(part: Path) -> Iterator[tuple[str, list[Record]]]:
    """Each patient with all records, in order of the ids; only one patient is held at a time."""
    for key, own in groupby(_records_in(part), key=lambda one: one.key):
        yield key, list(own)


def _records_in(part: Path) -> Iterator[Record]:
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    for batch in pq.ParquetFile(part).iter_batches(batch_size=BATCH_ROWS):
        columns = [column.to_pylist() for column in batch.columns]
        for key, form, file, offset, line, raw in zip(*columns, strict=True):
            yield Record(key, Form(form), file, offset, line, raw)
