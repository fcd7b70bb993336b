"""A steady rate of calls over real HTTP for a long time: memory and descriptors stay flat, no answer is a 5xx.

    python -m benchmarks.soak --minutes 30 --rate 50

Figures are taken of every process of the service, each second, and compared by medians: the last quarter of the run
against the second one (the first is warm-up). Ends with 1 when anything grew, failed or was not answered.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil

EXAMPLES = Path(__file__).parents[1] / "examples"
CONNECTIONS = 4
MOST_GROWTH = 0.05  # share of the memory; a leak of one fact per call is far more in 30 minutes
PATIENTS = 500


def calls():
    """(path, body) of every published request."""
    read = [json.loads(path.read_text("utf-8")) for path in sorted(EXAMPLES.glob("*.json"))]
    return [(f"/cds-services/vitamin-dk-{one['hook']}", one) for one in read if "hook" in one]


class Load:
    """Calls at a steady rate over a few kept connections; what is late is not made up for."""

    def __init__(self, port, rate, seconds):
        self._port, self._rate = port, rate
        self._until = time.monotonic() + seconds
        self._lock, self._next = threading.Lock(), time.monotonic()
        self.statuses, self.broken, self.seconds = Counter(), 0, []

    def run(self):
        """Return when the time is over."""
        threads = [threading.Thread(target=self._work, args=(one,)) for one in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _turn(self):
        """Wait for the next place in the row."""
        with self._lock:
            self._next = max(self._next + 1 / self._rate, time.monotonic() - 1)
            due = self._next
        time.sleep(max(0.0, due - time.monotonic()))

    def _work(self, first):
        bodies, number, line = calls(), first, None
        while time.monotonic() < self._until:
            self._turn()
            path, body = bodies[number % len(bodies)]
            patient = body["context"]["patientId"]
            text = json.dumps(body | {"hookInstance": str(uuid.uuid4())})
            text = text.replace(f'"{patient}"', f'"{patient}-{number % PATIENTS}"')
            text = text.replace(f'Patient/{patient}"', f'Patient/{patient}-{number % PATIENTS}"')
            begun = time.monotonic()
            line = line or HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                line.request("POST", path, text, {"content-type": "application/json"})
                answer = line.getresponse()
                answer.read()
                self.statuses[answer.status] += 1
                self.seconds.append(time.monotonic() - begun)
            except (OSError, HTTPException):
                self.broken += 1
                line.close()
                line = None
            number += CONNECTIONS
        if line:
            line.close()


def watch(process, stop, samples):
    """Note memory and descriptors of the service once a second."""
    while not stop.wait(1):
        try:
            whole = [process, *process.children(recursive=True)]
            samples.append((
                sum(one.memory_info().rss for one in whole),
                sum(one.num_fds() for one in whole),
                tuple(one.pid for one in whole),
            ))  # fmt: skip
        except psutil.Error:
            continue


def soak(minutes, rate, *, workers=1):
    """What the service needed and answered in that time."""
    with tempfile.TemporaryDirectory(prefix="dekacard-soak-", ignore_cleanup_errors=True) as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DEKACARD_")} | {
            "DEKACARD_STORE_URL": f"sqlite:///{folder}/record.db", "DEKACARD_SPOOL_DIR": f"{folder}/spool",
            "DEKACARD_KEYRING": f"{folder}/keys.json", "DEKACARD_LOG_LEVEL": "error",
        }  # fmt: skip
        command = [sys.executable, "-m", "service.cli", "serve", "--dev", "--port", str(port)]
        service = subprocess.Popen([*command, "--workers", str(workers)], env=environment)
        samples, stop = [], threading.Event()
        watcher = threading.Thread(target=watch, args=(psutil.Process(service.pid), stop, samples))
        try:
            _wait(port, service)
            watcher.start()
            load = Load(port, rate, minutes * 60)
            load.run()
            stop.set()
            watcher.join()
            kept = sum(one.stat().st_size for one in Path(folder).rglob("*") if one.is_file())
        finally:
            stop.set()
            service.terminate()
            ended = service.wait(timeout=60)
    return _figures(load, samples, minutes, rate) | {"kept_bytes": kept, "exit": ended}


def _wait(port, service):
    until = time.monotonic() + 60
    while time.monotonic() < until:
        line = HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            line.request("GET", "/readyz")
            if line.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
        finally:
            line.close()
        if service.poll() is not None:
            break
    raise SystemExit("the service did not start")


def _figures(load, samples, minutes, rate):
    quarter = max(1, len(samples) // 4)
    early, late = samples[quarter : 2 * quarter] or samples, samples[-quarter:]
    rss = [statistics.median(one[0] for one in part) for part in (early, late)]
    descriptors = [statistics.median(one[1] for one in part) for part in (early, late)]
    times = sorted(load.seconds)
    return {
        "minutes": minutes, "rate_wanted": rate, "calls": sum(load.statuses.values()),
        "statuses": {str(status): count for status, count in sorted(load.statuses.items())},
        "broken": load.broken,
        "p50_ms": round(times[len(times) // 2] * 1000, 1), "p99_ms": round(times[len(times) * 99 // 100] * 1000, 1),
        "rss_mb": [round(one / 2**20, 1) for one in rss], "rss_growth": round(rss[1] / rss[0] - 1, 4),
        "descriptors": descriptors, "processes_replaced": len({one[2] for one in samples}) - 1,
    }  # fmt: skip


def verdict(found):
    """What was promised and not kept; empty when all is well."""
    bad = []
    if any(status >= "500" for status in found["statuses"]):
        bad.append("there were 5xx answers")
    if found["broken"]:
        bad.append("calls were not answered")
    if found["rss_growth"] > MOST_GROWTH:
        bad.append(f"memory grew by more than {MOST_GROWTH:.0%}")
    if found["descriptors"][1] > found["descriptors"][0] + 4:
        bad.append("descriptors grew")
    if found["processes_replaced"]:
        bad.append("a worker was replaced")
    return bad


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=50, help="Calls per second.")
    parser.add_argument("--workers", type=int, default=1)
    chosen = parser.parse_args()
    found = soak(chosen.minutes, chosen.rate, workers=chosen.workers)
    bad = verdict(found)
    print(json.dumps(found | {"bad": bad}, indent=2))
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
