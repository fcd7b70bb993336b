"""Signing in and out: a password of a local account; in development mode one click as an invented pharmacist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from rules.errors import NotTrusted, RequestError
from service.alerts.access import accounts, new_account
from service.alerts.values import AuditEntry
from service.identity import ABSOLUTE, check_password, close_session, open_session

if TYPE_CHECKING:
    from starlette.responses import Response

    from service.dashboard.desk import Desk, Visit

DEMO_TENANT: Final = "developer"
DEMO_ACCOUNT: Final = "demo-pharmacist"
_ATTEMPTS: Final = RateLimitItemPerMinute(
    10, 5
)  # ten in five minutes, for each account and address


class Gate:
    """The pages for signing in and out."""

    def __init__(self, desk: Desk) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        desk.route("GET", "/login", "anyone", self.show)
        desk.route("POST", "/login", "anyone", self.sign_in)
        desk.route("POST", "/logout", "signed-in", self.sign_out)

    def show(self, visit: Visit) -> Response:
        """The form; whoever is signed in already goes on to work."""
        if visit.signed_in is not None:
            return visit.go("/work")
        return self._form(visit)

    def sign_in(self, visit: Visit) -> Response:
        """Open a session; a wrong name and a wrong password are told alike."""
        settings = visit.desk.parts.settings
        if settings.dev:
            _make_demo_account(visit)
            return self._welcome(visit, DEMO_TENANT, DEMO_ACCOUNT)
        name = visit.form.get("name", "").strip()
        tenant = visit.form.get("client", "").strip() or _only_client(visit)
        if not self._limiter.hit(_ATTEMPTS, visit.address, tenant, name):
            raise RequestError(
                "Too many attempts. Wait five minutes.", status=429, code="throttled"
            )
        password = visit.form.get("password", "")
        if not check_password(
            visit.desk.record.database, tenant=tenant, name=name, password=password
        ):
            visit.desk.record.audit(
                AuditEntry(
                    tenant=tenant,
                    at=visit.now,
                    actor="unknown",
                    action="sign-in",
                    outcome="refused",
                )
            )
            return self._form(visit, wrong=True)
        return self._welcome(visit, tenant, name)

    def sign_out(self, visit: Visit) -> Response:
        """End the session here and in the browser."""
        close_session(visit.desk.record.database, visit.cookie)
        response = visit.go("/login")
        response.delete_cookie(
            visit.desk.cookie, secure=visit.desk.secure, httponly=True, samesite="lax"
        )
        return response

    @staticmethod
    def _form(visit: Visit, *, wrong: bool = False) -> Response:
        return visit.page(
            "login.html",
            status=401 if wrong else 200,
            wrong=wrong,
            asks_client=not _only_client(visit),
        )

    @staticmethod
    def _welcome(visit: Visit, tenant: str, name: str) -> Response:
        desk = visit.desk
        secret = open_session(
            desk.record.database, desk.record.keyring, tenant=tenant, name=name, now=visit.now
        )
        if visit.cookie:
            close_session(desk.record.database, visit.cookie)
        response = visit.go("/work")
        response.set_cookie(
            desk.cookie, secret, max_age=int(ABSOLUTE.total_seconds()), path="/", secure=desk.secure, httponly=True,
            samesite="lax",
        )  # fmt: skip
        return response


def _only_client(visit: Visit) -> str:
    """The client whose people sign in here, where there is just one; else the form asks."""
    parts = visit.desk.parts
    if parts.settings.dev:
        return DEMO_TENANT
    ids = sorted(one.id for one in parts.registry.profiles) if parts.registry is not None else []
    return ids[0] if len(ids) == 1 else ""


def _make_demo_account(visit: Visit) -> None:
    if not visit.desk.parts.settings.dev:
        raise NotTrusted("the demo account exists in development mode only", status=403)
    record = visit.desk.record
    if any(one["name"] == DEMO_ACCOUNT for one in accounts(record.database, DEMO_TENANT)):
        return
    new_account(
        record.database, record.keyring, tenant=DEMO_TENANT, name=DEMO_ACCOUNT, role="pharmacist", actor="demo",
        now=visit.now,
    )  # fmt: skip
