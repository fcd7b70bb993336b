"""What clinicians were shown and what they answered: issued cards, feedback, and the history made of both."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select

from service.alerts import models, statements
from service.alerts.keyring import Keyring
from service.alerts.lines import canonical
from service.alerts.past_answers import HISTORY_DAYS, micros
from service.alerts.sightings import Sighting
from service.alerts.tally import Tally
from service.alerts.values import FeedbackLine, ReviewLine
from service.evidence_vault import bound, seal_text

OUTCOMES = ("accepted", "overridden")
_EPIC = "com.epic.cdshooks.feedback.overrideReason"
_SEVERAL = (
    "several users"  # no reference of a user; nobody in particular is spared what was answered
)
_LONGEST = 2_000  # characters of a client's own text that are kept
# A client's clock is believed as far back as answers count, and ahead by a day, which covers any time zone left out;
# beyond that it is wrong, and when the feedback was received decides.
_STAMP_BACK = timedelta(days=HISTORY_DAYS)
_STAMP_AHEAD = timedelta(days=1)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One feedback entry, as far as it could be understood; ``outcome`` is ``unknown`` otherwise."""

    card: str = ""
    outcome: str = "unknown"
    reason_code: str = ""
    reason_system: str = ""
    comment: str = ""
    accepted: tuple[str, ...] = ()
    at: datetime | None = None


def read_entry(raw: Any) -> Entry:
    """One entry of a feedback body (CDS Hooks 2.0 and Epic's variants); never raises."""
    if not isinstance(raw, Mapping):
        return Entry()
    outcome = raw.get("outcome")
    reason, comment = _reason_of(raw)
    return Entry(
        card=_words(raw.get("card")),
        outcome=outcome if outcome in OUTCOMES else "unknown",
        reason_code=_words(reason.get("code")),
        reason_system=_words(reason.get("system")),
        comment=comment,
        accepted=tuple(_accepted(raw)),
        at=_instant(raw.get("outcomeTimestamp")),
    )


def keep_cards(
    connection: Connection,
    keyring: Keyring,
    tally: Tally,
    line: ReviewLine,
    patient: str,
    fired: Sequence[Sighting],
) -> None:
    """Keep each card as issued, remember that it was shown, and let feedback that came first find it."""
    call, at = line.call, micros(line.call.received)
    marks = {(one.rule, one.about): one.fingerprint for one in fired}
    shown: set[str] = set()
    for card in line.cards:
        subjects = [[rule, about, marks.get((rule, about), "")] for rule, about in card.subjects]
        body = zlib.compress(msgspec.json.encode(card.body), 6)
        sealed_with, sealed = keyring.seal(
            body, bound("issued_card", call.tenant, card.uuid, call.id)
        )
        row = {
            "tenant": call.tenant, "uuid": card.uuid, "evaluation": call.id, "patient": patient,
            "service": call.service, "hook_instance": call.hook_instance, "user_ref": call.user, "kind": card.kind,
            "indicator": card.indicator, "subjects": msgspec.json.encode(subjects).decode(),
            "sealed_with": sealed_with, "body": sealed, "issued": at,
        }  # fmt: skip
        connection.execute(statements.card_new, row)
        for rule, about, mark in subjects:
            if rule in shown:
                continue
            shown.add(rule)
            remember(
                connection,
                call.tenant,
                patient,
                rule,
                about,
                mark,
                outcome="shown",
                user=call.user,
                at=at,
            )
            tally.add(call.tenant, at, rule, call.mode_of(rule), shown=1)
        _match_early(connection, tally, call.tenant, card.uuid)


def apply_feedback(
    connection: Connection, keyring: Keyring, tally: Tally, line: FeedbackLine
) -> list[str]:
    """Store each entry once, and hand what it says to its card; returns what became of each."""
    done = []
    for raw in line.entries:
        entry = read_entry(raw)
        stamp = _believed(entry.at, line.received)
        at = micros(stamp or line.received)
        mark = [
            entry.card,
            entry.outcome,
            entry.reason_code,
            entry.reason_system,
            at if stamp else canonical(raw).hex(),
        ]
        number = hashlib.sha256(canonical([line.tenant, *mark])).hexdigest()
        table = models.feedback
        there = select(table.c.id).where(table.c.tenant == line.tenant, table.c.id == number)
        if connection.scalar(there) is not None:
            done.append("repeated")
            continue
        sealed_with, comment = seal_text(
            keyring, entry.comment, bound("feedback", line.tenant, number)
        )
        connection.execute(
            table.insert().values(
                tenant=line.tenant, id=number, service=line.service, card=entry.card, outcome=entry.outcome,
                reason_code=entry.reason_code, reason_system=entry.reason_system, accepted=",".join(entry.accepted),
                sealed_with=sealed_with, comment=comment if entry.comment else None, at=at,
                received=micros(line.received),
            )
        )  # fmt: skip
        row = connection.execute(
            select(table).where(table.c.tenant == line.tenant, table.c.id == number)
        ).one()
        done.append(
            entry.outcome if _match(connection, tally, row) else f"unmatched-{entry.outcome}"
        )
    return done


