"""How often somebody may try: counted in the store, so that all workers count together and a restart forgets nothing.

``limits`` decides; this is where it keeps its numbers. Keys are hashed: they hold names and addresses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter
from sqlalchemy import Connection, delete, select, update

from rules.errors import RequestError
from service.alerts import identity_tables
from service.alerts.past_answers import micros
from service.identity import hash_of

if TYPE_CHECKING:
    from service.alerts.database import Database

# A whole hospital may stand behind one proxy
FROM_ONE_ADDRESS: Final = RateLimitItemPerMinute(300, 5)
FOR_ONE_ACCOUNT_AND_ADDRESS: Final = RateLimitItemPerMinute(10, 5)
# Also from many addresses: more than this and the account is locked until the hour is over
FOR_ONE_ACCOUNT: Final = RateLimitItemPerHour(30)
_CODES_FOR_ONE_ACCOUNT: Final = RateLimitItemPerHour(10)
_MICROSECONDS: Final = 1_000_000


class CountedInStore(Storage):
    """A storage of ``limits`` in the tables of the record."""

    STORAGE_SCHEME = None

    def __init__(self, database: Callable[[], Database], clock: Callable[[], datetime]) -> None:
        super().__init__()
        self._database = database
        self._clock = clock

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """Errors of the store keep their own type: whoever signs in is told that it does not answer."""
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, and say how many there are in this window of ``expiry`` seconds."""
        table, now, hashed = identity_tables.attempt, micros(self._clock()), hash_of(key)

        # One that ends later than any that begins now was counted under a clock that has been put right since
        latest = now + expiry * _MICROSECONDS

        def count(connection: Connection) -> int:
            connection.execute(delete(table).where(table.c.expires <= now))
            ahead = (table.c.key == hashed) & (table.c.expires > latest)
            connection.execute(delete(table).where(ahead))
            held = connection.scalar(select(table.c.count).where(table.c.key == hashed))
            if held is None:
                connection.execute(table.insert().values(key=hashed, count=amount, expires=latest))
                return amount
            connection.execute(
                update(table).where(table.c.key == hashed).values(count=held + amount)
            )
            return int(held) + amount

        return self._database().write(count)

    def get(self, key: str) -> int:
        """How many there are now."""
        table = identity_tables.attempt
        wanted = select(table.c.count).where(
            table.c.key == hash_of(key), table.c.expires > micros(self._clock())
        )
        with self._database().reading() as connection:
            return connection.scalar(wanted) or 0

    def get_expiry(self, key: str) -> float:
        """When the window ends (seconds since 1970)."""
        table = identity_tables.attempt
        wanted = select(table.c.expires).where(table.c.key == hash_of(key))
        with self._database().reading() as connection:
            held = connection.scalar(wanted)
        return held / _MICROSECONDS if held else self._clock().timestamp()

    def check(self) -> bool:
        """Whether the store answers."""
        return True

    def reset(self) -> int | None:
        """Forget everything."""
        return self._database().write(
            lambda connection: connection.execute(delete(identity_tables.attempt)).rowcount
        )

    def clear(self, key: str) -> None:
        """Forget one key."""
        table = identity_tables.attempt
        self._database().write(
            lambda connection: connection.execute(delete(table).where(table.c.key == hash_of(key)))
        )


class Tries:
    """What may be tried before the door."""

    def __init__(self, database: Callable[[], Database], clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._limiter = FixedWindowRateLimiter(CountedInStore(database, clock))

    def password(self, address: str, tenant: str, name: str) -> None:
        """Count a try of a password, also a right one.

        Raises:
            RequestError: there were too many (429); it says how long to wait, not which of the limits it was.
        """
        self._count(FROM_ONE_ADDRESS, "from", address)
        self._count(FOR_ONE_ACCOUNT_AND_ADDRESS, "password", address, tenant, name)
        self._count(FOR_ONE_ACCOUNT, "account", tenant, name)

    def code(self, tenant: str, name: str) -> None:
        """Count a try of a second factor.

        Raises:
            RequestError: there were too many (429).
        """
        self._count(_CODES_FOR_ONE_ACCOUNT, "code", tenant, name)

    def token(self, address: str) -> None:
        """Count a try of a set-up token.

        Raises:
            RequestError: there were too many (429).
        """
        self._count(FOR_ONE_ACCOUNT_AND_ADDRESS, "token", address)

    def provider(self, address: str) -> None:
        """Count a visit to an OpenID provider, each of which is remembered for a while.

        Raises:
            RequestError: there were too many (429).
        """
        self._count(FROM_ONE_ADDRESS, "provider", address)

    def succeeded(self, address: str, tenant: str, name: str) -> None:
        """Forget what was counted against somebody who got in."""
        self._limiter.clear(FOR_ONE_ACCOUNT_AND_ADDRESS, "password", address, tenant, name)
        self._limiter.clear(FOR_ONE_ACCOUNT, "account", tenant, name)
        self._limiter.clear(_CODES_FOR_ONE_ACCOUNT, "code", tenant, name)

    def _count(self, item: RateLimitItem, *about: str) -> None:
        if self._limiter.hit(item, *about):
            return
        until = self._limiter.get_window_stats(item, *about).reset_time
        minutes = max(1, math.ceil((until - self._clock().timestamp()) / 60))
        unit = "minute" if minutes == 1 else "minutes"
        raise RequestError(
            f"Too many attempts. Wait {minutes} {unit}.", status=429, code="throttled"
        )
