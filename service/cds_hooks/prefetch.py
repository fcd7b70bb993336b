"""What a call brought along: its resources, and the sources that could not be had, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fhir_adapter.bundles import PrefetchState, read_prefetch
from service.cds_hooks.discovery import SOURCES

if TYPE_CHECKING:
    from service.cds_hooks.client_profile import ClientProfile
    from service.cds_hooks.contexts import HookCall

# What is said of a source in each state; a state that is not listed is satisfied.
REASONS: Final[Mapping[PrefetchState, str]] = {
    PrefetchState.ABSENT: "the client did not send it",
    PrefetchState.FAILED: "the client could not fetch it",
    PrefetchState.TRUNCATED: "the client sent only the first page",
}


class Supply(msgspec.Struct, frozen=True, kw_only=True):
    """The data of a call. ``unread`` maps each source that could not be had to the reason.

    ``late`` names what was given up because the deadline of the call had come.
    """

    resources: tuple[dict[str, Any], ...]
    unread: dict[str, str]
    late: tuple[str, ...] = ()


def supply_of(call: HookCall, profile: ClientProfile | None = None) -> Supply:
    """Read the prefetch of a call; keys may have other names in the client's profile.

    Every resource counts by its type, whichever key it came under. But only our keys, or the names that the
    profile gives them, prove that a source was read: nobody knows what a query of the client's own left out,
    and one stray order must never turn "not read" into "read, nothing there".
    """
    resources: list[dict[str, Any]] = []
    unread = dict.fromkeys(SOURCES.values(), REASONS[PrefetchState.ABSENT])
    failed: set[str] = set()
    for sent, value in call.prefetch.items():
        key = profile.key_of(sent) if profile else sent
        read = read_prefetch(value)
        resources.extend(read.resources)
        source = SOURCES.get(key)
        if source is not None:
            reason = REASONS.get(read.state)
            if reason is not None:
                unread[source] = reason
                failed.add(source)
            elif (
                source not in failed
            ):  # two keys of one source: the worse one counts, in either order
                unread.pop(source, None)
    return Supply(resources=tuple(resources), unread=unread)
