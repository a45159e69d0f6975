"""What the rest asks of Arrow: where texts stand among others, rows picked from a column, memory given back."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

P = ParamSpec("P")
T = TypeVar("T")


def positions_among(texts: pa.Array, others: pa.ChunkedArray) -> pa.Array:
    """Where in `others`, which holds each text once, each of `texts` stands: int32, null where it is not there.

    Where both are the same in the same order this takes a hundredth of the time: most nights all of a list is known.
    """
    if pa.chunked_array([texts]).equals(others):
        return pa.array(np.arange(len(texts), dtype=np.int32))
    import pyarrow.compute as pc  # a tenth of a second that the process which reads a roster can do without

    return pc.index_in(texts, value_set=combine_chunks(others))


def use_system_allocator() -> None:
    """Have Arrow take memory from the system, whose allocator serves all the rest as well: its own keeps what was freed.

    Only for programs of our own: what uses batchlinks as a library chooses for itself.
    """
    pa.set_memory_pool(pa.system_memory_pool())


def release_unused_memory() -> None:
    """Give the system what a step of the work took and does not need any more: what comes next would come on top of it."""
    pa.default_memory_pool().release_unused()


def combine_chunks(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array: itself where it is one, of which `combine_chunks` would make a copy."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def filter_rows(rows: npt.NDArray[np.bool_], column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The values of these rows; of a column in pieces, those that are wanted as they are stay what they are, uncopied."""
    if rows.all():
        return column
    if isinstance(column, pa.Array):
        return column.filter(pa.array(rows))
    pieces, start = [], 0
    for piece in column.chunks:
        wanted = rows[start : start + len(piece)]
        start += len(piece)
        if wanted.any():
            pieces.append(piece if wanted.all() else piece.filter(pa.array(wanted)))
    return pa.chunked_array(pieces, column.type)


def frees_memory(step: Callable[P, T]) -> Callable[P, T]:
    """A step of the work that gives the system back what it took and does not need any more.

    What the next step takes would otherwise come on top of it.
    """

    @functools.wraps(step)
    def stepped(*args: P.args, **kwargs: P.kwargs) -> T:
        result = step(*args, **kwargs)
        release_unused_memory()
        return result

    return stepped
