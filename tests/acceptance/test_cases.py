"""Forty patient stories, through the command line and through the hooks, with both engines, in any order."""

import json
import random
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from service.app import create_app
from service.cli import app as command_line
from service.settings import Settings

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.stem for path in CASES.glob("V*.json"))
ENGINES = ["durable", "compiled"]


def read_case(name):
    return json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))


def expected(case):
    return sorted((one["rule"], one["indicator"]) for one in case["expected"])


def shuffled(request, seed):
    """The same request with the entries of every Bundle in another order."""
    copy = json.loads(json.dumps(request))
    order = random.Random(seed)
    bundles = [*copy["prefetch"].values(), copy["context"].get("draftOrders", {})]
    for bundle in bundles:
        order.shuffle(bundle.get("entry", []))
    keys = list(copy["prefetch"])
    order.shuffle(keys)
    copy["prefetch"] = {key: copy["prefetch"][key] for key in keys}
    return copy


def explained(case, request, engine):
    result = CliRunner().invoke(
        command_line,
        [
            "explain", "-", "--json", "--as-of", case["as_of"], "--profile", case["profile"],
            "--verbosity", case["verbosity"], "--engine", engine,
        ],
        input=json.dumps(request),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_there_are_forty():
    assert len(NAMES) == 40


@pytest.mark.parametrize("name", NAMES)
def test_explain_says_exactly_what_is_expected(name):
    case = read_case(name)
    told = {}
    for engine in ENGINES:
        for seed in (0, 1):
            request = shuffled(case["request"], seed)
            told[engine, seed] = explained(case, request, engine)
    for answer in told.values():
        found = sorted((one["rule"], one["indicator"]) for one in answer["recommendations"])
        assert found == expected(case), case["why"]
        assert answer["failures"] == []
        answer["provenance"].pop("engine")
    # Neither the engine nor the order of the resources changes a byte of the answer
    assert len({json.dumps(answer) for answer in told.values()}) == 1


@pytest.fixture(scope="module")
def clients():
    """One running application per (engine, profile, verbosity), with a clock that the test sets."""
    running = {}
    moment = [datetime.fromisoformat("2026-11-22T12:00:00+00:00")]

    def of(engine, profile, verbosity):
        key = (engine, profile, verbosity)
        if key not in running:
            settings = Settings(dev=True, engine=engine, profile=profile, verbosity=verbosity)
            application = create_app(settings, clock=lambda: moment[0])
            running[key] = TestClient(application, base_url="http://127.0.0.1:8080")
            running[key].__enter__()
        return running[key]

    yield of, moment
    for client in running.values():
        client.__exit__(None, None, None)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NAMES)
def test_hook_says_exactly_what_is_expected(name, engine, clients):
    of, moment = clients
    case = read_case(name)
    moment[0] = datetime.fromisoformat(case["as_of"])
    client = of(engine, case["profile"], case["verbosity"])
    answer = client.post(
        f"/cds-services/vitamin-dk-{case['request']['hook']}", json=shuffled(case["request"], 2)
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    report = body["extension"]["org.dekacard.review"]
    fired = sorted((one["rule"], one["indicator"]) for one in report.get("rules", []))
    assert fired == expected(case), case["why"]
    assert not [rule for rule in case.get("must_not_fire", []) if rule in dict(fired)]
    assert bool(body["cards"]) >= bool(fired)
    shown = [card["indicator"] for card in body["cards"]]
    assert shown.count("critical") >= sum(indicator == "critical" for _, indicator in fired)


@pytest.mark.parametrize("name", ["V01", "V07"])
def test_the_installed_command_says_the_same(name):
    case = read_case(name)
    done = subprocess.run(
        [
            sys.executable, "-m", "service.cli", "explain", "-", "--json", "--as-of", case["as_of"],
            "--profile", case["profile"], "--verbosity", case["verbosity"],
        ],
        input=json.dumps(case["request"]).encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )  # fmt: skip
    found = json.loads(done.stdout)["recommendations"]
    assert sorted((one["rule"], one["indicator"]) for one in found) == expected(case)
