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
_SOURCE_OF_TYPE: Final[Mapping[str, str]] = {
    "MedicationStatement": "medication-statements",
    "MedicationRequest": "medication-requests",
    "Patient": "patient",
    "Condition": "conditions",
    "Procedure": "procedures",
    "Goal": "goals",
    "ServiceRequest": "orders",
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

    Every resource counts by its type, whichever key it came under. A list of medicines, problems or orders
    under a key of the client's own counts as that source; laboratory results need our key, because only
    its query says which results were looked for.
    """
    resources: list[dict[str, Any]] = []
    unread = dict.fromkeys(SOURCES.values(), REASONS[PrefetchState.ABSENT])
    for sent, value in call.prefetch.items():
        key = profile.key_of(sent) if profile else sent
        read = read_prefetch(value)
        resources.extend(read.resources)
        source = SOURCES.get(key)
        if source is not None:
            reason = REASONS.get(read.state)
            if reason is None:
                unread.pop(source, None)
            else:
                unread[source] = reason
        elif read.state not in REASONS:
            for resource in read.resources:
                unread.pop(_SOURCE_OF_TYPE.get(str(resource.get("resourceType")), ""), None)
    return Supply(resources=tuple(resources), unread=unread)
