"""Who works on a run: this process by itself, or worker processes that stay for all its steps."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from time import sleep
from types import TracebackType
from typing import Any, Final, Literal, Self

from service.batch.values import Interrupted
from service.batch.workshop import Workshop

Step = Literal["scan", "review"]

_KILLED: Final = (
    "A worker process was killed (often: out of memory). What is done is kept; go on with --resume."
)
_LOOKS_AFTER_PARENT_SECONDS: Final = 1.0
_tools: list[Workshop] = []


class Crew:
    """Does tasks and shards, here or elsewhere; leave it with ``with``.

    Where that is safe, workers begin as copies of this process, with all knowledge open already.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder
        self._ahead = 2 * workers
        self._pool: ProcessPoolExecutor | None = None
        if workers > 1:
            way: Literal["fork", "spawn"] = "fork" if _alone() else "spawn"
            if way == "fork":
                _open(folder).warm_up()
            self._pool = ProcessPoolExecutor(
                max_workers=workers,
                mp_context=get_context(way),
                initializer=_begin,
                initargs=(str(folder), os.getpid()),
            )
            # copies are made at the first submission: before this process starts a thread to show progress
            self._pool.submit(os.getpid)

    def do(self, step: Step, todo: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Number and report of each piece of work as it is done, in any order.

        Raises:
            Interrupted: a worker was killed.
        """
        if self._pool is None:
            if todo and not _tools:
                _open(self._folder)
            for number in todo:
                yield number, _do(step, number)
            return
        try:
            yield from self._collected(self._pool, step, todo)
        except BrokenProcessPool:
            raise Interrupted(_KILLED) from None

    def _collected(
        self, pool: ProcessPoolExecutor, step: Step, todo: Sequence[int]
    ) -> Iterator[tuple[int, Any]]:
        waiting: dict[Future[Any], int] = {}
        rest = iter(todo)
        while True:
            while len(waiting) < self._ahead and (number := next(rest, None)) is not None:
                waiting[pool.submit(_do, step, number)] = number
            if not waiting:
                return
            finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for one in finished:
                yield waiting.pop(one), one.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            if kind is not None:
                for process in list((self._pool._processes or {}).values()):  # noqa: SLF001 - no public way to stop at once
                    process.terminate()
            self._pool.shutdown(wait=True, cancel_futures=True)
        while _tools:
            _tools.pop().close()


def _alone() -> bool:
    """Whether a copy of this process is whole: only the thread that asks for it goes over into a copy."""
    if sys.platform != "linux":
        return False
    try:
        return len(list(Path("/proc/self/task").iterdir())) == 1
    except OSError:
        return False


def _open(folder: Path) -> Workshop:
    while _tools:
        _tools.pop().close()
    _tools.append(Workshop(folder))
    return _tools[0]


def _begin(folder: str, parent: int) -> None:
    """Prepare a worker process; called once in each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_end_with, args=(parent,), daemon=True).start()
    if not _tools:
        _open(Path(folder))


def _end_with(parent: int) -> None:
    """A worker whose parent was killed would wait for work for ever."""
    while os.getppid() == parent:
        sleep(_LOOKS_AFTER_PARENT_SECONDS)
    os._exit(1)


def _do(step: Step, number: int) -> Any:
    tools = _tools[0]
    return tools.scan(number) if step == "scan" else tools.review(number)
