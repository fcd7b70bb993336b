"""The Patient resource -> age, sex and whether the patient lives, as the rules use them."""

from __future__ import annotations

from datetime import date

from fhir_adapter.elements import Resource, text
from fhir_adapter.lens import Lens
from fhir_adapter.moments import moment
from rules.facts import Patient


def read_patient(resource: Resource | None, identity: str, lens: Lens) -> Patient:
    """The patient; without a resource only the id is known. Ages are in whole days and years on the lens' day."""
    if resource is None:
        return Patient(id=identity)
    born = moment(resource.get("birthDate"), lens.zone)
    day: date | None = None
    if born is not None and born.first <= lens.today:
        day = min(born.last, lens.today)
    elif resource.get("birthDate") is not None:
        lens.gap(
            resource,
            "birthDate",
            "birth-date-not-readable",
            "The birth date cannot be read.",
            ("patient",),
        )
    deceased = resource.get("deceasedBoolean") is True or bool(resource.get("deceasedDateTime"))
    return Patient(
        source=(f"Patient/{identity}",),
        id=identity,
        birth_date=day,
        age_days=(lens.today - day).days if day else None,
        age_years=_years(day, lens.today) if day else None,
        age_approximate=born is not None and not born.exact,
        sex=text(resource.get("gender")) or None,
        deceased=deceased,
    )


def _years(born: date, today: date) -> int:
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))
