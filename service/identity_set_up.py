"""Tells whoever starts the service the one-time token that makes the first administrator; never a log."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from rules.errors import Unavailable
from service.identity_invitations import SET_UP_LIFE, open_set_up, write_token
from service.settings import Settings, SettingsRefused

_log = logging.getLogger("dekacard.identity")


def announce_set_up(
    settings: Settings, *, now: datetime | None = None, out: TextIO | None = None
) -> str | None:
    """Show the token where nobody has an account yet, and return it; call it before any fork.

    A terminal gets it directly. Elsewhere (a container, a service manager) whatever is printed ends in a log, so the
    token goes into a file that only the owner of the service can read, and the place is printed.

    Raises:
        SettingsRefused: the file cannot be written.
        DekacardError: the keys or the store cannot be used.
    """
    if settings.dev or not settings.store_url:
        return None
    console = out or sys.stdout
    try:
        token = _open(settings, now or datetime.now(UTC))
    except Unavailable:
        _log.warning("the store does not answer; if nobody has an account yet, start again later")
        return None
    if token is None:
        return None
    minutes = int(SET_UP_LIFE.total_seconds() // 60)
    says = f"Nobody has an account yet. Make the first administrator at /setup within {minutes} minutes"
    if console.isatty():
        console.write(f"{says}, with this one-time token:\n\n    {token}\n\n")
    else:
        try:
            write_token(settings.setup_file, token)
        except OSError as error:
            raise SettingsRefused(
                f"DEKACARD_SETUP_FILE: {settings.setup_file} cannot be written: {error.strerror}."
            ) from None
        console.write(f"{says}; the one-time token is in {settings.setup_file}.\n")
    console.flush()
    return token


def _open(settings: Settings, now: datetime) -> str | None:
    from service.alerts.record import prepare_record
    from service.bootstrap import record_options

    record = prepare_record(record_options(settings), create_keys=False, upgrade=False)
    try:
        return open_set_up(record.database, now)
    finally:
        record.let_go()  # nothing runs or is held open when the workers are forked
