"""Rows with the same ID, or nearly the same: one patient twice, two people who share an ID, or a slip in one of them."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.columns.id_column import IdColumn
from batchlinks.patients.people import IdentityColumns, Person, identity_columns, person
from batchlinks.row_codes import ErrorCode, WarningCode
from batchlinks.screening.result import Mask, Positions, Screened, in_words
from batchlinks.table import Table

_ROWS_NAMED = 10
"""Row numbers that a sentence names at most."""

Numbers = npt.NDArray[np.int64]


def settle_repeats(screened: Screened, table: Table, column: IdColumn) -> dict[WarningCode, list[int]]:
    """Find duplicates, and hold back IDs that stand for several people or differ only in case or leading zeros.

    Rows already refused take part in the comparison where their cell holds an ID, and keep their own code. Returns the
    row numbers of each warning.
    """
    positions = np.flatnonzero(screened.with_id)
    ids = screened.ids.take(pa.array(positions))
    families = _numbered(folded(ids))
    if families.max(initial=-1) + 1 == len(families):  # then no ID is like another, let alone the same
        return {}
    groups = _numbered(ids)
    firsts = positions[_first_of_each(groups)[groups]]
    repeated = firsts != positions
    warnings: dict[WarningCode, list[int]] = {}
    shared = np.zeros(len(positions), dtype=bool)
    if repeated.any():
        columns = identity_columns(table.headers, besides=column.parts)
        if columns:
            conflicts, other_names = _compare_people(table, columns, positions, firsts, groups)
            if len(other_names):
                warnings[WarningCode.OTHER_LAST_NAME] = table.row_numbers[other_names].tolist()
            shared = np.isin(groups, np.fromiter(conflicts, dtype=np.int64, count=len(conflicts)))
            for group, members in _members(groups, shared):
                rows, open_rows = _rows_and_open(screened, table, positions[members])
                screened.refuse(open_rows, ErrorCode.CONFLICTING_ID, rows=rows, difference=conflicts[group])
        else:
            warnings[WarningCode.NO_IDENTITY_COLUMNS] = table.row_numbers[positions[repeated]].tolist()

    # IDs of one family that are not the same are alike but for case or zeros.
    family_of_group = families[_first_of_each(groups)]
    alike = (np.bincount(family_of_group) > 1)[families] if len(families) else shared
    for _, members in _members(families, alike):
        rows, open_rows = _rows_and_open(screened, table, positions[members])
        screened.refuse(open_rows, ErrorCode.AMBIGUOUS_ID, rows=rows)

    stays = ~shared & ~alike
    screened.kept[positions[stays]] = firsts[stays]
    # A later row of an ID that was refused for what it is stays a duplicate, so that each patient is fixed once.
    screened.codes[positions[stays & repeated]] = 0
    return warnings


def folded(ids: pa.Array) -> pa.Array:
    """`identifier.fold` for a whole column."""
    return pc.utf8_ltrim(pc.ascii_lower(ids), characters="0")


def _rows_and_open(screened: Screened, table: Table, positions: Positions) -> tuple[str, Positions]:
    """The rows in words, and the positions of those among them that have no code yet."""
    rows = in_words(table.row_numbers[positions].tolist(), most=_ROWS_NAMED)
    return rows, positions[screened.codes[positions] == 0]


def _compare_people(
    table: Table, columns: IdentityColumns, positions: Positions, firsts: Positions, groups: Numbers
) -> tuple[dict[int, str], Positions]:
    """Group number -> in what its people differ; and the positions of duplicates with another last name."""
    differing = _differing_rows(table, columns, positions, firsts)
    if not differing.any():
        return {}, positions[:0]
    # A group's other rows say what its first one says.
    looked_at = differing | ((firsts == positions) & np.isin(groups, groups[differing]))
    conflicts: dict[int, str] = {}
    other_names: list[int] = []
    rows = _typed(table, columns, positions, groups, looked_at)
    for group, members in groupby(rows, key=lambda row: row[0]):
        difference, named = _compare((position, person(*cells)) for _, position, cells in members)
        if difference is None:
            other_names += named
        else:
            conflicts[group] = difference
    return conflicts, np.sort(np.array(other_names, dtype=np.int64))


def _differing_rows(table: Table, columns: IdentityColumns, positions: Positions, firsts: Positions) -> Mask:
    """Rows in which name or birth date are not, to the letter, those of their group's first row."""
    differing = np.zeros(len(positions), dtype=bool)
    for index in columns.positions:
        numbers = _numbered(table.column(index))
        differing |= numbers[positions] != numbers[firsts]
    return differing


def _typed(
    table: Table, columns: IdentityColumns, positions: Positions, groups: Numbers, wanted: Mask
) -> Iterator[tuple[int, int, tuple[str, str, str, str]]]:
    """Group, position and what `person` takes, of the wanted rows: group by group, in each of them in roster order."""
    places = np.flatnonzero(wanted)
    places = places[np.argsort(groups[places], kind="stable")]
    for start in range(0, len(places), 16_384):
        these = places[start : start + 16_384]
        taken = pa.array(positions[these])

        def cells(index: int | None, taken: pa.Array = taken) -> Sequence[str]:
            return [""] * len(taken) if index is None else table.column(index).take(taken).to_pylist()

        typed = zip(
            cells(columns.birth_date), cells(columns.first_name), cells(columns.last_name), cells(columns.full_name),
            strict=True,
        )  # fmt: skip
        yield from zip(groups[these].tolist(), positions[these].tolist(), typed, strict=True)


def _compare(members: Iterator[tuple[int, Person]]) -> tuple[str | None, list[int]]:
    """In what the rows of one ID differ, None if they may be one person's; and the rows with another last name."""
    _, first = next(members)
    told = [first]  # stays short: what does not differ is said in few ways
    other_names = []
    for position, someone in members:
        if not any(someone.says_the_same_as(other) for other in told):
            difference = next((found for other in told if (found := someone.differs_from(other))), None)
            if difference is not None:
                return difference, []
            told.append(someone)
        if someone.has_other_last_name(first):
            other_names.append(position)
    return None, other_names


# --- grouping -------------------------------------------------------------------------------------------------------


def _numbered(texts: pa.Array) -> Numbers:
    """The same number for the same text, from 0 on."""
    numbers: Numbers = texts.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def _first_of_each(groups: Numbers) -> Numbers:
    """Where each group stands first."""
    first = np.zeros(int(groups.max()) + 1 if len(groups) else 0, dtype=np.int64)
    first[groups[::-1]] = np.arange(len(groups))[::-1]
    return first


def _members(groups: Numbers, wanted: Mask) -> Iterator[tuple[int, Numbers]]:
    """Each wanted group with the places of its members."""
    places = np.flatnonzero(wanted)
    if not len(places):
        return
    places = places[np.argsort(groups[places], kind="stable")]
    of_places = groups[places]
    for members in np.split(places, np.flatnonzero(np.diff(of_places)) + 1):
        yield int(groups[members[0]]), members
