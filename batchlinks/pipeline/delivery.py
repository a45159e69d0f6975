"""Which rows get which link, and what stands in the files: from screening and links to sheets and counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.arrow import frees_memory
from batchlinks.columns.header_words import key
from batchlinks.columns.id_column import display_names
from batchlinks.config.settings import DEFAULT_LINK_HOST, RunSettings
from batchlinks.errors import ExitCode, SettingsError
from batchlinks.ledger import Ledger
from batchlinks.logs import logger
from batchlinks.next_steps import Setting
from batchlinks.outreach.outreach_plan import OutreachPlan, plan_outreach
from batchlinks.pipeline.intake import Roster
from batchlinks.pipeline.missing_links import RequestResult
from batchlinks.results.assignment import assign
from batchlinks.results.publish.result_files import LettersFile
from batchlinks.results.sheets import (
    OutputColumns,
    RefusedRow,
    choose_output_columns,
    corrections_sheet,
    error_sheets,
    links_sheet,
    refused_rows,
    without_social_security,
)
from batchlinks.results.split import clean_values
from batchlinks.results.summary import Summary
from batchlinks.results.xlsx.sheet import MAX_ROWS, Sheet
from batchlinks.row_codes import ErrorCode
from batchlinks.screening.fixed_report import profile_of
from batchlinks.screening.result import Mask, Screened, number_of
from batchlinks.table import Table

_STILL_COUNTS = (ErrorCode.NOT_ATTEMPTED, ErrorCode.GAVE_UP, ErrorCode.BAD_ANSWER, ErrorCode.REJECTED_BY_HEALTHEX)
"""Of rows without a link: their patients are as much on the list as those who have one."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the links workbook of a run holds."""

    sheet: Sheet
    rows: Mask = field(repr=False)
    """Which rows of the roster stand in it."""

    links: pa.ChunkedArray | pa.Array = field(repr=False)
    """The link of each of them."""

    external_ids: pa.Array = field(repr=False)
    """Of each of its rows."""

    row_numbers: npt.NDArray[np.integer] = field(repr=False)
    """Of each of its rows, in the patient list."""

    first_time: pa.Array = field(repr=False)
    """External IDs of patients in it who count as handed out from now on."""

    moved: pa.Array = field(repr=False)
    """External IDs of patients in it who were handed out before under another value of the column that the list is split by."""

    missing: pa.Array = field(repr=False)
    """External IDs of patients on the list who are not in it, and may be sent and handed out."""

    is_limited: bool
    """Whether only the first patients were taken, to try it out."""

    split_by: str = ""
    """The column that the list is split by, as the ledger calls it."""

    split_values: pa.Array | None = field(default=None, repr=False)
    """One for each of its rows, where each value gets a workbook of its own."""

    letters: Mapping[str, LettersFile] = field(default_factory=dict, repr=False)
    """The files of the letters, by the end of their names."""


def plan_output(roster: Roster, settings: RunSettings, link_host: str) -> OutputColumns:
    """Which columns staff get; `link_host` is that of the links to come.

    Raises SettingsError where the settings and this roster do not go together.
    """
    if settings.protect and len(roster.table) > MAX_ROWS:  # a part would have to go to CSV, which cannot be protected
        raise SettingsError(
            f"The list has {len(roster.table):,} rows, and a workbook that ",
            Setting("protect"),
            f" can encrypt holds {MAX_ROWS:,}. Split the list.",
        )
    output = choose_output_columns(roster.table, roster.id_column, settings, {link_host, DEFAULT_LINK_HOST})
    if output.link_column_taken:
        logger().warning(
            f"The list has a column “{settings.link_column}” with something else in it, which stays as it is: the links are in "
            f"the column “{output.link_column}”. A letter or message has to take them from there."
        )
    return output


def plan_letters_and_messages(roster: Roster, settings: RunSettings, output: OutputColumns) -> OutreachPlan:
    """Which letters and messages there will be. Raises SettingsError where the list or a template does not allow for them."""
    return plan_outreach(
        roster.table,
        roster.id_column,
        settings,
        link_column=output.link_column,
        today=date.today(),
    )


