"""Columns that hold Social Security numbers: they stay out of the results, and never go to HealthEx unasked."""

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from batchlinks.columns.header_meaning import Kind, id_meaning
from batchlinks.columns.header_words import Sense, senses_of

if TYPE_CHECKING:
    from batchlinks.table import Table

_SAMPLE_HEAD = 1000
_SAMPLE_BLOCKS = 10
_SAMPLE_BLOCK = 100

# Three, two and four digits, set apart; the first five may be masked. Telephone numbers are 3-3-4, ZIP+4 is 5-4.
_SET_APART = re.compile(r"[0-9Xx*]{3}[-‐‑–. /][0-9Xx*]{2}[-‐‑–. /][0-9]{4}")
_NINE_DIGITS = re.compile(r"[0-9]{9}")
# The number of the holder and a letter or two: the Medicare claim number in use until 2019.
_MEDICARE_CLAIM = re.compile(r"[0-9]{9}[A-Z][0-9A-Z]?")
_EMPLOYER_NUMBER = re.compile(r"[0-9]{2}-[0-9]{7}")

_SET_APART_SHARE = 0.1
_NINE_DIGITS_SHARE = 0.8

_OF_A_BUSINESS = frozenset({Sense.PROVIDER, Sense.PLACE, Sense.INSURER, Sense.PLAN, Sense.THING})
# Where a header says one of these, nine digits are what it says: a ZIP+4, a claim, a provider's number.
_SAYS_OTHERWISE = frozenset({
    Sense.ATTRIBUTE, Sense.EVENT, Sense.THING, Sense.PLACE, Sense.PROVIDER, Sense.INSURER, Sense.INSURANCE,
    Sense.PLAN, Sense.ACCOUNT, Sense.FOLDER, Sense.BIRTH,
})  # fmt: skip
_NINE_DIGITS_ARE_USUAL = frozenset({Kind.RECORD, Kind.MEMBER, Kind.PUBLIC_PAYER})


def sample(table: "Table", column: int) -> list[str]:
    """Some 2,000 cells of a column, trimmed: its first thousand, then blocks from the whole of it.

    The same rows for every column of a table; "" where blank.
    """
    cells = table.cells.column(column)
    texts: list[str] = cells.slice(0, _SAMPLE_HEAD).to_pylist()
    step = max(_SAMPLE_BLOCK, (len(cells) - _SAMPLE_HEAD) // _SAMPLE_BLOCKS)
    for start in range(_SAMPLE_HEAD, len(cells), step):
        texts.extend(cells.slice(start, _SAMPLE_BLOCK).to_pylist())
    return [text.strip() for text in texts]


def share_matching(pattern: re.Pattern[str], texts: Sequence[str]) -> float:
    """The share that matches as a whole, of the texts that are not blank; 0 if all are."""
    there = [text for text in texts if text]
    return sum(1 for text in there if pattern.fullmatch(text)) / len(there) if there else 0.0


def header_says_social_security(header: str) -> bool:
    """SSN, social security, tax ID of a person, numéro de sécurité sociale … whatever the spelling."""
    senses = senses_of(header)
    if Sense.TAX_ID in senses and Sense.SOCIAL_SECURITY not in senses:
        return not _OF_A_BUSINESS.intersection(senses)
    return Sense.SOCIAL_SECURITY in senses


def looks_like_social_security(header: str, texts: Sequence[str]) -> bool:
    """Whether cells look like Social Security numbers under this header.

    `000-00-0000` does under any; bare nine digits do only where the header lets them: not under a medical record
    number or member ID, nor where it announces something else of that length.
    """
    if share_matching(_SET_APART, texts) >= _SET_APART_SHARE:
        return True
    senses = frozenset(senses_of(header))
    if Sense.MEDICARE_CLAIM in senses:
        return share_matching(_MEDICARE_CLAIM, texts) >= _SET_APART_SHARE
    if _SAYS_OTHERWISE.intersection(senses) or id_meaning(header).kind in _NINE_DIGITS_ARE_USUAL:
        return False
    return nine_digits(texts)


def nine_digits(texts: Sequence[str]) -> bool:
    """Whether cells are bare nine digits, as Social Security numbers often are."""
    return share_matching(_NINE_DIGITS, texts) >= _NINE_DIGITS_SHARE


def social_security_columns(table: "Table", except_for: Collection[int] = ()) -> tuple[int, ...]:
    """Positions of the columns that are, by header, or look like, by values, Social Security numbers.

    Looks at some 2,000 cells of a column. `except_for`: columns that stay whatever they hold (the ID column).
    """
    return tuple(
        column
        for column, header in enumerate(table.headers)
        if column not in except_for and _is_social_security(header, sample(table, column))
    )


def _is_social_security(header: str, texts: Sequence[str]) -> bool:
    if header_says_social_security(header):
        return share_matching(_EMPLOYER_NUMBER, texts) < 0.5
    return looks_like_social_security(header, texts)
