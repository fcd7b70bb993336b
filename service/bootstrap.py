"""Settings become objects, once per worker; the only place that knows all parts."""

from __future__ import annotations

import gc
import importlib.metadata
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rules.engine import Engine, software_version
from rules.errors import KnowledgeError
from rules.rulebook import Rulebook, load_rulebook
from service.alerts.keyring import Keyring, card_uuid, new_keyring, open_keyring
from service.cds_hooks.cards import CardWriter, Circumstances, NameCard
from service.cds_hooks.client_profile import ClientProfile, FhirServer, RuleModes
from service.cds_hooks.discovery import SERVICES, discovery_document, prefetch_templates
from service.cds_hooks.proposing import proposer
from service.settings import Settings, SettingsRefused

if TYPE_CHECKING:
    from fastapi import Request

    from rules.assessment import Recommendation
    from service.alerts.recorder import Recorder
    from service.cds_hooks.clients import Client, ClientRegistry
    from service.cds_hooks.contexts import HookCall
    from service.cds_hooks.fetching import Fetcher
    from service.cds_hooks.prefetch import Supply
    from service.cds_hooks.trust import Gatekeeper
    from service.review import Review

Fetch = Callable[["HookCall", "Client", "Supply", float], Awaitable["Supply"]]
# Distributions that would bring top-level packages of our names, and silently replace them.
OWN_PACKAGES = ("rules", "fhir_adapter", "service")


class Parts:
    """Everything one worker answers with."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        *,
        clock: Callable[[], datetime],
        keyring: Keyring,
        gatekeeper: Gatekeeper | None = None,
        recorder: Recorder | None = None,
        fetcher: Fetcher | None = None,
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.clock = clock
        self.recorder = recorder
        self.gatekeeper = gatekeeper
        self.registry: ClientRegistry | None = gatekeeper.registry if gatekeeper else None
        self._fetcher = fetcher
        self.fetch: Fetch | None = fetcher.complete if fetcher else None
        self.services = SERVICES
        self.discovery = discovery_document(engine.rulebook.vocabulary, SERVICES)
        self.discovery_needs_token = False
        self.software = software_version()
        self.cards = CardWriter(engine.rulebook, max_cards=settings.max_cards)
        self._keyring = keyring
        self._developer = _developer(settings)
        self._may_speak: dict[tuple[str, str], tuple[str, ...]] = {}

    async def identify(self, request: Request, paths: Sequence[str]) -> Client:
        """Who calls; the developer in development mode, else whoever signed the token.

        Raises:
            NotTrusted: the caller is not known, or may not call this address.
        """
        if self.gatekeeper is None:
            return self._developer
        return await self.gatekeeper.identify(
            request.headers.get("authorization"),
            audience=paths,
            now=lambda: self.clock().timestamp(),
        )

    def allows_origin(self, origin: str) -> bool:
        """Whether a browser there may call: those of the profiles, any in development mode."""
        return self.registry is None or origin in self.registry.origins

    def speaks(self, profile: ClientProfile) -> Callable[[Recommendation], bool]:
        """Which recommendations may become cards for this client: live ones, drafts only where accepted."""
        modes = profile.rules

        def may(one: Recommendation) -> bool:
            return modes.of(one.rule) == "live" and (modes.accept_draft or one.status == "reviewed")

        return may

    def card_names(
        self, tenant: str, patient: str, hook_instance: str, service: str
    ) -> NameCard:
        """Gives the uuid of a card from (rule, subject); equal for the same problem in the same event."""

        def name(rule: str, about: str) -> str:
            key = self._keyring.recommendation_key(tenant, patient, rule, about)
            return card_uuid(key, hook_instance, service)

        return name

    def circumstances(
        self, call: HookCall, client: Client, review: Review, name_card: NameCard
    ) -> Circumstances:
        """What the card writer needs to know of a call."""
        profile = client.profile
        return Circumstances(
            style=profile.cards,
            name_card=name_card,
            speaks=self.speaks(profile),
            propose=proposer(
                self.engine.rulebook.vocabulary,
                patient_id=call.patient_id,
                as_of=review.assessment.provenance.as_of,
                version=profile.fhir.version,
                drafts=call.drafts,
                delete=profile.cards.delete,
            ),
        )

    def may_speak(self, hook: str, verbosity: str) -> tuple[str, ...]:
        """Rules that could have spoken at this hook, so that their silence means something."""
        key = (hook, verbosity)
        if key not in self._may_speak:
            from service.alerts.recorder import may_speak  # noqa: PLC0415 - where a record is kept

            self._may_speak[key] = may_speak(self.engine.rulebook.cards, hook, verbosity)
        return self._may_speak[key]

    def take_feedback(self, client: Client, service: str, entries: Sequence[Any]) -> None:
        """Write feedback down as it came; without a record (development only) it is not kept."""
        if self.recorder is not None:
            self.recorder.feedback(client.profile.id, service, entries, self.clock())

    def problem(self) -> str:
        """Why this worker should get no calls now; empty when it is fit."""
        return ""

    def settle(self) -> None:
        """Warm the engine up, then keep what is loaded out of the garbage collector's rounds."""
        warm_up(self.engine, self.settings.profile, self.clock())
        gc.collect()
        gc.freeze()

    async def close(self) -> None:
        """Give everything back."""
        if self.gatekeeper is not None:
            await self.gatekeeper.close()
        if self._fetcher is not None:
            await self._fetcher.close()
        if self.recorder is not None:
            self.recorder.close()
        self.engine.close()


