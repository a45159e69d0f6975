"""OpenDocument spreadsheets: the file itself holds what each cell shows, beside its value.

Elements and attributes are those of OpenDocument 1.3, part 3, section 9, under their usual prefixes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from batchlinks.errors import RosterError
from batchlinks.roster.calamine_corrections import ERROR_TEXTS, is_aggregate
from batchlinks.roster.date_format import form_of
from batchlinks.roster.guard import MAX_CELLS, Archive, limit_memory, too_far, xml_parser
from batchlinks.roster.header import PREVIEW_ROWS, PreviewRow, TableStart, is_filled
from batchlinks.roster.number_format import Shown, format_general
from batchlinks.roster.sheet_choice import choose_sheet, named_sheet, table_of
from batchlinks.roster.source import ReadOptions
from batchlinks.roster.transfer import BATCH_ROWS, Kinds, TableInfo, TableWriter
from batchlinks.table import CellKind

_CONTENT = "content.xml"
_BLANK: Shown = ("", CellKind.TEXT)
_MAX_COLUMNS = 16_384
_ERROR = re.compile(r"Err:\d+|" + "|".join(map(re.escape, ERROR_TEXTS)))
_DURATION = re.compile(r"(-?)PT(?:(\d+)H)?(?:(\d+)M)?(?:[\d.,]+S)?")
_NO_HEIGHT = re.compile(r"0*(?:\.0\d*)?(?:in|cm|mm|pt)")
_SCIENTIFIC = re.compile(r"-?\d+([.,]\d+)?E[+-]?\d+", re.IGNORECASE)


def read_opendocument(name: str, content: bytes, options: ReadOptions, writer: TableWriter) -> TableInfo:
    """Send the table in `content` through `writer`. Raises `RosterError` and `SettingsError`."""
    archive = Archive(name, content)
    if "encrypted-package" in archive or _is_encrypted(archive):
        raise RosterError(
            f"{name} is protected with a password, which cannot be opened in this kind of file. Save it without one, "
            "or as .xlsx."
        )
    limit_memory(archive.memory_needed)
    previews, widths, reader = _look_through(archive, options)
    wanted = None if options.sheet is None else named_sheet(name, list(previews), options.sheet)
    tables = [table_of(sheet, rows, options) for sheet, rows in previews.items() if wanted in (None, sheet)]
    sheet, start = choose_sheet(name, tables, options)
    headers = start.headers + ("",) * (widths[sheet] - len(start.headers))
    hidden, above = _send(archive, sheet, start, len(headers), writer)
    return TableInfo(
        headers=list(headers),
        header_row=start.header_row,
        sheet=sheet,
        hidden_sheet=sheet in reader.hidden_sheets,
        hidden_rows=hidden,
        date_formats=reader.date_formats(sheet),
        rows_above=above,
    )


def _is_encrypted(archive: Archive) -> bool:
    manifest = "META-INF/manifest.xml"
    return manifest in archive and any(b"encryption-data" in chunk for chunk in archive.chunks(manifest))


@dataclass(frozen=True, slots=True)
class _Row:
    """A row with something in it."""

    number: int
    cells: list[Shown]
    is_hidden: bool


def _look_through(
    archive: Archive, options: ReadOptions
) -> tuple[dict[str, list[PreviewRow]], dict[str, int], "_ContentReader"]:
    """First rows and width of each sheet, and the reader, which has seen all of them."""
    reader = _ContentReader(archive.name)
    previews: dict[str, list[PreviewRow]] = {}
    widths: dict[str, int] = {}
    wanted = PREVIEW_ROWS + (options.header_row or 0)
    for sheet, row in _rows(archive, reader):
        preview = previews.setdefault(sheet, [])
        widths[sheet] = max(widths.get(sheet, 0), len(row.cells))
        if widths[sheet] * row.number > MAX_CELLS:
            raise too_far(archive.name, sheet, f"row {row.number}")
        if len(preview) < wanted:
            preview.append(PreviewRow(row.number, [text for text, _ in row.cells]))
    return previews, widths, reader


def _send(archive: Archive, sheet: str, start: TableStart, width: int, writer: TableWriter) -> tuple[list[int], int]:
    """Send all rows but the header. Returns the numbers of the hidden ones, and how many stand above the header."""
    writer.begin(width)
    rows = (
        row
        for at, row in _rows(archive, _ContentReader(archive.name))
        if at == sheet and row.number != start.header_row
    )
    hidden: list[int] = []
    above = 0
    while batch := list(islice(rows, BATCH_ROWS)):
        columns = list(zip(*(row.cells + [_BLANK] * (width - len(row.cells)) for row in batch), strict=True))
        kinds: dict[int, Kinds] = {
            index: np.fromiter((kind for _, kind in column), dtype=np.int8, count=len(column))
            for index, column in enumerate(columns)
        }
        writer.write([row.number for row in batch], [[text for text, _ in column] for column in columns], kinds)
        hidden += [row.number for row in batch if row.is_hidden]
        above += sum(row.number < start.header_row for row in batch)
    return hidden, above


def _rows(archive: Archive, reader: "_ContentReader") -> Iterator[tuple[str, _Row]]:
    """Name of the sheet and row, for every row with something in it."""
    for chunk in archive.xml_chunks(_CONTENT):
        reader.parser.Parse(chunk, False)
        yield from reader.take()
    reader.parser.Parse(b"", True)
    yield from reader.take()


@dataclass(slots=True)
class _Cell:
    """A cell that is being read."""

    attributes: Mapping[str, str]
    paragraphs: list[str] = field(default_factory=list)

    def shown(self) -> Shown:
        """What it shows, as far as that is certain."""
        text = "\n".join(self.paragraphs)
        attributes = self.attributes
        kind = attributes.get("office:value-type")
        if "table:formula" in attributes and is_aggregate(attributes["table:formula"]):
            return text, CellKind.AGGREGATE
        if attributes.get("calcext:value-type") == "error" or (
            "table:formula" in attributes and _ERROR.fullmatch(text)
        ):
            return text or ERROR_TEXTS[-1], CellKind.ERROR
        if kind is None:
            return ("", CellKind.NO_CACHED_VALUE) if "table:formula" in attributes else (text, CellKind.TEXT)
        if kind == "date":
            return attributes.get("office:date-value", text).replace("T", " ")[:16], CellKind.DATE
        if kind == "time":
            return _time(attributes.get("office:time-value", ""), text), CellKind.DATE
        if kind == "boolean":
            return attributes.get("office:boolean-value", text).upper(), CellKind.BOOLEAN
        if kind in ("float", "percentage", "currency"):
            return shown_number(float(attributes.get("office:value", "nan")), text)
        return text, CellKind.TEXT


def _time(value: str, text: str) -> str:
    match = _DURATION.fullmatch(value)
    return f"{match[1]}{int(match[2] or 0):02d}:{int(match[3] or 0):02d}" if match else text


def shown_number(value: float, text: str) -> Shown:
    """A number cell that shows `text`, and of what kind it is.

    The text is as it stands where its digits are those of `value`, in full and in order, with zeros and literals added;
    otherwise as General shows it, and the kind says why.
    """
    plain, kind = format_general(value)
    if kind is not CellKind.NUMBER or text == plain:
        return plain, kind
    if _SCIENTIFIC.fullmatch(text):
        return plain, CellKind.SCIENTIFIC
    if re.search(r"\d[.,]\d+$", text) and "." in text:
        return plain, CellKind.FRACTION
    digits = "".join(re.findall(r"\d", text))
    if not re.search(r"[.,'%\u00a0\u202f]", text) and digits.lstrip("0") == str(abs(int(value))).lstrip("0"):
        return (text, CellKind.NUMBER) if digits else (plain, CellKind.UNREADABLE_FORMAT)
    return plain, CellKind.UNREADABLE_FORMAT


_DATES_KEPT = 100
"""Of a column: enough to tell in which form it shows them."""


class _ContentReader:
    """Turns the elements of content.xml into rows."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._done: list[tuple[str, _Row]] = []
        self._sheet = ""
        self._depth = 0  # of tables: a cell can hold one, which is no sheet
        self._number = 0
        self._row: Mapping[str, str] = {}
        self._cells: list[Shown] = []
        self._blank_before = 0
        self._cell: _Cell | None = None
        self._in_note = False
        self._in_paragraph = False
        self._cells_made = 0
        self._style = ""
        self._hiding: set[str] = set()
        """Styles of sheets that are hidden, and of rows that have no height."""
        self._groups: list[bool] = []
        """Of the groups of rows that are open: whether they are folded away."""
        self.hidden_sheets: set[str] = set()
        self._dates: dict[tuple[str, int], dict[str, str]] = {}
        """By sheet and column, some of its dates and what is shown of them."""
        self.parser = xml_parser(name)
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def date_formats(self, sheet: str) -> list[tuple[int, str]]:
        """The columns of a sheet whose dates are all shown in one form, and which."""
        forms = [(column, form_of(list(dates.items()))) for (at, column), dates in self._dates.items() if at == sheet]
        return [(column, form) for column, form in forms if form is not None]

    def take(self) -> list[tuple[str, _Row]]:
        """The rows that are complete; each is handed out once."""
        done, self._done = self._done, []
        return done

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        match name:
            case "table:table-cell" | "table:covered-table-cell" if self._depth == 1:
                self._cell = _Cell(attributes)
            case "text:p" if self._cell and not self._in_note:
                self._cell.paragraphs.append("")
                self._in_paragraph = True
            case "text:s":
                self._text(" " * min(int(attributes.get("text:c", "1")), 1_000))
            case "text:tab":
                self._text("\t")
            case "text:line-break":
                self._text("\n")
            case "office:annotation":
                self._in_note = True
            case "style:style":
                self._style = attributes.get("style:name", "")
            case "style:table-properties" if attributes.get("table:display") == "false":
                self._hiding.add(self._style)
            case "style:table-row-properties" if _NO_HEIGHT.fullmatch(attributes.get("style:row-height", "")):
                self._hiding.add(self._style)
            case "table:table-row-group":
                self._groups.append(attributes.get("table:display") == "false")
            case "table:table-row" if self._depth == 1:
                self._row = attributes
                self._cells, self._blank_before = [], 0
            case "table:table":
                self._depth += 1
                if self._depth == 1:
                    self._sheet = attributes.get("table:name", "")
                    if attributes.get("table:style-name") in self._hiding:
                        self.hidden_sheets.add(self._sheet)
                    self._number = 0

    def _end(self, name: str) -> None:
        match name:
            case "table:table-cell" | "table:covered-table-cell" if self._depth == 1 and self._cell:
                self._end_of_cell(self._cell)
                self._cell = None
            case "text:p":
                self._in_paragraph = False
            case "office:annotation":
                self._in_note = False
            case "table:table-row-group" if self._groups:
                self._groups.pop()
            case "table:table-row" if self._depth == 1:
                self._end_of_row()
            case "table:table":
                self._depth -= 1

    def _text(self, text: str) -> None:
        if self._cell and self._in_paragraph and not self._in_note:
            self._cell.paragraphs[-1] += text

    def _end_of_cell(self, cell: _Cell) -> None:
        repeats = int(cell.attributes.get("table:number-columns-repeated", "1"))
        shown = cell.shown()
        if not is_filled(shown[0]) and shown[1] is CellKind.TEXT:
            self._blank_before += repeats
            return
        if len(self._cells) + self._blank_before + repeats > _MAX_COLUMNS:
            raise too_far(self._name, self._sheet, f"row {self._number + 1}")
        self._cells += [_BLANK] * self._blank_before + [shown] * repeats
        if shown[1] is CellKind.DATE and "office:date-value" in cell.attributes:
            dates = self._dates.setdefault((self._sheet, len(self._cells) - 1), {})
            if len(dates) < _DATES_KEPT:
                dates[shown[0]] = "\n".join(cell.paragraphs)
        self._blank_before = 0

    def _end_of_row(self) -> None:
        repeats = int(self._row.get("table:number-rows-repeated", "1"))
        if self._cells:
            self._cells_made += repeats * len(self._cells)
            if self._cells_made > MAX_CELLS:
                raise too_far(self._name, self._sheet, f"row {self._number + repeats}")
            hidden = self._row.get("table:visibility", "visible") != "visible" or any(self._groups)
            hidden |= self._row.get("table:style-name") in self._hiding
            for number in range(self._number + 1, self._number + repeats + 1):
                self._done.append((self._sheet, _Row(number, self._cells, hidden)))
        self._number += repeats
