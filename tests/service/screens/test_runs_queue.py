"""The queue of batch runs at its edges: who may work on it, a process that does not listen, what a service left behind."""

import fcntl
import subprocess
import sys
from types import SimpleNamespace

import msgspec
import pytest

from service.alerts.batch_jobs import JobOptions, job_of, move
from service.batch.run import WORK
from service.batch.values import Options, Task
from service.batch.workshop import Blueprint, report_file, scanned_file
from service.dashboard import run_page, runs_intake, runs_queue
from service.dashboard.runs_intake import InputRefused, allowed_path
from service.dashboard.runs_report import progress_of, urgencies_of
from tests.service.dashboard.conftest import NOON, T, opened_site
from tests.service.screens.test_runs import put

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    with opened_site(place, f"sqlite:///{place}/r.db") as made:
        yield made


@pytest.fixture
def queue(opened, monkeypatch):
    """The queue of a site on which nobody works but the test, and which looks twenty times a second."""
    opened.now = NOON
    opened.sign_in("lead")
    queue = opened.app.state.run_queue
    monkeypatch.setattr(queue, "wake", lambda: None)
    monkeypatch.setattr(runs_queue, "_LOOK", 0.05)
    return queue


_names = iter(f"run-{number}" for number in range(1000))


@pytest.fixture
def job(opened, queue):
    name = put(opened, next(_names))
    return job_of(opened.record.database, T, name)


def moved(site, job, to, *, allowed=("waiting",)):
    move(
        site.record.database, site.record.keyring, tenant=T, job=job.id, allowed=set(allowed), to=to, actor="x", at=NOON
    )  # fmt: skip
    return job_of(site.record.database, T, job.id)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (JobOptions(as_of="2026-11-22T12:00"), ["--as-of", "2026-11-22T12:00"]),
        (JobOptions(store=True, profile="nam-2011"), ["--store", "--client", T]),
        (JobOptions(profile="nam-2011"), ["--profile", "nam-2011"]),
        (JobOptions(), []),
    ],
)
def test_the_command_says_what_was_asked_for_and_ends_before_the_path(queue, job, options, told):
    command = queue._command(msgspec.structs.replace(job, options=options), queue.folder_of(job))
    assert command[command.index("--workers") + 2 : command.index("--")] == told
    assert command[-1] == str(queue.folder_of(job) / "in")


def test_a_run_that_left_work_behind_is_taken_up(queue, job):
    (queue.folder_of(job) / "out" / ".work").mkdir(parents=True)
    assert "--resume" in queue._command(job, queue.folder_of(job))


def test_only_one_process_works_on_the_queue(queue):
    with queue._alone() as mine, queue._alone() as another:
        assert (mine, another) == (True, False)
    with queue._alone() as again:
        assert again


def test_a_run_that_somebody_else_began_is_not_begun_again(opened, queue, job):
    moved(opened, job, "running")
    queue._run(job)  # as it stood when the list was read
    assert job_of(opened.record.database, T, job.id).attempts == job.attempts
    assert not (queue.folder_of(job) / "messages.txt").exists()


