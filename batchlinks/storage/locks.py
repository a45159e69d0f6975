"""Locks that the system frees when their holder dies, however it dies."""

import errno
from contextlib import suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What some network file systems answer."""


def acquire(path: Path, *, timeout_s: float, mode: int) -> BaseFileLock | None:
    """The lock, held, with its file at `path`; None where the file system has no locks.

    Raises filelock.Timeout when another holds it for longer than `timeout_s`, and OSError.

    A lock that is the mere presence of a file would be no help there: a killed run would lock out all later ones.
    """
    lock = FileLock(path, timeout=timeout_s, mode=mode, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return lock


def release(path: Path, lock: BaseFileLock | None) -> None:
    """Free the lock and remove its file. Who waits for it sees that the file is gone and makes a new one."""
    with suppress(OSError):  # Windows keeps what is open; the next one removes it
        path.unlink()
    if lock is not None:
        lock.release()
