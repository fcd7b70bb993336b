"""What one worker answers with: the engine, the words of cards, who may call, what is recorded."""

from __future__ import annotations

import gc
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from rules.engine import Engine, software_version
from rules.errors import NotTrusted
from service.alerts.keyring import Keyring, card_uuid
from service.alerts.values import Mode
from service.cds_hooks.cards import CardWriter, Circumstances, NameCard
from service.cds_hooks.client_profile import ClientProfile, FhirServer, RuleModes
from service.cds_hooks.clients import Client
from service.cds_hooks.discovery import SERVICES, discovery_document, prefetch_templates
from service.cds_hooks.outcomes import TooOften
from service.cds_hooks.proposing import proposer
from service.cds_hooks.repeats import ShownCards
from service.knowledge_swap import EngineShelf
from service.rollout import modes_in_force
from service.telemetry import Telemetry

if TYPE_CHECKING:
    from fastapi import Request

    from service.alerts.recorder import Recorder
    from service.cds_hooks.call_rate import CallRate, Kind
    from service.cds_hooks.clients import ClientRegistry
    from service.cds_hooks.contexts import HookCall
    from service.cds_hooks.fetching import Fetcher
    from service.cds_hooks.prefetch import Supply
    from service.cds_hooks.trust import Gatekeeper
    from service.local_codes import ClientCodes, LocalCodes
    from service.review import Review
    from service.rollout import ModeBoard
    from service.settings import Settings
    from service.silence_board import Silence, SilenceBoard

_log = logging.getLogger("dekacard.parts")
Fetch = Callable[["HookCall", "Client", "Supply", float], Awaitable["Supply"]]


