"""What a call brought along: its resources, and the sources that could not be had, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fhir_adapter.bundles import PrefetchState, read_prefetch
from fhir_adapter.subjects import Subject
from service.cds_hooks.discovery import SOURCES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from service.cds_hooks.client_profile import ClientProfile
    from service.cds_hooks.contexts import HookCall

# What is said of a source in each state; a state that is not listed is satisfied.
REASONS: Final[Mapping[PrefetchState, str]] = {
    PrefetchState.ABSENT: "the client did not send it",
    PrefetchState.FAILED: "the client could not fetch it",
    PrefetchState.TRUNCATED: "the client sent only the first page",
}
OF_OTHERS: Final = "what came is not of this patient"
_NOTHING_SENT: Final = dict.fromkeys(SOURCES.values(), REASONS[PrefetchState.ABSENT])


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
    and one stray order must never turn "not read" into "read, nothing there". Nor does a list in which everything
    is another patient's: whoever asked for it asked for the wrong one.
    """
    resources: list[dict[str, Any]] = []
    unread = dict(_NOTHING_SENT)
    failed: set[str] = set()
    came = [
        (profile.key_of(sent) if profile else sent, read_prefetch(value))
        for sent, value in call.prefetch.items()
    ]
    patients = [one for key, read in came if key == "patient" for one in read.resources]
    subject = Subject(call.patient_id, patients, servers_of(call, profile))
    for key, read in came:
        resources.extend(read.resources)
        source = SOURCES.get(key)
        if source is not None:
            reason = REASONS.get(read.state)
            if reason is None and are_of_others(read.resources, subject):
                reason = OF_OTHERS
            if reason is not None:
                unread[source] = reason
                failed.add(source)
            elif (
                source not in failed
            ):  # two keys of one source: the worse one counts, in either order
                unread.pop(source, None)
    return Supply(resources=tuple(resources), unread=unread)


def servers_of(call: HookCall, profile: ClientProfile | None = None) -> Collection[str]:
    """The FHIR bases on which the patient of a call is known: that of the call, else those of the client."""
    if call.fhir_server:
        return (call.fhir_server,)
    return profile.fhir.bases if profile else ()


def are_of_others(resources: Iterable[dict[str, Any]], subject: Subject) -> bool:
    """Whether some of the resources are another patient's and none is this patient's."""
    found = False
    for one in resources:
        if one.get("resourceType") == "Patient":
            whose = "own" if one.get("id") == subject.id else "other"
        else:
            whose = subject.of(one)
        if whose in {"own", "unplaced"}:
            return False
        found = found or whose != "unstated"
    return found
