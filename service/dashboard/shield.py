"""What stands around each page: the headers that confine it, and the proof that a form came from us."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from rules.errors import NotTrusted

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.responses import Response

_POLICY: Final = (
    "default-src 'none'; script-src 'nonce-{nonce}' 'strict-dynamic'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types htmx"
)
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_ONE_YEAR: Final = 31_536_000


def armour(response: Response, nonce: str, *, over_tls: bool) -> Response:
    """Add the headers that every page carries; pages about patients are never stored on the way."""
    response.headers["Content-Security-Policy"] = _POLICY.format(nonce=nonce)
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("Cache-Control", "no-store")
    if over_tls:
        response.headers["Strict-Transport-Security"] = f"max-age={_ONE_YEAR}; includeSubDomains"
    return response


def refuse_other_origins(headers: Headers) -> None:
    """Refuse a form that another site sent.

    Raises:
        NotTrusted: neither Sec-Fetch-Site nor Origin says that the form is ours (403).
    """
    site = headers.get("sec-fetch-site")
    origin, host = headers.get("origin"), headers.get("host", "")
    ours = site == "same-origin" if site else bool(origin) and urlsplit(origin or "").netloc == host
    if not ours:
        raise NotTrusted("a form from another origin", status=403)


def refuse_foreign_form(given: str, expected: str) -> None:
    """Refuse a form without the token of this session.

    Raises:
        NotTrusted: the token is another one, or missing (403).
    """
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise NotTrusted("a form without the token of its session", status=403)
