"""Parquet files and SQL as inputs, and results as tables, by DuckDB (extra ``sql``).

A source is copied to lines of resources beside the results first; from there on it is an input like any other,
and an interrupted run goes on without asking the source again.
"""

from __future__ import annotations

import atexit
import gc
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rules.errors import RequestError
from service.batch.outputs import (
    COLUMNS,
    FAILURES,
    FORMULA,
    GAPS,
    PARQUET,
    RECOMMENDATIONS,
    REJECTS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIX: Final = ".parquet"
RESOURCE: Final = "resource"
_ROWS_AT_ONCE: Final = 5_000
_LISTS: Final = ("sources", "missing")
_LINES: Final[dict[str, dict[str, str]]] = {
    GAPS: dict.fromkeys(("patient", "source", "path", "code", "says"), "VARCHAR")
    | {"matters": "BOOLEAN"},
    FAILURES: dict.fromkeys(("patient", "rule", "version", "error"), "VARCHAR"),
    REJECTS: {"file": "VARCHAR", "line": "BIGINT"}
    | dict.fromkeys(("code", "says", "patient"), "VARCHAR"),
}


def refuse_tables(target: Path) -> None:
    """Say before the run that its tables could not be written; raises RequestError."""
    refuse_without_duckdb()
    if target.exists():
        raise RequestError(f"{target} is there already; it is not written over.")


def refuse_without_duckdb() -> None:
    """Say at once that the extra is not installed; raises RequestError."""
    try:
        import duckdb  # noqa: F401
    except ImportError:
        raise RequestError(
            "Parquet, --sql and --tables need the extra 'sql' (pip install 'dekacard[sql]')."
        ) from None


def copy_parquet(file: Path, target: Path) -> None:
    """Write the resources of a Parquet file by line; raises RequestError as ``copy_query`` does."""
    with _Connection() as opened:
        _copy(opened, "SELECT * FROM read_parquet(?)", [str(file)], target, file.name)


def copy_query(query: str, database: Path | None, target: Path) -> None:
    """Write what a query gives by line: its column ``resource``, or its only column, as JSON text.

    Raises:
        RequestError: the extra is not installed, the query fails, or there is no such column of text.
    """
    with _Connection(database) as opened:
        _copy(opened, query, [], target, "--sql")


def _copy(opened: Any, query: str, parameters: Sequence[str], target: Path, name: str) -> None:
    import duckdb

    try:
        asked = opened.execute(query, list(parameters))
        columns = [one[0] for one in asked.description or ()]
        place = _place_of(columns, name)
        kind = str((asked.description or ())[place][1])
        if kind not in {"VARCHAR", "JSON", "STRING"}:
            raise RequestError(
                f"{name}: the column {columns[place]!r} is {kind}; it must hold each resource as JSON text."
            )
        with target.open("wb") as file:
            for row in _rows(asked):
                file.write(_line(row[place]))
    except duckdb.Error as error:
        first = str(error).strip().splitlines()[0]
        raise RequestError(f"{name}: DuckDB refuses: {first}") from None


def _place_of(columns: Sequence[str], name: str) -> int:
    if RESOURCE in columns:
        return columns.index(RESOURCE)
    if len(columns) == 1:
        return 0
    raise RequestError(
        f"{name} has the columns {', '.join(columns)}; the one with the resources must be called {RESOURCE!r}."
    )


def _rows(asked: Any) -> Iterator[Any]:
    while rows := asked.fetchmany(_ROWS_AT_ONCE):
        yield from rows


def _line(value: str | None) -> bytes:
    """One line; a row without a resource stays a line, so that the review rejects it by its number."""
    if value is None:
        return b"null\n"
    # Outside of texts a break is a blank; inside, JSON does not allow it, and the review says so.
    return value.replace("\n", " ").replace("\r", " ").encode() + b"\n"


def write_tables(folder: Path, target: Path) -> None:
    """The results of a run as tables of one DuckDB file: recommendations, gaps, failures, rejects, firings, inputs.

    Raises:
        RequestError: the extra is not installed, or the file is there and no longer ours to replace.
    """
    import orjson

    beside = target.with_name(f"{target.name}.{os.getpid()}.part")
    told = orjson.loads((folder / "run.json").read_bytes())
    try:
        with _Connection(beside, writes=True) as opened:
            opened.execute(f"CREATE TABLE recommendations AS {_recommendations(folder)}")
            for name, columns in _LINES.items():
                _table_of_lines(opened, folder / name, columns)
            opened.execute("CREATE TABLE firings (rule VARCHAR, patients BIGINT)")
            _insert(opened, "firings", sorted(told["firings"].items()))
            opened.execute(
                "CREATE TABLE inputs (file VARCHAR, type VARCHAR, bytes BIGINT, lines BIGINT)"
            )
            _insert(
                opened,
                "inputs",
                [
                    [one[name] for name in ("file", "type", "bytes", "lines")]
                    for one in told["inputs"]
                ],
            )
            opened.execute("CREATE TABLE run (name VARCHAR, value VARCHAR)")
            plain = {name: told[name] for name in ("as_of", "profile", "verbosity", "zone")}
            packs = {f"pack {name}": mark for name, mark in told["knowledge"].items()}
            _insert(opened, "run", list((plain | packs).items()))
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _recommendations(folder: Path) -> str:
    if (folder / PARQUET).is_file():
        return f"SELECT * FROM read_parquet({_quoted(folder / PARQUET)})"  # noqa: S608 - quoted
    # Without Parquet from the table for people, whose formulas are made harmless by a mark and whose lists are words
    columns = ", ".join(
        f"string_split({name}, ' ') AS {name}"
        if name in _LISTS
        else f"regexp_replace({name}, '^''([{re.escape(FORMULA)}])', '\\1') AS {name}"
        for name in COLUMNS
    )
    source = f"read_csv({_quoted(folder / RECOMMENDATIONS)}, header=true, all_varchar=true)"
    return f"SELECT {columns} FROM {source}"  # noqa: S608 - names of ours


def _table_of_lines(opened: Any, file: Path, columns: dict[str, str]) -> None:
    listed = ", ".join(f"{name}: '{kind}'" for name, kind in columns.items())
    source = f"read_json({_quoted(file)}, format='newline_delimited', columns={{{listed}}})"
    opened.execute(f"CREATE TABLE {file.stem} AS SELECT * FROM {source}")  # noqa: S608 - names of ours


def _insert(opened: Any, table: str, rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        marks = ", ".join("?" * len(rows[0]))
        into = f"INSERT INTO {table} VALUES ({marks})"  # noqa: S608 - names of ours
        opened.executemany(into, [list(row) for row in rows])


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


class _Connection:
    """A connection that never fetches an extension from a network."""

    def __init__(self, database: Path | None = None, *, writes: bool = False) -> None:
        refuse_without_duckdb()
        import duckdb

        # What is kept out of the collector's rounds looks like a leak to DuckDB's bindings when the process ends
        atexit.register(gc.unfreeze)
        if database is not None and not writes and not database.is_file():
            raise RequestError(f"{database}: there is no such database.")
        try:
            self._opened = duckdb.connect(
                str(database) if database else ":memory:",
                read_only=database is not None and not writes,
                config={
                    "autoinstall_known_extensions": "false",
                    "autoload_known_extensions": "false",
                },
            )
        except duckdb.Error as error:
            raise RequestError(f"{database}: {str(error).strip().splitlines()[0]}") from None

    def __enter__(self) -> Any:
        return self._opened

    def __exit__(self, *_: object) -> None:
        self._opened.close()
