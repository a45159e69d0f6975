"""A whole ID column: what each cell holds, and which rows are no patients.

Arrow picks out the cells that are plainly IDs, at the speed of memory; only the others, usually a few, are read one
by one. A million rows take a second.
"""

from collections.abc import Collection
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.arrow import combine_chunks, filter_rows
from batchlinks.columns.id_column import IdColumn
from batchlinks.patients.identifier import MAX_LENGTH, clean, read_id
from batchlinks.row_codes import ErrorCode
from batchlinks.screening.footers import FOOTER_WORDS, header_key, is_footer_beside, is_report_line
from batchlinks.screening.result import Mask, Rules, Screened
from batchlinks.table import CellKind, Table

# A cell is an ID beyond doubt, so that nobody needs to look, where it is made like one and is not suspect. A property
# test holds both against `read_id` and the footers' rules. (RE2 syntax: `$` is the very end, `\d` is ASCII.)
_MADE_LIKE_AN_ID = r"^(?:[A-Za-z0-9](?:[A-Za-z0-9_/#*~-]*[A-Za-z0-9])?|\d+(?: \d+)*)$"
_HAS_A_VALUE = "[1-9]"
_SUSPECT = (
    r"(?i)^\d{4}[-/]\d{1,2}[-/]\d|^\d{1,2}[-/]\d{1,2}[-/]\d{4}"  # a date
    r"|^(?:\d{1,2}[-/])?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*(?:[-/]|$)"
    r"|^\d+e-\d+$"  # scientific notation
)
_BLANKS = " \t\r\n\u00a0"

_ONE_BY_ONE = 16_384
"""Cells that are taken out of a column at a time."""


def read_column(table: Table, column: IdColumn, rules: Rules) -> Screened:
    """Every row with its cleaned ID, or with the code that its cell alone deserves."""
    texts, kinds = _joined(table, column, rules.joined_by)
    header_again = {header_key(rules.joined_by.join(table.headers[part] for part in column.parts))}
    header_again |= {header_key(table.headers[part]) for part in column.parts}
    header_again.discard("")
    filled = _filled(table)
    footers = _footer_rows(table, filled)
    if len(column.parts) == 1:
        footers |= _lone_strangers(texts, filled)

    trimmed = pc.utf8_ltrim(pc.utf8_rtrim(texts, characters=_BLANKS), characters=f"{_BLANKS}'")
    plain = _plain(trimmed, header_again) & (kinds <= CellKind.NUMBER) & ~footers
    ids = pc.if_else(pa.array(plain), _with_width(trimmed, rules.width), "")
    screened = Screened.all_sendable(ids)
    if rules.pattern is not None:
        fits = rules.pattern.fullmatch
        matches = np.fromiter((fits(text) is not None for text in ids.to_pylist()), dtype=bool, count=len(ids))
        screened.refuse(np.flatnonzero(plain & ~matches), ErrorCode.PATTERN_MISMATCH)
    _read_one_by_one(screened, np.flatnonzero(~plain), texts, kinds, footers, header_again, rules)
    for position, fields in table.misfits.items():
        screened.refuse(position, ErrorCode.WRONG_FIELD_COUNT, found=len(fields), expected=len(table.headers))
    return screened


def _joined(table: Table, column: IdColumn, joined_by: str) -> tuple[pa.Array, npt.NDArray[np.int8]]:
    """The ID column's text and the worst kind of its parts; a joined ID is blank where one part is."""
    none = np.zeros(len(table), dtype=np.int8)
    kinds = [table.kinds.get(part, none) for part in column.parts]
    if len(column.parts) == 1:
        return table.column(column.parts[0]), kinds[0]
    parts = [pa.array([clean(text) for text in table.column(part).to_pylist()], pa.string()) for part in column.parts]
    joined = pc.binary_join_element_wise(*parts, joined_by)
    for part in parts:
        joined = pc.if_else(pc.equal(part, ""), "", joined)
    return joined, np.maximum.reduce(kinds)


# --- all at once ------------------------------------------------------------------------------------------------


def _plain(texts: pa.Array, header_again: Collection[str]) -> Mask:
    plain = pc.and_(
        pc.and_(
            pc.match_substring_regex(texts, _MADE_LIKE_AN_ID),
            pc.match_substring_regex(texts, _HAS_A_VALUE),
        ),
        pc.and_(
            pc.less_equal(pc.binary_length(texts), MAX_LENGTH),
            pc.invert(pc.match_substring_regex(texts, _SUSPECT)),
        ),
    )
    for header in header_again:
        if any(map(str.isdigit, header)):  # another header is not made like an ID
            letters = pc.ascii_lower(pc.replace_substring_regex(texts, "[^A-Za-z0-9]", ""))
            plain = pc.and_(plain, pc.not_equal(letters, header))
    return _as_mask(plain)


