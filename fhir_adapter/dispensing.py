"""How long an ended prescription reached, by its dispensing: what tells a renewal from a new therapy."""

from __future__ import annotations

import math
from datetime import date, timedelta

from fhir_adapter.elements import Resource, mapping, number
from fhir_adapter.lens import Lens
from fhir_adapter.moments import period
from fhir_adapter.timing import days_of

_LONGEST_DAYS = (
    3660  # more is a slip of the keyboard, and must not glue a new course to one of long ago
)


def supplied_until(record: Resource, start: date | None, lens: Lens) -> date | None:
    """The last day that a prescription's ``dispenseRequest`` covers, never after today.

    FHIR R4 MedicationRequest.dispenseRequest: the end of ``validityPeriod``, or else ``expectedSupplyDuration``
    once and for each of ``numberOfRepeatsAllowed``, counted from ``start``. ``None`` where neither says it.
    An open prescription is not ended by this: people go on taking what was dispensed.
    """
    request = mapping(record.get("dispenseRequest"))
    _, valid = period(request.get("validityPeriod"), lens.zone)
    if valid is not None:
        return min(valid.first, lens.today)
    duration = mapping(request.get("expectedSupplyDuration"))
    count = number(duration.get("value"))
    unit = days_of(duration.get("code") or duration.get("unit"), lens.vocabulary)
    if start is None or count is None or unit is None or count <= 0:
        return None
    repeats = number(request.get("numberOfRepeatsAllowed")) or 0
    days = count * unit * (1 + max(repeats, 0))
    if not 1 <= days <= _LONGEST_DAYS:
        return None
    return min(start + timedelta(days=math.floor(days) - 1), lens.today)
