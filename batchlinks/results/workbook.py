"""Workbooks of text: the links workbook and the error report, a million rows in seconds.

Writing each cell through a library costs about five microseconds. Here xlsxwriter makes the package around
the rows (styles, frozen header, filter, print settings), and the rows are built column by column with Arrow
and streamed into it as inline strings (ECMA-376 part 1, section 18.3.1.53): half a microsecond.
"""

import io
import re
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xlsxwriter
from xlsxwriter.utility import xl_col_to_name, xl_range

from batchlinks.errors import BatchlinksError
from batchlinks.results.arrow_text import (
    TEXT,
    Piece,
    batches,
    bytes_of,
    count_of,
    encodable,
    joined,
    literal,
    offsets,
    one_row,
)

# "Excel specifications and limits", Microsoft support
MAX_ROWS = 1_048_575
"""Rows below the header that a sheet holds."""
MAX_COLUMNS = 16_384
MAX_CELL_LENGTH = 32_767
"""Of a cell's text, in UTF-16 code units."""

CUT_MARK = " [cut: the text is too long for a cell]"
"""Ends a text of more than `MAX_CELL_LENGTH`, which Excel would otherwise declare a damaged file."""


class TooManyRows(BatchlinksError):
    """A sheet would have more rows (or columns) than a workbook holds. Nothing is written; CSV holds them."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One sheet of text cells: a header row that stays in sight, and a filter on every column."""

    name: str
    """At most 31 characters, without ``[ ] : * ? / \\``."""

    headers: Sequence[str]

    columns: Sequence[pa.Array | pa.ChunkedArray]
    """One for each header: strings, equally long. A null is written as a blank cell, as is ""."""

    marked: Mapping[int, npt.NDArray[np.bool_]] = field(default_factory=dict)
    """Column position -> the rows (as many as the column has) whose cell is coloured as the one to fix."""

    sentences: frozenset[int] = frozenset()
    """Positions of the columns that hold sentences: wide, and broken into lines, so that they can be read whole."""

    widths: Sequence[float] | None = None
    """One for each column, in characters; None takes them from the values."""

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0


def write_workbook(target: BinaryIO, sheets: Sequence[Sheet], *, title: str) -> None:
    """Write `sheets` as one .xlsx file to `target`, which need not be seekable and is not closed.

    Every cell is text: formulas, numbers and links stay the characters they are. `title` becomes the title in
    the document's properties, which name no person. No temporary file is made: what is written exists only
    where `target` puts it. A cell of more than `MAX_CELL_LENGTH` is cut and ends in `CUT_MARK`.

    Raises TooManyRows before anything is written.
    """
    for sheet in sheets:
        _check_size(sheet)
    with (
        zipfile.ZipFile(_package(sheets, title)) as package,
        # As small as level 6 within 1 % in two thirds of the time; 1 takes half the time, a fifth more space.
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=5) as workbook,
    ):
        sheet_parts = {f"xl/worksheets/sheet{number}.xml": sheet for number, sheet in enumerate(sheets, start=1)}
        for part in package.namelist():
            if part in sheet_parts:
                _copy_with_rows(workbook, part, package.read(part).decode(), sheet_parts[part])
            else:
                workbook.writestr(part, package.read(part))


def _check_size(sheet: Sheet) -> None:
    if len(sheet) > MAX_ROWS:
        raise TooManyRows(
            f"Sheet {sheet.name} would have {len(sheet):,} rows, and a workbook holds {MAX_ROWS:,}. "
            "Use --format csv, or split the list."
        )
    if len(sheet.headers) > MAX_COLUMNS:
        raise TooManyRows(
            f"Sheet {sheet.name} would have {len(sheet.headers):,} columns, and a workbook holds "
            f"{MAX_COLUMNS:,}. Use --format csv, or name the columns to keep with --columns."
        )


# --- the package around the rows ---------------------------------------------------------------------------


_TEXT_FORMAT = 49  # the built-in format "@" (ECMA-376 part 1, section 18.8.30)
_WIDEST_PAGE = 220
"""Characters that are still legible when a landscape page is scaled to hold them side by side."""


