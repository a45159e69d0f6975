"""Standard streams that cannot take what is said: closed, full, broken. That never ends any work.

What cannot be said is not said: results and exit code tell. Only where the output *is* the result (help, `ledger show`)
does a command end as failed.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class ForgivingStream:
    """A text stream that drops what it cannot write, and remembers why (`failure`). None as stream takes nothing."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.failure: Exception | None = OSError("closed") if stream is None else None
        """The latest reason for which something was not written; None while all was."""

    def write(self, text: str) -> int:
        """Write it, with letters that the stream's encoding lacks as escapes. Returns how many were taken in."""
        if not isinstance(text, str):  # click asks in this way whether a stream takes bytes
            raise TypeError("text is written here")
        try:
            self._write(text)
        except (OSError, ValueError) as error:  # ValueError: the stream was closed in this process
            self.failure = error
        return len(text)

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))

    def flush(self) -> None:
        """Pass on what was written, as far as that is possible."""
        if self._stream is None:
            return
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self.failure = error

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return is_terminal(self._stream)

    def __getattr__(self, name: str) -> Any:
        if name in ("buffer", "_stream"):  # whoever writes around this object would meet what it keeps away
            raise AttributeError(name)
        return getattr(self._stream, name)


def forgiving(stream: TextIO | None) -> TextIO:
    """The same stream, or none, as one whose trouble is nobody's."""
    return stream if isinstance(stream, ForgivingStream) else ForgivingStream(stream)  # type: ignore[return-value]


def failure_of(stream: TextIO | None) -> Exception | None:
    """Why something was not written to a stream that `forgiving` made; None where all was, or nobody can tell."""
    return stream.failure if isinstance(stream, ForgivingStream) else None


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person sits before it. A stream that is missing or closed has nobody."""
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError):
        return False


@contextmanager
def forgiving_streams() -> Iterator[None]:
    """Within, nothing that is written to standard output or standard error raises, whichever library writes it."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = forgiving(sys.stdout), forgiving(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def open_closed_streams() -> None:
    """Take the places of standard streams that were closed when this program started.

    Otherwise the next file that is opened, such as the ledger, would have the number of standard error, and get what
    some library writes there. Standard output is opened for reading, so that what is written to it fails visibly.
    """
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, flags)  # the lowest free number, which is this one
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the program runs
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - the same
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - the same
