"""The one use case: one patient's resources in, one review out. Every door comes through here.

Hook, bundle, NDJSON, Spark, command line and replay differ only in how they fill a ``Case``; so they cannot
disagree. Start reading here: ``review`` calls the reader, then the engine, then decides which gaps matter.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fhir_adapter.reader import read
from rules.assessment import Assessment, Gap, HistoryEntry
from rules.facts import Context, FactSet
from service.gaps import GapNotice, gap_of_source, notices

if TYPE_CHECKING:
    from rules.engine import Engine
    from service.local_codes import LocalCodes

MOST_EXPLAINED = 50  # a chart in which more is wrong is wrong as a whole
ORDERING_HOOKS = frozenset({"order-select", "order-sign", "medication-refill"})


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What a door knows about one patient.

    ``resources`` are FHIR resources as they came in, in any order, of any patient; ``patient_id`` says whose
    review this is. ``drafts`` are the orders not yet signed, ``selections`` the references among them that
    were just chosen. ``unread`` maps each source that could not be had (``medication-statements``,
    ``labs-inr`` ...) to the reason. ``history`` holds earlier answers; ``None`` when it could not be read.
    ``quiet`` names the rules that are not live for this caller, and so never silence a live one.
    ``asked`` names findings to work out even where no rule looks at them. ``servers`` are the FHIR base URLs on
    which the patient is known by ``patient_id``; a reference to another server is not taken for this patient.
    ``codes`` are by what the records are read where their owner has codes of its own, made of the packs in force.
    """

    resources: Sequence[dict[str, Any]]
    patient_id: str | None = None
    drafts: Sequence[dict[str, Any]] = ()
    selections: Collection[str] = ()
    hook: str = "patient-view"
    profile: str = "nam-2011"
    verbosity: Literal["standard", "education"] = "standard"
    zone: tzinfo = UTC
    unread: Mapping[str, str] = {}
    history: Sequence[HistoryEntry] | None = ()
    user: str = ""
    quiet: Collection[str] = ()
    asked: Collection[str] = ()
    servers: Collection[str] = ()
    codes: LocalCodes | None = None


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a case.

    ``gaps`` are all data that could not be read or had; ``notices`` those among them that could have
    changed the answer, in words. ``counts`` says how many resources were read, and how many were of other patients.
    ``withdrawn`` names records that say they were an error: what rested on them earlier is marked in the record.
    """

    facts: FactSet
    assessment: Assessment
    gaps: tuple[Gap, ...]
    notices: tuple[GapNotice, ...]
    counts: Mapping[str, int]
    withdrawn: tuple[str, ...] = ()

    @property
    def gap_cards(self) -> tuple[Gap, ...]:
        """The gaps that deserve a card."""
        return tuple(notice.gap for notice in self.notices)

    @property
    def nothing_found(self) -> bool:
        """Whether everything needed was looked at, and nothing was worth saying."""
        assessment = self.assessment
        return not (assessment.recommendations or assessment.failures or self.gaps)


def review(
    case: Case, as_of: datetime, engine: Engine, *, validation: str = "suspicious"
) -> Review:
    """Review one patient at one moment.

    Args:
        case: the patient's data, and what could not be had.
        as_of: the moment of the review, with a time zone; every age and window is counted from it.
        engine: the rules in force.
        validation: how much of the input ``fhir.resources`` explains (``off``, ``suspicious``, ``all``).

    Raises:
        EngineError: the engine did not evaluate the whole patient; there is no answer.
    """
    context = Context(
        hook=case.hook,
        moment="order" if case.hook in ORDERING_HOOKS else "view",
        verbosity=case.verbosity,
        profile=case.profile,
        unread=dict(case.unread),
    )
    codes = case.codes
    reading = read(
        case.resources,
        patient_id=case.patient_id,
        vocabulary=engine.rulebook.vocabulary if codes is None else codes.vocabulary,
        as_of=as_of,
        zone=case.zone,
        drafts=case.drafts,
        selections=case.selections,
        context=context,
        servers=case.servers,
    )
    assessment = engine.assess(
        reading.facts,
        as_of=as_of,
        today=as_of.astimezone(case.zone).date(),
        history=case.history or (),
        user=case.user,
        quiet=case.quiet,
        asked=case.asked,
    )
    if codes is not None:
        provenance = msgspec.structs.replace(assessment.provenance, local_codes=dict(codes.marks))
        assessment = msgspec.structs.replace(assessment, provenance=provenance)
    suspicious = {"off": (), "suspicious": reading.suspicious}.get(validation, case.resources)
    unread = tuple(
        gap_of_source(source, reason, engine.rulebook)
        for source, reason in sorted(case.unread.items())
    )
    gaps = (*unread, *reading.gaps, *_explained(suspicious))
    return Review(
        facts=reading.facts,
        assessment=assessment,
        gaps=gaps,
        notices=notices(gaps, reading.facts, assessment, engine.rulebook),
        counts=reading.counts,
        withdrawn=reading.withdrawn,
    )


def _explained(resources: Sequence[dict[str, Any]]) -> tuple[Gap, ...]:
    """What strict validation finds; its models are loaded only when there is something to explain."""
    if not resources:
        return ()
    from fhir_adapter.resources import explain

    return explain(resources[:MOST_EXPLAINED])
