"""Other projects that install from the package index, each in an environment of its own, reading the same lines.

None of them reviews a population; what can be compared is how they get at a resource, which comes before any rule.
Ratios are to ``orjson.loads`` of the same lines in the same process; below 1 is slower.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_LINES = 4_000
_TIMED = """
import json, pathlib, sys, time
import orjson

lines = []
for kind in ("Observation", "MedicationRequest", "Condition"):
    path = sorted(pathlib.Path(sys.argv[1]).glob(kind + ".*"))[0]
    with path.open("rb") as file:
        lines += [line for line, _ in zip(file, range(int(sys.argv[2]) // 3))]


def best(work):
    taken = []
    for _ in range(3):
        began = time.process_time()
        for line in lines:
            work(orjson.loads(line))
        taken.append(time.process_time() - began)
    return min(taken)


yardstick = best(lambda resource: None)
rate = yardstick / best(WORK)
print(json.dumps({"ratio": rate, "version": version}))
"""
_CODES = "code = '6301-6' or code = '1989-3' or code = '62292-8'"
_PEERS = {
    "HealthChain: every line into its FHIR model": (
        "healthchain",
        """
from importlib.metadata import version as find
from healthchain.fhir import create_resource_from_dict
version = "healthchain " + find("healthchain")
WORK = lambda resource: create_resource_from_dict(resource, resource["resourceType"])
""",
    ),
    "fhirpathpy: one expression that picks INR and 25(OH)D": (
        "fhirpathpy",
        f"""
from importlib.metadata import version as find
from fhirpathpy import compile as compiled
version = "fhirpathpy " + find("fhirpathpy")
WORK = compiled("code.coding.where({_CODES}).exists()")
""",
    ),
    "fhirpathrs: the same expression": (
        "fhirpathrs",
        f"""
from importlib.metadata import version as find
from fhirpathrs import evaluate
version = "fhirpathrs " + find("fhirpathrs")
WORK = lambda resource: evaluate("code.coding.where({_CODES}).exists()", resource)
""",
    ),
}  # fmt: skip


def measure_peers(folder: Path) -> dict[str, Any]:
    """Speed against orjson, by project; the reason where one could not be run."""
    told: dict[str, Any] = {}
    for name, (package, work) in _PEERS.items():
        with tempfile.TemporaryDirectory() as beside:
            try:
                python = _environment(Path(beside), package)
                command = [python, "-c", work + _TIMED, str(folder), str(_LINES)]
                done = subprocess.run(command, check=True, capture_output=True, timeout=600)
            except (OSError, subprocess.SubprocessError) as error:
                said = getattr(error, "stderr", b"") or str(error).encode()
                told[name] = {"not measured": said.decode()[-200:]}
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            told[name] = {
                "of the speed of orjson": round(found["ratio"], 4),
                "version": found["version"],
            }
    return told


def _environment(folder: Path, package: str) -> str:
    """The Python of a fresh environment with the package and orjson."""
    home = folder / "home"
    python = str(home / "bin" / "python")
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv:
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(home)], check=True)
        install = [uv, "pip", "install", "-q", "--python", python]
    else:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        install = [python, "-m", "pip", "install", "-q"]
    subprocess.run([*install, package, "orjson"], check=True, capture_output=True, timeout=600)
    return python
