"""Real processes: figures of all workers, a native crash that is counted, an end that cuts nothing off."""

import http.client
import signal
import threading
from contextlib import closing

from tests.operations.conftest import VIEW, until


def test_figures_are_those_of_all_workers_and_a_crash_is_counted(start, call_body):
    service = start(DEKACARD_WORKERS="2")
    until(lambda: len(service.workers()) == 2)
    for _ in range(12):
        assert service.post(VIEW, call_body)[0] == 200
    answered = 'dekacard_cds_request_seconds_count{hook="patient-view",outcome="answered"}'
    until(lambda: service.figure(answered) == 12, service.log)
    assert service.figure('dekacard_rule_fired_total{mode="live",rule="vka-mk7-new"}') == 12
    assert service.figure('dekacard_cards_total{indicator="warning"}') == 12

    victim = service.workers()[0].pid
    service.workers()[0].send_signal(signal.SIGSEGV)
    crashes = 'dekacard_worker_restarts_total{cause="SIGSEGV"}'
    until(lambda: service.figure(crashes) == 1, service.log)
    until(lambda: len(service.workers()) == 2)
    assert victim not in {process.pid for process in service.workers()}
    assert service.post(VIEW, call_body)[0] == 200
    # What the dead worker had counted is not forgotten
    until(lambda: service.figure(answered) == 13, service.log)
    assert any("ended by SIGSEGV" in line["event"] for line in service.lines())


def test_a_worker_that_died_while_it_made_its_file_of_figures_takes_no_figures_along(
    start, call_body, tmp_path
):
    folder = tmp_path / "figures"
    folder.mkdir()
    service = start(PROMETHEUS_MULTIPROC_DIR=str(folder))
    for name in ("counter_99999.db", "histogram_99999.db", "gauge_livesum_99999.db"):
        (folder / name).touch()
    assert service.post(VIEW, call_body)[0] == 200
    until(lambda: service.figure('dekacard_cards_total{indicator="warning"}') == 1, service.log)


def signed_in(service):
    """The cookie of somebody who signed in with one click, as development mode allows."""
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)) as connection:
        connection.request(
            "POST", "/login", body=b"",
            headers={
                "Sec-Fetch-Site": "same-origin", "Origin": service.base,
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )  # fmt: skip
        answer = connection.getresponse()
        assert answer.status == 303, answer.read()
        return answer.getheader("set-cookie").partition(";")[0]


def test_open_streams_end_whole_when_the_service_is_told_to_stop(start):
    service = start()
    open_before = threading.Barrier(9)
    ended = []

    def listen():
        address = ("127.0.0.1", service.port)
        with closing(http.client.HTTPConnection(*address, timeout=60)) as connection:
            connection.request(
                "GET", "/live?since=0", headers={"Accept": "text/event-stream", "Cookie": cookie}
            )
            answer = connection.getresponse()
            answer.readline()  # "retry: ..." : the stream is open
            open_before.wait(timeout=60)
            answer.read()  # IncompleteRead if the connection is cut inside the stream
            ended.append(answer.status)
            answer.close()

    cookie = signed_in(service)
    listeners = [threading.Thread(target=listen) for _ in range(8)]
    for one in listeners:
        one.start()
    open_before.wait(timeout=60)
    until(lambda: service.figure("dekacard_sse_clients") == 8, service.log)
    service.stop()
    for one in listeners:
        one.join(timeout=60)
    assert ended == [200] * 8
    # The server never had to give up waiting for them
    assert not any("timeout graceful shutdown" in line["event"] for line in service.lines())
    assert any("Finished server process" in line["event"] for line in service.lines())
