"""What screening is told, and what it found for every row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.config.id_pattern import IdPattern
from batchlinks.row_codes import ErrorCode, WarningCode

Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.signedinteger]


_CODES = tuple(ErrorCode)
_NUMBER_OF = {code: number for number, code in enumerate(_CODES, start=1)}


def number_of(code: ErrorCode) -> int:
    """How `Screened.codes` has it."""
    return _NUMBER_OF[code]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the organization says of its IDs, and whom it does not want to contact."""

    pattern: IdPattern | None = None
    width: int | None = None
    any_length: bool = False
    any_shape: bool = False
    exact_ids: bool = False
    joined_by: str = ""
    excluded: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Lengths:
    """How many digits the all-digit IDs of a list have."""

    rows: Mapping[int, int] = field(default_factory=dict)
    """Digits -> rows whose ID has so many, the most frequent first."""

    zeros_were_lost: bool = False
    """Whether short IDs that are numbers in the file stand beside longer ones, typed as text, that begin with a zero."""

    def in_words(self) -> str:
        """For a person: "8 digits: 160 rows, 6 digits: 40 rows; leading zeros were lost"."""
        counts = ", ".join(
            f"{digits} digit{'' if digits == 1 else 's'}: {count:,} row{'' if count == 1 else 's'}"
            for digits, count in self.rows.items()
        )
        return f"{counts}; leading zeros were lost" if self.zeros_were_lost else counts


@dataclass(slots=True)
class Screened:
    """What screening found, by position in the table (0 for its first row)."""

    ids: pa.Array
    """The cleaned ID of each row; "" where it has none."""

    codes: npt.NDArray[np.int8]
    """0 for a row that may be sent or is a duplicate, else a number for `code_at`."""

    kept: npt.NDArray[np.int32]
    """Position of the row that stands for this row's ID: its own, or for a duplicate an earlier one."""

    gaps: dict[int, Mapping[str, object]] = field(default_factory=dict)
    """What goes into the gaps of a refused row's sentence, where the sentence has any."""

    warnings: dict[WarningCode, Sequence[int]] = field(default_factory=dict)
    """Row numbers (as a spreadsheet shows them) for each warning."""

    lengths: Lengths = Lengths()
    """Of the all-digit IDs, as they would be sent; those refused for lost zeros are counted too."""

    excluded: frozenset[str] = frozenset()
    """IDs that are left out on purpose: the exclude list, and who is not to be contacted."""

    @classmethod
    def all_sendable(cls, ids: pa.Array) -> "Screened":
        """With no row refused yet."""
        return cls(ids, np.zeros(len(ids), dtype=np.int8), np.arange(len(ids), dtype=np.int32))

    @property
    def sendable(self) -> Mask:
        """One row for each patient for whom a link may be asked."""
        mask: Mask = (self.codes == 0) & (self.kept == np.arange(len(self.kept)))
        return mask

    @property
    def duplicates(self) -> Mask:
        mask: Mask = (self.codes == 0) & (self.kept != np.arange(len(self.kept)))
        return mask

    @property
    def with_id(self) -> Mask:
        """Rows whose cell holds an ID, whether or not it may be sent."""
        mask: Mask = pc.not_equal(self.ids, "").to_numpy(zero_copy_only=False)
        return mask

    def positions_of(self, ids: pa.Array) -> npt.NDArray[np.int64]:
        """Where each of these IDs stands first: the row that is kept for it. All of them must be in the roster."""
        if not len(ids):
            return np.zeros(0, dtype=np.int64)  # as a rule; a million need not be gone through for that
        positions: npt.NDArray[np.int64] = pc.index_in(ids, value_set=self.ids).to_numpy(zero_copy_only=False)
        return positions.astype(np.int64)

    def code_at(self, position: int) -> ErrorCode | None:
        number = int(self.codes[position])
        return _CODES[number - 1] if number else None

    def refuse(self, positions: int | Positions, code: ErrorCode, **gaps: object) -> None:
        """Give one row or several their code; what goes into the sentence's gaps is the same for all of them."""
        self.codes[positions] = _NUMBER_OF[code]
        if gaps:
            self.gaps.update(dict.fromkeys(np.atleast_1d(positions).tolist(), gaps))

    def counts(self) -> dict[str, int]:
        """How many rows carry each code, in the order of the codes."""
        tally = np.bincount(self.codes, minlength=len(_CODES) + 1)
        return {code.value: int(tally[number]) for code, number in _NUMBER_OF.items() if tally[number]}


def in_words(rows: Sequence[int], *, most: int) -> str:
    """Row numbers for a person: "3, 17 and 40", or "3, 17, … (500 in all)" where there are more than `most`."""
    if len(rows) > most:
        return f"{', '.join(map(str, rows[:most]))}, … ({len(rows):,} in all)"
    if len(rows) == 1:
        return str(rows[0])
    return f"{', '.join(map(str, rows[:-1]))} and {rows[-1]}" if rows else ""
