"""A file of any kind -> rows of text as a person sees them (`read_roster`, `Table`).

This module stays light to import: the readers of each kind of file run in a process of their own.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchlinks.roster.table import Table

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


def read_roster(source: Path | RosterBytes, options: ReadOptions = ReadOptions()) -> "Table":
    """The rows of the one table in `source` that can be a roster.

    Raises `RosterError` for a file that cannot be used, and `SettingsError` for a sheet, a header row or an
    encoding that is not there. Blocks until the file is read, seconds for a million rows.
    """
    from batchlinks.roster.reading import read

    return read(source, options)
