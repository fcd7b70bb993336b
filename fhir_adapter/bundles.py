"""Bundles of any type and prefetch values -> resources; and what a prefetch value says about its source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from fhir_adapter.elements import Resource, items, mapping, mappings, reference_of, text

MISSING: Final = object()
_DEEPEST = 5
# Any other severity, and none at all, may stand for a search that failed
_REMARKS = frozenset({"information", "warning", "success"})
_OPENED = frozenset({"", "Bundle", "Parameters", "OperationOutcome"})


class PrefetchState(Enum):
    """What a client said by sending, or not sending, one prefetch key (CDS Hooks 2.0, "Prefetch")."""

    ABSENT = "absent"  # not sent: unknown
    NULL = "null"  # looked up, nothing there
    EMPTY = "empty"  # searched, nothing there
    DATA = "data"
    HINT = "hint"  # only a warning or information: searched, nothing there
    FAILED = "failed"  # the client could not fetch it
    TRUNCATED = "truncated"  # only the first page


class Prefetched(NamedTuple):
    """The state of a key and whatever resources it brought."""

    state: PrefetchState
    resources: tuple[Resource, ...] = ()
    next_link: str = ""


def read_prefetch(value: Any = MISSING) -> Prefetched:
    """Tell the seven states of a prefetch key apart; resources are kept even when they are incomplete."""
    if value.__class__ is dict and value.get("resourceType") == "Bundle":
        return _of_bundle(value)
    if value is MISSING:
        return Prefetched(PrefetchState.ABSENT)
    if value is None:
        return Prefetched(PrefetchState.NULL)
    if isinstance(value, dict) and "resourceType" not in value and "resource" in value:
        value = value["resource"]  # clients from before 1.0 wrap what they read
    if isinstance(value, list):
        return _of_bundle({"resourceType": "Bundle", "entry": [_as_entry(one) for one in value]})
    if not isinstance(value, dict):
        return Prefetched(PrefetchState.FAILED)
    kind = value.get("resourceType")
    if kind == "OperationOutcome":
        # In place of data it proves no search, whatever its severity; only inside a Bundle it is a remark on one
        return Prefetched(PrefetchState.FAILED)
    if kind != "Bundle":
        known = isinstance(kind, str) and kind
        return (
            Prefetched(PrefetchState.DATA, (value,)) if known else Prefetched(PrefetchState.FAILED)
        )
    return _of_bundle(value)


def _of_bundle(bundle: Resource, depth: int = 0) -> Prefetched:
    if depth >= _DEEPEST:
        return Prefetched(PrefetchState.FAILED)  # its resources are not looked for any more
    if not isinstance(bundle.get("entry", []), list | None):
        return Prefetched(
            PrefetchState.FAILED
        )  # what looks like entries is unreadable, which is not "none"
    plain = _plain_resources(bundle.get("entry"))
    found = tuple(resources_in(bundle) if plain is None else plain)
    if plain is not None and "link" not in bundle and not is_short(bundle, len(found)):
        return Prefetched(PrefetchState.DATA, found) if found else Prefetched(PrefetchState.EMPTY)
    outcomes = _outcomes(bundle) if plain is None else []
    inner = (
        {_of_bundle(one, depth + 1).state for one in _bundles_in(bundle)}
        if plain is None
        else set()
    )
    links = mappings(bundle.get("link")) if "link" in bundle else ()
    link = next((text(one.get("url")) for one in links if one.get("relation") == "next"), "")
    if PrefetchState.FAILED in inner or any(is_failure(one) for one in outcomes):
        return Prefetched(PrefetchState.FAILED, found, link)
    if plain is None and not all(brings_resource(one) for one in bundle.get("entry") or ()):
        return Prefetched(PrefetchState.FAILED, found, link)
    if link or PrefetchState.TRUNCATED in inner or is_short(bundle, len(found)):
        return Prefetched(PrefetchState.TRUNCATED, found, link)
    if found:
        return Prefetched(PrefetchState.DATA, found)
    return Prefetched(PrefetchState.HINT if outcomes else PrefetchState.EMPTY)


def _outcomes(bundle: Resource) -> list[Resource]:
    return [
        one
        for entry in mappings(bundle.get("entry"))
        if (one := mapping(entry.get("resource"))).get("resourceType") == "OperationOutcome"
    ]


def is_failure(outcome: Resource) -> bool:
    """Whether an OperationOutcome among the entries of a search says more than a remark on it."""
    severities = {text(one.get("severity")) for one in mappings(outcome.get("issue"))}
    return not severities or not severities <= _REMARKS


def brings_resource(entry: Any) -> bool:
    """Whether an entry holds a resource, as it must; one of a batch that was refused holds a status alone."""
    if entry.__class__ is not dict:
        return False
    resource = entry.get("resource")
    if resource.__class__ is dict:
        return resource.get("resourceType").__class__ is str
    return text(mapping(entry.get("request")).get("method")) == "DELETE"


def _as_entry(one: Any) -> Any:
    """An item of a list, as it would stand in a Bundle."""
    wrapped = one.__class__ is dict and "resource" in one and "resourceType" not in one
    return one if wrapped else {"resource": one}


def _bundles_in(bundle: Resource) -> Iterator[Resource]:
    """The answers inside an answer: clients that fetch by a batch pass on what came of it."""
    for entry in mappings(bundle.get("entry")):
        resource = mapping(entry.get("resource"))
        if resource.get("resourceType") == "Bundle":
            yield resource


def is_short(bundle: Resource, count: int) -> bool:
    """A total above what was sent means that pages are missing, also without a link to them."""
    total = bundle.get("total")
    if total.__class__ is not int or total <= count:
        return False
    searched: bool = bundle.get("type", "searchset") == "searchset"
    return searched


def resources_in(document: Any) -> list[Resource]:
    """Every resource of a Bundle (of any type, also nested), list, Parameters or single resource.

    A resource whose ``fullUrl`` is not simply its own ``Type/id`` is given as a copy that carries it, because
    others refer to it by that name. Deleted entries of a history remove their older versions.
    """
    found: list[Resource] = []
    deleted: set[str] = set()
    _collect(document, found, deleted, 0)
    if not deleted:
        return found
    return [one for one in found if f"{one.get('resourceType')}/{one.get('id')}" not in deleted]


def _collect(value: Any, found: list[Resource], deleted: set[str], depth: int) -> None:
    if depth > _DEEPEST:
        return
    if value.__class__ is list:
        for one in value:
            _collect(one, found, deleted, depth + 1)
        return
    if value.__class__ is not dict:
        return
    kind = value.get("resourceType")
    if kind == "Bundle":
        plain = _plain_resources(value.get("entry")) if depth < _DEEPEST else None
        if plain is not None:
            found += plain
            return
        for entry in mappings(value.get("entry")):
            _entry(entry, found, deleted, depth)
    elif kind == "Parameters":
        for one in mappings(value.get("parameter")):
            _collect(one.get("resource"), found, deleted, depth + 1)
    elif kind.__class__ is str and kind and kind != "OperationOutcome":
        found.append(value)
    elif "resource" in value and kind is None:
        _entry(value, found, deleted, depth)


def _plain_resources(entries: Any) -> list[Resource] | None:
    """The resources of entries that hold nothing else, as most do; ``None`` where there is more to look into."""
    if entries.__class__ is not list:
        return None
    found: list[Resource] = []
    for entry in entries:
        if entry.__class__ is not dict or "request" in entry:
            return None
        resource = entry.get("resource")
        if resource.__class__ is not dict:
            return None
        kind = resource.get("resourceType")
        if kind.__class__ is not str or kind in _OPENED:
            return None
        found.append(_named_as_referred_to(resource, entry.get("fullUrl")))
    return found


def _named_as_referred_to(resource: Resource, url: Any) -> Resource:
    """The resource; as a copy that carries its ``fullUrl`` where that says more than its own type and id."""
    if url.__class__ is not str or not url:
        return resource
    kind = resource.get("resourceType")
    # A Patient keeps it always: it says on which server the id is this patient's
    if kind != "Patient" and url.endswith(f"{kind}/{resource.get('id')}"):
        return resource
    return {**resource, "fullUrl": url}


def _entry(entry: Resource, found: list[Resource], deleted: set[str], depth: int) -> None:
    resource = entry.get("resource")
    request = mapping(entry.get("request"))
    if request.get("method") == "DELETE":
        deleted.add("/".join(text(request.get("url")).split("/")[-2:]))
        return
    if resource.__class__ is dict and resource.get("resourceType") != "Bundle":
        resource = _named_as_referred_to(resource, entry.get("fullUrl"))
    _collect(resource, found, deleted, depth + 1)


def group_by_patient(resources: Sequence[Resource]) -> dict[str, list[Resource]]:
    """Resources by patient id; Medications go to every patient whose records refer to them.

    With one patient everything is theirs. With several, what names no patient stands under the empty id.
    """
    names = dict(_patient_names(resources))
    groups: dict[str, list[Resource]] = {identity: [] for identity in names.values()}
    shared: list[Resource] = []
    unstated: list[Resource] = []
    for resource in resources:
        kind = resource.get("resourceType")
        if kind == "Patient":
            groups.setdefault(text(resource.get("id")), []).append(resource)
        elif kind == "Medication":
            shared.append(resource)
        else:
            target = _subject(resource, names)
            if target:
                groups.setdefault(target, []).append(resource)
            else:
                unstated.append(resource)
    if len(groups) <= 1:
        identity = next(iter(groups), "")
        return {identity: [*groups.get(identity, []), *shared, *unstated]}
    for own in groups.values():
        own.extend(_referred(own, shared))
    if unstated:
        groups[""] = unstated
    return groups


def _patient_names(resources: Iterable[Resource]) -> Iterator[tuple[str, str]]:
    """Every name that a reference can call a patient of the bundle by."""
    for resource in resources:
        if resource.get("resourceType") != "Patient":
            continue
        identity = text(resource.get("id")) or text(resource.get("fullUrl"))
        yield f"Patient/{identity}", identity
        if resource.get("fullUrl"):
            yield text(resource["fullUrl"]), identity


def _subject(resource: Resource, names: dict[str, str]) -> str:
    holder = mapping(resource.get("subject")) or mapping(resource.get("patient"))
    target = reference_of(holder).partition("/_history/")[0].rstrip("/")
    if not target or target.startswith("#"):
        return ""
    if target in names:
        return names[target]
    if target.startswith("urn:"):
        return names.get(target, target.rpartition(":")[2])
    parts = target.split("/")
    if len(parts) > 1 and parts[-2] != "Patient":
        return ""
    return parts[-1]


def _referred(own: Iterable[Resource], shared: Iterable[Resource]) -> Iterator[Resource]:
    wanted = {
        target
        for one in own
        for holder in (*items(one.get("medicationReference")), *items(one.get("medication")))
        if (target := reference_of(holder))
    }
    tails = {"/".join(target.split("/")[-2:]) for target in wanted} | wanted
    for medication in shared:
        identity = text(medication.get("id"))
        if tails & {
            f"Medication/{identity}",
            f"urn:uuid:{identity}",
            text(medication.get("fullUrl")),
        }:
            yield medication
