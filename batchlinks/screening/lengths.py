"""How long all-digit IDs are: what tells that some have lost their leading zeros, as numbers do in Excel."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from batchlinks.row_codes import WarningCode
from batchlinks.screening.frames import true
from batchlinks.screening.result import Lengths, Mask
from batchlinks.screening.rows import Refusals, Rows
from batchlinks.table import CellKind

_LOST_ZEROS_SHARE = 0.95
_NEAR_LENGTH_SHARE = 0.8
_COMPARED_FROM = 20


def find_longer_than_width(rows: Rows) -> Refusals:
    """All-digit IDs with more digits than all were said to have."""
    if rows.rules.width is not None:
        yield rows.mask(digits_of(rows).loc[lambda digits: digits > rows.rules.width].index), {}


def find_lost_zeros(rows: Rows) -> Refusals:
    """IDs that are shorter than almost all others."""
    if not _lengths_matter(rows):
        return
    digits = digits_of(rows)
    usual = usual_length(_tally(digits))
    if usual is not None:
        yield from _shorter(digits, usual)


def usual_length(rows_of: Mapping[int, int]) -> int | None:
    """The number of digits that nearly all IDs have, so that a shorter one has lost zeros; None where none is so sure.

    `rows_of`: digits -> rows whose ID has so many.
    """
    usual, count = max(rows_of.items(), key=lambda each: each[1], default=(0, 0))
    total = sum(rows_of.values())
    return usual if total >= _COMPARED_FROM and count >= _LOST_ZEROS_SHARE * total else None


def _shorter(digits: "pd.Series[int]", usual: int) -> Refusals:
    short = digits[digits < usual]
    for length, these in short.groupby(short):
        yield these.index.to_numpy(), {"found": length, "expected": usual}


def digits_of(rows: Rows) -> "pd.Series[int]":
    """Row -> how many digits its ID has, of the all-digit IDs but those of rows that are no patients."""
    shapes = rows.shapes
    all_digits = np.flatnonzero(shapes.rows_of(shapes.all_digits) & rows.patients)
    return pd.Series(shapes.lengths[shapes.of_row[all_digits]], index=all_digits)


def _tally(lengths: "pd.Series[int]") -> dict[int, int]:
    tally = lengths.value_counts()
    return dict(zip(tally.index.tolist(), tally.tolist(), strict=True))


def _lengths_matter(rows: Rows) -> bool:
    return not rows.rules.any_length and rows.rules.width is None


def warn_of_lengths(rows: Rows) -> tuple[Lengths, dict[WarningCode, Mask]]:
    """How many IDs have how many digits, and the rows that have another number than most and are not refused."""
    lengths = digits_of(rows)
    found = Lengths(_tally(lengths), _zeros_were_lost(rows, lengths))
    if len(found.rows) < 2 or not _lengths_matter(rows):
        return found, {}
    usual = next(iter(found.rows))
    odd = np.zeros(len(rows), dtype=bool)
    odd[lengths.index[lengths != usual]] = True
    odd &= rows.open
    share = found.rows[usual] / len(lengths)
    warnings = {WarningCode.NEAR_LENGTH: odd} if share >= _NEAR_LENGTH_SHARE else {}
    if share < _NEAR_LENGTH_SHARE or (len(lengths) >= _COMPARED_FROM and share < _LOST_ZEROS_SHARE):
        warnings[WarningCode.MIXED_LENGTHS] = odd
    return found, warnings


def _zeros_were_lost(rows: Rows, lengths: "pd.Series[int]") -> bool:
    """Whether IDs that are numbers in the file are shorter than one that is text and begins with a zero."""
    numbers = true(pd.Series(rows.kinds[lengths.index] == CellKind.NUMBER))
    zero = ~numbers & true(rows.ids.iloc[lengths.index].str.startswith("0"))
    return bool(numbers.any() and zero.any() and lengths[numbers].min() < lengths[zero].max())
