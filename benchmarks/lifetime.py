"""From a cold start to the first card, the memory it takes, and whether memory stays flat over many calls.

Start and memory: a fresh process each, in turns with HealthChain answering the same call without any rules (in an
environment of its own). Costs are processor seconds from the start to the first answer; seconds by the clock stand
beside them. Flatness: calls in one process, resident memory after a tenth of them against the end.

    python -m benchmarks.lifetime [--quick] [--calls 100000]
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import bodies
from benchmarks.hook import PATH, call, own_app
from benchmarks.hook_server import HEALTHCHAIN, environment
from service.telemetry_metrics import Metrics

REACH = {
    "cold start / HealthChain": 1.0,
    "memory / HealthChain": 1.3,
    "memory after / before": 1.02,
}
OWN = """
import sys, uvicorn
from service.app import create_app
from service.settings import Settings
app = create_app(Settings(dev=True))
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
"""


def _first_card(python: str, script: Path, path: str) -> tuple[float, float, float]:
    """Processor seconds, seconds by the clock, and resident MB when the first card has come."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begun = time.perf_counter()
    started = subprocess.Popen([python, str(script), str(port)], stdout=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                head = {"content-type": "application/json"}
                connection.request("POST", path, bodies.small(), head)
                answer = connection.getresponse()
                if answer.status != 200 or not json.loads(answer.read())["cards"]:
                    raise RuntimeError(f"no card, but {answer.status}")
                break
            if started.poll() is not None:
                raise RuntimeError("the service ended before it answered")
            time.sleep(0.005)
        clock = time.perf_counter() - begun
        process = psutil.Process(started.pid)
        times = process.cpu_times()
        return times.user + times.system, clock, process.memory_info().rss / 1e6
    finally:
        started.terminate()
        started.wait()


def _flat(calls: int) -> tuple[float, float]:
    """Resident MB after a tenth of the calls, and after all of them."""
    own, me, sent = own_app("durable"), psutil.Process(), (bodies.small(), bodies.large())
    telemetry, metrics = own.state.parts.telemetry, Metrics()

    async def some(count: int) -> float:
        for number in range(count):
            await call(own, sent[number % 20 == 0])
            if number % 500 == 0:
                telemetry.publish(metrics)  # as a server does once a second
        return me.memory_info().rss / 1e6

    return asyncio.run(some(calls // 10)), asyncio.run(some(calls - calls // 10))


def measure(*, quick: bool = False, calls: int | None = None, peers: bool = True) -> dict[str, Any]:
    """All rows; ratios first. Without ``peers`` nothing is installed and HealthChain is left out."""
    calls = calls or (1_000 if quick else 100_000)
    rows: dict[str, Any] = {"ratios": {}, "reach": REACH, "scale": {}, "not measured": {}}
    with tempfile.TemporaryDirectory() as folder:
        scripts = {"own": (sys.executable, Path(folder) / "own.py", PATH)}
        scripts["own"][1].write_text(f"import sys\nsys.path.insert(0, {str(Path.cwd())!r})\n{OWN}")
        try:
            python, script = (
                environment(Path(folder) / "peer", peers=peers),
                Path(folder) / "peer.py",
            )
            script.write_text(HEALTHCHAIN)
            scripts["HealthChain"] = (python, script, f"/cds{PATH}")
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            rows["not measured"]["HealthChain"] = str(error)[-300:]
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in scripts}
        for number in range(2 if quick else 9):
            for name, one in scripts.items():
                taken = _first_card(*one)
                if number:  # the first run of each reads the disk
                    found[name].append(taken)
    middle = {
        name: [statistics.median(column) for column in zip(*runs, strict=True)]
        for name, runs in found.items()
    }
    if "HealthChain" in middle:
        own, peer = middle["own"], middle["HealthChain"]
        for place, what in ((0, "cold start"), (1, "cold start by the clock"), (2, "memory")):
            rows["ratios"][f"{what} / HealthChain"] = round(own[place] / peer[place], 2)
    for name, (spent, clock, memory) in middle.items():
        rows["scale"] |= {f"{name}: cold start, s of CPU": round(spent, 2), f"{name}: by the clock, s": round(clock, 2)}  # fmt: skip
        rows["scale"][f"{name}: memory, MB"] = round(memory, 1)
    early, late = _flat(calls)
    rows["ratios"]["memory after / before"] = round(late / early, 3)
    rows["scale"] |= {"calls": calls, "memory early, MB": round(early, 1), "memory late, MB": round(late, 1)}  # fmt: skip
    return rows


if __name__ == "__main__":
    wanted = int(sys.argv[sys.argv.index("--calls") + 1]) if "--calls" in sys.argv else None
    print(json.dumps(measure(quick="--quick" in sys.argv, calls=wanted), indent=2))
