"""Batch runs from the dashboard: what may be read, one at a time, stopped, taken up, compared, found after a restart."""

import csv
import gzip
import io
import json
import os
import re
import tempfile
import time
import zlib
from collections import Counter
from datetime import timedelta

import pytest
from starlette.formparsers import MultiPartParser

from rules.errors import RequestError
from service.alerts.batch_jobs import ACTIVE, JobOptions, ask_for, job_of, jobs, move
from service.dashboard.runs_intake import InputRefused, allowed_path, keep_upload
from service.dashboard.runs_queue import RunQueue, this_machine
from service.dashboard.runs_report import differences, progress_of, rejects_of, urgencies_of
from service.dashboard.upload_form import INCOMING
from tests.service.alerts.stories import NOON
from tests.service.dashboard.conftest import OURS, T

MEGABYTE = 1 << 20


def person(name, inr="1.4"):
    subject = {"reference": f"Patient/{name}"}
    once = {"timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}}, "doseAndRate": [{"doseQuantity": {"value": 1}}]}  # fmt: skip
    return [
        {"resourceType": "Patient", "id": name, "gender": "female", "birthDate": "1950-01-01"},
        {"resourceType": "MedicationRequest", "id": f"{name}-r", "status": "active", "intent": "order", "subject": subject, "authoredOn": "2024-01-01",
         "medicationCodeableConcept": {"coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "855332"}]}},
        {"resourceType": "MedicationStatement", "id": f"{name}-s", "status": "active", "subject": subject, "dateAsserted": "2026-11-18",
         "effectivePeriod": {"start": "2026-11-18"}, "medicationCodeableConcept": {"text": "Vitamin K2 (MK-7) 100 mcg capsule"}, "dosage": [once]},
        {"resourceType": "Observation", "id": f"{name}-o", "status": "final", "subject": subject, "effectiveDateTime": "2026-11-20",
         "code": {"coding": [{"system": "http://loinc.org", "code": "6301-6"}]}, "valueQuantity": {"value": float(inr)}},
    ]  # fmt: skip


def lines(*people):
    return b"".join(json.dumps(one).encode() + b"\n" for who in people for one in who)


def background(name):
    """Somebody of whom there is a creatinine alone, which no rule takes up by itself."""
    return [
        {"resourceType": "Patient", "id": name, "gender": "female", "birthDate": "1985-01-01"},
        {"resourceType": "Observation", "id": f"{name}-o", "status": "final", "subject": {"reference": f"Patient/{name}"}, "effectiveDateTime": "2026-11-20",
         "code": {"coding": [{"system": "http://loinc.org", "code": "2160-0"}]}, "valueQuantity": {"value": 1.0, "unit": "mg/dL"}},
    ]  # fmt: skip


def send(site, body, name="export.ndjson", **fields):
    fields = {"form_token": site.form_token(), "as_of": "2026-11-22T12:00", **fields}
    return site.client.post(
        "/batch/upload", data=fields, files={"file": (name, body)}, headers=OURS
    )


def by_path(site, path, **fields):
    fields = {"form_token": site.form_token(), "path": path, **fields}
    return site.client.post("/batch/path", data=fields, headers=OURS)


def settled(site, job, seconds=90):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = job_of(site.record.database, T, job)
        if found.state not in ACTIVE:
            return found
        time.sleep(0.1)
    raise AssertionError(f"the run is still {found.state}")


def id_of(answer):
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].rpartition("/")[2]


def test_an_upload_waits_in_the_folder_of_the_runs_and_never_in_the_systems_own(site, monkeypatch):
    """/tmp is small memory where the shipped files deploy us; here there is none at all."""
    monkeypatch.setattr(tempfile, "tempdir", str(site.folder / "no-such-folder"))
    site.now = NOON
    monkeypatch.setattr(MultiPartParser, "spool_max_size", 1000)  # more than this leaves memory
    job = id_of(send(site, lines(person("a"), person("b"))))
    assert settled(site, job).state == "done"
    assert list((site.folder / "runs" / INCOMING).iterdir()) == []


def test_an_upload_for_which_there_is_no_room_is_refused_in_words(site):
    (site.folder / "runs").mkdir(exist_ok=True)
    (site.folder / "runs" / INCOMING).write_text("no folder can be made here")
    site.now = NOON
    answer = send(site, lines(person("a")))
    assert answer.status_code == 507
    assert "The server has no room for this file." in answer.text
    assert jobs(site.record.database, T) == []


def test_the_page_of_a_run_says_how_many_were_not_looked_at_one_by_one_and_why(site):
    site.now = NOON
    job = id_of(send(site, lines(background("d"), background("e"), person("a"))))
    assert settled(site, job).state == "done"
    page = site.get(f"/batch/{job}").text
    told = " ".join(
        re.search(r'<p class="quiet" id="untriggered">(.*?)</p>', page, re.DOTALL)[1].split()
    )
    assert told.startswith(
        "Of 2 patients with nothing to say, 2 have only background results on file"
    )
    none = id_of(send(site, lines(person("a"))))
    assert settled(site, none).state == "done"
    assert 'id="untriggered"' not in site.get(f"/batch/{none}").text


def test_runs_wait_run_end_and_are_compared(site):
    site.now = NOON
    bad = b"{this is no json\n"
    first = id_of(send(site, lines(person("a")) + bad, name="John Doe.ndjson"))
    (site.folder / "allowed" / "second.ndjson").write_bytes(
        lines(person("a"), person("b", "3.9"), person("c"))
    )
    second = id_of(by_path(site, "second.ndjson", as_of="2026-11-22T12:00"))
    one, two = settled(site, first), settled(site, second)
    assert (one.state, two.state) == ("done", "done"), (one.says, two.says)
    assert one.exit_code == 12  # something was rejected
    assert two.started >= one.finished  # one at a time
    assert not (site.folder / "runs" / T / first / "in").exists()  # the upload is gone
    page = site.get(f"/batch/{first}").text
    assert "<strong>1</strong> reviewed" in page
    assert '<td class="num">5</td><td>The line is no JSON.' in page
    assert "John" not in page + site.get("/batch").text
    text = (site.folder / "runs" / T / second / "out/recommendations.csv").read_text("utf-8")
    told = Counter((row["rule"], row["indicator"]) for row in csv.DictReader(io.StringIO(text)))
    found = urgencies_of(site.folder / "runs" / T / second / "out")
    assert max(told.values()) > 1
    assert {(rule, one): count for rule, by in found.items() for one, count in by.items()} == told
    page = site.get(f"/batch/{second}").text
    shown = page[page.index('id="found"') : page.index("</section>", page.index('id="found"'))]
    for name in ("critical", "warning", "info"):
        assert (f"sev-{name}" in shown) is any(one == name for _, one in told)
    assert "As of 2026-11-22 12:00 UTC" in page
    compared = site.get(f"/batch/{second}?with={first}").text
    assert "new: b" in compared
    assert site.get(f"/batch/{second}?with=nothing").status_code == 404
    file = site.get(f"/batch/{second}/file/recommendations.csv")
    assert file.status_code == 200
    assert "attachment" in file.headers["content-disposition"]
    for name in ("..%2f..%2fkeys.json", "messages.txt", ".lock", "plan.json"):
        assert site.get(f"/batch/{second}/file/{name}").status_code == 404
    told = {row.action for row in jobs_audit(site)}
    assert {"run-asked", "run-running", "run-done", "export", "view"} <= told
    assert site.sign_in("lead", "mercy").get(f"/batch/{first}").status_code == 404


def jobs_audit(site):
    from service.alerts.audit_search import Wanted
    from service.alerts.audit_search import lines as audit_lines

    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = audit_lines(site.record.database, Wanted(tenant=T, about="run/"))
        if any(row.action == "export" for row in found):
            return found
        time.sleep(0.05)
    return found


def test_a_run_is_stopped_and_taken_up_again(site):
    waiting = put(site, "waits")
    site.app.state.run_queue.wake = lambda: None
    assert site.post(f"/batch/{waiting}/act", action="stop").status_code == 303
    assert job_of(site.record.database, T, waiting).state == "cancelled"
    assert site.post(f"/batch/{waiting}/act", action="stop").status_code == 409
    assert site.post(f"/batch/{waiting}/act", action="dance").status_code == 409
    assert "Go on" in site.get(f"/batch/{waiting}").text
    del site.app.state.run_queue.wake
    assert site.post(f"/batch/{waiting}/act", action="resume").status_code == 303
    assert settled(site, waiting).state == "done"


def put(site, name, *people):
    """A run in the queue that nobody works on yet."""
    queue = site.app.state.run_queue
    folder = queue.place(T, name) / "in"
    folder.mkdir(parents=True)
    (folder / "upload.ndjson").write_bytes(lines(*(people or (person("a"),))))
    ask_for(
        site.record.database, site.record.keyring, tenant=T, job=name, origin="upload", source="upload.ndjson",
        place=this_machine(), options=JobOptions(as_of=NOON.isoformat()), actor="user/x", at=site.now,
    )  # fmt: skip
    return name


def test_what_ran_when_the_service_ended_is_found_as_interrupted_and_goes_on(site):
    name = put(site, "left")
    given = {"tenant": T, "job": name, "actor": "x", "at": NOON}
    move(site.record.database, site.record.keyring, allowed={"waiting"}, to="running", **given)
    again = RunQueue(site.record, site.app.state.settings, lambda: NOON)  # the service starts anew
    assert settled(site, name).state == "interrupted"
    site.post(f"/batch/{name}/act", action="resume")
    assert settled(site, name).state == "done"
    again.stop()


def test_a_killed_process_leaves_an_interrupted_run(site):
    many = [person(f"p{number}") for number in range(3000)]
    name = put(site, "killed", *many)
    queue = site.app.state.run_queue
    queue.wake()
    until = time.monotonic() + 60
    while queue._child is None and time.monotonic() < until:
        time.sleep(0.01)
    queue._child.kill()
    ended = settled(site, name)
    assert ended.state == "interrupted"
    assert not (queue.place(T, name) / "out" / "run.json").exists()
    site.post(f"/batch/{name}/act", action="resume")
    done = settled(site, name)
    assert (done.state, done.attempts) == ("done", 2)
    assert "<strong>3,000</strong> reviewed" in site.get(f"/batch/{name}").text


def test_stopping_a_running_one_keeps_what_is_done(site):
    name = put(site, "stopped", *[person(f"p{number}") for number in range(3000)])
    queue = site.app.state.run_queue
    queue.wake()
    out, until = queue.place(T, name) / "out", time.monotonic() + 60
    while not progress_of(out).total and time.monotonic() < until:
        time.sleep(0.01)
    assert site.post(f"/batch/{name}/act", action="stop").status_code == 303
    ended = settled(site, name)
    assert ended.state in {"cancelled", "done"}
    stream = site.get(f"/batch/{name}/live").text
    assert f"<strong>{ended.state.capitalize()}.</strong>" in stream


def test_files_of_old_runs_are_removed(site):
    queue = site.app.state.run_queue
    for name, days in (("old", 400), ("young", 10)):
        folder = queue.place(T, name)
        folder.mkdir(parents=True)
        when = (NOON - timedelta(days=days)).timestamp()
        os.utime(folder, (when, when))
    queue._tidy()
    assert [one.name for one in (site.folder / "runs" / T).iterdir()] == ["young"]


def test_a_run_that_cannot_be_made_says_why(site):
    (site.folder / "allowed" / "empty").mkdir()
    name = id_of(by_path(site, "empty"))
    ended = settled(site, name)
    assert ended.state == "failed"
    assert "no FHIR file" in site.get(f"/batch/{name}").text


def test_only_those_who_may_start_runs_do(site):
    site.sign_in("reader")
    page = site.get("/batch").text
    assert 'type="file"' not in page
    assert send(site, lines(person("a"))).status_code == 403
    assert by_path(site, "x").status_code == 403
    assert jobs(site.record.database, T) == []
    site.sign_in("lead")
    foreign = site.client.post(
        "/batch/upload",
        data={"form_token": "x"},
        files={"file": ("a.ndjson", b"{}")},
        headers=OURS,
    )
    assert foreign.status_code == 403
    assert site.post("/batch/upload").status_code == 415
    site.client.cookies.clear()
    assert site.client.post("/batch/upload", files={"file": ("a", b"{}")}, headers=OURS).status_code == 401  # fmt: skip


def test_forms_are_checked_before_anything_is_kept(site):
    body = lines(person("a"))
    for fields in ({"profile": "atlantis"}, {"as_of": "tomorrow"}, {"store": "yes"}):
        assert send(site, body, **fields).status_code == 422
    assert send(site, b"", name="").status_code in {415, 422}
    assert send(site, b"x" * (2 * MEGABYTE)).status_code == 413
    for path in ("", "../x", "/etc/passwd", "missing.ndjson"):
        assert by_path(site, path).status_code == 422
    assert jobs(site.record.database, T) == []
    assert not (site.folder / "runs" / T).exists() or not list((site.folder / "runs" / T).iterdir())


def test_runs_are_paged_by_time_and_id(site):
    site.app.state.run_queue.wake = lambda: None
    for number in range(30):
        put(site, f"r{number:02}")
    first = site.get("/batch").text
    assert first.count('class="job job-waiting"') == 25
    more = first.split("after=")[1].split('"')[0]
    assert site.get(f"/batch?after={more}").text.count('class="job job-waiting"') == 5
    assert site.get("/batch?after=x").status_code == 422


# What may be read: no database needed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "body", "kept"),
    [
        ("a.json", b'{"resourceType": "Bundle"}', "upload.json"),
        ("A B.NDJSON", b'\xef\xbb\xbf\n {"a": 1}', "upload.ndjson"),
        ("x.jsonl", b"{}", "upload.ndjson"),
        ("x.ndjson.gz", gzip.compress(b'{"a": 1}\n' * 2000), "upload.ndjson.gz"),
    ],
)
def test_an_upload_is_kept_under_a_name_of_ours(tmp_path, name, body, kept):
    assert keep_upload(name, io.BytesIO(body), tmp_path / "in", MEGABYTE) == kept
    assert (tmp_path / "in" / kept).read_bytes() == body


def bomb(size=64):
    packer = zlib.compressobj(wbits=31)
    return b"".join(packer.compress(b"{" + b" " * MEGABYTE) for _ in range(size)) + packer.flush()


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("a.xml", b"{}", 415),
        ("a.gz", b"{}", 415),
        ("a.json.gz.exe", b"{}", 415),
        ("a.json", b"<Bundle/>", 422),
        ("a.json", b"", 422),
        ("a.json", gzip.compress(b"{}"), 422),
        ("a.json.gz", b"{}", 422),
        ("a.json.gz", gzip.compress(b"{}")[:4] + b"broken", 422),
        ("a.json", b"{" * (MEGABYTE + 1), 413),
        ("a.ndjson.gz", bomb(), 413),
        ("a.ndjson.gz", gzip.compress(b"{}\n") + bomb(), 413),
    ],
)
def test_what_is_no_record_too_large_or_a_bomb_is_refused(tmp_path, name, body, status):
    with pytest.raises(InputRefused) as refused:
        keep_upload(name, io.BytesIO(body), tmp_path / "in", MEGABYTE)
    assert refused.value.status == status
    assert not (tmp_path / "in").exists()


