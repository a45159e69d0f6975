"""How a command keeps to the memory that it needs at the moment."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


def keep_small() -> None:
    """Have Arrow take memory from the system, whose allocator serves all the rest as well: its own keeps what was freed.

    Only for programs of our own: what uses batchlinks as a library chooses for itself.
    """
    import pyarrow as pa  # by programs that are about to import it anyway

    pa.set_memory_pool(pa.system_memory_pool())


def give_back() -> None:
    """Give the system what a step of the work took and does not need any more: what comes next would come on top of it."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def in_one_piece(column: "pa.ChunkedArray") -> "pa.Array":
    """The column as one array: itself where it is one, of which `combine_chunks` would make a copy."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def only(rows: "npt.NDArray[np.bool_]", column: "pa.Array | pa.ChunkedArray") -> "pa.Array | pa.ChunkedArray":
    """The values of these rows; of a column in pieces, those that are wanted as they are stay what they are, uncopied."""
    import pyarrow as pa

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