@pytest.mark.parametrize("state", ["running", "stopping"])
def test_a_run_whose_process_still_writes_is_left_to_it(opened, queue, job, state, caplog):
    left = moved(opened, job, "running")
    if state == "stopping":
        left = moved(opened, job, state, allowed=("running",))
    out = queue.folder_of(job) / "out"
    out.mkdir()
    with (out / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        queue._settle(left)
    assert job_of(opened.record.database, T, job.id).state == state
    assert ("goes on without its runner" in caplog.text) is (state == "stopping")


@pytest.mark.parametrize(
    ("state", "finished", "became"),
    [
        ("running", False, "interrupted"),
        ("stopping", False, "cancelled"),
        ("stopping", True, "done"),
        ("running", True, "done"),
    ],
)
def test_what_an_ended_service_left_behind_gets_the_state_it_deserves(
    opened, queue, job, state, finished, became
):
    left = moved(opened, job, "running")
    if state == "stopping":
        left = moved(opened, job, state, allowed=("running",))
    out = queue.folder_of(job) / "out"
    out.mkdir()
    (out / ".lock").touch()  # of a process that is gone
    if finished:
        (out / "run.json").write_text("{}")
    queue._settle(left)
    ended = job_of(opened.record.database, T, job.id)
    assert (ended.state, bool(ended.says)) == (became, became != "done")


@pytest.fixture
def child():
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_a_process_that_does_not_listen_is_killed(opened, queue, job, child, monkeypatch):
    monkeypatch.setattr(runs_queue, "_PATIENCE", 0.3)
    moved(opened, job, "running")
    stopping = moved(opened, job, "stopping", allowed=("running",))
    code, stopped = queue._watch(stopping, child)
    assert (code, stopped) == (-9, True)
    assert runs_queue._outcome(code, stopped=stopped) == "cancelled"


@pytest.mark.parametrize(
    ("code", "stopped", "state"),
    [(0, True, "done"), (-9, False, "interrupted"), (1, False, "failed"), (1, True, "cancelled")],
)
def test_what_became_of_a_run_is_known_by_how_its_process_ended(code, stopped, state):
    assert runs_queue._outcome(code, stopped=stopped) == state


def test_the_end_of_the_service_ends_a_running_process_once(queue, monkeypatch):
    sleeping = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(queue, "_child", sleeping)
    queue.stop()
    assert sleeping.wait(20) == -15
    queue.stop()  # it is over


def test_the_last_words_are_those_of_the_command_or_none(tmp_path):
    said = tmp_path / "messages.txt"
    assert runs_queue._last_words(said) == ""
    said.write_text("one\n\n two \nthree\nfour\n")
    assert runs_queue._last_words(said) == "two three four"


# What a page of a run reads from its folder ---------------------------------------------------------------------------


def test_how_far_a_run_is_shows_from_the_parts_that_are_done(tmp_path):
    assert progress_of(tmp_path).step == "looking at the input"
    work = tmp_path / WORK
    work.mkdir()
    plan = Blueprint(
        options=Options(
            as_of=NOON.isoformat(), profile="nam-2011", verbosity="standard", engine="compiled", zone="UTC", validation="off"
        ),
        tasks=[Task(number=0, stretches=())], names=[], shards=1, fingerprint="f",
    )  # fmt: skip
    (work / "plan.json").write_bytes(msgspec.json.encode(plan))
    seen = [progress_of(tmp_path)]
    for part in (scanned_file(work, 0), report_file(work, 0)):
        part.touch()
        seen.append(progress_of(tmp_path))
    assert [(one.step, one.share) for one in seen] == [
        ("reading", 0), ("reviewing", 50), ("writing the results", 100),
    ]  # fmt: skip
    (work / "plan.json").unlink()
    (tmp_path / "run.json").write_text("{}")
    assert (progress_of(tmp_path).step, progress_of(tmp_path).share) == ("writing the results", 100)


def test_a_run_without_results_has_no_urgencies(tmp_path):
    assert urgencies_of(tmp_path) == {}


def test_a_folder_with_too_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(runs_intake, "_MOST_ENTRIES", 2)
    for number in range(3):
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / f"{number}.ndjson").write_text("{}")
    assert allowed_path(tmp_path, "deep") == tmp_path / "deep"
    (tmp_path / "deep" / "more.ndjson").write_text("{}")
    with pytest.raises(InputRefused, match="more than 2 files"):
        allowed_path(tmp_path, "deep")


def test_the_stream_of_a_run_repeats_nothing_and_ends_with_the_run(opened, queue, job, monkeypatch):
    monkeypatch.setattr(run_page, "_LOOKS", 3)
    monkeypatch.setattr(run_page, "_EVERY", 0.0)
    assert opened.get(f"/batch/{job.id}/live").text.count("data: ") == 1
    moved(opened, job, "cancelled")
    told = opened.get(f"/batch/{job.id}/live").text
    assert told.count("data: ") == 1
    assert "Cancelled" in told


def test_a_comparison_that_was_made_is_read_again(opened, queue, job):
    other = job_of(opened.record.database, T, put(opened, next(_names)))
    for one in (job, other):
        moved(opened, one, "running")
        moved(opened, one, "done", allowed=("running",))
    kept = queue.folder_of(job) / f"compared-{other.id}.json"
    difference = {"rule": "vka-natto", "counts": {"new": 1}, "examples": {"new": ["kept-before"]}}
    kept.write_bytes(msgspec.json.encode([difference]))
    desk = SimpleNamespace(record=opened.record, route=lambda *_, **__: None)
    (told,) = run_page.RunPage(desk, queue)._compared(job, other.id)
    assert (told.rule, told.examples) == ("vka-natto", {"new": ["kept-before"]})
