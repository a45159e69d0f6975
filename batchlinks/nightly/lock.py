"""One nightly at a time for each inbox. The system frees the lock when its holder dies, however it dies."""

import hashlib
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from filelock import Timeout

from batchlinks.errors import FolderError
from batchlinks.storage.folder import Folder
from batchlinks.storage.local import LocalFolder
from batchlinks.storage.locks import acquire, release
from batchlinks.storage.private_files import make_folder

_LOCK = ".batchlinks-nightly.lock"
_OWNER_FILE = ".batchlinks-nightly.json"


@dataclass(frozen=True, slots=True)
class LockOwner:
    """The nightly that is at work."""

    since: datetime
    hours: float


@contextmanager
def exclusive_run(inbox: Folder, data: Path, now: datetime) -> Iterator[LockOwner | None]:
    """Hold the inbox's lock within; where another has it, give that one instead.

    The lock lies in the inbox itself where it is on this computer, else in the data folder. Raises FolderError.
    """
    folder = inbox.local or data / "nightly" / hashlib.sha256(inbox.address.encode()).hexdigest()[:16]
    try:
        make_folder(folder, 0o700)
        lock = acquire(folder / _LOCK, timeout_s=0, mode=0o600)
    except Timeout:
        yield _read_owner(folder, now)
        return
    except OSError as error:
        raise FolderError(f"No lock can be had in {folder} ({error.strerror}). Let this user write there.") from error
    try:
        owner = {"host": socket.gethostname(), "since": now.isoformat(), "monotonic": time.monotonic()}
        LocalFolder(folder).write(_OWNER_FILE, json.dumps(owner).encode())
        yield None
    finally:
        with suppress(OSError):
            (folder / _OWNER_FILE).unlink()
        release(folder / _LOCK, lock)


def _read_owner(folder: Path, now: datetime) -> LockOwner:
    """What the other has written down; as if it had just begun where it has not yet."""
    try:
        written = json.loads((folder / _OWNER_FILE).read_bytes())
        since = datetime.fromisoformat(written["since"])
        if written["host"] == socket.gethostname():
            # Seconds since this computer started: unlike its clock they do not jump.
            seconds = time.monotonic() - float(written["monotonic"])
        else:
            seconds = (now - since).total_seconds()
    except (OSError, ValueError, KeyError, TypeError):
        return LockOwner(now, 0.0)
    return LockOwner(since, max(0.0, seconds) / 3600)
