"""The process that reads a roster: how it is started, before it is needed where that saves time, and ended."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Self

from batchlinks.config.paths import import_path

# Few threads and memory arenas: each sets aside address space, which is what a memory limit counts.
_ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "ARROW_IO_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONIOENCODING": "utf-8",
}
if sys.platform == "win32":
    _CREATION_FLAGS = subprocess.CREATE_NO_WINDOW
else:
    _CREATION_FLAGS = 0
_SECRET_PREFIXES = ("HEALTHEX_", "BATCHLINKS_")


class ReadingProcess:
    """One process, for one roster: `batchlinks.roster.child` says what it is sent and answers. A context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "batchlinks.roster.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a traceback there could quote patients
            env=_environment(),
            creationflags=_CREATION_FLAGS,
        )
        self.out_of_time = False
        """Whether it was ended for taking too long."""

    @property
    def source(self) -> IO[bytes]:
        """Its standard output."""
        assert self._process.stdout is not None  # noqa: S101 - for the type checker
        return self._process.stdout

    def send(self, *parts: bytes) -> None:
        """Write to its standard input; where it has gone away, why shows on its output."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        with suppress(OSError):
            for part in parts:
                self._process.stdin.write(part)
            self._process.stdin.flush()

    @contextmanager
    def limited_to(self, seconds: float) -> Iterator[None]:
        """End it if the block takes longer than this."""
        timer = threading.Timer(seconds, self._stop)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _stop(self) -> None:
        self.out_of_time = True
        self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]  # both were asked for above
        self._process.wait()


_waiting: list[ReadingProcess] = []
"""At most one, started ahead."""


@contextmanager
def started_ahead() -> Iterator[None]:
    """A process that is about to be needed starts up while this one does other things, such as importing.

    The next roster that is read in the block is read by it; if none is, it is ended with the block.
    """
    _waiting.append(ReadingProcess())
    try:
        yield
    finally:
        with suppress(IndexError), _waiting.pop():
            pass


def reading_process() -> ReadingProcess:
    """The one that was started ahead, or else a new one."""
    try:
        return _waiting.pop()
    except IndexError:
        return ReadingProcess()


def _environment() -> dict[str, str]:
    """That of this process without its secrets, and with the same places to import from, in the same order."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SECRET_PREFIXES)}
    return kept | _ENVIRONMENT | {"PYTHONPATH": import_path()}
