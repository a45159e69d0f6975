"""One run: a roster is read, screened, requested, written. And a check, which does the same without a single call."""

import asyncio
import os
import re
import sys
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks import __version__, audit
from batchlinks.codes import ErrorCode, WarningCode
from batchlinks.credentials import read_credentials, read_secret
from batchlinks.errors import BatchlinksError, ExitCode, RosterError, SettingsError
from batchlinks.healthex.api import Endpoint
from batchlinks.healthex.links import judge
from batchlinks.healthex.requesting import Effort, Linked, NotLinked, Outcome, Tally, ask_all
from batchlinks.healthex.tokens import Credentials
from batchlinks.interruption import Interruption
from batchlinks.ledger import Ledger
from batchlinks.logs import logger
from batchlinks.paths import data_folder, default_ledger
from batchlinks.progress import Progress, Silent
from batchlinks.results.assignment import Assignment, assign
from batchlinks.results.files import Published, ResultFiles
from batchlinks.results.sheets import error_sheets, handout, links_sheet, without_social_security
from batchlinks.results.summary import Summary
from batchlinks.roster import ReadOptions, RosterBytes, read_roster
from batchlinks.roster.error_report import without_report_columns
from batchlinks.roster.id_column import IdColumn, choose_id_column
from batchlinks.roster.id_list import read_id_list
from batchlinks.roster.table import Table
from batchlinks.screening import Rules, Screened, in_words, screen
from batchlinks.screening.identifier import read_id
from batchlinks.settings import Config, RunSettings, chosen_project, deployment, validated

Source = Path | RosterBytes

