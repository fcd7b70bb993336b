"""Writes docs/threat-model.md, docs/safety-case.md and docs/asvs.md from the tables in docs/trust.

python scripts/trust_pages.py          # writes the pages
python scripts/trust_pages.py --check  # says whether they are up to date, and whether every named test exists
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from service.proof import unknown_tests  # noqa: E402 - the checkout itself, wherever the script is started

PROVEN = ("inputs", "attacks", "faults", "data", "cryptography")
TABLES = ROOT / "docs" / "trust"
MADE = "Made by `python scripts/trust_pages.py` from `docs/trust`; do not edit.\n"
CHAPTERS = {
    1: "Encoding and sanitisation", 2: "Validation and business logic", 3: "Web front end", 4: "Interfaces", 5: "Files",
    6: "Authentication", 7: "Sessions", 8: "Authorisation", 9: "Self-contained tokens", 10: "OAuth and OpenID Connect",
    11: "Cryptography", 12: "Communication", 13: "Configuration", 14: "Data protection", 15: "Architecture",
    16: "Logging and errors", 17: "WebRTC",
}  # fmt: skip


def table(name: str) -> dict[str, Any]:
    """One file of docs/trust."""
    read: dict[str, Any] = yaml.safe_load((TABLES / f"{name}.yaml").read_text(encoding="utf-8"))
    return read


def links(tests: Iterable[str]) -> str:
    """Tests as links to their files."""
    return "<br>".join(f"[{one.rpartition('::')[2]}](../{one.partition('::')[0]})" for one in tests)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _proof(row: dict[str, Any]) -> str:
    """What proves a row: tests or a reason, the command at full size, when a test was seen to fail."""
    told = [links(row.get("tests", ())) or row["why"]]
    if "command" in row:
        told.append(f"full size: `{row['command']}`")
    if "seen" in row:
        told.append(f"at least one seen failing without its defence: {row['seen']}")
    return "<br>".join(told)


def threat_model() -> str:
    """The page of inputs, attacks and faults."""
    told = table("threats")
    out = ["# Threat model\n", MADE]
    out.append(
        "dekacard takes requests of machines it knows (EHRs), files of analysts, and decisions of people who signed in. It "
        "trusts none of their content. What is worth attacking: the data of patients, the answers, the trail, the keys.\n"
    )
    heads = {
        "inputs": ("Hostile input", "input"),
        "attacks": ("Attacks seen elsewhere", "attack"),
        "faults": ("Faults", "fault"),
    }
    for part, (head, word) in heads.items():
        out += [f"## {head}\n", f"| {word} | what stands against it | proven by |", "|---|---|---|"]
        for row in told[part]:
            out.append(f"| {_cell(row['what'])} | {_cell(row['defence'])} | {_proof(row)} |")
        out.append("")
    out += [
        "## Data, and how they are kept\n",
        "| data | kept | shown | logged | proven by |",
        "|---|---|---|---|---|",
    ]
    out += [
        f"| {r['what']} | {r['kept']} | {r['shown']} | {r['logged']} | {_proof(r)} |"
        for r in told["data"]
    ]
    out += [
        "",
        "## Cryptography\n",
        "| what | for | with | proven by |",
        "|---|---|---|---|",
    ]
    out += [
        f"| {r['what']} | {r['for']} | {r['with']} | {_proof(r)} |" for r in told["cryptography"]
    ]
    out += ["", "## What costs much, and its bounds\n", "| what | bound |", "|---|---|"]
    out += [f"| {row['what']} | {row['bound']} |" for row in told["costly"]]
    return "\n".join(out) + "\n"


def safety_case() -> str:
    """The page of hazards."""
    told = table("hazards")
    out = ["# Safety case\n", MADE]
    if told["reviewed"] is None:
        out.append("**Draft: no clinician has reviewed or signed this page.**\n")
    out.append(
        "What could hurt a patient through this program, and what stands against it. The program advises; it orders, "
        "changes and withholds nothing. [SECURITY](../SECURITY.md) states the intended use.\n"
    )
    for name, hazard in told["hazards"].items():
        out += [f"## {name.replace('-', ' ').capitalize()}\n", hazard["harm"] + "\n"]
        out += [f"Severity: {hazard['severity']}. Causes: {', '.join(hazard['causes'])}.\n"]
        out += ["| control | proven by |", "|---|---|"]
        out += [f"| {one['what']} | {links(one['tests'])} |" for one in hazard["controls"]]
        out.append("")
    return "\n".join(out)


def asvs() -> str:
    """The page of the verification standard."""
    told = table("asvs")
    lines, proofs = told["lines"], told["proofs"]
    proven = sum("proof" in one for one in lines.values())
    out = ["# OWASP ASVS 5.0.0, levels 1 and 2\n", MADE]
    out.append(
        f"{len(lines)} requirements: {proven} linked to tests, {len(lines) - proven} with the reason why not. The words are "
        "ours; the requirements stand in the [standard](https://owasp.org/www-project-application-security-verification-standard/) "
        "(CC BY-SA 4.0).\n"
    )
    for number, title in CHAPTERS.items():
        out += [
            f"## {number}. {title}\n",
            "| | level | about | proven by, or why not |",
            "|---|---|---|---|",
        ]
        for name, line in lines.items():
            if name.startswith(f"V{number}."):
                proof = links(proofs[line["proof"]]) if "proof" in line else _cell(line["why"])
                out.append(f"| {name} | {line['level']} | {_cell(line['about'])} | {proof} |")
        out.append("")
    return "\n".join(out)


PAGES = {"threat-model": threat_model, "safety-case": safety_case, "asvs": asvs}


def named_tests() -> Iterator[str]:
    """Every test that one of the tables names."""
    threats = table("threats")
    for part in PROVEN:
        for row in threats[part]:
            yield from row.get("tests", ())
    for hazard in table("hazards")["hazards"].values():
        for control in hazard["controls"]:
            yield from control["tests"]
    for tests in table("asvs")["proofs"].values():
        yield from tests


def bare_rows() -> list[str]:
    """Rows with neither a test nor a reason, and reasons beside which a test stands."""
    threats, lines = table("threats"), table("asvs")
    rows = [(row["what"], row.get("tests"), row.get("why")) for part in PROVEN for row in threats[part]]  # fmt: skip
    rows += [(name, line.get("proof"), line.get("why")) for name, line in lines["lines"].items()]
    bare = [what for what, tests, why in rows if bool(tests) == bool(why)]
    for name, hazard in table("hazards")["hazards"].items():
        bare += [name] if not hazard["controls"] else []
        bare += [one["what"] for one in hazard["controls"] if not one["tests"]]
    used = {line["proof"] for line in lines["lines"].values() if "proof" in line}
    return bare + sorted(used ^ set(lines["proofs"]))


def main(arguments: list[str]) -> int:
    """Write or check the pages; 1 when something is missing or stale."""
    bad = [f"no such test: {one}" for one in unknown_tests(ROOT, sorted(set(named_tests())))]
    bad += [f"neither test nor reason, or both: {one}" for one in bare_rows()]
    for name, write in PAGES.items():
        page, text = ROOT / "docs" / f"{name}.md", write()
        if "--check" not in arguments:
            page.write_text(text, encoding="utf-8")
        elif not page.exists() or page.read_text(encoding="utf-8") != text:
            bad.append(f"docs/{name}.md is not up to date: python scripts/trust_pages.py")
    for one in bad:
        print(one, file=sys.stderr)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
