"""Spellings of one ID: what case, leading zeros, separators and odd characters make of it. Pure.

Screening holds back IDs that it finds alike; a link's name is compared more freely still, since whoever misspells it
does not ask us how. What is alike here without being the same is never enough to tell two patients apart.
"""

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.patients.identifier import MAX_LENGTH, clean, fold

_NO_SEPARATOR = re.compile(r"[^a-z0-9]+")
_ZEROS_OF_A_NUMBER = re.compile(r"([a-z])0+([1-9])")
_ZEROS_OF_A_GROUP = re.compile(r"([^0-9])0+([1-9])")

_PIECE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_./:#*~-]*[A-Za-z0-9])?")
_SMALLER_PIECE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_LONGEST_NUMBER = 40


def likenesses(name: str) -> frozenset[str]:
    """What all spellings of one ID have in common: two names are alike where these have a text in common.

    `AB-0017`, `ab17` and `ab 017` are; so are `12-034`, `12034` and `12-34`. None for what holds no letter and no digit.
    """
    text = unicodedata.normalize("NFKC", name).lower()
    without = fold(_ZEROS_OF_A_NUMBER.sub(r"\1\2", _NO_SEPARATOR.sub("", text)))
    by_group = fold(_NO_SEPARATOR.sub("", _ZEROS_OF_A_GROUP.sub(r"\1\2", text)))
    return frozenset((without, by_group)) - {""}


def likeness_columns(ids: pa.Array) -> tuple[pa.Array, pa.Array]:
    """`likenesses` for many IDs: two texts each, which may be the same, or blank."""

    def bare(texts: pa.Array) -> pa.Array:
        return pc.utf8_ltrim(texts, characters="0")

    if not pc.any(pc.match_substring_regex(ids, "[^0-9]")).as_py():  # as in many a list: nothing but digits
        without_zeros = bare(ids)
        return without_zeros, without_zeros
    text = pc.ascii_lower(ids)
    joined = pc.replace_substring_regex(text, _NO_SEPARATOR.pattern, "")
    without = pc.replace_substring_regex(joined, _ZEROS_OF_A_NUMBER.pattern, r"\1\2")
    by_group = pc.replace_substring_regex(text, _ZEROS_OF_A_GROUP.pattern, r"\1\2")
    return bare(without), bare(pc.replace_substring_regex(by_group, _NO_SEPARATOR.pattern, ""))


def alike_to_any(ids: pa.Array, others: pa.Array) -> pa.Array:
    """Whether each of `ids` is a spelling of one of `others`: true or false for each, and false for a blank one."""
    if not len(others):
        return pa.repeat(False, len(ids))  # as a rule
    keys = pa.concat_arrays(likeness_columns(others)).unique()
    keys = keys.filter(pc.not_equal(keys, ""))
    joined, by_group = likeness_columns(ids)
    return pc.or_(pc.is_in(joined, value_set=keys), pc.is_in(by_group, value_set=keys))


def ids_within(text: str) -> Iterator[str]:
    """Every ID that somebody may read in a cell that was refused: in `MRN: 123 (old)`, in `12345.0`, in `1.2E+11`."""
    cleaned = clean(text)
    pieces = [cleaned, *_PIECE.findall(cleaned), *_SMALLER_PIECE.findall(cleaned)]
    for piece in dict.fromkeys(pieces):
        if len(piece) <= MAX_LENGTH and any(map(str.isdigit, piece)):
            yield piece
    number = _as_number(cleaned)
    if number is not None:
        yield number


def _as_number(text: str) -> str | None:
    """The digits of the whole number that the text says, or begins with: of `12345.50`, of `1.2E+5`."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or abs(number.adjusted()) > _LONGEST_NUMBER:
        return None
    return str(abs(int(number)))
