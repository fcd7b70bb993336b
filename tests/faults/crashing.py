"""``dekacard review`` whose engine kills its process natively for one patient.

Name of the patient and way to die come by the environment, so that workers begun anew do the same.
"""

import faulthandler
import os
import signal
from importlib import import_module
from pathlib import Path

import service.batch.inputs
import service.batch.reviewing
from service.batch.cli import app

PATIENTS = os.environ["CRASHES_FOR"].split(",")
WAY = os.environ["CRASHES_BY"]
ONCE = os.environ.get("CRASHES_ONCE")  # the file that counts: it crashes so often as CRASHES_TIMES
TIMES = int(os.environ.get("CRASHES_TIMES", "1"))
healthy = service.batch.reviewing.review


def review(case, *given, **more):
    """The review itself, unless the patient is one of those planted."""
    if case.patient_id in PATIENTS and not (ONCE and crashed() >= TIMES):
        if ONCE:
            with Path(ONCE).open("a", encoding="ascii") as file:
                file.write("x")
        die()
    return healthy(case, *given, **more)


def crashed():
    """How often it did."""
    return Path(ONCE).stat().st_size if Path(ONCE).exists() else 0


def die():
    """Take the process with it, as native code does."""
    if WAY == "memory":
        raise MemoryError
    faulthandler.disable()
    if WAY == "segv":
        faulthandler._sigsegv()
    os.kill(os.getpid(), signal.SIGABRT if WAY == "abort" else signal.SIGKILL)


service.batch.reviewing.review = review
service.batch.inputs.tasks_of.__defaults__ = (6000,)

if os.environ.get("CRASHES_SLOWLY"):
    import_module("tests.service.batch.slowly")

if __name__ == "__main__":
    app()
