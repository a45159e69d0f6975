"""Who an ID stands for, as tags: short keyed hashes that tell whether two rows may speak of one person, and not of whom.

A first name has a tag for each beginning of its first word, so that an initial and a short form (`Rob`, `Robert`) are
known for what they are, and one for all of it. A birth date has tags of its year, and of its month and day, in each
reading.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.ledger.key import LedgerKey
from batchlinks.patients.people import Difference, IdentityColumns, dates, first_word
from batchlinks.table import Table

_LONGEST_BEGINNING = 10
"""Letters up to which each beginning of a name has a tag."""

_LONE_YEAR = re.compile(r"\D*((?:18|19|20)\d\d)\D*", re.ASCII)
_FIRST_WORD = r"(?s)^[\s.,\-]*([^\s.,\-]+).*$"


class Tags(NamedTuple):
    """Of one person, in hexadecimal digits; "" where nothing is known."""

    first_name: str = ""
    """`aabbcc/www`: two digits for each beginning, the shortest first, and three for the whole word."""

    birth_date: str = ""
    """`yyy…/mmdd…`: three digits for each year, and four for each month and day, that may be meant."""


class PersonTagger:
    """Makes the tags of names and birth dates, with a ledger's key."""

    def __init__(self, key: LedgerKey) -> None:
        self._tag = lru_cache(maxsize=65536)(key.tag)

    def of_rows(self, table: Table, identity: IdentityColumns) -> tuple[pa.DictionaryArray, pa.DictionaryArray]:
        """The tags of first names and of birth dates in each row of the table."""
        name_at = identity.full_name if identity.first_name is None else identity.first_name
        names = births = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(table), np.int32)), [""])
        if name_at is not None:
            names = self._of_names(table.column(name_at), full=identity.first_name is None)
        if identity.birth_date is not None:
            births = _each_once(table.column(identity.birth_date), self.of_birth_date)
        return names, births

    def of_first_name(self, text: str) -> str:
        """As in `Tags`, of a first name as typed."""
        word = first_word(text)
        if not word:
            return ""
        lengths = range(1, min(len(word), _LONGEST_BEGINNING) + 1)
        beginnings = "".join(f"{self._tag('beginning', word[:length], 8):02x}" for length in lengths)
        return f"{beginnings}/{self._tag('word', word, 12):03x}"

    def of_birth_date(self, text: str) -> str:
        """As in `Tags`, of a birth date as typed: all of its readings, since another list may be of another country."""
        found = sorted({day.isoformat() for days in dates(text.strip()) for day in days})
        lone_year = None if found else _LONE_YEAR.fullmatch(text)
        years = [lone_year[1]] if lone_year else [day[:4] for day in found]
        if not years:
            return ""
        by_year = {f"{self._tag('year', year, 12):03x}" for year in years}
        by_day = {f"{self._tag('month', day[5:7], 8):02x}{self._tag('day', day[8:], 8):02x}" for day in found}
        return f"{''.join(sorted(by_year))}/{''.join(sorted(by_day))}"

    def _of_names(self, cells: pa.Array, *, full: bool) -> pa.DictionaryArray:
        """Of first names, or of full ones (`Berg, Hugo`, `Hugo Berg`): a million of these have few different first words."""
        given = pc.replace_substring_regex(cells, r"(?s)^[^,]*,", "") if full else cells
        tags = _each_once(pc.replace_substring_regex(given, _FIRST_WORD, r"\1"), self.of_first_name)
        untold = pc.equal(tags, "")  # where there is something all the same: a title, behind which the name may stand
        if not pc.any(untold).as_py():
            return tags
        others = _each_once(given.filter(untold), self.of_first_name)
        return pc.replace_with_mask(tags.cast(pa.string()), untold, others.cast(pa.string())).dictionary_encode()


def find_difference(before: Tags, now: Tags) -> Difference | None:
    """In what the two are certainly not one person, or not the same any more; a blank never differs.

    An initial, or another beginning of a name, is that name; a date is each of its readings.
    """
    if before.first_name and now.first_name and not _same_name(before.first_name, now.first_name):
        return Difference.FIRST_NAMES
    if before.birth_date and now.birth_date:
        (years, days), (other_years, other_days) = _readings(before.birth_date), _readings(now.birth_date)
        if not years & other_years:
            return Difference.BIRTH_YEARS
        if days and other_days and not days & other_days:
            return Difference.BIRTH_DATES
    return None


def _same_name(one: str, other: str) -> bool:
    (beginnings, word), (other_beginnings, other_word) = one.split("/"), other.split("/")
    if len(beginnings) == len(other_beginnings) < 2 * _LONGEST_BEGINNING and word != other_word:
        return False
    return beginnings.startswith(other_beginnings) or other_beginnings.startswith(beginnings)


def _readings(tags: str) -> tuple[frozenset[str], frozenset[str]]:
    years, _, days = tags.partition("/")
    return _in_pieces(years, 3), _in_pieces(days, 4)


def _in_pieces(text: str, length: int) -> frozenset[str]:
    return frozenset(text[start : start + length] for start in range(0, len(text), length))


def _each_once(cells: pa.Array, read: Callable[[str], str]) -> pa.DictionaryArray:
    """What `read` makes of each cell, called once for all that are the same."""
    encoded = cells.dictionary_encode()
    made = pa.array([read(text) for text in encoded.dictionary.to_pylist()], pa.string())
    return pa.DictionaryArray.from_arrays(encoded.indices, made)
