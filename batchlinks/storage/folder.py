"""What a folder can do, wherever it is: on this computer or elsewhere.

What is put there comes whole or not at all: it is written under a name that begins with a dot, and gets its own name
when it is complete. Nothing is ever moved over another file.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from batchlinks.errors import FolderError


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a place."""

    name: str
    """Without its folder."""

    size: int
    modified: float
    """Seconds since the epoch, by this computer's clock as nearly as the place lets us tell."""


class Folder(Protocol):
    """A folder. Every name is the plain name of a file or folder in it, never a path.

    Each method raises FolderError where the place is not there, refuses or cannot be used, and FolderLost where it failed
    in the middle of the work. The messages hold no credentials and no name of a file.
    """

    @property
    def address(self) -> str:
        """For messages: without credentials."""
        ...

    @property
    def local(self) -> Path | None:
        """The folder itself, where it is on this computer."""
        ...

    def exists(self) -> bool:
        """Whether there is such a folder."""
        ...

    def folder(self, name: str) -> "Folder":
        """A folder in it. It is made when something is put there."""
        ...

    def entries(self) -> list[Entry]:
        """The files in it, by name; none where it is not there. What is no plain file is left out, links too."""
        ...

    def folders(self) -> list[str]:
        """The names of the folders in it, sorted; none where it is not there."""
        ...

    def read(self, name: str, *, at_most: int | None = None) -> bytes:
        """What the file holds; no more than the first `at_most` bytes."""
        ...

    def write(self, name: str, content: bytes, *, mode: int = 0o600) -> None:
        """Put a file there, whole or not at all; one of this name is replaced. See `upload`."""
        ...

    def upload(self, source: Path, name: str, *, mode: int = 0o600) -> None:
        """Put a copy of a file there, whole or not at all; one of this name is replaced.

        A folder that has to be made for it is its owner's alone (0700), its group's too (2750) where `mode` lets the group
        read, or everyone's (0755).
        """
        ...

    def move(self, name: str, to: "Folder", new_name: str) -> None:
        """Bring a file to another place. Raises FileExistsError where there is one of that name already."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        ...

    def remove_folder(self) -> None:
        """Delete it with all that is in it, if it is there."""
        ...


def plain(name: str) -> str:
    """`name`, which is that of a file and not a path. Raises FolderError."""
    if not is_plain(name):
        raise FolderError(
            "A name that is given to a file or folder holds a slash or another sign that no name may have."
        )
    return name


def is_plain(name: str) -> bool:
    """Whether this can be the name of a file everywhere, and cannot lead out of its folder."""
    return name not in ("", ".", "..") and not any(sign in "/\\" or sign < " " or sign == "\x7f" for sign in name)


def folder_mode(mode: int) -> int:
    """That of a folder made for a file of this mode: whoever may read the file gets into the folder."""
    if mode & 0o004:
        return 0o755
    return 0o2750 if mode & 0o040 else 0o700


def move_between(source: Folder, name: str, to: Folder, new_name: str) -> None:
    """Move a file between places that have no move of their own between them: put it there whole, then delete it here."""
    if any(entry.name == new_name for entry in to.entries()):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    if source.local is not None:
        to.upload(source.local / plain(name), new_name)
    else:
        to.write(new_name, source.read(name))
    source.remove(name)
