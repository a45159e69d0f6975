"""Rows of the sheet that are not under the headers that were taken: above them, or below a second row of headers.

A second row of headers that names the same columns, in whatever order, goes on with the same table: its rows are put
into the table's order. Rows under other headers, and rows above the headers that could be patients, are kept and held
back (`Table.other_table`); titles and print dates are left out.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.arrow import combine_chunks
from batchlinks.columns.header_words import Sense, is_plain, key, senses_of
from batchlinks.columns.id_column import possible_id_headers
from batchlinks.errors import RosterError
from batchlinks.next_steps import Advice, Do, Part
from batchlinks.patients.identifier import clean, is_placeholder, read_id
from batchlinks.roster.header import MAX_VALUES, clean_header, columns_called, is_filled, is_value
from batchlinks.table import Table

_SAMPLE = 500
_MOST_OF_A_COLUMN = 0.8
_MOST_OF_A_HEADER = 0.6
_MANY_CANDIDATES = 5_000
_FEWEST_DIGITS = 4
_TOO_MANY = 0.1  # share of the rows beyond which somebody has to say which table is meant
_REPORT_WORDS = re.compile(
    r"\W*(?:run|report|print(?:ed)?|generated|created|export(?:ed)?|extract(?:ed)?|as of|page|date|time|total|count|rows?"
    r"|records?|patients|version|confidential)\b.*",
    re.IGNORECASE | re.DOTALL,
)

Mask = npt.NDArray[np.bool_]


class TablesUndecided(RosterError):
    """A sheet with several tables, of which nobody but the user can say which is meant."""

    def __init__(self, *parts: Part, header_rows: Sequence[int]) -> None:
        super().__init__(*parts)
        self.header_rows = tuple(header_rows)
        """Numbers of the rows that could be the headers."""


def sort_out_tables(table: Table, above: int, *, id_column: str | None, may_leave_out: bool) -> Table:
    """`table` without titles, its rows in its own order, the rows of other tables marked.

    Its first `above` rows stand above its header. Raises `TablesUndecided` where more than a tenth of the rows would be
    held back, unless `may_leave_out`: somebody has named the header.
    """
    keys = {key(header) for header in table.headers}
    if not any(table.headers) or {"errorrow", "errorcode"} <= keys:
        return _without(table, np.arange(len(table)) < above)
    ids = _id_columns(table.headers, id_column)
    strangers, titles = _rows_above(table, above, ids)
    table, sections = _sections(table, above, ids)
    starts = [section.position for section in sections]
    for section, end in zip(sections, [*starts, len(table)][1:], strict=True):
        strangers[section.position : end] |= section.is_another_table
    if not may_leave_out:
        _ask_if_many(table, strangers, titles, above, [section for section in sections if section.is_another_table])
    table = dataclasses.replace(table, other_table=tuple(np.flatnonzero(strangers).tolist()))
    return _without(table, titles)


def _id_columns(headers: Sequence[str], id_column: str | None) -> list[int]:
    """Where the IDs may stand: in the columns that were named, or in those whose headers may be an ID's."""
    named = [] if id_column is None else columns_called(headers, id_column)
    return named or list(possible_id_headers(headers))


# --- above the header -----------------------------------------------------------------------------------------


def _rows_above(table: Table, above: int, ids: Sequence[int]) -> tuple[Mask, Mask]:
    """The rows above the header that could be patients, and those that are titles, print dates and headers of groups."""
    strangers = np.zeros(len(table), dtype=bool)
    titles = np.arange(len(table)) < above
    if not above:
        return strangers, titles
    shapes = {column: _shapes(table.column(column).slice(above, _SAMPLE * 20)) for column in ids}
    under_headers = False
    for position in range(above):
        cells = _cells(table, position)
        filled = [cell for cell in cells if is_filled(cell)]
        if _says_header(cells):
            under_headers = True
        elif any(
            _could_be_id(cells[column], shapes[column], lone=len(filled) < 2) for column in ids if column < len(cells)
        ):
            strangers[position] = not (len(filled) < 4 and any(map(_REPORT_WORDS.fullmatch, filled)))
        else:
            strangers[position] = under_headers and len(filled) > 1 and any(map(is_value, filled))
    return strangers, titles & ~strangers


