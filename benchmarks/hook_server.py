"""What a hook call costs the machine it runs on: CPU of the server process, called as a record system would.

One uvicorn process for each row, one connection that is kept, and the user and system time of that process (all its
threads) before and after. The yardstick is a FastAPI echo of the same body behind the same server, in the same run.
Rows: without a record, spooled, and with tokens (RS384, ES384: signature, audience, times, one-time use). As in
``dekacard serve`` a process of its own moves the record into the store; what that spends is a row too. HealthChain
answers the same call without any rules, from a separate environment that is made here; where it cannot be made, the
row says why. Last, the slowest of a hundred calls (p99) over eight connections, of the service without record or token
and of HealthChain.

    python -m benchmarks.hook_server [--quick]
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import multiprocessing
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import uvicorn
import yaml

from benchmarks import bodies
from benchmarks.hook import PATH, echo_app, load, p99
from service.alerts.record import prepare_record
from service.alerts.values import RecordOptions
from service.app import create_app
from service.bootstrap import assemble
from service.serving import keep_record
from service.settings import Settings

ISSUER = "https://ehr.example.org"
BASE = "https://cds.example.org"
TARGETS = {"small": 2.5, "large": 1.8}
OWN = ("no record", "spooled", "RS384", "ES384")
INSTALL_SECONDS = 240
HEALTHCHAIN = """
import sys, uvicorn
from healthchain.gateway import CDSHooksService, HealthChainAPI
from healthchain.models.responses.cdsresponse import CDSResponse, Card
service = CDSHooksService()

@service.hook("patient-view", id="vitamin-dk-patient-view")
def answer(request):
    card = Card(summary="x", indicator="info", source={"label": "x"})
    return CDSResponse(cards=[card])

