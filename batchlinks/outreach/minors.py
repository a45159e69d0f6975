"""Who is under 18: their letters and messages go to a parent or guardian, or to nobody. Pure."""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from batchlinks.columns.header_words import says_birth_date
from batchlinks.columns.id_column import IdColumn
from batchlinks.patients.people import dates, identity_columns
from batchlinks.table import Table

_OF_AGE = 18


@dataclass(frozen=True, slots=True)
class Ages:
    """What birth dates say of the rows of a table."""

    minors: npt.NDArray[np.bool_]
    """Under 18, or so by one of the ways in which the date can be read."""

    unknown: npt.NDArray[np.bool_]
    """No date, or none that can be read."""

    has_birth_dates: bool


def find_minors(table: Table, column: IdColumn, today: date) -> Ages:
    """Who is under 18 on this day, by the list's own column of birth dates."""
    at = identity_columns(table.headers, column.parts).birth_date
    if at is None:
        at = next((place for place, header in enumerate(table.headers) if says_birth_date(header)), None)
    nobody = np.zeros(len(table), dtype=bool)
    if at is None:
        return Ages(nobody, ~nobody, has_birth_dates=False)
    coded = table.column(at).dictionary_encode()
    read = [_is_minor(text.strip(), today) for text in coded.dictionary.to_pylist()]
    of_row = coded.indices.to_numpy(zero_copy_only=False)
    minor, unknown = np.array([one is True for one in read]), np.array([one is None for one in read])
    if not len(read):
        return Ages(nobody, nobody.copy(), has_birth_dates=True)
    return Ages(minor[of_row], unknown[of_row], has_birth_dates=True)


def _is_minor(text: str, today: date) -> bool | None:
    """Whether somebody born then may be under 18: where day and month, or the century, are not certain, the younger counts."""
    days = {day for readings in dates(text) for day in readings if day <= today}
    return any(_birthday(day) > today for day in days) if days else None


def _birthday(born: date) -> date:
    """The 18th."""
    try:
        return born.replace(year=born.year + _OF_AGE)
    except ValueError:  # 29 February
        return date(born.year + _OF_AGE, 3, 1)
