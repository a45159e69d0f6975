"""Columns of text as the writers handle them: in batches, joined side by side, and as plain bytes."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

TEXT = pa.large_string()
"""Its 64-bit offsets hold a batch of any size, and it joins three times as fast as `pa.string()`."""

Piece: TypeAlias = str | pa.LargeStringArray
"""Of every row's text: the same for all rows, or one for each."""

_BATCH_ROWS = 4_096
_BATCH_BYTES = 16 * 2**20
"""Of cells: keeps columns of long notes in small memory too."""


def batches(columns: Sequence[pa.Array | pa.ChunkedArray]) -> Iterator[tuple[int, list[pa.LargeStringArray]]]:
    """The rows in pieces: the position of a piece's first row, and its columns as TEXT, a null as ""."""
    table = pa.table(list(columns), [str(position) for position in range(len(columns))])
    if not len(table):
        return
    rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES * len(table) // max(table.nbytes, 1)))
    first = 0
    for batch in table.to_batches(max_chunksize=rows):
        yield first, [pc.fill_null(pc.cast(column, TEXT), "") for column in batch.columns]
        first += len(batch)


def one_row(cells: Sequence[str]) -> list[pa.LargeStringArray]:
    """A row as columns. Half a surrogate pair, which no file can hold, becomes U+FFFD."""
    return [pa.array([encodable(cell)], TEXT) for cell in cells]


def encodable(text: str) -> str:
    """`text` with U+FFFD for every half of a surrogate pair (`pa.array` lets none into a column)."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def literal(text: str) -> pa.LargeStringScalar:
    """A text that goes into each row of a column."""
    return pa.scalar(text, TEXT)


def joined(pieces: Sequence[Piece]) -> pa.LargeStringArray:
    """Each row's pieces, one after the other; at least one is an array."""
    merged: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece  # joining costs by the number of pieces
        else:
            merged.append(piece)
    values = (literal(piece) if isinstance(piece, str) else piece for piece in merged)
    return pc.binary_join_element_wise(*values, literal(""))


def bytes_of(text: pa.LargeStringArray) -> memoryview:
    """All values as one run of UTF-8, without a copy."""
    _, _, data = text.buffers()
    if data is None:
        return memoryview(b"")
    bounds = offsets(text)
    return memoryview(data)[bounds[0] : bounds[-1]]


def offsets(text: pa.LargeStringArray) -> npt.NDArray[np.int64]:
    """Where each value starts in the data buffer, and at last where the last one ends."""
    return np.frombuffer(text.buffers()[1], np.int64)[text.offset : text.offset + len(text) + 1]


def count_of(data: bytes, wanted: bytes) -> int:
    """How many bytes of `data` are among `wanted`: a test for whole batches, at memory speed."""
    return len(data) - len(data.translate(None, wanted))
