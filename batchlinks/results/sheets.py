"""What stands in the links workbook and in the error report: columns of text, a row for each row of the roster. Pure."""

import csv
import difflib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.arrow import combine_chunks, filter_rows
from batchlinks.columns.header_words import is_plain, key
from batchlinks.columns.id_column import IdColumn, column_letters, display_names
from batchlinks.columns.sensitive import social_security_columns
from batchlinks.config.settings import RunSettings
from batchlinks.corrections.cell_correction import CellCorrection
from batchlinks.corrections.corrections_file import CORRECTION_COLUMNS, CORRECTIONS_SHEET
from batchlinks.errors import SettingsError
from batchlinks.next_steps import Setting
from batchlinks.patients.people import Difference, identity_columns
from batchlinks.results.date_columns import cells_as_shown
from batchlinks.results.split import check_split_column
from batchlinks.results.text_columns import batches
from batchlinks.results.xlsx.sheet import Sheet
from batchlinks.roster.error_report import DUPLICATE_COLUMNS, ERROR_COLUMNS, FIELD_COLUMN, screened_as, text_as_refused
from batchlinks.row_codes import DUPLICATE, DUPLICATE_ACTION, DUPLICATE_MESSAGE, Action, ErrorCode
from batchlinks.screening.fixed_report import id_digest
from batchlinks.screening.result import Screened
from batchlinks.table import CellKind, EarlierVerdict, ListProfile, Table

LINKS_SHEET, ERRORS_SHEET, DUPLICATES_SHEET = "Links", "Errors", "Duplicates"
OTHER_LINK_COLUMN = "healthex_link"
MESSAGE_COLUMN, PHONE_COLUMN = "message", "phone_e164"
QR_COLUMN = "qr_code"
"""Holds the picture, and the name of its file."""

_DATE_COLUMNS = ("link_issued_on", "link_is_new")
_SENTENCES = frozenset({ERROR_COLUMNS.index("error_message")})
_HEADINGS = {
    "error_row": "Row",
    "error_code": "Code",
    "error_action": "What to do",
    "error_message": "Reason",
    "error_cells": "Cells to look at",
    "kept_row": "Row that was used",
}
"""What a person reads above the report's own columns."""
_FOR_PROGRAMS = frozenset({ERROR_COLUMNS.index("screened_as")})


@dataclass(frozen=True, slots=True)
class OutputColumns:
    """Which roster columns staff get, and what the new ones are called."""

    kept: tuple[int, ...]
    """Positions of the roster's columns, in the order in which they are written."""

    link_column: str
    link_column_taken: bool = False
    """Whether the list has a column of the name that the new one was to have, and it holds something else."""

    link_dates: bool = False
    clickable: bool = False
    iso_dates: bool = False
    """Whether dates are `YYYY-MM-DD` instead of what the list shows."""

    qr: bool = False
    qr_files: bool = True
    """Whether the codes are pictures of their own, too."""

    split_by: int | None = None
    """Position of the column for each of whose values there is a workbook; None for one workbook."""


def choose_output_columns(
    table: Table, column: IdColumn, settings: RunSettings, link_hosts: Collection[str]
) -> OutputColumns:
    """As the settings say. Raises SettingsError where they name a column that is not there, or that must not split the list.

    A column of the list that is called as the new one gives way where it holds links on one of `link_hosts`, as a list does
    that was made from the last links workbook.
    """
    replaced = _columns_of_last_time(table, column, settings, link_hosts)
    left = [header for position, header in enumerate(table.headers) if position not in replaced]
    taken = key(settings.link_column) in map(key, left)
    kept = tuple(position for position in kept_for_staff(table, column, settings) if position not in replaced)
    if settings.qr and len(column.parts) == 1 and not _identity_in(table, column, kept):
        raise SettingsError(
            "A QR code needs a name or the patient ID beside it, or nobody can tell whose it is, and ",
            Setting("columns"),
            " keeps neither. Add one of them.",
        )
    return OutputColumns(
        kept=kept,
        link_column=OTHER_LINK_COLUMN if taken else settings.link_column,
        link_column_taken=taken,
        link_dates=settings.link_dates,
        clickable=settings.clickable,
        iso_dates=settings.iso_dates,
        qr=settings.qr,
        qr_files=not settings.protect,  # they would show in clear what the workbook hides
        split_by=_splitting(table, column, settings.split_by) if settings.split_by is not None else None,
    )


