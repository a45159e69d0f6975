"""A whole workbook: xlsxwriter makes the package around the rows, and the rows are streamed into it.

Writing each cell through a library costs about five microseconds; built column by column with Arrow it costs half of one.
"""

import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xlsxwriter
from xlsxwriter.utility import xl_range

from batchlinks.next_steps import Advice, Do
from batchlinks.results.text_columns import (
    TEXT,
    batches,
    bytes_of,
    count_of,
    encodable,
    one_row,
)
from batchlinks.results.xlsx.escapes import BYTES_TO_ESCAPE
from batchlinks.results.xlsx.hyperlinks import HYPERLINKS_HERE, NO_RELATIONS, Hyperlinks, copy_with_hyperlinks
from batchlinks.results.xlsx.pictures import ONE_PIXEL, PICTURE_COLUMN_WIDTH, write_pictures
from batchlinks.results.xlsx.print_layout import MARGIN_INCHES, link_width, plan_print
from batchlinks.results.xlsx.row_xml import SENTENCE_WIDTH, row_heights, rows_xml
from batchlinks.results.xlsx.sheet import MAX_COLUMNS, MAX_HYPERLINKS, MAX_ROWS, Sheet, TooManyRows


def write_workbook(target: BinaryIO, sheets: Sequence[Sheet], *, title: str, pictures: Iterable[bytes] = ()) -> None:
    """Write `sheets` as one .xlsx file to `target`, which need not be seekable and is not closed.

    Every cell is text: formulas, numbers and links stay the characters they are. `title` becomes the title in
    the document's properties, which name no person. No temporary file is made: what is written exists only
    where `target` puts it. A cell of more than `MAX_CELL_LENGTH` is cut and ends in `CUT_MARK`.

    `pictures`: PNG files, square, one for each row of the one sheet that has a column for them. They are taken one by
    one, all of them, and none is kept.

    Raises TooManyRows before anything is written.
    """
    for sheet in sheets:
        _check_size(sheet)
    with (
        zipfile.ZipFile(_package(sheets, title)) as package,
        # As small as level 6 within 1 % in two thirds of the time; 1 takes half the time, a fifth more space.
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=5) as workbook,
    ):
        for part in package.namelist():
            if not part.startswith(("xl/worksheets/", "xl/drawings/", "xl/media/")):
                workbook.writestr(part, package.read(part))
        for number, sheet in enumerate(sheets, start=1):
            part = f"xl/worksheets/sheet{number}.xml"
            hyperlinks = Hyperlinks.of(sheet)
            _copy_with_rows(workbook, part, package.read(part).decode(), sheet, hyperlinks)
            relations = f"xl/worksheets/_rels/sheet{number}.xml.rels"
            if hyperlinks or relations in package.namelist():
                own = package.read(relations).decode() if relations in package.namelist() else NO_RELATIONS
                copy_with_hyperlinks(workbook, relations, own, hyperlinks)
            if sheet.pictures is not None:
                write_pictures(workbook, package.read("xl/drawings/drawing1.xml").decode(), sheet, pictures)


def _check_size(sheet: Sheet) -> None:
    if len(sheet) > MAX_ROWS:
        raise TooManyRows(
            f"Sheet {sheet.name} would have {len(sheet):,} rows, and a workbook holds {MAX_ROWS:,}. ",
            Advice(Do.WRITE_CSV),
        )
    if len(sheet.headers) > MAX_COLUMNS:
        raise TooManyRows(
            f"Sheet {sheet.name} would have {len(sheet.headers):,} columns, and a workbook holds {MAX_COLUMNS:,}. ",
            Advice(Do.KEEP_FEWER_COLUMNS),
        )


_TEXT_FORMAT = 49  # the built-in format "@" (ECMA-376 part 1, section 18.8.30)

_HEADER = {"num_format": _TEXT_FORMAT, "bold": True, "bg_color": "#DCE6F1", "bottom": 1}


def _headed(heading: str) -> str:
    """The format of a header cell that shows `heading` beside its text, which is still all that a program reads there."""
    return f'"{heading} ("@")"'


_FOOTER = "&L&F&CPage &P of &N&R&D"
_LEFT_OUT = "&L&F\nNot all columns are printed. The workbook has them all.&CPage &P of &N&R&D"
"""File, page and date; `&F`, `&P`, `&N` and `&D` are what Excel knows them by."""


