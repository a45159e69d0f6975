"""The process that checks one uploaded list, or takes one run from file to results: `batchlinks.check` and `run` as they are.

It is told what to do by one line of JSON on standard input (nothing of a run stands in a process list). A check
answers by one line on standard output. A run says how far it is in files, so that it can outlive its server.
"""

import json
import os
import re
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from batchlinks.arrow import use_system_allocator
from batchlinks.config.settings import Config, RunSettings, StatusSettings
from batchlinks.errors import BatchlinksError, ExitCode, defect
from batchlinks.roster.reader_process import started_ahead
from batchlinks.roster.source import RosterBytes
from batchlinks.row_codes import WarningCode
from batchlinks.signals import Interruption
from batchlinks.storage.local import LocalFolder
from batchlinks.storage.locks import acquire, release
from batchlinks.storage.private_files import private
from batchlinks.web.check_result import CautionQuestion, CheckRefusal, CheckResult
from batchlinks.web.form_fields import effective, is_path
from batchlinks.web.uploads import StatusRequest, Upload, Uploads, now
from batchlinks.web.wording import PAGE, Asks, asks

if TYPE_CHECKING:
    from batchlinks.columns.id_column import IdColumnUndecided
    from batchlinks.pipeline.context import RunContext
    from batchlinks.pipeline.report import Report
    from batchlinks.screening.result import Screened
    from batchlinks.table import Table

_SAY_EVERY_S = 0.5
_LOOK_EVERY_S = 0.2
_FEELING_ITS_WAY_S = 2.0
_WAIT_FOR_EVER = -1.0


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is told."""

    do: Literal["check", "run", "status"]
    folder: str
    """Of all uploads."""

    id: str
    base: Mapping[str, Any]
    """What IT has set up: those of `RunSettings` that are not its defaults; paths as text."""

    projects: Mapping[str, str]
    """Project IDs by name."""

    settings: Mapping[str, Any] | None = None
    """Of a check: what is to be tried; else what is saved."""

    password: str | None = field(default=None, repr=False)
    """Of a protected list."""

    report: str | None = None
    """Of a check: path of a fixed error report or annotated workbook whose corrections are to be taken over."""

    @property
    def base_settings(self) -> RunSettings:
        values: dict[str, Any] = {name: Path(value) if is_path(name) else value for name, value in self.base.items()}
        return RunSettings(**values)


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How a run ended: `outcome.json`."""

    exit_code: int
    message: str | None
    """Why it stopped, in words of the page; None where it did not."""

    summary: Mapping[str, Any]
    """Its counts, as in the summary file; empty where it came to none."""

    files: Mapping[str, str]
    """`links`, `errors`, `duplicates`, `summary` -> path from the upload's folder."""

    problems: list[dict[str, Any]]
    total: int
    done: int
    ended_at: str
    asks: Asks | None = None
    """What somebody could answer to `message`."""


@dataclass(frozen=True, slots=True)
class AnswersOutcome:
    """What asking who has answered came to: `answered.json`."""

    of: str
    """The `asked_at` of its request."""

    exit_code: int
    message: str | None
    """Why it stopped, in words of the page; None where it did not."""

    responses: Mapping[str, int] = field(default_factory=dict)
    asked_from: str | None = None
    """The first day on which HealthEx showed one of them."""

    asked_until: str | None = None
    reminded: int | None = None
    """Patients in the reminder; None where none was wanted."""

    files: Mapping[str, str] = field(default_factory=dict)
    """`status`, `reminder` -> path from the upload's folder."""

    ended_at: str = ""


class ServerShuttingDown(BaseException):
    """The server ends, and its worker with it: nothing is written, and the next server goes on from the ledger."""


