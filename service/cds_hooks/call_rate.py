"""How often one client may call: a limit per minute in its profile, counted in each worker; beyond it 429.

Hooks, feedback and discovery are counted apart: a burst of hooks must not cost the answers of clinicians, which a
client sends once, and a client that reads discovery too often must not lose its cards.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Literal

from limits import RateLimitItemPerMinute
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from service.cds_hooks.outcomes import TooOften

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.cds_hooks.client_profile import ClientProfile

Kind = Literal["hook", "feedback", "discovery"]


class CallRate:
    """Counts the calls of each client in one worker.

    By a clock that is never put right: a minute that began under a wrong date would last until that date.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or time.monotonic
        self._counts = _Counts(self._clock)
        self._limiter = FixedWindowRateLimiter(self._counts)
        self._limits: dict[int, RateLimitItemPerMinute] = {}

    def take(self, profile: ClientProfile, kind: Kind) -> None:
        """Count one call of its kind; raises TooOften for those beyond the limit of the running minute."""
        limit = profile.calls_per_minute
        item = self._limits.get(limit)
        if item is None:
            item = self._limits[limit] = RateLimitItemPerMinute(limit)
        if not self._limiter.hit(item, profile.id, kind):
            ends = self._limiter.get_window_stats(item, profile.id, kind).reset_time
            raise TooOften(max(1, math.ceil(ends - self._clock())))


class _Counts(Storage):
    """One counter per client. The library's own memory starts a thread to clean up; here clients are few."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._counters: dict[str, tuple[int, float]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        """A dictionary fails with nothing that could be waited for."""
        return Exception

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count in the running window, or begin one."""
        now = self._clock()
        count, ends = self._counters.get(key, (0, 0.0))
        if ends <= now:
            count, ends = 0, now + expiry
        self._counters[key] = (count + amount, ends)
        return count + amount

    def get(self, key: str) -> int:
        """How many in the running window."""
        count, ends = self._counters.get(key, (0, 0.0))
        return count if ends > self._clock() else 0

    def get_expiry(self, key: str) -> float:
        """When the running window ends."""
        return self._counters.get(key, (0, self._clock()))[1]

    def check(self) -> bool:
        """Always there."""
        return True

    def reset(self) -> int | None:
        """Forget everything."""
        known = len(self._counters)
        self._counters.clear()
        return known

    def clear(self, key: str) -> None:
        """Forget one."""
        self._counters.pop(key, None)
