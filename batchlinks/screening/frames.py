"""Between Arrow, which holds a list, and pandas, in which its rows are compared."""

import pandas as pd
import pyarrow as pa

from batchlinks.screening.result import Mask

TEXT = pd.StringDtype("pyarrow")


def series(texts: pa.Array) -> "pd.Series[str]":
    """Arrow's texts as a column of pandas, which shares their memory."""
    column: pd.Series[str] = pd.Series(TEXT.__from_arrow__(texts))  # type: ignore[attr-defined]  # the stubs lack it
    return column


def arrow(column: "pd.Series[str]") -> pa.Array:
    """A column of pandas as one array of Arrow's."""
    texts = pa.array(column.array)
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return whole.cast(pa.string())


def true(found: "pd.Series[bool]") -> Mask:
    """A column of yes and no, without gaps, as a plain mask."""
    mask: Mask = found.to_numpy(dtype=bool)
    return mask
