"""CSV that opens well in a spreadsheet and runs nothing there, a million rows in seconds."""

from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.results.text_columns import Piece, batches, bytes_of, count_of, joined, one_row

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Without it Excel takes the file for Windows-1252."""

GUARD = "'"
"""Before a cell that a spreadsheet would run. The cell is text then; the roster's reader takes it off IDs again."""


def write_csv(
    target: BinaryIO, headers: Sequence[str], columns: Sequence[pa.Array | pa.ChunkedArray], *, bom: bool = True
) -> None:
    """Write a header line and the rows of `columns` (strings, equally long) to `target`, which is not closed.

    UTF-8, with a byte-order mark unless `bom` is False, commas, CRLF, quotes where needed; a null is written as "". A cell that
    a spreadsheet would take for a formula gets `GUARD`; phone numbers, plain signed numbers and a lone dash stay
    as they are, and so does all that does not begin like a formula, such as a link.
    """
    if bom:
        target.write(BYTE_ORDER_MARK)
    target.write(_lines(one_row(headers)))
    for _, cells in batches(columns):
        target.write(_lines(cells))


def _lines(columns: Sequence[pa.LargeStringArray]) -> memoryview:
    pieces: list[Piece] = []
    for column in columns:
        pieces += [_quoted(_harmless(column), blanks=len(columns) == 1), ","]
    return bytes_of(joined([*pieces[:-1], "\r\n"]))


# --- what a spreadsheet would run --------------------------------------------------------------------------

# OWASP, "CSV Injection". White space and invisible characters before the sign do not stop every program.
_FORMULA_SIGNS = "=+@＝＋－＠-"
_RUNS = rf"^(?:[\t\r\n]|[\s\pZ\pC]*[{_FORMULA_SIGNS}])"

_NUMBER = r"[+-]?\d+(?:[.,]\d+)*%?"
_PHONE = r"\+ ?\(?\d(?:[ \x{A0}().\-/]*\d){6,14}(?: ?(?:x|ext\.?|#) ?\d{1,6})?"
_STAYS = rf"^ *(?:-|{_NUMBER}|{_PHONE}) *$"


def _harmless(text: pa.LargeStringArray) -> pa.LargeStringArray:
    runs = pc.match_substring_regex(text, _RUNS)
    if not pc.any(runs).as_py():
        return text
    runs = pc.and_not(runs, pc.match_substring_regex(text, _STAYS, ignore_case=True))
    return pc.if_else(runs, joined([GUARD, text]), text)


# --- what the format asks for ------------------------------------------------------------------------------

_SPECIAL = ',;"\t\r\n'
"""Semicolon and tab too: where they separate, a quoted cell more often stays whole."""


def _quoted(text: pa.LargeStringArray, *, blanks: bool) -> pa.LargeStringArray:
    """In quotes where needed; with `blanks` also "", which alone on its line would be no row at all."""
    if not blanks and not count_of(bytes(bytes_of(text)), _SPECIAL.encode()):
        return text
    needed = pc.match_substring_regex(text, f"[{_SPECIAL}]|^$" if blanks else f"[{_SPECIAL}]")
    return pc.if_else(needed, joined(['"', pc.replace_substring(text, '"', '""'), '"']), text)
