"""``dekacard explain``: every patient of one file, in words or as JSON."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from rules.errors import RequestError
from service.cds_hooks.proposing import proposer
from service.documents import cases_in
from service.explanation import Explainer
from service.front_door import read_json
from service.review import review
from service.settings import Settings

if TYPE_CHECKING:
    from rules.engine import Engine
    from service.review import Case


def explain_file(
    body: bytes,
    *,
    as_json: bool,
    as_of: str | None,
    profile: str | None,
    verbosity: str | None,
    engine: str | None,
    patient: str | None = None,
) -> bool:
    """Print the explanation of every patient in ``body``; True when a rule failed for one of them.

    Raises:
        RequestError: the file is no JSON, or holds no patient data.
    """
    settings = Settings.read(profile=profile, verbosity=verbosity, engine=engine)
    # It knows all parts of the service, most of no use to whoever only asks for a moment
    from service.bootstrap import build_engine

    moment = read_moment(as_of)
    built = build_engine(settings)
    explainer = Explainer(built.rulebook)
    failed = False
    found = False
    for case in cases_in(read_json(body, max_bytes=sys.maxsize), settings):
        if patient is not None and case.patient_id != patient:
            continue
        found = True
        told = explanation_of(case, moment, built, explainer, settings)
        failed = failed or bool(told["failures"])
        if as_json:
            sys.stdout.buffer.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
            sys.stdout.buffer.flush()
        else:
            from service.explained_text import print_explanation

            print_explanation(told)
    if not found:
        raise RequestError(
            "The file holds no patient data."
            if patient is None
            else "The file does not hold this patient."
        )
    return failed


def explanation_of(
    case: Case, moment: datetime, engine: Engine, explainer: Explainer, settings: Settings
) -> dict[str, Any]:
    """The explanation of one case."""
    # Who asks for an explanation wants to see every finding, not only those that rules looked at
    everything = msgspec.structs.replace(case, asked=tuple(engine.rulebook.finding_fields))
    done = review(everything, moment, engine, validation=settings.validation)
    propose = proposer(
        engine.rulebook.vocabulary,
        patient_id=case.patient_id or done.facts.patient.id,
        as_of=moment,
        drafts=case.drafts,
    )
    return explainer.explain(done, propose)


def read_moment(text: str | None) -> datetime:
    """The moment of the review; without one, now.

    Raises:
        RequestError: the text is no ISO 8601 date-time with a zone.
    """
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RequestError(f"--as-of: {text!r} is no ISO 8601 date-time.") from None
    if moment.tzinfo is None:
        raise RequestError(f"--as-of: {text!r} has no time zone, write {text}Z.")
    return moment
