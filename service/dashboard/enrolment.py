"""Setting a second factor up: the picture for the app, its first code, the recovery codes; at the door and afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service import identity_factor as factor
from service.dashboard.codes import qr_code

if TYPE_CHECKING:
    from starlette.responses import Response

    from service.dashboard.desk import Desk, Visit
    from service.identity_attempts import Tries


class Enrolment:
    """The two pages of one way to a second factor; ``address`` takes the first code, and ``must`` says that the role asks for it."""

    def __init__(self, desk: Desk, tries: Tries, *, address: str, must: bool) -> None:
        self._desk = desk
        self._tries = tries
        self._address = address
        self._must = must

    def show(self, visit: Visit, tenant: str, account: str, *, wrong: bool = False) -> Response:
        """The picture; the same one until it was confirmed.

        Raises:
            RequestError: the account has a second factor already (409).
        """
        record = self._desk.record
        given = factor.begin(
            record.database, record.keyring, tenant=tenant, account=account, now=visit.now
        )
        return visit.page(
            "factor_setup.html", status=401 if wrong else 200, wrong=wrong, secret=given.secret,
            picture=qr_code(given.address), action=self._address, must=self._must,
        )  # fmt: skip

    def take(self, visit: Visit, tenant: str, account: str) -> list[str] | None:
        """The recovery codes of a factor that is in force now; None when the code in the form was not right.

        Raises:
            RequestError: there were too many tries (429).
        """
        record = self._desk.record
        self._tries.code(tenant, account)
        return factor.confirm(
            record.database, record.keyring, tenant=tenant, account=account, now=visit.now,
            code=visit.form.get("code", ""),
        )  # fmt: skip
