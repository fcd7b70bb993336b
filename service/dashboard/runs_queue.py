"""Runs batch jobs one after the other, each as a process of its own; whoever starts the service again finds them."""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rules.errors import DekacardError
from service.alerts.batch_jobs import ACTIVE, Job, JobState, job_of, move, queued
from service.alerts.past_answers import micros
from service.batch.values import BatchExit

if TYPE_CHECKING:
    from service.alerts.record import Record
    from service.settings import Settings

_log = logging.getLogger("dekacard.batch")
_LOOK: Final = 0.5  # seconds between two looks at a running process
_REST: Final = 2.0
_PATIENCE: Final = 30.0  # seconds for a process to stop before it is killed
_SAID: Final = 600  # characters of a message that are kept
_FINISHED: Final = frozenset({0, int(BatchExit.REJECTS), 4})  # 4: done, but a rule broke
SERVICE: Final = "dekacard"


def this_machine() -> str:
    """The name under which this machine's runs are kept."""
    return socket.gethostname()


class RunQueue:
    """The queue of one server process; a lock beside the runs lets one process at a time work on it."""

    def __init__(self, record: Record, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._record = record
        self._settings = settings
        self._clock = clock
        self._folder = settings.runs_dir
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None
        if self._folder.is_dir():
            self.wake()  # something may have been left by the service that ran here before
        atexit.register(self.stop)

    def folder_of(self, job: Job) -> Path:
        """Where the files of a run lie."""
        return self.place(job.tenant, job.id)

    def place(self, tenant: str, job: str) -> Path:
        """Where the files of a run lie, by client and id."""
        return self._folder / tenant / job

    def wake(self) -> None:
        """See to it that somebody works on the queue."""
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._work_off, name="batch-queue", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """End the process that runs; what is done of it is kept."""
        child = self._child
        if child is not None and child.poll() is None:
            child.terminate()

    def _work_off(self) -> None:
        self._tidy()
        while True:
            try:
                waiting = queued(self._record.database, this_machine())
                if not waiting:
                    return
                with self._alone() as mine:
                    if mine:
                        self._next(waiting)
                        continue
            except (DekacardError, OSError) as error:
                _log.error("the batch queue stumbled (%s)", type(error).__name__)
            time.sleep(_REST)

    def _tidy(self) -> None:
        """Remove the files of runs that are older than evidence may be kept; the record keeps that they were made."""
        keep = timedelta(days=self._settings.keep_evidence_days)
        before = (self._clock() - keep).timestamp()
        for folder in self._folder.glob("*/*"):
            if folder.is_dir() and folder.stat().st_mtime < before:
                shutil.rmtree(folder, ignore_errors=True)

    def _next(self, waiting: list[Job]) -> None:
        """Settle what was left by an earlier service, then run the oldest that waits."""
        for job in waiting:
            if job.state != "waiting":
                self._settle(job)
                return
        self._run(waiting[0])

    def _settle(self, job: Job) -> None:
        """A run without its runner: its process may still be at work, may have ended, or was lost."""
        out = self.folder_of(job) / "out"
        if _is_locked(out):
            if job.state == "stopping":
                _log.warning("a run goes on without its runner; it ends by itself")
            time.sleep(_LOOK)
            return
        state: JobState = "done" if (out / "run.json").is_file() else "interrupted"
        if job.state == "stopping" and state == "interrupted":
            state = "cancelled"
        self._end(job, state, None, "" if state == "done" else "The service ended while it ran.")

    def _run(self, job: Job) -> None:
        started = {"started": micros(self._clock()), "attempts": job.attempts + 1, "says": ""}
        if not self._move(job, {"waiting"}, "running", started):
            return
        folder = self.folder_of(job)
        with (folder / "messages.txt").open("wb") as messages:
            try:
                child = subprocess.Popen(  # noqa: S603 - our own command; what users give stands after "--" or is checked
                    self._command(job, folder), stdin=subprocess.DEVNULL, stdout=messages, stderr=subprocess.STDOUT,
                    env=self._environment(), close_fds=True,
                )  # fmt: skip
            except OSError as error:
                self._end(job, "failed", None, f"The run could not be started: {error.strerror}.")
                return
            self._child = child
            code, stopped = self._watch(job, child)
            self._child = None
        said = _last_words(folder / "messages.txt")
        state = _outcome(code, stopped=stopped)
        self._end(job, state, code, "" if state == "done" else said)

    def _watch(self, job: Job, child: subprocess.Popen[bytes]) -> tuple[int, bool]:
        """Wait for the end; ask it to stop when somebody wants that, and kill it when it does not listen."""
        stopped_at = 0.0
        while True:
            try:
                return child.wait(_LOOK), bool(stopped_at)
            except subprocess.TimeoutExpired:
                pass
            if stopped_at:
                if time.monotonic() - stopped_at > _PATIENCE:
                    child.kill()
            elif self._wants_stop(job):
                child.terminate()
                stopped_at = time.monotonic()

    def _wants_stop(self, job: Job) -> bool:
        try:
            return job_of(self._record.database, job.tenant, job.id).state == "stopping"
        except DekacardError:
            return False  # the store does not answer; the run goes on

    def _end(self, job: Job, state: JobState, code: int | None, says: str) -> None:
        if state == "done":  # what was uploaded holds more of the patients than the results do
            shutil.rmtree(self.folder_of(job) / "in", ignore_errors=True)
        values = {"finished": micros(self._clock()), "exit_code": code, "says": says[:_SAID]}
        while True:
            try:
                self._move(job, ACTIVE, state, values)
            except DekacardError:
                time.sleep(_REST)
            else:
                return

    def _move(
        self,
        job: Job,
        allowed: frozenset[str] | set[str],
        to: JobState,
        values: Mapping[str, object],
    ) -> bool:
        return move(
            self._record.database, self._record.keyring, tenant=job.tenant, job=job.id, allowed=allowed, to=to,
            actor=SERVICE, at=self._clock(), values=values,
        )  # fmt: skip

    def _command(self, job: Job, folder: Path) -> list[str]:
        out = folder / "out"
        given = folder / "in" if job.origin == "upload" else (self._settings.runs_root or Path()) / job.source  # fmt: skip
        command = [sys.executable, "-m", "service.cli", "review", "--out", str(out), "--workers", "1"]  # fmt: skip
        if job.options.as_of:
            command += ["--as-of", job.options.as_of]
        if job.options.store:
            command += ["--store", "--client", job.tenant]
        elif job.options.profile:
            command += ["--profile", job.options.profile]
        if (out / ".work").is_dir():
            command.append("--resume")
        return [*command, "--", str(given)]

    def _environment(self) -> dict[str, str]:
        """What this service runs with, so that the run knows the same packs, clients and store."""
        from service.settings import PREFIX

        told = self._settings.model_dump(mode="json", exclude_defaults=True)
        known = {
            f"{PREFIX}{name.upper()}": ",".join(value) if isinstance(value, list) else str(value)
            for name, value in told.items()
            if value is not None and name not in {"dev", "engine"}
        }
        return {**os.environ, **known, "PYTHONUNBUFFERED": "1"}

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self._folder / ".queue", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            yield _lock(handle)
        finally:
            os.close(handle)


def _outcome(code: int, *, stopped: bool) -> JobState:
    if code in _FINISHED:
        return "done"
    if stopped:
        return "cancelled"
    return "interrupted" if code == BatchExit.INTERRUPTED or code < 0 else "failed"


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_locked(out: Path) -> bool:
    """Whether a process still writes there; it holds a lock as long as it lives."""
    try:
        handle = os.open(out / ".lock", os.O_RDWR)
    except OSError:
        return False
    try:
        return not _lock(handle)
    finally:
        os.close(handle)


def _last_words(path: Path) -> str:
    """What the command said last: its messages name files and lines, never content."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[-3:])[-_SAID:]