def main() -> int:
    """Do the one task. The exit code only tells whether the worker lived to its end."""
    task = Task(**json.loads(sys.stdin.readline()))
    uploads = Uploads(Path(task.folder))
    upload = uploads.find(task.id) if task.do != "check" else Upload.from_json(json.loads(sys.stdin.readline()))
    if upload is None:
        return 0
    if task.do == "check":
        with started_ahead():
            use_system_allocator()
            print(json.dumps(check(uploads, upload, task).as_json()), flush=True)
        return 0
    interruption = Interruption()
    is_run = task.do == "run"
    threading.Thread(target=_listen, args=(uploads.of(upload), is_run), daemon=True).start()
    try:
        with interruption.installed():
            lock = uploads.worker_lock(upload) if is_run else uploads.asking_lock(upload)
            held = acquire(lock, timeout_s=_WAIT_FOR_EVER, mode=0o600)  # a worker of a killed server may still be at it
            try:
                with started_ahead():
                    use_system_allocator()
                    (run if is_run else ask_who_answered)(uploads, upload, task, interruption)
            finally:
                release(lock, held)
    except (ServerShuttingDown, KeyboardInterrupt):
        return 1
    return 0


def _listen(folder: Path, is_run: bool) -> None:
    """Somebody who stops or deletes a run does so by a file: whichever process is at work hears of it."""
    while True:
        time.sleep(_LOOK_EVERY_S)
        if not (folder / "run.json").exists():
            os._exit(1)
        if is_run and (folder / "stop").exists():
            if sys.platform == "win32":
                signal.raise_signal(signal.SIGTERM)
            else:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            return


# --- a check --------------------------------------------------------------------------------------------------


def check(uploads: Uploads, upload: Upload, task: Task) -> CheckResult | CheckRefusal:
    """What is in the list, or why that cannot be told."""
    from batchlinks.columns.id_column import IdColumnUndecided
    from batchlinks.pipeline.check import check as check_roster
    from batchlinks.pipeline.context import RunHooks
    from batchlinks.roster.other_tables import TablesUndecided
    from batchlinks.roster.sheet_choice import SheetUndecided
    from batchlinks.screening.result import Screened
    from batchlinks.table import Table

    tables: list[Table] = []
    verdicts: list[Screened] = []
    try:
        settings = effective(task.base_settings, task.settings or {})
        hooks = RunHooks(on_table=tables.append, on_screened=verdicts.append, leave_cautions_open=True)
        placed = _placed(settings, uploads, upload)
        if task.report is not None:
            placed = replace(placed, corrections=Path(task.report))
        report = check_roster(_roster(uploads, upload), placed, _context(uploads, upload, task), hooks)
        file = _within(uploads, upload, report.published.paths["errors"])
        return _findings(tables[0], verdicts[0], report, settings, file)
    except IdColumnUndecided as undecided:
        return _undecided(tables[0], undecided) if tables else _refusal(undecided)
    except SheetUndecided as error:
        return replace(_refusal(error), sheets=tuple(error.sheets))
    except TablesUndecided as error:
        return replace(_refusal(error), header_rows=error.header_rows)
    except BatchlinksError as error:
        return _refusal(error)
    except Exception as error:
        return CheckRefusal(defect(error))


def _context(uploads: Uploads, upload: Upload, task: Task) -> "RunContext":
    from batchlinks.corrections.cell_correction import CellCorrection
    from batchlinks.pipeline.context import RunContext

    environment: Mapping[str, str] = os.environ
    if task.password:
        environment = {**os.environ, "BATCHLINKS_ROSTER_PASSWORD": task.password}
    return RunContext(
        config=Config(projects=task.projects),
        environment=environment,
        user=upload.owner,
        former_results=_former_results(uploads, upload),
        corrections=tuple(CellCorrection.from_json(each) for each in upload.corrections),
        confirmed={int(row): digest for row, digest in upload.confirmed.items()},
    )


def _former_results(uploads: Uploads, upload: Upload) -> str:
    """Where the latest results lie of a list of this name that this user uploaded; "" where there are none."""
    same = (each for each in uploads.all() if (each.owner, each.name) == (upload.owner, upload.name))
    done = [each for each in same if "links" in (uploads.last_outcome(each) or {}).get("files", {})]
    latest = max(done, key=uploads.last_change, default=None)
    return "" if latest is None else str(uploads.results(latest).resolve())