def remember(
    connection: Connection, tenant: str, patient: str, rule: str, about: str, fingerprint: str, *,
    outcome: str, user: str, at: int, reason: str = "",
) -> None:  # fmt: skip
    """Keep an answer for suppression; the same answer again only becomes newer."""
    answer = {
        "tenant": tenant, "patient": patient, "rule": rule, "about": about, "fingerprint": fingerprint,
        "outcome": outcome, "user_ref": user, "reason": reason, "at": at,
    }  # fmt: skip
    connection.execute(statements.answer_kept(connection), answer)


def _match_early(connection: Connection, tally: Tally, tenant: str, uuid: str) -> None:
    here = {"key_tenant": tenant, "key_card": uuid}
    for row in connection.execute(statements.feedback_before_card, here).all():
        _match(connection, tally, row)


def _match(connection: Connection, tally: Tally, feedback: Row[Any]) -> bool:
    """Find the newest call that issued the card; an unknown outcome is kept, and changes nothing.

    Feedback names no user. Where several were given the same card (one hookInstance), nobody knows who answered.
    """
    cards = models.issued_card
    issued = connection.execute(
        select(cards)
        .where(cards.c.tenant == feedback.tenant, cards.c.uuid == feedback.card)
        .order_by(cards.c.issued.desc())
    ).all()
    if not issued or feedback.outcome not in OUTCOMES:
        return False
    seen = [one for one in issued if one.issued <= feedback.received] or issued
    card = seen[0]
    user = card.user_ref if len({one.user_ref for one in seen}) == 1 else _SEVERAL
    table = models.feedback
    connection.execute(
        table.update()
        .where(table.c.tenant == feedback.tenant, table.c.id == feedback.id)
        .values(matched=1, evaluation=card.evaluation)
    )
    for rule, about, mark in msgspec.json.decode(card.subjects):
        # A card that only names several findings was not answered finding by finding: it silences none
        if card.kind == "recommendation":
            remember(
                connection, feedback.tenant, card.patient, rule, about, mark, outcome=feedback.outcome, user=user,
                at=feedback.at, reason=feedback.reason_code,
            )  # fmt: skip
        _tell_alert(connection, tally, feedback, card, rule, about, user)
    return True


def _tell_alert(
    connection: Connection, tally: Tally, feedback: Row[Any], card: Row[Any], rule: str, about: str, user: str
) -> None:  # fmt: skip
    """The clinician's answer becomes an event of the alert; closing it stays with the pharmacist."""
    table = models.alert
    row = connection.execute(
        select(table)
        .where(table.c.tenant == feedback.tenant, table.c.patient == card.patient)
        .where(table.c.rule == rule, table.c.about == about)
        .order_by(table.c.episode.desc())
        .limit(1)
    ).one_or_none()
    mode = row.mode if row is not None else "live"
    tally.add(feedback.tenant, feedback.at, rule, mode, **{feedback.outcome: 1})
    if row is None:
        return
    here = (table.c.tenant == row.tenant) & (table.c.id == row.id)
    connection.execute(
        table.update()
        .where(here)
        .values(clinician_outcome=feedback.outcome, version=table.c.version + 1)
    )
    connection.execute(
        models.event.insert().values(
            tenant=row.tenant, alert=row.id, at=feedback.at, actor=user or "clinician",
            action=f"clinician-{feedback.outcome}", reason=feedback.reason_code, evaluation=card.evaluation,
            alert_version=row.version + 1,
        )
    )  # fmt: skip


def _reason_of(raw: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The coded reason and the comment: one, several (the first with a code counts), or in Epic's extension."""
    given = raw.get("overrideReason") or raw.get("overrideReasons")
    choices = given if isinstance(given, list) else [given]
    comments = []
    found: Mapping[str, Any] = {}
    for choice in choices:
        if not isinstance(choice, Mapping):
            continue
        comments.append(_words(choice.get("userComment")))
        reason = choice.get("reason", choice)
        if isinstance(reason, Mapping) and reason.get("code") and not found:
            found = reason
    if not found:
        found = _epic_reason(raw.get("extension"))
    return found, " ".join(filter(None, comments))[:_LONGEST]


def _epic_reason(extension: Any) -> Mapping[str, Any]:
    if not isinstance(extension, Mapping):
        return {}
    found = {
        str(key).removeprefix(_EPIC).strip("-.").lower(): value
        for key, value in extension.items()
        if str(key).startswith(_EPIC)
    }
    for value in found.values():
        if isinstance(value, Mapping) and value.get("code"):
            return value
    return found


def _accepted(raw: Mapping[str, Any]) -> Iterator[str]:
    given = raw.get("acceptedSuggestions")
    for one in given if isinstance(given, list) else []:
        if isinstance(one, Mapping) and _words(one.get("id")):
            yield _words(one["id"])


def _words(value: Any) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""


def _believed(stamp: datetime | None, received: datetime) -> datetime | None:
    """The client's own stamp, if it can be right; differences, since a sum could leave the calendar."""
    if stamp is None or not -_STAMP_BACK <= stamp - received <= _STAMP_AHEAD:
        return None
    return stamp


def _instant(value: Any) -> datetime | None:
    try:
        read = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)
