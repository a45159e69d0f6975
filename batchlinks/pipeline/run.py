"""One run: a roster is read, screened, requested, written. And a check, which does the same without a single call."""

import functools
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks import logs
from batchlinks.arrow import positions_among, release_unused_memory
from batchlinks.columns.cautions import Caution, question
from batchlinks.columns.id_column import IdColumn
from batchlinks.config.paths import data_folder, default_ledger
from batchlinks.config.secrets import read_credentials, read_result_password
from batchlinks.config.settings import Config, RunSettings, chosen_project, deployment, validated
from batchlinks.errors import BatchlinksError, ExitCode, SettingsError, exit_code_of
from batchlinks.healthex.endpoint import Endpoint
from batchlinks.ledger import Ledger
from batchlinks.logs import logger
from batchlinks.pipeline import audit
from batchlinks.pipeline.intake import (
    Source,
    decide_on_cautions,
    read,
    screened_by,
    tell_warnings,
    warn_of_links_before,
)
from batchlinks.pipeline.requests import Asked, ask, require_means
from batchlinks.pipeline.verification import LinkChecks, refuse_unanswered
from batchlinks.progress import Progress, Silent
from batchlinks.results.assignment import Assignment, assign
from batchlinks.results.publish.result_files import PublishedFiles, ResultFiles
from batchlinks.results.reports import (
    Handout,
    Refused,
    error_sheets,
    handout,
    links_sheet,
    refused_rows,
    without_social_security,
)
from batchlinks.results.summary import Summary
from batchlinks.results.xlsx.sheet import MAX_ROWS, Sheet
from batchlinks.row_codes import ToDo, WarningCode
from batchlinks.screening.earlier import profile_of
from batchlinks.screening.result import Screened
from batchlinks.signals import Interruption
from batchlinks.table import Table
from batchlinks.version import __version__

if TYPE_CHECKING:
    import pandas


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
    to_do: ToDo
    """Of the rows that are refused."""

    duplicates: int
    refresh: bool
    cluster: str | None
    """Whose workers make the calls, where that is not this computer."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run needs of the world besides its settings."""

    config: Config = field(default_factory=Config)
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    progress: Progress = field(default_factory=Silent)
    confirm: Callable[[Plan], bool] = lambda _: True
    interruption: Interruption = field(default_factory=Interruption)
    owner: str | None = None
    """Whose results these are, where the roster's own place does not tell: see `results.publish.existing_set.Owner`."""

    deliver: Callable[[PublishedFiles], object] = lambda _: None
    """Takes the results further once they are in place: only then does a patient count as handed out."""

    tell: Callable[["Report"], object] = lambda _: None
    """Says how a run ended. It is finished only after that: who was not told gives the same command again."""

    heeds: Callable[[Caution], bool | None] = lambda _: None
    """Is asked whether patients are left out whom a column such as `Deceased` marks, where no setting says; None where
    nobody can say, which ends a run, and a check unless it leaves that open."""

    leaves_cautions_open: bool = False
    """Whether a check goes on without an answer, since somebody can be asked before the run."""

    seen: Callable[[Table], object] = lambda _: None
    """Is shown the table as soon as it is read: before its ID column is chosen, and also where that is undecided."""

    user: str | None = None
    """Who asked for it, for the audit log, where that is not this process's own user."""


@dataclass(frozen=True, slots=True)
class Report:
    """How a run or check ended."""

    summary: Summary
    published: PublishedFiles
    sheets: Mapping[str, Sheet] = field(repr=False)
    """`links` (of a run), `errors` and `duplicates`: what stands in the files."""

    refused: Sequence[Refused] = field(default=(), repr=False)
    """The rows without a link, in the order of the error report."""

    stopped_by: BatchlinksError | None = None
    """Why a run ended before all was asked."""

    undecided: tuple[Caution, ...] = ()
    """Of a check: columns such as `Deceased` about which a run will ask."""

    @property
    def exit_code(self) -> ExitCode:
        return self.summary.exit_code

    def frame(self, name: Literal["links", "errors", "duplicates"]) -> "pandas.DataFrame":
        """One of the `sheets` as a DataFrame of text, for callers who go on in Python."""
        sheet = self.sheets[name]
        frame: pandas.DataFrame = pa.table(list(sheet.columns), names=list(sheet.headers)).to_pandas()
        return frame


def run(source: Source, settings: RunSettings, around: Surroundings) -> Report:
    """Take a roster from file to results.

    Raises SettingsError or RosterError before any call is made, another BatchlinksError when results or ledger cannot
    be written. A run that HealthEx or a signal stopped raises nothing: its results hold what was answered.
    """
    with _recorded(source, around, check=False) as summary:
        return _run(summary, source, settings, around)