def _refusal(error: BatchlinksError) -> CheckRefusal:
    return CheckRefusal(error.said_at(PAGE), asks(error))


def _undecided(table: "Table", question: "IdColumnUndecided") -> CheckResult:
    """Of a list whose ID column somebody has to choose."""
    from batchlinks.columns.id_column import columns_for_ids, display_names
    from batchlinks.web import list_findings as findings

    names, offered = display_names(table.headers), tuple(columns_for_ids(table))
    likely = tuple(
        name
        for at, name in zip(question.candidates, question.names, strict=True)
        if names[at] in offered or not offered
    )
    return CheckResult(
        columns=tuple(names),
        rows=len(table),
        sheet=table.sheet,
        candidates=((question.joined,) if question.joined else ()) + likely,
        can_hold_ids=offered,
        preview=findings.preview_of(table, None),
        doubt=_as_sentence(question.said_at(PAGE)),
        **_source_facts(table),
    )


def _as_sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _source_facts(table: "Table") -> dict[str, Any]:
    """Where the table was found, and to which list it belongs."""
    from batchlinks.table import most_common_profile

    origin = table.annotated.list_sha256 if table.annotated else most_common_profile(table.earlier).list_sha256
    return {
        "sheets": table.sheets,
        "header_row": table.header_row,
        "encoding": table.encoding,
        "list_sha256": table.sha256,
        "report_of": origin,
    }


def _findings(table: "Table", screened: "Screened", report: "Report", settings: RunSettings, file: str) -> CheckResult:
    from batchlinks.columns.cautions import question
    from batchlinks.columns.id_column import choose_id_column, columns_for_ids, display_names
    from batchlinks.results.sheets import kept_for_staff
    from batchlinks.web import list_findings as findings

    summary = report.summary
    column = choose_id_column(table, settings.id_column, any_column=settings.any_column)
    return CheckResult(
        columns=tuple(display_names(table.headers)),
        rows=summary.rows,
        sheet=table.sheet,
        id_column=summary.id_column,
        at=column.parts,
        can_hold_ids=tuple(columns_for_ids(table)),
        cautions=tuple(CautionQuestion(each.name, question(each), each.rows) for each in report.undecided),
        sendable=summary.linked,
        duplicates=summary.duplicates,
        errors=dict(summary.errors),
        warnings=tuple(findings.warnings_of(summary.warnings, screened.lengths)),
        warning_rows=tuple(findings.warning_rows_of(summary.warnings, screened)),
        lengths=tuple(screened.lengths.rows.items()),
        lengths_in_doubt=_lengths_in_doubt(summary.warnings, settings),
        problems=tuple(findings.problems_of(report.refused, table, column)),
        preview=findings.preview_of(table, column, screened),
        forecast=findings.forecast_of(report.preview) if report.preview else None,
        corrections=tuple(each.as_json() for each in report.corrections),
        confirmed={str(row): digest for row, digest in report.confirmed.items()},
        **_source_facts(table),
        for_staff=kept_for_staff(table, column, settings),
        file=file,
    )


def _lengths_in_doubt(warnings: Mapping[str, int], settings: RunSettings) -> bool:
    """Whether IDs of other lengths would be sent, and nobody has said that this is right."""
    decided = settings.any_length or settings.id_width is not None
    return not decided and bool({WarningCode.NEAR_LENGTH.value, WarningCode.MIXED_LENGTHS.value} & warnings.keys())


# --- a run ----------------------------------------------------------------------------------------------------


