"""Files that people name and that are read whole: never a device, a pipe or a folder, and never without an end."""

import errno
import os
import select
import stat
import time
from collections.abc import Callable
from pathlib import Path

_CHUNK = 1 << 16
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Without waiting: a pipe that nobody writes into would hold up whoever opens it."""

Inspect = Callable[[int, os.stat_result], object]
"""Is shown the opened file (its descriptor, its state) before it is read, and may raise."""


def read_small_file(
    path: Path, at_most: int, *, inspect: Inspect = lambda *_: None, wait_for_pipe_s: float = 0.0
) -> bytes:
    """The content of a file of at most so many bytes.

    `wait_for_pipe_s`: a pipe is read too, if its writer is done in so many seconds. Raises OSError, with a `strerror` for
    people, for what cannot be opened, is no file, or is larger.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except ValueError as error:
        raise OSError(errno.EINVAL, "no file can have that name") from error
    try:
        state = os.fstat(descriptor)
        inspect(descriptor, state)
        if stat.S_ISFIFO(state.st_mode) and wait_for_pipe_s:
            return _content_of_pipe(descriptor, at_most, time.monotonic() + wait_for_pipe_s)
        if stat.S_ISDIR(state.st_mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "it is a device or a pipe, not a file")
        return _content(descriptor, at_most)
    finally:
        os.close(descriptor)


def _content(descriptor: int, at_most: int) -> bytes:
    content = bytearray()
    while chunk := os.read(descriptor, _CHUNK):
        content += chunk
        _check_size(len(content), at_most)
    return bytes(content)


def _content_of_pipe(descriptor: int, at_most: int, deadline: float) -> bytes:
    """Until its last writer is gone. Before the first has come nothing is there to be read either."""
    content = bytearray()
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([descriptor], [], [], left)[0]:
            break
        chunk = os.read(descriptor, _CHUNK)
        if not chunk and content:
            return bytes(content)
        if not chunk:
            time.sleep(0.01)
        content += chunk
        _check_size(len(content), at_most)
    raise OSError(errno.ETIMEDOUT, "nobody finished writing into the pipe")


def _check_size(size: int, at_most: int) -> None:
    if size > at_most:
        raise OSError(errno.EFBIG, f"it is larger than {_in_words(at_most)}")


def _in_words(size: int) -> str:
    return f"{size // 1_000_000:,} MB" if size >= 1_000_000 else f"{size // 1_000:,} KB"
