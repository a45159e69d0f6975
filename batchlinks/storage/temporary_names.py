"""Names of files on their way: they tell which computer and which process are at it, so that a dead one's can be removed."""

import hashlib
import os
import re
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_HERE = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_TEMPORARY = re.compile(r"\.batchlinks-([0-9a-f]{8})-(\d+)-([0-9a-f]{16})\.part")
_ABANDONED_S = 86_400.0
"""After that long, what another computer was about to put somewhere is taken for given up."""

_of_this_process: set[str] = set()


@contextmanager
def temporary_name() -> Iterator[str]:
    """A name for a file on its way. It tells which computer and which process are at it."""
    name = f".batchlinks-{_HERE}-{os.getpid()}-{secrets.token_hex(8)}.part"
    _of_this_process.add(name)
    try:
        yield name
    finally:
        _of_this_process.discard(name)


def is_abandoned(name: str, *, age_s: float) -> bool:
    """Whether a file is the remains of an upload whose process is gone, or was another computer's and is a day old."""
    found = _TEMPORARY.fullmatch(name)
    if found is None or name in _of_this_process:
        return False
    computer, process, _ = found.groups()
    return age_s > _ABANDONED_S or (computer == _HERE and not _is_running(int(process)))


def _is_running(process: int) -> bool:
    if process == os.getpid():
        return False  # ours are known: an earlier process had the same number
    if sys.platform == "win32":
        return True  # os.kill would end it there; after a day it is taken for given up all the same
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
