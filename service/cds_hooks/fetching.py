"""Completes a call: asks the client's FHIR server for what was not prefetched, with the call's own token."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import structlog

from fhir_adapter.bundles import PrefetchState
from fhir_adapter.server import FetchResult, fetch, open_client
from fhir_adapter.subjects import Subject
from rules.errors import RequestError
from service.cds_hooks.circuit import SILENT, Circuits
from service.cds_hooks.discovery import SOURCES
from service.cds_hooks.prefetch import OF_OTHERS, REASONS, Supply, are_of_others
from service.front_door import read_json

if TYPE_CHECKING:
    import httpx2

    from service.cds_hooks.clients import Client
    from service.cds_hooks.contexts import HookCall

LARGEST_PAGE: Final = 5 * 1024 * 1024
LEAST_TIME: Final = 0.02  # seconds; with less left no server answers
_TOKEN: Final = re.compile(r"\{\{\s*context\.patientId\s*\}\}")
# What people read of a failed fetch; the precise reason goes to the log.
_WORDS: Final[Mapping[str, str]] = {
    "deadline": "the record system did not answer in time",
    "unreachable": "the record system could not be reached",
    "token-refused": "the record system refused access",
    "not-allowed": "the record system refused access",
    "not-offered": "the record system does not offer it",
    "base-refused": "the record system of the call is not one this client may name",
    "resting": "the record system has not been answering, and is left alone for some seconds",
    "short": "the record holds more than could be read",
    "too-many-pages": "the record holds more than could be read",
    "too-large": "the record holds more than could be read",
}
_OTHERWISE: Final = "the record system gave no usable answer"

log = structlog.get_logger()


class Fetcher:
    """Fetches for one worker, over connections that are kept between calls."""

    def __init__(self, templates: Mapping[str, str]) -> None:
        self.ask_for(templates)
        # Opened now: reading the certificate authorities takes a tenth of a second, which no call has to spare.
        self._client: httpx2.AsyncClient = open_client()
        self._circuits = Circuits()
        self.on_rest: Callable[[str], None] = lambda _client: None
        self.own_templates: Callable[[str], Mapping[str, str] | None] = lambda _client: None

    def ask_for(self, templates: Mapping[str, str]) -> None:
        """Fetch by these templates from now on."""
        self._templates = _by_source(templates)

    async def complete(
        self, call: HookCall, client: Client, supply: Supply, seconds: float
    ) -> Supply:
        """``supply`` with what its unread sources gave within ``seconds``; what failed stays unread, with the reason.

        What the client itself tried and failed to fetch is not asked for again, as CDS Hooks advises.
        """
        own = self.own_templates(client.profile.id)
        templates = self._templates if own is None else _by_source(own)
        queries = _queries(call.patient_id, supply.unread, templates)
        server = client.profile.fhir
        if not queries or not server.fetch:
            return supply
        if seconds < LEAST_TIME:
            results = dict.fromkeys(queries, FetchResult(state="failed", reason="deadline"))
        elif not self._circuits.may_ask(client.profile.id):
            results = dict.fromkeys(queries, FetchResult(state="failed", reason="resting"))
        else:
            results = await fetch(
                queries,
                base=call.fhir_server,
                token=call.access_token or None,
                allowed_bases=server.bases,
                deadline=seconds,
                client=self._client,
                parse=_read_strictly,
            )
            self._learn(client.profile.id, results)
        failed = {source: r.reason for source, r in results.items() if r.state != "read"}
        if failed:
            log.warning(
                "fhir_fetch_incomplete",
                logger="dekacard.fetching",
                client=client.profile.id,
                reasons=failed,
            )
        return _merged(supply, results, Subject(call.patient_id, (), (call.fhir_server,)))

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    def _learn(self, client: str, results: Mapping[str, FetchResult]) -> None:
        """A server of which nothing at all came back, several times in a row, rests."""
        if all(one.state != "read" and one.reason in SILENT for one in results.values()):
            if self._circuits.was_silent(client):
                log.warning("fhir_server_rests", logger="dekacard.fetching", client=client)
                self.on_rest(client)
        else:
            self._circuits.answered(client)


def _by_source(templates: Mapping[str, str]) -> dict[str, str]:
    return {SOURCES[key]: text for key, text in templates.items()}


def _queries(
    patient_id: str, unread: Mapping[str, str], templates: Mapping[str, str]
) -> dict[str, str]:
    return {
        source: _TOKEN.sub(quote(patient_id, safe=""), templates[source])
        for source, reason in unread.items()
        if source in templates and reason != REASONS[PrefetchState.FAILED]
    }


def _merged(supply: Supply, results: Mapping[str, FetchResult], subject: Subject) -> Supply:
    unread = dict(supply.unread)
    late: list[str] = []
    for source, result in results.items():
        if result.state == "read" and are_of_others(result.resources, subject):
            unread[source] = OF_OTHERS
            continue
        if result.state == "read":
            unread.pop(source, None)
            continue
        unread[source] = _WORDS.get(result.reason, _OTHERWISE)
        if result.reason in {"deadline", "resting"}:
            late.append(source)
    fetched = (one for result in results.values() for one in result.resources)
    return Supply(
        resources=_without_repeats((*supply.resources, *fetched)), unread=unread, late=tuple(late)
    )


def _without_repeats(resources: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Each resource once: a truncated prefetch was read again as a whole; the later copy is the fresher one."""
    kept: dict[Any, dict[str, Any]] = {}
    for number, one in enumerate(resources):
        kind, identity = one.get("resourceType"), one.get("id")
        named = isinstance(kind, str) and isinstance(identity, str)
        kept[(kind, identity) if named else number] = one
    return tuple(kept.values())


def _read_strictly(body: bytes) -> Any:
    """JSON of the other server, under the same rules as what callers send."""
    try:
        return read_json(body, max_bytes=LARGEST_PAGE)
    except RequestError as error:
        raise ValueError(str(error)) from None
