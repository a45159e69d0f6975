"""A roster as it was read: text as a person sees it, and where each row stands in the file."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchlinks.arrow import combine_chunks
from batchlinks.row_codes import ErrorCode


class CellKind(IntEnum):
    """What stood in a cell. Anything but TEXT and NUMBER cannot be an external ID.

    A cell's text is always what goes into the results; its kind says why it may not be trusted as an ID.
    """

    TEXT = 0
    NUMBER = 1  # a number whose text is for certain what a person sees
    DATE = 2  # a date, a time or a duration
    BOOLEAN = 3
    ERROR = 4  # #N/A and its like
    NO_CACHED_VALUE = 5  # a formula never calculated
    UNREADABLE_FORMAT = 6  # a number in a format that cannot be rendered for certain
    LOST_DIGITS = 7  # a number of more than 15 digits
    FRACTION = 8  # a number with decimals, or shown with decimals
    SCIENTIFIC = 9  # a number formatted as 0.00E+00
    AGGREGATE = 10  # a formula that counts or adds up other cells: =SUBTOTAL(3,B2:B9)


@dataclass(frozen=True, slots=True)
class ListProfile:
    """How the IDs of a list usually look."""

    usual_length: int | None = None
    """Digits that nearly all of its all-digit IDs have; None where there is no such number."""

    shapes: tuple[str, ...] = ()
    """How its IDs are made, a digit as 9 and a letter as a: `MGH:9999999`. Empty where that tells nothing."""

    list_sha256: str = ""
    """Of the list's file, in hex."""

    sheet: str = ""
    """Of the list, where it is a workbook."""

    corrections: int = 0
    """How many of the list's cells had been corrected when it was screened."""


@dataclass(frozen=True, slots=True)
class EarlierVerdict:
    """What an error report says of one of its rows."""

    code: ErrorCode | None
    """None for a row that was added by hand."""

    gaps: Mapping[str, object] = field(default_factory=dict)
    """What stood in the gaps of the code's sentence."""

    id_digest: str | None = None
    """Stands for what the ID cell held; None where the report does not tell (versions 0.1 and 0.2)."""

    group_size: int = 0
    """How many rows of the report were refused because of each other; 0 where it was this one alone."""

    profile: ListProfile = ListProfile()

    is_garbled: bool = False
    """Whether somebody has changed the column that only programs read, so that this row's part of it tells nothing."""


def most_common_profile(earlier: Mapping[int, EarlierVerdict]) -> ListProfile:
    """What most rows of a report say of the list that they came from."""
    told = Counter(verdict.profile for verdict in earlier.values() if verdict.profile != ListProfile())
    return told.most_common(1)[0][0] if told else ListProfile()


@dataclass(frozen=True, slots=True)
class AnnotatedFrom:
    """What an annotated workbook that is handed in again says of itself."""

    list_name: str
    """Of the file from which it was made."""

    list_sha256: str
    first_column: int
    """Position of our first column, `link`."""

    links: pa.Array
    """The link beside each row; "" where there is none."""


@dataclass(frozen=True, slots=True)
class Table:
    """The rows below the header of one table of one sheet; blank rows are left out.

    Position p (0 for the first row) is the same in `cells`, `kinds` and `row_numbers`.
    """

    headers: tuple[str, ...]
    """One for each column from the spreadsheet's first (A) on, cleaned of surrounding white space and line breaks; ""
    where blank, repeats as they stand. A headerless list has all ""."""

    cells: pa.Table
    """Columns "0" … "n-1" of type string (no nulls; "" is blank), as many as `headers`."""

    row_numbers: npt.NDArray[np.int32]
    """Each row's number as a spreadsheet shows it: 1 is the first line of the file; header and blank rows count,
    line breaks inside quotes do not."""

    kinds: Mapping[int, npt.NDArray[np.int8]] = field(default_factory=dict)
    """`CellKind` of each row, for the columns that hold anything but text; a column not named is all TEXT."""

    ragged_fields: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Position -> the fields as they stood, for CSV rows with more or fewer fields than the header (blank surplus
    aside). Their cells in `cells` are all ""."""

    name: str = "roster"
    """The file's name without folder, `patients.xlsx`; `roster` for standard input."""

    sha256: str = ""
    """Of the file's bytes, in hex."""

    is_error_report: bool = False
    """Whether these are the refused rows of an earlier run, fixed or not, handed in again."""

    earlier: Mapping[int, EarlierVerdict] = field(default_factory=dict)
    """Of an error report: position -> what it says of the row."""

    annotated: AnnotatedFrom | None = None
    """Of an annotated workbook."""

    sheet: str | None = None
    sheets: tuple[str, ...] = ()
    """Of a workbook: the names of all its sheets."""

    header_row: int = 0
    """As a spreadsheet numbers it; 0 where the list has no header."""

    encoding: str | None = None
    """Of a CSV, as Python names it."""

    encoding_guessed: bool = False
    separator: str | None = None
    hidden_rows: tuple[int, ...] = ()
    """Numbers of the rows that are hidden or filtered out (and were read)."""

    hidden_sheet: bool = False
    """Whether the sheet that was read is hidden."""

    date_formats: Mapping[int, str] = field(default_factory=dict)
    """Position of a column -> the number format in which it shows its dates, where the file tells. Their text in `cells` is
    ISO 8601 all the same."""

    formats_unknown: bool = False
    """Whether the file cannot tell how its numbers are shown, nor which rows are hidden."""

    total_rows: tuple[int, ...] = ()
    """Positions of the rows that an Excel table declares to be its total row."""

    typed: Mapping[int, npt.NDArray[np.bool_]] = field(default_factory=dict)
    """Column -> the rows whose cell somebody typed since the list was made (corrections)."""

    float_columns: frozenset[int] = frozenset()
    """Columns of a DataFrame that hold floating-point numbers."""

    other_table: tuple[int, ...] = ()
    """Positions of the rows that are not this table's: above its header, or under headers that name other columns."""

    def __len__(self) -> int:
        return len(self.row_numbers)

    def column(self, index: int) -> pa.Array:
        """Column `index` as one array of strings."""
        return combine_chunks(self.cells.column(index))
