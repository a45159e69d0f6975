"""What the fast reader does not tell of a cell, and what is shown instead."""

import re
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from batchlinks.roster.date_format import SHORT_DATE, SHORT_DATE_AND_TIME
from batchlinks.roster.number_format import (
    BUILT_IN_FORMATS,
    NumberFormat,
    is_day,
    is_made_up_leap_day,
    parse_format,
)

NO_CACHED_VALUE = -1
UNREADABLE = -2
"""A number whose format cannot be told."""
AGGREGATE = -3
NO_DATE = -4
"""A number in a date format that is no day."""
LEAP_DAY = -5
"""The 29 February 1900, which the fast reader takes for the day before."""
_FIRST_ERROR = -6
ERROR_TEXTS = ("#N/A", "#VALUE!", "#REF!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#ERROR!")
"""What a failed formula shows; the last stands for all others."""

_UNREADABLE_FORMAT = parse_format("?")
_SHOWN_IN_ENGLISH = {14: SHORT_DATE, 22: SHORT_DATE_AND_TIME}


def usual_codes(styles: Mapping[int, Counter[int]], codes: Mapping[int, str]) -> dict[int, str]:
    """By column the code of the date format that most of the cells have whose `styles` were counted."""
    return {column: codes[counted.most_common(1)[0][0]] for column, counted in styles.items()}


def date_mark(number: float, *, from_1904: bool) -> int | None:
    """The mark of a number in a date format; None where the fast reader shows what a person sees."""
    if not is_day(number, from_1904=from_1904):
        return NO_DATE
    return LEAP_DAY if is_made_up_leap_day(number, from_1904=from_1904) else None


def error_text(mark: int) -> str | None:
    """What the error shows that `mark` stands for; None where it stands for something else."""
    return ERROR_TEXTS[_FIRST_ERROR - mark] if mark <= _FIRST_ERROR else None


def error_mark(text: str) -> int:
    """The mark of a cell that shows this error."""
    return _FIRST_ERROR - ERROR_TEXTS.index(text if text in ERROR_TEXTS else ERROR_TEXTS[-1])


_AGGREGATES = re.compile(
    r"""\s*(?:of:|oooc:|msoxl:)?[=+]?\s*(?:_xlfn\.)?
    (?:SUBTOTAL|AGGREGATE|(?:SUM|COUNT|AVERAGE|MAX|MIN)(?:A|BLANK|IFS?)?|SUMPRODUCT|MEDIAN|ROWS)
    \s*\([^()]*(?::|\[)[^()]*\)\s*""",
    re.IGNORECASE | re.VERBOSE,
)


_CALL = re.compile(r"([A-Z][A-Z0-9._]*)\s*\(", re.IGNORECASE)
_COUNTED_RANGE = re.compile(
    r"\b(?:SUBTOTAL|AGGREGATE|(?:SUM|COUNT|AVERAGE)(?:A|BLANK|IFS?)?|SUMPRODUCT)\s*\(.*[:\[]", re.IGNORECASE | re.DOTALL
)
_COUNT = frozenset(
    """SUBTOTAL AGGREGATE SUM SUMA SUMIF SUMIFS COUNT COUNTA COUNTBLANK COUNTIF COUNTIFS AVERAGE AVERAGEA AVERAGEIF AVERAGEIFS
    SUMPRODUCT""".split()
)
_AROUND_A_COUNT = frozenset("IF IFERROR N INT ROUND VALUE UNIQUE FILTER LEN TRIM ISBLANK ISNUMBER NOT ABS".split())
_TEXT_THAT_SAYS = re.compile(r'"[^"]*[A-Za-z0-9][^"]*"')


def is_aggregate(formula: str) -> bool:
    """Whether all that a formula does is to count or add up cells: `SUBTOTAL(3,A2:A9)`, `COUNTA(A:A)-1`."""
    if _AGGREGATES.fullmatch(formula) is not None:
        return True
    if not _COUNTED_RANGE.search(formula) or _TEXT_THAT_SAYS.search(formula):
        return False  # a text beside the count may make an ID of it
    called = {name.upper().rpartition(".")[2] for name in _CALL.findall(formula)}
    return bool(called & _COUNT) and called <= _COUNT | _AROUND_A_COUNT


