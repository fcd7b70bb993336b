"""From a request body to a hook call: what each hook carries, and the shapes that clients really send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from fhir_adapter.bundles import resources_in
from rules.errors import RequestError

ORDER_MEMBERS: Final = ("draftOrders", "medications", "orders", "medication", "order")
_LONGEST: Final = (
    1_000  # characters of an id, a reference or an address; databases index no text of any length
)
# CDS Hooks library: these hooks are about orders, so a call without any is incomplete.
HOOKS_WITH_ORDERS: Final = frozenset({"order-select", "order-sign", "medication-refill"})


class HookCall(msgspec.Struct, frozen=True, kw_only=True):
    """One request, taken apart. ``drafts`` are the orders of the context and the Medications beside them."""

    hook: str
    hook_instance: str
    patient_id: str
    user_id: str = ""
    encounter_id: str = ""
    drafts: tuple[dict[str, Any], ...] = ()
    selections: frozenset[str] = frozenset()
    prefetch: Mapping[str, Any] = {}
    fhir_server: str = ""
    access_token: str = ""


def read_hook_call(body: Any, expected_hook: str | None = None) -> HookCall:
    """The call in a request body; members that nobody asked for are ignored, nulls count as absent.

    Raises:
        RequestError: 400 when a member that the hook requires is missing or has a wrong type, or when the
            hook is not ``expected_hook``.
    """
    if not isinstance(body, dict):
        raise RequestError("The body is not a JSON object.", code="structure")
    hook = _text(body, "hook")
    if not hook:
        raise RequestError("The member 'hook' is missing.", code="required")
    if expected_hook is not None and hook != expected_hook:
        raise RequestError(
            f"This service answers the hook {expected_hook!r} only.", code="not-supported"
        )
    hook_instance = _text(body, "hookInstance")
    if not hook_instance:
        raise RequestError("The member 'hookInstance' is missing.", code="required")
    context = body.get("context")
    if not isinstance(context, dict):
        raise RequestError("The member 'context' is missing or no object.", code="required")
    patient_id = _bare(_text(context, "patientId", within="context."))
    if not patient_id:
        raise RequestError("The member 'context.patientId' is missing.", code="required")
    drafts = tuple(_drafts(context))
    if not drafts and hook in HOOKS_WITH_ORDERS and not _has_orders(context):
        raise RequestError(f"The hook {hook!r} needs 'context.draftOrders'.", code="required")
    server, token = _server(body)
    return HookCall(
        hook=hook,
        hook_instance=hook_instance,
        patient_id=patient_id,
        user_id=_text(context, "userId", within="context."),
        encounter_id=_text(context, "encounterId", within="context."),
        drafts=drafts,
        selections=_selections(context, drafts),
        prefetch=_object(body, "prefetch"),
        fhir_server=server,
        access_token=token,
    )


def _text(owner: Mapping[str, Any], name: str, *, within: str = "") -> str:
    value = owner.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RequestError(f"The member '{within}{name}' is no text.", code="structure")
    if len(value) > _LONGEST:
        raise RequestError(
            f"The member '{within}{name}' is longer than {_LONGEST} characters.", code="too-long"
        )
    return value


def _bare(reference: str) -> str:
    """The id in what should be one; the number of a version behind it would be another patient."""
    return reference.partition("/_history/")[0].rpartition("/")[2]


def _object(owner: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = owner.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestError(f"The member '{name}' is no object.", code="structure")
    return value


def _server(body: dict[str, Any]) -> tuple[str, str]:
    """The client's FHIR server and the token for it; a token without a server is of no use."""
    authorization = _object(body, "fhirAuthorization")
    token = authorization.get("access_token")
    server = _text(body, "fhirServer")
    if authorization and not server:
        raise RequestError("'fhirAuthorization' stands without 'fhirServer'.", code="required")
    return server, token if isinstance(token, str) else ""


def _has_orders(context: Mapping[str, Any]) -> bool:
    return any(context.get(name) is not None for name in ORDER_MEMBERS)


def _drafts(context: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Resources of the first member that holds orders: a Bundle, a list, or one resource, wrapped or not."""
    for name in ORDER_MEMBERS:
        if context.get(name) is not None:
            if not isinstance(context[name], dict | list):
                raise RequestError(
                    f"The member 'context.{name}' holds no orders.", code="structure"
                )
            yield from resources_in(context[name])
            return


def _selections(context: Mapping[str, Any], drafts: tuple[dict[str, Any], ...]) -> frozenset[str]:
    """References among the drafts; where the hook names none, all of them are new to the user."""
    named = context.get("selections")
    if isinstance(named, list):
        chosen = {one for one in named if isinstance(one, str)}
        if chosen:
            return frozenset(chosen)
    return frozenset(
        f"{one['resourceType']}/{one['id']}"
        for one in drafts
        if isinstance(one.get("id"), str) and isinstance(one.get("resourceType"), str)
    )
