"""What is counted and logged: an allow-list of keys, figures that add up, readiness part by part."""

import ast
import io
import json
import logging
import re
from datetime import UTC, datetime, timedelta

import pytest
import structlog
import yaml
from fastapi.testclient import TestClient

from rules.errors import EngineError
from service import telemetry_log
from service.alerts.tally import ALL_RULES, Tally
from service.app import create_app
from service.bootstrap import build_engine
from service.cds_hooks.prefetch import Supply
from service.settings import Settings
from service.telemetry import MOST_TIMES, Telemetry
from service.telemetry_metrics import COUNTERS, GAUGES, TIMES, Metrics
from service.telemetry_monitors import Day, course_of, rule_monitors
from tests.service.dashboard.production import settings_in

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BASE = "http://127.0.0.1:8080"
VIEW = "/cds-services/vitamin-dk-patient-view"
DAY = 86_400_000_000
LOGGED_BY = {(whom, how) for whom in ("log", "_log") for how in ("debug", "info", "warning", "error", "critical")}  # fmt: skip


@pytest.fixture
def log():
    """The log of this process, as the service writes it; put back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("dekacard", "uvicorn")}
    written = io.BytesIO()
    telemetry_log.dropped.clear()
    telemetry_log.configure_logs("info", written)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:], root.level = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()
    telemetry_log.dropped.clear()


@pytest.fixture
def app():
    return create_app(Settings(dev=True, engine="compiled"), clock=lambda: NOON)


@pytest.fixture
def client(app):
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as running:
        yield running


def figure(client, line):
    return sum(
        float(text.rpartition(" ")[2])
        for text in client.get("/metrics").text.splitlines()
        if text.startswith(line)
    )


class TestLog:
    def test_keys_off_the_list_are_dropped_and_counted(self, log):
        telemetry_log.teller()("call", hook="patient-view", patient="Ada", name="Lovelace", ms=3)
        (line,) = log()
        assert line["hook"] == "patient-view"
        assert line["ms"] == 3
        assert not {"patient", "name"} & line.keys()
        assert telemetry_log.dropped["key"] == 2

    def test_values_that_are_no_plain_values_are_dropped(self, log):
        telemetry_log.teller()("call", reason=object(), hook="h" * 5000)
        (line,) = log()
        assert "reason" not in line
        assert len(line["hook"]) == telemetry_log.LONGEST
        assert telemetry_log.dropped["value"] == 1

    def test_a_line_break_in_what_is_told_begins_no_line(self, log):
        forged = 'x\n{"time":"2026-11-22T12:00:00Z","event":"signed in"}\r\n\u2028{}'
        telemetry_log.teller()("call", reason=forged)
        logging.getLogger("dekacard.dashboard").warning("dashboard: %s", forged)
        told = log()
        assert len(told) == 2
        assert told[0]["reason"] == forged
        assert forged in told[1]["event"]

    def test_other_libraries_are_named_and_not_quoted(self, log):
        logging.getLogger("httpx2").warning("GET %s", "https://ehr.example/Patient/ada-lovelace")
        (line,) = log()
        assert "ada" not in json.dumps(line)
        assert line["logger"] == "httpx2"
        assert re.fullmatch(r"test_telemetry\.py:\d+", line["place"])
        assert telemetry_log.dropped["foreign-text"] == 1

    def test_an_exception_is_told_by_type_and_place_alone(self, log):
        try:
            int("Ada Lovelace, born 1815")
        except ValueError:
            logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
        (line,) = log()
        assert line["error"] == "ValueError"
        assert line["place"].startswith("test_telemetry.py:")
        assert "Ada" not in json.dumps(line)

    def test_own_sentences_keep_their_level(self, log):
        logging.getLogger("dekacard.serving").debug("not now")
        logging.getLogger("dekacard.serving").info("serving")
        assert [line["event"] for line in log()] == ["serving"]

    def test_whatever_we_log_stands_on_the_list(self, root):
        """A key that is dropped takes along the reason an operator looks for, and raises an alarm of its own."""
        asked = set()
        for file in root.joinpath("service").rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    whom = node.func.value
                    if isinstance(whom, ast.Name) and (whom.id, node.func.attr) in LOGGED_BY:
                        asked |= {(file.name, one.arg) for one in node.keywords}
        assert {name for _, name in asked} >= {"client", "reason"}
        assert {one for one in asked if one[1] not in telemetry_log.KEYS | {"exc_info"}} == set()

    def test_a_call_is_one_line(self, app, client, log, call_body):
        app.state.parts.telemetry.tell = telemetry_log.teller()
        assert client.post(VIEW, content=call_body).status_code == 200
        assert client.post(VIEW, content=b"{").status_code == 400
        client.get("/cds-services")
        client.get("/livez")
        told = [line for line in log() if line["event"] in {"call", "request"}]
        assert [line.get("hook") or line["route"] for line in told] == [
            "patient-view", "patient-view", "/cds-services"
        ]  # fmt: skip
        first = told[0]
        assert datetime.fromisoformat(first["time"]).utcoffset() == timedelta(0)
        assert (first["client"], first["status"], first["outcome"]) == ("developer", 200, "answered")  # fmt: skip
        assert (first["rules"], first["cards"], first["warning"]) == (1, 1, 1)
        assert told[1]["outcome"] == "refused"
        assert len({line["call"] for line in told}) == 3


class TestMetrics:
    def test_a_call_is_counted_by_hook_rule_and_card(self, client, call_body):
        assert client.post(VIEW, content=call_body).status_code == 200
        assert client.post("/cds-services/ada-lovelace", content=call_body).status_code == 404
        assert figure(client, 'dekacard_cds_request_seconds_count{hook="patient-view",outcome="answered"}') == 1  # fmt: skip
        assert figure(client, 'dekacard_cds_request_seconds_count{hook="unknown",outcome="refused"}') == 1  # fmt: skip
        assert figure(client, "dekacard_evaluation_seconds_count") == 1
        assert figure(client, 'dekacard_rule_fired_total{mode="live",rule="vka-mk7-new"}') == 1
        assert figure(client, 'dekacard_cards_total{indicator="warning"}') == 1

    def test_an_unknown_address_never_becomes_a_label(self, client):
        client.get("/Patient/ada-lovelace?name=ada-lovelace")
        client.request("ADA", "/livez")
        text = client.get("/metrics").text
        assert "lovelace" not in text
        assert "ADA" not in text
        assert 'method="GET",route="none",status="404"' in text

    def test_gaps_feedback_and_faults_are_counted(self, app, client, call_body, monkeypatch):
        body = json.loads(call_body)
        del body["prefetch"]["medicationRequests"]
        assert client.post(VIEW, json=body).status_code == 200
        entries = [{"card": "x", "outcome": "accepted"}, {"card": "y", "outcome": "Ada"}, "z"]
        assert client.post(f"{VIEW}/feedback", json={"feedback": entries}).status_code == 200

        def broken(*_, **__):
            raise ValueError("Ada")

        monkeypatch.setattr(app.state.parts.engine, "assess", broken)
        assert client.post(VIEW, content=call_body).status_code == 500
        assert figure(client, 'dekacard_gaps_total{code="not-read"}') >= 1
        assert figure(client, 'dekacard_feedback_total{outcome="accepted"}') == 1
        assert figure(client, 'dekacard_feedback_total{outcome="other"}') == 2
        assert figure(client, 'dekacard_faults_total{kind="unexpected"}') == 1

    def test_knowledge_says_how_long_it_may_be_trusted(self, app, client):
        card = app.state.engine.rulebook.cards["vka-mk7-new"]
        days = (NOON.date() - card.review_due).days
        line = 'dekacard_knowledge_days_past_review{rule="vka-mk7-new"}'
        assert figure(client, line) == days < 0
        assert 'dekacard_knowledge_info{pack="core"' in client.get("/metrics").text

    def test_everything_noted_has_a_metric_and_is_passed_on_once(self):
        telemetry, metrics = Telemetry(), Metrics()
        telemetry.count("gaps", "not-read", by=3)
        telemetry.publish(metrics)
        telemetry.publish(metrics)
        assert b'dekacard_gaps_total{code="not-read"} 3.0' in metrics.render()
        assert len({*COUNTERS, *TIMES, *GAUGES}) == len(COUNTERS) + len(TIMES) + len(GAUGES)

    def test_inside_a_host_that_never_asks_nothing_piles_up(self):
        telemetry = Telemetry()
        for number in range(3 * MOST_TIMES):
            telemetry.time("evaluation_seconds", 0.002)
            telemetry.count("cards", ("info", "warning")[number % 2])
        metrics = Metrics()
        telemetry.publish(metrics)
        text = metrics.render().decode()
        assert f"dekacard_evaluation_seconds_count {float(MOST_TIMES)}" in text
        assert f'dekacard_cards_total{{indicator="info"}} {1.5 * MOST_TIMES}' in text

    def test_noting_a_call_costs_little_beside_answering_it(self, app, client, call_body):
        """A ratio of processor time: what is noted on the path of a card stays below 2 % of its evaluation."""
        import time

        client.post(VIEW, content=call_body)
        begun = time.process_time()
        for _ in range(50):
            client.post(VIEW, content=call_body)
        answering = (time.process_time() - begun) / 50
        telemetry = Telemetry()
        begun = time.process_time()
        for _ in range(2000):
            telemetry.time("cds_request_seconds", 0.003, "patient-view", "answered")
            telemetry.time("evaluation_seconds", 0.002)
            telemetry.count("rule_fired", "vka-mk7-new", "live")
            telemetry.count("cards", "warning")
        noting = (time.process_time() - begun) / 2000
        assert noting < 0.02 * answering


def test_what_an_alarm_counts_is_there_before_it_happens(root, tmp_path):
    """A counter that appears with a 1 never seems to have grown: the first fault would raise no alarm."""
    rules = yaml.safe_load((root / "deploy" / "prometheus" / "alerts.yaml").read_text())
    texts = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    counted = {
        name for text in texts for name in re.findall(r"increase\((dekacard_\w+_total)[^)]*\)\)? > 0", text)
    }  # fmt: skip
    counted.discard("dekacard_worker_restarts_total")  # kept by the supervisor, see test_serving
    assert len(counted) >= 6
    app = create_app(settings_in(tmp_path), clock=lambda: NOON)
    with TestClient(app, base_url="https://cds.example.org") as client:
        text = client.get("/metrics").text
    assert {
        name for name in counted if not re.search(rf"^{name}\S* 0\.0$", text, re.MULTILINE)
    } == set()


def test_counters_of_a_rule_that_comes_while_the_service_runs_are_there_at_once():
    given = {"dev": True, "engine": "compiled"}
    app = create_app(Settings(packs=("core", "vitamin-d-status"), **given), clock=lambda: NOON)
    with TestClient(app, base_url=BASE) as client:
        line = 'dekacard_rule_failed_total{rule="vka-mk7-new"} 0.0'
        assert line not in client.get("/metrics").text
        more = Settings(packs=("core", "vitamin-d-status", "vitamin-k-antagonists"), **given)
        assert app.state.parts.shelf.reload(lambda: build_engine(more)).accepted
        assert line in client.get("/metrics").text


def test_counters_of_a_client_that_comes_while_the_service_runs_are_there_before_it_calls(tmp_path):
    settings = settings_in(tmp_path)
    app = create_app(settings, clock=lambda: NOON)
    with TestClient(app, base_url="https://cds.example.org") as client:
        app.state.clients.look_every = 0.0
        assert 'client="mercy"} 0.0' in client.get("/metrics").text
        profile = yaml.safe_load((settings.clients / "mercy.yaml").read_text())
        profile["id"] = "grace"
        profile["trust"]["issuers"] = ["https://grace.example.org"]
        (settings.clients / "grace.yaml").write_text(yaml.safe_dump(profile))
        text = client.get("/metrics").text
        for name in ("calls_limited", "fhir_rests", "keys_not_renewed"):
            assert f'dekacard_{name}_total{{client="grace"}} 0.0' in text


class TestReadiness:
    def test_an_engine_that_does_not_evaluate_is_not_ready(self, app, client, monkeypatch):
        def broken(*_, **__):
            raise EngineError("the sentinel did not fire")

        monkeypatch.setattr(app.state.parts.engine, "assess", broken)
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["parts"]["engine"]["state"] == "bad"

    def test_a_worker_that_is_about_to_end_is_not_ready(self, app, client):
        assert client.get("/readyz").json()["state"] == "ready"
        app.state.watching.readiness.draining = True
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["state"]) == (503, "not-ready")
        assert client.get("/livez").status_code == 200

    def test_without_its_store_the_service_is_degraded_and_answers(self, tmp_path, call_body):
        settings = Settings(
            dev=True, engine="compiled", spool_dir=tmp_path / "spool", keyring=tmp_path / "keys",
            store_url=f"sqlite:///{tmp_path}/store/record.db",
        )  # fmt: skip
        app = create_app(settings, clock=lambda: NOON)
        with TestClient(app, base_url=BASE) as client:
            assert client.get("/readyz").json()["parts"]["store"]["state"] == "good"
            app.state.recorder.let_go()
            (tmp_path / "store").rename(tmp_path / "gone")
            (tmp_path / "store").write_text("no folder")
            app.state.watching.readiness._kept_at = float("-inf")
            answer = client.get("/readyz")
            assert answer.status_code == 200
            assert answer.json()["state"] == "degraded"
            assert answer.json()["parts"]["store"]["state"] == "degraded"
            assert client.post(VIEW, content=call_body).json()["cards"]
            assert figure(client, "dekacard_store_up") == 0
            assert figure(client, "dekacard_spool_depth_bytes") > 0
            assert "dekacard_spool_age_seconds " in client.get("/metrics").text
            (tmp_path / "store").unlink()
            (tmp_path / "gone").rename(tmp_path / "store")


class TestMonitors:
    def test_a_rule_that_falls_silent_leaves_its_limits(self):
        steady = [Day(1000, 50)] * 30
        course = course_of(steady)
        assert course.low < course.rate < course.high
        silent = course_of([*steady, *[Day(1000, 0)] * 5])
        assert silent.rate < silent.low
        noisy = course_of([*steady, *[Day(1000, 100)] * 5])
        assert noisy.rate > noisy.high

    def test_a_quiet_day_is_no_alarm(self):
        course = course_of([*[Day(1000, 50)] * 30, Day(10, 0)])
        assert course.low <= course.rate <= course.high

    def test_one_day_has_no_past(self):
        assert course_of([Day(100, 1)]) is None
        assert course_of([Day(0, 0), Day(100, 1)]) is None

    def test_figures_of_the_store(self, database):
        now = NOON

        def fill(connection):
            tally = Tally(connection)
            at = int(now.timestamp()) * 1_000_000
            for back in range(40):
                tally.add("st-elsewhere", at - back * DAY, ALL_RULES, "live", evaluations=100)
                fired = 0 if back < 28 else 5
                tally.add("st-elsewhere", at - back * DAY, "gone-silent", "live", fired=fired)
                tally.add("st-elsewhere", at - back * DAY, "heard", "live", fired=4, accepted=1, overridden=3, acted_on=1, dismissed=1)  # fmt: skip
            tally.close()

        database.write(fill)
        found = {
            (sample.name, sample.labels["rule"]): sample.value
            for family in rule_monitors(database, now)
            for sample in family.samples
        }
        assert found["dekacard_rule_evaluations_window", "heard"] == 2800
        assert found["dekacard_rule_fired_window", "gone-silent"] == 0
        assert found["dekacard_rule_fired_window", "heard"] == 28 * 4
        assert found["dekacard_rule_override_ratio", "heard"] == 0.75
        assert found["dekacard_rule_yield_ratio", "heard"] == 0.5
        assert found["dekacard_rule_firing_rate", "gone-silent"] < found["dekacard_rule_firing_rate_low", "gone-silent"]  # fmt: skip
        assert ("dekacard_rule_override_ratio", "gone-silent") not in found


def test_asking_a_record_system_is_timed_by_client_and_outcome(app, client, call_body):
    async def slow(call, client, supply, seconds):
        return Supply(resources=supply.resources, unread=supply.unread, late=("labs-inr",))

    body = json.loads(call_body)
    del body["prefetch"]["inr"]
    body["fhirServer"] = "https://ehr.example.org/fhir"
    app.state.parts.fetch = slow  # another server's behaviour; what is tested is what we tell of it
    cards = client.post(VIEW, json=body).json()["cards"]
    told = [card for card in cards if card["source"]["topic"]["code"] == "DKLATE"]
    assert [card["summary"] for card in told] == [
        "Decision support incomplete: not read in time: INR results."
    ]
    assert figure(client, 'dekacard_fhir_fetch_seconds_count{client="developer",outcome="late"}') == 1  # fmt: skip
    assert figure(client, 'dekacard_evaluation_incomplete_total{cause="deadline"}') == 1
    assert figure(client, 'dekacard_cds_request_seconds_count{hook="patient-view",outcome="incomplete"}') == 1  # fmt: skip