def _run(summary: Summary, source: Source, settings: RunSettings, around: Surroundings) -> Report:
    settings = validated(settings)
    endpoint = _endpoint(settings, around)
    summary.project_id = endpoint.project_id
    credentials = read_credentials(around.environment)
    require_means(settings)
    with ExitStack() as to_the_end:
        with _files(source, settings, endpoint.project_id, around) as files:
            table, column = _read(summary, source, settings, around)
            heeded, _ = decide_on_cautions(table, settings, around.heeds)
            staff = handout(table, column, settings)
            _check_size(table, settings)
            path = _ledger_path(settings, around)
            with Ledger(path, api=endpoint.api_url, project_id=endpoint.project_id) as ledger:
                screened = screened_by(settings, table, column, withdrawn=ledger.withdrawn(), heeded=heeded)
                release_unused_memory()
                wanted = screened.ids.filter(pa.array(_first(screened.sendable, settings.limit)))
                ledger.begin(summary.run_id, files.owner, refresh=settings.refresh, replaced=files.unfinished_runs())
                known = ledger.links_for(wanted)
                checks = LinkChecks(screened, table, column, ledger, endpoint.link_host, strict=settings.strict_links)
                anew = checks.to_ask_anew(known)
                known = _without(anew, known)
                to_send = _missing(wanted, known)
                warn_of_links_before(screened, table, column, known)
                release_unused_memory()
                _warn_of_other_projects(screened, table, ledger.in_other_projects(to_send))
                tell_warnings(screened)
                if settings.no_ledger:
                    logger().warning(
                        "Without the ledger (--no-ledger) links made before are not known and are asked for again, so that links "
                        "sent before may stop working; nor is it known who was withdrawn."
                    )
                _tell_anew(anew)
                if settings.refresh:
                    _tell_refresh(len(to_send), going_on_from=known.num_rows)
                _agree(around, _plan(table, column, screened, endpoint, len(to_send), known.num_rows, settings))

                to_the_end.enter_context(around.interruption.calls(_finish_first))
                ask_for = functools.partial(
                    ask, endpoint=endpoint, credentials=credentials, settings=settings, ledger=ledger,
                    progress=around.progress, interruption=around.interruption, judge=checks.judge,
                )  # fmt: skip
                asked = ask_for(to_send, anew=anew, proven=known.num_rows > 0)
                links = known if not len(to_send) else pa.concat_tables([known, ledger.links_for(to_send)])
                if len(to_send) and asked.stopped_by is None and (anew := checks.to_ask_anew(links)):
                    links = _ask_anew(anew, links, to_send, asked, ledger, ask_for)
                refuse_unanswered(screened, asked, links, limited_to=settings.limit)
                links = checks.keep_certain(links)
                tell_warnings(screened, WarningCode.UNNAMED_LINK)
                assignment = assign(screened, links, keep_duplicates=settings.keep_duplicates)
                handed_out = assignment.never_handed_out if settings.only_new else assignment.rows

                _count(summary, table, screened, linked=assignment.rows)
                _count_calls(summary, asked, links, written=handed_out)
                first_time = screened.ids.filter(pa.array(handed_out & assignment.never_handed_out)).unique()
                sheets = {"links": _links_sheet(table, column, screened, assignment, handed_out, staff)}
                del known, links, assignment  # the results have what is needed of them
                release_unused_memory()
                refused = refused_rows(table, screened)
                sheets |= _error_sheets(table, column, screened, refused, staff, settings)
                published = files.publish(summary, sheets, _split_values(table, staff, handed_out))
                around.deliver(published)
                ledger.settle(first_time, all_asked=asked.stopped_by is None)
                if settings.ledger_keep_days is not None:
                    _forget(ledger, settings.ledger_keep_days)
        audit.append(data_folder(around.environment), summary, user=around.user)
        report = Report(summary, published, sheets, refused, asked.stopped_by)
        around.tell(report)
        # From here on the run is finished, and nothing comes after: killed before, the same command does all of it again.
        files.finish()
    return report


def check(source: Source, settings: RunSettings, around: Surroundings) -> Report:
    """What `run` would send and refuse, without a call, credentials or a project; touches no result of a run.

    Raises SettingsError or RosterError for a roster that cannot be used.
    """
    with _recorded(source, around, check=True) as summary:
        return _check(summary, source, settings, around)


