"""One sheet of text cells, and what a workbook can hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchlinks.errors import BatchlinksError

# "Excel specifications and limits", Microsoft support
MAX_ROWS = 1_048_575
"""Rows below the header that a sheet holds."""

MAX_COLUMNS = 16_384

MAX_CELL_LENGTH = 32_767
"""Of a cell's text, in UTF-16 code units."""

MAX_HYPERLINKS = 65_530
"""On a sheet. What is beyond stays text: Excel would otherwise throw all of them away."""

MAX_PICTURES = 65_000
"""On a sheet: each is a part of the package, and a ZIP archive of the kind that every program reads holds 65,535."""

CUT_MARK = " [cut: the text is too long for a cell]"
"""Ends a text of more than `MAX_CELL_LENGTH`, which Excel would otherwise declare a damaged file."""


class TooManyRows(BatchlinksError):
    """A sheet would have more rows (or columns) than a workbook holds. Nothing is written; CSV holds them."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One sheet of text cells: a header row that stays in sight, and a filter on every column."""

    name: str
    """At most 31 characters, without ``[ ] : * ? / \\``."""

    headers: Sequence[str]

    columns: Sequence[pa.Array | pa.ChunkedArray]
    """One for each header: strings, equally long. A null is written as a blank cell, as is ""."""

    marked: Mapping[int, npt.NDArray[np.bool_]] = field(default_factory=dict)
    """Column position -> the rows (as many as the column has) whose cell is colored as the one to fix."""

    hyperlinks: int | None = None
    """Position of the column whose texts, where they are addresses, can be clicked: the first `MAX_HYPERLINKS` of them."""

    pictures: int | None = None
    """Position of the column that has a picture in each of its first `MAX_PICTURES` cells, above its text."""

    sentences: frozenset[int] = frozenset()
    """Positions of the columns that hold sentences: wide, and broken into lines, so that they can be read whole."""

    link: int | None = None
    """Position of the column of links, each of which is broken into lines."""

    identity: Sequence[int] = ()
    """Positions of the columns that say whose row it is, the most certain first (ID, then names): on every printed page."""

    essential: Sequence[int] = ()
    """Positions of the columns that are printed beside these where not all of them fit on a page."""

    headings: Mapping[int, str] = field(default_factory=dict)
    """Column position -> what a person reads above it, beside the header that programs go by."""

    hidden: frozenset[int] = frozenset()
    """Positions of the columns that only programs read: they are there, and take no room."""

    widths: Sequence[float] | None = None
    """One for each column, in characters; None takes them from the values."""

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0
