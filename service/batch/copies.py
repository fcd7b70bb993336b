"""Inputs that cannot be read by place: copied beside the results first, so that a run can go on without them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from rules.errors import RequestError
from service.batch.values import OutputRefused

FOLDER: Final = ".copied"
STDIN: Final = "-"
_GZIP: Final = b"\x1f\x8b"
_PIECE: Final = 1024 * 1024


class Copies:
    """The copies of one run; each is made once, and appears whole or not at all."""

    def __init__(self, out: Path, *, resume: bool) -> None:
        self._out = out
        self._resume = resume

    def of(
        self, paths: Sequence[str], queries: Sequence[str] = (), database: Path | None = None
    ) -> list[Path]:
        """The paths as files and folders that can be read by place, and what the queries give.

        Raises:
            OutputRefused: the folder of the results holds another run.
            RequestError: standard input is empty, or a source cannot be copied.
        """
        wanted = list(self._wanted(paths, queries, database))
        return [self._copied(number, *one) if isinstance(one, tuple) else one
                for number, one in enumerate(wanted)]  # fmt: skip

    def remove(self) -> None:
        """Take the copies away; the run is done."""
        shutil.rmtree(self._out / FOLDER, ignore_errors=True)

    def _wanted(
        self, paths: Sequence[str], queries: Sequence[str], database: Path | None
    ) -> Iterator[Path | tuple[str, Callable[[Path], None]]]:
        from service.batch.tables import SUFFIX, copy_parquet, copy_query

        for one in paths:
            path = Path(one)
            if one == STDIN:
                yield "standard-input.json", _copy_stdin
            elif path.suffix == SUFFIX and path.is_file():
                yield f"{path.stem}.ndjson", partial(copy_parquet, path)
            else:
                yield path
        for number, query in enumerate(queries, 1):
            yield f"query-{number}.ndjson", partial(copy_query, query, database)

    def _copied(self, number: int, name: str, make: Callable[[Path], None]) -> Path:
        """The copy of one source, unless an interrupted run made it already."""
        folder = self._out / FOLDER / str(number)  # sources of one name stay apart
        if self._resume:
            for made in sorted(folder.glob(f"{name}*")):
                return made
        if (self._out / ".work").exists() or (self._out / "run.json").exists():
            raise OutputRefused(f"{self._out} holds another run already.")
        beside = folder / "part"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            make(beside)
        except OSError as error:
            raise OutputRefused(
                f"{name} cannot be copied into {self._out} ({error.strerror})."
            ) from None
        return beside.rename(folder / (name + ".gz" if _is_zipped(beside) else name))


def _copy_stdin(target: Path) -> None:
    source = sys.stdin.buffer
    start = source.read(1)
    if not start:
        raise RequestError("Standard input is empty.")
    with target.open("wb") as copy:
        copy.write(start)
        shutil.copyfileobj(source, copy, _PIECE)


def _is_zipped(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_GZIP)) == _GZIP
