"""IDs that are in doubt by what other rows say: shared by two people, alike, or several for one person."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from batchlinks.patients.people import dates, first_word, letters, person
from batchlinks.screening.duplicates import READ_ONE_BY_ONE, Numbers, combine_numbers, members_of
from batchlinks.screening.frames import TEXT, series
from batchlinks.screening.result import Mask, Positions, in_words
from batchlinks.screening.rows import Refusals, Rows
from batchlinks.table import Table

_ROWS_NAMED = 10
"""Row numbers that a sentence names at most."""


def find_conflicts(rows: Rows) -> Refusals:
    """All rows of an ID whose rows differ in birth date or first name.

    Rows refused already take part where their cell holds an ID, and keep their code.
    """
    repeats = rows.repeats
    for group, members in members_of(repeats.groups, repeats.shared):
        positions = repeats.positions[members]
        yield positions, {"rows": _named(rows.table, positions), "difference": repeats.conflicts[group]}


def find_ambiguous(rows: Rows) -> Refusals:
    """All rows of IDs that are alike but for case, leading zeros or separators."""
    repeats = rows.repeats
    for _, members in members_of(repeats.families, repeats.alike):
        positions = repeats.positions[members]
        yield positions, {"rows": _named(rows.table, positions)}


def _named(table: Table, positions: Positions) -> str:
    return in_words(table.row_numbers[positions].tolist(), most=_ROWS_NAMED)


def find_same_people(rows: Rows) -> Mask:
    """Rows in which a name and a birth date stand that another row has under another ID."""
    identity, repeats = rows.identity, rows.repeats
    nobody = np.zeros(len(rows), dtype=bool)
    both_names = (identity.first_name, identity.last_name)
    names = both_names if None not in both_names else (identity.full_name,)
    if identity.birth_date is None or None in names:
        return nobody
    readers: list[Callable[[str], str]] = [_day, first_word, letters] if len(names) > 1 else [_day, _both_names]
    who = np.zeros(len(repeats.positions), dtype=np.int64)
    told = np.ones(len(repeats.positions), dtype=bool)
    for index, read in zip((identity.birth_date, *names), readers, strict=True):
        numbers, blank = _as_read(rows.table, int(index or 0), read)
        told &= ~blank[numbers[repeats.positions]]
        who = combine_numbers(who, numbers[repeats.positions])
    people = pd.DataFrame({"who": who, "id": repeats.groups, "position": repeats.positions})[told]
    people = people[people.duplicated("who", keep=False)]
    several = people.groupby("who")["id"].transform("nunique") > 1
    nobody[people["position"][several]] = True
    return nobody


def _as_read(table: Table, index: int, read: Callable[[str], str]) -> tuple[Numbers, Mask]:
    """The same number for names or dates that are read as the same, and which numbers stand for none."""
    numbers, different = pd.factorize(series(table.column(index)))
    texts = (
        different.str.strip().str.lower() if len(different) > READ_ONE_BY_ONE else [read(text) for text in different]
    )
    alike, kinds = pd.factorize(pd.Series(texts, dtype=TEXT))
    return alike[numbers].astype(np.int64), np.array([kind == "" for kind in kinds], dtype=bool)


def _day(text: str) -> str:
    """A birth date as read where the month comes first, or else where the day does; text that is no date as it is."""
    month_first, day_first = dates(text.strip())
    days = [day.isoformat() for day in month_first or day_first]
    return min(days) if days else text.strip().lower() if any(map(str.isdigit, text)) else ""


def _both_names(text: str) -> str:
    """First word of the first name, and last name."""
    someone = person("", "", "", text)
    return f"{someone.first} {someone.last}" if someone.first and someone.last else ""
