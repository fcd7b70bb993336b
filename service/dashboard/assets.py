"""Style sheets and scripts, served from memory under an address that names their content."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from starlette.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request

_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_SERVED: Final = (
    "vendor/bootstrap.min.css",
    "dashboard.css",
    "screens.css",
    "doors.css",
    "mark.svg",
)
# One file, because its parts must run in this order before the page is looked at: an extension that came later would
# find htmx at work without the policy that Trusted Types demand, and without the check of nonces
_MADE: Final = {
    "page.js": (
        "vendor/htmx.min.js",
        "vendor/hx-csp.min.js",
        "vendor/hx-sse.min.js",
        "dashboard.js",
    )
}


class Asset:
    """One file: its bytes, its type, and the digest in its address."""

    def __init__(self, name: str) -> None:
        folder = files("service.dashboard") / "static"
        self.body = b";\n".join((folder / part).read_bytes() for part in _MADE.get(name, (name,)))
        self.type = _TYPES[name.rpartition(".")[2]]
        self.digest = hashlib.sha256(self.body).hexdigest()[:16]
        self.address = f"/static/{self.digest}/{name}"


@lru_cache(maxsize=1)
def assets() -> dict[str, Asset]:
    """Every file that may be asked for, by name; nothing else in the folder is ever read."""
    return {name: Asset(name) for name in (*_SERVED, *_MADE)}


def address_of(name: str) -> str:
    """The address of a file, which changes with its content."""
    return assets()[name].address


async def serve_asset(request: Request) -> Response:
    """One file; it may be kept for ever, because a changed one has another address."""
    asset = assets().get(request.path_params["name"])
    if asset is None or asset.digest != request.path_params["digest"]:
        return PlainTextResponse("There is nothing at this address.", status_code=404)
    return Response(
        asset.body,
        media_type=asset.type,
        headers={
            "Cache-Control": "public, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
        },
    )
