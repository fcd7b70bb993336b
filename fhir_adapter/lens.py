"""Through what a record is read: vocabulary, day and zone; and the list of what could not be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo

from fhir_adapter.elements import Resource, name_of
from rules.assessment import Gap
from rules.vocabulary import Vocabulary


@dataclass(slots=True)
class Lens:
    """One reading of one patient; collects gaps and counts, and the resources that looked odd."""

    vocabulary: Vocabulary
    as_of: datetime
    today: date
    zone: tzinfo
    gaps: list[Gap] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    odd: list[Resource] = field(default_factory=list)
    withdrawn: set[str] = field(default_factory=set)

    def take_back(self, resource: Resource) -> None:
        """Note that a record says of itself that it was an error, so that what rested on it can be marked."""
        self.counts["refused_or_erroneous"] += 1
        if resource.get("id"):
            self.withdrawn.add(name_of(resource))

    def gap(
        self,
        resource: Resource,
        path: str,
        code: str,
        says: str,
        concerns: tuple[str, ...] = (),
        *,
        odd: bool = True,
    ) -> None:
        """Record that something of a resource could not be read; ``says`` never repeats its free text.

        ``odd`` asks the strict models to explain the resource; words that are no fault of FHIR need no such look.
        """
        self.gaps.append(
            Gap(source=name_of(resource), path=path, code=code, says=says, concerns=concerns)
        )
        if odd:
            self.odd.append(resource)
