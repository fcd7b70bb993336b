"""The drill of the operators' guide: a copy made while the service runs, put back elsewhere, served again."""

import shutil
import subprocess
import sys

import pytest

from tests.operations.conftest import VIEW, until

OPEN = 'dekacard_alerts_open{client="developer",severity="warning"}'


@pytest.fixture
def dekacard(tmp_path):
    def run(*command):
        return subprocess.run(
            [sys.executable, "-m", "service.cli", *command],
            capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path,
        )  # fmt: skip

    return run


def test_from_a_running_service_to_one_that_serves_again(start, dekacard, tmp_path, call_body):
    first = start()
    assert first.post(VIEW, call_body)[0] == 200
    until(lambda: first.figure(OPEN) == 1, first.log)
    heads = dekacard("audit", "heads", "--store", f"sqlite:///{tmp_path}/record.db")
    (tmp_path / "heads.jsonl").write_text(heads.stdout)
    made = dekacard("backup", str(tmp_path / "copy"), "--store", f"sqlite:///{tmp_path}/record.db")
    assert made.returncode == 0, made.stderr
    first.stop()
    shutil.rmtree(tmp_path / "spool")
    for file in tmp_path.glob("record.db*"):
        file.unlink()

    store = f"sqlite:///{tmp_path}/elsewhere/record.db"
    (tmp_path / "elsewhere").mkdir()
    back = dekacard("restore", str(tmp_path / "copy"), "--store", store)
    assert back.returncode == 0, back.stderr
    whole = dekacard(
        "audit", "verify", "--store", store, "--keyring", str(tmp_path / "keys.json"), "--heads", str(tmp_path / "heads.jsonl")
    )  # fmt: skip
    assert whole.returncode == 0, whole.stdout + whole.stderr
    second = start(DEKACARD_STORE_URL=store)
    until(lambda: second.figure(OPEN) == 1, second.log)
    assert second.post(VIEW, call_body)[0] == 200
    until(lambda: second.figure("dekacard_audit_head_seq") >= 2, second.log)
    assert second.figure(OPEN) == 1  # the same problem is still the same alert


def test_without_the_keys_a_copy_is_refused(start, dekacard, tmp_path, call_body):
    service = start()
    service.post(VIEW, call_body)
    service.stop()
    (tmp_path / "keys.json").rename(tmp_path / "lost.json")
    started = subprocess.run(
        service.process.args, env=service.environment, capture_output=True, text=True, cwd=tmp_path,
        check=False, timeout=300,
    )  # fmt: skip
    assert started.returncode != 0
    assert "another keyring" in started.stderr
