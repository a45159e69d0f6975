"""Rows as XML: built column by column with Arrow, as inline strings (ECMA-376 part 1, section 18.3.1.53)."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from xlsxwriter.utility import xl_col_to_name

from batchlinks.results.text_columns import (
    TEXT,
    Piece,
    bytes_of,
    joined,
    literal,
)
from batchlinks.results.xlsx.escapes import cut_long_texts, escape_text, has_outer_space
from batchlinks.results.xlsx.pictures import PICTURE_ROW_HEIGHT
from batchlinks.results.xlsx.sheet import Sheet

_MAX_ROW_HEIGHT = 409
"""Points."""

SENTENCE_WIDTH = 62.0

_LINE_HEIGHT = 15
"""Points."""


def rows_xml(
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
        text = cut_long_texts(column)
        opening = f'<c r="{xl_col_to_name(position)}'
        pieces += _cells_xml(opening, numbers, text, plain[position], special.get(position))
    return bytes_of(joined([*pieces, "</row>"]))


def row_heights(columns: Sequence[pa.LargeStringArray], sheet: Sheet, widths: Sequence[float]) -> list[Piece]:
    """The height of each row, so that what is broken into lines can be read whole: not every program works it out."""
    broken = {*sheet.sentences, *(() if sheet.link is None else (sheet.link,))}
    if not broken and sheet.pictures is None:
        return []
    heights = np.full(len(columns[0]), _LINE_HEIGHT if sheet.pictures is None else PICTURE_ROW_HEIGHT)
    for position in broken:
        lengths = pc.utf8_length(columns[position]).to_numpy(zero_copy_only=False)
        heights = np.maximum(heights, np.ceil(lengths / widths[position]).astype(np.int64) * _LINE_HEIGHT)
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
    tag = '<t xml:space="preserve">' if has_outer_space(text) else "<t>"
    cells = [opening, numbers, '" s="', style, f'" t="inlineStr"><is>{tag}', escape_text(text), "</t></is></c>"]
    blank = pc.equal(text, literal(""))
    if not pc.any(blank).as_py():
        return cells
    nothing = literal("")
    if special is not None:
        nothing = pc.if_else(special[0], joined([opening, numbers, f'" s="{special[1]}"/>']), nothing)
    return [pc.if_else(blank, nothing, joined(cells))]