def _check(summary: Summary, source: Source, settings: RunSettings, around: Surroundings) -> Report:
    settings = validated(settings)
    summary.project_id = project_id = chosen_project(settings, around.config, around.environment)
    with _files(source, settings, project_id, around, check=True) as files:
        table, column = _read(summary, source, settings, around)
        heeded, undecided = decide_on_cautions(table, settings, around.heeds, leave_open=around.leaves_cautions_open)
        staff = handout(table, column, settings)
        _check_size(table, settings)
        withdrawn = _withdrawn(settings, project_id, around)
        screened = screened_by(settings, table, column, withdrawn=withdrawn, heeded=heeded)
        tell_warnings(screened)
        for caution in undecided:
            logger().warning(f"{question(caution)} The run will ask whether to leave them out.", rows=caution.rows)
        _count(summary, table, screened, linked=screened.sendable)
        refused = refused_rows(table, screened)
        sheets = _error_sheets(table, column, screened, refused, staff, settings)
        published = files.publish(summary, sheets)
    audit.append(data_folder(around.environment), summary, user=around.user)
    files.finish()
    return Report(summary, published, sheets, refused, undecided=tuple(undecided))


# --- before ---------------------------------------------------------------------------------------------------


@contextmanager
def _recorded(source: Source, around: Surroundings, *, check: bool) -> Iterator[Summary]:
    """The summary of a run or check that begins. However it ends, the log and the audit log have a line on it."""
    summary = Summary(run_id=uuid.uuid4().hex[:12], version=__version__, started_at=datetime.now(UTC), check=check)
    summary.roster = source.name
    began = time.monotonic()
    with logs.bound(run_id=summary.run_id):
        try:
            yield summary
        except BaseException as error:
            if isinstance(error, BatchlinksError):
                error.run_id = summary.run_id
            summary.exit_code = exit_code_of(error)
            summary.finished_at = datetime.now(UTC)
            with suppress(BatchlinksError):  # what is raised matters more
                audit.append(data_folder(around.environment), summary, user=around.user)
            raise
        finally:
            seconds = round(time.monotonic() - began, 3)
            logs.record(f"{'Check' if check else 'Run'} ended.", seconds=seconds, **summary.as_json())


def _read(summary: Summary, source: Source, settings: RunSettings, around: Surroundings) -> tuple[Table, IdColumn]:
    """The roster and its ID column. Which file it was is known from then on, however the run ends."""

    def seen(table: Table) -> None:
        summary.roster, summary.roster_sha256 = table.name, table.sha256
        around.seen(table)

    table, column = read(source, settings, around.environment, seen)
    summary.id_column = column.name
    return table, column


def _endpoint(settings: RunSettings, around: Surroundings) -> Endpoint:
    project_id = chosen_project(settings, around.config, around.environment)
    if not project_id:
        raise SettingsError("No project: give --project-id, or set HEALTHEX_PROJECT_ID.")
    where = deployment(around.environment)
    return Endpoint(where.api_url, where.link_host, project_id)


def _files(
    source: Source, settings: RunSettings, project_id: str | None, around: Surroundings, *, check: bool = False
) -> ResultFiles:
    return ResultFiles(
        source,
        owner=around.owner,
        output_dir=settings.output_dir,
        kind=settings.format,
        project_id=project_id,
        share_with_group=settings.share_with_group,
        password=read_result_password(around.environment) if settings.protect else None,
        check=check,
    )


def _check_size(table: Table, settings: RunSettings) -> None:
    """Raise SettingsError where a part of the results would have to go to CSV, which cannot be protected."""
    if settings.protect and len(table) > MAX_ROWS:
        raise SettingsError(
            f"The list has {len(table):,} rows, and a workbook that --protect can encrypt holds {MAX_ROWS:,}. Split the list."
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


def _first(sendable: npt.NDArray[np.bool_], limit: int | None) -> npt.NDArray[np.bool_]:
    return sendable if limit is None else sendable & (np.cumsum(sendable) <= limit)


def _missing(ids: pa.Array, known: pa.Table) -> pa.Array:
    """The IDs for which no link is known, in roster order."""
    return ids.filter(positions_among(ids, known.column("external_id")).is_null())


def _without(external_ids: Collection[str], links: pa.Table) -> pa.Table:
    """Itself where none of these IDs is to be left out."""
    if not external_ids:
        return links
    return links.filter(pc.invert(pc.is_in(links.column("external_id"), pa.array(external_ids, pa.string()))))


def _warn_of_other_projects(screened: Screened, table: Table, elsewhere: set[str]) -> None:
    if elsewhere:
        found = screened.positions_of(pa.array(sorted(elsewhere), pa.string()))
        screened.warnings[WarningCode.OTHER_PROJECT] = sorted(table.row_numbers[found].tolist())


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
        to_do=ToDo.of(screened.counts()),
        duplicates=int(screened.duplicates.sum()),
        refresh=settings.refresh,
        cluster=settings.cluster,
    )


