"""Signing in and out: a password and a code of a local account; in development mode one click as an invented pharmacist."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast

import msgspec
from starlette.responses import Response

from rules.errors import NotTrusted, RequestError
from service import identity_factor as factor
from service.alerts.access import accounts, new_account
from service.alerts.values import AuditEntry
from service.dashboard.enrolment import Enrolment
from service.identity import Proof, close_session, open_session
from service.identity_attempts import Tries
from service.identity_guessable import words_of
from service.identity_passwords import check_password
from service.identity_steps import LIFE, Kind, Step, begin_step, end_step, step_of

if TYPE_CHECKING:
    from service.alerts.access import Role
    from service.dashboard.desk import Desk, Visit

DEMO_TENANT: Final = "developer"
DEMO_ACCOUNT: Final = "demo-pharmacist"


class Gate:
    """The pages for signing in and out."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._providers: tuple[tuple[str, str], ...] = ()
        self.tries = Tries(lambda: desk.record.database, desk.parts.clock)
        self._enrolment = Enrolment(desk, self.tries, address="/login/factor", must=True)
        desk.route("GET", "/login", "anyone", self.show)
        desk.route("POST", "/login", "anyone", self.sign_in)
        desk.route("GET", "/login/code", "anyone", self.ask_code)
        desk.route("POST", "/login/code", "anyone", self.take_code)
        desk.route("GET", "/login/factor", "anyone", self.ask_factor)
        desk.route("POST", "/login/factor", "anyone", self.take_factor)
        desk.route("POST", "/logout", "signed-in", self.sign_out)
        desk.route("GET", "/awake", "anyone", self.say_whether_awake, keeps_awake=False)

    def offer(self, provider: str, title: str) -> None:
        """Show a way in through an OpenID provider as well."""
        self._providers = (*self._providers, (provider, title))

    def show(self, visit: Visit) -> Response:
        """The form; whoever is signed in already goes on to work."""
        if visit.signed_in is not None:
            return visit.go(visit.desk.home_of(visit.signed_in.role))
        return self._form(visit)

    def sign_in(self, visit: Visit) -> Response:
        """Check the password; a wrong name and a wrong password are told alike."""
        desk = self._desk
        if desk.parts.settings.dev:
            _make_demo_account(visit)
            return self.welcome(visit, DEMO_TENANT, DEMO_ACCOUNT, Proof(method="demo"))
        name = visit.form.get("name", "").strip()
        tenant = visit.form.get("client", "").strip() or only_client(visit)
        self.tries.password(visit.address, tenant, name)
        password = visit.form.get("password", "")
        if not check_password(desk.record.database, tenant=tenant, name=name, password=password):
            self._refused(visit, tenant)
            return self._form(visit, wrong=True)
        return self.go_on(visit, tenant, name)

    def go_on(
        self, visit: Visit, tenant: str, name: str, proof: Proof | None = None, *, is_enough: bool = False
    ) -> Response:  # fmt: skip
        """After a password or a provider: the code, a second factor where the role must have one, or the work.

        ``is_enough`` is true where the provider is known to have asked for more than a password.
        """
        database, proof = self._desk.record.database, proof or Proof(method="password")
        if not is_enough:
            body = msgspec.json.encode(proof)
            if factor.is_set(database, tenant, name):
                step = Step(kind="code", tenant=tenant, account=name, body=body)
                return self._wait(visit, step, "/login/code")
            if _role_of(visit, tenant, name) in self._desk.parts.settings.second_factor:
                step = Step(kind="enrol", tenant=tenant, account=name, body=body)
                return self._wait(visit, step, "/login/factor")
        self.tries.succeeded(visit.address, tenant, name)
        return self.welcome(visit, tenant, name, proof)

    def ask_code(self, visit: Visit) -> Response:
        """The form for the code of the app."""
        try:
            self._step(visit, "code")
        except NotTrusted:
            return visit.go("/login")
        return visit.page("factor_code.html", wrong=False)

    def take_code(self, visit: Visit) -> Response:
        """Check the code; a right one, or a recovery code, lets in once."""
        step = self._step(visit, "code")
        self.tries.code(step.tenant, step.account)
        record = self._desk.record
        if not factor.check(
            record.database, record.keyring, tenant=step.tenant, account=step.account, now=visit.now,
            code=visit.form.get("code", ""),
        ):  # fmt: skip
            self._refused(visit, step.tenant)
            return visit.page("factor_code.html", status=401, wrong=True)
        home = visit.go(self._desk.home_of(_role_of(visit, step.tenant, step.account)))
        return self._finish(visit, step, home)

    def ask_factor(self, visit: Visit) -> Response:
        """What the app needs to know, for a role that must have a second factor."""
        try:
            step = self._step(visit, "enrol")
        except NotTrusted:
            return visit.go("/login")
        return self._enrolment.show(visit, step.tenant, step.account)

    def take_factor(self, visit: Visit) -> Response:
        """Put the second factor in force with its first code, sign in, and show the recovery codes once."""
        step = self._step(visit, "enrol")
        codes = self._enrolment.take(visit, step.tenant, step.account)
        if codes is None:
            return self._enrolment.show(visit, step.tenant, step.account, wrong=True)
        onward = self._desk.home_of(_role_of(visit, step.tenant, step.account))
        return self._finish(
            visit, step, visit.page("factor_codes.html", codes=codes, onward=onward)
        )

    def sign_out(self, visit: Visit) -> Response:
        """End the session here and in the browser."""
        desk = self._desk
        close_session(desk.record.database, visit.cookie)
        desk.note(visit, "sign-out", f"account/{visit.who.account}")
        response = visit.go("/login")
        response.headers["Clear-Site-Data"] = '"cache", "storage"'
        _forget(response, desk, desk.cookie)
        return response

    def say_whether_awake(self, visit: Visit) -> Response:
        """Nothing while the session lasts, so that an open page stays as it is; else the way to the door.

        Open pages ask by themselves, so that no patient stays on an unattended screen.
        """
        return visit.go("/login") if visit.signed_in is None else Response(status_code=204)

    def welcome(self, visit: Visit, tenant: str, name: str, proof: Proof) -> Response:
        """Open a session and go to work; the one that the browser had until now ends."""
        home = self._desk.home_of(_role_of(visit, tenant, name))
        return self._let_in(visit, tenant, name, proof, visit.go(home))

    def put(self, response: Response, name: str, secret: str, life: timedelta) -> None:
        """Give the browser a secret that no script reads and no other site sends with a form."""
        response.set_cookie(
            name, secret, max_age=int(life.total_seconds()), path="/", secure=self._desk.secure, httponly=True,
            samesite="lax",
        )  # fmt: skip

    def _let_in(
        self, visit: Visit, tenant: str, name: str, proof: Proof, response: Response
    ) -> Response:
        desk, life = self._desk, timedelta(hours=self._desk.parts.settings.session_hours)
        secret = open_session(
            desk.record.database, desk.record.keyring, tenant=tenant, name=name, now=visit.now, life=life,
            proof=msgspec.structs.replace(proof, browser=visit.browser),
        )  # fmt: skip
        if visit.cookie:
            close_session(desk.record.database, visit.cookie)
        self.put(response, desk.cookie, secret, life)
        _forget(response, desk, desk.step_cookie)
        return response

    def _wait(self, visit: Visit, step: Step, address: str) -> Response:
        record = self._desk.record
        secret = begin_step(record.database, record.keyring, step, visit.now)
        response = visit.go(address)
        self.put(response, self._desk.step_cookie, secret, LIFE)
        return response

    def _step(self, visit: Visit, kind: Kind) -> Step:
        record = self._desk.record
        return step_of(record.database, record.keyring, visit.step, (kind,), visit.now)

    def _finish(self, visit: Visit, step: Step, response: Response) -> Response:
        """End the step that a code completed, and let its owner in as whom it began with."""
        record = self._desk.record
        end_step(record.database, record.keyring, visit.step, (step.kind,), visit.now)
        self.tries.succeeded(visit.address, step.tenant, step.account)
        proof = msgspec.json.decode(step.body, type=Proof)
        proof = msgspec.structs.replace(proof, method=f"{proof.method}+code")
        return self._let_in(visit, step.tenant, step.account, proof, response)

    def _refused(self, visit: Visit, tenant: str) -> None:
        entry = AuditEntry(
            tenant=tenant, at=visit.now, actor="unknown", action="sign-in", outcome="refused"
        )
        self._desk.record.audit(entry)

    def _form(self, visit: Visit, *, wrong: bool = False) -> Response:
        from service.identity_invitations import set_up_is_open

        dev = self._desk.parts.settings.dev
        return visit.page(
            "login.html",
            status=401 if wrong else 200,
            wrong=wrong,
            asks_client=not only_client(visit),
            providers=self._providers,
            set_up=not dev and set_up_is_open(self._desk.record.database, visit.now),
        )


