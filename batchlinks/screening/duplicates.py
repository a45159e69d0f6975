"""Rows with the same ID, or nearly the same: one patient twice, two people who share an ID, or a slip in one of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from batchlinks.patients.identifier import SEPARATORS
from batchlinks.patients.people import Difference, IdentityColumns, Person, person
from batchlinks.screening.frames import series, true
from batchlinks.screening.result import Mask, Positions
from batchlinks.table import Table

Numbers = npt.NDArray[np.int64]

READ_ONE_BY_ONE = 8_000
"""Different names or birth dates that are read, at most; of more, only those written alike are taken for the same."""

_SEPARATORS = f"[{SEPARATORS}]"


# --- the rules ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Repeats:
    """The rows with an ID, by ID and by family: IDs that are alike but for case, leading zeros or separators."""

    positions: Positions
    """Of the rows with an ID; what follows has a value for each of these."""

    groups: Numbers
    """The same number for the same ID."""

    families: Numbers
    """The same number for IDs that are alike."""

    firsts: Positions
    """Position of the row in which the ID stands first."""

    alike: Mask
    """Rows of a family in which there are several IDs."""

    shared: Mask
    """Rows of an ID that stands for several people."""

    conflicts: dict[int, Difference]
    """Number of such an ID -> in what its people differ."""

    other_last_names: Positions
    """Positions of duplicates with another last name than the row that is kept."""

    @property
    def repeated(self) -> Mask:
        """Rows of an ID that stood in an earlier row."""
        later: Mask = self.firsts != self.positions
        return later

    @property
    def settled(self) -> Mask:
        """Rows of an ID that is not in doubt."""
        return ~self.shared & ~self.alike


def find_repeats(ids: "pd.Series[str]", table: Table, identity: IdentityColumns, *, exact: bool) -> Repeats:
    """Compare the IDs ("" where a row has none), and who the rows of one ID speak of.

    With `exact`, IDs that are not the same to the letter are different people's.
    """
    positions = np.flatnonzero(true(ids != ""))
    with_id = ids.iloc[positions]
    families = _numbered(folded(with_id))
    if exact or families.max(initial=-1) + 1 < len(families):
        groups = _numbered(with_id)
        families = groups if exact else _families(with_id, groups, families)
    else:  # no ID is like another, let alone the same
        groups = families
    firsts = positions[_first_of_each(groups)[groups]]
    family_of_group = families[_first_of_each(groups)]
    alike = (np.bincount(family_of_group) > 1)[families] if len(families) else np.zeros(0, dtype=bool)
    conflicts, other_last_names = _compare_people(table, identity, positions, firsts, groups)
    shared = np.isin(groups, list(conflicts)) if conflicts else np.zeros(len(groups), dtype=bool)
    return Repeats(positions, groups, families, firsts, alike, shared, conflicts, other_last_names)


def folded(ids: "pd.Series[str]") -> "pd.Series[str]":
    """IDs without what may be spelled in several ways: case, leading zeros and separators."""
    if true(ids.str.contains("[^0-9]")).any():
        lower = ids.str.lower()
        separated = true(lower.str.contains(_SEPARATORS))
        if separated.any():
            lower[separated] = lower[separated].str.replace(_SEPARATORS, "", regex=True)
        ids = lower
    return ids.str.lstrip("0")


def _families(ids: "pd.Series[str]", groups: Numbers, families: Numbers) -> Numbers:
    """Of IDs whose `folded` form has these numbers: one number for those that are alike.

    A spelling without separators is like all others; of those with separators only the ones whose parts have the same lengths
    are alike: `1-23` and `12-3` are two people, unless there is a `123` that could be either.
    """
    several = np.bincount(families[_first_of_each(groups)]) > 1
    in_doubt = np.flatnonzero(several[families])
    if not len(in_doubt):
        return families
    doubtful = pd.DataFrame({"family": families[in_doubt], "id": ids.iloc[in_doubt].array})
    form = doubtful["id"].str.lstrip("0").str.replace(_SEPARATORS, "-", regex=True).str.replace("[^-]", "9", regex=True)
    whole = doubtful["family"].isin(doubtful["family"][~true(form.str.contains("-"))])
    forms = pd.DataFrame({"family": doubtful["family"], "form": form.mask(whole, "")})
    families = families.copy()
    families[in_doubt] = families.max() + 1 + forms.groupby(["family", "form"]).ngroup().to_numpy()
    return _numbered(pd.Series(families))


# --- who they speak of --------------------------------------------------------------------------------------------


def _compare_people(
    table: Table, columns: IdentityColumns, positions: Positions, firsts: Positions, groups: Numbers
) -> tuple[dict[int, Difference], Positions]:
    """Group number -> in what its people differ; and the positions of duplicates with another last name."""
    if not columns or not (firsts != positions).any():
        return {}, positions[:0]
    differing = _differing_rows(table, columns, positions, firsts)
    if not differing.any():
        return {}, positions[:0]
    # A group's other rows say what its first one says.
    looked_at = differing | ((firsts == positions) & np.isin(groups, groups[differing]))
    conflicts: dict[int, Difference] = {}
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
        numbers = _numbered(series(table.column(index)))
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


def _compare(members: Iterator[tuple[int, Person]]) -> tuple[Difference | None, list[int]]:
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


def _numbered(texts: "pd.Series[Any]") -> Numbers:
    """The same number for the same value, from 0 on."""
    return pd.factorize(texts)[0].astype(np.int64)


def combine_numbers(one: Numbers, other: Numbers) -> Numbers:
    """The same number for the same pair of numbers."""
    ways = int(other.max(initial=0)) + 1
    if (int(one.max(initial=0)) + 1) * ways >= 2**62:
        one = _numbered(pd.Series(one))
    return one * ways + other


def _first_of_each(groups: Numbers) -> Numbers:
    """Where each group stands first."""
    first = np.zeros(int(groups.max()) + 1 if len(groups) else 0, dtype=np.int64)
    first[groups[::-1]] = np.arange(len(groups))[::-1]
    return first


def members_of(groups: Numbers, wanted: Mask) -> Iterator[tuple[int, Numbers]]:
    """Each wanted group with the places of its members."""
    places = np.flatnonzero(wanted)
    if not len(places):
        return
    places = places[np.argsort(groups[places], kind="stable")]
    of_places = groups[places]
    for members in np.split(places, np.flatnonzero(np.diff(of_places)) + 1):
        yield int(groups[members[0]]), members
