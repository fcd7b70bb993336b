"""Searching large buffers for many expressions at once, by whichever library is there.

Hyperscan (the extra ``batch``, where there is a wheel) reads about three times as many bytes a second as google-re2;
both give every line that holds one of the expressions. Expressions are bytes; ``(?i:...)`` is understood by both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, Final, Literal

Library = Literal["hyperscan", "re2", "none"]
Search = Callable[[bytes], list[int]]
DoubleSearch = Callable[[bytes], tuple[list[int], list[int]]]

_RE2_MEMORY: Final = 64 << 20


def libraries() -> tuple[Library, ...]:
    """Those that can be imported here, the fastest first; ``none`` is always there."""
    known: tuple[Library, ...] = ("hyperscan", "re2")
    return (*(one for one in known if find_spec(one) is not None), "none")


def searching(library: Library, expressions: Sequence[bytes]) -> Search:
    """A search that gives, for every line that matches, at least one place inside it, in ascending order."""
    if not expressions or library == "none":
        return _nothing
    return _hyperscan(expressions) if library == "hyperscan" else _re2(expressions)


def searching_two(first: Sequence[bytes], second: Sequence[bytes]) -> DoubleSearch:
    """Two searches by Hyperscan in one pass, which costs little more than the dearer of them."""
    database = _database([*first, *second])
    border = len(first)

    def search(data: bytes) -> tuple[list[int], list[int]]:
        places: tuple[list[int], list[int]] = ([], [])

        def found(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            places[number >= border].append(end - 1)

        database.scan(data, match_event_handler=found)
        places[0].sort()
        places[1].sort()
        return places

    return search


def _nothing(_data: bytes) -> list[int]:
    return []


def _database(expressions: Sequence[bytes]) -> Any:
    import hyperscan

    database: Any = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    count = len(expressions)
    database.compile(
        expressions=list(expressions), ids=list(range(count)), elements=count, flags=[0] * count
    )
    return database


def _hyperscan(expressions: Sequence[bytes]) -> Search:
    database = _database(expressions)

    def search(data: bytes) -> list[int]:
        places: list[int] = []

        def found(_id: int, _start: int, end: int, _flags: int, _context: object) -> None:
            places.append(end - 1)

        database.scan(data, match_event_handler=found)
        places.sort()
        return places

    return search


def _re2(expressions: Sequence[bytes]) -> Search:
    import re2  # type: ignore[import-untyped]

    options: Any = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = _RE2_MEMORY
    compiled: Any = re2.compile(b"|".join(b"(?:" + one + b")" for one in expressions), options)

    def search(data: bytes) -> list[int]:
        places: list[int] = []
        place = 0
        while (match := compiled.search(data, place)) is not None:
            places.append(match.start())
            place = data.find(b"\n", match.start()) + 1  # one place is enough for a line
            if not place:
                break
        return places

    return search