def _shapes(texts: pa.Array) -> frozenset[str]:
    """What the IDs of a column are made of: exactly, and behind a `~` without the lengths."""
    exactly = [_shape(clean(text)) for text in texts.to_pylist() if is_filled(text)]
    return frozenset(exactly) | {f"~{_without_lengths(shape)}" for shape in exactly}


def _shape(text: str) -> str:
    return re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", text))


def _without_lengths(shape: str) -> str:
    return re.sub(r"(.)\1+", r"\1", shape)


def _could_be_id(cell: str, shapes: frozenset[str], *, lone: bool) -> bool:
    text = clean(cell)
    if not any(map(str.isdigit, text)) or read_id(text)[1] is not None:
        return False
    shape = _shape(text)
    if shape in shapes:
        return True
    return not lone and shape.count("9") >= _FEWEST_DIGITS and f"~{_without_lengths(shape)}" in shapes


# --- below the header -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Section:
    """Rows from a second row of headers on."""

    position: int
    """Of the header."""

    is_another_table: bool
    order: tuple[int, ...] | None = None
    """Column of the table -> the column in which these rows hold it; None where they hold it where the table does."""


def _sections(table: Table, above: int, ids: Sequence[int]) -> tuple[Table, list[_Section]]:
    """The table with its rows in its own order, and its further sections."""
    sections: list[_Section] = []
    last = above - 1  # the header itself stands right above the first row
    number_of_last = table.header_row
    for position in _candidates(table, above, ids):
        adjoins = position == last + 1 and table.row_numbers[position] == number_of_last + 1
        section = _section_at(table, position, above, adjoins=adjoins)
        if section is not None:
            sections.append(section)
            last, number_of_last = position, int(table.row_numbers[position])
        elif adjoins and position > above:
            last, number_of_last = position, int(table.row_numbers[position])
    if any(section.order for section in sections):
        table = _reordered(table, sections)
    return table, sections


def _candidates(table: Table, above: int, ids: Sequence[int]) -> list[int]:
    """Positions of the rows whose cell in the ID column, or else in another column of numbers, has no digit."""
    columns = [*ids, *(column for column in range(len(table.headers)) if column not in ids)]
    of_numbers = [column for column in columns if _holds_numbers(table, column, above)]
    if not of_numbers:
        return []
    found = np.arange(above, len(table))
    for column in of_numbers:
        texts = combine_chunks(table.cells.column(column)).take(pa.array(found)) if column != of_numbers[0] else (
            table.column(column).slice(above)
        )  # fmt: skip
        digits: Mask = pc.match_substring_regex(texts, r"\d").to_numpy(zero_copy_only=False)
        found = found[~digits]
        if len(found) <= _MANY_CANDIDATES:
            break
    positions: list[int] = found.tolist()
    return positions


