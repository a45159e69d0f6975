"""Which sheet of a workbook is the roster."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from batchlinks.columns.id_column import possible_id_headers
from batchlinks.errors import RosterError, SettingsError
from batchlinks.next_steps import Advice, Do, Part, Setting
from batchlinks.roster.header import (
    NoHeader,
    PreviewRow,
    TableStart,
    find_start,
    holds_column,
    no_header,
    no_table,
    nothing_in_row,
    start_at_row,
)
from batchlinks.roster.source import ReadOptions

ERRORS_SHEET = "Errors"
DUPLICATES_SHEET = "Duplicates"
_OWN_HEADERS = {"error_row", "error_code"}


class SheetUndecided(RosterError):
    """Nobody but the user can say which sheet it is."""

    def __init__(self, *parts: Part, sheets: Sequence[str]) -> None:
        super().__init__(*parts)
        self.sheets = tuple(sheets)
        """Names of those that could be it."""


@dataclass(frozen=True, slots=True)
class SheetTable:
    """What the first rows of a sheet say about it."""

    sheet: str
    start: TableStart | None = None
    """None where no table was found."""

    is_empty: bool = False
    """There is nothing in it."""

    looks_headerless: bool = False
    """There is a table, but nothing above its patients."""


def named_sheet(name: str, sheets: Sequence[str], wanted: str) -> str:
    """The sheet that the user named, whatever its case. Raises `SettingsError`."""
    for sheet in sheets:
        if sheet == wanted:
            return sheet
    same = [sheet for sheet in sheets if sheet.strip().casefold() == wanted.strip().casefold()]
    if len(same) != 1:
        raise SettingsError(Setting("sheet"), f": {name} has no sheet of that name. Its sheets are {_quoted(sheets)}.")
    return same[0]


def table_of(sheet: str, preview: Sequence[PreviewRow], options: ReadOptions) -> SheetTable:
    """What `preview`, the first rows of `sheet` and at least those up to `--header-row`, say about it."""
    if not preview:
        return SheetTable(sheet, is_empty=True)
    try:
        if options.header_row is None:
            return SheetTable(sheet, find_start(preview, id_headers=possible_id_headers, id_column=options.id_column))
        return SheetTable(sheet, start_at_row(preview, options.header_row))
    except NoHeader:
        return SheetTable(sheet, looks_headerless=True)
    except SettingsError:
        return SheetTable(sheet)  # the row may be there in another sheet


def choose_sheet(name: str, tables: Sequence[SheetTable], options: ReadOptions) -> tuple[str, TableStart]:
    """The one sheet with a table that can be the roster. Raises `RosterError` and `SettingsError`."""
    found = [table for table in tables if table.start or table.looks_headerless]
    own = _own_error_report(found)
    wanted = options.id_column
    holding = [table for table in found if wanted and table.start and holds_column(table.start.headers, wanted)]
    with_id = [table for table in found if table.start and possible_id_headers(table.start.headers)]
    candidates = own or holding or with_id or found
    if all(table.is_empty for table in tables):
        raise RosterError(
            f"{name} is empty: there is nothing in {'any of its sheets' if len(tables) > 1 else 'its sheet'}. Export the patient "
            "list again."
        )
    if not candidates and options.header_row:
        raise nothing_in_row(options.header_row)
    if not candidates:
        raise no_table(name)
    if len(candidates) > 1:
        sheets = [table.sheet for table in candidates]
        raise SheetUndecided(
            f"{name}: several sheets could be the patient list: {_quoted(sheets)}. ",
            Advice(Do.CHOOSE_SHEET),
            sheets=sheets,
        )
    chosen = candidates[0]
    if chosen.start is None:
        raise no_header(name, chosen.sheet)
    return chosen.sheet, chosen.start


def _own_error_report(tables: Sequence[SheetTable]) -> list[SheetTable]:
    """Of an error report that is handed in again, the sheet with the rows that were to be fixed."""
    own = {table.sheet: table for table in tables if table.start and set(table.start.headers) >= _OWN_HEADERS}
    return [own[ERRORS_SHEET]] if own.keys() >= {ERRORS_SHEET, DUPLICATES_SHEET} else []


def _quoted(sheets: Iterable[str]) -> str:
    return ", ".join(f"'{sheet}'" for sheet in sheets)
