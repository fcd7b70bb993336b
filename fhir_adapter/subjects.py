"""Whose record a resource is: subjects compared by id through relative, absolute and urn references."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from fhir_adapter.elements import Resource, mapping, mappings, reference_of, text

Whose = Literal["own", "other", "unstated"]


class Subject:
    """The patient of one review and every reference that means them."""

    def __init__(self, patient_id: str | None, patients: Iterable[Resource]) -> None:
        self.id = patient_id or ""
        self._own: set[str] = set()
        self._identifiers: set[tuple[str, str]] = set()
        if self.id:
            self._own = {f"Patient/{self.id}", self.id, f"urn:uuid:{self.id}", f"urn:oid:{self.id}"}
        for patient in patients:
            if text(patient.get("id")) == self.id:
                url = text(patient.get("fullUrl"))
                if url:
                    self._own.add(url)
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
        if target in self._own or "/".join(target.split("/")[-2:]) in self._own:
            return "own"
        return "other"

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


def only_subject(records: Iterable[Resource]) -> str | None:
    """The id of the patient when all subjects agree on one; ``None`` otherwise."""
    found: set[str] = set()
    for record in records:
        holder = mapping(record.get("subject")) or mapping(record.get("patient"))
        target = reference_of(holder).partition("/_history/")[0].rstrip("/")
        if target and not target.startswith("#"):
            parts = target.split("/")
            if len(parts) > 1 and parts[-2] != "Patient":
                continue
            found.add(parts[-1])
    return found.pop() if len(found) == 1 else None
