"""What order-select has just shown about a draft, so that order-sign need not say the very same again.

Only for clients whose profile asks for it, and only while nothing changed: same user, same draft, same evidence,
same words, within half an hour. Whenever that cannot be told, the card is shown again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

import orjson

from rules.assessment import Recommendation
from rules.errors import Unavailable

if TYPE_CHECKING:
    from service.alerts.keyring import Keyring
    from service.alerts.values import IssuedCard
    from service.cds_hooks.contexts import HookCall
    from service.cds_hooks.replay import JtiStore

SHOWN_FOR: Final = 30 * 60  # seconds; longer than signing takes, shorter than a shift
_ISSUER: Final = "dekacard:shown-at-order-select"  # no token has this iss: it is no address
# Members that record systems rewrite although the order is the same
_UNSTEADY: Final = frozenset({"meta", "text", "fullUrl"})
_log = logging.getLogger("dekacard.repeats")

Subject = tuple[str, str]


class ShownCards:
    """Which cards about which drafts order-select has shown, kept beside the used tokens for all workers."""

    def __init__(self, store: JtiStore, keyring: Keyring) -> None:
        self._store = store
        self._keyring = keyring

    def remember(
        self,
        call: HookCall,
        tenant: str,
        spoken: Iterable[Recommendation],
        cards: Iterable[IssuedCard],
        now: float,
    ) -> None:
        """Note what an answer to order-select shows in full; what is only named in a list does not count."""
        shown = {one for card in cards if card.kind == "recommendation" for one in card.subjects}
        self._each(
            call,
            tenant,
            (one for one in spoken if (one.rule, one.about) in shown),
            lambda name: not self._store.first_use(_ISSUER, name, expires=now + SHOWN_FOR, now=now),
        )

    def repeated(
        self, call: HookCall, tenant: str, spoken: Iterable[Recommendation], now: float
    ) -> frozenset[Subject]:
        """Rule and subject of what this user was shown at order-select about these very drafts."""
        return self._each(
            call, tenant, spoken, lambda name: self._store.was_used(_ISSUER, name, now=now)
        )

    def _each(
        self,
        call: HookCall,
        tenant: str,
        spoken: Iterable[Recommendation],
        ask: Callable[[str], bool],
    ) -> frozenset[Subject]:
        drafts = {_reference(draft): draft for draft in call.drafts}
        found: set[Subject] = set()
        try:
            for one in spoken:
                about = [drafts[ref] for ref in sorted(set(one.source) & drafts.keys())]
                if about and ask(self._name(call, tenant, one, about)):
                    found.add((one.rule, one.about))
        except Unavailable:
            _log.warning("what order-select showed cannot be looked up; nothing is left out")
            return frozenset()
        return frozenset(found)

    def _name(
        self, call: HookCall, tenant: str, one: Recommendation, drafts: Collection[dict[str, Any]]
    ) -> str:
        steady = [{k: v for k, v in draft.items() if k not in _UNSTEADY} for draft in drafts]
        said = [
            tenant,
            call.patient_id,
            call.user_id,
            call.encounter_id,
            one.rule,
            one.version,
            one.about,
        ]
        said += [one.indicator, one.summary, one.why, one.fingerprint]
        body = orjson.dumps([said, steady], option=orjson.OPT_SORT_KEYS)
        return self._keyring.digest("shown-at-order-select", body)


def _reference(draft: dict[str, Any]) -> str:
    return f"{draft.get('resourceType')}/{draft.get('id')}"
