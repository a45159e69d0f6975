"""Dates in the results: in the form in which the list shows them, one form in a column; or as `YYYY-MM-DD` for programs. Pure."""

import re
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.arrow import combine_chunks, filter_rows
from batchlinks.roster.date_format import show_day
from batchlinks.table import CellKind, Table


def cells_as_shown(
    table: Table, position: int, rows: "np.ndarray[tuple[int], np.dtype[np.bool_]]", *, iso: bool
) -> pa.Array:
    """The texts of a column in these rows, its dates as a person sees them in the list, or with `iso` as `YYYY-MM-DD`.

    Only a column with dates is looked at cell by cell; of any other nothing is copied.
    """
    cells = filter_rows(rows, table.cells.column(position))
    kinds = table.kinds.get(position)
    if kinds is not None and (kinds == CellKind.DATE).any():
        return cells if iso else _in_one_form(cells, kinds[rows] == CellKind.DATE, table.date_formats.get(position))
    return _typed_dates_as_iso(cells) if iso else cells


def _in_one_form(
    cells: pa.Array | pa.ChunkedArray, are_dates: "np.ndarray[tuple[int], np.dtype[np.bool_]]", code: str | None
) -> pa.Array | pa.ChunkedArray:
    if code is None:
        return cells
    coded = _one_piece(cells).dictionary_encode()
    texts = coded.dictionary.to_pylist()
    shown = [show_day(text, code) for text in texts]
    if any(one is None for one, text in zip(shown, texts, strict=True) if _ISO.match(text)):
        return cells  # one form in a column: all of them stay as they are
    forms = pa.array([one if one is not None else text for one, text in zip(shown, texts, strict=True)], pa.string())
    as_shown, as_they_are = forms.take(coded.indices), coded.dictionary.take(coded.indices)
    return pc.if_else(pa.array(are_dates), as_shown, as_they_are)


_ISO = re.compile(r"\d{4}-\d\d-\d\d(?: \d\d:\d\d)?$")


# --- dates that somebody typed, or a CSV holds ------------------------------------------------------------------

_TYPED = re.compile(r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})")


def _typed_dates_as_iso(cells: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """A column of dates as ISO 8601, where every text in it is one, all of them in one order of day and month for certain."""
    coded = _one_piece(cells).dictionary_encode()
    texts = coded.dictionary.to_pylist()
    filled = [text for text in texts if text.strip()]
    readings = [_TYPED.fullmatch(text.strip()) for text in filled[:_ENOUGH]]
    if not filled or not all(readings):
        return cells
    for orders in (_YEAR_FIRST,), (_MONTH_FIRST, _DAY_FIRST):
        fits = [[_iso(text, order) for text in texts] for order in orders]
        complete = [one for one in fits if all(day is not None for day in one)]
        if len(complete) == 1:
            return pa.array(complete[0], pa.string()).take(coded.indices)
    return cells


_ENOUGH = 1_000
_YEAR_FIRST, _MONTH_FIRST, _DAY_FIRST = (0, 1, 2), (2, 0, 1), (2, 1, 0)
"""Where in what was typed year, month and day stand."""


def _iso(text: str, order: tuple[int, int, int]) -> str | None:
    """The day, "" for a blank text; None where it is none in this order, or has no century."""
    if not text.strip():
        return ""
    found = _TYPED.fullmatch(text.strip())
    if found is None:
        return None
    numbers = (found[1], found[3], found[4])
    year, month, day = (numbers[place] for place in order)
    if len(year) != 4 or len(day) > 2:
        return None
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None


def _one_piece(cells: pa.Array | pa.ChunkedArray) -> pa.Array:
    return combine_chunks(cells) if isinstance(cells, pa.ChunkedArray) else cells
