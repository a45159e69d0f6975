"""The first half of a run and the whole of a check: a roster is read and screened, by the settings of the one who asks."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.arrow import frees_memory
from batchlinks.columns.cautions import Caution, CautionsUndecided, find_cautions, find_marked_ids
from batchlinks.columns.id_column import IdColumn, IdColumnUndecided, choose_id_column
from batchlinks.config.id_pattern import IdPattern
from batchlinks.config.secrets import RESULT_PASSWORD, read_result_password, read_secret
from batchlinks.config.settings import RunSettings, deployment
from batchlinks.corrections.cell_correction import CellCorrection, apply_corrections, with_former_texts
from batchlinks.corrections.corrections_file import find_changes, read_corrections
from batchlinks.errors import RosterError, SettingsError
from batchlinks.healthex.whose_link import candidates, xid_of
from batchlinks.logs import door, logger
from batchlinks.next_steps import Advice, Do, Setting
from batchlinks.patients.identifier import clean, read_id
from batchlinks.pipeline.audit import user_name
from batchlinks.pipeline.context import RunContext, RunHooks
from batchlinks.results.publish.frames_only import FramesOnly
from batchlinks.results.publish.result_files import NO_FOLDER, ResultFiles
from batchlinks.results.summary import Summary
from batchlinks.roster.csv_reader import ragged_rows
from batchlinks.roster.error_report import without_report_columns
from batchlinks.roster.id_list import read_id_list
from batchlinks.roster.read import MAX_FILE_BYTES, read_roster
from batchlinks.roster.source import ReadOptions, RosterBytes, RosterFrame
from batchlinks.row_codes import ErrorCode, WarningCode
from batchlinks.screening.fixed_report import corrected, keep_earlier_verdicts
from batchlinks.screening.result import Rules, Screened, in_words
from batchlinks.storage.opening import is_address
from batchlinks.table import Table

Source = Path | RosterBytes | RosterFrame

_NEED_FILES = ("split_by", "protect", "qr", "clickable", "annotate", "letters")
"""Options that say something about files alone."""

_ROWS_NAMED = 20
"""Row numbers that a warning names at most."""


def open_source(roster: str | Source, settings: RunSettings) -> Source:
    """The roster at a path, or at an address such as `s3://bucket/patients.csv`, from where it is fetched.

    Raises SettingsError or FolderError when it cannot be fetched.
    """
    if not isinstance(roster, str):
        return roster
    if not is_address(roster):
        return Path(roster)
    if settings.output_dir is None:
        raise SettingsError(*NO_FOLDER)
    from batchlinks.storage.opening import fetch

    address, content = fetch(roster, at_most=MAX_FILE_BYTES + 1)
    return RosterBytes(address.name, content, address.identity)


def open_results(
    source: Source,
    settings: RunSettings,
    context: RunContext,
    project_id: str | None,
    *,
    check: bool = False,
    status: bool = False,
) -> ResultFiles | FramesOnly:
    """Where the files of this run, check or status go; those of a DataFrame without a folder go nowhere.

    Raises SettingsError where that folder or a password cannot be used.
    """
    if isinstance(source, RosterFrame) and settings.output_dir is None:
        for name in _NEED_FILES:
            if getattr(settings, name):
                raise SettingsError(Setting(name), " is about files. ", *NO_FOLDER)
        return FramesOnly(source, project_id)
    return ResultFiles(
        source,
        owner=context.owner,
        output_dir=settings.output_dir,
        kind=settings.format,
        project_id=project_id,
        share_with_group=settings.share_with_group,
        password=read_result_password(context.environment) if settings.protect else None,
        csv_bom=settings.csv_bom,
        check=check,
        status=status,
    )


@dataclass(frozen=True, slots=True)
class Roster:
    """A patient list as a run works with it."""

    table: Table
    id_column: IdColumn
    heeded: Sequence[Caution] = ()
    """Columns such as `Deceased`: the patients whom they mark are left out."""

    corrections: Sequence[CellCorrection] = ()
    """The cells of `table` that were corrected."""

    undecided: Sequence[Caution] = ()
    """Such columns about which nobody has decided; only of a check that leaves that open."""


def load_roster(
    source: Source, settings: RunSettings, context: RunContext, hooks: RunHooks, summary: Summary
) -> Roster:
    """The table in the file, and which of its columns is the ID. What is known of them stands in `summary` from then on.

    Raises RosterError or SettingsError.
    """
    options = ReadOptions(
        sheet=settings.sheet,
        header_row=settings.header_row,
        id_column=settings.id_column,
        encoding=settings.encoding,
        password=read_roster_password(settings, context.environment),
    )
    table = without_report_columns(read_roster(source, options))
    summary.roster, summary.roster_sha256, summary.rows_read = table.name, table.sha256, len(table)
    table, corrections = _correct(source, table, settings, context, options)
    hooks.on_table(table)
    try:
        column = choose_id_column(table, settings.id_column, any_column=settings.any_column)
    except IdColumnUndecided as question:
        if table.float_columns:
            from batchlinks.roster.data_frame import refuse_floats

            refuse_floats(table, question.candidates)
        raise _with_ragged_rows(question, table) from None
    if isinstance(source, RosterFrame):
        from batchlinks.roster.data_frame import require_certain_ids

        table = require_certain_ids(table, column)
    summary.id_column = column.name
    table = _mark_typed_since(table, column, settings, context)
    logger().info(
        f"Read {len(table):,} row{'' if len(table) == 1 else 's'}{f' from sheet {table.sheet}' if table.sheet else ''}; "
        f"the patient ID is in {column.name}.",
        rows=len(table),
        roster_sha256=table.sha256,
    )
    heeded, undecided = _decide_on_cautions(table, settings, hooks)
    return Roster(table, column, heeded=heeded, corrections=corrections, undecided=undecided)


def _correct(
    source: Source, table: Table, settings: RunSettings, context: RunContext, options: ReadOptions
) -> tuple[Table, Sequence[CellCorrection]]:
    """The list with its corrections, and these."""
    found, by = with_former_texts(table, context.corrections), context.user or user_name()
    if table.annotated is not None and isinstance(source, Path):
        found += _changes_in_annotated(source, table, options, by)
    if settings.corrections is not None:
        found += read_corrections(
            settings.corrections, apply_corrections(table, found), by=by, password=options.password
        )
    found = list({(each.row, each.column, each.now): each for each in found}.values())
    if found:
        cells, rows = len(found), len({each.row for each in found})
        logger().info(
            f"{cells:,} cell{'' if cells == 1 else 's'} in {rows:,} row{'' if rows == 1 else 's'} corrected.",
            cells=cells,
        )
    elif table.is_error_report:
        logger().info(
            f"{table.name} is an error report, handed in alone. {door().advise(Advice(Do.CORRECT_WITH_LIST))}"
        )
    return apply_corrections(table, found), found


def _changes_in_annotated(source: Path, table: Table, options: ReadOptions, by: str) -> Sequence[CellCorrection]:
    """What was typed into an annotated workbook, for the record, where the list from which it was made lies beside it."""
    assert table.annotated is not None  # noqa: S101 - for the type checker
    original = source.with_name(Path(table.annotated.list_name).name)
    if original == source or not original.is_file():
        return ()
    before = read_roster(original, dataclasses.replace(options, sheet=table.sheet))
    if before.sha256 != table.annotated.list_sha256:
        return ()
    return find_changes(table, before, by=by) or ()


def _mark_typed_since(table: Table, column: IdColumn, settings: RunSettings, context: RunContext) -> Table:
    """Of an annotated workbook: a row whose ID is not the one that the link beside it names was typed since.

    Where no link says so, nobody knows, and the row is looked at as closely.
    """
    if table.annotated is None:
        return table
    host = deployment(context.environment).link_host
    parts = zip(*(table.column(part).to_pylist() for part in column.parts), strict=True)
    typed = np.array(
        [
            not _names(link, settings.id_join.join(map(clean, cells)), settings.id_width, host)
            for cells, link in zip(parts, table.annotated.links.to_pylist(), strict=True)
        ],
        dtype=bool,
    )
    first = column.parts[0]
    return dataclasses.replace(table, typed={**table.typed, first: table.typed.get(first, False) | typed})


def _names(link: str, cell: str, width: int | None, host: str) -> bool:
    xid = xid_of(link, host) if link else None
    return xid is not None and read_id(cell, width=width)[0] in candidates(xid)


def _with_ragged_rows(question: IdColumnUndecided, table: Table) -> IdColumnUndecided:
    """The question after what may be its cause: rows that are wider or narrower than the header."""
    if not table.ragged_fields:
        return question
    cause = ragged_rows(table.ragged_fields, len(table), len(table.headers), table.separator or ",")
    return IdColumnUndecided(
        f"{cause} ", *question.args, candidates=question.candidates, names=question.names, joined=question.joined
    )


def read_roster_password(settings: RunSettings, environment: Mapping[str, str]) -> str | None:
    """Of the roster; where there is none, an error report that --protect encrypted has that of the results."""
    password = read_secret("BATCHLINKS_ROSTER_PASSWORD", environment, in_keyring=False)
    if not password and settings.protect:
        password = read_secret(RESULT_PASSWORD, environment)
    return password or None


def _decide_on_cautions(table: Table, settings: RunSettings, hooks: RunHooks) -> tuple[list[Caution], list[Caution]]:
    """The columns such as `Deceased` whose marks are heeded, and those that nobody has decided on.

    Raises CautionsUndecided for the latter unless they may stay open, and SettingsError for a column to heed that the list
    lacks.
    """
    heeded, undecided = find_cautions(table, heed=settings.heed, ignore=settings.ignore)
    answers = [(caution, hooks.heed(caution)) for caution in undecided]
    heeded += [caution for caution, answer in answers if answer]
    still_open = [caution for caution, answer in answers if answer is None]
    if still_open and not hooks.leave_cautions_open:
        raise CautionsUndecided(still_open)
    return heeded, still_open


@frees_memory
def apply_screening(roster: Roster, settings: RunSettings, *, withdrawn: frozenset[str]) -> Screened:
    """Every row with its ID or the reason why it has none; patients whom a heeded column marks are excluded.

    Raises RosterError for an exclude list in doubt.
    """
    table, column = roster.table, roster.id_column
    rules = Rules(
        pattern=None if settings.id_pattern is None else IdPattern(settings.id_pattern),
        width=settings.id_width,
        any_length=settings.any_length,
        any_shape=settings.any_shape,
        exact_ids=settings.exact_ids,
        joined_by=settings.id_join,
        excluded=_excluded(settings)
        | find_marked_ids(roster.heeded, table, column, joined_by=settings.id_join, width=settings.id_width),
        withdrawn=withdrawn,
    )
    from batchlinks.screening.screen import screen  # with pandas, which is imported while the roster is read

    screened = screen(table, column, rules)
    keep_earlier_verdicts(screened, table, column, _made_void(settings))
    screened.excluded = rules.excluded | rules.withdrawn
    return screened


def _made_void(settings: RunSettings) -> frozenset[ErrorCode]:
    """Codes of an error report that do not hold any more, since a setting says so."""
    void: set[ErrorCode] = set()
    if settings.any_length or settings.id_width is not None:
        void.add(ErrorCode.LOST_ZEROS)
    if settings.id_pattern is not None:
        void |= {ErrorCode.NO_DIGIT, ErrorCode.PATTERN_MISMATCH}
    if settings.any_shape:
        void.add(ErrorCode.ODD_SHAPE)
    if settings.exact_ids:
        void.add(ErrorCode.AMBIGUOUS_ID)
    return frozenset(void)


def warn_of_links_before(roster: Roster, screened: Screened, known: pa.Table) -> None:
    """Corrected rows whose ID already has a link: it may be another patient's. `known` is what the ledger says."""
    table, column = roster.table, roster.id_column
    typed = corrected(table, column) & (screened.sendable | screened.duplicates)
    if typed.any():
        had: pa.Array = pc.is_in(screened.ids, value_set=known.column("external_id").combine_chunks())
        rows = table.row_numbers[typed & had.to_numpy(zero_copy_only=False)].tolist()
        if rows:
            screened.warnings[WarningCode.HAD_A_LINK] = sorted(rows)


