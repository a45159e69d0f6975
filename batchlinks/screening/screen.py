"""Rows -> IDs to send, refusals with reasons, duplicates. Pure: no file, network, clock or screen.

The rules for one cell stand in `identifier`, those for footers in `footer`, for telling people apart in `people`.
`column` applies them to a whole column, `repeats` compares its rows with each other.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.columns.id_column import IdColumn
from batchlinks.patients.identifier import fold
from batchlinks.row_codes import ErrorCode, WarningCode
from batchlinks.screening.cells import read_column
from batchlinks.screening.duplicates import folded, settle_repeats
from batchlinks.screening.result import Mask, Positions, Rules, Screened, in_words
from batchlinks.table import Table

__all__ = ["Rules", "Screened", "in_words", "screen"]

_LOST_ZEROS_SHARE = 0.95
_LOST_ZEROS_FROM = 20
_NEAR_LENGTH_SHARE = 0.8


def screen(table: Table, column: IdColumn, rules: Rules) -> Screened:
    """Give every row its ID or the first code that fits, find duplicates, and hold back IDs that are in doubt."""
    screened = read_column(table, column, rules)
    near = _refuse_lost_zeros(screened, rules)
    _refuse_as_before(screened, table, rules)
    _refuse_listed(screened, rules)
    screened.warnings |= settle_repeats(screened, table, column)
    if len(near):
        screened.warnings[WarningCode.NEAR_LENGTH] = table.row_numbers[near].tolist()
    if table.hidden_rows:
        screened.warnings[WarningCode.HIDDEN_ROWS] = table.hidden_rows
    if table.encoding_guessed:
        screened.warnings[WarningCode.ENCODING_GUESSED] = ()
    return screened


def _refuse_lost_zeros(screened: Screened, rules: Rules) -> Positions:
    """Refuse the all-digit IDs that have lost zeros. Returns the positions of those whose length is merely odd."""
    digits = _Digits.of(screened)
    short, near = digits.out_of_length()
    if rules.any_length or rules.width is not None:
        return near[:0]
    for length in np.unique(digits.lengths[short]).tolist():
        these = short[digits.lengths[short] == length]
        screened.refuse(these, ErrorCode.LOST_ZEROS, found=length, expected=digits.usual)
    return near


def _refuse_as_before(screened: Screened, table: Table, rules: Rules) -> None:
    """Rows of an error report that nobody has fixed: its few rows do not show any more that zeros are lost, and an exclude
    list that is not named again must not let its people through."""
    for position, (code, numbers) in table.refused_before.items():
        identifier = screened.ids[position].as_py()
        as_short_as_before = identifier.isdigit() and len(identifier) == numbers.get("found")
        lengths_matter = not rules.any_length and rules.width is None
        if screened.codes[position] == 0 and (
            (code is ErrorCode.LOST_ZEROS and as_short_as_before and lengths_matter)
            or (code is ErrorCode.EXCLUDED and not rules.excluded)
        ):
            screened.refuse(position, code, **numbers)


@dataclass(frozen=True, slots=True)
class _Digits:
    """Lengths of the all-digit IDs: what tells that some have lost their zeros."""

    lengths: npt.NDArray[np.int32]
    """Digits of each row's ID; 0 where it is not all digits."""

    usual: int
    share: float
    """Of the usual length among them all."""

    total: int

    @classmethod
    def of(cls, screened: Screened) -> "_Digits":
        all_digits: Mask = pc.match_substring_regex(screened.ids, "^[0-9]+$").to_numpy(zero_copy_only=False)
        all_digits &= screened.codes == 0
        lengths = np.where(all_digits, pc.binary_length(screened.ids).to_numpy(), 0).astype(np.int32)
        tally = np.bincount(lengths[all_digits], minlength=1)
        total, usual = int(tally.sum()), int(tally.argmax())
        return cls(lengths, usual, float(tally[usual] / total) if total else 0.0, total)

    def out_of_length(self) -> tuple[Positions, Positions]:
        """Positions of IDs that lost their zeros, and of those whose length is merely odd."""
        odd = np.flatnonzero((self.lengths > 0) & (self.lengths != self.usual))
        nothing = odd[:0]
        if self.share < _NEAR_LENGTH_SHARE:
            return nothing, nothing
        if self.share < _LOST_ZEROS_SHARE or self.total < _LOST_ZEROS_FROM:
            return nothing, odd
        short = self.lengths[odd] < self.usual
        return odd[short], odd[~short]


def _refuse_listed(screened: Screened, rules: Rules) -> None:
    """Patients on the exclude list or withdrawn. A list that lost zeros or case still holds its people back."""
    for listed, code in ((rules.excluded, ErrorCode.EXCLUDED), (rules.withdrawn, ErrorCode.WITHDRAWN)):
        if listed:
            alike = pa.array({fold(identifier) for identifier in listed}, pa.string())
            hits: Mask = pc.is_in(folded(screened.ids), value_set=alike).to_numpy(zero_copy_only=False)
            screened.refuse(np.flatnonzero(hits & screened.with_id & (screened.codes == 0)), code)
