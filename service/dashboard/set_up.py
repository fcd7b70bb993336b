"""The page that takes a one-time token: the first administrator's, or one that an administrator handed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rules.errors import NotTrusted, RequestError
from service.dashboard.gate import clients_of, known_words
from service.identity_invitations import SET_UP_LIFE, accept, set_up_is_open
from service.identity_passwords import LONGEST, SHORTEST

if TYPE_CHECKING:
    from starlette.responses import Response

    from service.dashboard.desk import Desk, Visit
    from service.dashboard.gate import Gate


class SetUp:
    """Lets somebody with a token choose a password; then the sign-in goes on as after any password."""

    def __init__(self, desk: Desk, gate: Gate) -> None:
        self._desk = desk
        self._gate = gate
        desk.route("GET", "/setup", "anyone", self.show)
        desk.route("POST", "/setup", "anyone", self.take)

    def show(self, visit: Visit) -> Response:
        """The form; the token is typed into it, and never part of an address."""
        return self._page(visit)

    def take(self, visit: Visit) -> Response:
        """Use the token up."""
        desk, form = self._desk, visit.form
        if desk.parts.settings.dev:
            raise RequestError("Development mode has no accounts to set up.", status=404)
        self._gate.tries.token(visit.address)
        served = clients_of(visit)
        chosen = form.get("client", "") or (served[0] if len(served) == 1 else "")
        try:
            known = accept(
                desk.record.database, desk.record.keyring, token=form.get("token", ""),
                tenant=chosen if chosen in served else "", name=form.get("name", "").strip(),
                password=typed_twice(form, "password"), now=visit.now, words=known_words(visit),
            )  # fmt: skip
        except NotTrusted:
            words = "This token is not known, was used already, or is too old."
            return self._page(visit, problem=words, status=401)
        except RequestError as error:
            return self._page(visit, problem=f"Not done: {error}", status=error.status)
        desk.parts.settings.setup_file.unlink(missing_ok=True)
        return self._gate.go_on(visit, known.tenant, known.account)

    def _page(self, visit: Visit, *, problem: str = "", status: int = 200) -> Response:
        # A token that is still good need not be typed again, only because the password would not do
        kept = visit.form if status == 422 else {}  # noqa: PLR2004 - HTTP: the form, not the token, was refused
        return visit.page(
            "setup.html", status=status, problem=problem, clients=clients_of(visit), shortest=SHORTEST, longest=LONGEST,
            first=set_up_is_open(self._desk.record.database, visit.now),
            minutes=int(SET_UP_LIFE.total_seconds() // 60), token=kept.get("token", ""), name=kept.get("name", ""),
        )  # fmt: skip


def typed_twice(form: Mapping[str, str], field: str) -> str:
    """A new password that was typed the same way twice.

    Raises:
        RequestError: the two differ (422).
    """
    given = form.get(field, "")
    if given != form.get("again", ""):
        raise RequestError("the two passwords differ.", status=422)
    return given
