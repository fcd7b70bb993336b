"""The record is moved into the store by a process of its own, and by a worker where that one is missing."""

import multiprocessing
import os
import signal
import time

from service.alerts.record import open_record, prepare_record
from service.bootstrap import record_options
from service.serving import keep_record
from service.settings import Settings
from service.supervisor import Supervisor
from tests.service.alerts.patience import wait_until
from tests.service.alerts.stories import call, cards_for, recommendation, reviewed

PATIENCE = 60.0


def settings_in(folder):
    return Settings(
        dev=True,
        store_url=f"sqlite:///{folder}/record.db",
        spool_dir=folder / "spool",
        keyring=folder / "keys.json",
    )


def record_one(record):
    found = reviewed(recommendation())
    made = call(1)
    assert record.record(made, found, cards_for(record.keyring, made, found))


def evaluations(record):
    with record.database.reading() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM evaluation").scalar_one()


def test_the_keeper_fills_the_store_from_what_a_worker_wrote(tmp_path):
    settings = settings_in(tmp_path)
    worker = prepare_record(record_options(settings), create_keys=True, upgrade=True)
    record_one(worker)
    keeper = multiprocessing.get_context("fork").Process(target=keep_record, args=(settings,))
    keeper.start()
    wait_until(lambda: evaluations(worker) == 1)
    keeper.terminate()
    keeper.join(PATIENCE)
    assert keeper.exitcode == 0
    worker.close()


def test_a_worker_with_a_keeper_beside_leaves_the_store_to_it_but_not_for_good(tmp_path):
    options = record_options(settings_in(tmp_path))
    first = prepare_record(options, create_keys=True, upgrade=True)
    record_one(first)
    worker = open_record(options, create_keys=False, upgrade=False, head_start=3600)
    second = open_record(options, create_keys=False, upgrade=False, head_start=0.2)
    wait_until(lambda: evaluations(first) == 1)
    assert second.fills_the_store
    assert not worker.fills_the_store
    for one in (first, worker, second):
        one.close()


def test_what_stands_beside_the_workers_is_kept_alive_too(tmp_path):
    starts = tmp_path / "starts"

    def beside():
        with starts.open("a") as file:
            file.write("started\n")
        time.sleep(PATIENCE)

    def work():
        wait_until(lambda: starts.exists() and starts.read_text().count("\n") >= 2)
        os.kill(os.getppid(), signal.SIGTERM)
        time.sleep(PATIENCE)

    ended = []
    supervisor = Supervisor(
        1, work, beside={"keeper": beside}, on_restart=lambda _, cause: ended.append(cause)
    )
    look = supervisor._look

    def kill_once_and_look():
        process, _ = supervisor._running["keeper"]
        if not ended and starts.exists() and starts.read_text():
            process.kill()
            process.join()
        look()

    supervisor._look = kill_once_and_look
    supervisor.run()
    assert ended == ["SIGKILL"]
    assert supervisor.restarts == 1
