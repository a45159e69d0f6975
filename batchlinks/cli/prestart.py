"""What makes a command that reads a roster quick off the mark."""

from collections.abc import Iterator
from contextlib import contextmanager

from batchlinks.roster.child_process import started_ahead
from batchlinks.without_pandas import leave_pandas_out


@contextmanager
def head_start() -> Iterator[None]:
    """The process that reads the roster starts while this one imports what it needs, pandas not among it."""
    with started_ahead():
        leave_pandas_out()
        from batchlinks.arrow import use_system_allocator

        use_system_allocator()
        yield
