"""Workbooks of text: the links workbook and the error report, a million rows in seconds.

Writing each cell through a library costs about five microseconds. Here xlsxwriter makes the package around
the rows (styles, frozen header, filter, print settings), and the rows are built column by column with Arrow
and streamed into it as inline strings (ECMA-376 part 1, section 18.3.1.53): half a microsecond.
"""

import base64
import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xlsxwriter
from xlsxwriter.utility import xl_col_to_name, xl_range

from batchlinks.errors import BatchlinksError
from batchlinks.results.text_columns import (
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

MAX_HYPERLINKS = 65_530
"""On a sheet. What is beyond stays text: Excel would otherwise throw all of them away."""
MAX_PICTURES = 65_000
"""On a sheet: each is a part of the package, and a ZIP archive of the kind that every program reads holds 65,535."""
_MAX_ADDRESS = 2_079
"""Characters of a hyperlink's address."""
_MAX_ROW_HEIGHT = 409
"""Points."""

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

    hyperlinks: int | None = None
    """Position of the column whose texts, where they are addresses, can be clicked: the first `MAX_HYPERLINKS` of them."""

    pictures: int | None = None
    """Position of the column that has a picture in each of its first `MAX_PICTURES` cells, above its text."""

    sentences: frozenset[int] = frozenset()
    """Positions of the columns that hold sentences: wide, and broken into lines, so that they can be read whole."""

    widths: Sequence[float] | None = None
    """One for each column, in characters; None takes them from the values."""

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0


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
            hyperlinks = _Hyperlinks.of(sheet)
            _copy_with_rows(workbook, part, package.read(part).decode(), sheet, hyperlinks)
            relations = f"xl/worksheets/_rels/sheet{number}.xml.rels"
            if hyperlinks or relations in package.namelist():
                own = package.read(relations).decode() if relations in package.namelist() else _NO_RELATIONS
                _copy_with_hyperlinks(workbook, relations, own, hyperlinks)
            if sheet.pictures is not None:
                _write_pictures(workbook, package.read("xl/drawings/drawing1.xml").decode(), sheet, pictures)


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

    In place of the cells, the first row has a few blank ones, for the styles' numbers: see `_Styles`. A sheet with
    pictures has one, as a pattern.
    """
    content = io.BytesIO()
    workbook = xlsxwriter.Workbook(content, {"in_memory": True})
    workbook.set_properties({"title": re.sub(r"[\x00-\x1f\ufffe\uffff]", " ", encodable(title))})
    text = workbook.add_format({"num_format": _TEXT_FORMAT, "valign": "top"})
    sentence = workbook.add_format({"num_format": _TEXT_FORMAT, "valign": "top", "text_wrap": True})
    header = workbook.add_format({"num_format": _TEXT_FORMAT, "bold": True, "bg_color": "#DCE6F1", "bottom": 1})
    marked = workbook.add_format({"num_format": _TEXT_FORMAT, "valign": "top", "bg_color": "#FFD966"})
    link = workbook.add_format({"num_format": _TEXT_FORMAT, "valign": "top", "font_color": "#0563C1", "underline": 1})
    caption = workbook.add_format({"num_format": _TEXT_FORMAT, "valign": "bottom", "align": "center"})
    for sheet in sheets:
        last_row, last_column = len(sheet), max(len(sheet.headers) - 1, 0)
        worksheet = workbook.add_worksheet(sheet.name)
        for position, style in enumerate((header, text, sentence, marked, link, caption)):
            worksheet.write_blank(0, position, None, style)
        if sheet.pictures is not None:
            worksheet.insert_image(0, 0, "pattern.png", {"image_data": io.BytesIO(_ONE_PIXEL)})
        widths = sheet.widths if sheet.widths is not None else _widths(sheet)
        for position, width in enumerate(widths):
            style = sentence if position in sheet.sentences else caption if position == sheet.pictures else text
            worksheet.set_column(position, position, width, style)
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
        else _PICTURE_COLUMN
        if position == sheet.pictures
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
    link: str
    caption: str


def _copy_with_rows(
    workbook: zipfile.ZipFile, part: str, around: str, sheet: Sheet, hyperlinks: "_Hyperlinks | None"
) -> None:
    before, pattern_row, after = re.split("<sheetData>(.*)</sheetData>", around)
    styles = _Styles(*re.findall(r'<c r="\w+" s="(\d+)"/>', pattern_row))
    used = xl_range(0, 0, len(sheet), max(len(sheet.headers) - 1, 0))
    before = re.sub(r'<dimension ref="[^"]*"/>', f'<dimension ref="{used}"/>', before)
    if hyperlinks:
        after = re.sub("(?=<pageMargins )", lambda _: _HYPERLINKS_HERE, after, count=1)
    ahead, _, behind = after.partition(_HYPERLINKS_HERE)
    # Excel offers to repair files whose parts announce 64-bit sizes without needing them.
    with workbook.open(part, "w", force_zip64=_may_exceed_zip32(sheet)) as sink:
        sink.write(f"{before}<sheetData>".encode())
        width = range(len(sheet.headers))
        sink.write(_rows_xml(one_row(sheet.headers), 1, [styles.header for _ in width]))
        plain = [
            styles.sentence
            if position in sheet.sentences
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
            sink.write(_rows_xml(columns, first + 2, plain, special, _heights(columns, sheet)))
        sink.write(f"</sheetData>{ahead}".encode())
        if hyperlinks:
            sink.write(hyperlinks.as_xml())
        sink.write(behind.encode())


# --- rows as XML -------------------------------------------------------------------------------------------


def _rows_xml(
    columns: Sequence[pa.LargeStringArray],
    first_number: int,
    plain: Sequence[str],
    special: Mapping[int, tuple[pa.BooleanArray, str]] = MappingProxyType({}),
    heights: Sequence[Piece] = (),
) -> memoryview:
    """The `<row>` elements of a batch whose first row has the number `first_number` in the sheet.

    `plain` is the style of each column; `special` says which cells of a column have another one, and which.
    """
    numbers = pc.cast(pa.array(np.arange(first_number, first_number + len(columns[0]))), TEXT)
    pieces: list[Piece] = ['<row r="', numbers, *heights, '">']
    for position, column in enumerate(columns):
        text = _within_limit(column)
        opening = f'<c r="{xl_col_to_name(position)}'
        pieces += _cells_xml(opening, numbers, text, plain[position], special.get(position))
    return bytes_of(joined([*pieces, "</row>"]))


def _heights(columns: Sequence[pa.LargeStringArray], sheet: Sheet) -> list[Piece]:
    """The height of each row, so that its sentences can be read whole: not every program works it out by itself."""
    if not sheet.sentences and sheet.pictures is None:
        return []
    heights = np.full(len(columns[0]), _LINE_HEIGHT if sheet.pictures is None else _PICTURE_ROW)
    for position in sheet.sentences:
        lengths = pc.utf8_length(columns[position]).to_numpy(zero_copy_only=False)
        heights = np.maximum(heights, np.ceil(lengths / _SENTENCE).astype(np.int64) * _LINE_HEIGHT)
    return ['" customHeight="1" ht="', pc.cast(pa.array(np.minimum(heights, _MAX_ROW_HEIGHT)), TEXT)]


def _cells_xml(
    opening: str,
    numbers: pa.LargeStringArray,
    text: pa.LargeStringArray,
    plain: str,
    special: tuple[pa.BooleanArray, str] | None,
) -> list[Piece]:
    """One column's cells. A blank one is left out, and so takes the column's style, unless it has a special one."""
    style: Piece = plain if special is None else pc.if_else(special[0], literal(special[1]), literal(plain))
    # Without the attribute Excel drops white space at either end.
    tag = '<t xml:space="preserve">' if _has_outer_space(text) else "<t>"
    cells = [opening, numbers, '" s="', style, f'" t="inlineStr"><is>{tag}', _escaped(text), "</t></is></c>"]
    blank = pc.equal(text, literal(""))
    if not pc.any(blank).as_py():
        return cells
    nothing = literal("")
    if special is not None:
        nothing = pc.if_else(special[0], joined([opening, numbers, f'" s="{special[1]}"/>']), nothing)
    return [pc.if_else(blank, nothing, joined(cells))]


# --- hyperlinks --------------------------------------------------------------------------------------------

_HYPERLINKS_HERE = "<hyperlinks/>"
_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_NO_RELATIONS = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"></Relationships>'
)
_ADDRESS = r"^https?://[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+(?:#[ -~]*)?$"
"""What a click can open: up to `#` as RFC 3986 has it, behind it whatever HealthEx puts there."""


@dataclass(frozen=True, slots=True)
class _Hyperlinks:
    """Those of one sheet: the address up to `#` is the target of a relation, what follows is its location.

    Excel joins the two with a `#`, so that together they are the text of the cell again.
    """

    column: int
    clickable: npt.NDArray[np.bool_]
    """For each of the sheet's first `MAX_HYPERLINKS` rows."""

    numbers: pa.LargeStringArray
    """Of the rows, as the sheet counts them; of the clickable ones only, as are the addresses."""

    addresses: pa.LargeStringArray

    @classmethod
    def of(cls, sheet: Sheet) -> "_Hyperlinks | None":
        if sheet.hyperlinks is None:
            return None
        texts = sheet.columns[sheet.hyperlinks].slice(0, MAX_HYPERLINKS)
        texts = pc.fill_null(pc.cast(texts, TEXT), "")
        texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
        fits = pc.less_equal(pc.utf8_length(texts), _MAX_ADDRESS)
        mask = pc.and_(fits, pc.match_substring_regex(texts, _ADDRESS))
        clickable: npt.NDArray[np.bool_] = mask.to_numpy(zero_copy_only=False)
        numbers = pc.cast(pa.array(np.flatnonzero(clickable) + 2), TEXT)
        return cls(sheet.hyperlinks, clickable, numbers, texts.filter(mask)) if len(numbers) else None

    def among(self, rows: slice) -> pa.BooleanArray:
        """Which of these rows are clickable."""
        there = self.clickable[rows]
        return pa.array(np.pad(there, (0, rows.stop - rows.start - len(there))))

    def as_xml(self) -> bytes:
        """The sheet's element."""
        fragments = pc.utf8_slice_codeunits(pc.replace_substring_regex(self.addresses, "^[^#]*", ""), 1)
        location = joined(['" location="', pc.replace_substring(_escaped(fragments), '"', "&quot;")])
        location = pc.if_else(pc.equal(fragments, ""), literal(""), location)
        start = f'<hyperlink ref="{xl_col_to_name(self.column)}'
        each = joined([start, self.numbers, '" r:id="link', self.numbers, location, '"/>'])
        return b"<hyperlinks>" + bytes(bytes_of(each)) + b"</hyperlinks>"

    def relations_xml(self) -> bytes:
        """The relations that the element refers to."""
        targets = pc.replace_substring(pc.replace_substring_regex(self.addresses, "#.*$", ""), "&", "&amp;")
        start, kind = '<Relationship Id="link', f'" Type="{_RELATION}/hyperlink" Target="'
        return bytes(bytes_of(joined([start, self.numbers, kind, targets, '" TargetMode="External"/>'])))


def _copy_with_hyperlinks(workbook: zipfile.ZipFile, part: str, own: str, hyperlinks: _Hyperlinks | None) -> None:
    before, _, after = own.rpartition("</Relationships>")
    links = hyperlinks.relations_xml() if hyperlinks else b""
    workbook.writestr(part, before.encode() + links + f"</Relationships>{after}".encode())


# --- pictures ----------------------------------------------------------------------------------------------

_POINT, _PIXEL = 12_700, 9_525
"""In EMU, the unit of drawings."""

_PICTURE = 72
"""Points that a picture is wide and high: an inch."""
_PICTURE_ROW = _PICTURE + 20
_PICTURE_COLUMN = 15.0
_PICTURE_LEFT, _PICTURE_TOP = 7 * _PIXEL, 2 * _POINT

_ONE_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAQAAAAA3bvkkAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)

