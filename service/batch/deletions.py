"""What an export says was deleted on the server: it leaves the review (FHIR Bulk Data Access 2.0, "Response - deleted").

A file of deletions holds Bundles by line whose entries say DELETE. A record that was updated after the export
that deleted it was made anew, and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson

from fhir_adapter.elements import Resource, mapping, mappings, text
from fhir_adapter.ndjson import Unreadable, chunks_of
from service.batch.coverage import in_order, moment_of
from service.batch.values import Reject


class Deletions(msgspec.Struct):
    """``Type/id`` -> the moment of the export that deleted it (ISO 8601)."""

    listed: dict[str, str] = {}

    def remaining(self, resources: Sequence[Resource]) -> list[Resource]:
        """The resources that are not deleted, in their order."""
        return [one for one in resources if not self.gone(one)]

    def gone(self, resource: Mapping[str, Any]) -> bool:
        """Whether a resource was deleted, and not made anew since."""
        when = self.listed.get(f"{resource.get('resourceType')}/{resource.get('id')}")
        if when is None:
            return False
        updated = moment_of(text(mapping(resource.get("meta")).get("lastUpdated")))
        deleted = moment_of(when)
        return updated is None or deleted is None or updated <= deleted

    def patient_left(
        self, patient: str, before: Sequence[Resource], after: Sequence[Resource]
    ) -> bool:
        """Whether a patient leaves the review: the Patient was deleted, or everything there was."""
        if any(one.get("resourceType") == "Patient" for one in after):
            return False
        deleted = self.gone({"resourceType": "Patient", "id": patient})
        return deleted or (bool(before) and not after)


def read_deletions(files: Iterable[tuple[Path, str, str]], rejects: list[Reject]) -> Deletions:
    """The deletions of these files (path, name for people, moment of the export); bad lines become rejects.

    A deletion of which nobody says when it was is not applied, and told: the record may have been made anew.
    """
    found = Deletions()
    for path, name, when in files:
        number, undated = 0, 0
        try:
            for chunk in chunks_of(path):
                for number, line in enumerate(chunk.data.split(b"\n"), chunk.line + 1):
                    if not line.strip():
                        continue
                    taken = _take(line, when, found)
                    if taken is None:
                        says = "The line is no Bundle of deletions."
                        rejects.append(
                            Reject(file=name, line=number, code="no-deletion", says=says)
                        )
                    undated += taken is False
        except (Unreadable, OSError):
            says = "The list of deletions cannot be read to its end."
            rejects.append(Reject(file=name, line=number, code="file-cut-off", says=says))
        if undated:
            says = f"Deletions without a moment ({undated}) are not applied: no log or manifest says when."
            rejects.append(Reject(file=name, line=0, code="deletion-without-moment", says=says))
    return found


def _take(line: bytes, when: str, found: Deletions) -> bool | None:
    """Take the deletions of one Bundle; false where nobody says when, None where it is no Bundle."""
    try:
        bundle = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        return None
    when = when or text(bundle.get("timestamp"))
    if moment_of(when) is None:
        return False
    for entry in mappings(bundle.get("entry")):
        request = mapping(entry.get("request"))
        if request.get("method") == "DELETE":
            name = "/".join(text(request.get("url")).partition("?")[0].split("/")[-2:])
            found.listed[name] = max(when, found.listed.get(name, ""), key=in_order)
    return True