def run(uploads: Uploads, upload: Upload, task: Task, interruption: Interruption) -> None:
    """Take the run to its outcome, unless an earlier worker has done so. Raises ServerShuttingDown, KeyboardInterrupt."""
    if uploads.find(upload.id) != upload or uploads.outcome(upload) is not None:
        return
    begun = uploads.work(upload) / "begun"
    if not begun.exists():
        LocalFolder(uploads.work(upload)).write("begun", b"")
    elif (outcome := _recover_outcome(uploads, upload, begun.stat().st_mtime_ns)) is not None:
        uploads.end(upload, asdict(outcome))
        return
    progress = FileProgress(LocalFolder(uploads.work(upload)), interruption, (uploads.of(upload) / "stop").exists)
    uploads.end(upload, asdict(_run(uploads, upload, task, interruption, progress)))


def _run(
    uploads: Uploads, upload: Upload, task: Task, interruption: Interruption, progress: "FileProgress"
) -> JobOutcome:
    from batchlinks.columns.id_column import choose_id_column
    from batchlinks.pipeline.context import RunHooks
    from batchlinks.pipeline.run import run as run_roster
    from batchlinks.screening.result import Screened
    from batchlinks.table import Table
    from batchlinks.web import list_findings as findings

    tables: list[Table] = []
    verdicts: list[Screened] = []
    try:
        settings = effective(task.base_settings, upload.settings)
        hooks = RunHooks(
            progress=progress,
            confirm=progress.plan,
            interruption=interruption,
            on_table=tables.append,
            on_screened=verdicts.append,
        )
        placed = _placed(settings, uploads, upload)
        report = run_roster(_roster(uploads, upload), placed, _context(uploads, upload, task), hooks)
        column = choose_id_column(tables[0], settings.id_column, any_column=settings.any_column)
        files = _to_download(uploads, upload, report.published.paths["summary"], report.summary.outputs)
    except BatchlinksError as error:
        return replace(_failed(progress, error.exit_code, error.said_at(PAGE)), asks=asks(error))
    except Exception as error:
        return _failed(progress, ExitCode.BROKEN, defect(error))
    return JobOutcome(
        exit_code=report.exit_code,
        message=report.stopped_by.said_at(PAGE) if report.stopped_by else " ".join(report.remarks) or None,
        summary={
            **report.summary.as_json(),
            "warnings": findings.warnings_of(report.summary.warnings, verdicts[0].lengths),
            "warning_rows": findings.warning_rows_of(report.summary.warnings, verdicts[0]),
        },
        files=files,
        problems=[asdict(problem) for problem in findings.problems_of(report.refused, tables[0], column)],
        total=progress.total,
        done=progress.done,
        ended_at=now(),
    )


def _failed(progress: "FileProgress", code: ExitCode, message: str) -> JobOutcome:
    return JobOutcome(int(code), message, {}, {}, [], progress.total, progress.done, now())


def _recover_outcome(uploads: Uploads, upload: Upload, begun: int) -> JobOutcome | None:
    """Of a run whose worker was killed after everything was in place and before it could say so.

    `begun`: when its first worker began, in nanoseconds. A journal that is still there belongs to an unfinished one.
    """
    results = uploads.results(upload)
    if any(results.glob(".*.summary.pending")):
        return None
    for path in results.glob("*.summary.json"):
        if path.stat().st_mtime_ns > begun:
            summary = json.loads(path.read_text(encoding="utf-8"))
            files = _to_download(uploads, upload, path, summary["outputs"])
            return JobOutcome(
                summary["exit_code"], None, summary, files, [], summary["linked"], summary["linked"], now()
            )
    return None


def _roster(uploads: Uploads, upload: Upload) -> RosterBytes:
    return RosterBytes(upload.name, (uploads.of(upload) / "roster").read_bytes())


def _placed(settings: RunSettings, uploads: Uploads, upload: Upload) -> RunSettings:
    """Its results stay in its own folder, for the server alone."""
    template = uploads.template(upload)
    letters = template if template.is_file() else settings.letters
    return replace(settings, output_dir=uploads.results(upload), share_with_group=False, letters=letters)


