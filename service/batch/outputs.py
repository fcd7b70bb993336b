"""The files of a run, written from the sorted answers; the same bytes whoever made the answers."""

from __future__ import annotations

import csv
import heapq
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final

import orjson

from service.batch.values import Reject

COLUMNS: Final = (
    "patient",
    "rule",
    "about",
    "indicator",
    "summary",
    "certainty",
    "status",
    "version",
    "pack",
    "sources",
    "missing",
    "evidence",
)
# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection"); some also in full width.
FORMULA: Final = "=+-@\t\r\n|\uff1d\uff0b\uff0d\uff20"
ISSUES: Final = "DetectedIssue.ndjson"
RECOMMENDATIONS: Final = "recommendations.csv"
PARQUET: Final = "recommendations.parquet"
GAPS: Final = "gaps.ndjson"
FAILURES: Final = "failures.ndjson"
REJECTS: Final = "rejects.ndjson"


def answers_in(parts: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The answers of all parts by patient; each part is sorted already and holds whole patients."""
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) for path in parts]
        yield from heapq.merge(*map(_answers, files), key=_patient)


def _answers(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    for line in file:
        yield orjson.loads(line)


def _patient(answer: Mapping[str, Any]) -> str:
    return str(answer["patient"])


def write_outputs(
    folder: Path,
    answers: Iterable[dict[str, Any]],
    rejects: Iterable[Reject],
    unread: Mapping[str, str],
    put: Callable[[str, bytes], None],
) -> bool:
    """Write every result file; true when Parquet could be written as well.

    ``unread`` are the sources that nobody of the whole run has: one gap line each, without a patient.
    ``put`` gets name and bytes of every further file, so that all of them appear whole or not at all.
    """
    parquet = _parquet(folder / (PARQUET + ".part"))
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context((folder / (name + ".part")).open("wb"))
            for name in (ISSUES, RECOMMENDATIONS, GAPS, FAILURES)
        }
        opened[RECOMMENDATIONS].write(_csv_line(COLUMNS))
        for source, reason in sorted(unread.items()):
            gap = {
                "patient": None,
                "source": source,
                "path": "",
                "code": "not-read",
                "says": reason,
            }
            opened[GAPS].write(_line(gap))
        for answer in answers:
            opened[ISSUES].writelines(map(_line, answer["issues"]))
            opened[GAPS].writelines(map(_line, answer["gaps"]))
            opened[FAILURES].writelines(map(_line, answer["failures"]))
            for row in answer["rows"]:
                opened[RECOMMENDATIONS].write(_csv_line([_cell(row[name]) for name in COLUMNS]))
                if parquet is not None:
                    parquet.add(row)
    for name in opened:
        (folder / (name + ".part")).replace(folder / name)
    if parquet is not None:
        parquet.close()
        (folder / (PARQUET + ".part")).replace(folder / PARQUET)
    ordered = sorted(rejects, key=lambda one: (one.file, one.line, one.code, one.patient))
    put(REJECTS, b"".join(_line(_told(one)) for one in ordered))
    return parquet is not None


def _told(reject: Reject) -> dict[str, Any]:
    told = {"file": reject.file, "line": reject.line, "code": reject.code, "says": reject.says}
    return told | ({"patient": reject.patient} if reject.patient else {})


def _line(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def _cell(value: Any) -> str:
    text = " ".join(value) if isinstance(value, list) else str(value)
    return "'" + text if text.startswith(tuple(FORMULA)) else text


def _csv_line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode()


def _parquet(path: Path) -> Any:
    try:
        from service.batch.parquet import ParquetRows
    except ImportError:
        return None
    return ParquetRows(path)