@frees_memory
def assign_links(
    roster: Roster,
    screened: Screened,
    links: pa.Table,
    output: OutputColumns,
    outreach: OutreachPlan,
    settings: RunSettings,
    summary: Summary,
    result: RequestResult,
    ledger: Ledger,
    *,
    is_limited: bool,
) -> Delivery:
    """Give each row the link of its own ID, and count what came of the run into `summary`."""
    table = roster.table
    split_by, values, before = "", None, None
    if output.split_by is not None:
        split_by = key(display_names(table.headers)[output.split_by])
        values, before = clean_values(table.column(output.split_by)), ledger.handed_out_under(split_by)
    assignment = assign(screened, links, keep_duplicates=settings.keep_duplicates, values=values, before=before)
    wanted = assignment.never_handed_out | assignment.moved if settings.only_new else assignment.rows
    rows = wanted & outreach.handed_out
    count_rows(summary, table, screened, linked=assignment.rows)
    _count_calls(summary, result, links, written=rows)
    given = assignment.of(rows)
    writes = outreach.adds_columns or bool(outreach.letters)
    texts = given.column("link").to_pylist() if writes else []
    nobody = np.zeros(len(table), dtype=bool)
    ids = screened.ids.filter(pa.array(rows))
    split_values = None if values is None else values.filter(pa.array(rows))
    return Delivery(
        links_sheet(
            table,
            roster.id_column,
            screened,
            rows=rows,
            links=given,
            output=output,
            more=outreach.more_columns(screened, rows, texts),
        ),
        rows=rows,
        links=given.column("link"),
        external_ids=ids,
        row_numbers=table.row_numbers[rows],
        first_time=screened.ids.filter(pa.array(nobody if is_limited else rows & assignment.never_handed_out)).unique(),
        moved=screened.ids.filter(pa.array(nobody if is_limited else rows & assignment.moved)).unique(),
        missing=_missing(screened, rows, ids),
        is_limited=is_limited,
        split_by=split_by,
        split_values=split_values,
        letters=outreach.letter_files(screened, rows, texts, split_values) if outreach.letters else {},
    )


def _missing(screened: Screened, rows: Mask, ids: pa.Array) -> pa.Array:
    """Patients of the list who count and have none of these `rows`, whose IDs are `ids`."""
    counts = screened.codes == 0
    for code in _STILL_COUNTS:
        counts |= screened.codes == number_of(code)
    others = screened.ids.filter(pa.array(counts & ~rows)).unique()
    return others.filter(pc.invert(pc.is_in(others, value_set=ids))) if len(others) else others


def report_refusals(
    roster: Roster, screened: Screened, output: OutputColumns, settings: RunSettings
) -> tuple[Sequence[RefusedRow], Mapping[str, Sheet]]:
    """The rows without a link, and the sheets `errors`, `duplicates` and, where there are any, `corrections`.

    These hold all columns but Social Security numbers, and those too where staff get them.
    """
    profile = profile_of(roster.table, screened, any_length=settings.any_length)
    refused = refused_rows(roster.table, screened)
    kept = {*without_social_security(roster.table, roster.id_column), *output.kept}
    errors, duplicates = error_sheets(roster.table, roster.id_column, screened, refused, profile, kept=sorted(kept))
    sheets = {"errors": errors, "duplicates": duplicates}
    if roster.corrections:
        sheets["corrections"] = corrections_sheet(roster.corrections)
    return refused, sheets


def count_rows(summary: Summary, table: Table, screened: Screened, *, linked: Mask) -> None:
    """What run and check both count. For a check, a row that can be sent counts as linked.

    Raises BatchlinksError where the counts do not add up: then no file is released.
    """
    summary.rows = len(table)
    summary.linked = int(linked.sum())
    summary.duplicates = int((screened.duplicates & ~linked).sum())
    summary.errors = screened.counts()
    summary.warnings = {code.value: max(1, len(rows)) for code, rows in screened.warnings.items()}
    summary.exit_code = ExitCode.DONE_WITH_ERRORS if summary.errors else ExitCode.DONE
    summary.finished_at = datetime.now(UTC)
    summary.reconcile()


def _count_calls(summary: Summary, result: RequestResult, links: pa.Table, *, written: Mask) -> None:
    issued_now = pc.is_in(links.column("external_id"), value_set=pa.array(result.issued, pa.string()))
    new = int(pc.sum(issued_now).as_py() or 0)
    summary.written = int(written.sum())
    summary.requested, summary.reused = result.counts.requested, len(links) - new
    summary.calls, summary.retries = result.counts.calls, result.counts.retries
    if result.stopped_by is not None:
        summary.exit_code = result.stopped_by.exit_code
        summary.reason = str(result.stopped_by)