_ROWS_NAMED = 20
"""Row numbers that a warning names at most."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is about to do: shown before it is done."""

    roster: str
    id_column: str
    project_id: str
    host: str
    rows: int
    to_send: int
    known: int
    refused: int
    duplicates: int
    refresh: bool


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run needs of the world besides its settings."""

    config: Config = field(default_factory=Config)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    progress: Progress = field(default_factory=Silent)
    confirm: Callable[[Plan], bool] = lambda _: True
    interruption: Interruption = field(default_factory=Interruption)


@dataclass(frozen=True, slots=True)
class Report:
    """How a run or check ended."""

    summary: Summary
    published: Published
    stopped_by: BatchlinksError | None = None
    """Why a run ended before all was asked."""

    @property
    def exit_code(self) -> ExitCode:
        return self.summary.exit_code


def run(source: Source, settings: RunSettings, around: Surroundings) -> Report:
    """Take a roster from file to results.

    Raises SettingsError or RosterError before any call is made, another BatchlinksError when results or ledger cannot
    be written. A run that HealthEx or a signal stopped raises nothing: its results hold what was answered.
    """
    summary = _new_summary(check=False)
    settings = validated(settings)
    endpoint = _endpoint(settings, around)
    credentials = read_credentials(around.environment)
    with _files(source, settings, endpoint.project_id) as files:
        table, column = _read(source, settings, around)
        staff = handout(
            table,
            column,
            columns=settings.columns,
            link_column=settings.link_column,
            link_dates=settings.link_dates,
        )
        with Ledger(_ledger_path(settings, around), api=endpoint.api_url, project_id=endpoint.project_id) as ledger:
            screened = _screened(table, column, settings, withdrawn=ledger.withdrawn())
            wanted = _first(screened.sendable, settings.limit)
            wanted_ids = screened.ids.filter(pa.array(wanted))
            known = ledger.links_for(wanted_ids if not settings.refresh else wanted_ids[:0])
            to_send = _missing(wanted_ids, known)
            _warn_of_other_projects(screened, table, ledger.in_other_projects(to_send))
            _tell_warnings(screened)
            _agree(around, _plan(table, column, screened, endpoint, len(to_send), known.num_rows, settings))

            with around.interruption.calls(_finish_first):
                asked = _ask(to_send, endpoint, credentials, settings, ledger, around)
                links = pa.concat_tables([known, ledger.links_for(to_send)])
                _refuse_unanswered(screened, asked, links, limited_to=settings.limit)
                links = _judged(screened, table, links, endpoint.link_host, ledger, strict=settings.strict_links)
                assignment = assign(screened, links, keep_duplicates=settings.keep_duplicates)
                rows = assignment.never_handed_out if settings.only_new else assignment.rows
                _fill(summary, table, column, screened, assignment)
                summary.project_id = endpoint.project_id
                summary.written = int(rows.sum())
                summary.requested = asked.tally.requested
                summary.reused = len(links) - int(pc.sum(_is_new(links.column("external_id"), asked)).as_py() or 0)
                summary.calls, summary.retries = asked.tally.calls, asked.tally.retries
                summary.exit_code = _exit_code(summary, asked.stopped_by)
                taken = pa.array(rows)
                published = files.publish(
                    summary,
                    links=links_sheet(
                        table,
                        column,
                        screened,
                        rows=rows,
                        links=assignment.links.filter(taken),
                        issued_at=assignment.issued_at.filter(taken),
                        is_new=_is_new(screened.ids.filter(taken), asked),
                        handout=staff,
                    ),
                    errors=error_sheets(table, column, screened, kept=_kept_for_fixing(table, column, settings)),
                )
                ledger.note_handed_out(screened.ids.filter(pa.array(rows & assignment.never_handed_out)).unique())
    audit.append(data_folder(around.environment), summary)
    return Report(summary, published, asked.stopped_by)


def check(source: Source, settings: RunSettings, around: Surroundings) -> Report:
    """What `run` would send and refuse, without a call, credentials or a project; touches no result of a run.

    Raises SettingsError or RosterError for a roster that cannot be used.
    """
    summary = _new_summary(check=True)
    settings = validated(settings)
    project_id = chosen_project(settings, around.config, around.environment)
    with _files(source, settings, project_id, check=True) as files:
        table, column = _read(source, settings, around)
        screened = _screened(table, column, settings, withdrawn=_withdrawn(settings, project_id, around))
        _tell_warnings(screened)
        _fill(summary, table, column, screened, None)
        summary.project_id = project_id
        summary.exit_code = _exit_code(summary, None)
        published = files.publish(
            summary,
            links=None,
            errors=error_sheets(table, column, screened, kept=_kept_for_fixing(table, column, settings)),
        )
    audit.append(data_folder(around.environment), summary)
    return Report(summary, published)


# --- before ---------------------------------------------------------------------------------------------------


def _new_summary(*, check: bool) -> Summary:
    return Summary(run_id=uuid.uuid4().hex[:12], version=__version__, started_at=datetime.now(UTC), check=check)


def _endpoint(settings: RunSettings, around: Surroundings) -> Endpoint:
    project_id = chosen_project(settings, around.config, around.environment)
    if not project_id:
        raise SettingsError("No project: give --project-id, or set HEALTHEX_PROJECT_ID.")
    where = deployment(around.environment)
    return Endpoint(where.api_url, where.link_host, project_id)


def _files(source: Source, settings: RunSettings, project_id: str | None, *, check: bool = False) -> ResultFiles:
    return ResultFiles(
        source,
        output_dir=settings.output_dir,
        kind=settings.format,
        project_id=project_id,
        share_with_group=settings.share_with_group,
        check=check,
    )


def _ledger_path(settings: RunSettings, around: Surroundings) -> Path | None:
    return None if settings.no_ledger else settings.ledger or default_ledger(around.environment)


def _withdrawn(settings: RunSettings, project_id: str | None, around: Surroundings) -> frozenset[str]:
    """For a check: only where there is a ledger already, since a check makes nothing but its own files."""
    path = _ledger_path(settings, around)
    if project_id is None or path is None or not path.exists():
        return frozenset()
    with Ledger(path, api=deployment(around.environment).api_url, project_id=project_id) as ledger:
        return ledger.withdrawn()


def _read(source: Source, settings: RunSettings, around: Surroundings) -> tuple[Table, IdColumn]:
    options = ReadOptions(
        sheet=settings.sheet,
        header_row=settings.header_row,
        id_column=settings.id_column,
        encoding=settings.encoding,
        password=read_secret("BATCHLINKS_ROSTER_PASSWORD", around.environment, in_keyring=False) or None,
    )
    table = without_report_columns(read_roster(source, options))
    column = choose_id_column(table, settings.id_column)
    logger().info(
        f"Read {len(table):,} rows{f' from sheet {table.sheet}' if table.sheet else ''}; the patient ID is in {column.name}.",
        rows=len(table),
        roster_sha256=table.sha256,
    )
    return table, column


def _screened(table: Table, column: IdColumn, settings: RunSettings, *, withdrawn: frozenset[str]) -> Screened:
    rules = Rules(
        pattern=re.compile(settings.id_pattern) if settings.id_pattern is not None else None,
        width=settings.id_width,
        any_length=settings.any_length,
        joined_by=settings.id_join,
        excluded=_excluded(settings),
        withdrawn=withdrawn,
    )
    return screen(table, column, rules)


def _excluded(settings: RunSettings) -> frozenset[str]:
    """The exclude list. Whoever stands on it must be understood: an entry that cannot be read stops the run."""
    if settings.exclude is None:
        return frozenset()
    entries = read_id_list(settings.exclude, id_column=settings.id_column)
    excluded = set()
    for place, (row, text, kind) in enumerate(entries):
        identifier, code = read_id(text, kind, width=settings.id_width)
        if identifier:
            excluded.add(identifier)
        elif place > 0 or code is not ErrorCode.NO_DIGIT:  # the first may be a header
            raise RosterError(
                f"{settings.exclude.name}, row {row}: this entry cannot be read as a patient ID, so somebody who is to be left "
                "out might not be. Correct it."
            )
    return frozenset(excluded)


def _first(sendable: npt.NDArray[np.bool_], limit: int | None) -> npt.NDArray[np.bool_]:
    return sendable if limit is None else sendable & (np.cumsum(sendable) <= limit)


def _missing(ids: pa.Array, known: pa.Table) -> pa.Array:
    """The IDs for which no link is known, in roster order."""
    return ids.filter(pc.invert(pc.is_in(ids, value_set=known.column("external_id").combine_chunks())))


def _warn_of_other_projects(screened: Screened, table: Table, elsewhere: set[str]) -> None:
    if elsewhere:
        found = screened.positions_of(pa.array(sorted(elsewhere), pa.string()))
        screened.warnings[WarningCode.OTHER_PROJECT] = sorted(table.row_numbers[found].tolist())


def _tell_warnings(screened: Screened, *codes: WarningCode) -> None:
    for code, rows in screened.warnings.items():
        if not codes or code in codes:
            named = in_words(rows, most=_ROWS_NAMED)
            logger().warning(
                f"{code.sentence(len(rows))}{f': row {named}' if rows else ''}.", code=code.value, rows=list(rows)
            )


def _plan(
    table: Table,
    column: IdColumn,
    screened: Screened,
    endpoint: Endpoint,
    to_send: int,
    known: int,
    settings: RunSettings,
) -> Plan:
    return Plan(
        roster=table.name,
        id_column=column.name,
        project_id=endpoint.project_id,
        host=endpoint.api_url,
        rows=len(table),
        to_send=to_send,
        known=known,
        refused=int((screened.codes != 0).sum()),
        duplicates=int(screened.duplicates.sum()),
        refresh=settings.refresh,
    )


def _agree(around: Surroundings, plan: Plan) -> None:
    if not around.confirm(plan):
        raise SettingsError("Nothing was sent, as you wished.")


# --- the calls ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Asked:
    """What became of the IDs that were sent."""

    tally: Tally = field(default_factory=Tally)
    issued: list[str] = field(default_factory=list, repr=False)
    not_linked: list[NotLinked] = field(default_factory=list)
    stopped_by: BatchlinksError | None = None


def _ask(
    ids: pa.Array,
    endpoint: Endpoint,
    credentials: Credentials,
    settings: RunSettings,
    ledger: Ledger,
    around: Surroundings,
) -> _Asked:
    """Ask for every link that is not known. What stops it is a value here: what was answered is still written."""
    asked = _Asked()
    if not len(ids):
        return asked
    effort = Effort(
        concurrency=min(settings.concurrency, len(ids)),
        rate=settings.rate,
        max_attempts=settings.max_attempts,
        timeout_s=settings.timeout,
        patience_s=settings.patience,
    )

    def record(outcome: Outcome) -> None:
        if isinstance(outcome, Linked):
            asked.issued.append(outcome.external_id)
            ledger.record(outcome.external_id, outcome.link, replace=settings.refresh)
        else:
            asked.not_linked.append(outcome)
        around.progress.settled(linked=isinstance(outcome, Linked))

    async def requests() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        with around.interruption.calls(lambda: loop.call_soon_threadsafe(stopping.set)):
            if around.interruption.happened:  # just before
                stopping.set()
            await ask_all(
                _one_by_one(ids),
                endpoint=endpoint,
                credentials=credentials,
                effort=effort,
                record=record,
                stopping=stopping,
                tally=asked.tally,
            )

    around.progress.start(len(ids))
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(requests())
    except BatchlinksError as error:
        asked.stopped_by = error
    finally:
        around.progress.finish()
    try:
        ledger.flush()  # however it ended: the latest answers are part of the results
    except BatchlinksError as error:
        asked.stopped_by = error
    return asked


def _one_by_one(ids: pa.Array) -> Iterator[str]:
    for start in range(0, len(ids), 4096):
        yield from ids[start : start + 4096].to_pylist()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None  # there is no uvloop for it
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _finish_first() -> None:
    """An interruption that comes while files are written: they are written first."""


# --- after ----------------------------------------------------------------------------------------------------


def _refuse_unanswered(screened: Screened, asked: _Asked, links: pa.Table, *, limited_to: int | None) -> None:
    """Every row that could be sent and has no link gets the reason."""
    positions = screened.positions_of(pa.array([outcome.external_id for outcome in asked.not_linked], pa.string()))
    for position, outcome in zip(positions.tolist(), asked.not_linked, strict=True):
        screened.refuse(position, outcome.code, **outcome.gaps)
    linked = pc.is_in(screened.ids, value_set=links.column("external_id").combine_chunks())
    left = screened.sendable & ~linked.to_numpy(zero_copy_only=False)
    reason = _why_stopped(asked.stopped_by) or f"this run was limited to the first {limited_to} (--limit)"
    screened.refuse(np.flatnonzero(left), ErrorCode.NOT_ATTEMPTED, reason=reason)


def _why_stopped(error: BatchlinksError | None) -> str | None:
    if error is None:
        return None
    return {
        ExitCode.REFUSED: "HealthEx refused the credentials or the project, and the run was stopped",
        ExitCode.UNREACHABLE: "HealthEx could not be reached or kept failing, and the run was stopped",
        ExitCode.INTERRUPTED: "the run was interrupted",
    }.get(error.exit_code, "the run was stopped by a failure on this computer")


def _judged(
    screened: Screened, table: Table, links: pa.Table, link_host: str, ledger: Ledger, *, strict: bool
) -> pa.Table:
    """The links that may be handed out. Each is held against the ID it goes to, whether new or known."""
    ids, texts = links.column("external_id").combine_chunks(), links.column("link").combine_chunks()

    def known_ids(names: Collection[str]) -> set[str]:
        candidates = pa.array(sorted(names), pa.string())
        in_roster = candidates.filter(pc.is_in(candidates, value_set=screened.ids))
        return set(in_roster.to_pylist()) | ledger.known(names)

    verdicts = judge(ids, texts, host=link_host, strict=strict, known_ids=known_ids, other_owners=ledger.other_owners)
    if verdicts.unnamed:
        unnamed = screened.positions_of(ids.take(pa.array(verdicts.unnamed)))
        screened.warnings[WarningCode.UNNAMED_LINK] = sorted(table.row_numbers[unnamed].tolist())
        _tell_warnings(screened, WarningCode.UNNAMED_LINK)
    if not verdicts.mismatched:
        return links
    wrong = np.fromiter(verdicts.mismatched, dtype=np.int64)
    for position, reason in zip(
        screened.positions_of(ids.take(pa.array(wrong))).tolist(), verdicts.mismatched.values(), strict=True
    ):
        screened.refuse(position, ErrorCode.LINK_MISMATCH, reason=reason)
    right = np.ones(len(ids), dtype=bool)
    right[wrong] = False
    return links.filter(pa.array(right))


def _is_new(ids: pa.Array | pa.ChunkedArray, asked: _Asked) -> pa.Array:
    return pc.is_in(ids, value_set=pa.array(asked.issued, pa.string()))


def _fill(summary: Summary, table: Table, column: IdColumn, screened: Screened, given: Assignment | None) -> None:
    """The counts that run and check share. For a check, a row that can be sent counts as linked."""
    linked = screened.sendable if given is None else given.rows
    summary.roster, summary.roster_sha256 = table.name, table.sha256
    summary.id_column = column.name
    summary.rows = len(table)
    summary.linked = int(linked.sum())
    summary.duplicates = int((screened.duplicates & ~linked).sum())
    summary.errors = screened.counts()
    summary.warnings = {code.value: max(1, len(rows)) for code, rows in screened.warnings.items()}
    summary.finished_at = datetime.now(UTC)
    summary.reconcile()


def _exit_code(summary: Summary, stopped_by: BatchlinksError | None) -> ExitCode:
    if stopped_by is not None:
        return stopped_by.exit_code
    return ExitCode.DONE_WITH_ERRORS if summary.errors else ExitCode.DONE


def _kept_for_fixing(table: Table, column: IdColumn, settings: RunSettings) -> list[int]:
    """The columns of the error report: all but Social Security numbers, and those too where staff get them."""
    kept = set(without_social_security(table, column))
    if settings.columns is not None:
        kept |= set(handout(table, column, columns=settings.columns, link_column="link", link_dates=False).kept)
    return sorted(kept)