def _columns_of_last_time(
    table: Table, column: IdColumn, settings: RunSettings, link_hosts: Collection[str]
) -> frozenset[int]:
    """Columns that the last links workbook added, and that this one adds anew."""
    names = (key(settings.link_column), key(OTHER_LINK_COLUMN))
    links = {
        position
        for position, header in enumerate(table.headers)
        if key(header) in names and position not in column.parts and _holds_links(table.column(position), link_hosts)
    }
    if not links:
        return frozenset()
    added = [QR_COLUMN] if settings.qr else []
    added += [MESSAGE_COLUMN] if settings.message is not None else []
    added += [PHONE_COLUMN] if settings.phone_column is not None else []
    added += _DATE_COLUMNS if settings.link_dates else []
    beside = {position for position, header in enumerate(table.headers) if header in added}
    return frozenset(links | (beside - set(column.parts)))


def _holds_links(cells: pa.Array | pa.ChunkedArray, hosts: Collection[str]) -> bool:
    """Whether every cell that is not blank is a link on one of these hosts."""
    texts = pc.utf8_trim_whitespace(cells)
    fits = pc.equal(texts, "")
    for host in hosts:
        fits = pc.or_(fits, pc.starts_with(texts, f"https://{host}/"))
    return bool(pc.all(fits).as_py() is not False)


def kept_for_staff(table: Table, column: IdColumn, settings: RunSettings) -> tuple[int, ...]:
    """Positions of the columns that staff get, in order. Raises SettingsError where they are not there."""
    return _named(table, settings.columns) if settings.columns is not None else without_social_security(table, column)


def _splitting(table: Table, column: IdColumn, wanted: str) -> int:
    position = find_column(table, wanted)
    if position is None:
        raise SettingsError(Setting("split_by"), f" names no column of the list{_nearest(wanted, table.headers)}.")
    check_split_column(table, column, position)
    return position


def without_social_security(table: Table, column: IdColumn) -> tuple[int, ...]:
    """Every column with something in it but those with Social Security numbers; the ID column stays, whatever it holds."""
    hidden = set(social_security_columns(table, except_for=column.parts)) | (_empty_columns(table) - set(column.parts))
    return tuple(position for position in range(len(table.headers)) if position not in hidden)


def _empty_columns(table: Table) -> set[int]:
    """Columns with neither header nor value: a table that starts in column B has one before it."""
    return {
        position
        for position, header in enumerate(table.headers)
        if not header
        and not any(position < len(fields) and fields[position] for fields in table.ragged_fields.values())
        and not pc.any(pc.not_equal(table.column(position), "")).as_py()
    }


def find_column(table: Table, wanted: str) -> int | None:
    """Of the column that is called so, exactly or when case, spaces and punctuation do not count; None if there is none."""
    names = display_names(table.headers)
    if wanted.strip() in names:
        return names.index(wanted.strip())
    return next((position for position, name in enumerate(names) if key(name) == key(wanted)), None)


def _named(table: Table, columns: str) -> tuple[int, ...]:
    positions = []
    # as in a CSV, so that quotes can hold a header with a comma
    for place, wanted in enumerate(next(csv.reader([columns], skipinitialspace=True), []), start=1):
        position = find_column(table, wanted)
        if position is None:
            raise SettingsError(
                Setting("columns"),
                f": the {_ordinal(place)} name in it is no column of the list{_nearest(wanted, table.headers)}.",
            )
        positions.append(position)
    if not positions:
        raise SettingsError(Setting("columns"), " names no column.")
    return tuple(positions)


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")


def _nearest(wanted: str, headers: Sequence[str]) -> str:
    """The header that was probably meant, unless it might be a patient's data in a list without a header row."""
    shown = {key(header): header for header in headers if is_plain(header)}
    near = difflib.get_close_matches(key(wanted), list(shown), n=1)
    return f" (did you mean {shown[near[0]]}?)" if near else ""


