"""Proposed actions as CDS Hooks actions: FHIR drafts for this patient, in the client's version and style."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal

from fhir_adapter.proposals import Draftsman, Proposed
from rules.assessment import ProposedAction
from service.cds_hooks.models import Action

if TYPE_CHECKING:
    from fhir_adapter.resources import Version
    from rules.vocabulary import Vocabulary

Propose = Callable[[ProposedAction], list[Action]]
# A client of DSTU2 gets no drafts: nothing here can validate them.
VERSIONS: Final[dict[str, Version | None]] = {
    "R4": "R4", "R4B": "R4B", "R5": "R5", "STU3": "STU3", "DSTU2": None
}  # fmt: skip


def proposer(
    vocabulary: Vocabulary,
    *,
    patient_id: str,
    as_of: datetime,
    version: str = "R4",
    drafts: Sequence[dict[str, Any]] = (),
    delete: Literal["resourceId", "resource"] = "resourceId",
    updates: bool = True,
) -> Propose:
    """What turns the suggestions of one review into actions.

    ``drafts`` are the unsigned orders of the call; only they can be changed or removed. ``delete`` is where a
    deletion names its target: ``resource`` is the form of CDS Hooks 1.0. Without ``updates``, for clients that
    would show a change to a draft and do nothing, the draft is removed and the changed one created: two actions
    that belong together.
    """
    known = VERSIONS.get(version)
    if known is None:
        return lambda _proposal: []
    draftsman = Draftsman(
        vocabulary, patient_id=patient_id, as_of=as_of, version=known, drafts=drafts
    )

    def propose(proposal: ProposedAction) -> list[Action]:
        drawn: Iterable[Proposed] = draftsman.draw(proposal)
        if not updates:
            drawn = chain.from_iterable(map(_without_update, drawn))
        return [_action(one, proposal, delete) for one in drawn]

    return propose


def _without_update(proposed: Proposed) -> tuple[Proposed, ...]:
    """A change as a deletion and a creation; the new draft has no identity yet."""
    if proposed.verb != "update" or proposed.resource is None:
        return (proposed,)
    new = {key: one for key, one in proposed.resource.items() if key not in {"id", "meta"}}
    return (
        Proposed("delete", resource_id=proposed.resource_id),
        Proposed("create", new | {"status": "draft"}),
    )


def _action(proposed: Proposed, proposal: ProposedAction, delete: str) -> Action:
    action: Action = {"type": proposed.verb, "description": proposal.description}
    if proposed.verb != "delete":
        action["resource"] = proposed.resource
    elif delete == "resource":
        action["resource"] = proposed.resource_id
    else:
        action["resourceId"] = proposed.resource_id
    return action