def _package(sheets: Sequence[Sheet], title: str) -> io.BytesIO:
    """A complete workbook with everything but the cells.

    In place of the cells, the first row has four blank ones, for the styles' numbers: see `_Styles`.
    """
    content = io.BytesIO()
    workbook = xlsxwriter.Workbook(content, {"in_memory": True})
    workbook.set_properties({"title": re.sub(r"[\x00-\x1f\ufffe\uffff]", " ", encodable(title))})
    text = workbook.add_format({"num_format": _TEXT_FORMAT, "valign": "top"})
    sentence = workbook.add_format({"num_format": _TEXT_FORMAT, "valign": "top", "text_wrap": True})
    header = workbook.add_format({"num_format": _TEXT_FORMAT, "bold": True, "bg_color": "#DCE6F1", "bottom": 1})
    marked = workbook.add_format({"num_format": _TEXT_FORMAT, "valign": "top", "bg_color": "#FFD966"})
    for sheet in sheets:
        last_row, last_column = len(sheet), max(len(sheet.headers) - 1, 0)
        worksheet = workbook.add_worksheet(sheet.name)
        for position, style in enumerate((header, text, sentence, marked)):
            worksheet.write_blank(0, position, None, style)
        widths = sheet.widths if sheet.widths is not None else _widths(sheet)
        for position, width in enumerate(widths):
            worksheet.set_column(position, position, width, sentence if position in sheet.sentences else text)
        worksheet.freeze_panes(1, 0)
        worksheet.autofilter(0, 0, last_row, last_column)
        used = xl_range(0, 0, last_row, last_column)
        worksheet.ignore_errors({"number_stored_as_text": used, "two_digit_text_year": used})
        worksheet.set_landscape()
        worksheet.repeat_rows(0)
        if sum(widths) <= _WIDEST_PAGE:
            worksheet.fit_to_pages(1, 0)
    workbook.close()
    return content


_NARROWEST, _WIDEST = 8.0, 42.0
_SENTENCE = 62.0
_LINE_HEIGHT = 15
"""Points."""
_SAMPLE = 1_000


def _widths(sheet: Sheet) -> list[float]:
    """Wide enough for most of the values, and for the header beside its filter button."""
    return [
        _SENTENCE
        if position in sheet.sentences
        else min(max(_usual_length(column) + 1.5, len(header) + 4.0, _NARROWEST), _WIDEST)
        for position, (header, column) in enumerate(zip(sheet.headers, sheet.columns, strict=True))
    ]


def _usual_length(column: pa.Array | pa.ChunkedArray) -> float:
    """The length that 19 in 20 values of a sample stay within; 0 without values."""
    every = len(column) // _SAMPLE + 1
    sample = column.take(pa.array(np.arange(0, len(column), every)))
    lengths = pc.utf8_length(pc.cast(sample, TEXT))
    return float(pc.quantile(lengths, 0.95)[0].as_py() or 0.0)


@dataclass(frozen=True, slots=True)
class _Styles:
    """The numbers that the package gives the styles of the cells."""

    header: str
    text: str
    sentence: str
    marked: str


def _copy_with_rows(workbook: zipfile.ZipFile, part: str, around: str, sheet: Sheet) -> None:
    before, pattern_row, after = re.split("<sheetData>(.*)</sheetData>", around)
    styles = _Styles(*re.findall(r'<c r="\w+" s="(\d+)"/>', pattern_row))
    used = xl_range(0, 0, len(sheet), max(len(sheet.headers) - 1, 0))
    before = re.sub(r'<dimension ref="[^"]*"/>', f'<dimension ref="{used}"/>', before)
    # Excel offers to repair files whose parts announce 64-bit sizes without needing them.
    with workbook.open(part, "w", force_zip64=_may_exceed_zip32(sheet)) as sink:
        sink.write(f"{before}<sheetData>".encode())
        sink.write(_rows_xml(one_row(sheet.headers), 1, {}, [styles.header] * len(sheet.headers), styles.header))
        plain = [
            styles.sentence if position in sheet.sentences else styles.text for position in range(len(sheet.headers))
        ]
        for first, columns in batches(sheet.columns):
            rows = slice(first, first + len(columns[0]))
            marked = {position: pa.array(mask[rows]) for position, mask in sheet.marked.items()}
            sink.write(_rows_xml(columns, first + 2, marked, plain, styles.marked, sheet.sentences))
        sink.write(f"</sheetData>{after}".encode())


# --- rows as XML -------------------------------------------------------------------------------------------


def _rows_xml(
    columns: Sequence[pa.LargeStringArray],
    first_number: int,
    marked: Mapping[int, pa.BooleanArray],
    plain: Sequence[str],
    coloured: str,
    sentences: Collection[int] = (),
) -> memoryview:
    """The `<row>` elements of a batch whose first row has the number `first_number` in the sheet.

    `marked` says which cells of a column are coloured, and so have the style `coloured` instead of the column's in `plain`.
    """
    numbers = pc.cast(pa.array(np.arange(first_number, first_number + len(columns[0]))), TEXT)
    pieces: list[Piece] = ['<row r="', numbers, *_heights([columns[position] for position in sorted(sentences)]), '">']
    for position, column in enumerate(columns):
        text = _within_limit(column)
        opening = f'<c r="{xl_col_to_name(position)}'
        pieces += _cells_xml(opening, numbers, text, marked.get(position), plain[position], coloured)
    return bytes_of(joined([*pieces, "</row>"]))


def _heights(sentences: Sequence[pa.LargeStringArray]) -> list[Piece]:
    """The height of each row, so that its sentences can be read whole: not every program works it out by itself."""
    if not sentences:
        return []
    longest = np.maximum.reduce([pc.utf8_length(column).to_numpy(zero_copy_only=False) for column in sentences])
    lines = np.maximum(1, np.ceil(longest / _SENTENCE)).astype(np.int64)
    return ['" customHeight="1" ht="', pc.cast(pa.array(lines * _LINE_HEIGHT), TEXT)]


