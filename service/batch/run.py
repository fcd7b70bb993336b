"""A run from inputs to outputs: plan, scan, review, write; each step can be taken up where it was left."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from rules.errors import RequestError
from service.batch import workshop
from service.batch.account import Account
from service.batch.crew import Crew
from service.batch.inputs import MIXED, Inputs, find_inputs, incomplete_types, tasks_of
from service.batch.medications import read_shelf
from service.batch.outputs import answers_in, write_outputs
from service.batch.planning import as_planned, refuse_changed, shards_for, take_for_mixed
from service.batch.progress import Progress
from service.batch.shards import ShardReader
from service.batch.spark_parts import HITS, forget_parts
from service.batch.summary import summary_page
from service.batch.values import Interrupted, Options, OutputRefused, ScanReport, ShardReport, Task
from service.batch.versions import read_seen, read_versions
from service.batch.workshop import (
    Blueprint,
    Delivery,
    compared_file,
    report_file,
    reviewed_file,
    rulebook_of,
    scanned_file,
    seen_file,
    write_whole,
)
from service.documents import TYPES_OF_SOURCE

if TYPE_CHECKING:
    from service.batch.storing import Handover

WORK: Final = ".work"
NOT_FETCHED: Final = "not fetched"
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
INCOMPLETE: Final = "not fetched as a whole"


class Run:
    """One run into one output folder.

    ``workers`` are processes beside this one. With 0 this process does the work itself, and a native crash ends it.
    """

    def __init__(
        self,
        out: Path,
        *,
        workers: int = 0,
        progress: Progress | None = None,
        handover: Handover | None = None,
    ) -> None:
        self.out = out
        self._handover = handover
        self.work = out / WORK
        self.workers = workers
        self.progress = progress or Progress(quiet=True)
        self.started = time.monotonic()

    def review(self, paths: Sequence[Path], options: Options, *, resume: bool = False) -> Account:
        """Review every patient found under the paths.

        Raises:
            OutputRefused: the folder is in use, holds a finished run, or an interrupted one of other inputs.
            Interrupted: by Ctrl-C or SIGTERM; ``resume`` goes on.
            RequestError: a path cannot be used, or no moment is given.
        """
        with self._locked(), _stoppable():
            inputs = find_inputs(paths)
            if self._handover is not None:
                self._handover.refuse_future(options.as_of or inputs.as_of)
                self._handover.refuse_older_data(options.as_of, inputs.as_of)
            plan = self._plan(inputs, options, resume=resume)
            if self._handover is not None:
                self._handover.prepare(self.work)
            inputs.sources = as_planned(inputs.sources, plan)
            while True:
                with self._crew() as crew:
                    scans = self._scan(plan, crew)
                    if self._take_for_mixed(plan, inputs, scans):
                        continue  # with a crew that knows
                    self._find_outdated(plan, crew)
                    refuse_changed(inputs.sources)
                    delivery = self._deliver(inputs, scans)
                    shards = self._review(plan, crew)
                return self._write(plan, inputs, scans, shards, delivery)

    # Steps -----------------------------------------------------------------------------------------------------

    def _plan(self, inputs: Inputs, options: Options, *, resume: bool) -> Blueprint:
        as_of = options.as_of or inputs.as_of
        if not as_of:
            raise RequestError("--as-of is needed: no manifest says when the data were exported.")
        options = msgspec.structs.replace(options, as_of=as_of)
        book = rulebook_of(options)
        if book.profiles and options.profile not in book.profiles:
            raise RequestError(
                f"There is no band profile {options.profile!r}. Known: {', '.join(book.profiles)}."
            )
        plan = Blueprint(
            options=options,
            tasks=tasks_of(inputs.sources),
            names=[source.name for source in inputs.sources],
            shards=shards_for(inputs.sources),
            fingerprint="",
        )
        plan.fingerprint = hashlib.sha256(
            msgspec.json.encode(
                [
                    options,
                    inputs.sources,
                    inputs.deletions,
                    book.digest,
                    plan.shards,
                ]
            )
        ).hexdigest()
        known = self.work / "plan.json"
        if known.is_file():
            before = msgspec.json.decode(known.read_bytes(), type=Blueprint)
            if not resume:
                raise OutputRefused(
                    f"{self.out} holds an interrupted run: go on with --resume, or remove it."
                )
            if before.fingerprint != plan.fingerprint:
                raise OutputRefused(
                    f"{self.out} holds an interrupted run of other inputs, options or rules."
                )
            return before
        if (self.out / "run.json").exists():
            raise OutputRefused(f"{self.out} holds a finished run: choose a new folder.")
        self.work.mkdir(exist_ok=True)
        self._fill_shelf(inputs)
        write_whole(self.work / workshop.DELETIONS, msgspec.json.encode(inputs.deletions))
        write_whole(known, msgspec.json.encode(plan))
        return plan

    def _scan(self, plan: Blueprint, crew: Crew) -> list[ScanReport]:
        if (self.work / HITS).exists():  # it was begun on Spark
            forget_parts(self.work)
        done: dict[int, ScanReport] = {}
        for task in plan.tasks:
            path = scanned_file(self.work, task.number)
            if path.exists():
                done[task.number] = ShardReader(path).report
        total = sum(_weight(task) for task in plan.tasks)
        self.progress.begin("scanning", total, "bytes")
        for number in done:
            self.progress.skip(_weight(plan.tasks[number]))
        todo = [task.number for task in plan.tasks if task.number not in done]
        for number, report in crew.do("scan", todo):
            done[number] = report
            self.progress.step(_weight(plan.tasks[number]))
        self.progress.end()
        return [done[task.number] for task in plan.tasks]

    def _take_for_mixed(self, plan: Blueprint, inputs: Inputs, scans: list[ScanReport]) -> bool:
        """Files whose beginning showed one type, and that hold others, are read again, every line parsed.

        Without that, Medications among them would be missed, and later versions of what else they hold.
        """
        if not take_for_mixed(plan, {number for report in scans for number in report.mixed}):
            return False
        inputs.sources = as_planned(inputs.sources, plan)
        for task in plan.tasks:
            scanned_file(self.work, task.number).unlink(missing_ok=True)
        self._fill_shelf(inputs)
        write_whole(self.work / "plan.json", msgspec.json.encode(plan))
        return True

    def _fill_shelf(self, inputs: Inputs) -> None:
        shelf = read_shelf(inputs.sources, inputs.deletions)
        write_whole(self.work / "medications", msgspec.msgpack.encode(shelf))

    def _find_outdated(self, plan: Blueprint, crew: Crew) -> None:
        """Which kept records stand somewhere in a later version; whoever reviews leaves these out."""
        if (self.work / workshop.OUTDATED).exists():
            return
        seen = read_seen(seen_file(self.work, task.number) for task in plan.tasks)
        outdated = seen.moved()
        if seen.kept:
            versions = {name: one.version for name, one in seen.kept.items()}
            write_whole(self.work / workshop.KEPT, msgspec.msgpack.encode(versions))
            self._compare(plan, crew)
            for task in plan.tasks:
                found = read_versions(compared_file(self.work, task.number))
                for name, version in found.items():
                    outdated[name] = max(version, outdated.get(name, version))
        write_whole(self.work / workshop.OUTDATED, msgspec.msgpack.encode(outdated))

    def _compare(self, plan: Blueprint, crew: Crew) -> None:
        numbers = [task.number for task in plan.tasks]
        todo = [one for one in numbers if not compared_file(self.work, one).exists()]
        self.progress.begin("comparing versions", len(numbers), "tasks")
        self.progress.skip(len(numbers) - len(todo))
        for _ in crew.do("compare", todo):
            self.progress.step(1)
        self.progress.end()

    def _deliver(self, inputs: Inputs, scans: list[ScanReport]) -> Delivery:
        """Which sources nobody delivered: with lines of resources, a type without a file was not fetched."""
        seen = {kind for report in scans for kind in report.types}
        exported = inputs.exported | seen
        lines = bool(
            seen or inputs.exported
        )  # Bundles, also by line, say for themselves what they hold
        cut = incomplete_types(inputs, scans)
        exported = set() if MIXED in cut else exported - cut
        unread = {
            source: INCOMPLETE if MIXED in cut or not cut.isdisjoint(types) else NOT_FETCHED
            for source, types in TYPES_OF_SOURCE.items()
            if lines and exported.isdisjoint(types)
        }
        delivery = Delivery(exported=sorted(exported), unread=unread)
        write_whole(self.work / "delivery.json", msgspec.json.encode(delivery))
        return delivery

    def _review(self, plan: Blueprint, crew: Crew) -> list[ShardReport]:
        done: dict[int, ShardReport] = {}
        for shard in range(plan.shards):
            path = report_file(self.work, shard)
            if path.exists():
                done[shard] = msgspec.msgpack.decode(path.read_bytes(), type=ShardReport)
        self.progress.begin("reviewing", plan.shards, "shards")
        self.progress.skip(len(done))
        todo = [shard for shard in range(plan.shards) if shard not in done]
        for shard, report in crew.do("review", todo):
            done[shard] = report
            self.progress.step(1, patients=report.patients)
        self.progress.end()
        return [done[shard] for shard in range(plan.shards)]

    def _write(
        self,
        plan: Blueprint,
        inputs: Inputs,
        scans: list[ScanReport],
        shards: list[ShardReport],
        delivery: Delivery,
    ) -> Account:
        account = Account.of(
            plan.options,
            inputs,
            scans,
            shards,
            unread=delivery.unread,
            rulebook=rulebook_of(plan.options),
        )
        parts = [reviewed_file(self.work, shard) for shard in range(plan.shards)]

        def put(name: str, data: bytes) -> None:
            write_whole(self.out / name, data)

        account.parquet = write_outputs(
            self.out, answers_in(parts), account.rejects, delivery.unread, put
        )
        if self._handover is not None:
            notes = sorted(self.work.glob("noted-*[0-9]"))
            account.stored = self._handover.hand_over(account.told, account.rejects, inputs, notes)
        elapsed = time.monotonic() - self.started
        put("run.meta.json", account.meta(self.workers, elapsed, datetime.now(UTC)))
        put(
            "summary.html",
            summary_page(account.told, rulebook_of(plan.options)).encode(),
        )
        put("run.json", account.to_json())
        shutil.rmtree(self.work)
        return account

    def _crew(self) -> Crew:
        return Crew(self.work, self.workers)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.out / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise OutputRefused(f"{self.out} cannot be written ({error.strerror}).") from None
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise OutputRefused(f"{self.out} is being written by another run.") from None
            yield
        finally:
            os.close(handle)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the run between two steps; nothing half-written counts."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("Stopped. What is done is kept; go on with --resume.") from None
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise Interrupted(
            f"The results cannot be written ({os.strerror(error.errno)}). "
            "What is done is kept; make room, then go on with --resume."
        ) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _weight(task: Task) -> int:
    return sum(one.length or Path(one.path).stat().st_size for one in task.stretches)
