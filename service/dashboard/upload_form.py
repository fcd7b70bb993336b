"""A form with a file: what is more than fits into memory waits on the disk of the runs, never in the system's /tmp.

/tmp is small memory in every file of deployment that we ship, and an upload may be larger than all of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Final, cast

from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from rules.errors import RequestError

if TYPE_CHECKING:
    from typing import BinaryIO

    from starlette.datastructures import FormData, Headers
    from starlette.requests import Request

_MOST_FIELDS: Final = 20
INCOMING: Final = ".incoming"  # below the folder of the runs; no client is called so


async def read_upload(request: Request, runs: Path) -> FormData:
    """The fields and the one file of a form; the caller closes it.

    Raises:
        RequestError: there is no room for the file (507).
        HTTPException: it is no such form (400).
    """
    folder = runs / INCOMING
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with aclosing(request.stream()) as stream:
            return await _Parser(request.headers, stream, folder).parse()
    except MultiPartException as error:
        raise HTTPException(400, error.message) from None
    except OSError:
        raise RequestError(
            "The server has no room for this file.", status=507, code="no-store"
        ) from None


class _Parser(MultiPartParser):
    """Starlette's own, except for where a large file waits."""

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], folder: Path) -> None:
        super().__init__(headers, stream, max_files=1, max_fields=_MOST_FIELDS)
        self._folder = folder

    def on_headers_finished(self) -> None:
        """A file has begun, or a field."""
        super().on_headers_finished()
        upload = self._current_part.file
        if upload is not None:
            upload.file.close()  # nothing was written to it
            # Without a name on the disk: a process that dies leaves nothing behind
            waiting = SpooledTemporaryFile(max_size=self.spool_max_size, dir=str(self._folder))  # noqa: SIM115
            self._files_to_close_on_error.append(waiting)
            upload.file = cast("BinaryIO", waiting)
