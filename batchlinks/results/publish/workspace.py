"""Where the files of a run are written before they are published, and the locks that tell the living from the dead."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, Timeout

from batchlinks.errors import BatchlinksError
from batchlinks.storage.locks import acquire, release

_PREFIX = ".batchlinks-"


_LOCK_ENDING = ".lock"


_LOCK_PATIENCE_S = 60.0
"""For another run to publish in the same folder, which takes it a moment."""


class Workspace:
    """The temporary files of one release, and a lock that tells the living from the dead.

    All are in the folder of the results, so that a rename brings them to their place, and are named
    `.batchlinks-TOKEN.…`. The lock is held until the end; the system frees it when the process dies. Where the
    file system has no locks, the files of a run that was killed stay: nobody can tell that it is dead.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"{_PREFIX}{secrets.token_hex(8)}"
        self._lock: BaseFileLock | None = None

    def path(self, name: str) -> Path:
        return self._folder / f"{self._name}.{name}"

    def enter(self) -> None:
        # Under the folder's lock, so that nobody takes the new lock file for a dead one before it is held.
        with folder_lock(self._folder):
            for lock_file in self._folder.glob(f"{_PREFIX}*{_LOCK_ENDING}"):
                _clear_if_dead(lock_file)
            self._lock = acquire(self._lock_file, timeout_s=0, mode=0o600)

    def clear(self) -> None:
        """Remove the files that were written so far. The lock stays held."""
        for path in self._folder.glob(f"{self._name}.*"):
            if path != self._lock_file:
                remove_entry(path)

    def leave(self) -> None:
        lock, self._lock = self._lock, None
        _remove_workspace(self._lock_file)
        release(self._lock_file, lock)

    @property
    def _lock_file(self) -> Path:
        return self._folder / f"{self._name}{_LOCK_ENDING}"


def _clear_if_dead(lock_file: Path) -> None:
    try:
        lock = acquire(lock_file, timeout_s=0, mode=0o600)
    except (Timeout, OSError):  # alive, or another person's
        return
    if lock is not None:
        _remove_workspace(lock_file)
        release(lock_file, lock)


def _remove_workspace(lock_file: Path) -> None:
    """Remove the files of the workspace whose lock file this is, which itself goes last: see `locks.release`."""
    workspace = f"{lock_file.name.removesuffix(_LOCK_ENDING)}."
    with suppress(OSError):
        for path in lock_file.parent.iterdir():
            if path.name.startswith(workspace) and path != lock_file:
                remove_entry(path)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """One publish at a time in a folder. Raises BatchlinksError when another takes more than a minute."""
    path = folder / ".batchlinks.lock"
    try:
        # Open to everyone who may write here: it is empty, and gone in a moment.
        lock = acquire(path, timeout_s=_LOCK_PATIENCE_S, mode=0o666)
    except Timeout as error:
        raise BatchlinksError(
            f"Another batchlinks has been writing results into {folder} for over a minute. Run the same command "
            "again when it is done: no link that was answered is lost."
        ) from error
    try:
        yield
    finally:
        release(path, lock)


def remove_entry(entry: Path) -> None:
    """Remove a file or folder that has been looked through."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)