def _holds_numbers(table: Table, column: int, above: int) -> bool:
    step = max((len(table) - above) // _SAMPLE, 1)
    rows = pa.array(np.arange(above, len(table), step))
    texts = [text for text in table.cells.column(column).take(rows).to_pylist() if is_filled(text)]
    return bool(texts) and sum(any(map(str.isdigit, text)) for text in texts) >= _MOST_OF_A_COLUMN * len(texts)


def _section_at(table: Table, position: int, above: int, *, adjoins: bool) -> _Section | None:
    """The section that the row at `position` begins; None where it is no row of headers, or the header's second line."""
    cells = [clean_header(cell) for cell in _cells(table, position)]
    filled = {column: key(cell) or cell for column, cell in enumerate(cells) if cell}
    headers = {column: key(header) or header for column, header in enumerate(table.headers) if header}
    if not filled:
        return None
    if filled.items() <= headers.items() and 2 * len(filled) >= len(headers):
        return _Section(position, is_another_table=False)
    if (
        len(filled) > 1
        and Counter(filled.values()) == Counter(headers.values())
        and position not in table.ragged_fields
    ):
        return _Section(position, False, _order(headers, filled, len(table.headers)))
    if adjoins:
        return None
    if _says_header(cells, alone=len(headers) == 1) or _must_be_header(table, position, above, cells):
        return _Section(position, is_another_table=True)
    return None


def _order(headers: dict[int, str], filled: dict[int, str], width: int) -> tuple[int, ...]:
    places: dict[str, list[int]] = {}
    for column, name in filled.items():
        places.setdefault(name, []).append(column)
    order = {column: places[name].pop(0) for column, name in headers.items()}
    unused = iter(sorted(set(range(width)) - set(order.values())))
    return tuple(order[column] if column in order else next(unused) for column in range(width))


def _says_header(cells: Sequence[str], *, alone: bool = False) -> bool:
    """Whether a row of labels is made of the words of headers."""
    filled = [cell for cell in cells if is_filled(cell)]
    if len(filled) < (1 if alone else 2) or sum(map(is_value, filled)) > MAX_VALUES * len(filled):
        return False
    known = sum(bool(senses) and Sense.UNKNOWN not in senses for senses in map(senses_of, filled))
    plain = sum(map(is_plain, filled))
    return known >= _MOST_OF_A_HEADER * len(filled) and 3 * plain >= len(filled)


def _is_all_words_of_headers(cells: Sequence[str]) -> bool:
    """Whether each cell says what a column may hold: `NPI`, `Provider`, `Clinic`."""
    return all(senses and Sense.UNKNOWN not in senses for senses in map(senses_of, filter(is_filled, cells)))


def _must_be_header(table: Table, position: int, above: int, cells: Sequence[str]) -> bool:
    """Whether a row can be nothing but headers, in whatever language.

    Labels only, also in two columns that otherwise hold numbers, or above rows that are made otherwise than the table; and
    below a gap or a title, or in the words of headers.
    """
    if position in table.ragged_fields:
        return False
    filled = [cell for cell in cells if cell]
    if len(filled) < 3 or len({key(cell) for cell in filled}) < len(filled):
        return False
    if any(any(map(str.isdigit, cell)) or is_placeholder(cell) for cell in filled):
        return False
    numbers = [column for column, cell in enumerate(cells) if cell and _holds_numbers(table, column, above)]
    if not (_after_a_gap(table, position) or _after_a_title(table, position)):
        return len(numbers) > 1 and _is_all_words_of_headers(cells)
    return len(numbers) > 1 or (bool(numbers) and _is_made_otherwise_below(table, position, above, cells))


def _is_made_otherwise_below(table: Table, position: int, above: int, cells: Sequence[str]) -> bool:
    """Whether the rows under these labels hold numbers where the table holds none."""
    below = slice(position + 1, position + 1 + _SAMPLE)
    for column, cell in enumerate(cells):
        texts = table.column(column).slice(below.start, _SAMPLE).to_pylist()
        filled = [text for text in texts if is_filled(text)]
        with_digits = sum(any(map(str.isdigit, text)) for text in filled)
        so_far = table.column(column).slice(above, min(position - above, _SAMPLE)).to_pylist()
        without = sum(is_filled(text) and not any(map(str.isdigit, text)) for text in so_far)
        if (
            cell
            and filled
            and with_digits == len(filled)
            and without >= _MOST_OF_A_COLUMN * sum(map(is_filled, so_far)) > 0
        ):
            return True
    return False


def _after_a_gap(table: Table, position: int) -> bool:
    return position > 0 and int(table.row_numbers[position]) > int(table.row_numbers[position - 1]) + 1


def _after_a_title(table: Table, position: int) -> bool:
    return position > 0 and sum(map(is_filled, _cells(table, position - 1))) == 1


def _reordered(table: Table, sections: Sequence[_Section]) -> Table:
    """Each section's cells in the columns of the table."""
    ends = [*(section.position for section in sections[1:]), len(table)]
    as_it_is = tuple(range(len(table.headers)))
    rows_of: dict[tuple[int, ...], Mask] = {}
    for section, end in zip(sections, ends, strict=True):
        if section.order and section.order != as_it_is:
            rows = rows_of.setdefault(section.order, np.zeros(len(table), dtype=bool))
            rows[section.position : end] = True
    cells = [table.column(column) for column in range(len(table.headers))]
    none = np.zeros(len(table), dtype=np.int8)
    kinds = [table.kinds.get(column, none) for column in range(len(table.headers))]
    placed, placed_kinds = list(cells), list(kinds)
    for moved, rows in rows_of.items():
        mask = pa.array(rows)
        for column, source in enumerate(moved):
            placed[column] = pc.if_else(mask, cells[source], placed[column])
            placed_kinds[column] = np.where(rows, kinds[source], placed_kinds[column])
    return dataclasses.replace(
        table,
        cells=pa.table({str(column): texts for column, texts in enumerate(placed)}),
        kinds={column: kind for column, kind in enumerate(placed_kinds) if kind.any()},
    )


# --- what comes of it -----------------------------------------------------------------------------------------


def _ask_if_many(table: Table, strangers: Mask, titles: Mask, above: int, others: Sequence[_Section]) -> None:
    positions = np.flatnonzero(strangers)
    with_digits = [
        position for position in positions.tolist() if any(re.search(r"\d", c) for c in _cells(table, position))
    ]
    rows = len(table) - int(titles.sum())
    if len(with_digits) <= _TOO_MANY * rows:
        return
    where = f"{table.name}, sheet '{table.sheet}'" if table.sheet else table.name
    numbers = [int(table.row_numbers[position]) for position in with_digits]
    is_above = with_digits[0] < above
    second = f"under other column headers, in row {int(table.row_numbers[others[0].position])}" if others else ""
    place = " or ".join(part for part in ("above them" if is_above else "", second) if part)
    raise TablesUndecided(
        f"{where}: the column headers are in row {table.header_row}, but {len(numbers):,} of {rows:,} rows are {place} "
        f"(the first is row {numbers[0]}). There seem to be several tables. ",
        Advice(Do.SPLIT_TABLES, table.header_row),
        header_rows=[table.header_row, *(int(table.row_numbers[section.position]) for section in others)],
    )


def _cells(table: Table, position: int) -> Sequence[str]:
    if position in table.ragged_fields:
        return table.ragged_fields[position]
    return [column[position].as_py() for column in table.cells.columns]


def _without(table: Table, left_out: Mask) -> Table:
    """The table without these rows."""
    if not left_out.any():
        return table
    kept = ~left_out
    place = np.cumsum(kept) - 1  # of each row that stays
    numbers = table.row_numbers[kept]
    staying = set(numbers.tolist())
    first = int(left_out.argmin())
    is_head = not left_out[first:].any()
    return dataclasses.replace(
        table,
        cells=table.cells.slice(first) if is_head else table.cells.filter(pa.array(kept)),
        row_numbers=numbers,
        kinds={column: kinds[kept] for column, kinds in table.kinds.items() if kinds[kept].any()},
        ragged_fields={
            int(place[position]): fields for position, fields in table.ragged_fields.items() if kept[position]
        },
        hidden_rows=tuple(row for row in table.hidden_rows if row in staying),
        total_rows=tuple(int(place[position]) for position in table.total_rows if kept[position]),
        other_table=tuple(int(place[position]) for position in table.other_table if kept[position]),
    )
