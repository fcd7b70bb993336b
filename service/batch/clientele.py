"""The client whose settings a run follows, and whose record it feeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from service.batch.values import Options
from service.batch.workshop import rulebook_of
from service.rollout import modes_in_force
from service.settings import Settings, SettingsRefused

if TYPE_CHECKING:
    from service.alerts.values import Mode
    from service.batch.storing import Handover
    from service.cds_hooks.client_profile import ClientProfile


def profile_of(settings: Settings, name: str) -> ClientProfile:
    """The profile of a client; ``developer`` in development mode, where there are no profiles.

    Raises:
        SettingsRefused: there is no such client.
        ProfileRefused: a profile cannot be used.
    """
    if settings.clients is not None:
        from service.site_knowledge import site_clients

        registry = site_clients(settings, Path(settings.clients))
        found = registry.by_id(name)
        known = [one.id for one in registry.profiles]
    else:
        from service.parts import developer_client

        developer = developer_client(settings).profile
        found = developer if settings.dev and name == developer.id else None
        known = [developer.id] if settings.dev else []
    if found is None:
        raise SettingsRefused(
            f"There is no client {name!r}. Known in DEKACARD_CLIENTS: {', '.join(known) or 'none'}."
        )
    return found


def following(
    options: Options, profile: ClientProfile, decided: Mapping[str, Mode] | None = None
) -> Options:
    """The options as this client's hooks have them: bands, verbosity, zone, own codes, and which rules are live."""
    modes = modes_in_force(rulebook_of(options), profile.rules, decided or {})
    own = (one.resolve() for one in profile.code_maps)
    return msgspec.structs.replace(
        options,
        client=profile.id,
        profile=profile.profile or options.profile,
        verbosity=profile.verbosity,
        zone=profile.zone,
        code_maps=tuple(dict.fromkeys((*options.code_maps, *map(str, own)))),
        quiet=tuple(sorted(rule for rule, mode in modes.items() if mode != "live")),
    )


@contextmanager
def record_of(
    settings: Settings, profile: ClientProfile, options: Options
) -> Iterator[tuple[Options, Handover]]:
    """The store of this installation, opened for one client, and the options that fit it.

    Raises:
        SettingsRefused: no store is set, or it does not answer.
        KeyringError, SchemaError: the store cannot be used.
    """
    if not settings.store_url:
        raise SettingsRefused("--store needs a store: set DEKACARD_STORE_URL.")
    from rules.errors import Unavailable
    from service.alerts.record import prepare_record
    from service.batch.storing import Handover, modes_set_by_hand
    from service.bootstrap import record_options

    record = prepare_record(
        record_options(settings), create_keys=settings.dev, upgrade=settings.dev
    )
    try:
        decided = modes_set_by_hand(record, profile.id)
        noted = msgspec.structs.replace(following(options, profile, decided), noted=True)
        rulebook = rulebook_of(noted)
        modes = modes_in_force(rulebook, profile.rules, decided)
        yield noted, Handover(record, rulebook, profile, modes, verbosity=noted.verbosity)
    except Unavailable:
        raise SettingsRefused(
            "The store does not answer, and --store was asked for. Nothing was begun."
        ) from None
    finally:
        record.let_go()
