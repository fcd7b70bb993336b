"""The page of one batch run: how far it is, what came out, rejects by line, comparison, stop and go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, StreamingResponse

from rules.errors import RequestError, Unavailable
from service.alerts.batch_jobs import ACTIVE, RESUMABLE, Job, job_of, jobs, move
from service.dashboard.runs_report import (
    DOWNLOADS,
    RuleDifference,
    account_of,
    differences,
    progress_of,
    rejects_of,
    urgencies_of,
)
from service.dashboard.templating import render

if TYPE_CHECKING:
    from starlette.responses import Response

    from service.alerts.batch_jobs import JobState
    from service.dashboard.desk import Desk, Visit
    from service.dashboard.runs_queue import RunQueue

_EVERY: Final = 1.0  # seconds between two looks
_LOOKS: Final = 120
_COMPARABLE: Final = 50
_LARGEST_OFFSET: Final = 2**40


class RunPage:
    """Shows one run, stops it, and lets it go on."""

    def __init__(self, desk: Desk, queue: RunQueue) -> None:
        self._desk = desk
        self._queue = queue
        desk.route("GET", "/batch/{job}", "see-runs", self.show)
        desk.route("GET", "/batch/{job}/live", "see-runs", self.stream, keeps_awake=False)
        desk.route("GET", "/batch/{job}/file/{name}", "see-alerts", self.download)
        desk.route("POST", "/batch/{job}/act", "start-runs", self.act)

    def show(self, visit: Visit) -> Response:
        """One run as it stands."""
        return self._render(visit)

    def act(self, visit: Visit) -> Response:
        """Stop a run, or put it into the queue again."""
        job = self._job(visit)
        action = visit.form.get("action", "")
        wanted: dict[str, tuple[tuple[set[str], JobState], ...]] = {
            "stop": (({"waiting"}, "cancelled"), ({"running"}, "stopping")),
            "resume": ((set(RESUMABLE), "waiting"),),
        }
        record = self._desk.record
        done = any(
            move(
                record.database, record.keyring, tenant=job.tenant, job=job.id, allowed=allowed, to=to,
                actor=visit.who.actor, at=visit.now,
            )
            for allowed, to in wanted.get(action, ())
        )  # fmt: skip
        if not done:
            words = "Not done: the run is no longer in a state in which that can be done."
            return self._render(visit, problem=words, status=409)
        self._queue.wake()
        return visit.go(f"/batch/{job.id}")

    def download(self, visit: Visit) -> Response:
        """One of the files of a finished run."""
        job = self._job(visit)
        name = visit.path["name"]
        path = self._out(job) / name
        if name not in DOWNLOADS or job.state != "done" or not path.is_file():
            raise RequestError("There is no such file.", status=404, code="not-found")
        self._desk.note(visit, "export", f"run/{job.id}/{name}")
        return FileResponse(path, media_type=DOWNLOADS[name], filename=f"{job.id[:8]}-{name}")

    def stream(self, visit: Visit) -> Response:
        """How far the run is, whenever that changes."""
        return StreamingResponse(self._steps(self._job(visit)), media_type="text/event-stream")

    # Steps ----------------------------------------------------------------------------------------------------------

    def _render(self, visit: Visit, *, problem: str = "", status: int = 200) -> Response:
        job = self._job(visit)
        out = self._out(job)
        offset = visit.query.get("rejects", "0")
        after = int(offset[:15]) if offset.isascii() and offset.isdigit() else 0
        other = visit.query.get("with", "")
        compared: list[RuleDifference] | None = None
        if other and job.state == "done":
            try:
                compared = self._compared(job, other)
            except RequestError as error:
                problem, status = problem or str(error), error.status
        self._desk.note(visit, "view", f"run/{job.id}")
        return visit.page(
            "run.html", status=status, problem=problem, job=job, active=job.state in ACTIVE, resumable=job.state in RESUMABLE,
            progress=progress_of(out) if job.state in ACTIVE | RESUMABLE else None, account=account_of(out),
            rejects=rejects_of(out, min(after, _LARGEST_OFFSET)), offset=after, downloads=[name for name in DOWNLOADS if (out / name).is_file()],
            others=[one for one in jobs(self._desk.record.database, job.tenant, limit=_COMPARABLE) if one.state == "done" and one.id != job.id],
            compared=compared, other=other, may_start=visit.who.may("start-runs"), may_see=visit.who.may("see-alerts"),
            cards=self._desk.parts.engine.rulebook.cards, urgencies=self._urgencies(job) if job.state == "done" else {}, own_profile=self._desk.parts.settings.profile,
        )  # fmt: skip

    def _urgencies(self, job: Job) -> dict[str, dict[str, int]]:
        """Which urgency each rule's findings had; kept beside the results, since they may be a million lines."""
        kept = self._queue.folder_of(job) / "urgencies.json"
        if kept.is_file():
            return msgspec.json.decode(kept.read_bytes(), type=dict[str, dict[str, int]])
        found = urgencies_of(self._out(job))
        kept.write_bytes(msgspec.json.encode(found))
        return found

    def _compared(self, job: Job, other: str) -> list[RuleDifference]:
        """What changed from an earlier run to this one; kept beside the results, so that it is made once."""
        earlier = job_of(self._desk.record.database, job.tenant, other)
        kept = self._queue.folder_of(job) / f"compared-{earlier.id}.json"
        if kept.is_file():
            return msgspec.json.decode(kept.read_bytes(), type=list[RuleDifference])
        found = differences(self._out(earlier), self._out(job))
        kept.write_bytes(msgspec.json.encode(found))
        return found

    def _job(self, visit: Visit) -> Job:
        return job_of(self._desk.record.database, visit.who.tenant, visit.path["job"])

    def _out(self, job: Job) -> Path:
        return self._queue.folder_of(job) / "out"

    async def _steps(self, job: Job) -> AsyncIterator[str]:
        told = ""
        yield "retry: 2000\n\n"
        for _ in range(_LOOKS):
            try:
                state, data = await run_in_threadpool(self._told, job)
            except (Unavailable, RequestError):
                return
            if data != told:
                told = data
                yield f"data: {data}\n\n"
            if state not in ACTIVE:
                return
            await asyncio.sleep(_EVERY)

    def _told(self, job: Job) -> tuple[str, str]:
        """The state and how far it is, as one line of the page's own markup."""
        now = job_of(self._desk.record.database, job.tenant, job.id)
        how_far = progress_of(self._out(job))
        told = render("progress.html", state=now.state, progress=how_far, job_id=now.id)
        return now.state, " ".join(told.split())
