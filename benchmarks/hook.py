"""What a hook call costs, against a FastAPI echo of the same body in the same run.

CPU: both applications are called in process through ASGI, in turns, and the medians of their rounds compared;
all rules, the trace and the cards are included. Every call is for a patient never seen before, so that nothing
remembered of a patient can help; calls for one patient again and again stand beside it. Latency: eight connections to one server process each, over
loopback. The strict JSON reader is measured against plain orjson on the same bodies.

    python -m benchmarks.hook [--quick]
"""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import Response

from benchmarks import bodies
from service.front_door import read_exactly, read_json

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PATH = "/cds-services/vitamin-dk-patient-view"
TARGETS = {
    "cpu": {"small": 2.5, "large": 1.8},
    "p99 at 8 connections": {"small": 2.5, "large": 1.7},
}
Asgi = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


def echo_app() -> FastAPI:
    """The yardstick: parse, write back."""
    app = FastAPI(redirect_slashes=False)

    @app.post(PATH)
    async def echo(request: Request) -> Response:
        return Response(
            orjson.dumps(orjson.loads(await request.body())), media_type="application/json"
        )

    return app


def own_app(engine: str, record: Path | None = None) -> FastAPI:
    """The service as it runs in development mode; with a folder for its record, everything is recorded there."""
    from service.app import create_app
    from service.settings import Settings

    kept: dict[str, Any] = {}
    if record is not None:
        kept = {
            "store_url": f"sqlite:///{record}/record.db",
            "spool_dir": record / "spool",
            "keyring": record / "keys.json",
        }
    app = create_app(Settings(dev=True, engine=engine, **kept), clock=lambda: NOON)
    app.state.parts.settle()
    return app


def measure(*, quick: bool = False) -> dict[str, Any]:
    """All rows; ratios first."""
    rounds, seconds = (2, 0.5) if quick else (15, 4.0)
    rows: dict[str, Any] = {"ratios": {}, "targets": TARGETS, "scale": {}}
    for engine in ("durable", "compiled"):
        cpu = asyncio.run(_cpu(engine, rounds))
        for size, (new, same, echo) in cpu.items():
            rows["ratios"][f"{size}, {engine}: CPU of a call / echo"] = round(new / echo, 2)
            rows["ratios"][f"{size}, {engine}: CPU of a call for the same patient / echo"] = round(
                same / echo, 2
            )
            rows["scale"][f"{size}, {engine}: call, ms"] = round(new * 1000, 3)
            rows["scale"][f"{size}, {engine}: call for the same patient, ms"] = round(
                same * 1000, 3
            )
            rows["scale"][f"{size}: echo, ms"] = round(echo * 1000, 3)
    for size, (bare, recorded) in asyncio.run(_recording(rounds)).items():
        rows["ratios"][f"{size}, durable: CPU with the record on (SQLite) / without"] = round(
            recorded / bare, 2
        )
        rows["scale"][f"{size}, durable: call with the record on, ms"] = round(recorded * 1000, 3)
    for size, (own, echo) in _latency(seconds).items():
        rows["ratios"][f"{size}, durable: p99 at 8 connections / echo"] = round(own / echo, 2)
        rows["scale"][f"{size}: p99 of a call, ms"] = round(own * 1000, 2)
        rows["scale"][f"{size}: p99 of echo, ms"] = round(echo * 1000, 2)
    for size, (fast, exact, plain) in _reading().items():
        rows["ratios"][f"{size}: strict JSON / orjson"] = round(fast / plain, 2)
        rows["ratios"][f"{size}: exact JSON without shortcuts / orjson"] = round(exact / plain, 2)
    return rows


async def _cpu(engine: str, rounds: int) -> dict[str, tuple[float, float, float]]:
    """A call for a patient never seen before, one for the same patient again, and echo, each in seconds."""
    own, echo = own_app(engine), echo_app()
    found: dict[str, tuple[float, float, float]] = {}
    for size, resources, calls in (("small", 11, 200), ("large", 121, 50)):
        new = bodies.new_patients(resources, calls * rounds + 1)
        same = [bodies.of_size(resources)] * calls
        await call(own, new.pop())
        times: dict[str, list[float]] = {"new": [], "same": [], "echo": []}
        for _ in range(rounds):
            turn, new = new[:calls], new[calls:]
            times["echo"].append(await _seconds_a_call(echo, turn))
            times["new"].append(await _seconds_a_call(own, turn))
            times["same"].append(await _seconds_a_call(own, same))
        found[size] = tuple(statistics.median(taken) for taken in times.values())  # type: ignore[assignment]
    return found


