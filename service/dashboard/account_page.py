"""One's own account: where one is signed in, the password, the second factor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rules.errors import RequestError
from service import identity_factor as factor
from service.dashboard.enrolment import Enrolment
from service.dashboard.gate import known_words
from service.dashboard.set_up import typed_twice
from service.identity import Proof, end_sessions, sessions_of
from service.identity_passwords import LONGEST, SHORTEST, check_password, set_password

if TYPE_CHECKING:
    from starlette.responses import Response

    from service.dashboard.desk import Desk, Visit
    from service.dashboard.gate import Gate

_DONE: Final = {
    "sessions": "The sessions were ended.",
    "password": "The password was changed; everywhere else you are signed out.",
}


class AccountPage:
    """Shows and changes the account of whoever is signed in."""

    def __init__(self, desk: Desk, gate: Gate) -> None:
        self._desk = desk
        self._gate = gate
        self._enrolment = Enrolment(desk, gate.tries, address="/account/factor/confirm", must=False)
        desk.route("GET", "/account", "signed-in", self.show)
        desk.route("POST", "/account/sessions", "signed-in", self.end)
        desk.route("POST", "/account/password", "signed-in", self.change_password)
        desk.route("POST", "/account/factor", "signed-in", self.begin_factor)
        desk.route("POST", "/account/factor/confirm", "signed-in", self.confirm_factor)
        desk.route("POST", "/account/codes", "signed-in", self.renew_codes)

    def show(self, visit: Visit) -> Response:
        """The page."""
        return self._page(visit, done=_DONE.get(visit.query.get("done", ""), ""))

    def end(self, visit: Visit) -> Response:
        """End one other session, or all others."""
        who, record = visit.who, self._desk.record
        chosen = visit.form.get("session", "")
        end_sessions(
            record.database, record.keyring, tenant=who.tenant, account=who.account, actor=who.actor, now=visit.now,
            only=chosen, but="" if chosen else who.session,
        )  # fmt: skip
        return visit.go("/account?done=sessions")

    def change_password(self, visit: Visit) -> Response:
        """Take a new password from somebody who knows the old one; every session ends, this one goes on as a new one."""
        who, record = visit.who, self._desk.record
        try:
            self._prove(visit)
            new = typed_twice(visit.form, "new")
            set_password(
                record.database, record.keyring, tenant=who.tenant, name=who.account, password=new, actor=who.actor,
                now=visit.now, words=known_words(visit),
            )  # fmt: skip
        except RequestError as error:
            return self._page(visit, problem=f"Not done: {error}", status=error.status)
        response = self._gate.welcome(visit, who.tenant, who.account, Proof(method=who.method))
        response.headers["location"] = "/account?done=password"
        return response

    def begin_factor(self, visit: Visit) -> Response:
        """Show the picture for the app."""
        try:
            self._prove(visit)
            return self._enrolment.show(visit, visit.who.tenant, visit.who.account)
        except RequestError as error:
            return self._page(visit, problem=f"Not done: {error}", status=error.status)

    def confirm_factor(self, visit: Visit) -> Response:
        """Put the second factor in force, and show the recovery codes once."""
        who = visit.who
        codes = self._enrolment.take(visit, who.tenant, who.account)
        if codes is None:
            return self._enrolment.show(visit, who.tenant, who.account, wrong=True)
        return visit.page("factor_codes.html", codes=codes, onward="/account")

    def renew_codes(self, visit: Visit) -> Response:
        """Make new recovery codes, and show them once."""
        who, record = visit.who, self._desk.record
        try:
            self._prove(visit)
            codes = factor.renew_codes(
                record.database,
                record.keyring,
                tenant=who.tenant,
                account=who.account,
                now=visit.now,
            )
        except RequestError as error:
            return self._page(visit, problem=f"Not done: {error}", status=error.status)
        return visit.page("factor_codes.html", codes=codes, onward="/account")

    def _prove(self, visit: Visit) -> None:
        """Ask for the password again: an unattended screen must not be enough."""
        who = visit.who
        self._gate.tries.password(visit.address, who.tenant, who.account)
        if who.provider or not check_password(
            self._desk.record.database, tenant=who.tenant, name=who.account,
            password=visit.form.get("password", ""),
        ):  # fmt: skip
            raise RequestError("the password is not right.", status=422)
        self._gate.tries.succeeded(visit.address, who.tenant, who.account)

    def _page(
        self, visit: Visit, *, problem: str = "", done: str = "", status: int = 200
    ) -> Response:
        who, database = visit.who, self._desk.record.database
        local = not who.provider and not self._desk.parts.settings.dev
        return visit.page(
            "account.html", status=status, problem=problem, done=done, local=local, shortest=SHORTEST, longest=LONGEST,
            sessions=sessions_of(database, who.tenant, who.account, visit.now, idle=self._desk.idle),
            has_factor=factor.is_set(database, who.tenant, who.account),
            codes_left=factor.codes_left(database, who.tenant, who.account),
        )  # fmt: skip
