"""Looks at each thing that the settings name, one after another, and tells all that is wrong at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rules.errors import DekacardError, Unavailable
from service.settings import SettingsRefused

if TYPE_CHECKING:
    from service.settings import Settings

State = Literal["good", "attention", "bad"]
_LOOSE: Final = 0o077  # nobody but the owner has anything to do with keys


class Look:
    """One thing looked at, in words; what stands under ``bad`` would keep the service from starting."""

    def __init__(self, state: State, says: str) -> None:
        self.state, self.says = state, says


def look_at(settings: Settings) -> Iterator[Look]:
    """Everything in the order in which the service needs it; nothing is created, and nothing stays open."""
    for what, steps in (
        ("packs and engine", _knowledge),
        ("zone", _zone),
        ("client profiles", _clients),
        ("providers", _providers),
        ("receivers", _receivers),
        ("keys", _keys),
        ("spool", _spool),
        ("store", _store),
        ("used tokens", _tokens),
    ):
        yield from _guarded(what, steps, settings)


def _guarded(
    what: str, steps: Callable[[Settings], Iterator[Look]], settings: Settings
) -> Iterator[Look]:
    try:
        yield from steps(settings)
    except (DekacardError, OSError, ValueError) as error:
        yield Look("bad", f"{what}: {error}")


def _knowledge(settings: Settings) -> Iterator[Look]:
    from service.bootstrap import build_engine
    from service.parts import warm_up

    engine = build_engine(settings)
    warm_up(engine, settings.profile, datetime.now(UTC))
    engine.close()
    book = engine.rulebook
    yield Look(
        "good", f"{len(book.packs)} packs, {len(book.cards)} rules; engine {settings.engine}"
    )
    overdue = sum(card.review_due < datetime.now(UTC).date() for card in book.cards.values())
    if overdue:
        yield Look("attention", f"{overdue} rules are past their review date: 'dekacard doctor'")


def _zone(settings: Settings) -> Iterator[Look]:
    try:
        ZoneInfo(settings.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsRefused(
            f"{settings.zone!r} is none; write one like 'Europe/Vienna'."
        ) from None
    yield Look("good", f"calendar days in {settings.zone} outside client profiles")


def _clients(settings: Settings) -> Iterator[Look]:
    from service.bootstrap import NO_CLIENTS

    if settings.clients is None:
        if not settings.dev:
            yield Look("bad", NO_CLIENTS)
        return
    from service.site_knowledge import site_clients

    registry = site_clients(settings, settings.clients)
    for profile in registry.profiles:
        drafts = "accepts drafts" if profile.rules.accept_draft else "reviewed rules only"
        yield Look("good", f"client {profile.id}: rules {profile.rules.mode}, {drafts}")
    if not settings.store_url:
        yield Look("bad", "clients are served, so a record must be kept: set DEKACARD_STORE_URL")


def _providers(settings: Settings) -> Iterator[Look]:
    if settings.oidc is not None:
        from service.identity_providers import read_providers

        yield Look("good", f"{len(read_providers(settings.oidc))} OpenID providers")


def _receivers(settings: Settings) -> Iterator[Look]:
    if settings.receivers is not None:
        from service.alerts.receivers import read_receivers

        yield Look(
            "good", f"{len(read_receivers(settings.receivers))} receivers of critical alerts"
        )
    elif settings.store_url:
        yield Look("attention", "nobody is told of critical alerts: DEKACARD_RECEIVERS is not set")


def _keys(settings: Settings) -> Iterator[Look]:
    if not settings.store_url:
        return
    from service.alerts.keyring import read_keyring

    if settings.dev and not settings.keyring.exists():
        yield Look("good", "the keyring is made at the first start")
        return
    keyring = read_keyring(settings.keyring)
    if not keyring.evidence_current:
        yield Look("attention", "facts and cards are stored without encryption")
    if settings.keyring.stat().st_mode & _LOOSE:
        yield Look("attention", f"others may read {settings.keyring.name}: chmod 600")
    yield Look("good", "the keyring can be read")


def _spool(settings: Settings) -> Iterator[Look]:
    if not settings.store_url:
        return
    folder = settings.spool_dir
    if folder.exists() and not folder.is_dir():
        yield Look("bad", f"spool: {folder.name} is no folder")
        return
    nearest = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        yield Look("bad", f"spool: this user may not write into {nearest}")
        return
    yield Look("good", "the folder of the spool can be written")


def _store(settings: Settings) -> Iterator[Look]:
    if not settings.store_url:
        if settings.dev:
            yield Look("attention", "no record is kept: DEKACARD_STORE_URL is not set")
        return
    from service.alerts import schema
    from service.alerts.database import Database
    from service.alerts.keyring import fingerprint_of, read_keyring
    from service.alerts.past_answers import store_marks

    url = settings.store_url
    if url.startswith("sqlite") and not Path(url.partition(":///")[2]).exists():
        yield Look("attention", "the store is not there yet; the first start makes it")
        return
    database = Database(url)
    try:
        schema.require_current(database)
    except Unavailable:
        # No reason to refuse the start: cards are answered, and the spool waits with us
        yield Look("attention", "the store does not answer; the service starts and waits for it")
        return
    finally:
        database.close()
    marks = store_marks(url)
    if marks and marks[1] and settings.keyring.exists():
        ours = fingerprint_of(read_keyring(settings.keyring))
        if marks[1] != ours:
            yield Look("bad", "store: it was made with another keyring")
            return
    yield Look("good", "the store answers, with the schema of this version")


def _tokens(settings: Settings) -> Iterator[Look]:
    if settings.clients is None:
        return
    from service.cds_hooks.replay import open_jti_store

    open_jti_store(settings.jti_store).close()
    yield Look("good", "used tokens have a store")
