"""Whether the exports of a run, taken together, hold everything: a whole one, and what changed since, without a gap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit

from fhir_adapter.elements import text
from service.documents import PATIENT_DATA

# Parameters that leave resources or elements out (FHIR Bulk Data Access 2.0, "Query Parameters")
_NARROWING: Final = frozenset({"_since", "_typeFilter", "_elements", "_until", "patient"})
_EVERY_TYPE: Final = PATIENT_DATA | {"Medication"}


class Export(NamedTuple):
    """What a manifest says about its export; ``place`` is the server and whose data were asked for."""

    name: str
    place: str
    moment: datetime
    since: datetime | None
    narrowed: tuple[str, ...]
    types: frozenset[str]

    @property
    def is_increment(self) -> bool:
        """Whether it holds all that changed since a stated moment."""
        return self.narrowed == ("_since",) and self.since is not None


class Shortfall(NamedTuple):
    """Types of which a part is missing (all, where none is named), and why."""

    name: str
    says: str
    types: frozenset[str] = frozenset()


def split_address(spelt: str) -> SplitResult:
    """The parts of an address; none where it is no address."""
    try:
        return urlsplit(spelt)
    except ValueError:
        return urlsplit("")


def export_of(name: str, manifest: Mapping[str, Any]) -> Export:
    """What a manifest says about its export."""
    asked = split_address(text(manifest.get("request")))
    query = parse_qs(asked.query)
    types = {kind for listed in query.get("_type", ()) for kind in listed.split(",") if kind}
    since = query.get("_since", [""])[0].replace(" ", "+")  # a plus sign that was not escaped
    return Export(
        name=name,
        place=f"{asked.netloc}{asked.path}".rstrip("/"),
        moment=moment_of(text(manifest.get("transactionTime"))) or datetime.min.replace(tzinfo=UTC),
        since=moment_of(since),
        narrowed=tuple(sorted(_NARROWING & query.keys())),
        types=frozenset(types),
    )


def shortfalls(exports: Iterable[Export]) -> Iterator[Shortfall]:
    """What is missing although all these exports are there, by the order of their moments."""
    by_place = attrgetter("place")
    for _, group in groupby(sorted(exports, key=attrgetter("place", "moment", "name")), by_place):
        known: dict[str, datetime] = {}  # until when each type is known without a gap
        for one in group:
            yield from _taken(one, known)


def _taken(one: Export, known: dict[str, datetime]) -> Iterator[Shortfall]:
    types = one.types or _EVERY_TYPE
    if not one.narrowed:
        known.update(dict.fromkeys(types, one.moment))
        return
    if not one.is_increment:
        yield Shortfall(
            one.name,
            f"The export was asked for a part only ({', '.join(one.narrowed)}): "
            "what is not in it is not taken for absent.",
        )
        return
    since = one.since
    joined = {
        kind for kind in types if kind in known and since is not None and since <= known[kind]
    }
    if not joined:
        yield Shortfall(
            one.name,
            "The export holds only what changed since a moment (_since), and no whole export reaches up to it: "
            "what is not in it is not taken for absent.",
        )
        return
    left = frozenset(known if one.types else types) - joined
    if left:
        yield Shortfall(
            one.name,
            f"The export goes on from earlier ones, but not for {', '.join(sorted(left))}: "
            "what is not in it is not taken for absent.",
            left,
        )
    known.update(dict.fromkeys(joined, one.moment))


def moment_of(spelt: str) -> datetime | None:
    """A FHIR instant; one without a zone is in UTC. None where it cannot be read."""
    try:
        found = datetime.fromisoformat(spelt)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def in_order(spelt: str) -> tuple[float, str]:
    """Sorts moments by when they are, whatever their zones; what cannot be read comes first."""
    moment = moment_of(spelt)
    return (moment.timestamp() if moment else float("-inf")), spelt