# Moved and sized with their cells, so that a sorted row takes its picture along and a filtered one hides it.
_ANCHOR = (
    '<xdr:twoCellAnchor editAs="twoCell">'
    "<xdr:from><xdr:col>{column}</xdr:col><xdr:colOff>{left}</xdr:colOff>"
    "<xdr:row>{row}</xdr:row><xdr:rowOff>{top}</xdr:rowOff></xdr:from>"
    "<xdr:to><xdr:col>{column}</xdr:col><xdr:colOff>{right}</xdr:colOff>"
    "<xdr:row>{row}</xdr:row><xdr:rowOff>{bottom}</xdr:rowOff></xdr:to>"
    '<xdr:pic><xdr:nvPicPr><xdr:cNvPr id="{id}" name="Picture {number}" descr="{description}"/>'
    '<xdr:cNvPicPr><a:picLocks noChangeAspect="1"/></xdr:cNvPicPr></xdr:nvPicPr>'
    '<xdr:blipFill><a:blip xmlns:r="{relation}" r:embed="rId{number}"/><a:stretch><a:fillRect/></a:stretch>'
    '</xdr:blipFill><xdr:spPr><a:xfrm><a:off x="0" y="0"/><a:ext cx="{size}" cy="{size}"/></a:xfrm>'
    '<a:prstGeom prst="rect"><a:avLst/></a:prstGeom></xdr:spPr></xdr:pic><xdr:clientData/></xdr:twoCellAnchor>'
)