class _ModesOfClient(NamedTuple):
    """How far rules reach for one client, and from what that was worked out."""

    stated: RuleModes
    decided: Mapping[str, Mode]
    modes: dict[str, Mode]
    quiet: frozenset[str]


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
        modes: ModeBoard | None = None,
        silences: SilenceBoard | None = None,
        fetcher: Fetcher | None = None,
        codes: ClientCodes | None = None,
    ) -> None:
        self.settings = settings
        self.telemetry = Telemetry()
        self._rate = _call_rate() if gatekeeper else None
        self.shelf = EngineShelf(engine)
        self.shelf.on_exchange = self._learn
        self.clock = clock
        self.recorder = recorder
        self.gatekeeper = gatekeeper
        self.registry: ClientRegistry | None = gatekeeper.registry if gatekeeper else None
        self._fetcher = fetcher
        self.fetch: Fetch | None = fetcher.complete if fetcher else None
        if fetcher is not None:
            fetcher.on_rest = lambda client: self.telemetry.count("fhir_rests", client)
            fetcher.own_templates = self._own_templates
        self._codes = codes
        if gatekeeper is not None:
            gatekeeper.keys.on_failure = lambda client: self.telemetry.count(
                "keys_not_renewed", client
            )
        self.services = SERVICES
        self.discovery_needs_token = settings.discovery_needs_token
        self.software = software_version()
        self._keyring = keyring
        self.shown = ShownCards(gatekeeper.jti_store, keyring) if gatekeeper else None
        self._developer = developer_client(settings)
        self._mode_board = modes
        self._silence_board = silences
        self._learn(engine)

    @property
    def engine(self) -> Engine:
        """The engine in force now; a review borrows it by ``shelf.using``, so that no reload closes it."""
        return self.shelf.engine

    def _learn(self, engine: Engine) -> None:
        """Take over everything that depends on the packs; between two reviews, never inside one."""
        vocabulary = engine.rulebook.vocabulary
        discovery = discovery_document(vocabulary, SERVICES, encounter=self.settings.ask_encounter)
        cards = CardWriter(engine.rulebook, max_cards=self.settings.max_cards)
        if self._codes is not None and self.registry is not None:
            self._codes.learn(engine.rulebook, self.registry.code_maps)
        self.discovery, self.cards = discovery, cards  # from here on nothing can fail
        self._may_speak: dict[tuple[str, str], tuple[str, ...]] = {}
        self._modes: dict[str, _ModesOfClient] = {}
        if self._fetcher is not None:
            self._fetcher.ask_for(prefetch_templates(vocabulary))

    async def identify(
        self, request: Request, service_id: str | None = None, *, feedback: bool = False
    ) -> Client:
        """Who calls discovery, a service or its feedback; in development mode always the developer.

        Raises:
            NotTrusted: the caller is not known, or may not call this address.
        """
        if self.gatekeeper is None:
            self.telemetry.known_client(self._developer.profile.id)
            return self._developer
        from service.cds_hooks.trust import endpoint_paths

        try:
            client = await self.gatekeeper.identify(
                request.headers.get("authorization"),
                audience=endpoint_paths(service_id, feedback=feedback),
                now=lambda: self.clock().timestamp(),
            )
        except NotTrusted as refusal:
            self.telemetry.refused(refusal.reason)
            raise
        self.telemetry.known_client(client.profile.id)
        if self._rate is not None:
            kind: Kind = "feedback" if feedback else "hook" if service_id else "discovery"
            try:
                self._rate.take(client.profile, kind)
            except TooOften:
                self.telemetry.limited(client.profile.id)
                _log.warning("429 to client %s: %s beyond its limit", client.profile.id, kind)
                raise
        return client

    def local_codes(self, client: str) -> LocalCodes | None:
        """By what a client's records are read, where it has codes of its own."""
        maps = self.registry.code_maps.get(client) if self.registry is not None else None
        return self._codes.of(client, maps) if maps and self._codes is not None else None

    def discovery_for(self, client: Client) -> bytes:
        """Discovery for a client that said who it is: its searches name its own codes too."""
        own = self.local_codes(client.profile.id)
        return own.discovery if own is not None else self.discovery

    def _own_templates(self, client: str) -> Mapping[str, str] | None:
        own = self.local_codes(client)
        return own.templates if own is not None else None

    def allows_origin(self, origin: str) -> bool:
        """Whether a browser there may call: those of the profiles, any in development mode."""
        return self.registry is None or origin in self.registry.origins

    def modes(self, profile: ClientProfile) -> Mapping[str, Mode]:
        """How far each rule reaches for this client: as its profile says, or as was decided since."""
        return self._modes_of(profile).modes

    def _modes_of(self, profile: ClientProfile) -> _ModesOfClient:
        decided = self._mode_board.of(profile.id) if self._mode_board else {}
        known = self._modes.get(profile.id)
        if known is not None and known.stated is profile.rules and known.decided == decided:
            return known
        modes = modes_in_force(self.engine.rulebook, profile.rules, decided)
        quiet = frozenset(rule for rule, mode in modes.items() if mode != "live")
        known = self._modes[profile.id] = _ModesOfClient(profile.rules, dict(decided), modes, quiet)
        return known

    def mode_of(self, tenant: str, rule: str) -> Mode:
        """The mode of a rule for this client as it is in force; ``shadow`` for a client that is not known."""
        known = self.registry.by_id(tenant) if self.registry is not None else None
        profile = known or (self._developer.profile if self.gatekeeper is None else None)
        return self.modes(profile).get(rule, "shadow") if profile is not None else "shadow"

    def renew_modes(self) -> None:
        """Read decided modes now, so that whoever has just changed one sees it; other workers follow in seconds."""
        if self._mode_board is not None:
            self._mode_board.renew()

    def silences(self, tenant: str, patient: str, now: datetime) -> tuple[Silence, ...]:
        """Silences in force for a patient of a client, as far as this worker knows."""
        if self._silence_board is None:
            return ()
        return self._silence_board.of(
            tenant, lambda: self._keyring.patient_key(tenant, patient), now
        )

    def renew_silences(self) -> None:
        """Read silences now, as ``renew_modes`` does."""
        if self._silence_board is not None:
            self._silence_board.renew()

    def quiet(self, profile: ClientProfile) -> frozenset[str]:
        """Rules that must not silence a live one for this client, since nobody would see them instead."""
        return self._modes_of(profile).quiet

    def card_names(self, tenant: str, patient: str, hook_instance: str, service: str) -> NameCard:
        """Gives the uuid of a card from (rule, subject); equal for the same problem in the same event."""

        def name(rule: str, about: str) -> str:
            key = self._keyring.recommendation_key(tenant, patient, rule, about)
            return card_uuid(key, hook_instance, service)

        return name

    def circumstances(
        self,
        call: HookCall,
        client: Client,
        review: Review,
        name_card: NameCard,
        already_shown: frozenset[tuple[str, str]] = frozenset(),
    ) -> Circumstances:
        """What the card writer needs to know of a call."""
        profile = client.profile
        return Circumstances(
            style=profile.cards,
            name_card=name_card,
            already_shown=already_shown,
            units=profile.units,
            modes=self.modes(profile),
            propose=proposer(
                self.engine.rulebook.vocabulary,
                patient_id=call.patient_id,
                as_of=review.assessment.provenance.as_of,
                version=profile.fhir.version,
                drafts=call.drafts,
                delete=profile.cards.delete,
                updates=profile.cards.updates,
            ),
        )

    def may_speak(self, hook: str, verbosity: str) -> tuple[str, ...]:
        """Rules that could have spoken at this hook, so that their silence means something."""
        key = (hook, verbosity)
        if key not in self._may_speak:
            from service.alerts.recorder import may_speak

            self._may_speak[key] = may_speak(self.engine.rulebook.cards, hook, verbosity)
        return self._may_speak[key]

    def take_feedback(self, client: Client, service: str, entries: Sequence[Any]) -> None:
        """Write feedback down as it came; without a record (development only) it is not kept."""
        self.telemetry.answered(entries)
        if self.recorder is not None:
            self.recorder.feedback(client.profile.id, service, entries, self.clock())

    def keep_packs(self) -> None:
        """Have the packs in force archived, so that what they say can be replayed."""
        from service.alerts.record import Record

        if isinstance(self.recorder, Record):
            self.recorder.keep_packs(self.engine.rulebook)

    def problem(self) -> str:
        """Why this worker should get no calls now; empty when it is fit."""
        return ""

    def settle(self, *, own_process: bool = True) -> None:
        """Warm the engine up; in a process of our own, keep what is loaded out of the garbage collector's rounds."""
        warm_up(self.engine, self.settings.profile, self.clock())
        if own_process:
            gc.collect()
            gc.freeze()
        # A call leaves hardly any circles behind: looking for them a hundred times a call costs 8 % of a large one
        gc.set_threshold(50_000, 20, 50)

    async def close(self) -> None:
        """Give everything back."""
        if self.gatekeeper is not None:
            await self.gatekeeper.close()
        if self._fetcher is not None:
            await self._fetcher.close()
        if self.recorder is not None:
            self.recorder.close()
        self.shelf.close()


def _call_rate() -> CallRate:
    from service.cds_hooks.call_rate import CallRate as Opened

    return Opened()


def warm_up(engine: Engine, profile: str, now: datetime) -> None:
    """Compile the rules for today and evaluate an empty patient, so that the first caller does not wait."""
    from rules.facts import Context, FactSet, Patient

    facts = FactSet(patient=Patient(id="warm-up"), context=Context(profile=profile))
    engine.assess(facts, as_of=now, today=now.date())


def developer_client(settings: Settings) -> Client:
    """Who calls in development mode, where no profiles are read."""
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
