"""Settings become objects, once per worker; the only place that knows all parts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from rules.engine import Engine
from rules.rulebook import Rulebook
from service.alerts.keyring import new_keyring
from service.cds_hooks.discovery import prefetch_templates
from service.installation import refuse_clashes
from service.local_codes import ClientCodes
from service.parts import Parts, warm_up
from service.settings import Settings, SettingsRefused
from service.site_knowledge import site_clients, site_rulebook

if TYPE_CHECKING:
    from service.alerts.record import Record
    from service.alerts.values import Receiver, RecordOptions
    from service.cds_hooks.fetching import Fetcher
    from service.cds_hooks.trust import Gatekeeper
    from service.rollout import ModeBoard
    from service.silence_board import SilenceBoard

NO_CLIENTS: Final = (
    "No client profiles: set DEKACARD_CLIENTS to their folder, or use --dev on this machine only."
)

_HEAD_START: Final = 10.0  # seconds: the keeper needs one to start


def assemble(
    settings: Settings,
    *,
    clock: Callable[[], datetime] | None = None,
    keeper_beside: bool = False,
) -> Parts:
    """Build everything a worker needs; call it once per worker, after any fork.

    With ``keeper_beside`` a process of its own moves the record into the store; this one does so only if none is there.

    Raises:
        KnowledgeError: a pack cannot be used, or another distribution wrote into our packages.
        SettingsRefused: there are neither client profiles nor development mode.
        DekacardError: a client profile, the keys or the store cannot be used.
    """
    refuse_clashes()
    engine = build_engine(settings)
    now = clock or (lambda: datetime.now(UTC))
    gatekeeper = fetcher = codes = None
    if settings.clients is not None:
        codes = ClientCodes(engine.rulebook)
        gatekeeper = _gatekeeper(settings, codes)
        fetcher = _fetcher(engine)
    elif not settings.dev:
        raise SettingsRefused(NO_CLIENTS)
    record = _record(settings, now, _HEAD_START if keeper_beside else 0.0)
    if record is not None:
        record.keep_packs(engine.rulebook)
    return Parts(
        settings,
        engine,
        clock=now,
        keyring=record.keyring if record else new_keyring(encrypt=False),
        gatekeeper=gatekeeper,
        recorder=record,
        modes=_modes(record),
        silences=_silences(record),
        fetcher=fetcher,
        codes=codes,
    )


def check(settings: Settings) -> None:
    """Find whatever a worker would refuse, without opening the record.

    Raises:
        DekacardError: as ``assemble``.
    """
    refuse_clashes()
    engine = build_engine(settings)
    warm_up(engine, settings.profile, datetime.now(UTC))
    engine.close()
    record_options(settings)
    if settings.oidc is not None:
        from service.identity_providers import read_providers

        read_providers(settings.oidc)
    if settings.clients is not None:
        site_clients(settings, settings.clients)
    elif not settings.dev:
        raise SettingsRefused(NO_CLIENTS)


def build_engine(settings: Settings, *, rulebook: Rulebook | None = None) -> Engine:
    """The engine for the packs in force; an unknown band profile is refused here, not at the first patient."""
    book = rulebook or site_rulebook(settings)
    known = sorted({name for parameter in book.parameters.values() for name in parameter.profiles})
    if known and settings.profile not in known:
        raise SettingsRefused(
            f"There is no band profile {settings.profile!r}. Known: {', '.join(known)}."
        )
    return Engine(book, settings.engine)


def _gatekeeper(settings: Settings, codes: ClientCodes) -> Gatekeeper:
    from service.cds_hooks.clients import ClientRegistry
    from service.cds_hooks.jwks import KeyCache
    from service.cds_hooks.replay import open_jti_store
    from service.cds_hooks.trust import Gatekeeper

    registry = ClientRegistry.load(Path(settings.clients or ""), codes.of)
    return Gatekeeper(
        registry=registry,
        keys=KeyCache(read_secret=registry.secret),
        jti_store=open_jti_store(settings.jti_store),
    )


def _fetcher(engine: Engine) -> Fetcher:
    from service.cds_hooks.fetching import Fetcher

    return Fetcher(prefetch_templates(engine.rulebook.vocabulary))


def _modes(record: Record | None) -> ModeBoard | None:
    if record is None:
        return None
    from service.rollout import ModeBoard

    memory = Path(record.options.spool) / "modes.json"
    memory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return ModeBoard(lambda: record.database, memory)


def _silences(record: Record | None) -> SilenceBoard | None:
    if record is None:
        return None
    from service.silence_board import SilenceBoard

    return SilenceBoard(lambda: record.database, Path(record.options.spool) / "silences.json")


def _record(
    settings: Settings, clock: Callable[[], datetime], head_start: float = 0.0
) -> Record | None:
    """The record of this worker, started; None where no store is set, which only development allows.

    Raises:
        SettingsRefused: clients are served, and nothing would be recorded.
    """
    if not settings.store_url:
        if settings.clients is not None:
            raise SettingsRefused(
                "Clients are served, so a record must be kept: set DEKACARD_STORE_URL."
            )
        return None
    from service.alerts.record import open_record

    options = record_options(settings)
    return open_record(
        options,
        create_keys=settings.dev,
        upgrade=settings.dev,
        clock=clock,
        head_start=head_start,
    )


def record_options(settings: Settings) -> RecordOptions:
    """Where the record lies, and the site's own limits for it; raises ReceiversRefused."""
    from service.alerts.lifecycle import SnoozeLimits
    from service.alerts.values import RecordOptions, Retention

    receivers: tuple[Receiver, ...] = ()
    if settings.receivers is not None:
        from service.alerts.receivers import read_receivers

        receivers = read_receivers(settings.receivers)
    return RecordOptions(
        database_url=settings.store_url,
        spool=str(settings.spool_dir),
        keyring=str(settings.keyring),
        quiet_days=settings.quiet_days,
        draft_days=settings.draft_days,
        receivers=receivers,
        retention=Retention(
            evidence=timedelta(days=settings.keep_evidence_days),
            cards=timedelta(days=settings.keep_cards_days),
            answers=timedelta(days=settings.keep_answers_days),
            alerts=timedelta(days=settings.keep_alerts_days),
            audit=timedelta(days=settings.keep_audit_days),
            rejects=timedelta(days=settings.keep_rejects_days),
        ),
        snooze=SnoozeLimits(
            critical=timedelta(hours=settings.snooze_critical_hours),
            warning=timedelta(days=settings.snooze_warning_days),
            info=timedelta(days=settings.snooze_info_days),
        ),
    )


def zone_of(settings: Settings) -> ZoneInfo:
    """The zone of calendar days outside client profiles."""
    return ZoneInfo(settings.zone)