def links_sheet(
    table: Table,
    column: IdColumn,
    screened: Screened,
    *,
    rows: npt.NDArray[np.bool_],
    links: pa.Table,
    output: OutputColumns,
    more: Sequence[tuple[str, pa.Array]] = (),
) -> Sheet:
    """The sheet `Links`. `rows` tells which rows of the roster stand in it; `links` is what `Assignment.of` says of these.

    `more`: headers and values of columns behind the link.
    """
    names = display_names(table.headers)
    headers = [names[position] for position in output.kept]
    values = [cells_as_shown(table, position, rows, iso=output.iso_dates) for position in output.kept]
    ids = filter_rows(rows, screened.ids)
    if len(column.parts) == 1:
        values = [
            ids if position in column.parts else cells for position, cells in zip(output.kept, values, strict=True)
        ]
    else:
        headers.append(column.name)
        values.append(ids)
    link_at = len(headers)
    headers.append(output.link_column)
    values.append(links.column("link"))
    if output.qr:
        headers.append(QR_COLUMN)
        names = picture_names(table.row_numbers[rows].tolist())
        values.append(pa.array(names if output.qr_files else [""] * len(names), pa.string()))
    if output.link_dates:
        headers += _DATE_COLUMNS
        values.append(pc.utf8_slice_codeunits(links.column("issued_at"), 0, 10))
        values.append(pc.if_else(links.column("is_new"), "yes", "no"))
    for header, texts in more:
        headers.append(header)
        values.append(texts)
    return Sheet(
        LINKS_SHEET,
        display_names(headers),
        values,
        link=link_at,
        identity=_identity_in(table, column, output.kept, joined_at=link_at - 1 if len(column.parts) > 1 else None),
        essential=(link_at, link_at + 1) if output.qr else (link_at,),
        hyperlinks=link_at if output.clickable else None,
        pictures=link_at + 1 if output.qr else None,
    )


def _identity_in(
    table: Table, column: IdColumn, kept: Sequence[int], *, joined_at: int | None = None, before: int = 0
) -> tuple[int, ...]:
    """Where in a sheet the ID and the names stand, as far as they are in it. `before`: the sheet's own columns in front."""
    names = identity_columns(table.headers, column.parts)
    wanted = [*column.parts, names.first_name, names.last_name, names.full_name]
    there = [before + kept.index(position) for position in wanted if position in kept]
    return (*(() if joined_at is None else (joined_at,)), *there)


def picture_names(row_numbers: Sequence[int]) -> list[str]:
    """`17.png` for row 17; ` (2)` for the second of two rows that have one number, as a row added to an error report may."""
    seen: Counter[int] = Counter()
    names = []
    for row in row_numbers:
        seen[row] += 1
        names.append(f"{row}.png" if seen[row] == 1 else f"{row} ({seen[row]}).png")
    return names


def pictured(sheet: Sheet) -> Iterator[tuple[str, str]]:
    """The link and the name of its picture's file, "" for none, for each row of a links sheet that has pictures."""
    if sheet.pictures is not None:
        for _, (links, names) in batches([sheet.columns[sheet.pictures - 1], sheet.columns[sheet.pictures]]):
            yield from zip(links.to_pylist(), names.to_pylist(), strict=True)


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row without a link."""

    position: int
    """In the table."""

    row: int
    """As a spreadsheet numbers it."""

    code: ErrorCode
    gaps: Mapping[str, object]
    """What goes into the gaps of the code's sentence."""


def refused_rows(table: Table, screened: Screened) -> list[RefusedRow]:
    """Sorted by action, code and row: those of one cause are fixed in one go."""
    found = []
    for position in np.flatnonzero(screened.codes).tolist():
        code = screened.code_at(position)
        assert code is not None  # noqa: S101 - for the type checker
        found.append(RefusedRow(position, int(table.row_numbers[position]), code, screened.gaps.get(position, {})))
    return sorted(found, key=lambda refused: (refused.code.action, refused.code.value, refused.row))


def error_sheets(
    table: Table,
    column: IdColumn,
    screened: Screened,
    refused: Sequence[RefusedRow],
    profile: ListProfile,
    *,
    kept: Sequence[int],
) -> tuple[Sheet, Sheet]:
    """The sheets `Errors` and `Duplicates`.

    The rows `refused` in their order, and the duplicates with the roster's columns `kept` as they stood. `profile`: how the
    list's IDs usually look.
    """
    return (
        _errors(table, column, screened, refused, profile, kept),
        _duplicates(table, column, screened, kept),
    )


