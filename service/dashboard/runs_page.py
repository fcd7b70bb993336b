"""The batch page: runs of this client, and the forms that start one from an upload or from a path of the server."""

from __future__ import annotations

import base64
import binascii
import shutil
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from rules.errors import RequestError
from service.alerts.batch_jobs import ACTIVE, JobOptions, ask_for, jobs
from service.alerts.runs import runs
from service.dashboard.runs_intake import InputRefused, allowed_path, keep_upload
from service.dashboard.runs_queue import RunQueue, this_machine
from service.dashboard.runs_report import account_of, progress_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from service.dashboard.desk import Desk, Visit

_SIZE: Final = 25
_MEGABYTE: Final = 1 << 20


class RunsPage:
    """Shows runs and starts them."""

    def __init__(self, desk: Desk, queue: RunQueue) -> None:
        self._desk = desk
        self._queue = queue
        desk.largest_file["/batch/upload"] = desk.parts.settings.upload_mb * _MEGABYTE
        desk.route("GET", "/batch", "see-runs", self.show)
        desk.route("POST", "/batch/upload", "start-runs", self.upload)
        desk.route("POST", "/batch/path", "start-runs", self.take_path)

    def show(self, visit: Visit) -> Response:
        """Runs, newest first."""
        return self._render(visit)

    def upload(self, visit: Visit) -> Response:
        """Keep the file and put a run at the end of the queue."""
        if visit.file is None or not visit.file.filename:
            return self._render(visit, problem="Choose a file.", status=422)
        job = uuid.uuid4().hex
        folder = self._queue.place(visit.who.tenant, job)
        try:
            options = self._options(visit)
            kept = keep_upload(
                visit.file.filename,
                visit.file.file,
                folder / "in",
                self._desk.largest_file["/batch/upload"],
            )
        except RequestError as error:
            shutil.rmtree(folder, ignore_errors=True)
            return self._render(visit, problem=str(error), status=error.status)
        return self._put(visit, job, "upload", kept, options)

    def take_path(self, visit: Visit) -> Response:
        """Put a run over files of the server at the end of the queue."""
        given = visit.form.get("path", "").strip()
        try:
            options = self._options(visit)
            root = self._desk.parts.settings.runs_root
            place = allowed_path(root, given)
        except RequestError as error:
            return self._render(visit, problem=str(error), status=error.status)
        job = uuid.uuid4().hex
        self._queue.place(visit.who.tenant, job).mkdir(parents=True, mode=0o700)
        inside = place.relative_to(root.resolve()) if root else place
        return self._put(visit, job, "path", inside.as_posix(), options)

    def _put(
        self, visit: Visit, job: str, origin: str, source: str, options: JobOptions
    ) -> Response:
        record = self._desk.record
        ask_for(
            record.database, record.keyring, tenant=visit.who.tenant, job=job, origin=origin, source=source,
            place=this_machine(), options=options, actor=visit.who.actor, at=visit.now,
        )  # fmt: skip
        self._queue.wake()
        return visit.go(f"/batch/{job}")

    def _options(self, visit: Visit) -> JobOptions:
        given = visit.form.get("as_of", "").strip()
        profile = visit.form.get("profile", "")
        if profile and profile not in _profiles(self._desk):
            raise InputRefused("There is no such band profile.")
        store = visit.form.get("store", "") == "yes"
        if store and not self._may_store(visit):
            raise InputRefused("This site has no client profile to store results for.")
        return JobOptions(as_of=_moment(given, visit), profile=profile, store=store)

    def _may_store(self, visit: Visit) -> bool:
        registry = self._desk.parts.registry
        return registry is not None and registry.by_id(visit.who.tenant) is not None

    def _render(self, visit: Visit, *, problem: str = "", status: int = 200) -> Response:
        database, tenant = self._desk.record.database, visit.who.tenant
        found = jobs(database, tenant, before=_cursor(visit.query.get("after", "")), limit=_SIZE + 1)  # fmt: skip
        shown = found[:_SIZE]
        settings = self._desk.parts.settings
        folders = {job.id: self._queue.folder_of(job) / "out" for job in shown}
        return visit.page(
            "runs.html", status=status, problem=problem, jobs=shown, more=_mark(shown[-1].asked, shown[-1].id) if len(found) > _SIZE else "",
            progress={job.id: progress_of(folders[job.id]) for job in shown if job.state in ACTIVE},
            accounts={job.id: account_of(folders[job.id]) for job in shown if job.state == "done"},
            recorded=runs(database, tenant, 10), profiles=_profiles(self._desk), own_profile=settings.profile,
            root=settings.runs_root is not None, upload_mb=settings.upload_mb, may_store=self._may_store(visit),
            may_start=visit.who.may("start-runs"), zone=self._desk.zone.key,
        )  # fmt: skip


def _profiles(desk: Desk) -> list[str]:
    book = desk.parts.engine.rulebook
    return sorted({name for held in book.parameters.values() for name in held.profiles})


def _moment(given: str, visit: Visit) -> str:
    """The moment as the command takes it; a moment without a zone, as browsers send it, is one of the site."""
    if not given:
        return visit.now.isoformat(timespec="seconds")
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise InputRefused("The moment is no date and time.") from None
    at = at if at.tzinfo else at.replace(tzinfo=visit.here.tzinfo)
    return at.isoformat(timespec="seconds")


def _mark(asked: int, job: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([asked, job])).decode()


def _cursor(mark: str) -> tuple[int, str] | None:
    if not mark:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(mark), type=tuple[int, str])
    except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
        raise RequestError("'after' is no cursor of this list.", status=422) from error
