"""Files and folders that are private from their first byte and are still there after a power cut."""

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path


def private(path: str, flags: int) -> int:
    """An opener for `open`: a file that is made is its owner's alone (0600)."""
    return os.open(path, flags, 0o600)


def make_folder(folder: Path, mode: int) -> None:
    """Make `folder`, and any above it, with this mode; that of one that is already there is left alone. Raises OSError."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent, mode)
    try:
        folder.mkdir(mode)
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
    else:
        folder.chmod(mode)  # mkdir leaves out what the umask says, and the group bit


def fsync_folder(folder: Path) -> None:
    """Make renames in `folder` outlast a power cut, where the system can."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with suppress(OSError):  # some network file systems cannot
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