def _within(uploads: Uploads, upload: Upload, path: Path) -> str:
    return path.resolve().relative_to(uploads.of(upload).resolve()).as_posix()


def _to_download(uploads: Uploads, upload: Upload, summary: Path, outputs: Collection[str]) -> dict[str, str]:
    """What there is to download, by role. Links or letters in several files become one zip archive each."""
    stem = summary.name.removesuffix(".summary.json")
    known = {f"{stem}.errors.xlsx": "errors", f"{stem}.errors.csv": "errors", f"{stem}.duplicates.csv": "duplicates"}
    known |= {f"{stem}.corrections.csv": "corrections", f"{stem}.annotated.xlsx": "annotated"}
    files = {known[name]: _within(uploads, upload, summary.parent / name) for name in outputs if name in known}
    of_letters = [name for name in outputs if name.startswith((f"{stem}.letters.", f"{stem}.letters/"))]
    if of_letters:
        letters = [summary.parent / name for name in of_letters]
        if letters != [summary.parent / f"{stem}.letters.docx"]:
            letters = [_archive(letters, summary.parent, uploads.work(upload) / f"{stem}.letters.zip")]
        files["letters"] = _within(uploads, upload, letters[0])
    links = [summary.parent / name for name in outputs if name not in {*known, *of_letters}]
    links += _links_of_before(summary.parent, stem, kept=not links)
    files["summary"] = _within(uploads, upload, summary)
    if not links:
        return files
    if links != [summary.parent / f"{stem}.links{links[0].suffix}"]:
        links = [_archive(links, summary.parent, uploads.work(upload) / f"{stem}.links.zip")]
    return files | {"links": _within(uploads, upload, links[0])}


def _links_of_before(folder: Path, stem: str, *, kept: bool) -> list[Path]:
    """The files with links that stay beside the new ones, so that nobody is lost.

    `kept`: also those under the plain name, where nobody is new.
    """
    name = re.compile(rf"{re.escape(stem)}\.links( \(before [^)]*\)( \(\d+\))?){'?' if kept else ''}(\.xlsx|\.csv)?")
    found = [path for path in sorted(folder.iterdir()) if name.fullmatch(path.name)]
    return [file for path in found for file in (sorted(path.iterdir()) if path.is_dir() else [path])]


def _archive(paths: Iterable[Path], folder: Path, archive: Path) -> Path:
    with open(archive, "wb", opener=private) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in paths:
            zipped.write(path, path.relative_to(folder))
    return archive


# --- who has answered -----------------------------------------------------------------------------------------


def ask_who_answered(uploads: Uploads, upload: Upload, task: Task, interruption: Interruption) -> None:
    """Ask HealthEx, unless an earlier worker has done so. Raises ServerShuttingDown."""
    wanted = uploads.status_request(upload)
    if wanted is None or not uploads.is_asking(upload):
        return
    outcome = _answers_to(wanted, uploads, upload, task, interruption)
    if interruption.happened:
        raise ServerShuttingDown
    uploads.end_asking(upload, asdict(outcome))


def _answers_to(
    wanted: StatusRequest, uploads: Uploads, upload: Upload, task: Task, interruption: Interruption
) -> AnswersOutcome:
    from batchlinks.pipeline.context import RunHooks
    from batchlinks.pipeline.status import status

    before = uploads.answered(upload) or {}
    try:
        placed = replace(_placed(effective(task.base_settings, upload.settings), uploads, upload), letters=None)
        chosen = StatusSettings(reminder=wanted.reminder, after_days=wanted.after_days)
        hooks = RunHooks(interruption=interruption)
        report = status(_roster(uploads, upload), placed, chosen, _context(uploads, upload, task), hooks)
        files = {"status": _within(uploads, upload, report.published.paths["status"])}
        files |= _reminders(uploads, upload, report.published.paths["summary"])
    except BatchlinksError as error:
        return _no_answers(wanted, before, error.exit_code, error.said_at(PAGE))
    except Exception as error:
        return _no_answers(wanted, before, ExitCode.BROKEN, defect(error))
    summary = report.summary
    return AnswersOutcome(
        of=wanted.asked_at,
        exit_code=report.exit_code,
        message=report.stopped_by.said_at(PAGE) if report.stopped_by else None,
        responses=dict(summary.responses),
        asked_from=summary.responses_from or None,
        asked_until=summary.responses_until or None,
        reminded=summary.reminded if wanted.reminder else None,
        files=files,
        ended_at=now(),
    )