def _agree(around: Surroundings, plan: Plan) -> None:
    if not around.confirm(plan):
        raise SettingsError("Nothing was sent, as you wished.")


def _tell_anew(external_ids: Collection[str]) -> None:
    if external_ids:
        number = len(external_ids)
        one = "1 link may be another patient's. It isn't handed out; a new one is requested."
        many = f"{number:,} links may be other patients'. They aren't handed out; new ones are requested."
        logger().warning(one if number == 1 else many, links=number)


def _ask_anew(
    anew: Mapping[str, str],
    links: pa.Table,
    sent_before: pa.Array,
    asked: Asked,
    ledger: Ledger,
    ask_for: Callable[..., Asked],
) -> pa.Table:
    """Ask again for links that what came after them shows to be wrong. Returns all links as they are then."""
    _tell_anew(anew)
    ids = pa.array(anew, pa.string())
    try:
        later = ask_for(ids, anew=anew, proven=True)
    except SettingsError:  # a cluster that is gone since: they stay refused
        return links
    asked.go_on_with(later, sent_before=pc.sum(pc.is_in(ids, sent_before)).as_py())
    return pa.concat_tables([_without(anew, links), ledger.links_for(ids)])


def _tell_refresh(number: int, *, going_on_from: int) -> None:
    if going_on_from:
        logger().info(
            f"A run of this list with --refresh did not finish: {going_on_from:,} links that it got are kept, and the others "
            "are asked for."
        )
    if number:
        logger().warning("Links are asked for again for all (--refresh): links sent before may stop working.")


def _forget(ledger: Ledger, days: int) -> None:
    if number := ledger.forget(older_than_days=days):
        logger().info(
            f"Forgotten in the ledger: {number:,} links that were issued {days} days ago or earlier.", links=number
        )


def _finish_first() -> None:
    """An interruption that comes while files are written: they are written first."""


# --- after ----------------------------------------------------------------------------------------------------


def _count(
    summary: Summary,
    table: Table,
    screened: Screened,
    *,
    linked: npt.NDArray[np.bool_],
) -> None:
    """What run and check both count. For a check, a row that can be sent counts as linked."""
    summary.rows = len(table)
    summary.linked = int(linked.sum())
    summary.duplicates = int((screened.duplicates & ~linked).sum())
    summary.errors = screened.counts()
    summary.warnings = {code.value: max(1, len(rows)) for code, rows in screened.warnings.items()}
    summary.exit_code = ExitCode.DONE_WITH_ERRORS if summary.errors else ExitCode.DONE
    summary.finished_at = datetime.now(UTC)
    summary.reconcile()


def _count_calls(summary: Summary, asked: Asked, links: pa.Table, *, written: npt.NDArray[np.bool_]) -> None:
    asked_now = pc.is_in(links.column("external_id"), value_set=pa.array(asked.issued, pa.string()))
    new = int(pc.sum(asked_now).as_py() or 0)
    summary.written = int(written.sum())
    summary.requested, summary.reused = asked.tally.requested, len(links) - new
    summary.calls, summary.retries = asked.tally.calls, asked.tally.retries
    if asked.stopped_by is not None:
        summary.exit_code = asked.stopped_by.exit_code


def _links_sheet(
    table: Table,
    column: IdColumn,
    screened: Screened,
    assignment: Assignment,
    rows: npt.NDArray[np.bool_],
    staff: Handout,
) -> Sheet:
    return links_sheet(table, column, screened, rows=rows, links=assignment.of(rows), handout=staff)


def _split_values(table: Table, staff: Handout, rows: npt.NDArray[np.bool_]) -> pa.Array | None:
    return None if staff.split_by is None else table.column(staff.split_by).filter(pa.array(rows))


def _error_sheets(
    table: Table,
    column: IdColumn,
    screened: Screened,
    refused: Sequence[Refused],
    staff: Handout,
    settings: RunSettings,
) -> dict[str, Sheet]:
    """All columns but Social Security numbers, and those too where staff get them."""
    profile = profile_of(table, screened, any_length=settings.any_length)
    kept = {*without_social_security(table, column), *staff.kept}
    errors, duplicates = error_sheets(table, column, screened, refused, profile, kept=sorted(kept))
    return {"errors": errors, "duplicates": duplicates}
