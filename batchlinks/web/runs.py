"""What can be done with an uploaded list: taken in, checked, changed, started, stopped, downloaded, deleted.

The API and the page both speak to `Runs`. What cannot be done is an exception of this module with a sentence.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Literal
from weakref import WeakValueDictionary

from pydantic import BaseModel, Field

from batchlinks.config.settings import Config, RunSettings, choose_project
from batchlinks.corrections.cell_correction import CellCorrection
from batchlinks.errors import ExitCode, SettingsError
from batchlinks.logs import logger
from batchlinks.outreach.languages import Language
from batchlinks.pipeline import audit
from batchlinks.storage.local import LocalFolder
from batchlinks.web.askings import Askings
from batchlinks.web.check_result import CheckRefusal, CheckResult, RunForecast, read_check
from batchlinks.web.choices import REMEMBERED, RememberedChoices
from batchlinks.web.form_fields import effective, merged
from batchlinks.web.job import Task
from batchlinks.web.job_queue import JobQueue, kill_worker, start_worker
from batchlinks.web.uploads import StatusRequest, Upload, Uploads, now
from batchlinks.web.wording import PAGE, Asks, asks

_DAY_S = 86_400.0
_CHECK_S = 90.0
_CHECK_S_PER_MEGABYTE = 7.0  # a little more than reading may take
_SHORT_LIVED = frozenset({"annotated", "letters"})
_SHORT_LIFE_S = 86_400.0
"""After which these files are deleted, whatever --keep-days says."""

_FINISHED = (ExitCode.DONE, ExitCode.DONE_WITH_ERRORS)

File = Literal[
    "links", "errors", "duplicates", "corrections", "annotated", "letters", "summary", "check", "status", "reminder"
]


class Unusable(Exception):
    """422: the list or a setting cannot be used."""

    def __init__(
        self, sentence: str, asks: Asks | None = None, sheets: Sequence[str] = (), header_rows: Sequence[int] = ()
    ) -> None:
        super().__init__(sentence)
        self.asks = asks
        """What somebody could answer to it."""

        self.sheets = sheets
        """Names of the sheets of which somebody has to choose one; empty where that is not asked."""

        self.header_rows = header_rows
        """Numbers of the rows of which one is the right header; empty where that is not asked."""


class TooLarge(Exception):
    """413: the list is over the limit."""


class NotNow(Exception):
    """409: this cannot be done in the state that the run is in."""


class NotThere(Exception):
    """404: there is no such run, or none of this user's."""


class RunStatus(BaseModel):
    """Who has answered, as HealthEx showed it."""

    state: Literal["running", "done", "stopped"]
    responses: dict[str, int] = Field(description="A count for each response, as HealthEx showed it when it was asked.")
    asked_from: str | None = Field(
        description="The first day on which HealthEx showed one of them; null where it never did."
    )
    asked_until: str | None = Field(description="The last of these days.")
    reminded: int | None = Field(description="Patients in the reminder; null where none was wanted.")
    exit_code: int | None = Field(description="As that of `batchlinks status`; null while running.")
    message: str | None = Field(description="Why it stopped.")
    files: list[str] = Field(description="What can be downloaded: `status`, and `reminder` where there is one.")