def _no_answers(wanted: StatusRequest, before: Mapping[str, Any], code: ExitCode, message: str) -> AnswersOutcome:
    """Why nothing was asked; what was known before stays."""
    kept = {name: before[name] for name in ("responses", "asked_from", "asked_until", "files") if name in before}
    return AnswersOutcome(of=wanted.asked_at, exit_code=int(code), message=message, ended_at=now(), **kept)


def _reminders(uploads: Uploads, upload: Upload, summary: Path) -> dict[str, str]:
    """The reminder, also one of before that stays; several files become one zip archive."""
    stem = summary.name.removesuffix(".status.json")
    found = [path for path in sorted(summary.parent.iterdir()) if path.name.startswith(f"{stem}.reminder")]
    files = [file for path in found for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    if not files:
        return {}
    if len(files) > 1:
        files = [_archive(files, summary.parent, uploads.of(upload) / f"{stem}.reminder.zip")]
    return {"reminder": _within(uploads, upload, files[0])}


class FileProgress:
    """A Progress that is read by the server, whichever server that is by then: `progress.json`.

    `known` patients have a link already; `total` are those for whom this run is to get one, known or not.
    """

    def __init__(self, place: LocalFolder, interruption: Interruption, stopped_by_user: Callable[[], bool]) -> None:
        self._place = place
        self._interruption = interruption
        self._stopped_by_user = stopped_by_user
        self._known = self._linked = self._refused = self._to_send = 0
        self._rate: float | None = None
        self._began = self._said_at = time.monotonic()
        self._said_done = 0
        self._say()

    @property
    def total(self) -> int:
        return self._known + self._to_send

    @property
    def done(self) -> int:
        return self._known + self._linked + self._refused

    def plan(self, plan: Any) -> bool:
        """Is asked whether the run may go on (`Preview`): it may, since somebody pressed start."""
        self._known, self._to_send = plan.known, plan.to_send
        self._say()
        return True

    def start(self, total: int) -> None:
        """`total` IDs are going to be asked for."""
        self._to_send = total
        self._began = self._said_at = time.monotonic()
        self._said_done = self.done
        self._say()

    def advance(self, *, linked: bool) -> None:
        """One more ID has its outcome."""
        self._linked += linked
        self._refused += not linked
        if time.monotonic() - self._said_at >= _SAY_EVERY_S:
            self._measure()
            self._say()

    def finish(self) -> None:
        """No more will come. Raises ServerShuttingDown when that is because the server ends."""
        self._say()
        if self._interruption.happened and not self._stopped_by_user():
            raise ServerShuttingDown

    def _measure(self) -> None:
        """Patients a second, the latest counting most. None while the run is still feeling its way: it opens with one call."""
        at = time.monotonic()
        if self._rate is None and at - self._began < _FEELING_ITS_WAY_S:
            return
        latest = (self.done - self._said_done) / (at - self._said_at)
        self._rate = latest if self._rate is None else 0.8 * self._rate + 0.2 * latest
        self._said_at, self._said_done = at, self.done

    def _say(self) -> None:
        said = {
            "total": self.total,
            "done": self.done,
            "linked": self._known + self._linked,
            "refused": self._refused,
            "rate": self._rate,
            "seconds_left": (self.total - self.done) / self._rate if self._rate else None,
        }
        self._place.write("progress.json", json.dumps(said).encode())


if __name__ == "__main__":
    sys.exit(main())