def assemble(settings: Settings, *, clock: Callable[[], datetime] | None = None) -> Parts:
    """Build everything a worker needs.

    Raises:
        KnowledgeError: a pack cannot be used, or another distribution owns one of our packages.
        SettingsRefused: there are neither client profiles nor development mode.
    """
    refuse_clashes()
    engine = build_engine(settings)
    gatekeeper = fetcher = None
    if settings.clients is not None:
        gatekeeper = _gatekeeper(settings)
        fetcher = _fetcher(engine)
    elif not settings.dev:
        raise SettingsRefused(
            "No client profiles: set DEKACARD_CLIENTS to their folder, or use --dev on this machine only."
        )
    recorder, keyring = _record(settings)
    return Parts(
        settings,
        engine,
        clock=clock or (lambda: datetime.now(UTC)),
        keyring=keyring,
        gatekeeper=gatekeeper,
        recorder=recorder,
        fetcher=fetcher,
    )


def build_engine(settings: Settings, *, rulebook: Rulebook | None = None) -> Engine:
    """The engine for the packs in force; an unknown band profile is refused here, not at the first patient."""
    book = rulebook or load_rulebook(settings.packs, settings.pack_dirs)
    known = sorted({name for parameter in book.parameters.values() for name in parameter.profiles})
    if known and settings.profile not in known:
        raise SettingsRefused(
            f"There is no band profile {settings.profile!r}. Known: {', '.join(known)}."
        )
    return Engine(book, settings.engine)


def warm_up(engine: Engine, profile: str, now: datetime) -> None:
    """Compile the rules for today and evaluate an empty patient, so that the first caller does not wait."""
    from rules.facts import Context, FactSet, Patient  # noqa: PLC0415

    facts = FactSet(patient=Patient(id="warm-up"), context=Context(profile=profile))
    engine.assess(facts, as_of=now, today=now.date())


def refuse_clashes() -> None:
    """Refuse to run when another distribution has put files into our packages (PyPI has a ``rules`` of its own).

    Raises:
        KnowledgeError: a file of our packages is not ours; the remedy is an environment of our own.
    """
    foreign = foreign_files()
    if foreign:
        raise KnowledgeError(
            f"another distribution wrote into the packages of dekacard: {', '.join(foreign[:3])}.",
            remedy="Install dekacard into an environment of its own (uv tool install dekacard, or pipx).",
        )


def foreign_files() -> list[str]:
    """Files directly in our packages that our wheel did not bring, or not with this size.

    Only our own list of files is read: asking every distribution takes longer than the rest of the start.
    A checkout (editable install) has no such list and is taken as it is.
    """
    try:
        files = importlib.metadata.distribution("dekacard").files or []
    except importlib.metadata.PackageNotFoundError:
        return []
    ours = {str(file): file for file in files if file.parts[0] in OWN_PACKAGES}
    if not ours:
        return []
    root = Path(str(files[0].locate())).parents[len(files[0].parts) - 1]
    foreign: list[str] = []
    for package in OWN_PACKAGES:
        for path in sorted((root / package).glob("*.py")):
            known = ours.get(f"{package}/{path.name}")
            if known is None or (known.size is not None and known.size != path.stat().st_size):
                foreign.append(f"{package}/{path.name}")
    return foreign


def _developer(settings: Settings) -> Client:
    from service.cds_hooks.clients import Client  # noqa: PLC0415 - YAML of profiles is not needed for it

    profile = ClientProfile(
        id="developer",
        title="Development on this machine",
        rules=RuleModes(mode="live", accept_draft=True),
        fhir=FhirServer(fetch=False),
        zone=settings.zone,
        deadline_ms=settings.deadline_ms,
        profile=settings.profile,
        verbosity=settings.verbosity,
    )
    return Client(profile=profile, issuer="", tenant=None, jti="")


def _gatekeeper(settings: Settings) -> Gatekeeper:
    from service.cds_hooks.clients import ClientRegistry  # noqa: PLC0415 - not needed in development
    from service.cds_hooks.jwks import KeyCache  # noqa: PLC0415
    from service.cds_hooks.replay import open_jti_store  # noqa: PLC0415
    from service.cds_hooks.trust import Gatekeeper  # noqa: PLC0415

    registry = ClientRegistry.load(Path(settings.clients or ""))
    return Gatekeeper(
        registry=registry, keys=KeyCache(read_secret=lambda profile, source: registry.secret(profile, source)), jti_store=open_jti_store(settings.jti_store)
    )


def _fetcher(engine: Engine) -> Fetcher:
    from service.cds_hooks.fetching import Fetcher  # noqa: PLC0415 - the HTTP client is not needed in development

    return Fetcher(prefetch_templates(engine.rulebook.vocabulary))


def _record(settings: Settings) -> tuple[Recorder | None, Keyring]:
    if not settings.store_url:
        return None, new_keyring(encrypt=False)
    raise SettingsRefused("DEKACARD_STORE_URL: the record is not available yet.")


def zone_of(settings: Settings) -> ZoneInfo:
    """The zone of calendar days outside client profiles."""
    return ZoneInfo(settings.zone)


__all__ = ["Parts", "assemble", "build_engine", "open_keyring", "refuse_clashes", "warm_up"]
