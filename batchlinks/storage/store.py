"""What batchlinks asks of a storage, over the file systems of fsspec. Paths here are whole, as the storage has them.

Exceptions come as the libraries raise them; `batchlinks.storage.remote_folder` makes sentences of them.
"""

import io
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
from fsspec.spec import AbstractFileSystem

from batchlinks.errors import SettingsError
from batchlinks.storage.address import Address
from batchlinks.storage.folder import Entry, is_plain
from batchlinks.storage.temporary_names import is_abandoned, temporary_name

CHUNK = 1 << 20
_TIMES = ("LastModified", "mtime", "modified", "last_modified", "updated", "created")
"""Where the file systems of fsspec keep the time of a file."""


_CLOCKS_AGREE_S = 2.0
"""Storages tell whole seconds, and the question takes its time."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What stands in a folder."""

    files: tuple[Entry, ...] = ()
    folders: tuple[str, ...] = ()


class FailureKind(Enum):
    """What can be wrong with a storage."""

    MISSING = "missing"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StorageFailure:
    """What is wrong, and perhaps why: words that follow a colon and end without a full stop."""

    kind: FailureKind
    why: str = ""


class Store(ABC):
    """A storage, whatever it is. Paths are whole, as the storage has them, and name files unless said otherwise."""

    has_worked = False
    """Whether anything that was asked of it was answered."""

    @abstractmethod
    def path_of(self, address: Address) -> str:
        """The path in this storage that an address means."""

    @abstractmethod
    def is_folder(self, path: str) -> bool:
        """Whether there is such a folder."""

    @abstractmethod
    def listing(self, path: str) -> Listing:
        """What stands in a folder; nothing where it is not there."""

    @abstractmethod
    def read(self, path: str, at_most: int | None) -> bytes:
        """What a file holds, no more than the first `at_most` bytes."""

    @abstractmethod
    def put(self, content: bytes | Path, path: str, *, mode: int) -> None:
        """Put a file there, whole or not at all; one of this name is replaced, and missing folders are made."""

    @abstractmethod
    def move(self, source: str, target: str) -> None:
        """Bring a file to another path. Raises FileExistsError where there is one already."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Delete a file, if it is there."""

    @abstractmethod
    def remove_tree(self, path: str) -> None:
        """Delete a folder with all in it, if it is there."""

    def can_name(self, name: str) -> bool:
        """Whether a file of this name can be told from every other."""
        return is_plain(name)

    def describe_failure(self, error: Exception) -> StorageFailure:
        """What an error says, in words that hold nothing of the storage's own text."""
        match error:
            case FileNotFoundError():
                return StorageFailure(FailureKind.MISSING)
            case PermissionError():
                return StorageFailure(FailureKind.REFUSED)
            case ConnectionError() | TimeoutError() | EOFError():
                return StorageFailure(FailureKind.UNREACHABLE)
            case UnicodeDecodeError():
                return StorageFailure(FailureKind.FAILED, "a name in it is not UTF-8; rename that file")
            case OSError(errno=int() as number):
                return StorageFailure(FailureKind.FAILED, os.strerror(number))
        return StorageFailure(FailureKind.FAILED, type(error).__name__)


