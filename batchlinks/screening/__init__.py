"""Rows -> IDs to send, refusals with reasons, duplicates. Pure: no file, network, clock or screen.

The rules for one cell stand in `identifier`, for footers in `footer`, for telling people apart in `people`. Here
they are applied to a whole column: Arrow picks out the cells that are plainly IDs, and only the others, usually a
few, are read one by one.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.codes import ErrorCode, WarningCode
from batchlinks.roster.id_column import IdColumn
from batchlinks.roster.table import CellKind, Table
from batchlinks.screening.footer import is_footer_beside, is_report_line, same_header
from batchlinks.screening.identifier import MAX_LENGTH, clean, fold, read_id, with_width
from batchlinks.screening.people import Person, identity_columns, person

# Cells that are IDs beyond doubt, so that nobody needs to look: a property test holds this against `read_id`.
_PLAIN = (
    r"^(?:[A-Za-z]{0,3}[0-9]{3,}(?:-[0-9]+)*[A-Za-z]{0,2}|[A-Za-z]{1,4}[-_][0-9]{5,}"
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$"
)
_PERHAPS_A_DATE = r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}$"
_LOST_ZEROS_SHARE = 0.95
_LOST_ZEROS_FROM = 20
_NEAR_LENGTH_SHARE = 0.8

Mask = npt.NDArray[np.bool_]

_CODES = tuple(ErrorCode)
_NUMBER_OF = {code: number for number, code in enumerate(_CODES, start=1)}


@dataclass(frozen=True, slots=True)
class Rules:
    """What the organisation says of its IDs, and whom it does not want to contact."""

    pattern: re.Pattern[str] | None = None
    width: int | None = None
    any_length: bool = False
    joined_by: str = ""
    excluded: frozenset[str] = frozenset()
    withdrawn: frozenset[str] = frozenset()


@dataclass(slots=True)
class Screened:
    """What screening found, by position in the table (0 for its first row)."""

    ids: pa.Array
    """The cleaned ID of each row; "" where it has none."""

    codes: npt.NDArray[np.int8]
    """0 for a row that may be sent or is a duplicate, else a number for `code_at`."""

    kept: npt.NDArray[np.int32]
    """Position of the row that stands for this row's ID: its own, or for a duplicate an earlier one."""

    gaps: dict[int, dict[str, object]] = field(default_factory=dict)
    """What goes into the gaps of a refused row's sentence, where the sentence has any."""

    warnings: dict[WarningCode, Sequence[int]] = field(default_factory=dict)
    """Row numbers (as a spreadsheet shows them) for each warning."""

    @property
    def sendable(self) -> Mask:
        """One row for each patient for whom a link may be asked."""
        mask: Mask = (self.codes == 0) & (self.kept == np.arange(len(self.kept)))
        return mask

    @property
    def duplicates(self) -> Mask:
        mask: Mask = (self.codes == 0) & (self.kept != np.arange(len(self.kept)))
        return mask

    def positions_of(self, ids: pa.Array) -> npt.NDArray[np.int64]:
        """Where each of these IDs stands first: the row that is kept for it. All of them must be in the roster."""
        positions: npt.NDArray[np.int64] = pc.index_in(ids, value_set=self.ids).to_numpy(zero_copy_only=False)
        return positions.astype(np.int64)

    def code_at(self, position: int) -> ErrorCode | None:
        number = int(self.codes[position])
        return _CODES[number - 1] if number else None

    def refuse(self, position: int, code: ErrorCode, **gaps: object) -> None:
        """Give a row its code; the sentence's gaps go with it."""
        self.codes[position] = _NUMBER_OF[code]
        if gaps:
            self.gaps[position] = gaps

    def counts(self) -> dict[str, int]:
        """How many rows carry each code, in the order of the codes."""
        tally = np.bincount(self.codes, minlength=len(_CODES) + 1)
        return {code.value: int(tally[number]) for code, number in _NUMBER_OF.items() if tally[number]}


