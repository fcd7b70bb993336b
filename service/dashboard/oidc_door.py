"""The way in through an OpenID provider of the site, and the provider's word that somebody went out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.from_thread
from starlette.responses import PlainTextResponse

from rules.errors import NotTrusted, RequestError, Unavailable
from service.alerts.values import AuditEntry
from service.identity import Proof
from service.identity_oidc import OpenIdClient
from service.identity_people import recognise, sign_out_outside
from service.identity_steps import LIFE, Step, begin_step, end_step

if TYPE_CHECKING:
    from starlette.responses import Response

    from service.dashboard.desk import Desk, Visit
    from service.dashboard.gate import Gate
    from service.identity_providers import Provider

Answer = TypeVar("Answer")


class OidcDoor:
    """The addresses of one provider."""

    def __init__(self, desk: Desk, gate: Gate, provider: Provider) -> None:
        self._desk = desk
        self._gate = gate
        self._client = OpenIdClient(provider)
        self._provider = provider
        gate.offer(provider.id, provider.title)
        base = f"/oidc/{provider.id}"
        desk.route("GET", f"{base}/start", "anyone", self.start)
        desk.route("GET", f"{base}/back", "anyone", self.come_back)
        desk.route("POST", f"{base}/out", "anyone", self.signed_out_there, from_elsewhere=True)

    def start(self, visit: Visit) -> Response:
        """Send the browser to the provider; what must fit on the way back stays here."""
        record = self._desk.record
        self._gate.tries.provider(visit.address)
        address, remembered = _ask(self._client.start)
        step = Step(kind="provider", account=self._provider.id, body=remembered)
        secret = begin_step(record.database, record.keyring, step, visit.now)
        response = visit.go(address)
        self._gate.put(response, self._desk.step_cookie, secret, LIFE)
        return response

    def come_back(self, visit: Visit) -> Response:
        """Let in whom the provider recognised; each answer counts once, and only in the browser that asked."""
        record, provider = self._desk.record, self._provider
        try:
            step = end_step(record.database, record.keyring, visit.step, ("provider",), visit.now)
            person = _ask(self._client.finish, visit.query, step.body, visit.now)
            name = recognise(record.database, record.keyring, provider, person, visit.now)
        except NotTrusted:
            entry = AuditEntry(
                tenant=provider.client, at=visit.now, actor=f"oidc/{provider.id}", action="sign-in", outcome="refused"
            )  # fmt: skip
            record.audit(entry)
            raise
        proof = Proof(
            method="oidc",
            provider=provider.id,
            outside=person.session,
            acr=person.acr,
            amr=person.amr,
        )
        return self._gate.go_on(visit, provider.client, name, proof, is_enough=provider.is_enough)

    def signed_out_there(self, visit: Visit) -> Response:
        """End the sessions of whom the provider signed out (its server calls, not a browser)."""
        record = self._desk.record
        token = visit.form.get("logout_token", "")
        departure = _ask(self._client.departure, token, visit.now)
        sign_out_outside(record.database, record.keyring, self._provider, departure, visit.now)
        return PlainTextResponse("", status_code=200)


def _ask(question: Callable[..., Coroutine[Any, Any, Answer]], *about: Any) -> Answer:
    """Ask the provider, on the loop of the server; whoever waits is told when it is silent."""
    try:
        return anyio.from_thread.run(question, *about)
    except Unavailable:
        raise RequestError(
            "The provider that signs you in does not answer. Try again soon.", status=503
        ) from None
