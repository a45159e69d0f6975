"""What XML and Excel cannot hold as it is."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.results.text_columns import (
    TEXT,
    bytes_of,
    count_of,
    offsets,
)
from batchlinks.results.xlsx.sheet import CUT_MARK, MAX_CELL_LENGTH

_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}  # & comes first: the others bring new ones

# XML has no way to hold these, and reads a carriage return as a line feed. Excel writes them as _x000D_
# (ST_Xstring, ECMA-376 part 1, section 22.9.2.19).

_CONTROLS = {chr(code): f"_x{code:04X}_" for code in (*range(0x20), 0xFFFE, 0xFFFF) if chr(code) not in "\t\n"}

BYTES_TO_ESCAPE = "".join([*_MARKUP, *_CONTROLS]).encode()
"""Bytes without which a text needs no escape, `_x` aside. (Some are also part of other characters.)"""


def escape_text(text: pa.LargeStringArray) -> pa.LargeStringArray:
    """The text as XML; a text that only looks like one of Excel's escapes comes out as it went in."""
    data = bytes(bytes_of(text))
    if b"_x" in data:
        # Only where there is a whole one: programs other than Excel do not take it back, and a link may hold half of one.
        looks_like_one = pc.match_substring_regex(text, "_x[0-9A-Fa-f]{4}_")
        if pc.any(looks_like_one).as_py():
            # Without regard to the closing underscore, which may be the next escape's opening one.
            escaped = pc.replace_substring_regex(text, "_x([0-9A-Fa-f]{4})", r"_x005F_x\1")
            text = pc.if_else(looks_like_one, escaped, text)
    if count_of(data, BYTES_TO_ESCAPE):
        for character, escape in (_MARKUP | _CONTROLS).items():
            if character.encode() in data:
                text = pc.replace_substring(text, character, escape)
    return text


def has_outer_space(text: pa.LargeStringArray) -> bool:
    """Whether any text begins or ends with white space, which XML would drop."""
    bounds = offsets(text)
    starts, ends = bounds[:-1], bounds[1:]
    filled = starts < ends
    if not filled.any():
        return False
    data = np.frombuffer(text.buffers()[2], np.uint8)
    space = ord(" ")
    return bool((data[starts[filled]] <= space).any() or (data[ends[filled] - 1] <= space).any())


def cut_long_texts(text: pa.LargeStringArray) -> pa.LargeStringArray:
    """The texts, those that a cell cannot hold cut and marked so."""
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
