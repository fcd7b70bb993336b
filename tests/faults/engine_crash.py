"""Crashes the worker of a real service natively, again and again, while calls come in.

python -m tests.faults.engine_crash --crashes 100

Between the next worker's first answer and its crash lies a pause. Without one (--pause 0) none of them lives for long:
what a call that crashes the engine and is sent again and again would do; then restarts are held back to one a second.
"""

import argparse
import contextlib
import json
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from http.client import HTTPException
from pathlib import Path

import psutil

from tests.operations.conftest import VIEW, Service, until

ROOT = Path(__file__).parents[2]
CALLERS = 2
COUNTED = 'dekacard_worker_restarts_total{cause="SIGSEGV"}'


class Callers:
    """A few who call one after another until told to stop, and note how each call ended."""

    def __init__(self, service, body):
        self._service, self._body = service, body
        self._done = threading.Event()
        self.ended = Counter()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def _call(self):
        while not self._done.is_set():
            try:
                status, _ = self._service.post(VIEW, self._body)
            except (OSError, HTTPException):
                status = 0  # in flight in the worker that died
            self.ended["answered" if status == 200 else "lost" if status == 0 else str(status)] += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        for thread in self._threads:
            thread.join()


def crash_again_and_again(service, body, crashes, pause=0.0):
    """What became of the calls, how many crashes were counted, and the seconds until the next worker answered.

    By the clock, which other work on the machine disturbs, and of the processor, which it disturbs little.
    """
    seconds, processor = [], []
    with Callers(service, body) as callers:
        for _ in range(crashes):
            time.sleep(pause)
            (worker,) = service.workers()
            worker.send_signal(signal.SIGSEGV)
            begun = time.monotonic()
            until(lambda gone=worker.pid: _next(service, gone), service.log)
            seconds.append(time.monotonic() - begun)
            with contextlib.suppress(psutil.Error):
                spent = service.workers()[0].cpu_times()
                processor.append(spent.user + spent.system)
    until(lambda: service.figure(COUNTED) >= crashes, service.log)
    return {
        "crashes": crashes, "counted": int(service.figure(COUNTED)), **callers.ended,
        "seconds_to_answer": _median_and_most(seconds), "processor_seconds": _median_and_most(processor),
    }  # fmt: skip


def _median_and_most(figures):
    return [round(statistics.median(figures), 2), round(max(figures), 2)]


def _next(service, gone):
    """Whether another worker stands in the place of the one that is gone, and answers."""
    assert service.process.poll() is None, service.log()[-2000:]
    with contextlib.suppress(OSError):
        there = [one.pid for one in service.workers()]
        return bool(there) and there != [gone] and service.get("/readyz")[0] == 200
    return False


def main():
    """Run from the command line; ends with 1 when more was lost than what was in flight, or a crash was not counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crashes", type=int, default=100)
    parser.add_argument("--pause", type=float, default=1.5)
    wanted = parser.parse_args()
    body = (ROOT / "examples" / "01-warfarin-new-mk7-coded.json").read_bytes()
    with tempfile.TemporaryDirectory(prefix="dekacard-engine-crash-") as folder:
        service = Service(Path(folder), DEKACARD_ENGINE="durable")
        service.wait()
        found = crash_again_and_again(service, body, wanted.crashes, wanted.pause)
        found["after"] = service.post(VIEW, body)[0]
        service.stop()
    print(json.dumps(found))
    return int(
        found["after"] != 200
        or found["counted"] != wanted.crashes
        or found.get("lost", 0) > CALLERS * wanted.crashes
    )


if __name__ == "__main__":
    sys.exit(main())
