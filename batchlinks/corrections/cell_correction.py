"""One corrected cell, whoever typed it and wherever: in an error report, on the upload page, in the annotated workbook."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.arrow import combine_chunks
from batchlinks.columns.id_column import display_names
from batchlinks.errors import RosterError
from batchlinks.table import CellKind, Table


@dataclass(frozen=True, slots=True)
class CellCorrection:
    """A row, a column, what was, what is, by whom."""

    row: int
    """As a spreadsheet numbers it. A number beyond the list's last row is a row that was added."""

    column: str
    """As results name it: `MRN`, `Phone (2)`, `Column H`."""

    was: str
    now: str
    by: str
    """A user's name."""

    kind: CellKind = CellKind.TEXT
    """What stands in the cell now: a spreadsheet may make a number or a date of what somebody typed."""

    def as_json(self) -> dict[str, Any]:
        """For a file or another process; `from_json` reads it."""
        return {**asdict(self), "kind": int(self.kind)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """What `as_json` wrote."""
        return cls(**{**told, "kind": CellKind(told.get("kind", 0))})


def apply_corrections(table: Table, corrections: Iterable[CellCorrection]) -> Table:
    """The list with these cells changed, the later of two for one cell; everything else is as it was read.

    `Table.typed` says which cells were typed. A CSV row with too many or too few fields takes its place among the others
    once a cell of it is filled. Raises RosterError for a row or a column that the list does not have.
    """
    corrections = list(corrections)
    if not corrections:
        return table
    table = _with_added_rows(table, corrections)
    names = display_names(table.headers)
    positions = _positions_of(table, {each.row for each in corrections})
    by_column: defaultdict[int, dict[int, CellCorrection]] = defaultdict(dict)
    for each in corrections:
        if each.column not in names:
            raise RosterError(f"The corrections name a column that {table.name} doesn't have.")
        if each.row not in positions:
            raise RosterError(f"The corrections name row {each.row}, where {table.name} has no patient.")
        by_column[names.index(each.column)][positions[each.row]] = each
    cells, kinds, typed = table.cells, dict(table.kinds), dict(table.typed)
    for column, found in by_column.items():
        at = np.array(sorted(found), dtype=np.intp)
        mask = np.zeros(len(table), dtype=bool)
        mask[at] = True
        texts = pa.array([found[position].now for position in at.tolist()], pa.string())
        replaced = pc.replace_with_mask(combine_chunks(cells.column(column)), pa.array(mask), texts)
        cells = cells.set_column(column, str(column), replaced)
        kinds[column] = kinds.get(column, np.zeros(len(table), dtype=np.int8)).copy()
        kinds[column][at] = [int(found[position].kind) for position in at.tolist()]
        typed[column] = typed.get(column, np.zeros(len(table), dtype=bool)) | mask
    placed = {position for found in by_column.values() for position, each in found.items() if each.now}
    return replace(
        table,
        cells=cells,
        kinds=kinds,
        typed=typed,
        ragged_fields={at: fields for at, fields in table.ragged_fields.items() if at not in placed},
    )


def with_former_texts(table: Table, corrections: Iterable[CellCorrection]) -> list[CellCorrection]:
    """The same corrections with what each cell held before, from the list; those that change nothing are left out."""
    names = display_names(table.headers)
    corrections = list(corrections)
    positions = _positions_of(table, {each.row for each in corrections})
    found = []
    for each in corrections:
        was = ""
        if each.column in names and each.row in positions:
            was = table.cells.column(names.index(each.column))[positions[each.row]].as_py()
        if was != each.now:
            found.append(replace(each, was=was))
    return found


def _positions_of(table: Table, rows: set[int]) -> dict[int, int]:
    """Row number -> position of the first row that has it."""
    found = np.flatnonzero(np.isin(table.row_numbers, np.array(sorted(rows), dtype=np.int64)))
    return {int(table.row_numbers[position]): int(position) for position in found[::-1]}


def _with_added_rows(table: Table, corrections: Sequence[CellCorrection]) -> Table:
    """With a blank row at the end for each row number beyond the last."""
    last = int(table.row_numbers.max()) if len(table) else table.header_row
    added = sorted({each.row for each in corrections if each.row > last})
    if not added:
        return table
    blank = pa.array([""] * len(added), pa.string())
    names = table.cells.column_names
    more = pa.table([blank] * len(names), names=names)
    return replace(
        table,
        cells=pa.concat_tables([table.cells, more]),
        row_numbers=np.concatenate([table.row_numbers, np.array(added, dtype=np.int32)]),
        kinds={column: _longer(kinds, len(added)) for column, kinds in table.kinds.items()},
        typed={column: _longer(mask, len(added)) for column, mask in table.typed.items()},
    )


def _longer(values: npt.NDArray[Any], more: int) -> npt.NDArray[Any]:
    return np.concatenate([values, np.zeros(more, dtype=values.dtype)])
