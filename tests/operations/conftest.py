"""A real service in processes of its own, as an operator starts it; what it logs goes to a file."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from service.alerts import schema
from service.alerts.database import Database

VIEW = "/cds-services/vitamin-dk-patient-view"
PATIENCE = 120.0  # seconds; the tests share the machine with others


class Service:
    """``dekacard serve --dev`` on a free port of this machine, or ``serve`` alone for the client profiles of ``settings``."""

    def __init__(self, folder: Path, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.log_file = folder / "service.log"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("DEKACARD_")},
            "DEKACARD_STORE_URL": f"sqlite:///{folder}/record.db",
            "DEKACARD_SPOOL_DIR": str(folder / "spool"),
            "DEKACARD_KEYRING": str(folder / "keys.json"),
            "DEKACARD_SETUP_FILE": str(folder / "setup-token"),
            "DEKACARD_ENGINE": "compiled",
            **settings,
        }
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "service.cli", "serve", "--port", str(self.port),
                    *(() if "DEKACARD_CLIENTS" in settings else ("--dev",)),
                ],
                env=self.environment, stdout=log, stderr=log, cwd=folder,
            )  # fmt: skip

    def wait(self) -> None:
        until(lambda: self.get("/readyz")[0] == 200, self.log)

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        with contextlib.suppress(OSError):
            request = urllib.request.Request(self.base + path, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()
        return 0, ""

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        request = urllib.request.Request(
            self.base + path, data=body, headers={"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def figure(self, name: str) -> float:
        """The sum of all samples whose line begins so."""
        _, text = self.get("/metrics")
        return sum(
            float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)
        )

    def log(self) -> str:
        return self.log_file.read_text()

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def workers(self) -> list[psutil.Process]:
        """The processes that answer; the one that keeps the record does not listen."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if any(one.status == psutil.CONN_LISTEN for one in child.net_connections("tcp")):
                    found.append(child)
        return found

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE)


def until(holds, say=lambda: ""):
    """Wait until something holds; what it waits for is never a matter of time."""
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"never came to hold\n{say()}")
        time.sleep(0.05)


@pytest.fixture
def start(tmp_path):
    """Starts a service with these settings; it is stopped afterwards."""
    running = []

    def started(**settings: str) -> Service:
        running.append(Service(tmp_path, **settings))
        running[-1].wait()
        return running[-1]

    yield started
    for service in running:
        if service.process.poll() is None:
            service.process.kill()
            service.process.wait()


@pytest.fixture
def call_body(root):
    return (root / "examples" / "01-warfarin-new-mk7-coded.json").read_bytes()


@pytest.fixture
def database(tmp_path):
    """A store on a SQLite file with the newest schema."""
    opened = Database(f"sqlite:///{tmp_path}/figures.db")
    schema.upgrade(opened)
    yield opened
    opened.close()
