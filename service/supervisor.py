"""Keeps server processes alive: one that ends is followed by the next at once, but not for ever and ever faster."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from ctypes import c_byte
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType, MappingProxyType

from rules.errors import Unavailable

_log = logging.getLogger("dekacard.serving")
_LOOK_EVERY = 0.1  # seconds between looks at the workers; the end of one is seen at once
_LOOK_FOR_SUPERVISOR = 0.5
_FAST_DEATH = (
    2.0  # seconds: a worker that lived shorter than this, and never answered, could not start
)
_MOST_FAST_DEATHS = 5
_AT_ONCE = 5  # restarts that do not wait; each costs a third of a second of processor time
_PACE = 1.0  # seconds between those after them, and until one more of them is had again
_tell_begun: list[Callable[[], None]] = []  # in a worker: how its supervisor learns that it answers


def tell_begun() -> None:
    """Let the supervisor of this process know that it answers; nothing without one."""
    for tell in _tell_begun:
        tell()


class Pace:
    """When something may be started again: a few times at once, then no oftener than at a steady pace."""

    def __init__(self, at_once: int, every: float) -> None:
        self._ahead = at_once * every
        self._every = every
        self._next = float("-inf")

    def start(self, now: float) -> float:
        """The moment of the next start, which is ``now`` unless there were too many of late."""
        self._next = max(self._next, now - self._ahead) + self._every
        return max(now, self._next)


class Supervisor:
    """Keeps a number of workers alive; also a single one, so that a crash is never the end of the service."""

    def __init__(
        self,
        workers: int,
        work: Callable[[], None],
        *,
        beside: Mapping[str, Callable[[], None]] = MappingProxyType({}),
        on_restart: Callable[[int, str], None] = lambda _process, _cause: None,
    ) -> None:
        """``beside`` are processes of another kind, by name; they are kept alive in the same way."""
        self._work = {**{f"worker-{place}": work for place in range(workers)}, **beside}
        self._on_restart = on_restart
        self._context = multiprocessing.get_context("fork")
        self._running: dict[str, tuple[BaseProcess, float]] = {}
        self._begun: dict[str, c_byte] = {}
        self._paces = {name: Pace(_AT_ONCE, _PACE) for name in self._work}
        self._due: dict[str, float] = {}  # places whose next process has to wait
        self._stopping = False
        self._fast_deaths = 0
        self._gave_up = False
        self.restarts = 0

    def run(self) -> None:
        """Start the workers and replace each that ends, until a signal says stop.

        Raises:
            Unavailable: workers ended one after another as soon as they were started.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._pass_on)
        for name in reversed(self._work):  # what stands beside comes first
            self._start(name)
        while not self._stopping:
            wait([process.sentinel for process, _ in self._running.values()], _LOOK_EVERY)
            self._look()
            self._start_due()
        for process, _ in self._running.values():
            process.terminate()
        for process, _ in self._running.values():
            process.join(timeout=10)
            if process.is_alive():
                process.kill()
        if self._gave_up:
            raise Unavailable(
                "Workers keep ending as soon as they are started; see the log for why."
            )

    def _start(self, name: str) -> None:
        # Without a lock, which a worker that is killed could take along
        begun = self._begun[name] = self._context.RawValue(c_byte, 0)
        process = self._context.Process(
            target=self._run, args=(self._work[name], os.getpid(), begun), name=name
        )
        process.start()
        self._running[name] = (process, time.monotonic())

    def _run(self, work: Callable[[], None], supervisor: int, begun: c_byte) -> None:
        _tell_begun[:] = [partial(setattr, begun, "value", 1)]
        threading.Thread(target=_end_with, args=(supervisor,), name="end-with", daemon=True).start()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        # Until it can reload: a worker that is still starting reads the newest packs anyway
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        work()

    def _look(self) -> None:
        for name, (process, since) in list(self._running.items()):
            if process.is_alive() or self._stopping:
                continue
            process.join()
            del self._running[name]
            self.restarts += 1
            self._on_restart(process.pid or 0, ended_by(process.exitcode))
            now = time.monotonic()
            due = self._due[name] = self._paces[name].start(now)
            _log.error(
                "%s ended by %s after %.1f s; restart %s%s",
                name,
                ended_by(process.exitcode),
                now - since,
                self.restarts,
                f" in {due - now:.1f} s, since there were many" if due > now else "",
            )
            # A call that crashes the engine and is sent again must not be the end of the service
            in_vain = now - since < _FAST_DEATH and not self._begun[name].value
            self._fast_deaths = self._fast_deaths + 1 if in_vain else 0
            if self._fast_deaths >= _MOST_FAST_DEATHS:
                _log.critical("workers keep ending at once; giving up")
                self._gave_up = self._stopping = True

    def _start_due(self) -> None:
        for name, due in list(self._due.items()):
            if due <= time.monotonic() and not self._stopping:
                del self._due[name]
                self._start(name)

    def _pass_on(self, _signal: int, _frame: FrameType | None) -> None:
        """Every worker reloads its packs when the service is told to (SIGHUP)."""
        for process, _ in list(self._running.values()):
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, signal.SIGHUP)

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True


def _end_with(supervisor: int) -> None:
    """Ask this process to stop once its supervisor is gone: an orphan would hold the address against the next one."""
    while os.getppid() == supervisor:
        time.sleep(_LOOK_FOR_SUPERVISOR)
    os.kill(os.getpid(), signal.SIGTERM)


def ended_by(exit_code: int | None) -> str:
    """What ended a process, as a label: the name of a signal (``SIGSEGV``), or ``exit-3``."""
    if exit_code is None:
        return "unknown"
    if exit_code >= 0:
        return f"exit-{exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:
        return "unknown"
