"""The rows of a list as screening looks at them: their IDs, whom they name, how full they are. The rules are elsewhere."""

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.columns.id_column import IdColumn
from batchlinks.patients.identifier import clean
from batchlinks.patients.people import IdentityColumns, identity_columns
from batchlinks.row_codes import ErrorCode
from batchlinks.screening.cells import CellVerdicts, read_cells
from batchlinks.screening.duplicates import Repeats, find_repeats
from batchlinks.screening.footers import FOOTER_WORDS, header_key, is_total_label
from batchlinks.screening.frames import series, true
from batchlinks.screening.id_shapes import Shapes, shapes_of
from batchlinks.screening.result import Mask, Positions, Rules, number_of
from batchlinks.table import CellKind, Table

Refusals = Iterator[tuple[Mask | Positions, Mapping[str, object]]]
"""What a rule finds: rows to be refused, and what goes into the gaps of their sentence."""


class Rows:
    """A table, its ID column, the rules that hold for its IDs, and what became of each row so far.

    `ids` are the cleaned IDs ("" where there is none), `kinds` the `CellKind`s of their cells, `codes`, `kept` and `gaps` as
    `Screened` has them.
    """

    def __init__(self, table: Table, column: IdColumn, rules: Rules) -> None:
        texts, self.kinds = _joined(table, column, rules.joined_by)
        headers = {rules.joined_by.join(table.headers[part] for part in column.parts)}
        headers |= {table.headers[part] for part in column.parts}
        again = {header_key(header) for header in headers} - {""}
        self.table, self.column, self.rules = table, column, rules
        self.cells: CellVerdicts = read_cells(series(texts), self.kinds, again, rules)
        self.ids = self.cells.ids
        self.codes = np.zeros(len(table), dtype=np.int8)
        self.kept = np.arange(len(table), dtype=np.int32)
        self.gaps: dict[int, Mapping[str, object]] = {}

    def __len__(self) -> int:
        return len(self.codes)

    def refuse(self, found: Mask | Positions, code: ErrorCode, gaps: Mapping[str, object]) -> None:
        """Give these rows their code, those that have none yet. What is not this table's patients' has no ID."""
        positions = np.flatnonzero(found) if found.dtype == bool else found
        positions = positions[self.codes[positions] == 0]
        self.codes[positions] = number_of(code)
        if gaps:
            self.gaps.update(dict.fromkeys(positions.tolist(), gaps))
        if code in (ErrorCode.NOT_A_PATIENT, ErrorCode.OTHER_TABLE) and len(positions):
            self.ids = self.ids.copy()
            self.ids.iloc[positions] = ""

    @property
    def open(self) -> Mask:
        """Rows that no rule has refused so far."""
        mask: Mask = self.codes == 0
        return mask

    @property
    def patients(self) -> Mask:
        """Rows that are not found to be something else than a patient's."""
        mask: Mask = ~np.isin(self.codes, [number_of(ErrorCode.NOT_A_PATIENT), number_of(ErrorCode.OTHER_TABLE)])
        return mask

    @property
    def with_id(self) -> Mask:
        """Rows whose cell holds an ID, whether or not it may be sent."""
        return true(self.ids != "")

    def mask(self, positions: Collection[int] | Positions) -> Mask:
        """The rows at these positions."""
        found = np.zeros(len(self), dtype=bool)
        found[np.asarray(positions, dtype=np.int64)] = True
        return found

    @cached_property
    def readable(self) -> Mask:
        """Rows of this table whose cell, for itself, is an ID."""
        mask: Mask = (self.cells.codes == 0) & true(self.cells.ids != "") & ~self.mask(self.table.other_table)
        return mask

    @cached_property
    def identity(self) -> IdentityColumns:
        """The columns that tell who a patient is."""
        return identity_columns(self.table.headers, besides=self.column.parts)

    @cached_property
    def repeats(self) -> Repeats:
        """Which rows have one ID, or IDs that are alike."""
        return find_repeats(self.ids, self.table, self.identity, exact=self.rules.exact_ids)

    @cached_property
    def shapes(self) -> Shapes:
        """How the readable IDs are made."""
        return shapes_of(self.cells.ids, self.readable)

    # --- how full they are ---------------------------------------------------------------------------------------

    @cached_property
    def filled(self) -> npt.NDArray[np.int16]:
        """How many cells of each row hold something."""
        filled = np.zeros(len(self), dtype=np.int16)
        for index in range(len(self.table.headers)):
            filled += pc.not_equal(self.table.cells.column(index), "").to_numpy(zero_copy_only=False)
        return filled

    @cached_property
    def usually_filled(self) -> int:
        """How many cells an ordinary row fills: three quarters of them fill as many or fewer.

        Of a list in which each patient takes two lines, the full ones count.
        """
        return int(np.percentile(self.filled, 75, method="lower")) if len(self) else 0

    @cached_property
    def sparse(self) -> Mask:
        """Rows with at most half of the usual cells filled."""
        return 2 * self.filled <= self.usually_filled

    @cached_property
    def few(self) -> Mask:
        """Rows with few cells filled: half of the usual ones, or two."""
        return self.filled <= (self.usually_filled // 2 if self.usually_filled > 3 else 2)

    # --- whom they name ------------------------------------------------------------------------------------------

    @cached_property
    def birth_date(self) -> Mask:
        """Rows that give a birth date; where the others are dates, a ZIP in that column is none."""
        given = self._cells_with(self.identity.birth_date, "[0-9]")
        dates = given & self._cells_with(self.identity.birth_date, _LIKE_A_DATE)
        return dates if 2 * dates.sum() >= given.sum() else given

    @cached_property
    def first_name(self) -> Mask:
        """Rows that give a first name, alone or in a full one.

        A label is none, and text with digits (an address) neither where the other rows have names without.
        """
        first = self._cells_with(self.identity.first_name, _LETTER)
        full = self._cells_with(self.identity.full_name, _LETTER)
        digits = self._cells_with(self.identity.full_name, "[0-9]")
        if 2 * (full & digits).sum() <= full.sum():
            full &= ~digits
        return first | full

    @cached_property
    def last_name(self) -> Mask:
        """Rows that give a last name, alone or in a full one."""
        return self._cells_with(self.identity.last_name, _LETTER) | (
            self.first_name & self._cells_with(self.identity.full_name, f"{_LETTER}.*[ ,].*{_LETTER}")
        )

    @cached_property
    def names_somebody(self) -> Mask:
        """Rows that give a first name or a birth date."""
        return self.birth_date | self.first_name

    @cached_property
    def a_person(self) -> Mask:
        """Rows that name somebody for certain, so that they are a patient's whatever their ID cell says."""
        return self.birth_date | (self.first_name & self.last_name)

    def _cells_with(self, index: int | None, pattern: str) -> Mask:
        if index is None:
            return np.zeros(len(self), dtype=bool)
        cells = series(self.table.column(index))
        found = true(cells.str.contains(pattern))
        suspects = found & (self.sparse | self.cells.report_lines)
        suspects[suspects] = true(cells[suspects].str.contains(FOOTER_WORDS))
        for position, text in zip(np.flatnonzero(suspects).tolist(), cells[suspects], strict=True):
            found[position] = not is_total_label(text)
        again = np.flatnonzero(found & self.cells.headers)  # the header's other cells are nobody's name
        for position, text in zip(again.tolist(), cells.iloc[again], strict=True):
            found[position] = header_key(text) != header_key(self.table.headers[index])
        return found

    # --- numbers of their own ------------------------------------------------------------------------------------

    @cached_property
    def aggregates(self) -> Mask:
        """Rows whose ID cell counts or adds up other cells, unless a good part of the list is made so."""
        found: Mask = self.kinds == CellKind.AGGREGATE
        return found if 4 * found.sum() < len(self) else np.zeros(len(self), dtype=bool)

    @cached_property
    def declared_totals(self) -> Mask:
        """Total rows of an Excel table."""
        return self.mask(self.table.total_rows)


_LIKE_A_DATE = (
    r"[0-9][-/. ]+[0-9A-Za-z]+[-/., ]+[0-9]|[A-Za-z]{3}[a-z.]* *[0-9]{1,2}, *[0-9]|^ *[0-9]{8}(?:[0-9]{6})? *$"
)
_LETTER = r"(?:[A-Za-z]|[^\x00-\x7F])"


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