def _with_width(texts: pa.Array, width: int | None) -> pa.Array:
    """`identifier.with_width` for a whole column."""
    if width is None:
        return texts
    return pc.if_else(pc.match_substring_regex(texts, r"^\d+$"), pc.utf8_lpad(texts, width=width, padding="0"), texts)


def _footer_rows(table: Table, filled: npt.NDArray[np.int16]) -> Mask:
    """Rows that hold little besides a footer's words: a total or a trailer whose ID cell may look like an ID."""
    found = np.zeros(len(table), dtype=bool)
    sparse = _sparse_rows(filled)
    positions = np.flatnonzero(sparse)
    for index in range(len(table.headers)):
        cells = combine_chunks(filter_rows(sparse, table.cells.column(index)))
        perhaps = _as_mask(pc.match_substring_regex(cells, FOOTER_WORDS))
        footers = [is_footer_beside(text) for text in cells.filter(pa.array(perhaps)).to_pylist()]
        found[positions[perhaps]] |= np.array(footers, dtype=bool)
    return found


def _lone_strangers(texts: pa.Array, filled: npt.NDArray[np.int16]) -> Mask:
    """Rows with nothing but an ID, where others have more, whose ID is made like no other: `2`, `TRAILER2`, `Clinic 12`."""
    alone = (filled == 1) & _as_mask(pc.not_equal(texts, ""))
    if not alone.any() or np.median(filled) < 3:
        return np.zeros(len(texts), dtype=bool)
    made = pc.replace_substring_regex(pc.replace_substring_regex(texts, r"\d", "9"), "[A-Za-z]", "a")
    usual = made.filter(pa.array(~alone)).unique()
    strangers: Mask = alone & ~_as_mask(pc.is_in(made, value_set=usual))
    return strangers


def _filled(table: Table) -> npt.NDArray[np.int16]:
    """How many cells of each row hold something."""
    filled = np.zeros(len(table), dtype=np.int16)
    for index in range(len(table.headers)):
        filled += _as_mask(pc.not_equal(table.cells.column(index), ""))
    return filled


def _sparse_rows(filled: npt.NDArray[np.int16]) -> Mask:
    """Rows with at most half as many filled cells as the middle row: totals and trailers look like that."""
    usual = int(np.median(filled)) if len(filled) else 0
    sparse: Mask = filled <= (usual // 2 if usual > 3 else 2)
    return sparse


# --- one by one ---------------------------------------------------------------------------------------------------


def _read_one_by_one(
    screened: Screened,
    positions: npt.NDArray[np.int64],
    texts: pa.Array,
    kinds: npt.NDArray[np.int8],
    footers: Mask,
    header_again: Collection[str],
    rules: Rules,
) -> None:
    if not len(positions):
        return

    @lru_cache(maxsize=_ONE_BY_ONE)  # `N/A`, `unknown` and the like stand in many rows
    def read(text: str, kind: int, beside_footer: bool) -> tuple[str, ErrorCode | None]:
        identifier, code = read_id(text, kind, pattern=rules.pattern, width=rules.width)
        if code is ErrorCode.BLANK_ID:
            return identifier, code
        if beside_footer or is_report_line(clean(text)) or header_key(text) in header_again:
            return "", ErrorCode.NOT_A_PATIENT
        return identifier, code

    ids: list[str] = []
    codes: dict[ErrorCode, list[int]] = {}
    for start in range(0, len(positions), _ONE_BY_ONE):
        these = positions[start : start + _ONE_BY_ONE]
        cells = zip(
            these.tolist(), texts.take(pa.array(these)).to_pylist(), kinds[these].tolist(), footers[these].tolist(),
            strict=True,
        )  # fmt: skip
        for position, text, kind, beside_footer in cells:
            identifier, code = read(text, kind, beside_footer)
            ids.append(identifier)
            if code is not None:
                codes.setdefault(code, []).append(position)
    for code, refused in codes.items():
        screened.refuse(np.array(refused), code)
    slow = np.zeros(len(texts), dtype=bool)
    slow[positions] = True
    screened.ids = pc.replace_with_mask(screened.ids, pa.array(slow), pa.array(ids, pa.string()))


def _as_mask(array: pa.Array | pa.ChunkedArray) -> Mask:
    mask: Mask = array.to_numpy(zero_copy_only=False)
    return mask
