"""What every test may ask for: where the project lies, and which files belong to it."""

import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the suite in the background lets it ignore Ctrl-C, and all that tests start would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker from which docs/cds-hooks-conformance.md is made."""
    config.addinivalue_line(
        "markers", "requirement(*ids): the CDS Hooks requirements (C1 to C77) that this test proves"
    )


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def project_files() -> tuple[Path, ...]:
    """Every file of the project: tracked by git, or new and not ignored; vendored and locked ones left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name]
    assert names, "git lists no file: the tests are run from a clone"
    kept = [
        n for n in names if "/vendor/" not in n and not n.endswith((".lock", "package-lock.json"))
    ]
    return tuple(path for name in sorted(kept) if (path := ROOT / name).is_file())