class Run(BaseModel):
    """What is known of a run."""

    id: str
    state: Literal["checked", "waiting", "running", "done", "stopped"]
    name: str = Field(description="Of the uploaded file.")
    uploaded_at: str
    deleted_after: str = Field(description="When upload and results are deleted by themselves.")
    owner: str | None = Field(description="Who uploaded it, where people sign in.")
    settings: dict[str, Any] = Field(description="What was set for this run.")
    remembered: list[str] = Field(description="Settings that are as they were last time for a list with these columns.")
    proposed_project: str | None = Field(
        description="The project that a list with these columns was sent to last, where none is set."
    )
    project: str | None = Field(description="The project that the links are for, by its name where it has one.")
    sheet: str | None
    sheets: list[str] = Field(description="Of a workbook.")
    header_row: int = Field(description="Row with the headers; 0: there are none.")
    encoding: str | None = Field(description="Of a CSV.")
    columns: list[str]
    id_column: str | None = Field(description="Header of the column with the patient ID; null while undecided.")
    candidates: list[str] = Field(description="Columns that could be it, while undecided.")
    cautions: list[dict[str, Any]] = Field(
        description="Columns such as `Deceased` about which it is undecided whether marked patients are left out: "
        "`name` (for `heed` or `ignore`), `question`, `rows`."
    )
    rows: int
    sendable: int | None = Field(description="Patients for whom a link can be asked; null while undecided.")
    duplicates: int | None
    preview: RunForecast | None = Field(
        description="Before the start, what would happen now: `new` and `known` patients (without and with a link), "
        "`withdrawn` and `held_back` rows, `answered` (a count for each response), `missing` since the last run of this list, "
        "the `project`, its `place` (`production`, or another HealthEx), `done_before` (when this very list was done); null "
        "without a project."
    )
    errors: dict[str, int] = Field(description="Rows without a link for each code.")
    warnings: list[str]
    warning_rows: list[str] = Field(description="For each warning the rows that it is about; empty for none.")
    lengths: list[dict[str, int]] = Field(
        description="Lengths of the all-digit IDs, the most frequent first: `digits`, and how many `rows` have so many."
    )
    lengths_in_doubt: bool = Field(
        description="Whether IDs of other lengths would be sent: set `id_width` to add zeros, or `any_length`."
    )
    corrections: int = Field(description="Cells that were corrected.")
    belongs_to: str | None = Field(
        description="Of an error report or annotated workbook: the ID of the uploaded list to which its corrections belong."
    )
    place: int | None = Field(description="In line, while waiting; 1 is next.")
    total: int = Field(description="Patients for whom this run gets a link.")
    done: int = Field(description="How many of them are settled, linked or not.")
    linked: int
    rate: float | None = Field(description="Patients a second, while running.")
    seconds_left: float | None
    exit_code: int | None = Field(description="As that of the command, once it has ended.")
    message: str | None = Field(description="Why it stopped, or what is to be said of its links workbook.")
    files: list[str] = Field(description="What can be downloaded.")
    status: RunStatus | None = Field(description="Who has answered; null until somebody asked.")


@dataclass(frozen=True, slots=True)
class UploadRules:
    """What IT has set up for all runs."""

    base: RunSettings
    config: Config
    keep_days: float
    at_once: int
    max_bytes: int
    data_folder: Path
    new_ledgers: bool = False
    """Whether a run may say that its ledger is meant to be new."""


