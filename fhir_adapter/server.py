"""Fetches from the EHR's FHIR server what a call did not bring, within one deadline, and says how each query went.

Only bases that the client's profile lists are called, and the call's own token goes nowhere else. A query that
failed is a state of its own and never an empty list: "could not be read" must not become "no drug".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx2
import orjson

from fhir_adapter.bundles import brings_resource, is_failure, is_short
from fhir_adapter.server_address import AddressRefused, check_query, follow, match_base

State = Literal["read", "partial", "failed"]
Parse = Callable[[bytes], Any]

LARGEST_PAGE = 5 * 1024 * 1024  # bytes, decompressed
LARGEST_ANSWER = 20 * 1024 * 1024  # bytes of one query, all pages
MOST_PAGES = 20
MOST_AT_ONCE = 12
_STATUS_REASONS = {401: "token-refused", 403: "not-allowed", 404: "not-offered", 410: "not-offered"}

REASONS: Mapping[str, str] = {
    "base-refused": "fhirServer is not one of the bases of the client's profile",
    "query-refused": "the query is absolute, climbs, holds an unresolved token or is no read or search",
    "token-unusable": "the access token holds characters that a header cannot carry",
    "deadline": "no complete answer within the time of the call",
    "unreachable": "no connection, or it broke",
    "token-refused": "401: the token is expired or unknown",
    "not-allowed": "403: the token does not reach so far",
    "not-offered": "404 or 410: the server has no such resource or search",
    "redirect": "the server sends elsewhere; it is not followed",
    "status": "another status than 200",
    "not-json": "the body is no JSON object",
    "too-large": "a page or the whole answer is too large",
    "wrong-type": "neither a Bundle nor the resource that was asked for",
    "outcome": "the answer is an OperationOutcome of severity error or fatal",
    "next-refused": "the link to the next page leaves the server",
    "paging-loop": "a next link leads to a page that was read",
    "short": "the last page is there, and fewer entries than the server counts",
    "too-many-pages": f"more than {MOST_PAGES} pages",
}


@dataclass(frozen=True, kw_only=True)
class FetchResult:
    """How one query went.

    ``read``: ``value`` is the resource, or a searchset Bundle with the entries of all pages (also of none).
    ``partial``: ``value`` holds the pages that could be read; more exist. ``failed``: ``value`` is None.
    ``reason`` is one of REASONS, empty for ``read``; ``pages`` counts answers.
    """

    state: State
    value: dict[str, Any] | None = None
    reason: str = ""
    pages: int = 0

    @property
    def resources(self) -> tuple[dict[str, Any], ...]:
        """The resources of the answer; what a server only says about its search is left out."""
        if self.value is None:
            return ()
        if self.value.get("resourceType") != "Bundle":
            return (self.value,)
        found = (e.get("resource") for e in self.value.get("entry") or () if isinstance(e, dict))
        return tuple(
            r for r in found if isinstance(r, dict) and r.get("resourceType") != "OperationOutcome"
        )


class _Stop(Exception):
    def __init__(self, reason: str) -> None:
        self.reason = reason


def open_client(*, connections: int = 50) -> httpx2.AsyncClient:
    """A pool of kept-alive connections; no redirects, no proxies and no certificates from the environment."""
    return httpx2.AsyncClient(
        follow_redirects=False,
        trust_env=False,
        timeout=httpx2.Timeout(5.0, connect=2.0),
        limits=httpx2.Limits(
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=30.0,
        ),
        headers={"accept": "application/fhir+json, application/json;q=0.9"},
    )


async def fetch(
    queries: Mapping[str, str],
    *,
    base: str,
    token: str | None,
    allowed_bases: Iterable[str],
    deadline: float,
    client: httpx2.AsyncClient,
    parse: Parse = orjson.loads,
) -> dict[str, FetchResult]:
    """Run all queries at once and return how each went; never raises for what a server does.

    Args:
        queries: prefetch key -> relative FHIR read or search with its tokens resolved.
        base: ``fhirServer`` of the call; it must be one of ``allowed_bases`` (origin and path).
        token: ``fhirAuthorization.access_token``; None for an open server.
        allowed_bases: FHIR bases of the client's profile.
        deadline: seconds that are left for everything together.
        client: from ``open_client``.
        parse: bytes -> JSON value, raising ValueError; a stricter reader may be given.
    """
    own = match_base(base, allowed_bases)
    if own is None:
        return {key: FetchResult(state="failed", reason="base-refused") for key in queries}
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        return {key: FetchResult(state="failed", reason="token-unusable") for key in queries}
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    gate = asyncio.Semaphore(MOST_AT_ONCE)
    runs = {
        key: _Query(text=text, base=own.rstrip("/"), headers=headers, client=client, parse=parse)
        for key, text in queries.items()
    }
    tasks = {key: asyncio.create_task(run.go(gate)) for key, run in runs.items()}
    if tasks:
        _, late = await asyncio.wait(tasks.values(), timeout=max(deadline, 0.0))
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    return {key: _result(tasks[key], runs[key]) for key in queries}


def fetch_now(
    queries: Mapping[str, str],
    *,
    base: str,
    token: str | None,
    allowed_bases: Iterable[str],
    deadline: float,
) -> dict[str, FetchResult]:
    """As ``fetch``, for callers without an event loop; opens and closes its own connections."""

    async def once() -> dict[str, FetchResult]:
        async with open_client() as client:
            return await fetch(
                queries,
                base=base,
                token=token,
                allowed_bases=allowed_bases,
                deadline=deadline,
                client=client,
            )

    return asyncio.run(once())


@dataclass(kw_only=True)
class _Query:
    """One query on its way; what it has read so far survives when the time is up."""

    text: str
    base: str
    headers: Mapping[str, str]
    client: httpx2.AsyncClient
    parse: Parse
    first: dict[str, Any] | None = None
    entries: list[Any] | None = None
    pages: int = 0
    size: int = 0

    async def go(self, gate: asyncio.Semaphore) -> FetchResult:
        try:
            resource = check_query(self.text)
            async with gate:
                await self._read_pages(resource)
        except _Stop as stop:
            return self.ended(stop.reason)
        except AddressRefused:
            return self.ended("query-refused")
        except httpx2.TimeoutException:
            return self.ended("deadline")
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError):
            return self.ended("unreachable")
        return self.ended("")

    def ended(self, reason: str) -> FetchResult:
        """The result, with what was read until now."""
        if self.first is None:
            return FetchResult(state="failed", reason=reason, pages=self.pages)
        value = self.first
        if self.entries is not None:
            value = {k: v for k, v in self.first.items() if k not in {"link", "entry"}}
            value["entry"] = self.entries
        return FetchResult(
            state="partial" if reason else "read", value=value, reason=reason, pages=self.pages
        )

    async def _read_pages(self, resource: str) -> None:
        address, seen = f"{self.base}/{self.text}", set[str]()
        while True:
            if address in seen:
                raise _Stop("paging-loop")
            if len(seen) >= MOST_PAGES:
                raise _Stop("too-many-pages")
            seen.add(address)
            page = await self._page(address)
            if page.get("resourceType") != "Bundle":
                if page.get("resourceType") != resource or self.first is not None:
                    raise _Stop("wrong-type")
                self.first, self.pages = page, 1
                return
            following = self._take(page)
            if following is None:
                if is_short(page, len(self.entries or ())):
                    raise _Stop("short")
                return
            try:
                address = follow(following, asked=address, base=self.base)
            except AddressRefused:
                raise _Stop("next-refused") from None

    def _take(self, page: dict[str, Any]) -> str | None:
        """Keep the entries of a page and return its next link."""
        entries = page.get("entry") or []
        if not isinstance(entries, list):
            raise _Stop("wrong-type")
        self.first = self.first or page
        self.entries = [*(self.entries or []), *entries]
        self.pages += 1
        if any(_is_bad_outcome(e.get("resource")) for e in entries if isinstance(e, dict)):
            raise _Stop("outcome")
        if not all(brings_resource(e) for e in entries):
            raise _Stop("wrong-type")
        links = page.get("link")
        for link in links if isinstance(links, list) else []:
            if isinstance(link, dict) and link.get("relation") == "next":
                url = link.get("url")
                if not isinstance(url, str) or not url:
                    raise _Stop("next-refused")
                return url
        return None

    async def _page(self, address: str) -> dict[str, Any]:
        async with self.client.stream("GET", address, headers=self.headers) as answer:
            if answer.is_redirect or answer.has_redirect_location:
                raise _Stop("redirect")
            if answer.status_code != httpx2.codes.OK:
                raise _Stop(_STATUS_REASONS.get(answer.status_code, "status"))
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > LARGEST_PAGE or self.size + len(body) > LARGEST_ANSWER:
                    raise _Stop("too-large")
        self.size += len(body)
        try:
            page = self.parse(bytes(body))
        except (ValueError, RecursionError):
            raise _Stop("not-json") from None
        if not isinstance(page, dict):
            raise _Stop("not-json")
        if page.get("resourceType") == "OperationOutcome":
            raise _Stop("outcome")
        return page


def _result(task: asyncio.Task[FetchResult], run: _Query) -> FetchResult:
    if task.cancelled():
        return run.ended("deadline")
    return task.result()


def _is_bad_outcome(resource: object) -> bool:
    if not isinstance(resource, dict) or resource.get("resourceType") != "OperationOutcome":
        return False
    return is_failure(resource)
