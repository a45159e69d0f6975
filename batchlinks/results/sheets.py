"""What stands in the links workbook and in the error report: columns of text, row by row of the roster. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.codes import DUPLICATE, DUPLICATE_ACTION, DUPLICATE_MESSAGE
from batchlinks.errors import SettingsError
from batchlinks.results.workbook import Sheet
from batchlinks.roster.header_words import key
from batchlinks.roster.id_column import IdColumn, display_names
from batchlinks.roster.sensitive import social_security_columns
from batchlinks.roster.table import Table
from batchlinks.screening import Screened

LINKS_SHEET, ERRORS_SHEET, DUPLICATES_SHEET = "Links", "Errors", "Duplicates"
OTHER_LINK_COLUMN = "healthex_link"


@dataclass(frozen=True, slots=True)
class Handout:
    """Which roster columns staff get, and what the new ones are called."""

    kept: tuple[int, ...]
    """Positions of the roster's columns, in the order in which they are written."""

    link_column: str
    link_dates: bool = False


def handout(table: Table, column: IdColumn, *, columns: str | None, link_column: str, link_dates: bool) -> Handout:
    """Raises SettingsError when `columns` names one that is not there."""
    return Handout(
        kept=_named(table, columns) if columns is not None else without_social_security(table, column),
        link_column=OTHER_LINK_COLUMN if key(link_column) in map(key, table.headers) else link_column,
        link_dates=link_dates,
    )


def without_social_security(table: Table, column: IdColumn) -> tuple[int, ...]:
    """Every column but those with Social Security numbers; the ID column stays, whatever it holds."""
    hidden = set(social_security_columns(table, except_for=column.parts))
    return tuple(position for position in range(len(table.headers)) if position not in hidden)


def _named(table: Table, columns: str) -> tuple[int, ...]:
    by_key = {key(name): position for position, name in reversed(list(enumerate(display_names(table.headers))))}
    positions = []
    for name in columns.split(","):
        if key(name) not in by_key:
            raise SettingsError(f"--columns names a column that the list does not have: {name.strip()}.")
        positions.append(by_key[key(name)])
    return tuple(positions)


def links_sheet(
    table: Table,
    column: IdColumn,
    screened: Screened,
    *,
    rows: npt.NDArray[np.bool_],
    links: pa.Array,
    issued_at: pa.Array,
    is_new: pa.Array,
    handout: Handout,
) -> Sheet:
    """The sheet `Links`. `rows` tells which rows of the roster stand in it; the arrays hold one value for each of these."""
    taken = pa.array(rows)
    names = display_names(table.headers)
    headers = [names[position] for position in handout.kept]
    values = [table.column(position).filter(taken) for position in handout.kept]
    ids = screened.ids.filter(taken)
    if len(column.parts) == 1:
        values = [
            ids if position in column.parts else cells for position, cells in zip(handout.kept, values, strict=True)
        ]
    else:
        headers.append(column.name)
        values.append(ids)
    headers.append(handout.link_column)
    values.append(links)
    if handout.link_dates:
        headers += ["link_issued_on", "link_is_new"]
        values += [pc.utf8_slice_codeunits(issued_at, 0, 10), pc.if_else(is_new, "yes", "no")]
    return Sheet(LINKS_SHEET, display_names(headers), values)


def error_sheets(table: Table, column: IdColumn, screened: Screened, *, kept: Sequence[int]) -> tuple[Sheet, Sheet]:
    """The sheets `Errors` and `Duplicates`, with the roster's columns `kept` as they stood."""
    return _errors(table, column, screened, kept), _duplicates(table, screened, kept)


def _errors(table: Table, column: IdColumn, screened: Screened, kept: Sequence[int]) -> Sheet:
    positions = np.flatnonzero(screened.codes)
    codes, actions, messages = [], [], []
    for position in positions.tolist():
        code = screened.code_at(position)
        assert code is not None  # noqa: S101 only rows with a code are here
        codes.append(code.value)
        actions.append(code.action.value)
        messages.append(code.message(**screened.gaps.get(position, {})))
    taken = pa.array(positions)
    cells = [table.column(index).take(taken) for index in kept]
    names = display_names(table.headers)
    headers = [names[index] for index in kept]
    cells, headers = _with_misfits(table, positions, kept, cells, headers)
    first = ["error_row", "error_code", "error_action", "error_message"]
    ours = [_texts(table.row_numbers[positions].tolist()), _texts(codes), _texts(actions), _texts(messages)]
    here = np.ones(len(positions), dtype=bool)
    marked = {len(first) + kept.index(part): here for part in column.parts if part in kept}
    return Sheet(ERRORS_SHEET, display_names([*first, *headers]), [*ours, *cells], marked=marked)


def _with_misfits(
    table: Table, positions: npt.NDArray[np.intp], kept: Sequence[int], cells: list[pa.Array], headers: list[str]
) -> tuple[list[pa.Array], list[str]]:
    """Rows with more or fewer fields than the header, field by field as they stood; surplus ones in columns of their own."""
    rows = {int(position): index for index, position in enumerate(positions) if int(position) in table.misfits}
    if not rows:
        return cells, headers
    columns = [cell.to_pylist() for cell in cells]
    surplus = max(0, *(len(table.misfits[position]) - len(table.headers) for position in rows))
    extra = [[""] * len(positions) for _ in range(surplus)]
    for position, row in rows.items():
        fields = table.misfits[position]
        for place, index in enumerate(kept):
            columns[place][row] = fields[index] if index < len(fields) else ""
        for place, text in enumerate(fields[len(table.headers) :]):
            extra[place][row] = text
    names = display_names([*table.headers, *[""] * surplus])
    return [_texts(column) for column in [*columns, *extra]], [*headers, *names[len(table.headers) :]]


def _duplicates(table: Table, screened: Screened, kept: Sequence[int]) -> Sheet:
    positions = np.flatnonzero(screened.duplicates)
    kept_rows = table.row_numbers[screened.kept[positions]].tolist()
    names = display_names(table.headers)
    taken = pa.array(positions)
    count = len(positions)
    ours = [
        _texts(table.row_numbers[positions].tolist()),
        _texts([DUPLICATE] * count),
        _texts([DUPLICATE_ACTION] * count),
        _texts([DUPLICATE_MESSAGE.format(kept_row=row) for row in kept_rows]),
        _texts(kept_rows),
    ]
    headers = [
        "error_row",
        "error_code",
        "error_action",
        "error_message",
        "kept_row",
        *(names[index] for index in kept),
    ]
    return Sheet(
        DUPLICATES_SHEET, display_names(headers), [*ours, *(table.column(index).take(taken) for index in kept)]
    )


def _texts(values: Sequence[object]) -> pa.Array:
    return pa.array([str(value) for value in values], pa.string())
