"""The picture from which an authenticator app reads its secret: SVG within the page, so that nobody else sees it."""

from __future__ import annotations

import io
from typing import Final

import segno
from markupsafe import Markup

_QUIET_ZONE: Final = 4  # modules of white around the code (ISO/IEC 18004)


def qr_code(address: str) -> Markup:
    """A QR code as an SVG element; it is always dark on white, because readers expect that."""
    out = io.BytesIO()
    segno.make(address, error="m").save(
        out, kind="svg", xmldecl=False, svgns=True, nl=False, border=_QUIET_ZONE, dark="#000000", light="#ffffff",
        omitsize=True, svgclass="qr", lineclass=None, title="QR code for the authenticator app",
    )  # fmt: skip
    # Made by a library from modules and constants: no text of the address stands in it
    return Markup(out.getvalue().decode("utf-8"))  # noqa: S704
