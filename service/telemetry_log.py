"""Logs as JSON, one object a line, under an allow-list of keys: what is not on it is dropped, and counted.

Texts of foreign libraries are never printed, since an address or an exception may repeat what a patient's record
says: of such an event the log keeps who spoke, how urgently, and the place in the code.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import IO, Any, Final

import orjson

# Whatever is logged under another name is dropped: adding one here is a decision about patients' data.
KEYS: Final = frozenset({
    "time", "level", "logger", "event", "says", "place", "error", "worker", "call", "client", "hook", "service",
    "method", "route", "status", "ms", "rules", "cards", "critical", "warning", "info", "gaps", "failures",
    "incomplete", "knowledge", "reason", "reasons", "cause", "seconds", "count", "dropped", "exit", "restart",
    "part", "state", "retry_after", "waiting", "outcome",
})  # fmt: skip
OWN: Final = "dekacard"
_SERVER: Final = "uvicorn"  # its sentences speak of addresses, processes and signals alone
LONGEST: Final = 500
_NUMBERS: Final = frozenset({bool, float, int})

dropped: Counter[str] = Counter()
"""How much was kept out of the log, by cause: ``key``, ``value`` or ``foreign-text``."""


def allow_listed(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep the keys of the list with plain values; a processor of structlog."""
    kept: dict[str, Any] = {}
    for key, value in event.items():
        if key not in KEYS:
            dropped["key"] += 1
        elif type(value) in _NUMBERS:
            kept[key] = value
        elif (plain := _plain(value)) is None:
            dropped["value"] += 1
        else:
            kept[key] = plain
    return kept


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONGEST else value[:LONGEST]
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(k)[:LONGEST]: str(v)[:LONGEST] for k, v in list(value.items())[:50]}
    if isinstance(value, list | tuple | frozenset | set):
        return [str(one)[:LONGEST] for one in list(value)[:50]]
    return None


def place_of(error: BaseException) -> str:
    """Where an exception arose (``file.py:12``); its text is never told, since it may hold patients' data."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "?"
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"


class JsonLines(logging.Formatter):
    """Events of the standard library's logging, in the same form and under the same rule."""

    def format(self, record: logging.LogRecord) -> str:
        """One line: our own sentence; of other libraries only who spoke, and where."""
        event: dict[str, Any] = {"logger": record.name}
        if record.name.split(".")[0] in {OWN, _SERVER}:
            event["event"] = record.getMessage().strip()
        else:
            dropped["foreign-text"] += 1
            event |= {
                "event": "another library spoke",
                "place": f"{record.filename}:{record.lineno}",
            }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            event |= {"error": type(error).__name__, "place": place_of(error)}
        head = {"time": _now(), "level": record.levelname.lower()}
        return orjson.dumps(allow_listed(None, "", head | event)).decode()


def configure_logs(level: str, stream: IO[bytes] | None = None) -> None:
    """Send everything that is logged in this process to ``stream`` (standard error) as JSON lines."""
    import structlog  # loads more than a card may wait for

    out = stream or sys.stderr.buffer
    threshold = logging.getLevelNamesMapping()[level.upper()]
    handler = _Handler(out)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(threshold, logging.WARNING))  # of others only what went wrong
    logging.getLogger(OWN).setLevel(threshold)
    for name in (_SERVER, f"{_SERVER}.error", f"{_SERVER}.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _stamped,
            allow_listed,
            structlog.processors.JSONRenderer(serializer=_dump),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.BytesLoggerFactory(out),  # type: ignore[arg-type]
        cache_logger_on_first_use=True,
    )


def teller() -> Callable[..., None]:
    """Logs an event with its values, under the rule of this module; call it after ``configure_logs``."""
    import structlog

    info: Callable[..., None] = structlog.get_logger().bind(logger=f"{OWN}.calls").info
    return info


class _Handler(logging.Handler):
    """Writes whole lines at once, so that workers do not write into each other's lines."""

    def __init__(self, out: IO[bytes]) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; a broken log never breaks a call."""
        try:
            self._out.write(self.format(record).encode() + b"\n")
            self._out.flush()
        except Exception:  # noqa: BLE001 - the way of logging itself: told to nobody but the process's own stderr
            self.handleError(record)


def _stamped(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["time"] = _now()
    return event


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _dump(event: Any, **_: Any) -> bytes:
    return orjson.dumps(event)
