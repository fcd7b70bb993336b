"""What ships to run the service with: read as strictly as can be done without a cluster, a container or a proxy."""

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import kubernetes_validate
import pytest
import yaml
from fastapi.testclient import TestClient

from service.app import create_app
from service.serving import DRAIN_SECONDS
from service.settings import PREFIX, Settings
from service.telemetry_metrics import COUNTERS, GAUGES, TIMES

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SCHEMA = "1.34"
TOOLS = str(Path(sys.executable).parent)


@pytest.fixture
def deploy(root):
    return root / "deploy"


def program(name):
    """Where a program lies; scripts/bootstrap puts it there, so a missing one fails."""
    found = shutil.which(name, path=f"{TOOLS}:/usr/bin:/usr/local/bin:/bin") or shutil.which(name)
    assert found, f"{name} is missing: run scripts/bootstrap test"
    return found


def run(*command, cwd=None):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Names of all metrics that a service with a record publishes, by asking one."""
    folder = tmp_path_factory.mktemp("published")
    settings = Settings(
        dev=True, engine="compiled", store_url=f"sqlite:///{folder}/r.db", spool_dir=folder / "spool",
        keyring=folder / "keys",
    )  # fmt: skip
    app = create_app(settings, clock=lambda: NOON)
    with TestClient(app, base_url="http://127.0.0.1:8080") as client:
        client.get("/livez")
        text = client.get("/metrics").text
    named = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    named |= {f"dekacard_{name}_total" for name in COUNTERS}
    named |= {f"dekacard_{name}{end}" for name in TIMES for end in ("_bucket", "_sum", "_count")}
    return named | {f"dekacard_{name}" for name in GAUGES} | {"dekacard_profiles_refused"}


class TestPrometheus:
    def test_rules_and_example_are_what_promtool_accepts(self, deploy):
        promtool = program("promtool")
        for kind, file in (("rules", "alerts.yaml"), ("config", "prometheus.yaml")):
            status, said = run(promtool, "check", kind, file, cwd=deploy / "prometheus")
            assert status == 0, said

    def test_each_alert_is_raised_by_its_cause_and_silent_beside_it(self, deploy):
        status, said = run(
            program("promtool"), "test", "rules", "alerts.test.yaml", cwd=deploy / "prometheus"
        )
        assert status == 0, said
        tests = yaml.safe_load((deploy / "prometheus" / "alerts.test.yaml").read_text())["tests"]
        tried = [(one["alertname"], bool(one["exp_alerts"])) for t in tests for one in t["alert_rule_test"]]  # fmt: skip
        for alert in alerts(deploy):
            assert (alert["alert"], True) in tried
            assert (alert["alert"], False) in tried

    @pytest.mark.parametrize(
        ("told", "instead"),
        [("== 0\n        for: 1m", "== 5\n        for: 1m"), ("> 0.9 and", "> 0.99 and"), ("> 900", "> 90")],
    )  # fmt: skip
    def test_a_changed_threshold_is_noticed(self, deploy, tmp_path, told, instead):
        rules = (deploy / "prometheus" / "alerts.yaml").read_text()
        assert rules.count(told) == 1
        (tmp_path / "alerts.yaml").write_text(rules.replace(told, instead))
        shutil.copy(deploy / "prometheus" / "alerts.test.yaml", tmp_path)
        assert run(program("promtool"), "test", "rules", "alerts.test.yaml", cwd=tmp_path)[0] != 0

    def test_alerts_and_dashboard_ask_for_what_the_service_publishes(self, deploy, published):
        texts = [alert["expr"] for alert in alerts(deploy)]
        dashboard = json.loads((deploy / "grafana" / "dekacard.json").read_text())
        texts += [t["expr"] for p in dashboard["panels"] for t in p.get("targets", ())]
        texts += [str(v["query"]) for v in dashboard["templating"]["list"]]
        asked = {name for text in texts for name in re.findall(r"\bdekacard_\w+", text)}
        assert asked - published == set()
        shown = {
            family(name)
            for panel in dashboard["panels"]
            for target in panel.get("targets", ())
            for name in re.findall(r"\bdekacard_\w+", target["expr"])
        }
        assert {family(name) for name in published} - shown == set()

    def test_every_metric_and_alert_is_explained_to_operators(self, root, deploy, published):
        page = (root / "docs" / "operators" / "metrics.md").read_text()
        for name in published:
            assert f"`{family(name)}`" in page, name
        for alert in alerts(deploy):
            assert f"`{alert['alert']}`" in page, alert["alert"]

    def test_panels_have_places_of_their_own(self, deploy):
        dashboard = json.loads((deploy / "grafana" / "dekacard.json").read_text())
        taken = set()
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            assert not cells & taken, panel["title"]
            assert at["x"] + at["w"] <= 24
            taken |= cells
        assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def family(name):
    """The metric that a series belongs to."""
    return re.sub(r"_(total|bucket|sum|count|created)$", "", name)


def alerts(deploy):
    groups = yaml.safe_load((deploy / "prometheus" / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


class TestSystemd:
    @pytest.fixture
    def unit(self, deploy):
        return (deploy / "systemd" / "dekacard.service").read_text()

    def test_the_units_are_what_systemd_accepts(self, deploy, tmp_path):
        units = sorted((deploy / "systemd").glob("dekacard*.*er*"))
        assert len(units) == 3
        for unit in units:
            # The program is not installed here: any other stands in for it
            told = unit.read_text().replace("/opt/dekacard/bin/dekacard", sys.executable)
            (tmp_path / unit.name).write_text(told)
        names = [str(tmp_path / unit.name) for unit in units]
        status, said = run(program("systemd-analyze"), "verify", "--man=no", *names)
        assert status == 0, said
        assert not [line for line in said.splitlines() if "dekacard" in line], said

    def test_the_unit_is_closed_off(self, deploy):
        status, said = run(
            program("systemd-analyze"), "security", "--offline=yes", "--threshold=15",
            str(deploy / "systemd" / "dekacard.service"),
        )  # fmt: skip
        assert status == 0, said[-800:]

    def test_it_waits_longer_than_a_drain_takes(self, unit):
        assert int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[1]) > DRAIN_SECONDS + 10


def test_every_file_that_operators_are_told_to_copy_is_there(root):
    page = (root / "docs" / "operators" / "deploying.md").read_text()
    named = set(re.findall(r"deploy/[\w./-]+", page))
    assert len(named) >= 5
    assert {name for name in named if not (root / name.rstrip("./")).exists()} == set()


def test_every_setting_named_anywhere_exists(deploy):
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for file in deploy.rglob("*"):
        if file.is_file():
            named = set(re.findall(r"DEKACARD_[A-Z_]+", file.read_text()))
            assert named - known - {"DEKACARD_NAME"} == set(), file


class TestRoomForUploads:
    """What is uploaded is written below DEKACARD_RUNS_DIR alone: that lies on what outlives a restart, and is large enough."""

    @pytest.fixture
    def runs(self, deploy):
        (place,) = re.findall(r"DEKACARD_RUNS_DIR=(\S+)", (deploy / "Dockerfile").read_text())
        return PurePosixPath(place)

    @staticmethod
    def holder(runs, mounts):
        """The mount that a path lies on."""
        return max((PurePosixPath(one) for one in mounts if runs.is_relative_to(one)), default=None)

    def test_the_image_keeps_them_on_its_volume(self, deploy, runs):
        (volumes,) = re.findall(r"VOLUME (\[.*\])", (deploy / "Dockerfile").read_text())
        assert self.holder(runs, json.loads(volumes))

    def test_compose_keeps_them_on_a_named_volume(self, deploy, runs):
        whole = yaml.safe_load((deploy / "compose" / "compose.yaml").read_text())
        service = whole["services"]["service"]
        mounts = {
            inside: name
            for name, _, inside in (
                one.removesuffix(":ro").partition(":") for one in service["volumes"]
            )
        }
        memory = {one.partition(":")[0]: "" for one in service["tmpfs"]}
        assert (mounts | memory)[str(self.holder(runs, mounts | memory))] in whole["volumes"]

    def test_kubernetes_keeps_them_on_a_claim_with_room_for_them(self, deploy, runs):
        objects = yaml.safe_load_all((deploy / "kubernetes" / "service.yaml").read_text())
        (spec,) = (one["spec"] for one in objects if one["kind"] == "StatefulSet")
        (pod,) = spec["template"]["spec"]["containers"]
        mounts = {one["mountPath"]: one["name"] for one in pod["volumeMounts"]}
        name = mounts[str(self.holder(runs, mounts))]
        (claim,) = (one for one in spec["volumeClaimTemplates"] if one["metadata"]["name"] == name)
        room = re.fullmatch(r"(\d+)Gi", claim["spec"]["resources"]["requests"]["storage"])
        assert int(room[1]) * 1024 >= 4 * Settings().upload_mb

    def test_the_unit_keeps_them_in_its_state(self, deploy):
        unit = (deploy / "systemd" / "dekacard.service").read_text()
        (state,) = re.findall(r"^StateDirectory=(\S+)$", unit, re.MULTILINE)
        assert f"\nWorkingDirectory=/var/lib/{state}\n" in unit
        assert not Settings().runs_dir.is_absolute()
        example = (deploy / "systemd" / "dekacard.env.example").read_text()
        assert "DEKACARD_RUNS_DIR" not in example


class TestImage:
    @pytest.fixture
    def stages(self, deploy):
        text = (deploy / "Dockerfile").read_text()
        return re.split(r"(?m)^FROM ", text)[1:]

    def test_the_compiler_stays_behind(self, stages):
        assert len(stages) == 2
        assert "gcc" in stages[0]
        assert "gcc" not in stages[1]
        assert "apt-get" not in stages[1]

    def test_hadolint_finds_nothing(self, deploy):
        status, said = run(program("hadolint"), str(deploy / "Dockerfile"))
        assert status == 0, said

    def test_what_hadolint_would_find_is_noticed(self, deploy, tmp_path):
        text = (deploy / "Dockerfile").read_text()
        (tmp_path / "Dockerfile").write_text(text.replace("WORKDIR /source", "WORKDIR source"))
        status, said = run(program("hadolint"), str(tmp_path / "Dockerfile"))
        assert status == 1
        assert "DL3000" in said

    def test_it_runs_as_nobody_special_and_asks_how_it_is(self, stages):
        last = stages[1]
        assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
        assert last.index("USER 10001") < last.index("ENTRYPOINT")
        assert "HEALTHCHECK" in last
        assert "/livez" in last

    def test_packages_come_from_the_lock_with_the_flags_of_the_engine(self, stages, root):
        assert stages[0].count("uv sync --frozen") == 2
        assert "pyproject.toml uv.lock" in stages[0]
        version = re.search(r"^uv_version=(\S+)$", (root / "scripts" / "bootstrap").read_text(), re.MULTILINE)[1]  # fmt: skip
        assert f"uv=={version}" in stages[0]

    def test_everything_copied_is_sent_to_the_builder(self, stages, root):
        sent = {
            line[1:]
            for line in (root / ".dockerignore").read_text().splitlines()
            if line.startswith("!")
        }
        copied = {
            name
            for line in re.findall(r"^COPY (?!--from)(.*)$", stages[0], re.MULTILINE)
            for name in line.split()[:-1]
        }
        assert copied == sent
        assert all((root / name).exists() for name in copied)


class TestCompose:
    @pytest.fixture
    def services(self, deploy):
        return yaml.safe_load((deploy / "compose" / "compose.yaml").read_text())["services"]

    def test_whatever_it_names_is_there(self, deploy):
        whole = yaml.safe_load((deploy / "compose" / "compose.yaml").read_text())
        for name, one in whole["services"].items():
            assert set(one.get("depends_on", ())) <= set(whole["services"])
            assert set(one["networks"]) <= set(whole["networks"]), name
            for place, _, _ in (volume.partition(":") for volume in one.get("volumes", ())):
                asked_for = place == "./clients"  # the site's own: deploying.md says to copy it
                shipped = "/" in place and (deploy / "compose" / place).exists()
                assert asked_for or shipped or place in whole["volumes"], (name, place)
            for file in one.get("env_file", ()):
                assert (deploy / "compose" / f"{file}.example").is_file(), (name, file)

    def test_nothing_may_more_than_it_must(self, services):
        for name, one in services.items():
            assert one["read_only"] is True, name
            assert one["cap_drop"] == ["ALL"], name
            assert one["security_opt"] == ["no-new-privileges:true"], name
            assert "privileged" not in one, name
            assert all(":ro" in v or "/" not in v.partition(":")[0] for v in one.get("volumes", ()))

    def test_only_the_proxy_is_reached_from_outside(self, services):
        assert [name for name, one in services.items() if "ports" in one] == ["proxy"]

    def test_the_schema_is_upgraded_before_the_service_starts(self, services):
        assert services["upgrade"]["command"] == ["db", "upgrade"]
        assert services["service"]["depends_on"]["upgrade"]["condition"] == "service_completed_successfully"  # fmt: skip

    def test_no_secret_is_written_down(self, deploy):
        for file in (deploy / "compose").iterdir():
            for found in re.findall(r"(?i)password=(.*)$", file.read_text(), re.MULTILINE):
                assert found == "", file

    def test_the_proxy_lets_through_what_the_service_takes(self, deploy):
        """Sizes and addresses are those of the service: a body that it would read is not refused before it."""
        text = (deploy / "compose" / "Caddyfile").read_text()
        limits = re.findall(r"request_body @(\w+) \{\s+max_size (\d+)MiB", text)
        settings = Settings()
        assert dict(limits) == {
            "others": str(settings.max_body_bytes // 2**20), "uploads": str(settings.upload_mb),
        }  # fmt: skip
        assert settings.max_body_bytes % 2**20 == 0
        (uploads,) = re.findall(r"@uploads path (\S+)", text)
        assert f"@others not path {uploads}\n" in text
        assert f'"POST", "{uploads}"' in (deploy.parent / "service" / "dashboard" / "runs_page.py").read_text()  # fmt: skip

    def test_figures_stay_inside(self, deploy):
        assert "@inside path /metrics /readyz /livez /openapi.json\n" in (deploy / "compose" / "Caddyfile").read_text()  # fmt: skip


class TestKubernetes:
    @pytest.fixture
    def objects(self, deploy):
        folder = deploy / "kubernetes"
        listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
        assert {path.name for path in folder.glob("*.yaml")} == {*listed, "kustomization.yaml"}
        return {
            (one["kind"], one["metadata"]["name"]): one
            for name in listed
            for one in yaml.safe_load_all((folder / name).read_text())
        }

    def test_every_object_fits_its_schema(self, objects):
        """Strict: a member that Kubernetes does not know is a mistake of ours, and would be passed over there."""
        for one in objects.values():
            kubernetes_validate.validate(one, SCHEMA, strict=True)

    @pytest.mark.parametrize(("told", "instead"), [("replicas", "replica"), ("serviceName", "service")])  # fmt: skip
    def test_a_member_that_is_unknown_is_noticed(self, objects, told, instead):
        stateful = objects["StatefulSet", "dekacard"]
        stateful["spec"][instead] = stateful["spec"].pop(told)
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(stateful, SCHEMA, strict=True)

    def test_pods_meet_the_restricted_standard(self, objects):
        for kind, name in (("StatefulSet", "dekacard"), ("Job", "dekacard-upgrade")):
            pod = objects[kind, name]["spec"]["template"]["spec"]
            assert pod["automountServiceAccountToken"] is False
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            mounted = {volume["name"] for volume in pod["volumes"]} | {"state"}
            for container in pod["containers"]:
                inner = container["securityContext"]
                assert inner["allowPrivilegeEscalation"] is False
                assert inner["readOnlyRootFilesystem"] is True
                assert inner["capabilities"] == {"drop": ["ALL"]}
                assert {m["name"] for m in container["volumeMounts"]} <= mounted
                assert "memory" in container["resources"]["limits"]

    def test_probes_ask_for_what_the_service_offers_and_the_spool_outlives_the_pod(self, objects):
        stateful = objects["StatefulSet", "dekacard"]["spec"]
        (container,) = stateful["template"]["spec"]["containers"]
        paths = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}  # fmt: skip
        assert paths == {"/livez", "/readyz"}
        assert (
            container["livenessProbe"]["httpGet"]["path"] == "/livez"
        )  # a store that is down restarts nobody
        assert stateful["volumeClaimTemplates"][0]["metadata"]["name"] == "state"
        grace = stateful["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace > DRAIN_SECONDS + 15

    def test_selectors_find_the_pods(self, objects):
        labels = objects["StatefulSet", "dekacard"]["spec"]["template"]["metadata"]["labels"]
        for kind, *path in (
            ("Service", "selector"), ("PodDisruptionBudget", "selector", "matchLabels"),
            ("NetworkPolicy", "podSelector", "matchLabels"), ("StatefulSet", "selector", "matchLabels"),
        ):  # fmt: skip
            selector = objects[kind, "dekacard"]["spec"]
            for step in path:
                selector = selector[step]
            assert selector.items() <= labels.items()