def _errors(
    table: Table,
    column: IdColumn,
    screened: Screened,
    refused: Sequence[RefusedRow],
    profile: ListProfile,
    kept: Sequence[int],
) -> Sheet:
    positions = np.array([each.position for each in refused], dtype=np.intp)
    place_in_roster = pa.array(np.argsort(np.argsort(positions)))
    cells = {index: _cells(table, index, screened.codes != 0).take(place_in_roster) for index in kept}
    for part in set(column.parts) & set(kept) & set(table.kinds):
        cells[part] = _still_refused(cells[part], table.kinds[part][positions])
    to_fix = _cells_to_fix(table, column, refused)
    names = display_names(table.headers)
    field_headers, fields = _misfit_fields(table, positions)
    headers = [*ERROR_COLUMNS, *(names[index] for index in kept), *field_headers]
    ours = [
        _texts([each.row for each in refused]),
        _texts([each.code.value for each in refused]),
        _texts([each.code.action for each in refused]),
        _texts([each.code.message(**each.gaps) for each in refused]),
        _texts(_named_cells(table, refused, to_fix)),
        _in_runs(_screened_as(refused, profile, [cells[part] for part in column.parts])),
    ]
    marked = {len(ERROR_COLUMNS) + kept.index(index): mask for index, mask in to_fix.items() if index in kept}
    apart = np.array([each.code is ErrorCode.WRONG_FIELD_COUNT for each in refused], dtype=bool)
    for place, texts in enumerate(fields, start=len(ERROR_COLUMNS) + len(kept)):
        marked[place] = apart & pc.not_equal(texts, "").to_numpy(zero_copy_only=False)
    return Sheet(
        ERRORS_SHEET,
        display_names(headers),
        [*ours, *cells.values(), *fields],
        marked=marked,
        sentences=_SENTENCES,
        hidden=_FOR_PROGRAMS,
        identity=_identity_in(table, column, kept, before=len(ERROR_COLUMNS)),
        essential=range(len(ERROR_COLUMNS) - len(_FOR_PROGRAMS)),
        headings=_headings_of(ERROR_COLUMNS),
    )


def _headings_of(columns: Sequence[str]) -> dict[int, str]:
    return {position: _HEADINGS[name] for position, name in enumerate(columns) if name in _HEADINGS}


def _named_cells(table: Table, refused: Sequence[RefusedRow], to_fix: Mapping[int, npt.NDArray[np.bool_]]) -> list[str]:
    """Which cells of each row somebody has to look at, as a spreadsheet names them (`C14`).

    The column's header where the list is a CSV, or an error report, whose rows keep the numbers of their first list.
    """
    by_header = table.encoding is not None or table.is_error_report
    names = display_names(table.headers)
    return [
        ", ".join(
            names[index] if by_header else f"{column_letters(index)}{each.row}"
            for index, rows in to_fix.items()
            if rows[at]
        )
        for at, each in enumerate(refused)
    ]


def _screened_as(refused: Sequence[RefusedRow], profile: ListProfile, id_cells: Sequence[pa.Array]) -> list[str]:
    """What screening needs to know of each row when the report comes back."""
    plain = screened_as(profile)
    groups = Counter((each.code, each.gaps.get("rows")) for each in refused if "rows" in each.gaps)
    again = sum(each.code.action is Action.AGAIN for each in refused)
    typed = zip(*(cells.to_pylist() for cells in id_cells), strict=True)
    told = []
    for each, cells in zip(refused, typed, strict=True):
        if each.code.action is Action.AGAIN and again > _TOLD_APART:
            told.append(plain)
            continue
        together = groups.get((each.code, each.gaps.get("rows")), 0)
        gaps = {} if each.code.action is Action.AGAIN else each.gaps  # what happened then does not matter any more
        verdict = EarlierVerdict(each.code, gaps, id_digest(each.code, *cells), together)
        told.append(screened_as(profile, verdict, each.row))
    return told