class AnyStore(Store):
    """Any file system that fsspec opens, by what all of them can do."""

    def __init__(self, address: Address) -> None:
        """Asks nothing yet. Raises SettingsError for an unknown kind, ImportError when its own library is not installed."""
        self._address = address
        try:
            self._kind: Any = fsspec.get_filesystem_class(address.scheme)
        except ValueError as error:
            raise SettingsError(f"{address.scheme}:// is no kind of place that batchlinks knows.") from error

    @cached_property
    def files(self) -> AbstractFileSystem:
        """Opened when something is first asked of it. Nothing is remembered: others put files there, too."""
        options = self._kind._get_kwargs_from_urls(self._address.whole)
        return self._kind(**options, skip_instance_cache=True, use_listings_cache=False)

    def path_of(self, address: Address) -> str:
        path: str = self._kind._strip_protocol(address.whole)
        return path

    def is_folder(self, path: str) -> bool:
        return bool(self.files.isdir(path))

    def listing(self, path: str) -> Listing:
        try:
            found = self.files.ls(path, detail=True)
        except FileNotFoundError:
            return Listing()
        named = [(str(item["name"]).rstrip("/").rpartition("/")[2], item) for item in found]
        named = [(name, item) for name, item in named if self.can_name(name) and item["name"].rstrip("/") != path]
        return Listing(
            tuple(
                Entry(name, int(item.get("size") or 0), _time_of(item))
                for name, item in named
                if item["type"] == "file"
            ),
            tuple(name for name, item in named if item["type"] == "directory"),
        )

    def read(self, path: str, at_most: int | None) -> bytes:
        with self.files.open(path, "rb") as file:
            content: bytes = file.read(-1 if at_most is None else at_most)
        return content

    def put(self, content: bytes | Path, path: str, *, mode: int) -> None:  # noqa: ARG002 not every storage has modes
        folder, _, _ = path.rpartition("/")
        self.files.makedirs(folder, exist_ok=True)
        self._clear_abandoned(folder)
        with temporary_name() as name:
            on_its_way = f"{folder}/{name}"
            try:
                self._write(content, on_its_way)
                self._replace(on_its_way, path)
            except BaseException:
                with suppress(Exception):  # what went wrong first is what matters
                    self.files.rm_file(on_its_way)
                raise

    def move(self, source: str, target: str) -> None:
        if self.size_of(source) is None:
            raise FileNotFoundError
        if self.size_of(target) is not None:
            raise FileExistsError
        self.files.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._bring(source, target)

    def remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self.files.rm_file(path)

    def remove_tree(self, path: str) -> None:
        listing = self.listing(path)
        for entry in listing.files:
            self.remove(f"{path}/{entry.name}")
        for name in listing.folders:
            self.remove_tree(f"{path}/{name}")
        with suppress(FileNotFoundError):
            self.files.rmdir(path)

    def size_of(self, path: str) -> int | None:
        """Bytes in a file; None where there is none."""
        try:
            found: Mapping[str, Any] = self.files.info(path)
        except FileNotFoundError:
            return None
        return int(found.get("size") or 0) if found["type"] != "directory" else None

    def _write(self, content: bytes | Path, path: str) -> None:
        with opened(content) as source, self.files.open(path, "wb") as target:
            while chunk := source.read(CHUNK):
                target.write(chunk)

    def _replace(self, source: str, target: str) -> None:
        """Give a file its final name, over another if need be."""
        try:
            self._bring(source, target)
        except OSError:  # some cannot rename over another file
            if self.size_of(target) is None or self.size_of(source) is None:
                raise
            self.files.rm_file(target)
            self._bring(source, target)

    def _bring(self, source: str, target: str) -> None:
        if type(self.files).mv is not AbstractFileSystem.mv:
            self.files.mv(source, target)
            return
        size = self.size_of(source)
        self.files.cp_file(source, target)
        if self.size_of(target) != size:
            raise OSError("the copy is not as long as what was copied")
        self.files.rm_file(source)

    def _clear_abandoned(self, folder: str) -> None:
        """Delete what uploads have left that were killed."""
        for entry in self.listing(folder).files:
            if is_abandoned(entry.name, age_s=time.time() - entry.modified):
                self.remove(f"{folder}/{entry.name}")


def opened(content: bytes | Path) -> BinaryIO:
    """Content that is at hand, or that of a file on this computer."""
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def clock_ahead_s(server_now: Callable[[], float]) -> float:
    """By how many seconds the storage's clock is ahead of this computer's; 0 where they agree as well as can be told."""
    before = time.time()
    ahead = server_now() - (before + time.time()) / 2
    return ahead if abs(ahead) > _CLOCKS_AGREE_S else 0.0


def _time_of(item: Mapping[str, Any]) -> float:
    """Seconds since the epoch; 0 where the storage does not tell."""
    for name in _TIMES:
        if isinstance(value := item.get(name), datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0