def only_client(visit: Visit) -> str:
    """The client whose people sign in here, where there is just one; else the form asks."""
    ids = clients_of(visit)
    return ids[0] if len(ids) == 1 else ""


def known_words(visit: Visit) -> tuple[str, ...]:
    """What everybody at this site knows, and therefore nobody should lean on in a password."""
    parts = visit.desk.parts
    profiles = parts.registry.profiles if parts.registry is not None else ()
    return words_of((*parts.settings.password_words, *(one.title for one in profiles)))


def clients_of(visit: Visit) -> list[str]:
    """The ids of the clients that are served."""
    parts = visit.desk.parts
    if parts.settings.dev:
        return [DEMO_TENANT]
    return sorted(one.id for one in parts.registry.profiles) if parts.registry is not None else []


def _forget(response: Response, desk: Desk, cookie: str) -> None:
    response.delete_cookie(cookie, secure=desk.secure, httponly=True, samesite="lax")


def _role_of(visit: Visit, tenant: str, name: str) -> Role:
    found = [
        cast("Role", one["role"])
        for one in accounts(visit.desk.record.database, tenant)
        if one["name"] == name and not one["disabled"]
    ]
    if not found:
        raise RequestError("there is no such account.", status=404, code="not-found")
    return found[0]


def _make_demo_account(visit: Visit) -> None:
    """The account of development mode, whose door alone asks for it."""
    record = visit.desk.record
    if any(one["name"] == DEMO_ACCOUNT for one in accounts(record.database, DEMO_TENANT)):
        return
    new_account(
        record.database, record.keyring, tenant=DEMO_TENANT, name=DEMO_ACCOUNT, role="pharmacist", actor="demo",
        now=visit.now,
    )  # fmt: skip
