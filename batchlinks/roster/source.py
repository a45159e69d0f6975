"""What a roster is before it is read: a file or bytes with a name, and where in it the table is said to be."""

from dataclasses import dataclass, field

ENDINGS = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
"""Of the files that can be a roster."""


@dataclass(frozen=True, slots=True)
class RosterBytes:
    """A roster that is no local file: standard input, an upload, a file fetched from elsewhere."""

    name: str
    """`patients.xlsx`; a name without an ending (`roster`) leaves the kind to the content."""

    content: bytes = field(repr=False)
    address: str = field(default="-", repr=False)
    """Where it lies, so that the same roster's results are replaced and another's are not; `-` for standard input."""


@dataclass(frozen=True, slots=True)
class RosterFrame:
    """A roster that a program in Python has as a table: a DataFrame of pandas or Polars, a table of Arrow."""

    data: object = field(repr=False)
    name: str = "roster"

    @property
    def address(self) -> str:
        """Instead of a place: frames of one name and project are one list, whose results are replaced."""
        return f"frame:{self.name}"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Where the table is. None: it is found."""

    sheet: str | None = None
    header_row: int | None = None
    """The header's row as a spreadsheet numbers it; 0 where the table has no header."""

    id_column: str | None = None
    """As the user gave it, `MRN` or `A+B`: a header row is then one that holds it, the sheet one that has it."""

    encoding: str | None = None
    """Of a CSV, as Python names it."""

    password: str | None = field(default=None, repr=False)
    """Of a protected workbook."""