async def _seconds_a_call(app: Asgi, sent: list[bytes]) -> float:
    begun = time.process_time()
    for body in sent:
        await call(app, body)
    return (time.process_time() - begun) / len(sent)


async def _recording(rounds: int) -> dict[str, tuple[float, float]]:
    """CPU of the thread that answers, without and with the record; the store is filled by threads beside it."""
    found: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(prefix="dekacard-bench-") as folder:
        bare, kept = own_app("durable"), own_app("durable", Path(folder))
        for size, body, calls in (("small", bodies.small(), 100), ("large", bodies.large(), 30)):
            times: dict[str, list[float]] = {"bare": [], "kept": []}
            for app in (bare, kept):
                await call(app, body)
            for _ in range(rounds):
                for name, app in (("bare", bare), ("kept", kept)):
                    begun = time.thread_time()
                    for _ in range(calls):
                        await call(app, body)
                    times[name].append((time.thread_time() - begun) / calls)
            found[size] = (statistics.median(times["bare"]), statistics.median(times["kept"]))
        await kept.state.parts.close()
        await bare.state.parts.close()
    return found


async def call(app: Asgi, body: bytes) -> None:
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": PATH,
        "raw_path": PATH.encode(), "query_string": b"", "scheme": "http", "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 5), "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8080"), (b"content-type", b"application/json"),
                    (b"content-length", str(len(body)).encode())],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if sent[0]["status"] != 200:
        raise RuntimeError(f"a call was answered with {sent[0]['status']}")


def _latency(seconds: float) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    with _server("own") as own, _server("echo") as echo:
        for size, body in (("small", bodies.small()), ("large", bodies.large())):
            times: dict[int, list[float]] = {own.port: [], echo.port: []}
            for port in (echo.port, own.port, echo.port, own.port):
                times[port].append(p99(asyncio.run(load(port, body, seconds / 2))))
            found[size] = (statistics.median(times[own.port]), statistics.median(times[echo.port]))
    return found


class _server:  # noqa: N801 - used as a context manager
    """One uvicorn process of its own, the same settings for both sides."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> Self:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        listening.set_inheritable(True)
        self.port = listening.getsockname()[1]
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_serve, args=(self._name, listening), daemon=True)
        self._process.start()
        listening.close()
        asyncio.run(load(self.port, bodies.small(), 0.5))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()


def _serve(name: str, listening: socket.socket) -> None:
    import uvicorn

    app = own_app("durable") if name == "own" else echo_app()
    gc.collect()
    gc.freeze()
    uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(
        sockets=[listening]
    )


async def load(
    port: int, body: bytes, seconds: float, connections: int = 8, path: str = PATH
) -> list[float]:
    """Seconds of each call over so many connections, one after another on each."""
    until = time.perf_counter() + seconds
    parts = await asyncio.gather(
        *(_connection(port, body, until, path) for _ in range(connections))
    )
    return [one for part in parts for one in part]


async def _connection(port: int, body: bytes, until: float, path: str) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    times: list[float] = []
    while time.perf_counter() < until:
        begun = time.perf_counter()
        writer.write(head + body)
        status = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in status.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
        times.append(time.perf_counter() - begun)
        if b" 200 " not in status[:16]:
            raise RuntimeError(f"a call was answered with {status[:16]!r}")
    writer.close()
    return times


def p99(times: list[float]) -> float:
    """What 99 in 100 calls stayed below."""
    return sorted(times)[max(int(len(times) * 0.99) - 1, 0)]


def _reading() -> dict[str, tuple[float, float, float]]:
    found: dict[str, tuple[float, float, float]] = {}
    for size, body in (("small", bodies.small()), ("large", bodies.large())):
        times = [
            (_seconds(read_json, body), _seconds(read_exactly, body), _seconds(orjson.loads, body))
            for _ in range(9)
        ]
        found[size] = tuple(statistics.median(column) for column in zip(*times, strict=True))  # type: ignore[assignment]
    return found


def _seconds(read: Callable[[bytes], Any], body: bytes, calls: int = 30) -> float:
    begun = time.process_time()
    for _ in range(calls):
        read(body)
    return (time.process_time() - begun) / calls


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    print(json.dumps(measure(quick="--quick" in sys.argv), indent=2))