def _excluded(settings: RunSettings) -> frozenset[str]:
    """The exclude list. Whoever stands on it must be understood: an entry that cannot be read stops the run."""
    if settings.exclude is None:
        return frozenset()
    listed = read_ids(
        settings.exclude,
        id_column=settings.id_column,
        width=settings.id_width,
        otherwise="so somebody who is to be left out might not be",
    )
    return frozenset(listed)


def read_ids(
    source: Path | RosterBytes, *, id_column: str | None = None, width: int | None = None, otherwise: str
) -> dict[str, int]:
    """The IDs in a plain list, cleaned as in screening, each with the row in which it stands first, in the list's order.

    Raises RosterError for an entry that cannot be read; `otherwise` says what that would come to.
    """
    found: dict[str, int] = {}
    for place, (row, text, kind) in enumerate(read_id_list(source, id_column=id_column)):
        identifier, code = read_id(text, kind, width=width)
        if identifier:
            found.setdefault(identifier, row)
        elif place > 0 or code is not ErrorCode.NO_DIGIT:  # the first may be a header
            raise RosterError(
                f"{source.name}, row {row}: this entry cannot be read as a patient ID, {otherwise}. Correct it."
            )
    return found


def log_warnings(screened: Screened, *codes: WarningCode) -> None:
    """Say on standard error what was noticed and in which rows; all of it, or these codes only."""
    for code, rows in screened.warnings.items():
        if not codes or code in codes:
            named = f": row {in_words(rows, most=_ROWS_NAMED)}" if rows else ""
            advice = f" {door().advise(Advice(code.advice))}" if code.advice else ""
            lengths = f" ({screened.lengths.in_words()})" if code is WarningCode.MIXED_LENGTHS else ""
            said = f"{code.sentence(len(rows))}{lengths}{named}.{advice}"
            logger().warning(said, code=code.value, rows=list(rows))
