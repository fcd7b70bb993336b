"""The review on Spark: other processes, the same bytes; also with a worker killed and with one huge patient."""

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from service.batch.run import Run
from service.batch.spark import review_on_spark, session
from tests.service.batch.people import (
    WARFARIN,
    lab,
    population,
    request,
    statement,
    write_bundles,
    write_lines,
)
from tests.service.batch.test_review import options, results
from tests.service.batch.test_versions import AMLODIPINE, at, person
from tests.service.batch.test_versions import write as write_versions

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def spark():
    """A master and two worker processes, each with a Java of its own, as on a cluster."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    made = session("local-cluster[2,1,1024]")
    made.sparkContext.setLogLevel("OFF")
    yield made
    made.stop()
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_spark_and_local_give_the_same_bytes(tmp_path, spark):
    people, shared = population(30)
    folder = write_lines(tmp_path / "in", people, shared, parts=4)
    more = write_bundles(
        tmp_path / "more", {f"b{key}": own for key, own in []} or population(3)[0], []
    )
    Run(tmp_path / "local", workers=2).review([folder], options())
    review_on_spark([folder], tmp_path / "spark", options(), spark=spark)
    assert results(tmp_path / "spark") == results(tmp_path / "local")
    Run(tmp_path / "local-b").review([more], options())
    review_on_spark([more], tmp_path / "spark-b", options(), spark=spark)
    assert results(tmp_path / "spark-b") == results(tmp_path / "local-b")


def test_later_versions_are_found_and_the_same_plan_runs_twice_in_one_session(tmp_path, spark):
    old, new = at(request("ada", WARFARIN, 1), 1), at(request("ada", AMLODIPINE, 1), 2)
    folder = write_versions(tmp_path / "in", [*person("ada"), old], [new])
    Run(tmp_path / "local").review([folder], options())
    for out in ("spark", "again"):
        account = review_on_spark([folder], tmp_path / out, options(), spark=spark)
        assert account.told["outdated"] == 1
        assert results(tmp_path / out) == results(tmp_path / "local")


def test_one_patient_with_fifty_thousand_resources_among_tiny_ones(tmp_path, spark):
    people, shared = population(6)
    people["p000"] += [
        lab("p000", "6301-6", 2.0 + number % 20 / 10, "{INR}", number + 10, taken="2025-01-01")
        for number in range(50_000)
    ]
    folder = write_lines(tmp_path / "in", people, shared)
    Run(tmp_path / "local").review([folder], options())
    review_on_spark([folder], tmp_path / "spark", options(), spark=spark)
    assert results(tmp_path / "spark") == results(tmp_path / "local")


def test_a_worker_killed_in_the_middle_changes_nothing(tmp_path, spark):
    people, shared = population(60)
    for key, own in people.items():
        own += [
            statement(key, None, 50 + n, words=f"Vitamin D3 {n}000 IU daily") for n in range(1, 20)
        ]
    folder = write_lines(tmp_path / "in", people, shared, parts=6)
    Run(tmp_path / "local", workers=2).review([folder], options())
    killed = []
    stop = threading.Event()

    def kill_one_worker():
        work = tmp_path / "spark" / ".work"
        while not stop.is_set():
            if work.is_dir() and any(one.name.startswith("scan-") for one in work.iterdir()):
                for process in psutil.Process().children(recursive=True):
                    try:
                        if "pyspark.daemon" not in " ".join(process.cmdline()):
                            continue
                        process.send_signal(signal.SIGKILL)
                    except psutil.Error:  # a process may end while it is being looked at
                        continue
                    killed.append(process.pid)
                    return
            time.sleep(0.001)

    killer = threading.Thread(target=kill_one_worker)
    killer.start()
    try:
        review_on_spark([folder], tmp_path / "spark", options(), spark=spark)
    finally:
        stop.set()
        killer.join()
    assert killed
    assert results(tmp_path / "spark") == results(tmp_path / "local")
