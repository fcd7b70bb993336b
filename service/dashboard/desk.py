"""Routes of the dashboard: each states the right it needs, and one that states none cannot be made.

A handler is plain synchronous code; it runs in a thread, because the store is synchronous.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal
from zoneinfo import ZoneInfo

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from rules.errors import DekacardError, NotTrusted, RequestError, Unavailable
from service.alerts.access import RIGHTS
from service.alerts.values import AuditEntry
from service.dashboard.shield import armour, refuse_foreign_form, refuse_other_origins
from service.dashboard.templating import render
from service.dashboard.upload_form import read_upload
from service.identity import SignedIn, session_of

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.datastructures import UploadFile
    from starlette.requests import Request

    from service.alerts.access import Right, Role
    from service.alerts.record import Record
    from service.parts import Parts

_log = logging.getLogger("dekacard.dashboard")
Need = Literal["anyone", "signed-in"]
_FOR_ALL: Final = frozenset({"anyone", "signed-in"})
_HOMES: Final = ("/work", "/audit", "/accounts")
_MOST_FIELDS: Final = 400
_LARGEST_FORM: Final = 256 * 1024
_SAID: Final = {
    401: "Please sign in again; nothing was changed.",
    403: "Your role does not allow this, or the form did not come from this page.",
}


class _RowNumber(IntegerConvertor):
    """The number of a row in an address, ``{number:row}``; what no database could hold leads nowhere."""

    regex = "[0-9]{1,18}"


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """One request on its way through a handler."""

    desk: Desk
    path: dict[str, Any]
    query: dict[str, str]
    form: dict[str, str]
    cookie: str
    step: str
    browser: str
    address: str
    nonce: str
    now: datetime
    signed_in: SignedIn | None
    file: UploadFile | None = None

    @property
    def who(self) -> SignedIn:
        """Whoever signed in; only routes for anyone may find nobody."""
        if self.signed_in is None:
            raise NotTrusted("no session")
        return self.signed_in

    @property
    def here(self) -> datetime:
        """Now, as the clock on the wall of the site shows it: days are counted in its zone."""
        return self.now.astimezone(self.desk.zone)

    def page(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A page with what every page needs."""
        body = render(
            template, who=self.signed_in, nonce=self.nonce, now=self.here, dev=self.desk.parts.settings.dev,
            idle=int(self.desk.idle.total_seconds()), **values,
        )  # fmt: skip
        return HTMLResponse(body, status_code=status)

    def go(self, address: str) -> RedirectResponse:
        """Send the browser on after a form."""
        return RedirectResponse(address, status_code=303)


Handler = Callable[[Visit], Response]


