"""Folders where rosters come from and results go to, on this computer or elsewhere.

A `Place` is one folder. What is put there comes whole or not at all: it is written under a name that begins with a
dot, and gets its own name when it is complete. Nothing is ever moved over another file.
"""

import ctypes
import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from batchlinks.errors import PlaceError, PlaceLost
from batchlinks.storage.private_files import fsync_folder, make_folder, private


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a place."""

    name: str
    """Without its folder."""

    size: int
    modified: float
    """Seconds since the epoch, by this computer's clock as nearly as the place lets us tell."""


class Place(Protocol):
    """A folder. Every name is the plain name of a file or folder in it, never a path.

    Each method raises PlaceError where the place is not there, refuses or cannot be used, and PlaceLost where it failed
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

    def folder(self, name: str) -> "Place":
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

    def move(self, name: str, to: "Place", new_name: str) -> None:
        """Bring a file to another place. Raises FileExistsError where there is one of that name already."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        ...

    def remove_folder(self) -> None:
        """Delete it with all that is in it, if it is there."""
        ...


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters at least: `C://` is a drive


def is_address(text: str) -> bool:
    """Whether this speaks of a place as `s3://bucket/in` does, and not of a path on this computer."""
    return _SCHEME.match(text) is not None


def open_place(address: str) -> Place:
    """The folder that an address or a path names; whether it is there is not looked at. Raises SettingsError."""
    found = _SCHEME.match(address)
    if found is None:
        return LocalPlace(Path(address).absolute())
    if found[1].lower() == "file":
        return LocalPlace(Path(unquote(urlsplit(address).path)))
    from batchlinks.storage.remote import open_remote

    return open_remote(address)


def plain(name: str) -> str:
    """`name`, which is that of a file and not a path. Raises PlaceError."""
    if not is_plain(name):
        raise PlaceError(
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


# --- files on their way ---------------------------------------------------------------------------------------

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


# --- this computer --------------------------------------------------------------------------------------------


class LocalPlace:
    """A folder on this computer, or on a drive that it sees as a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def address(self) -> str:
        return str(self._path)

    @property
    def local(self) -> Path:
        return self._path

    def exists(self) -> bool:
        with self._explained("looked at"):
            return self._path.is_dir()

    def folder(self, name: str) -> "LocalPlace":
        return LocalPlace(self._path / plain(name))

    def entries(self) -> list[Entry]:
        found = []
        for item in self._items():
            with suppress(FileNotFoundError):  # gone since the folder was listed
                if item.is_file(follow_symlinks=False):
                    status = item.stat(follow_symlinks=False)
                    found.append(Entry(item.name, status.st_size, status.st_mtime))
        return sorted(found, key=lambda entry: entry.name)

    def folders(self) -> list[str]:
        return sorted(item.name for item in self._items() if item.is_dir(follow_symlinks=False))

    def read(self, name: str, *, at_most: int | None = None) -> bytes:
        with self._explained("read"), self._file(name).open("rb") as file:
            return file.read(-1 if at_most is None else at_most)

    def write(self, name: str, content: bytes, *, mode: int = 0o600) -> None:
        with self._arriving(name, mode) as file:
            file.write(content)

    def upload(self, source: Path, name: str, *, mode: int = 0o600) -> None:
        with source.open("rb") as content, self._arriving(name, mode) as file:
            shutil.copyfileobj(content, file, _CHUNK)

    def move(self, name: str, to: Place, new_name: str) -> None:
        if not isinstance(to, LocalPlace):
            carry(self, name, to, new_name)
            return
        source, target = self._file(name), to._file(new_name)
        with to._explained("written"):
            make_folder(to._path, folder_mode(0o600))
        with self._explained("changed"):
            try:
                _rename_over_nothing(source, target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                to._copy_over_nothing(source, target)
                source.unlink()
            fsync_folder(to._path)
            fsync_folder(self._path)

    def remove(self, name: str) -> None:
        with self._explained("changed"):
            self._file(name).unlink(missing_ok=True)

    def remove_folder(self) -> None:
        with self._explained("changed"), suppress(FileNotFoundError):
            shutil.rmtree(self._path)

    def _file(self, name: str) -> Path:
        return self._path / plain(name)

    def _items(self) -> list[os.DirEntry[str]]:
        with self._explained("listed"), suppress(FileNotFoundError), os.scandir(self._path) as items:
            return list(items)
        return []

    @contextmanager
    def _arriving(self, name: str, mode: int) -> Iterator[BinaryIO]:
        """A file to fill. It has its name and its mode, and replaces another, once the block ends without an exception."""
        target = self._file(name)
        with self._explained("written"):
            make_folder(self._path, folder_mode(mode))
            self._clear_abandoned()
            with self._filled(mode) as (temporary, file):
                yield file
            temporary.replace(target)
            fsync_folder(self._path)

    @contextmanager
    def _filled(self, mode: int) -> Iterator[tuple[Path, BinaryIO]]:
        """A file under a temporary name, on the disk with all it holds when the block ends; gone if the block fails."""
        with temporary_name() as name:
            path = self._path / name
            try:
                with open(path, "xb", opener=private) as file:
                    yield path, file
                    file.flush()
                    os.fsync(file.fileno())
                path.chmod(mode)
            except BaseException:
                path.unlink(missing_ok=True)
                raise

    def _copy_over_nothing(self, source: Path, target: Path) -> None:
        """Across devices."""
        mode = source.stat().st_mode & 0o777
        with source.open("rb") as content, self._filled(mode) as (temporary, file):
            shutil.copyfileobj(content, file, _CHUNK)
        shutil.copystat(source, temporary)
        try:
            _rename_over_nothing(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _clear_abandoned(self) -> None:
        now = time.time()
        for item in self._items():
            with suppress(OSError):
                if is_abandoned(item.name, age_s=now - item.stat(follow_symlinks=False).st_mtime):
                    Path(item.path).unlink()

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        """What goes wrong within becomes a sentence; but FileExistsError is for whoever asked."""
        try:
            yield
        except FileExistsError:
            raise
        except FileNotFoundError as error:
            raise PlaceError(f"What was to be {done} in {self.address} is not there.") from error
        except (PermissionError, NotADirectoryError, IsADirectoryError) as error:
            raise PlaceError(
                f"{self.address} cannot be {done}: {error.strerror}. Mend that, or name another folder."
            ) from error
        except OSError as error:
            raise PlaceLost(f"{self.address} cannot be {done}: {error.strerror or type(error).__name__}.") from error


_CHUNK = 1 << 20


def _rename_over_nothing(source: Path, target: Path) -> None:
    """Rename in one step, or raise FileExistsError. Raises OSError, as with EXDEV for another device."""
    if sys.platform == "win32":
        source.rename(target)  # which never replaces there
        return
    if sys.platform == "linux" and _renameat2(source, target):
        return
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # Exotic file systems. Somebody else would have to use the name within this very moment.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        source.rename(target)
    else:
        source.unlink()


_NO_HARD_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


def _renameat2(source: Path, target: Path) -> bool:
    """Linux can rename so that nothing is replaced. False where its C library or this file system cannot."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(_RENAME_NOREPLACE)) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number))


def carry(source: Place, name: str, to: Place, new_name: str) -> None:
    """Move a file between places that have no move of their own between them: put it there whole, then delete it here."""
    if any(entry.name == new_name for entry in to.entries()):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    if source.local is not None:
        to.upload(source.local / plain(name), new_name)
    else:
        to.write(new_name, source.read(name))
    source.remove(name)