@dataclass(frozen=True, slots=True)
class CellOverrides:
    """Cells of one column that are not what the fast reader says: row numbers, ascending, and a mark for each.

    A mark is a cell style, or one of the negative numbers above; of two marks for a cell the last counts.
    """

    rows: npt.NDArray[np.int32]
    marks: npt.NDArray[np.int32]


class MarkedCells:
    """Collects marks cell by cell."""

    def __init__(self) -> None:
        self._rows, self._columns, self._marks = array("i"), array("i"), array("i")

    def add(self, row: int, column: int, mark: int) -> None:
        """`row` as a spreadsheet numbers it, `column` from 0."""
        self._rows.append(row)
        self._columns.append(column)
        self._marks.append(mark)

    def by_column(self) -> dict[int, CellOverrides]:
        """The marks of each column that has any."""
        rows, columns, marks = (np.array(part, dtype=np.int32) for part in (self._rows, self._columns, self._marks))
        result: dict[int, CellOverrides] = {}
        for column in np.unique(columns):
            here = np.flatnonzero(columns == column)
            here = here[np.argsort(rows[here], kind="stable")]
            result[int(column)] = CellOverrides(rows[here], marks[here])
        return result


@dataclass(frozen=True, slots=True)
class StyleSheet:
    """What the cell styles of a workbook do to what its cells show."""

    formats: Mapping[int, NumberFormat]
    """Style -> its number format, where that changes what a number or a text shows. Dates are the fast reader's."""

    date_codes: Mapping[int, str] = field(default_factory=dict)
    """Styles that show a number as a date -> the code of their format."""

    count: int | None = None
    """How many there are; None where there is no telling what a cell's style means."""

    @classmethod
    def of(cls, format_numbers: Sequence[int], codes: Mapping[int, str]) -> "StyleSheet":
        """From the number of each style's format, and the formats that the file defines."""
        formats: dict[int, NumberFormat] = {}
        dates: dict[int, str] = {}
        for style, number in enumerate(format_numbers):
            code = codes.get(number, BUILT_IN_FORMATS.get(number))
            number_format = _UNREADABLE_FORMAT if code is None else parse_format(code)
            if number_format.is_date:
                dates[style] = _SHOWN_IN_ENGLISH.get(number, number_format.code)
            if number_format.changes_text or not (number_format.is_plain or number_format.is_date):
                formats[style] = number_format
        return cls(formats, dates, len(format_numbers))

    @property
    def dates(self) -> Set[int]:
        """The styles that show a number as a date."""
        return self.date_codes.keys()

    @property
    def of_numbers(self) -> frozenset[int]:
        """The styles that change what a number shows."""
        return frozenset(style for style, one in self.formats.items() if not one.is_plain and not one.is_date)

    @property
    def of_texts(self) -> frozenset[int]:
        """The styles that change what a text shows."""
        return frozenset(style for style, one in self.formats.items() if one.changes_text)

    def look_alike(self, one: int, other: int) -> bool:
        """Whether a cell shows the same in both styles."""
        return self.formats.get(one) == self.formats.get(other) and (one in self.dates) == (other in self.dates)


@dataclass(frozen=True, slots=True)
class Correction:
    """What is to be shown instead of what the fast reader read, for the cells of one sheet."""

    marks: Mapping[int, CellOverrides] = field(default_factory=dict)
    """By column; 0 is A."""

    formats: Mapping[int, NumberFormat] = field(default_factory=dict)
    hidden_rows: Sequence[int] = ()
    total_rows: Sequence[int] = ()
    date_formats: Mapping[int, str] = field(default_factory=dict)
    """By column, the code of the format that most of its dates have."""

    formats_known: bool = True
    """False where a number's format cannot be told."""

    @property
    def has_formatted_cells(self) -> bool:
        """Whether a cell shows something else than its number, because of its format."""
        return any(bool((column.marks >= 0).any()) for column in self.marks.values())

    def rows_with_marks(self) -> frozenset[int]:
        """Rows with an error or a formula without a result among them, which the fast reader takes for blank cells."""
        failures = (column.rows[column.marks < 0] for column in self.marks.values())
        return frozenset(row for rows in failures for row in rows.tolist())


class Details(Protocol):
    """What a workbook says beyond its cells."""

    def size(self, sheet: str) -> int:
        """Larger for a larger sheet."""

    def survey(self, sheet: str) -> None:
        """Raises `RosterError` where `sheet` should better not be read."""

    def correction(self, sheet: str) -> Correction:
        """Of a sheet that was surveyed."""
