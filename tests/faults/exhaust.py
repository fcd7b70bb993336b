"""Holds a worker of the service at its limit of memory while large calls come in.

python -m tests.faults.exhaust --calls 100000
"""

import argparse
import json
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

import psutil

from tests.operations.conftest import VIEW, Service, until

ROOT = Path(__file__).parents[2]
ROOM = 2 * 2**20  # what a worker may still take, in bytes: less than one large call needs
LARGE = 3 * 2**20


def large(body):
    """The call with a note of that many characters, still within the limit of a body."""
    whole = json.loads(body)
    whole["prefetch"]["medicationStatements"]["entry"][0]["resource"]["note"] = [
        {"text": "a" * LARGE}
    ]
    return json.dumps(whole).encode()


def limit(worker, room):
    """Let a process take no more address space than it has, and ``room`` bytes."""
    process = psutil.Process(worker.pid)
    most = process.memory_info().vms + room if room is not None else resource.RLIM_INFINITY
    process.rlimit(psutil.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def starve(service, worker, *, calls, body, room=ROOM):
    """Send large calls to a worker without memory; what became of them."""
    limit(worker, room)
    found, heavy = Counter(), large(body)
    for _ in range(calls):
        try:
            status, _ = service.post(VIEW, heavy)
        except OSError:
            status = 0  # the worker ended; the next one is not limited
        found["answered" if status == 200 else "refused"] += 1
    return found


def feed(service):
    """Give whoever works now as much as there is."""
    for worker in service.workers():
        limit(worker, None)


def main():
    """Run from the command line; ends with 1 when the service did not come back."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    wanted = parser.parse_args()
    body = (ROOT / "examples" / "01-warfarin-new-mk7-coded.json").read_bytes()
    with tempfile.TemporaryDirectory(prefix="dekacard-starve-") as folder:
        service = Service(Path(folder), DEKACARD_ENGINE="durable")
        service.wait()
        (worker,) = service.workers()
        found = starve(service, worker, calls=wanted.calls, body=body)
        feed(service)
        until(lambda: service.get("/readyz")[0] == 200, service.log)
        found["after"] = service.post(VIEW, body)[0]
        service.stop()
    print(json.dumps(found))
    return int(found["after"] != 200)


if __name__ == "__main__":
    sys.exit(main())
