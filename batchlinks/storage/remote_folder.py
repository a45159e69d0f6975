"""A folder of a storage, as the rest of batchlinks sees it; and what goes wrong there, in sentences."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batchlinks.errors import FolderError, FolderLost, SettingsError
from batchlinks.storage.address import Address
from batchlinks.storage.folder import Entry, Folder, move_between, plain
from batchlinks.storage.store import FailureKind, Store


class RemoteFolder:
    """See `batchlinks.storage.folder.Folder`. All folders of one place share one connection."""

    local: None = None

    def __init__(self, store: Store, path: str, address: str) -> None:
        self._store = store
        self._path = path
        self._address = address

    @property
    def address(self) -> str:
        return self._address

    def exists(self) -> bool:
        with translate_errors(self._store, self._address, "looked at"):
            try:
                return self._store.is_folder(self._path)
            except FileNotFoundError:
                return False

    def folder(self, name: str) -> "RemoteFolder":
        return RemoteFolder(self._store, self._at(name), f"{self._address}/{name}")

    def entries(self) -> list[Entry]:
        with translate_errors(self._store, self._address, "listed"):
            return sorted(self._store.listing(self._path).files, key=lambda entry: entry.name)

    def folders(self) -> list[str]:
        with translate_errors(self._store, self._address, "listed"):
            return sorted(self._store.listing(self._path).folders)

    def read(self, name: str, *, at_most: int | None = None) -> bytes:
        path = self._at(name)
        with translate_errors(self._store, self._address, "read"):
            return self._store.read(path, at_most)

    def write(self, name: str, content: bytes, *, mode: int = 0o600) -> None:
        path = self._at(name)
        with translate_errors(self._store, self._address, "written"):
            self._store.put(content, path, mode=mode)

    def upload(self, source: Path, name: str, *, mode: int = 0o600) -> None:
        path = self._at(name)
        with translate_errors(self._store, self._address, "written"):
            self._store.put(source, path, mode=mode)

    def move(self, name: str, to: Folder, new_name: str) -> None:
        if not (isinstance(to, RemoteFolder) and to._store is self._store):
            move_between(self, name, to, new_name)
            return
        source, target = self._at(name), to._at(new_name)
        with translate_errors(self._store, self._address, "changed"):
            self._store.move(source, target)

    def remove(self, name: str) -> None:
        path = self._at(name)
        with translate_errors(self._store, self._address, "changed"):
            self._store.remove(path)

    def remove_folder(self) -> None:
        with translate_errors(self._store, self._address, "changed"):
            self._store.remove_tree(self._path)

    def _at(self, name: str) -> str:
        return f"{self._path}/{plain(name)}"


def read_file(store: Store, address: Address, *, at_most: int) -> bytes:
    """What the file at an address holds, no more than the first `at_most` bytes. Raises FolderError."""
    with translate_errors(store, str(address), "read"):
        return store.read(store.path_of(address), at_most)


_DEFECTS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError, Warning)
"""Not the storage's fault, and to be told apart from it."""


@contextmanager
def translate_errors(store: Store, address: str, done: str) -> Iterator[None]:
    """What goes wrong within becomes a sentence; but FileExistsError is for whoever asked.

    Before anything has worked with this storage, no connection is a wrong address; afterwards it is a loss.
    """
    try:
        yield
    except (FileExistsError, SettingsError, *_DEFECTS):
        raise
    except FolderError as error:
        raise FolderLost(str(error)) if store.has_worked else error from error
    except Exception as error:  # whatever the library behind it raises
        raise _describe(store, error, address, done) from error
    else:
        store.has_worked = True


def _describe(store: Store, error: Exception, address: str, done: str) -> FolderError:
    failure = store.describe_failure(error)
    why = f": {failure.why}" if failure.why else ""
    match failure.kind:
        case FailureKind.MISSING:
            return FolderError(f"{address} cannot be {done}: there is nothing of that name. Check the address.")
        case FailureKind.REFUSED:
            return FolderError(f"{address} cannot be {done}, since access is refused{why}. Ask whoever runs it.")
        case FailureKind.UNREACHABLE if not store.has_worked:
            return FolderError(f"{address} cannot be reached{why}. Check the address, the network and the proxy.")
        case FailureKind.UNREACHABLE:
            return FolderLost(f"The connection to {address} broke and could not be made again{why}. Try again later.")
        case FailureKind.FAILED:
            return FolderLost(
                f"{address} could not be {done}{why or ', and does not say why'}. Try again, or ask whoever runs it."
            )