def _package(sheets: Sequence[Sheet], title: str) -> io.BytesIO:
    """A complete workbook with everything but the cells.

    In place of the cells, the first row has a few blank ones, for the styles' numbers: see `_Styles`. A sheet with
    pictures has one, as a pattern.
    """
    content = io.BytesIO()
    workbook = xlsxwriter.Workbook(content, {"in_memory": True})
    workbook.set_properties({"title": re.sub(r"[\x00-\x1f\ufffe\uffff]", " ", encodable(title))})
    text = workbook.add_format({"num_format": _TEXT_FORMAT, "valign": "top"})
    sentence = workbook.add_format({"num_format": _TEXT_FORMAT, "valign": "top", "text_wrap": True})
    header = workbook.add_format(_HEADER)
    marked = workbook.add_format({"num_format": _TEXT_FORMAT, "valign": "top", "bg_color": "#FFD966"})
    link = workbook.add_format({"num_format": _TEXT_FORMAT, "valign": "top", "font_color": "#0563C1", "underline": 1})
    caption = workbook.add_format({"num_format": _TEXT_FORMAT, "valign": "bottom", "align": "center"})
    for number, sheet in enumerate(sheets):
        last_row, last_column = len(sheet), max(len(sheet.headers) - 1, 0)
        worksheet = workbook.add_worksheet(sheet.name)
        headed = [
            workbook.add_format({**_HEADER, "num_format": _headed(heading), "text_wrap": True, "valign": "top"})
            for heading in sheet.headings.values()
        ]
        for position, style in enumerate((header, text, sentence, marked, link, caption, *headed)):
            worksheet.write_blank(0, position, None, style)
        if sheet.pictures is not None:
            worksheet.insert_image(0, 0, "pattern.png", {"image_data": io.BytesIO(ONE_PIXEL)})
        widths = column_widths(sheet)
        for position, width in enumerate(widths):
            broken = position in sheet.sentences or position == sheet.link
            style = sentence if broken else caption if position == sheet.pictures else text
            worksheet.set_column(position, position, width, style, {"hidden": position in sheet.hidden})
        worksheet.freeze_panes(1, 0)
        worksheet.autofilter(0, 0, last_row, last_column)
        used = xl_range(0, 0, last_row, last_column)
        worksheet.ignore_errors({"number_stored_as_text": used, "two_digit_text_year": used})
        _set_up_print(worksheet, sheet, widths, is_first=number == 0)
    workbook.close()
    return content


def _set_up_print(worksheet: Any, sheet: Sheet, widths: Sequence[float], *, is_first: bool) -> None:
    """One page wide, the header on every page; a further sheet without rows costs no page."""
    worksheet.set_landscape()
    worksheet.set_margins(left=MARGIN_INCHES, right=MARGIN_INCHES, top=0.5, bottom=0.7)
    worksheet.fit_to_pages(1, 0)
    if not len(sheet) and not is_first:
        worksheet.print_area(1, 0, 1, 0)
        return
    worksheet.repeat_rows(0)
    layout = plan_print(sheet, widths)
    first, last = layout.area or (0, max(len(sheet.headers) - 1, 0))
    worksheet.print_area(0, first, len(sheet), last)  # else the last column's long texts count as further pages
    if layout.repeated is not None:
        worksheet.repeat_columns(*layout.repeated)
    worksheet.set_footer(_LEFT_OUT if layout.leaves_out else _FOOTER)


_NARROWEST, _WIDEST = 8.0, 42.0

_SAMPLE = 1_000
_FEW = 50


def column_widths(sheet: Sheet) -> Sequence[float]:
    """In characters, as the sheet says, or wide enough for most of the values and for the header beside its filter button."""
    if sheet.widths is not None:
        return sheet.widths
    return [_width(sheet, position) for position in range(len(sheet.headers))]


def _width(sheet: Sheet, position: int) -> float:
    if position in sheet.sentences:
        return SENTENCE_WIDTH
    if position == sheet.pictures:
        return PICTURE_COLUMN_WIDTH
    usual = _usual_length(sheet.columns[position])
    if position == sheet.link:
        return max(link_width(usual), _WIDEST)
    shown = len(sheet.headers[position])
    if position in sheet.headings:
        shown = max(len(sheet.headings[position]) + 1, shown + 3)  # broken into two lines
    return min(max(usual + 1.5, shown + 4.0, _NARROWEST), _WIDEST)