def test_paths_stay_below_the_allowed_folder(tmp_path):
    root, beside = tmp_path / "allowed", tmp_path / "allowed-too"
    root.mkdir()
    beside.mkdir()
    (beside / "x.ndjson").write_text("{}")
    (root / "deep").mkdir()
    (root / "deep" / "x.ndjson").write_text("{}")
    (root / "link.ndjson").symlink_to(beside / "x.ndjson")
    (root / "away").symlink_to(beside)
    os.mkfifo(root / "pipe.ndjson")
    (root / "mixed").mkdir()
    (root / "mixed" / "inner.ndjson").symlink_to(beside / "x.ndjson")
    (root / "piped").mkdir()
    os.mkfifo(root / "piped" / "p.ndjson")
    assert allowed_path(root, "deep/x.ndjson") == root / "deep" / "x.ndjson"
    assert allowed_path(root, "deep") == root / "deep"
    for given in (
        "", ".", "..", "../allowed-too/x.ndjson", str(beside / "x.ndjson"), "deep/../../allowed-too/x.ndjson", "link.ndjson",
        "away/x.ndjson", "pipe.ndjson", "mixed", "piped", "deep/none", "deep\0",
    ):  # fmt: skip
        with pytest.raises(InputRefused):
            allowed_path(root, given)
    with pytest.raises(InputRefused):
        allowed_path(None, "deep")


def test_rejects_are_paged_by_their_place_in_the_file(tmp_path):
    rows = [{"file": "a", "line": n, "code": "c", "says": "s"} for n in range(120)]
    (tmp_path / "rejects.ndjson").write_text("".join(json.dumps(one) + "\n" for one in rows))
    seen, after = [], 0
    while True:
        found = rejects_of(tmp_path, after)
        seen += [one.line for one in found.rows]
        if not found.after:
            break
        after = found.after
    assert seen == list(range(120))
    assert rejects_of(tmp_path / "nowhere").rows == []
    with pytest.raises(RequestError):
        differences(tmp_path, tmp_path)
