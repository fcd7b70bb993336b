"""Fetches the assets that pages are served with, checks them against their lock, and lays them out.

    python scripts/vendor.py            write the files that the lock describes
    python scripts/vendor.py --check    only compare; status 1 when a file differs
    python scripts/vendor.py --lock     write the lock anew from what npm gives (then review the difference)

Nothing of this runs at installation: the files are committed, so a hospital needs no Node. ``npm pack`` fetches the
archive; its SHA-512 must be the one in the lock.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "service" / "dashboard" / "static" / "vendor.lock.json"


def main() -> int:
    """Do what the command line says; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--lock", action="store_true")
    wanted = parser.parse_args()
    locked = json.loads(LOCK.read_text(encoding="utf-8"))
    different = []
    for package in locked["packages"]:
        archive = _pack(package)
        digest = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
        if wanted.lock:
            package["integrity"] = digest
        elif digest != package["integrity"]:
            sys.stderr.write(f"{package['name']}: {digest} is not what the lock says\n")
            return 1
        for target, body in _files(package, archive).items():
            if wanted.check:
                if not target.is_file() or target.read_bytes() != body:
                    different.append(str(target.relative_to(ROOT)))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(body)
    if wanted.lock:
        LOCK.write_text(json.dumps(locked, indent=2) + "\n", encoding="utf-8")
    for name in different:
        sys.stderr.write(f"{name} differs from the package\n")
    return 1 if different else 0


def _pack(package: dict[str, Any]) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(
            ["npm", "pack", "--silent", f"{package['name']}@{package['version']}"],
            cwd=place,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=300,
        )
        (archive,) = Path(place).glob("*.tgz")
        return archive.read_bytes()


def _files(package: dict[str, Any], archive: bytes) -> dict[Path, bytes]:
    with tempfile.TemporaryFile() as opened:
        opened.write(archive)
        opened.seek(0)
        with tarfile.open(fileobj=opened, mode="r:gz") as members:
            found = {}
            for inside, target in package["files"].items():
                member = members.extractfile(f"package/{inside}")
                if member is None:
                    raise SystemExit(f"{package['name']} has no file {inside}")
                found[ROOT / target] = _without_map(member.read())
            return found


def _without_map(body: bytes) -> bytes:
    """A source map is not shipped, so nobody is told to ask for it."""
    lines = body.splitlines(keepends=True)
    return b"".join(line for line in lines if b"sourceMappingURL=" not in line)


if __name__ == "__main__":
    sys.exit(main())