def screen(table: Table, column: IdColumn, rules: Rules) -> Screened:
    """Give every row its ID or the first code that fits, find duplicates, and hold back IDs that are in doubt."""
    screened = _read_column(table, column, rules)
    _refuse_misfits(screened, table)
    digits = _Digits.of(screened)
    short, near = digits.out_of_length(any_length=rules.any_length or rules.width is not None)
    for position in short:
        screened.refuse(position, ErrorCode.LOST_ZEROS, found=int(digits.lengths[position]), expected=digits.usual)
    _refuse_listed(screened, rules)
    _hold_back_doubtful(screened, table)
    _warn(screened, WarningCode.NEAR_LENGTH, table, near)
    if table.hidden_rows:
        screened.warnings[WarningCode.HIDDEN_ROWS] = table.hidden_rows
    if table.encoding_guessed:
        screened.warnings[WarningCode.ENCODING_GUESSED] = ()
    return screened


def cleaned_ids(texts: Sequence[str], width: int | None) -> list[str]:
    """IDs of a plain list (an exclude file, standard input), cleaned as a roster's are."""
    return [with_width(clean(text), width) for text in texts]


# --- one cell at a time, but only where it must be -------------------------------------------------------------


def _read_column(table: Table, column: IdColumn, rules: Rules) -> Screened:
    texts, kinds = _joined(table, column, rules.joined_by)
    count = len(texts)
    codes = np.zeros(count, dtype=np.int8)
    suspects = ~_plain(texts) | (kinds > CellKind.NUMBER)
    if rules.pattern is not None or rules.width is not None:
        suspects[:] = True
    sparse = _sparse_rows(table)
    headers = [table.headers[part] for part in column.parts]
    changed: dict[int, str] = {}
    screened = Screened(ids=texts, codes=codes, kept=np.arange(count, dtype=np.int32))
    for position in np.flatnonzero(suspects | sparse).tolist():
        text, kind = texts[position].as_py(), int(kinds[position])
        identifier, code = read_id(text, kind, pattern=rules.pattern, width=rules.width)
        if code is not ErrorCode.BLANK_ID and (
            is_report_line(clean(text))
            or any(same_header(text, header) for header in headers)
            or (sparse[position] and _is_footer_row(table, position))
        ):
            identifier, code = "", ErrorCode.NOT_A_PATIENT
        changed[position] = identifier
        if code is not None:
            screened.refuse(position, code)
    screened.ids = _replaced(texts, changed)
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


def _plain(texts: pa.Array) -> Mask:
    matches = pc.and_(
        pc.match_substring_regex(texts, _PLAIN),
        pc.and_(
            pc.match_substring_regex(texts, "[1-9]"),
            pc.invert(pc.match_substring_regex(texts, _PERHAPS_A_DATE)),
        ),
    )
    matches = pc.and_(matches, pc.less_equal(pc.utf8_length(texts), MAX_LENGTH))
    return _as_numpy(matches)


