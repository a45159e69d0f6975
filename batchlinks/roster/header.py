"""Where the table starts: which of the first rows of a sheet or a file is its header.

A roster may have title lines, a run date, or headers of groups of columns above its header. The header is a row of
labels that spans the table; the rows below it hold values. A wrong guess would turn patients into titles, so rows
above a header that look like patients are refused, never passed over.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile

from batchlinks.columns.header_words import key
from batchlinks.errors import RosterError, SettingsError
from batchlinks.next_steps import Advice, Do, Setting

PREVIEW_ROWS = 200
"""Rows that the decision is made on."""

IdHeaders = Callable[[Sequence[str]], Sequence[int]]
"""Positions of the headers that may be those of an ID column."""

_MIN_FILL = 0.6  # share of the table's columns that a header row has at least
MAX_VALUES = 0.2  # share of a header row's cells that may look like values: `2024`, `90-day`
_MAX_LABEL = 200  # characters; longer is prose

_COUNTED = re.compile(r"([A-Za-z][A-Za-z _.-]*)(\d{1,9})")
"""A name with a number behind it."""

_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u2060\u00ad"))
_VALUE = re.compile(
    r"""
      [\d\s\-/.,:()+\#%$*]*\d[\d\s\-/.,:()+\#%$*]*          # a number, a date, a phone number
    | \d{1,2}[-\ /.]?[a-z]{3,9}[-\ /.,]*\d{2,4}               # 5-Jan-1980
    | [a-z]{3,9}\.?\ \d{1,2},\ \d{4}                          # January 5, 1980
    | \S*\d{3}\S*                                             # MRN001234
    | \d+[a-z]{0,3}                                        # 12A
    | \S+@\S+\.\S+
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class PreviewRow:
    """One of the first rows: its number as a spreadsheet shows it, and its cells as text, all from column A on."""

    number: int
    cells: Sequence[str]

    @cached_property
    def values(self) -> frozenset[int]:
        """Positions of the cells that look like values."""
        return _values(self.cells)


@dataclass(frozen=True, slots=True)
class TableStart:
    """Where the table starts."""

    header_row: int
    """0 where the table has no header."""

    headers: tuple[str, ...]
    """Cleaned; for a table without a header, "" for each column."""

    @property
    def first_row(self) -> int:
        """Number of the first row that can be a patient."""
        return self.header_row + 1


def clean_header(text: str) -> str:
    """Without line breaks, invisible characters and white space around; runs of white space become one space.

    An error report shows `Row (error_row)` where `error_row` stands; a program that saves what is shown makes that the text.
    """
    cleaned = " ".join(text.translate(_INVISIBLE).split())
    shown = _SHOWN_IN_A_REPORT.fullmatch(cleaned)
    return shown[1] if shown else cleaned


_SHOWN_IN_A_REPORT = re.compile(r"[A-Za-z ]{1,40} \((error_[a-z]+|kept_row)\)")


def find_start(rows: Sequence[PreviewRow], *, id_headers: IdHeaders, id_column: str | None = None) -> TableStart | None:
    """Where the table among `rows` (the first ones, blank rows left out) starts; None where there is no table.

    With `id_column`, the header is the first row that holds it, where there is one. Raises `NoHeader` when rows
    above the header, or the very first row, look like patients.
    """
    rows = [row for row in rows if not is_blank(row.cells)]
    body = _TableBody.of(rows)
    above = list(takewhile(lambda row: not body.resembles(row), rows))
    if id_column is not None:
        holding = next((row for row in above if holds_column(row.cells, id_column)), None)
        if holding is not None:
            return _start_at(holding)
    candidates = [row for row in above if _is_labels(row) and _filled(row) >= _MIN_FILL * body.columns]
    chosen = _best(candidates, id_headers)
    if chosen is None:
        if body.value_columns:
            raise NoHeader
        return None
    if not body.value_columns and _filled(chosen) == 1 and not _ids(chosen, id_headers):
        return None  # a remark; a roster without patients has more headers, or that of an ID
    return _start_at(chosen)


class NoHeader(Exception):
    """There is a table, but its first rows look like patients."""


def no_header(name: str, sheet: str | None) -> RosterError:
    """For a table whose first rows look like patients."""
    where = f"{name}, sheet '{sheet}'" if sheet else name
    return RosterError(f"{where}: no row of column headers was found above the patients. ", Advice(Do.NAME_HEADER))


def no_table(name: str) -> RosterError:
    """For a file in which no table was found."""
    return RosterError(
        f"{name}: no table was found, that is, no row of column headers with patients below it in the first "
        f"{PREVIEW_ROWS} rows. ",
        Advice(Do.NAME_HEADER_ROW),
    )


def nothing_in_row(header_row: int) -> SettingsError:
    """For a row that was named as that of the headers, and is blank or beyond the end."""
    return SettingsError(Setting("header_row"), f" {header_row}: there is nothing in row {header_row}.")


def start_at_row(rows: Sequence[PreviewRow], header_row: int) -> TableStart:
    """The start that the user named; `rows` reach at least to it. Raises `SettingsError` when nothing is there."""
    if header_row == 0:
        return TableStart(0, ("",) * max((len(row.cells) for row in rows), default=0))
    named = next((row for row in rows if row.number == header_row), None)
    if named is None or not _filled(named):
        raise nothing_in_row(header_row)
    return _start_at(named)


def holds_column(cells: Sequence[str], id_column: str) -> bool:
    """Whether `cells`, as headers, hold the column `id_column`, or every part of one such as `A+B`."""
    headers = {_folded(cell) for cell in cells} - {""}
    return _folded(id_column) in headers or (
        "+" in id_column and all(_folded(part) in headers for part in id_column.split("+"))
    )


def columns_called(headers: Sequence[str], id_column: str) -> list[int]:
    """Positions of the columns called `id_column`, or of the parts of one such as `A+B`.

    Without such headers, that of a column letter.
    """
    wanted = (
        {_folded(id_column)} if _folded(id_column) in map(_folded, headers) else set(map(_folded, id_column.split("+")))
    )
    found = [column for column, header in enumerate(headers) if header and _folded(header) in wanted]
    letters = re.fullmatch(r"(?:column )?([a-z]{1,3})", id_column.strip().casefold())
    if not found and letters:
        at = 0
        for letter in letters[1]:
            at = at * 26 + ord(letter) - 96
        found = [at - 1] if at <= len(headers) else []
    return found


def is_filled(cell: str) -> bool:
    """Whether a person sees something in `cell`."""
    return bool(cell) and not cell.isspace()


def is_blank(cells: Iterable[object]) -> bool:
    """Whether a person sees nothing in `cells`: text, numbers, dates."""
    # A loop, since nearly always the first cell decides, a million times over.
    for cell in cells:  # noqa: SIM110 - the same as all(…), at half the price
        if cell != "" and not (isinstance(cell, str) and cell.isspace()):
            return False
    return True


def _folded(text: str) -> str:
    cleaned = clean_header(text)
    return key(cleaned) or cleaned.casefold()


def _start_at(row: PreviewRow) -> TableStart:
    return TableStart(row.number, tuple(clean_header(cell) for cell in row.cells))


def _filled(row: PreviewRow) -> int:
    return sum(is_filled(cell) for cell in row.cells)


def is_value(cell: str) -> bool:
    """Whether `cell` looks like a number, a date, an ID, an address: what no header says."""
    return _VALUE.fullmatch(cell.strip()) is not None


def _is_labels(row: PreviewRow) -> bool:
    filled = _filled(row)
    return len(row.values) <= MAX_VALUES * filled and all(len(cell) <= _MAX_LABEL for cell in row.cells)


def _values(cells: Sequence[str]) -> frozenset[int]:
    """Positions of the cells that look like values.

    Names that are counted on through three cells or more (`Q101`, `Q102`, `Q103` …) do not: a survey's questions, and no
    patient has three IDs in a row that follow each other.
    """
    values = {position for position, cell in enumerate(cells) if is_filled(cell) and is_value(cell)}
    counted = {position: match for position in values if (match := _COUNTED.fullmatch(cells[position].strip()))}
    follows = {
        position
        for position, match in counted.items()
        if (before := counted.get(position - 1)) and before[1] == match[1] and int(before[2]) + 1 == int(match[2])
    }
    third = {position for position in follows if position - 1 in follows}
    in_series = third | {position - 1 for position in third} | {position - 2 for position in third}
    return frozenset(values - in_series)


@dataclass(frozen=True, slots=True)
class _TableBody:
    """The rows of a table that hold values, as far as they can be told before the header is known."""

    columns: int
    """How many columns are filled in at least half of the rows."""

    value_columns: frozenset[int]
    """Those that hold numbers, dates or identifiers in most rows."""

    @classmethod
    def of(cls, rows: Sequence[PreviewRow]) -> "_TableBody":
        widest = sorted(_filled(row) for row in rows)
        usual = widest[len(widest) // 2] if widest else 0
        body = [row for row in rows if _filled(row) >= usual / 2 and row.values]
        # Titles above a short table can be as many as its rows.
        body = body[len(body) // 4 :]
        often, values = 0, set()
        filled, holding = Counter[int](), Counter[int]()
        for row in body:
            filled.update(index for index, cell in enumerate(row.cells) if is_filled(cell))
            holding.update(row.values)
        for index, number in filled.items():
            often += 2 * number >= len(body)
            if 2 * holding[index] >= number and 4 * number >= len(body):
                values.add(index)
        return cls(often, frozenset(values))

    def resembles(self, row: PreviewRow) -> bool:
        """Whether `row` is as full as the body and holds values in at least half of the columns where it does."""
        if 2 * _filled(row) < self.columns:
            return False
        same = len(self.value_columns & row.values)
        return bool(same) and 2 * same >= len(self.value_columns)


def _best(candidates: Sequence[PreviewRow], id_headers: IdHeaders) -> PreviewRow | None:
    """Of the rows of labels above the body: those with the header of an ID column first, then the fullest.

    Of equals the first, since the second may be a patient without any digit; but the last of single cells, of which
    the upper ones are titles.
    """
    with_id = [row for row in candidates if _ids(row, id_headers)]
    pool = with_id or candidates
    if not pool:
        return None
    fullest = max(map(_filled, pool))
    equals = [row for row in pool if _filled(row) == fullest]
    return equals[-1] if fullest == 1 else equals[0]


def _ids(row: PreviewRow, id_headers: IdHeaders) -> Sequence[int]:
    return id_headers([clean_header(cell) for cell in row.cells])
