"""Excel workbooks of every kind, read by calamine, corrected by what the XML says where the cells need it."""

import datetime as dt
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import python_calamine as calamine

from batchlinks.errors import RosterError
from batchlinks.roster.annotations import read_properties
from batchlinks.roster.calamine_corrections import (
    AGGREGATE,
    LEAP_DAY,
    NO_CACHED_VALUE,
    NO_DATE,
    UNREADABLE,
    CellOverrides,
    Correction,
    Details,
    error_text,
)
from batchlinks.roster.file_kind import FileKind, damaged
from batchlinks.roster.guard import Archive, limit_memory
from batchlinks.roster.header import PREVIEW_ROWS, PreviewRow, TableStart, is_blank
from batchlinks.roster.number_format import NO_DAY_TEXT, NumberFormat, Shown, format_general
from batchlinks.roster.sheet_choice import choose_sheet, named_sheet, table_of
from batchlinks.roster.source import ReadOptions
from batchlinks.roster.transfer import BATCH_ROWS, Kinds, TableInfo, TableWriter
from batchlinks.roster.xls_details import XlsDetails
from batchlinks.roster.xlsx_details import XlsxDetails
from batchlinks.table import CellKind

Cell = int | float | str | bool | dt.time | dt.date | dt.datetime | dt.timedelta

_EXTRA_MEMORY_OF_BINARY = 30  # for each byte of a file that is not, or differently, compressed


def read_workbook(name: str, content: bytes, kind: FileKind, options: ReadOptions, writer: TableWriter) -> TableInfo:
    """Send the table in `content` through `writer`. Raises `RosterError` and `SettingsError`."""
    details: Details | None = None
    properties: dict[str, str] = {}
    if kind is FileKind.XLS:
        limit_memory(_EXTRA_MEMORY_OF_BINARY * len(content))
        details = _xls_details(content)
    else:
        archive = Archive(name, content)
        limit_memory(archive.memory_needed)
        if kind is FileKind.XLSX:
            properties = read_properties(archive)
            details = XlsxDetails(archive)
            content = details.content_to_read(content)
    try:
        with calamine.load_workbook(io.BytesIO(content)) as book:
            return replace(_Workbook(name, book, details).read(options, writer), properties=properties)
    except calamine.PasswordError:
        raise RosterError(f"{name} is protected with a password in a way that cannot be opened here.") from None
    except (calamine.CalamineError, OSError):
        raise damaged(name) from None


def _xls_details(content: bytes) -> Details | None:
    """None where its records are not understood, though the fast reader may get something out of them."""
    try:
        return XlsDetails(content)
    except Exception:  # a damaged file makes a parser raise anything
        return None


class _Workbook:
    """A workbook that calamine opened."""

    def __init__(self, name: str, book: calamine.CalamineWorkbook, details: Details | None) -> None:
        self._name = name
        self._book = book
        self._details = details
        self._opened: calamine.CalamineSheet | None = None

    def read(self, options: ReadOptions, writer: TableWriter) -> TableInfo:
        """Send the one table that is the roster."""
        sheets = [sheet.name for sheet in self._book.sheets_metadata if sheet.typ == calamine.SheetTypeEnum.WorkSheet]
        everything = list(sheets)
        if options.sheet is not None:
            sheets = [named_sheet(self._name, sheets, options.sheet)]
        elif self._details:
            # The largest last: most likely it is the roster, and then it is open already.
            sheets = sorted(sheets, key=self._details.size)
        order = {sheet.name: index for index, sheet in enumerate(self._book.sheets_metadata)}
        tables = [table_of(sheet, self._preview(sheet, options), options) for sheet in sheets]
        tables.sort(key=lambda table: order[table.sheet])
        sheet, start = choose_sheet(self._name, tables, options)
        visible = {
            sheet.name: sheet.visible == calamine.SheetVisibleEnum.Visible for sheet in self._book.sheets_metadata
        }
        correction = self._details.correction(sheet) if self._details else Correction(formats_known=False)
        hidden, totals, above = self._send(sheet, start, correction, writer)
        return TableInfo(
            headers=list(start.headers),
            header_row=start.header_row,
            sheet=sheet,
            sheets=everything,
            hidden_sheet=not visible[sheet],
            hidden_rows=hidden,
            # Of an .xls, only our own reader knows the formats: somebody is to look where they matter.
            formats_unknown=not correction.formats_known
            or (isinstance(self._details, XlsDetails) and correction.has_formatted_cells),
            date_formats=list(correction.date_formats.items()),
            total_rows=totals,
            rows_above=above,
        )

    def _open(self, sheet: str) -> calamine.CalamineSheet:
        if self._opened is None or self._opened.name != sheet:
            self._opened = None  # before the next takes its memory
            if self._details:
                self._details.survey(sheet)
            self._opened = self._book.get_sheet_by_name(sheet)
        return self._opened

    def _rows(self, sheet: str) -> Iterator[tuple[int, list[Cell]]]:
        """Number and cells, from the first used column on, of every row."""
        opened = self._open(sheet)
        if opened.start is None:
            return iter(())
        return enumerate(opened.iter_rows(), 1)

    def _first_column(self, sheet: str) -> int:
        start = self._open(sheet).start
        return start[1] if start else 0

    def _preview(self, sheet: str, options: ReadOptions) -> list[PreviewRow]:
        before = [""] * self._first_column(sheet)
        filled = (
            PreviewRow(number, before + [_shown(cell)[0] for cell in cells])
            for number, cells in self._rows(sheet)
            if not is_blank(cells)
        )
        return list(islice(filled, PREVIEW_ROWS + (options.header_row or 0)))

    def _send(
        self, sheet: str, start: TableStart, correction: Correction, writer: TableWriter
    ) -> tuple[list[int], list[int], int]:
        """Send all rows but the header.

        Returns the numbers of the hidden ones, the positions of total rows, and how many stand above the header.
        """
        first_column = self._first_column(sheet)
        writer.begin(len(start.headers))
        failures = correction.rows_with_marks()
        rows = (
            (number, cells)
            for number, cells in self._rows(sheet)
            if number != start.header_row and (not is_blank(cells) or number in failures)
        )
        sent: set[int] = set()
        hidden = set(correction.hidden_rows)
        total_rows = set(correction.total_rows)
        totals: list[int] = []
        above = 0
        while batch := list(islice(rows, BATCH_ROWS)):
            numbers = [number for number, _ in batch]
            columns: list[Sequence[str]] = [[""] * len(batch)] * first_column
            kinds: dict[int, Kinds] = {}
            for column, values in enumerate(zip(*(cells for _, cells in batch), strict=True), first_column):
                texts, column_kinds = _column(values, correction.formats_known)
                marks = correction.marks.get(column)
                if marks is not None:
                    texts, column_kinds = _corrected(values, texts, column_kinds, numbers, marks, correction.formats)
                columns.append(texts)
                if column_kinds is not None:
                    kinds[column] = column_kinds
            if total_rows:
                totals += [writer.rows + place for place, number in enumerate(numbers) if number in total_rows]
            if numbers[0] < start.header_row:
                above += sum(number < start.header_row for number in numbers)
            writer.write(numbers, columns, kinds)
            if hidden:
                sent.update(hidden.intersection(numbers))
        return sorted(sent), totals, above


