"""Import it in a process that reviews: each piece of work then ends with a pause.

A signal finds such a run under way, however busy the machine is; what the pieces yield is as ever.
"""

import time
from functools import wraps
from typing import Final

from service.batch.workshop import Workshop

PAUSE: Final = 0.03


def pausing(work):
    """The same work, and a pause behind it, when its file is there already."""

    @wraps(work)
    def slowly(*given, **more):
        done = work(*given, **more)
        time.sleep(PAUSE)
        return done

    return slowly


for step in ("scan", "compare", "review"):
    setattr(Workshop, step, pausing(getattr(Workshop, step)))