def _write_pictures(workbook: zipfile.ZipFile, pattern: str, sheet: Sheet, pictures: Iterable[bytes]) -> None:
    """The drawing that holds them, around the one picture of `pattern`; each PNG as a part of its own."""
    count = 0
    for number, picture in enumerate(pictures, start=1):
        if number <= MAX_PICTURES:
            count = number
            workbook.writestr(f"xl/media/image{number}.png", picture, zipfile.ZIP_STORED)
    before, after = re.split("<xdr:twoCellAnchor.*</xdr:twoCellAnchor>", pattern)
    with workbook.open("xl/drawings/drawing1.xml", "w") as sink:
        sink.write(before.encode())
        for number in range(1, count + 1):
            sink.write(_anchor(sheet, number).encode())
        sink.write(after.encode())
    before, _, after = _NO_RELATIONS.rpartition("</Relationships>")
    with workbook.open("xl/drawings/_rels/drawing1.xml.rels", "w") as sink:
        sink.write(before.encode())
        for number in range(1, count + 1):
            target = f'Type="{_RELATION}/image" Target="../media/image{number}.png"'
            sink.write(f'<Relationship Id="rId{number}" {target}/>'.encode())
        sink.write(f"</Relationships>{after}".encode())


def _anchor(sheet: Sheet, number: int) -> str:
    """Where the picture of the sheet's row `number` (1 for the first below the header) stands."""
    return _ANCHOR.format(
        column=sheet.pictures,
        row=number,
        left=_PICTURE_LEFT,
        right=_PICTURE_LEFT + _PICTURE * _POINT,
        top=_PICTURE_TOP,
        bottom=_PICTURE_TOP + _PICTURE * _POINT,
        size=_PICTURE * _POINT,
        id=number + 1,
        number=number,
        relation=_RELATION,
        description=f"Picture in row {number + 1}",
    )


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
    growth = sum(6 * count_of(run, _SUSPECT) + 7 * run.count(b"_x") for run in runs)
    return bool(around + text + growth > zipfile.ZIP64_LIMIT)
