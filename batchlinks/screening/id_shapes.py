"""How IDs are made: `00417` is five digits, `MGH:0012345` three letters, a colon and seven digits.

And which are made unlike the others.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from batchlinks.screening.frames import arrow, series
from batchlinks.screening.result import Mask

_FINE = bytes.maketrans(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", b"9" * 10 + b"a" * 52)

_A_KIND_FROM = 3
"""Rows of one shape that are a kind of their own."""

_RARE_SHARE = 0.05
_USUAL_SHARE = 0.25
COMPARED_FROM = 20
"""IDs from which on one that is made like few others stands out."""

_TELLING_SHARE = 0.75
"""Of the IDs that have to be of kinds, for shapes to tell anything: those of random letters and digits are all different."""


def shape(text: str) -> str:
    """A digit as 9 and a letter as a, the rest as it is."""
    return text.encode().translate(_FINE).decode()


def _shapes(texts: pa.Array) -> pa.Array:
    """`shape` of a whole column: of all its bytes at once, since those of no other character are touched."""
    _, offsets, letters = texts.buffers()
    translated = pa.py_buffer(letters.to_pybytes().translate(_FINE)) if letters else letters
    return pa.Array.from_buffers(texts.type, len(texts), [None, offsets, translated], offset=texts.offset)


@dataclass(frozen=True)
class Shapes:
    """The shapes of a list's IDs and how many rows have each."""

    of_row: npt.NDArray[np.int64]
    """Number of each row's shape; -1 for a row without an ID."""

    names: "pd.Index[str]"
    """Each shape, by its number."""

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """How many rows have each shape."""
        return np.bincount(self.of_row[self.of_row >= 0], minlength=len(self.names))

    @property
    def total(self) -> int:
        """Rows with an ID."""
        return int(self.rows.sum())

    @cached_property
    def kinds(self) -> Mask:
        """Shapes that enough rows have to be a kind of their own."""
        return (self.rows >= _A_KIND_FROM) & (self.rows >= _RARE_SHARE * self.total)

    @cached_property
    def usual(self) -> Mask:
        """Shapes that a quarter of the rows have, and more than one."""
        return (self.rows > 1) & (self.rows >= _USUAL_SHARE * self.total)

    @property
    def are_telling(self) -> bool:
        """Whether most IDs are of a kind."""
        return bool(self.rows[self.kinds].sum() >= _TELLING_SHARE * self.total) and self.total > 0

    @cached_property
    def families(self) -> npt.NDArray[np.int64]:
        """Of each shape: those that differ in nothing but the lengths of their runs have one number."""
        bare = self.names
        for run in "9ax":
            bare = bare.str.replace(f"{run}+", run, regex=True)
        return pd.factorize(bare)[0]

    @cached_property
    def of_varying_length(self) -> Mask:
        """Shapes of a family in which several lengths are kinds of their own, as of numbers from 1 to 1,000.

        No length stands out among them.
        """
        lengths = np.bincount(self.families[self.kinds], minlength=int(self.families.max(initial=-1)) + 1)
        return (lengths > 1)[self.families]

    @cached_property
    def all_digits(self) -> Mask:
        """Shapes of nothing but digits."""
        found: Mask = self.names.str.fullmatch("9+").astype(bool)
        return np.asarray(found)

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """How many characters an ID of each shape has."""
        return self.names.str.len().to_numpy(dtype=np.int64)

    def rows_of(self, shapes: Mask) -> Mask:
        """Rows whose ID has one of these shapes."""
        of_row: Mask = np.append(shapes, False)[self.of_row]  # the last is for rows without an ID
        return of_row

    def coarse(self) -> "Shapes":
        """The same without a difference between letters and digits, for IDs that mix both at random."""
        numbers, different = pd.factorize(self.names.str.replace("[9a]", "x", regex=True))
        of_row = np.where(self.of_row >= 0, numbers[self.of_row], -1)
        return Shapes(of_row, pd.Index(different))


def shapes_of(ids: "pd.Series[str]", readable: Mask) -> Shapes:
    """Of the IDs in the rows that are readable as one."""
    numbers, names = pd.factorize(series(_shapes(arrow(ids[readable]))))
    of_row = np.full(len(ids), -1, dtype=np.int64)
    of_row[readable] = numbers
    return Shapes(of_row, pd.Index(names))


def rare_rows(shapes: Shapes, *, any_length: bool) -> Mask:
    """Rows whose ID has a shape that fewer than three have, and under one in twenty, where shapes tell anything.

    With `any_length`, all-digit IDs do not differ in shape.
    """
    nobody = np.zeros(len(shapes.of_row), dtype=bool)
    if shapes.total < COMPARED_FROM:
        return nobody
    if not shapes.are_telling:
        shapes = shapes.coarse()
        if not shapes.are_telling:
            return nobody
    rare = (shapes.rows < _A_KIND_FROM) & (shapes.rows < _RARE_SHARE * shapes.total) & ~shapes.of_varying_length
    if any_length:
        rare &= ~shapes.all_digits
    return shapes.rows_of(rare)


def mixed_rows(shapes: Shapes, used: Mask) -> Mask:
    """Of the rows that are used, those whose ID is of another kind than most, where IDs are of kinds.

    Those of nothing but digits are one kind, whatever their length, and so are others whose lengths vary.
    """
    nobody = np.zeros(len(shapes.of_row), dtype=bool)
    if not shapes.are_telling:
        return nobody
    one = np.where(shapes.all_digits | shapes.of_varying_length, shapes.families, -1 - np.arange(len(shapes.names)))
    kinds, rows = pd.factorize(one)[0], np.zeros(len(shapes.names), dtype=np.int64)
    np.add.at(rows, kinds, shapes.rows)
    return used & shapes.rows_of(kinds != rows.argmax())
