"""A folder on this computer, or on a drive that it sees as a folder."""

import ctypes
import errno
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from batchlinks.errors import FolderError, FolderLost
from batchlinks.storage.folder import Entry, Folder, folder_mode, move_between, plain
from batchlinks.storage.private_files import fsync_folder, make_folder, private
from batchlinks.storage.temporary_names import is_abandoned, temporary_name


class LocalFolder:
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
        with self._translate_errors("looked at"):
            return self._path.is_dir()

    def folder(self, name: str) -> "LocalFolder":
        return LocalFolder(self._path / plain(name))

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
        with self._translate_errors("read"), self._file(name).open("rb") as file:
            return file.read(-1 if at_most is None else at_most)

    def write(self, name: str, content: bytes, *, mode: int = 0o600) -> None:
        with self._arriving(name, mode) as file:
            file.write(content)

    def upload(self, source: Path, name: str, *, mode: int = 0o600) -> None:
        with source.open("rb") as content, self._arriving(name, mode) as file:
            shutil.copyfileobj(content, file, _CHUNK)

    def move(self, name: str, to: Folder, new_name: str) -> None:
        if not isinstance(to, LocalFolder):
            move_between(self, name, to, new_name)
            return
        source, target = self._file(name), to._file(new_name)
        with to._translate_errors("written"):
            make_folder(to._path, folder_mode(0o600))
        with self._translate_errors("changed"):
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
        with self._translate_errors("changed"):
            self._file(name).unlink(missing_ok=True)

    def remove_folder(self) -> None:
        with self._translate_errors("changed"), suppress(FileNotFoundError):
            shutil.rmtree(self._path)

    def _file(self, name: str) -> Path:
        return self._path / plain(name)

    def _items(self) -> list[os.DirEntry[str]]:
        with self._translate_errors("listed"), suppress(FileNotFoundError), os.scandir(self._path) as items:
            return list(items)
        return []

    @contextmanager
    def _arriving(self, name: str, mode: int) -> Iterator[BinaryIO]:
        """A file to fill. It has its name and its mode, and replaces another, once the block ends without an exception."""
        target = self._file(name)
        with self._translate_errors("written"):
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
    def _translate_errors(self, done: str) -> Iterator[None]:
        """What goes wrong within becomes a sentence; but FileExistsError is for whoever asked."""
        try:
            yield
        except FileExistsError:
            raise
        except FileNotFoundError as error:
            raise FolderError(f"What was to be {done} in {self.address} is not there.") from error
        except (PermissionError, NotADirectoryError, IsADirectoryError) as error:
            raise FolderError(
                f"{self.address} cannot be {done}: {error.strerror}. Mend that, or name another folder."
            ) from error
        except OSError as error:
            raise FolderLost(f"{self.address} cannot be {done}: {error.strerror or type(error).__name__}.") from error


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
