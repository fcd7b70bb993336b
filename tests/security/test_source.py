"""What the source must not hold: text that is evaluated, escaping that is switched off, a finding of bandit."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

# Where bandit is answered: our own text whose names are checked, and statements whose only variable is our own name
ANSWERED = {
    "rules/encoding.py": {"B102"},
    "rules/oracle.py": {"B102"},
    "service/alerts/migrations/versions/0002_append_only.py": {"B608"},
    "service/batch/tables.py": {"B608"},
    "service/dashboard/codes.py": {"B704"},
    "service/demo.py": {"B310"},
}
EVALUATING = {"rules/encoding.py", "rules/oracle.py"}
PRODUCT = ("rules", "fhir_adapter", "service")


def bandit(*places):
    done = subprocess.run(
        [sys.executable, "-m", "bandit", "-q", "-r", "-ll", "-f", "json", *places],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return json.loads(done.stdout)


def test_bandit_finds_nothing_of_weight(root):
    report = bandit(*(str(root / one) for one in PRODUCT))
    assert report["errors"] == []
    open_ones = [
        f"{one['filename']}:{one['line_number']} {one['test_id']} {one['issue_text']}"
        for one in report["results"]
        if one["test_id"] not in ANSWERED.get(str(Path(one["filename"]).relative_to(root)), set())
    ]
    assert open_ones == []


def test_bandit_would_find_a_planted_weakness(tmp_path):
    (tmp_path / "weak.py").write_text(
        "import hashlib, subprocess\n\ndef f(x):\n    subprocess.run(x, shell=True)\n"
        "    return hashlib.md5(x).hexdigest()\n"
    )
    found = {one["test_id"] for one in bandit(str(tmp_path))["results"]}
    assert {"B602", "B324"} <= found


def evaluations(text):
    """Calls of eval, exec and their kind."""
    return [
        node.func.id
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"eval", "exec", "compile", "__import__"}
    ]


def python_files(root):
    return [file for part in PRODUCT for file in sorted((root / part).rglob("*.py"))]


def test_nothing_evaluates_text_but_the_two_places_that_compile_rules(root):
    found = {
        str(file.relative_to(root)) for file in python_files(root) if evaluations(file.read_text())
    }
    assert found == EVALUATING
    assert evaluations("x = eval('1')") == ["eval"]


def test_nothing_unpickles_or_reads_xml(root):
    """Formats that run code or fetch files while they are read are not read at all."""
    barred = {"pickle", "marshal", "shelve", "xml", "lxml", "defusedxml", "xmlrpc", "dill"}
    found = {}
    for file in python_files(root):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if barred & {name.partition(".")[0] for name in names}:
                found[str(file.relative_to(root))] = names
    assert found == {}


def switched_off(text):
    """Words of a template that let text through unescaped, or scripts in."""
    plain = text.replace(" ", "")
    return [
        one
        for one in (
            "|safe",
            "autoescapefalse",
            "{%autoescape",
            "javascript:",
            "onclick=",
            "onerror=",
        )
        if one in plain
    ]


def test_no_template_switches_escaping_off(root):
    templates = sorted((root / "service" / "dashboard" / "templates").rglob("*.html"))
    assert templates
    assert {one.name: switched_off(one.read_text()) for one in templates} == {
        one.name: [] for one in templates
    }
    assert switched_off("{{ name | safe }}") == ["|safe"]


def test_the_templates_escape_and_know_their_names():
    from jinja2 import Environment, StrictUndefined, UndefinedError

    from service.dashboard import templating

    (environment,) = [one for one in vars(templating).values() if isinstance(one, Environment)]
    assert environment.undefined is StrictUndefined
    assert environment.from_string("{{ x }}").render(x="<b>&'\"") == "&lt;b&gt;&amp;&#39;&#34;"
    with pytest.raises(UndefinedError):
        environment.from_string("{{ gone }}").render()


def test_no_client_is_made_that_skips_certificates(root):
    """``verify=False`` stands nowhere: httpx2 verifies unless it is told otherwise."""
    found = [
        str(file)
        for file in python_files(root)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.keyword)
        and node.arg in {"verify", "check_hostname"}
        and isinstance(node.value, ast.Constant)
        and node.value.value is False
    ]
    assert found == []


def test_a_browser_keeps_one_choice_and_nothing_else(root):
    """Whether single keys are off: no name, no number of an alert, nothing else stays in a browser."""
    static = root / "service" / "dashboard" / "static"
    scripts = {file.name: file.read_text(encoding="utf-8") for file in static.rglob("*.js")}
    kept = re.compile(
        r"(localStorage|sessionStorage|indexedDB|caches|document\.cookie)\W*(\w*)\W*(\w*)"
    )
    found = {(name, *one) for name, text in scripts.items() for one in kept.findall(text)}
    assert found == {
        ("dashboard.js", "localStorage", "getItem", "KEYS_OFF"),
        ("dashboard.js", "localStorage", "setItem", "KEYS_OFF"),
    }