app = HealthChainAPI()
app.register_service(service, path="/cds")
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
"""


def measure(*, quick: bool = False, peers: bool = True) -> dict[str, Any]:
    """All rows; ratios first. Without ``peers`` nothing is installed and HealthChain is left out."""
    rounds, calls = (2, {"small": 60, "large": 20}) if quick else (5, {"small": 800, "large": 200})
    rows: dict[str, Any] = {"ratios": {}, "targets": TARGETS, "scale": {}, "not measured": {}}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as open_servers:
        servers = {"echo": open_servers.enter_context(_server("echo", Path(folder)))}
        for name in OWN:
            servers[name] = open_servers.enter_context(_server(name, Path(folder)))
        try:
            servers["HealthChain"] = open_servers.enter_context(
                _healthchain(Path(folder), peers=peers)
            )
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            rows["not measured"]["HealthChain"] = str(error)[-300:]
        for size, body in (("small", bodies.small()), ("large", bodies.large())):
            costs: dict[str, list[float]] = {name: [] for name in servers}
            before = servers["spooled"].behind() or 0.0
            for _ in range(rounds):
                for name, server in servers.items():
                    costs[name].append(asyncio.run(server.cpu_of(body, calls[size])))
            behind = (servers["spooled"].behind() or 0.0) - before
            rows["scale"][f"{size}: behind a spooled call, ms of CPU"] = round(
                behind / rounds / calls[size] * 1000, 3
            )
            middle = {name: statistics.median(times) for name, times in costs.items()}
            for name, cost in middle.items():
                rows["scale"][f"{size}: {name}, ms of CPU"] = round(cost * 1000, 3)
                if name != "echo":
                    rows["ratios"][f"{size}: {name} / echo"] = round(cost / middle["echo"], 2)
            _slowest(servers, size, body, rows, seconds=0.5 if quick else 2.0)
    return rows


def _slowest(
    servers: dict[str, Server], size: str, body: bytes, rows: dict[str, Any], *, seconds: float
) -> None:
    """Add p99 over eight connections: those without tokens, in turns, since a token serves one call."""
    plain = [name for name in ("echo", "no record", "HealthChain") if name in servers]
    times: dict[str, list[float]] = {name: [] for name in plain}
    for _ in range(2):
        for name in plain:
            times[name].append(servers[name].slowest(body, seconds))
    middle = {name: statistics.median(one) for name, one in times.items()}
    for name, one in middle.items():
        rows["scale"][f"{size}: {name}, p99 in ms"] = round(one * 1000, 2)
        if name != "echo":
            rows["ratios"][f"{size}: {name}, p99 at 8 connections / echo"] = round(
                one / middle["echo"], 2
            )


class Server:
    """A running server process and how it is called."""

    def __init__(
        self, pid: int, port: int, *, path: str = PATH, key: Any = None, keeper: int | None = None
    ) -> None:
        self._process, self._port, self._path, self._key = psutil.Process(pid), port, path, key
        self._keeper = None if keeper is None else psutil.Process(keeper)

    def behind(self) -> float | None:
        """Seconds of CPU that the process behind this one has spent; ``None`` where there is none."""
        return None if self._keeper is None else _spent(self._keeper)

    def slowest(self, body: bytes, seconds: float) -> float:
        """Seconds that 99 in 100 calls stay below, over eight connections."""
        return p99(asyncio.run(load(self._port, body, seconds, path=self._path)))

    async def cpu_of(self, body: bytes, calls: int) -> float:
        """Seconds of CPU of one call, over one connection; tokens are minted before the clock starts."""
        requests = [self._request(body) for _ in range(calls)]
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        begun = _spent(self._process)
        for request in requests:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head[:16]:
                raise RuntimeError(f"a call was answered with {head[:16]!r}")
            lines = head.lower().split(b"\r\n")
            length = next(line for line in lines if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
        spent = _spent(self._process) - begun
        writer.close()
        return spent / calls

    def _request(self, body: bytes) -> bytes:
        token = ""
        if self._key is not None:
            from service.cds_hooks.minting import mint_token

            now = datetime.now(UTC).timestamp()
            minted = mint_token(self._key, issuer=ISSUER, audience=BASE + PATH, now=now)
            token = f"Authorization: Bearer {minted}\r\n"
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n{token}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


@contextlib.contextmanager
def _server(name: str, folder: Path) -> Iterator[Server]:
    from service.cds_hooks.minting import make_key

    key = make_key(name, "bench") if name in {"RS384", "ES384"} else None
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    place = folder / name.replace(" ", "-")
    place.mkdir()
    settings = None if name == "echo" else _settings(name, place, key)
    fork = multiprocessing.get_context("fork")
    started = [fork.Process(target=_serve, args=(settings, listening), daemon=True)]
    if settings is not None and settings.store_url:
        started.append(fork.Process(target=keep_record, args=(settings,)))
    for one in started:
        one.start()
    port = listening.getsockname()[1]
    listening.close()
    keeper = started[1].pid if len(started) > 1 else None
    server = Server(started[0].pid or 0, port, key=key, keeper=keeper)
    try:
        asyncio.run(server.cpu_of(bodies.small(), 20))
        yield server
    finally:
        for one in started:
            one.terminate()
        for one in started:
            one.join()


def _serve(settings: Settings | None, listening: socket.socket) -> None:
    if settings is None:
        app = echo_app()
    else:
        app = create_app(settings, parts=assemble(settings, keeper_beside=True))
    gc.collect()
    gc.freeze()
    configured = uvicorn.Config(app, log_level="error", access_log=False)
    uvicorn.Server(configured).run(sockets=[listening])


def _settings(name: str, folder: Path, key: Any) -> Settings:
    store, keys = f"sqlite:///{folder}/record.sqlite", folder / "keys.json"
    kept = {"store_url": store, "spool_dir": folder / "spool", "keyring": keys}
    if name == "no record":
        return Settings(dev=True)
    options = RecordOptions(database_url=store, spool=str(folder / "spool"), keyring=str(keys))
    prepare_record(options, create_keys=True, upgrade=True)
    if key is None:
        return Settings(dev=True, **kept)
    profile = {
        "id": "bench", "title": "Bench", "rules": {"mode": "live", "accept_draft": True},
        "trust": {"issuers": [ISSUER], "algorithms": [name], "jwks": key.public_set(), "audience_base": BASE},
        "fhir": {"fetch": False},
    }  # fmt: skip
    (folder / "clients").mkdir()
    (folder / "clients" / "bench.yaml").write_text(yaml.safe_dump(profile))
    return Settings(clients=folder / "clients", jti_store=f"sqlite:///{folder}/used.sqlite", **kept)


@contextlib.contextmanager
def _healthchain(folder: Path, *, peers: bool) -> Iterator[Server]:
    """HealthChain in an environment of its own.

    Raises:
        RuntimeError, OSError, subprocess.SubprocessError: it cannot be installed or does not answer.
    """
    home = folder / "healthchain"
    python = environment(home, peers=peers)
    script = folder / "healthchain_server.py"
    script.write_text(HEALTHCHAIN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [python, str(script), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder
    )  # fmt: skip
    try:
        server = Server(process.pid, port, path="/cds/cds-services/vitamin-dk-patient-view")
        _wait_for(process, port)
        asyncio.run(server.cpu_of(bodies.small(), 20))
        yield server
    finally:
        process.terminate()
        process.communicate()


def environment(home: Path, *, peers: bool = True) -> str:
    """An environment with HealthChain in it; gives its Python. Raises RuntimeError if it cannot be, or is not wanted."""
    if not peers:
        raise RuntimeError("not asked for")
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    python = str(home / "bin" / "python")
    if uv:
        steps = [
            [uv, "venv", "-q", str(home)],
            [uv, "pip", "install", "-q", "--python", python, "healthchain"],
        ]
    else:
        steps = [
            [sys.executable, "-m", "venv", str(home)],
            [python, "-m", "pip", "install", "-q", "healthchain"],
        ]
    for step in steps:
        done = subprocess.run(
            step, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"could not be installed: {done.stderr.strip()}")
    return python


def _wait_for(process: subprocess.Popen[str], port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(
                f"did not start: {(process.stderr.read() if process.stderr else '').strip()}"
            )
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError("did not answer within a minute")


if __name__ == "__main__":
    print(json.dumps(measure(quick="--quick" in sys.argv), indent=2))