def _in_runs(texts: Sequence[str]) -> pa.ChunkedArray:
    """Texts of which the same one often comes many times in a row: each run lies in memory as a few of it."""
    chunks = []
    for text, run in groupby(texts):
        count = sum(1 for _ in run)
        few = _texts([text] * min(count, _RUN))
        chunks += [few] * (count // _RUN) if count >= _RUN else []
        chunks.append(few.slice(0, count % _RUN))
    return pa.chunked_array(chunks, pa.string())


_RUN = 4_096
_TOLD_APART = 10_000
"""Rows that another run may do, of which each is told for itself; of more, a million maybe, nobody types one by one."""


def _cells_to_fix(table: Table, column: IdColumn, refused: Sequence[RefusedRow]) -> dict[int, npt.NDArray[np.bool_]]:
    """Roster column -> the refused rows whose cell in it a person has to look at.

    The ID, and where it is two people's what tells them apart. None where nothing is to be done, or only another run or IT
    can help.
    """
    identity = identity_columns(table.headers, column.parts)
    marked: defaultdict[int, npt.NDArray[np.bool_]] = defaultdict(lambda: np.zeros(len(refused), dtype=bool))
    for row, each in enumerate(refused):
        if each.code.action != Action.FIX or each.code is ErrorCode.WRONG_FIELD_COUNT:
            continue
        also = (
            identity.that_tell(Difference(str(each.gaps["difference"])))
            if each.code in (ErrorCode.CONFLICTING_ID, ErrorCode.KNOWN_AS_OTHER)
            else ()
        )
        for index in (*column.parts, *also):
            marked[index][row] = True
    return marked


def _still_refused(cells: pa.Array, kinds: npt.NDArray[np.int8]) -> pa.Array:
    """The ID cells of refused rows, so that none passes when it is handed in again as it is."""
    texts = cells.to_pylist()
    for row in np.flatnonzero(kinds > CellKind.NUMBER).tolist():
        texts[row] = text_as_refused(texts[row], int(kinds[row]))
    return _texts(texts)


def corrections_sheet(corrections: Sequence[CellCorrection]) -> Sheet:
    """The sheet `Corrections`: a row for each corrected cell of the list, for whoever keeps the records.

    What is no ID as it stands is written so that it does not become one when the report is handed in again.
    """
    columns = zip(
        *(
            (str(each.row), each.column, each.was, text_as_refused(each.now, each.kind), each.by)
            for each in corrections
        ),
        strict=True,
    )
    return Sheet(CORRECTIONS_SHEET, CORRECTION_COLUMNS, [pa.array(column, pa.string()) for column in columns])


def _misfit_fields(table: Table, positions: npt.NDArray[np.intp]) -> tuple[list[str], list[pa.Array]]:
    """Columns for the fields of rows with more or fewer of them than the header has: nobody can tell which belongs where."""
    fields = [table.ragged_fields.get(position, ()) for position in positions.tolist()]
    most = max(map(len, fields), default=0)
    headers = [FIELD_COLUMN.format(number=number) for number in range(1, most + 1)]
    return headers, [_texts([row[place] if place < len(row) else "" for row in fields]) for place in range(most)]


def _duplicates(table: Table, column: IdColumn, screened: Screened, kept: Sequence[int]) -> Sheet:
    positions = np.flatnonzero(screened.duplicates)
    kept_rows = table.row_numbers[screened.kept[positions]].tolist()
    names = display_names(table.headers)
    count = len(positions)
    ours = [
        _texts(table.row_numbers[positions].tolist()),
        _texts([DUPLICATE] * count),
        _texts([DUPLICATE_ACTION] * count),
        _texts([DUPLICATE_MESSAGE.format(kept_row=row) for row in kept_rows]),
        _texts(kept_rows),
    ]
    headers = [*DUPLICATE_COLUMNS, *(names[index] for index in kept)]
    cells = [_cells(table, index, screened.duplicates) for index in kept]
    return Sheet(
        DUPLICATES_SHEET,
        display_names(headers),
        [*ours, *cells],
        sentences=_SENTENCES,
        identity=_identity_in(table, column, kept, before=len(DUPLICATE_COLUMNS)),
        essential=range(len(DUPLICATE_COLUMNS)),
        headings=_headings_of(DUPLICATE_COLUMNS),
    )


def _cells(table: Table, index: int, rows: npt.NDArray[np.bool_]) -> pa.Array:
    """What stands in this column of these rows."""
    return combine_chunks(filter_rows(rows, table.cells.column(index)))


def _texts(values: Sequence[object]) -> pa.Array:
    return pa.array([str(value) for value in values], pa.string())
