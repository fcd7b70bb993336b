"""Waiting on what moves, never on the clock: a loaded machine is slow, and only standing still is a fault."""

import time

LOOKS = 1200
PAUSE = 0.05


def wait_until(true, *, moving=lambda: None, looks=LOOKS, pause=PAUSE):
    """Wait for ``true()`` and return what it gives; complain after ``looks`` in a row at which nothing was ``moving``."""
    seen, left = object(), looks
    while not (found := true()):
        now = moving()
        left = looks if now != seen else left - 1
        seen = now
        if left <= 0:
            raise TimeoutError(f"nothing moved at {looks} looks in a row, the last time at {now!r}")
        time.sleep(pause)
    return found
