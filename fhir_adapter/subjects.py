"""Whose record a resource is: subjects compared by id through relative, absolute and urn references.

An absolute reference means this patient only where its server is the one the patient is known on (FHIR R4 2.3.0.2:
a reference by URL names a resource of that server, and ids are unique on one server only).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from fhir_adapter.elements import Resource, mapping, mappings, reference_of, text
from fhir_adapter.server_address import match_base

# elsewhere: the same id on another server; unplaced: the same id, and no server is known to compare with
Whose = Literal["own", "other", "unstated", "elsewhere", "unplaced"]
_WEB: Final = ("http://", "https://")


class Subject:
    """The patient of one review and every reference that means them.

    ``servers`` are the FHIR base URLs on which the patient is known by that id.
    """

    def __init__(
        self, patient_id: str | None, patients: Iterable[Resource], servers: Iterable[str] = ()
    ) -> None:
        self.id = patient_id or ""
        self._servers = {one.rstrip("/") for one in servers if one}
        self._own: set[str] = set()
        self._identifiers: set[tuple[str, str]] = set()
        if self.id:
            self._own = {f"Patient/{self.id}", self.id, f"urn:uuid:{self.id}", f"urn:oid:{self.id}"}
        for patient in patients:
            if text(patient.get("id")) == self.id:
                url = text(patient.get("fullUrl"))
                if url:
                    self._own.add(url)
                    if url.startswith(_WEB):
                        self._servers.add(server_of(url))
                self._identifiers |= {
                    (text(one.get("system")), text(one.get("value")))
                    for one in mappings(patient.get("identifier"))
                    if one.get("value")
                }

    def of(self, record: Resource) -> Whose:
        """Tell whose the record is."""
        holder = record.get("subject")
        if holder is None:
            holder = record.get("patient")
        target = holder.get("reference") if holder.__class__ is dict else None
        target = target.strip() if target.__class__ is str else reference_of(holder)
        if target in self._own:
            return "own"
        if not target:
            return self._by_identifier(mapping(holder))
        if target.startswith("#"):
            return self._contained(target[1:], record)
        target = target.partition("/_history/")[0].rstrip("/")
        if target in self._own:
            return "own"
        if "/".join(target.split("/")[-2:]) not in self._own:
            return "other"
        return self._on_server(server_of(target)) if target.startswith(_WEB) else "own"

    def _on_server(self, server: str) -> Whose:
        """What the patient's id means on ``server``."""
        if server in self._servers:
            return "own"
        if not self._servers:
            return "unplaced"
        # Written otherwise it may still be the same: capitals in the host, the port spelled out
        return "own" if _same_server(server, self._servers) else "elsewhere"

    def _by_identifier(self, holder: Resource) -> Whose:
        identifier = mapping(holder.get("identifier"))
        value = text(identifier.get("value"))
        if not value or not self._identifiers:
            return "unstated"
        return "own" if (text(identifier.get("system")), value) in self._identifiers else "other"

    def _contained(self, name: str, record: Resource) -> Whose:
        for one in mappings(record.get("contained")):
            if text(one.get("id")).lstrip("#") == name:
                return "own" if name == self.id else "unstated"
        return "unstated"


def server_of(url: str) -> str:
    """The base of the server in a URL of one resource: all but its last two parts."""
    return url.rpartition("/")[0].rpartition("/")[0]


def target_of(record: Resource) -> str:
    """The reference by which a record names its patient."""
    holder = mapping(record.get("subject")) or mapping(record.get("patient"))
    return reference_of(holder).partition("/_history/")[0].rstrip("/")


def _same_server(server: str, known: Iterable[str]) -> bool:
    for one in known:
        try:
            if match_base(server, (one,)):
                return True
        except ValueError:
            continue  # what was stated as a base is no address
    return False


def only_subject(records: Iterable[Resource]) -> str | None:
    """The id of the patient when all subjects agree on one; ``None`` otherwise."""
    found: set[str] = set()
    for record in records:
        target = target_of(record)
        if target and not target.startswith("#"):
            parts = target.split("/")
            if len(parts) > 1 and parts[-2] != "Patient":
                continue
            found.add(parts[-1])
    return found.pop() if len(found) == 1 else None
