"""Runs the server processes, and starts a new one when one dies: a native crash costs only what was in flight."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ctypes import c_byte
from functools import partial
from multiprocessing.process import BaseProcess
from types import FrameType, MappingProxyType
from typing import Final

from rules.errors import Unavailable
from service.cds_hooks.loopback import is_loopback
from service.settings import Settings, SettingsRefused
from service.telemetry import SHARED_FOLDER
from service.telemetry_log import configure_logs, teller

_log = logging.getLogger("dekacard.serving")
_LOOK_EVERY = 0.1  # seconds between looks at the workers
_LOOK_FOR_SUPERVISOR = 0.5
_FAST_DEATH = (
    2.0  # seconds: a worker that lived shorter than this, and never answered, could not start
)
_MOST_FAST_DEATHS = 5
DRAIN_SECONDS: Final = 5  # for calls in flight; streams end at once
_tell_begun: list[Callable[[], None]] = []  # in a worker: how its supervisor learns that it answers


def serve(settings: Settings) -> None:
    """Serve until interrupted.

    Raises:
        SettingsRefused: neither client profiles nor development mode, or development mode off loopback.
        DekacardError: anything else that a worker would refuse, found before the first one starts.
    """
    refuse_open_doors(settings)
    from service.bootstrap import check
    from service.identity_set_up import announce_set_up

    check(settings)  # whatever is wrong is said once, here
    listening = listen(settings.host, settings.port)
    configure_logs(settings.log_level)
    beside = _record_keeper(settings, listening)
    announce_set_up(settings)
    host, port = listening.getsockname()[:2]
    with shared_metrics() as count_restart:
        _log.info("serving on http://%s:%s with %s worker(s)", host, port, settings.workers)
        Supervisor(
            settings.workers,
            lambda: run_worker(settings, listening),
            beside=beside,
            on_restart=count_restart,
        ).run()


@contextmanager
def shared_metrics() -> Iterator[Callable[[int, str], None]]:
    """A folder in which all workers keep their figures; gives what counts a worker that ended, by its cause."""
    given = os.environ.get(SHARED_FOLDER)
    folder = given or tempfile.mkdtemp(prefix="dekacard-metrics-")
    os.environ[SHARED_FOLDER] = folder  # read when the library is loaded, so it is set before
    try:
        from service.telemetry_metrics import Metrics, forget_worker

        metrics = Metrics()
        for cause in ("SIGABRT", "SIGBUS", "SIGKILL", "SIGSEGV", "exit-1"):
            metrics.add(
                "worker_restarts", (cause,), 0
            )  # so that the first one is seen to be one more

        def count(process: int, cause: str) -> None:
            metrics.add("worker_restarts", (cause,), 1)
            forget_worker(process)

        yield count
    finally:
        if given is None:
            del os.environ[SHARED_FOLDER]
            shutil.rmtree(folder, ignore_errors=True)


def refuse_open_doors(settings: Settings) -> None:
    """Refuse to serve without callers' identities, except on this machine in development mode."""
    if settings.dev and not is_loopback(settings.host):
        raise SettingsRefused(
            f"--dev listens on a loopback address only, not on {settings.host!r}.",
        )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that all workers share.

    Raises:
        SettingsRefused: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise SettingsRefused(f"Cannot listen on {host}:{port}: {error.strerror}.") from None
    listening.listen(1024)
    listening.set_inheritable(True)
    return listening


def _record_keeper(settings: Settings, listening: socket.socket) -> dict[str, Callable[[], None]]:
    """What runs beside the workers: nothing without a store. Keys and schema are made here, by one process alone."""
    if not settings.store_url:
        return {}
    from service.alerts.record import prepare_record
    from service.bootstrap import record_options

    prepare_record(record_options(settings), create_keys=settings.dev, upgrade=settings.dev)

    def keep() -> None:
        listening.close()  # only whoever answers may hold it open
        keep_record(settings)

    return {"record-keeper": keep}


def keep_record(settings: Settings) -> None:
    """Moves the record into the store until told to stop, or until nobody is there any more who would tell.

    In a process of its own, because it costs more than the calls themselves and would make them wait.
    """
    from service.alerts.record import open_record
    from service.bootstrap import record_options

    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    parent = os.getppid()
    record = open_record(record_options(settings), create_keys=False, upgrade=False)
    while not told.wait(1.0) and os.getppid() == parent:
        pass
    record.close()


def run_worker(settings: Settings, listening: socket.socket) -> None:
    """One server process, until it is told to stop."""
    import uvicorn

    from service.app import create_app
    from service.bootstrap import assemble

    app = create_app(settings, parts=assemble(settings, keeper_beside=True))
    app.state.parts.telemetry.tell = teller()
    signal.signal(signal.SIGHUP, lambda *_: app.state.reloader.ask())
    supervisor = os.getppid()
    app.state.reloader.pass_on = lambda: os.kill(supervisor, signal.SIGHUP)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level=settings.log_level,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )

    class Server(uvicorn.Server):
        """Tells the supervisor when it answers.

        And the application first that the end is near: open worklists would listen for as long as they may.
        """

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                tell_begun()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            asyncio.get_running_loop().call_soon_threadsafe(app.state.watching.drain)
            super().handle_exit(sig, frame)

    server = Server(config)
    app.state.parts.telemetry.calls_waiting = lambda: len(server.server_state.tasks)
    server.run(sockets=[listening])


def tell_begun() -> None:
    """Let the supervisor of this process know that it answers; nothing without one."""
    for tell in _tell_begun:
        tell()


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
            time.sleep(_LOOK_EVERY)
            self._look()
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
            self.restarts += 1
            self._on_restart(process.pid or 0, ended_by(process.exitcode))
            lived = time.monotonic() - since
            _log.error(
                "%s ended by %s after %.1f s; restart %s",
                name,
                ended_by(process.exitcode),
                lived,
                self.restarts,
            )
            # A call that crashes the engine and is sent again must not be the end of the service
            in_vain = lived < _FAST_DEATH and not self._begun[name].value
            self._fast_deaths = self._fast_deaths + 1 if in_vain else 0
            if self._fast_deaths >= _MOST_FAST_DEATHS:
                _log.critical("workers keep ending at once; giving up")
                self._gave_up = self._stopping = True
                return
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