def _usual_length(column: pa.Array | pa.ChunkedArray) -> float:
    """The length that 19 in 20 values of a sample stay within; 0 without values."""
    if len(column) <= _FEW:  # Arrow's way of going about it pays for more; a list may have thousands of columns
        texts = [text for text in column.to_pylist() if text is not None]
        return float(np.quantile([len(text) for text in texts], 0.95)) if texts else 0.0
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
    link: str
    caption: str
    headed: Sequence[str]
    """Of the headers with a heading for people, in the order of the sheet's `headings`."""


def _copy_with_rows(
    workbook: zipfile.ZipFile, part: str, around: str, sheet: Sheet, hyperlinks: "Hyperlinks | None"
) -> None:
    before, pattern_row, after = re.split("<sheetData>(.*)</sheetData>", around)
    header, text, sentence, marked, link, caption, *headed = re.findall(r'<c r="\w+" s="(\d+)"/>', pattern_row)
    styles = _Styles(header, text, sentence, marked, link, caption, headed)
    widths = column_widths(sheet)
    used = xl_range(0, 0, len(sheet), max(len(sheet.headers) - 1, 0))
    before = re.sub(r'<dimension ref="[^"]*"/>', f'<dimension ref="{used}"/>', before)
    if hyperlinks:
        after = re.sub("(?=<pageMargins )", lambda _: HYPERLINKS_HERE, after, count=1)
    ahead, _, behind = after.partition(HYPERLINKS_HERE)
    # Excel offers to repair files whose parts announce 64-bit sizes without needing them.
    with workbook.open(part, "w", force_zip64=_may_exceed_zip32(sheet)) as sink:
        sink.write(f"{before}<sheetData>".encode())
        width = range(len(sheet.headers))
        style_of = dict(zip(sheet.headings, styles.headed, strict=True))
        header_height = [f'" customHeight="1" ht="{_HEADED_HEIGHT}'] if sheet.headings else []
        header_styles = [style_of.get(position, styles.header) for position in width]
        sink.write(rows_xml(one_row(sheet.headers), 1, header_styles, heights=header_height))
        plain = [
            styles.sentence
            if position in sheet.sentences or position == sheet.link
            else styles.caption
            if position == sheet.pictures
            else styles.text
            for position in width
        ]
        for first, columns in batches(sheet.columns):
            rows = slice(first, first + len(columns[0]))
            special = {position: (pa.array(mask[rows]), styles.marked) for position, mask in sheet.marked.items()}
            if hyperlinks:
                special[hyperlinks.column] = hyperlinks.among(rows), styles.link
            sink.write(rows_xml(columns, first + 2, plain, special, row_heights(columns, sheet, widths)))
        sink.write(f"</sheetData>{ahead}".encode())
        if hyperlinks:
            sink.write(hyperlinks.as_xml())
        sink.write(behind.encode())


_HEADED_HEIGHT = 30
"""Points of a header row with headings for people: two lines."""

_ROW_XML, _CELL_XML = 56, 84
"""Bytes of XML around a row's cells and around a cell's text, at most."""

_HYPERLINK_XML = 80
"""Bytes of XML around a hyperlink's location, at most."""


def _may_exceed_zip32(sheet: Sheet) -> bool:
    """Whether the sheet's XML could pass the size from which `zipfile` wants 64-bit fields."""
    around = (len(sheet) + 1) * (_ROW_XML + _CELL_XML * len(sheet.headers))
    if sheet.hyperlinks is not None:
        addresses = sheet.columns[sheet.hyperlinks].slice(0, MAX_HYPERLINKS)
        around += len(addresses) * _HYPERLINK_XML + 5 * addresses.nbytes  # where each byte is an ampersand
    text = sum(column.nbytes for column in sheet.columns)
    if around + 7 * text <= zipfile.ZIP64_LIMIT:  # the longest escape takes the place of one byte with seven
        return False
    runs = (bytes(bytes_of(column)) for _, columns in batches(sheet.columns) for column in columns)
    growth = sum(6 * count_of(run, BYTES_TO_ESCAPE) + 7 * run.count(b"_x") for run in runs)
    return bool(around + text + growth > zipfile.ZIP64_LIMIT)
