"""Who works on a run: this process by itself, or worker processes that stay for all its steps."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Final, Literal, Self

from service.batch.under_review import (
    forget_patient,
    note_of_this_process,
    patient_under_review,
)
from service.batch.values import Interrupted
from service.batch.workshop import Workshop

Step = Literal["scan", "compare", "review"]
Way = Literal["fork", "spawn"]

_KILLED: Final = (
    "A worker process was killed (often: out of memory), and another one too. "
    "What is done is kept; go on with --resume."
)
_DEATHS: Final = 2  # of workers, after which the patient under review is set aside
_tools: list[Workshop] = []


class Crew:
    """Does tasks and shards in ``workers`` processes, or in this one when there are none; leave it with ``with``.

    Where that is safe, workers begin as copies of this process, with all knowledge open already. Whatever was
    under way when one of them died is done again, piece by piece, by a worker that works alone. With ``anew`` no
    worker is a copy: for a process that holds connections which none but itself may hold.
    """

    def __init__(self, folder: Path, workers: int, *, anew: bool = False) -> None:
        self._folder = folder
        self._workers = workers
        self._anew = anew
        self._note = note_of_this_process(folder)
        self._pool: ProcessPoolExecutor | None = None
        self._under_way: dict[Future[Any], int] = {}
        if workers:
            self._begin_anew(workers)

    def do(self, step: Step, todo: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Number and report of each piece of work as it is done, in any order.

        Raises:
            Interrupted: workers die of something that no single patient can be blamed for.
        """
        if not self._workers:
            if todo and not _tools:
                _open(self._folder)
            for number in todo:
                yield number, _do(step, number)
            return
        left = dict.fromkeys(todo)
        while left:
            try:
                for number, report in self._collected(step, list(left)):
                    del left[number]
                    yield number, report
            except BrokenProcessPool:
                suspects = sorted(self._under_way.values())
                if not suspects:
                    raise Interrupted(_KILLED) from None
                self._begin_anew(1)
                for number in suspects:
                    report = self._alone(step, number)
                    del left[number]
                    yield number, report
                self._begin_anew(self._workers)

    def _collected(self, step: Step, todo: Sequence[int]) -> Iterator[tuple[int, Any]]:
        waiting = self._under_way = {}
        rest = iter(todo)
        while True:
            while len(waiting) < 2 * self._workers and (number := next(rest, None)) is not None:
                waiting[self._submit(_do, step, number)] = number
            if not waiting:
                return
            finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for one in finished:
                report = one.result()
                yield waiting.pop(one), report

    def _alone(self, step: Step, number: int) -> Any:
        if step == "review":
            return self._review_carefully(number)
        try:
            return self._submit(_do, step, number).result()
        except BrokenProcessPool:
            raise Interrupted(_KILLED) from None

    def _review_carefully(self, shard: int) -> Any:
        """Review a shard; a patient who kills a worker twice is set aside, and named in the report."""
        deaths: Counter[str | None] = Counter()
        aside: list[str] = []
        while True:
            forget_patient(self._note)
            try:
                return self._submit(_review_without, shard, aside, self._note).result()
            except BrokenProcessPool:
                self._begin_anew(1)
            patient = patient_under_review(self._note)
            deaths[patient] += 1
            if patient is not None and not self._survives(shard, patient):
                deaths[patient] += 1
            if deaths[patient] < _DEATHS:
                continue
            if patient is None:  # before the first patient, or after the last one
                raise Interrupted(_KILLED)
            aside.append(patient)

    def _survives(self, shard: int, patient: str) -> bool:
        """Whether a new worker lives through the review of this patient and nobody else."""
        try:
            self._submit(_try_patient, shard, patient).result()
            lived = True
        except BrokenProcessPool:
            lived = False
        self._begin_anew(1)
        return lived

    def _submit(self, what: Callable[..., Any], *given: Any) -> Future[Any]:
        assert self._pool is not None  # noqa: S101 - for the type checker: there are workers
        return self._pool.submit(what, *given)

    def _begin_anew(self, workers: int) -> None:
        """New workers instead of those there are."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        way: Way = "fork" if _alone() and not self._anew else "spawn"
        if way == "fork" and not _tools:
            _open(self._folder).warm_up()
        self._pool = ProcessPoolExecutor(
            max_workers=workers,
            mp_context=get_context(way),
            initializer=_begin,
            initargs=(str(self._folder),),
        )
        # copies are made at the first submission: before this process starts a thread to show progress
        self._pool.submit(os.getpid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(at_once=kind is not None)

    def close(self, *, at_once: bool = False) -> None:
        """Let all workers go, after what they have in hand unless ``at_once``."""
        if self._pool is not None:
            if at_once:
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


def _begin(folder: str) -> None:
    """Prepare a worker process; called once in each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Thread(target=_end_with_parent, daemon=True).start()
    if not _tools:
        _open(Path(folder))


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever, and keep the output folder locked."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _memory() -> Iterator[None]:
    """A worker process without memory is of no more use: it ends as if it had crashed, and another one begins."""
    try:
        yield
    except MemoryError:
        if parent_process() is None:
            raise
        os._exit(1)


def _do(step: Step, number: int) -> Any:
    tools = _tools[0]
    with _memory():
        steps: dict[Step, Callable[[int], Any]] = {
            "scan": tools.scan,
            "compare": tools.compare,
            "review": tools.review,
        }
        return steps[step](number)


def _review_without(shard: int, aside: Sequence[str], note: Path) -> Any:
    with _memory():
        return _tools[0].review(shard, note=note, aside=frozenset(aside))


def _try_patient(shard: int, patient: str) -> None:
    with _memory():
        _tools[0].try_patient(shard, patient)