def _sparse_rows(table: Table) -> Mask:
    """Rows with at most half as many filled cells as the middle row: totals and trailers look like that."""
    filled = np.zeros(len(table), dtype=np.int16)
    for index in range(len(table.headers)):
        filled += _as_numpy(pc.not_equal(table.column(index), ""))
    if not len(filled):
        return filled.astype(bool)
    return filled <= max(1, int(np.median(filled)) // 2) if np.median(filled) > 2 else filled <= 2


def _is_footer_row(table: Table, position: int) -> bool:
    return any(is_footer_beside(table.column(index)[position].as_py()) for index in range(len(table.headers)))


def _replaced(texts: pa.Array, changed: Mapping[int, str]) -> pa.Array:
    if not changed:
        return texts
    mask = np.zeros(len(texts), dtype=bool)
    mask[list(changed)] = True
    values = [changed[position] for position in sorted(changed)]
    return pc.replace_with_mask(texts, pa.array(mask), pa.array(values, pa.string()))


def _refuse_misfits(screened: Screened, table: Table) -> None:
    for position, fields in table.misfits.items():
        screened.refuse(position, ErrorCode.WRONG_FIELD_COUNT, found=len(fields), expected=len(table.headers))


# --- the column as a whole ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Digits:
    """Lengths of the all-digit IDs: what tells that some have lost their zeros."""

    lengths: npt.NDArray[np.int32]
    """Digits of each row's ID; 0 where it is not all digits."""

    usual: int
    share: float
    total: int

    @classmethod
    def of(cls, screened: Screened) -> "_Digits":
        all_digits = _as_numpy(pc.match_substring_regex(screened.ids, "^[0-9]+$")) & (screened.codes == 0)
        lengths = np.where(all_digits, _as_numpy(pc.utf8_length(screened.ids)), 0).astype(np.int32)
        tally = np.bincount(lengths[all_digits], minlength=1)
        total, usual = int(tally.sum()), int(tally.argmax())
        return cls(lengths, usual, float(tally[usual] / total) if total else 0.0, total)

    def out_of_length(self, *, any_length: bool) -> tuple[list[int], list[int]]:
        """Positions of IDs that lost their zeros, and of those whose length is merely odd."""
        odd = np.flatnonzero((self.lengths > 0) & (self.lengths != self.usual))
        if any_length or not len(odd) or self.share < _NEAR_LENGTH_SHARE:
            return [], []
        if self.share < _LOST_ZEROS_SHARE or self.total < _LOST_ZEROS_FROM:
            return [], odd.tolist()
        short = self.lengths[odd] < self.usual
        return odd[short].tolist(), odd[~short].tolist()


def _refuse_listed(screened: Screened, rules: Rules) -> None:
    """Patients on the exclude list or withdrawn. A list that lost zeros or case still holds its people back."""
    for listed, code in ((rules.excluded, ErrorCode.EXCLUDED), (rules.withdrawn, ErrorCode.WITHDRAWN)):
        if not listed:
            continue
        folded = pa.array(sorted({fold(identifier) for identifier in listed}), pa.string())
        hits = _as_numpy(pc.is_in(_folded(screened.ids), value_set=folded))
        hits &= (screened.codes == 0) & _as_numpy(pc.not_equal(screened.ids, ""))
        for position in np.flatnonzero(hits):
            screened.refuse(int(position), code)


def _hold_back_doubtful(screened: Screened, table: Table) -> None:
    """Duplicates, people who share an ID, and IDs that differ only in case or leading zeros.

    Rows already refused take part in the comparison where their cell holds an ID, and keep their own code.
    """
    has_id = _as_numpy(pc.not_equal(screened.ids, ""))
    positions = np.flatnonzero(has_id).astype(np.int32)
    if not len(positions):
        return
    ids = screened.ids.filter(pa.array(has_id))
    groups = _group_numbers(ids)
    families = _group_numbers(_folded(ids))

    first_of_group = pd.Series(positions).groupby(groups).transform("min").to_numpy(dtype=np.int32)
    repeated = first_of_group != positions
    conflicting: dict[int, str] = {}
    if repeated.any():
        conflicting = _find_conflicts(screened, table, positions, groups, repeated)

    # A family of more than one group is a family of IDs that are not the same and yet alike.
    groups_in_family = pd.Series(groups).groupby(families).transform("nunique").to_numpy()
    ambiguous = groups_in_family > 1

    in_conflict = np.isin(groups, np.fromiter(conflicting, dtype=groups.dtype, count=len(conflicting)))
    rows_of = _RowsOf(table.row_numbers[positions])
    for index in np.flatnonzero(in_conflict):
        if screened.codes[positions[index]] == 0:
            group = groups[index]
            screened.refuse(
                int(positions[index]),
                ErrorCode.CONFLICTING_ID,
                rows=rows_of(groups, group),
                difference=conflicting[int(group)],
            )
    for index in np.flatnonzero(ambiguous):
        if screened.codes[positions[index]] == 0:
            screened.refuse(int(positions[index]), ErrorCode.AMBIGUOUS_ID, rows=rows_of(families, families[index]))
    stays = ~in_conflict & ~ambiguous
    screened.kept[positions[stays]] = first_of_group[stays]
    # A later row of an ID that was refused for what it is stays a duplicate, so that each patient is fixed once.
    screened.codes[positions[stays & repeated]] = 0


def _find_conflicts(
    screened: Screened,
    table: Table,
    positions: npt.NDArray[np.int32],
    groups: npt.NDArray[np.int64],
    repeated: Mask,
) -> dict[int, str]:
    """Group number -> what differs, for IDs that stand for more than one person. Warns where nothing can tell."""
    columns = identity_columns(table.headers)
    involved = np.isin(groups, groups[repeated])
    if not columns:
        _warn(screened, WarningCode.NO_IDENTITY_COLUMNS, table, positions[repeated])
        return {}
    taken = pa.array(positions[involved])

    def cells(index: int | None) -> list[str]:
        return [""] * len(taken) if index is None else table.column(index).take(taken).to_pylist()

    people: dict[int, list[Person]] = {}
    conflicting: dict[int, str] = {}
    other_last_name = []
    rows = zip(
        positions[involved].tolist(),
        groups[involved].tolist(),
        cells(columns.birth_date),
        cells(columns.first_name),
        cells(columns.last_name),
        cells(columns.full_name),
        strict=True,
    )
    for position, group, *typed in rows:
        newcomer = person(*typed)
        known = people.setdefault(group, [])
        if newcomer in known:
            continue
        difference = next((found for other in known if (found := newcomer.differs_from(other))), None)
        if difference:
            conflicting.setdefault(group, difference)
        elif known and newcomer.has_other_last_name(known[0]):
            other_last_name.append((position, group))
        known.append(newcomer)
    _warn(
        screened,
        WarningCode.OTHER_LAST_NAME,
        table,
        [position for position, group in other_last_name if group not in conflicting],
    )
    return conflicting


class _RowsOf:
    """Row numbers of a group in words: "3, 17 and 40"; worked out once for each group."""

    def __init__(self, row_numbers: npt.NDArray[np.int32]) -> None:
        self._row_numbers = row_numbers
        self._words: dict[tuple[int, int], str] = {}

    def __call__(self, groups: npt.NDArray[np.int64], group: np.int64) -> str:
        key = (id(groups), int(group))
        if key not in self._words:
            self._words[key] = in_words(self._row_numbers[groups == group].tolist(), most=10)
        return self._words[key]


def in_words(rows: Sequence[int], *, most: int) -> str:
    """Row numbers for a person: "3, 17 and 40", or "3, 17, … (500 in all)" where there are more than `most`."""
    if len(rows) > most:
        return f"{', '.join(map(str, rows[:most]))}, … ({len(rows):,} in all)"
    if len(rows) == 1:
        return str(rows[0])
    return f"{', '.join(map(str, rows[:-1]))} and {rows[-1]}" if rows else ""


def _warn(
    screened: Screened, code: WarningCode, table: Table, positions: Collection[int] | npt.NDArray[np.int32]
) -> None:
    if len(positions):
        screened.warnings[code] = table.row_numbers[np.asarray(positions, dtype=np.int64)].tolist()


def _folded(ids: pa.Array) -> pa.Array:
    """`identifier.fold` for a whole column."""
    return pc.utf8_ltrim(pc.ascii_lower(ids), characters="0")


def _group_numbers(texts: pa.Array) -> npt.NDArray[np.int64]:
    """The same number for the same text."""
    numbers: npt.NDArray[np.int64] = texts.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return numbers.astype(np.int64)


def _as_numpy(array: pa.Array) -> Mask:
    values: Mask = array.to_numpy(zero_copy_only=False)
    return values