class Desk:
    """Collects the routes, and lets nobody through whose role lacks the right."""

    def __init__(self, parts: Parts, record: Record) -> None:
        self.parts = parts
        self.record = record
        self.routes: list[Route] = []
        self.needs: dict[tuple[str, str], Right | Need] = {}
        self.largest_file: dict[str, int] = {}  # in bytes, for the paths that take one
        self.zone = ZoneInfo(parts.settings.zone)
        self.secure = not parts.settings.dev
        # The prefix binds the cookie to this host and to TLS; on loopback there is no TLS to bind it to
        self.cookie = "__Host-dekacard" if self.secure else "dekacard-dev"
        self.step_cookie = f"{self.cookie}-step"
        self.idle = timedelta(minutes=parts.settings.session_idle_minutes)

    def route(
        self,
        method: Literal["GET", "POST"],
        path: str,
        need: Right | Need,
        handler: Handler,
        *,
        keeps_awake: bool = True,
        from_elsewhere: bool = False,
    ) -> None:
        """Offer ``handler`` at ``path`` to whoever has the right.

        ``keeps_awake`` is false where the browser asks by itself: that is no use that keeps a session open.
        ``from_elsewhere`` is true where another server sends the form, which must prove itself by what it holds.
        """
        self.needs[method, path] = need
        register_url_convertor("row", _RowNumber())

        async def endpoint(request: Request) -> Response:
            return await self._answer(
                request, need, handler, keeps_awake=keeps_awake, from_elsewhere=from_elsewhere
            )

        self.routes.append(Route(path, endpoint, methods=[method], include_in_schema=False))

    def note(self, visit: Visit, action: str, about: str, *, patient: str = "") -> None:
        """Write down who looked at what."""
        self.record.audit(
            AuditEntry(
                tenant=visit.who.tenant,
                at=visit.now,
                actor=visit.who.actor,
                action=action,
                object=about,
                patient=patient,
            )
        )

    def home_of(self, role: Role) -> str:
        """The first page that this role may see."""
        mine = (path for path in _HOMES if self.needs.get(("GET", path)) in RIGHTS[role])
        return next(mine, "/account")

    async def _answer(
        self, request: Request, need: Right | Need, handler: Handler, *, keeps_awake: bool, from_elsewhere: bool,
    ) -> Response:  # fmt: skip
        nonce = secrets.token_urlsafe(18)
        visit = Visit(
            desk=self, path=dict(request.path_params), query=dict(request.query_params), form={},
            cookie=request.cookies.get(self.cookie, ""), nonce=nonce, now=self.parts.clock(), signed_in=None,
            address=request.client.host if request.client else "",
            step=request.cookies.get(self.step_cookie, ""), browser=request.headers.get("user-agent", ""),
        )  # fmt: skip
        try:
            if request.method == "POST":
                if not from_elsewhere:
                    refuse_other_origins(request.headers)
                visit = await self._filled(visit, request, need)
            response = await run_in_threadpool(
                self._serve, visit, request.method, need, handler, keeps_awake=keeps_awake
            )
        except DekacardError as error:
            response = _refusal(visit, error)
        if "hx-request" in request.headers:
            _tell_htmx(request.method, response)
        if visit.file is not None:
            await visit.file.close()
        return armour(response, nonce, over_tls=self.secure)

    async def _filled(self, visit: Visit, request: Request, need: Right | Need) -> Visit:
        """The visit with its form; a file is read only from whoever may send it, and only where one is expected."""
        largest = self.largest_file.get(request.url.path)
        if largest is None:
            return msgspec.structs.replace(visit, form=await _form(request))
        admitted = await run_in_threadpool(
            self._serve, visit, "GET", need, lambda _: Response(status_code=204), keeps_awake=True
        )
        if admitted.status_code != 204:  # noqa: PLR2004 - HTTP: what the line above says to whoever may
            is_known = admitted.status_code == 403  # noqa: PLR2004 - HTTP: signed in, but not allowed
            raise NotTrusted("a file from nobody", status=403 if is_known else 401)
        form, file = await _form_with_file(request, largest, self.parts.settings.runs_dir)
        return msgspec.structs.replace(visit, form=form, file=file)

    def _serve(
        self, visit: Visit, method: str, need: Right | Need, handler: Handler, *, keeps_awake: bool
    ) -> Response:
        try:
            who = session_of(
                self.record.database, visit.cookie, visit.now, is_use=keeps_awake, idle=self.idle
            )
        except NotTrusted:
            if need != "anyone":
                if method == "GET":
                    return visit.go("/login")
                raise
            return handler(visit)
        visit = msgspec.structs.replace(visit, signed_in=who)
        try:
            if method == "POST":
                refuse_foreign_form(visit.form.get("form_token", ""), who.form_token)
            if need not in _FOR_ALL and not who.may(need):  # type: ignore[arg-type]
                raise NotTrusted(f"role {who.role} lacks {need}", status=403)
            return handler(visit)
        except DekacardError as error:
            return _refusal(visit, error)


def _tell_htmx(method: str, response: Response) -> None:
    """What htmx does with an answer that is not simply the next content.

    Whoever has no session any more leaves the whole page, so that nothing of it stays on an unattended screen; and a
    refused form keeps the address of the page it stood on.
    """
    if response.headers.get("location") == "/login" or response.status_code == 401:  # noqa: PLR2004 - HTTP
        response.status_code = 401
        response.headers["HX-Redirect"] = "/login"
        del response.headers["location"]
    elif method == "POST" and "location" not in response.headers:
        response.headers["HX-Replace-Url"] = "false"


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; a file, or more than a form of ours holds, is refused."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise RequestError("This is not a form.", status=415, code="not-supported")
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > _LARGEST_FORM:
        raise RequestError("The form is too large.", status=413, code="too-long")
    async with request.form(max_fields=_MOST_FIELDS, max_files=0) as form:
        return {name: value for name, value in form.items() if isinstance(value, str)}


async def _form_with_file(
    request: Request, largest: int, runs: Path
) -> tuple[dict[str, str], UploadFile | None]:
    """The fields of a form and its file named ``file``, which is closed after the answer."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise RequestError("This is not a form with a file.", status=415, code="not-supported")
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > largest + _LARGEST_FORM:
        raise RequestError("The file is too large.", status=413, code="too-long")
    form = await read_upload(request, runs)
    file = form.get("file")
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    return fields, None if isinstance(file, str) else file


def _refusal(visit: Visit, error: DekacardError) -> Response:
    """A page that says what to do; the reason of distrust goes to the log alone."""
    if isinstance(error, NotTrusted):
        _log.warning("dashboard: %s", error.reason)
        return visit.page(
            "error.html", status=error.status, says=_SAID.get(error.status, "Not allowed.")
        )
    if isinstance(error, Unavailable):
        return visit.page(
            "error.html",
            status=503,
            says="The record does not answer. Hooks are answered all the same.",
        )
    if isinstance(error, RequestError):
        return visit.page("error.html", status=error.status, says=str(error))
    _log.error("dashboard: %s", type(error).__name__)
    return visit.page("error.html", status=500, says="This page could not be made.")
