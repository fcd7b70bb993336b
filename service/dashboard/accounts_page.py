"""The accounts of a client, for its administrator: make, invite, change, sign out, disable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rules.errors import RequestError
from service import identity_factor as factor
from service.alerts.access import ROLES, disable_account, new_account
from service.identity import end_sessions
from service.identity_accounts import (
    accounts_of,
    change_role,
    enable_account,
    refuse_bad_name,
)
from service.identity_invitations import invite

if TYPE_CHECKING:
    from starlette.responses import Response

    from service.dashboard.desk import Desk, Visit

_DONE: Final = {
    "disable": "The account is disabled; it is signed out everywhere, and its tokens are worth nothing.",
    "enable": "The account is open again; its tokens of before stay worthless.",
    "end-sessions": "The account is signed out everywhere.",
    "reset-factor": "The second factor is reset; the account is signed out everywhere.",
    "role": "The role was changed; the account is signed out everywhere.",
}


class AccountsPage:
    """Lists and changes accounts; the administrator's own are changed on the page of one's own account."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        desk.route("GET", "/accounts", "manage-accounts", self.show)
        desk.route("POST", "/accounts/new", "manage-accounts", self.make)
        desk.route("POST", "/accounts/change", "manage-accounts", self.change)

    def show(self, visit: Visit) -> Response:
        """The list."""
        return self._page(visit, done=_DONE.get(visit.query.get("done", ""), ""))

    def make(self, visit: Visit) -> Response:
        """Make an account, and show its one-time token once."""
        name = visit.form.get("name", "").strip()
        try:
            refuse_bad_name(name)
            new_account(
                self._desk.record.database, self._desk.record.keyring, tenant=visit.who.tenant, name=name,
                role=visit.form.get("role", ""), actor=visit.who.actor, now=visit.now,
            )  # fmt: skip
        except RequestError as error:
            return self._page(visit, problem=f"Not done: {error}", status=error.status)
        return self._invite(visit, name)

    def change(self, visit: Visit) -> Response:
        """Do one thing to one account."""
        action, name = visit.form.get("action", ""), visit.form.get("name", "")
        if name == visit.who.account:
            return self._page(visit, problem="Your own account is changed by yourself.", status=409)
        try:
            if action == "invite":
                return self._invite(visit, name)
            self._do(visit, action, name)
        except RequestError as error:
            return self._page(visit, problem=f"Not done: {error}", status=error.status)
        return visit.go(f"/accounts?done={action}")

    def _do(self, visit: Visit, action: str, name: str) -> None:
        record = self._desk.record
        database, keyring = record.database, record.keyring
        given: dict[str, Any] = {
            "tenant": visit.who.tenant, "actor": visit.who.actor, "now": visit.now,
        }  # fmt: skip
        if action == "role":
            change_role(database, keyring, name=name, role=visit.form.get("role", ""), **given)
        elif action == "disable":
            disable_account(database, keyring, name=name, **given)
            end_sessions(database, keyring, account=name, **given)
        elif action == "enable":
            enable_account(database, keyring, name=name, **given)
        elif action == "reset-factor":
            factor.reset(database, keyring, account=name, **given)
        elif action == "end-sessions":
            end_sessions(database, keyring, account=name, **given)
        else:
            raise RequestError("there is no such action.", status=422)

    def _invite(self, visit: Visit, name: str) -> Response:
        record = self._desk.record
        token = invite(
            record.database, record.keyring, tenant=visit.who.tenant, account=name, actor=visit.who.actor,
            now=visit.now,
        )  # fmt: skip
        return self._page(visit, token=token, invited=name)

    def _page(
        self, visit: Visit, *, problem: str = "", done: str = "", status: int = 200, token: str = "", invited: str = "",
    ) -> Response:  # fmt: skip
        return visit.page(
            "accounts.html", status=status, problem=problem, done=done, token=token, invited=invited, roles=ROLES,
            people=accounts_of(self._desk.record.database, visit.who.tenant, visit.now),
        )  # fmt: skip