def _cells_xml(
    opening: str,
    numbers: pa.LargeStringArray,
    text: pa.LargeStringArray,
    marked: pa.BooleanArray | None,
    plain: str,
    coloured: str,
) -> list[Piece]:
    """One column's cells. A blank one is left out, and so takes the column's style, unless it is coloured."""
    style = plain if marked is None else pc.if_else(marked, literal(coloured), literal(plain))
    # Without the attribute Excel drops white space at either end.
    tag = '<t xml:space="preserve">' if _has_outer_space(text) else "<t>"
    cells = [opening, numbers, '" s="', style, f'" t="inlineStr"><is>{tag}', _escaped(text), "</t></is></c>"]
    blank = pc.equal(text, literal(""))
    if not pc.any(blank).as_py():
        return cells
    nothing = literal("")
    if marked is not None:
        nothing = pc.if_else(marked, joined([opening, numbers, f'" s="{coloured}"/>']), nothing)
    return [pc.if_else(blank, nothing, joined(cells))]


# --- what XML and Excel cannot hold as it is ---------------------------------------------------------------


_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}  # & comes first: the others bring new ones

# XML has no way to hold these, and reads a carriage return as a line feed. Excel writes them as _x000D_
# (ST_Xstring, ECMA-376 part 1, section 22.9.2.19).
_CONTROLS = {chr(code): f"_x{code:04X}_" for code in (*range(0x20), 0xFFFE, 0xFFFF) if chr(code) not in "\t\n"}

_SUSPECT = "".join([*_MARKUP, *_CONTROLS]).encode()
"""Bytes without which a text needs no escape, `_x` aside. (Some are also part of other characters.)"""


def _escaped(text: pa.LargeStringArray) -> pa.LargeStringArray:
    """The text as XML; a text that only looks like one of Excel's escapes comes out as it went in."""
    data = bytes(bytes_of(text))
    if b"_x" in data:
        # Only where there is a whole one: programs other than Excel do not take it back, and a link may hold half of one.
        looks_like_one = pc.match_substring_regex(text, "_x[0-9A-Fa-f]{4}_")
        if pc.any(looks_like_one).as_py():
            # Without regard to the closing underscore, which may be the next escape's opening one.
            escaped = pc.replace_substring_regex(text, "_x([0-9A-Fa-f]{4})", r"_x005F_x\1")
            text = pc.if_else(looks_like_one, escaped, text)
    if count_of(data, _SUSPECT):
        for character, escape in (_MARKUP | _CONTROLS).items():
            if character.encode() in data:
                text = pc.replace_substring(text, character, escape)
    return text


def _has_outer_space(text: pa.LargeStringArray) -> bool:
    bounds = offsets(text)
    starts, ends = bounds[:-1], bounds[1:]
    filled = starts < ends
    if not filled.any():
        return False
    data = np.frombuffer(text.buffers()[2], np.uint8)
    space = ord(" ")
    return bool((data[starts[filled]] <= space).any() or (data[ends[filled] - 1] <= space).any())


def _within_limit(text: pa.LargeStringArray) -> pa.LargeStringArray:
    lengths = pc.binary_length(text)  # in bytes: never fewer than UTF-16 code units
    if (pc.max(lengths).as_py() or 0) <= MAX_CELL_LENGTH:
        return text
    suspects = pc.greater(lengths, MAX_CELL_LENGTH)
    cut = pa.array([_cut(value) for value in text.filter(suspects).to_pylist()], TEXT)
    return pc.replace_with_mask(text, suspects, cut)


def _cut(value: str) -> str:
    units = value.encode("utf-16-le")
    if len(units) <= 2 * MAX_CELL_LENGTH:
        return value
    return units[: 2 * (MAX_CELL_LENGTH - len(CUT_MARK))].decode("utf-16-le", "ignore") + CUT_MARK


_ROW_XML, _CELL_XML = 24, 84
"""Bytes of XML around a row's cells and around a cell's text, at most."""


def _may_exceed_zip32(sheet: Sheet) -> bool:
    """Whether the sheet's XML could pass the size from which `zipfile` wants 64-bit fields."""
    around = (len(sheet) + 1) * (_ROW_XML + _CELL_XML * len(sheet.headers))
    text = sum(column.nbytes for column in sheet.columns)
    if around + 7 * text <= zipfile.ZIP64_LIMIT:  # the longest escape takes the place of one byte with seven
        return False
    runs = (bytes(bytes_of(column)) for _, columns in batches(sheet.columns) for column in columns)
    growth = sum(6 * count_of(run, _SUSPECT) + 7 * run.count(b"_x") for run in runs)
    return bool(around + text + growth > zipfile.ZIP64_LIMIT)