class Runs:
    """All runs of a server. A context manager: within it they are taken up, worked on and deleted on time."""

    def __init__(self, rules: UploadRules) -> None:
        self.rules = rules
        self.uploads = Uploads(rules.data_folder / "uploads")
        self.choices = RememberedChoices(rules.data_folder)
        self._passwords: dict[str, str] = {}
        """Of protected lists, by upload: in memory alone, so that a restart forgets them."""

        self._queue = JobQueue(self.uploads, self._task, rules.at_once)
        self._askings = Askings(self.uploads, lambda upload: replace(self._task(upload), do="status"), rules.at_once)
        self._checks = asyncio.Semaphore(max(2, os.cpu_count() or 1))
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Raises BatchlinksError where the data folder cannot be used."""
        self.uploads.prepare()
        await self._clear()
        self._queue.recover()
        self._askings.recover()
        sweeping = asyncio.create_task(self._clear_now_and_then())
        try:
            yield
        finally:
            sweeping.cancel()
            await asyncio.gather(self._queue.close(), self._askings.close())

    # --- looking ----------------------------------------------------------------------------------------------

    def find(self, id: str, user: str | None) -> Upload:  # noqa: A002 what everybody calls it
        """Raises NotThere; another user's run is not there either."""
        upload = self.uploads.find(id)
        if upload is None or upload.owner != user or upload.checked is None:
            raise NotThere("We can't find this list. It may have been deleted, by someone or automatically.")
        return upload

    def all_of(self, user: str | None) -> list[Upload]:
        """The latest first."""
        return [upload for upload in self.uploads.all() if upload.owner == user and upload.checked is not None]

    def known(self, upload: Upload) -> Run:
        """What is to be said of it now."""
        checked = check_of(upload)
        outcome, progress, place = (
            self.uploads.outcome(upload),
            self.uploads.progress(upload),
            self._queue.place(upload),
        )
        sendable = checked.sendable
        limit = upload.settings.get("limit")
        expected = sendable or 0 if limit is None else min(sendable or 0, limit)
        facts = {
            "state": "checked" if upload.started_at is None else "waiting" if place else "running",
            "total": progress.get("total") or expected,
            "done": progress.get("done", 0),
            "linked": progress.get("linked", 0),
            "rate": progress.get("rate"),
            "seconds_left": progress.get("seconds_left"),
            "place": place,
            "exit_code": None,
            "message": None,
            "errors": checked.errors,
            "warnings": checked.warnings,
            "warning_rows": checked.warning_rows,
            "files": sorted({*(["check"] if checked.file else []), *self._former_files(upload)}),
        }
        if outcome is not None:
            summary = outcome["summary"]
            facts |= {
                "state": "done" if outcome["exit_code"] in _FINISHED else "stopped",
                "total": outcome["total"] or expected,
                "done": outcome["done"],
                "linked": summary.get("linked", 0),
                "rate": None,
                "seconds_left": None,
                "exit_code": outcome["exit_code"],
                "message": outcome["message"],
                "errors": summary.get("errors", checked.errors),
                "warnings": summary.get("warnings", checked.warnings),
                "warning_rows": summary.get("warning_rows", [] if summary else checked.warning_rows),
                "files": sorted(self._still_there(upload, outcome["files"])),
            }
        return Run(
            id=upload.id,
            name=upload.name,
            uploaded_at=upload.uploaded_at,
            deleted_after=self._deleted_after(upload),
            owner=upload.owner,
            settings=dict(upload.settings),
            remembered=list(upload.recalled),
            project=(project := self.project_of(upload)),
            proposed_project=self._proposed_project(upload) if project is None else None,
            sheet=checked.sheet,
            sheets=list(checked.sheets),
            header_row=checked.header_row,
            encoding=checked.encoding,
            lengths=[{"digits": digits, "rows": rows} for digits, rows in checked.lengths],
            lengths_in_doubt=checked.lengths_in_doubt,
            corrections=len(upload.corrections),
            belongs_to=self._list_of(upload),
            columns=list(checked.columns),
            id_column=checked.id_column,
            candidates=list(checked.candidates),
            rows=checked.rows,
            sendable=checked.sendable,
            duplicates=checked.duplicates,
            preview=checked.forecast if upload.started_at is None else None,
            cautions=[asdict(caution) for caution in checked.cautions],
            status=self._status_of(upload),
            **facts,
        )

    def _status_of(self, upload: Upload) -> RunStatus | None:
        if self.uploads.status_request(upload) is None:
            return None
        answered = self.uploads.answered(upload) or {}
        is_asking = self.uploads.is_asking(upload)
        ended: Literal["done", "stopped"] = "done" if answered.get("exit_code") in _FINISHED else "stopped"
        return RunStatus(
            state="running" if is_asking else ended,
            responses=answered.get("responses", {}),
            asked_from=answered.get("asked_from"),
            asked_until=answered.get("asked_until"),
            reminded=answered.get("reminded"),
            exit_code=None if is_asking else answered.get("exit_code"),
            message=None if is_asking else answered.get("message"),
            files=sorted(self._still_there(upload, answered.get("files", {}))),
        )

    def project_of(self, upload: Upload) -> str | None:
        """In words where the project has a name, else its ID; None where none is set or its name is unknown."""
        try:
            settings = effective(self.rules.base, upload.settings)
            project_id = choose_project(settings, self.rules.config)
        except SettingsError:
            return None
        names = {each: name for name, each in self.rules.config.projects.items()}
        return settings.project or names.get(project_id or "", project_id)

    def _former_files(self, upload: Upload) -> list[str]:
        """What an earlier attempt wrote, where the list was only looked at since."""
        if upload.started_at is not None:
            return []
        return self._still_there(upload, (self.uploads.last_outcome(upload) or {}).get("files", {}))

    def _still_there(self, upload: Upload, files: Mapping[str, str]) -> list[str]:
        return [
            kind
            for kind, name in files.items()
            if kind not in _SHORT_LIVED or (self.uploads.of(upload) / name).exists()
        ]

    def _proposed_project(self, upload: Upload) -> str | None:
        choices = self.choices.recall(upload.owner, check_of(upload).columns)
        name, project_id = choices.get("project"), choices.get("project_id")
        if name is not None:
            return str(name) if name in self.rules.config.projects else None
        return None if project_id is None else str(project_id)

    def _list_of(self, upload: Upload) -> str | None:
        """The ID of the list whose corrections these are: the latest one of this user with these contents."""
        sha256 = check_of(upload).report_of
        if not sha256:
            return None
        lists = (other for other in self.all_of(upload.owner) if other.id != upload.id)
        return next((other.id for other in lists if check_of(other).list_sha256 == sha256), None)

    def file(self, upload: Upload, kind: File) -> Path:
        """Raises NotNow before the run has ended, NotThere where it came to no such file."""
        if kind == "check":
            name: str | None = check_of(upload).file
        elif kind in ("status", "reminder"):
            name = (self.uploads.answered(upload) or {}).get("files", {}).get(kind)
        else:
            outcome = self.uploads.outcome(upload)
            if outcome is None and upload.started_at is None:
                outcome = self.uploads.last_outcome(upload)
            if outcome is None:
                raise NotNow("There are no results yet.")
            name = outcome["files"].get(kind)
        path = self.uploads.of(upload) / name if name else None
        if path is None or not path.is_file():
            raise NotThere("We can't find this file.")
        return path

    def _deleted_after(self, upload: Upload) -> str:
        when = self.uploads.last_change(upload) + self.rules.keep_days * _DAY_S
        return datetime.fromtimestamp(when, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    # --- doing ------------------------------------------------------------------------------------------------

    async def upload(
        self,
        name: str,
        content: IO[bytes],
        settings: Mapping[str, Any],
        user: str | None,
        *,
        password: str | None = None,
        templates: Mapping[Language, bytes] = MappingProxyType({}),
    ) -> Upload:
        """Take in a list and check it. Raises Unusable, and then nothing of it is kept."""
        upload = await asyncio.to_thread(self.uploads.receive, name, content, user)
        try:
            await asyncio.to_thread(self.uploads.keep_templates, upload, templates)
            if password:
                self._passwords[upload.id] = password
            upload = await self._checked(upload, merged({}, settings))
            upload = await self._as_last_time(upload, settings)
            self._note("uploaded", upload, user)
            return self.uploads.save(upload)
        except BaseException:
            self._passwords.pop(upload.id, None)
            self.uploads.remove(upload.id)
            raise

    async def _as_last_time(self, upload: Upload, given: Mapping[str, Any]) -> Upload:
        """With what this user chose for the last list with these columns, where that can be used again."""
        chosen = self.choices.recall(upload.owner, check_of(upload).columns)
        missing = {name: chosen[name] for name in REMEMBERED if name in chosen and name not in given}
        if not missing:
            return upload
        try:
            upload = await self._checked(upload, merged(upload.settings, missing))
        except Unusable:
            return upload
        return replace(upload, recalled=tuple(missing))

    async def change(
        self, upload: Upload, changes: Mapping[str, Any], user: str | None, *, password: str | None = None
    ) -> Upload:
        """Check it again with other settings. Raises NotNow while it waits or runs, and Unusable: then all is as before.

        What it came to before stays until it is started again.
        """
        async with self._alone(upload):
            upload = await self._at_rest(upload, user)
            if password:
                self._passwords[upload.id] = password
            upload = await self._checked(upload, merged(upload.settings, changes))
            recalled = tuple(name for name in upload.recalled if name not in changes)
            return self.uploads.save(replace(upload, started_at=None, recalled=recalled))

    async def write_to(self, upload: Upload, templates: Mapping[Language, bytes], user: str | None) -> Upload:
        """Take these templates for its letters, and check the list again. Raises as `change` does."""
        async with self._alone(upload):
            upload = await self._at_rest(upload, user)
            before = await asyncio.to_thread(self.uploads.templates, upload)
            await asyncio.to_thread(self.uploads.keep_templates, upload, templates)
            try:
                upload = await self._checked(upload, dict(upload.settings))
            except BaseException:
                self.uploads.keep_templates(upload, before)
                raise
            return self.uploads.save(replace(upload, started_at=None))

    async def correct(self, upload: Upload, cells: Sequence[CellCorrection], user: str | None) -> Upload:
        """Type these cells over, and check the whole list again. Raises as `change` does.

        A cell that is corrected again, or back to what it was, replaces its earlier correction.
        """
        async with self._alone(upload):
            upload = await self._at_rest(upload, user)
            latest = {(each["row"], each["column"]): each for each in upload.corrections}
            latest |= {(each.row, each.column): each.as_json() for each in cells}
            upload = await self._checked(replace(upload, corrections=tuple(latest.values())), dict(upload.settings))
            self._note("corrected", upload, user, cells=len(cells))
            return self.uploads.save(replace(upload, started_at=None))

    async def take_back_corrections(self, upload: Upload, user: str | None) -> Upload:
        """The list as it was uploaded, checked again. Raises as `change` does."""
        async with self._alone(upload):
            upload = await self._at_rest(upload, user)
            upload = await self._checked(replace(upload, corrections=()), dict(upload.settings))
            return self.uploads.save(replace(upload, started_at=None))

    async def confirm_people(self, upload: Upload, rows: Sequence[int], user: str | None) -> Upload:
        """The patients in these rows are those whose IDs they have, whatever an earlier list said; the list is checked again.

        Raises as `change` does.
        """
        async with self._alone(upload):
            upload = await self._at_rest(upload, user)
            confirmed = {**upload.confirmed, **{str(row): "" for row in rows}}
            upload = await self._checked(replace(upload, confirmed=confirmed), dict(upload.settings))
            self._note("confirmed", upload, user, rows=len(rows))
            return self.uploads.save(replace(upload, started_at=None))

    async def correct_from_report(self, upload: Upload, name: str, content: bytes, user: str | None) -> Upload:
        """Take over the corrections in a fixed error report, or in the annotated workbook, of this list.

        Raises as `change` does; Unusable too for a file that came from another list.
        """
        async with self._alone(upload):
            upload = await self._at_rest(upload, user)
            path = self.uploads.report_path(upload, name)
            try:
                LocalFolder(path.parent).write(path.name, content)
                upload = await self._checked(upload, dict(upload.settings), report=str(path))
            finally:
                path.unlink(missing_ok=True)
            self._note("corrected", upload, user, cells=len(upload.corrections))
            return self.uploads.save(replace(upload, started_at=None))

    async def correct_from_upload(self, upload: Upload, report: Upload, user: str | None) -> Upload:
        """Take over the corrections in another uploaded file, which is deleted then. Raises as `correct_from_report`."""
        content = await asyncio.to_thread((self.uploads.of(report) / "roster").read_bytes)
        corrected = await self.correct_from_report(upload, report.name, content, user)
        await self.delete(report, user)
        return corrected

    async def again(self, upload: Upload, changes: Mapping[str, Any], user: str | None) -> Upload:
        """The same list as a new check beside this one, whose results stay what they are. Raises Unusable."""
        upload = self.find(upload.id, user)
        copied = await asyncio.to_thread(self.uploads.copy, upload)
        try:
            if (password := self._passwords.get(upload.id)) is not None:
                self._passwords[copied.id] = password
            copied = await self._checked(copied, merged({**upload.settings, "limit": None}, changes))
            self._note("uploaded", copied, user)
            return self.uploads.save(copied)
        except BaseException:
            self.uploads.remove(copied.id)
            raise

    async def _at_rest(self, upload: Upload, user: str | None) -> Upload:
        upload = self.find(upload.id, user)
        if await self._is_under_way(upload):
            raise NotNow("This list is waiting or running. Stop it first, or wait until it ends.")
        return upload

    async def start(self, upload: Upload, user: str | None) -> Upload:
        """Raises NotNow while the ID column, or whether marked patients are left out, is undecided.

        A run that waits, runs or is done stays as it is.
        """
        async with self._alone(upload):
            upload = self.find(upload.id, user)
            if check_of(upload).id_column is None:
                raise NotNow("Choose the column with the patient ID first.")
            if check_of(upload).cautions:
                raise NotNow("Decide first whether marked patients are left out.")
            outcome = self.uploads.outcome(upload)
            if await self._is_under_way(upload) or (outcome and outcome["exit_code"] in _FINISHED):
                return upload
            self._note("started", upload, user)
            self.choices.remember(upload.owner, check_of(upload).columns, upload.settings)
            upload = self.uploads.start(upload)
            self._queue.enqueue(upload)
            return upload

    async def ask(self, upload: Upload, user: str | None, *, reminder: bool, after_days: int) -> Upload:
        """Ask HealthEx who of a list that is done has answered. Raises NotNow before it is done, and while it is being asked."""
        async with self._alone(upload):
            upload = self.find(upload.id, user)
            outcome = self.uploads.outcome(upload)
            if outcome is None or outcome["exit_code"] not in _FINISHED:
                raise NotNow("Get the links of this list first.")
            if self.uploads.is_asking(upload):
                raise NotNow("HealthEx is being asked about this list. Wait until that ends.")
            self._note("asked", upload, user, reminder=reminder)
            self._askings.begin(upload, StatusRequest(now(), reminder, after_days))
            return upload

    async def stop(self, upload: Upload, user: str | None) -> None:
        """End it in good order: what was answered is kept. Raises NotNow where it neither waits nor runs."""
        async with self._alone(upload):
            if self._queue.place(upload):
                await self._queue.cancel(upload)
                self.uploads.save(replace(self.find(upload.id, user), started_at=None))
            elif await self._is_under_way(upload):
                self._queue.stop(upload)
            else:
                raise NotNow("This list is neither waiting nor running.")
            self._note("stopped", upload, user)

    async def delete(self, upload: Upload, user: str | None) -> None:
        """Stop it, and delete upload and results. The links already made stay in the ledger."""
        async with self._alone(upload):
            upload = self.find(upload.id, user)
            self._note("deleted", upload, user)
            await self._askings.cancel(upload)
            await self._queue.cancel(upload)
            await asyncio.to_thread(self.uploads.remove, upload.id)
            self._passwords.pop(upload.id, None)

    async def _is_under_way(self, upload: Upload) -> bool:
        if self.uploads.outcome(upload) is not None:
            await self._queue.wait_until_ended(upload)
        return self._queue.has(upload)

    def downloaded(self, upload: Upload, kind: File, user: str | None) -> None:
        """Note who took a file away, before it leaves."""
        self._note("downloaded", upload, user, file=kind)

    def _note(self, event: str, upload: Upload, user: str | None, **facts: Any) -> None:
        outcome = self.uploads.outcome(upload)
        run_id = {"run_id": outcome["summary"]["run_id"]} if outcome and outcome["summary"] else {}
        audit.note(self.rules.data_folder, event, user=user, upload=upload.id, **run_id, **facts)

    def _alone(self, upload: Upload) -> asyncio.Lock:
        """Whoever changes, starts or deletes it does so one after the other."""
        return self._locks.setdefault(upload.id, asyncio.Lock())

    # --- workers ----------------------------------------------------------------------------------------------

    async def _checked(self, upload: Upload, settings: dict[str, Any], *, report: str | None = None) -> Upload:
        if settings.get("new_ledger") and not self.rules.new_ledgers:
            raise Unusable("Only IT can start a new record of links already made. Contact IT.")
        try:
            choose_project(effective(self.rules.base, settings), self.rules.config)
        except SettingsError as error:
            raise Unusable(error.said_at(PAGE), asks(error)) from None
        task = replace(self._task(upload), do="check", settings=settings, report=report)
        async with self._checks:
            found = await _answer_of(task, upload)
        if isinstance(found, CheckRefusal):
            raise Unusable(found.refused, found.asks, found.sheets, found.header_rows)
        corrections = found.corrections if found.id_column is not None else upload.corrections
        confirmed = found.confirmed if found.id_column is not None else upload.confirmed
        checked = replace(found, corrections=(), confirmed={})
        return replace(upload, settings=settings, checked=checked, corrections=corrections, confirmed=confirmed)

    def _task(self, upload: Upload) -> Task:
        base = {
            entry.name: str(value) if isinstance(value, Path) else value
            for entry in fields(RunSettings)
            if (value := getattr(self.rules.base, entry.name)) != entry.default
        }
        return Task(
            "run",
            str(self.uploads.folder),
            upload.id,
            base,
            dict(self.rules.config.projects),
            password=self._passwords.get(upload.id),
        )

    async def _clear_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(min(900.0, self.rules.keep_days * _DAY_S / 10))
            try:
                await self._clear()
            except Exception as error:  # a full disk today is no reason not to delete tomorrow
                logger().error(f"Uploads that are due could not be deleted ({type(error).__name__}).")

    def _clear_short_lived(self) -> None:
        """Letters and annotated workbooks hold more of a patient than a link: a day is enough to fetch them."""
        for upload in self.uploads.all():
            files = (self.uploads.last_outcome(upload) or {}).get("files", {})
            for kind in _SHORT_LIVED & files.keys():
                if _delete_if_old(self.uploads.of(upload) / files[kind]):
                    audit.note(self.rules.data_folder, "deleted", upload=upload.id, reason=f"{kind}: 24 hours are over")

    async def _clear(self) -> None:
        await asyncio.to_thread(self.uploads.remove_abandoned)
        await asyncio.to_thread(self._clear_short_lived)
        for upload in self.uploads.expired(self.rules.keep_days * _DAY_S):
            if (
                not self._queue.has(upload)
                and not self.uploads.is_asking(upload)
                and (upload.started_at is None or self.uploads.outcome(upload) is not None)
            ):
                await asyncio.to_thread(self.uploads.remove, upload.id)
                audit.note(self.rules.data_folder, "deleted", upload=upload.id, reason="its days are over")


def _delete_if_old(path: Path) -> bool:
    try:
        if time.time() - path.stat().st_mtime < _SHORT_LIFE_S:
            return False
        path.unlink()
    except OSError:  # gone already
        return False
    return True


def check_of(upload: Upload) -> CheckResult:
    """Of an upload as `find` and `all_of` give it out."""
    if upload.checked is None:
        raise NotThere("This list has not been checked.")
    return upload.checked


async def _answer_of(task: Task, upload: Upload) -> CheckResult | CheckRefusal:
    limit = _CHECK_S + _CHECK_S_PER_MEGABYTE * upload.size / 1_000_000
    process = await start_worker(task, answers=True, more=json.dumps(upload.as_json()).encode() + b"\n")
    try:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        async with asyncio.timeout(limit):
            answer = await process.stdout.read()
        return read_check(json.loads(answer))
    except TimeoutError:
        return CheckRefusal(f"{upload.name} takes too long to check. Split it into several lists, or ask IT.")
    except ValueError:
        return CheckRefusal(
            f"We can't read {upload.name}: it is damaged or too large. Copy the list into a new workbook."
        )
    finally:
        await kill_worker(process)