def _column(values: Sequence[Cell], exact: bool) -> tuple[Sequence[str], Kinds | None]:
    """Text and kinds of a column; no kinds where all is text.

    Unless `exact`, the number formats are not known, and no number can be told to show what it seems to.
    """
    if set(map(type, values)) <= {str}:
        return values, None  # type: ignore[return-value]  # as was just seen
    shown = [_shown(value) for value in values]
    kinds = np.fromiter((kind for _, kind in shown), dtype=np.int8, count=len(shown))
    if not exact:
        kinds[kinds == CellKind.NUMBER] = CellKind.UNREADABLE_FORMAT
    return [text for text, _ in shown], kinds


def _corrected(
    values: Sequence[Cell],
    texts: Sequence[str],
    kinds: Kinds | None,
    numbers: Sequence[int],
    marks: CellOverrides,
    formats: Mapping[int, NumberFormat],
) -> tuple[Sequence[str], Kinds]:
    """The column with what its marked cells show."""
    texts = list(texts)
    kinds = np.zeros(len(texts), dtype=np.int8) if kinds is None else kinds
    begin, end = np.searchsorted(marks.rows, (numbers[0], numbers[-1] + 1))
    rows = marks.rows[begin:end]
    positions = np.searchsorted(numbers, rows)
    for position, row, mark in zip(positions.tolist(), rows.tolist(), marks.marks[begin:end].tolist(), strict=True):
        if numbers[position] != row:
            continue  # a blank row
        value = values[position]
        if mark == NO_CACHED_VALUE:
            texts[position], kinds[position] = "", CellKind.NO_CACHED_VALUE
        elif mark == AGGREGATE:
            kinds[position] = CellKind.AGGREGATE
        elif mark == UNREADABLE:
            kinds[position] = CellKind.UNREADABLE_FORMAT
        elif mark == NO_DATE:
            texts[position], kinds[position] = NO_DAY_TEXT, CellKind.UNREADABLE_FORMAT
        elif mark == LEAP_DAY:
            texts[position] = texts[position].replace("1900-02-28", "1900-02-29")
        elif (error := error_text(mark)) is not None:
            texts[position], kinds[position] = error, CellKind.ERROR
        elif isinstance(value, int | float) and not isinstance(value, bool):
            texts[position], kinds[position] = formats[mark].show(value)
        elif isinstance(value, str) and value:
            texts[position], kinds[position] = formats[mark].show_text(value)
    return texts, kinds


def _shown(value: Cell) -> Shown:
    """What a cell shows, going by its value alone."""
    match value:
        case str():
            return value, CellKind.TEXT
        case bool():
            return ("TRUE" if value else "FALSE"), CellKind.BOOLEAN
        case int() | float():
            return format_general(value)
        case dt.datetime():
            return value.isoformat(" ", "minutes"), CellKind.DATE
        case dt.date():
            return value.isoformat(), CellKind.DATE
        case dt.time():
            return value.isoformat("minutes"), CellKind.DATE
        case dt.timedelta():
            minutes = round(value.total_seconds() / 60)
            return f"{minutes // 60}:{minutes % 60:02d}", CellKind.DATE
