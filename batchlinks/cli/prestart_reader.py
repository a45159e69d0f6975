"""What makes a command that reads a roster quick off the mark."""

from collections.abc import Iterator
from contextlib import contextmanager

from batchlinks.roster.reader_process import started_ahead


@contextmanager
def head_start() -> Iterator[None]:
    """The process that reads the roster starts while this one imports what it needs."""
    with started_ahead():
        from batchlinks.arrow import use_system_allocator

        use_system_allocator()
        yield
