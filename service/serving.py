"""Runs the server processes, and starts a new one when one dies: a native crash costs only what was in flight."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from service.cds_hooks.loopback import is_loopback
from service.preload import preload
from service.settings import Settings, SettingsRefused
from service.supervisor import Supervisor, tell_begun
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
        preload(settings)
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
