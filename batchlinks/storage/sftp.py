"""SFTP: renames within the server, a private temporary file, and a second try where the connection broke."""

import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from batchlinks.storage.address import Address
from batchlinks.storage.folder import Entry, folder_mode
from batchlinks.storage.ssh import NoConnection, connect
from batchlinks.storage.store import CHUNK, FailureKind, Listing, StorageFailure, Store, clock_ahead_s, opened
from batchlinks.storage.temporary_names import is_abandoned, temporary_name

_ANSWER_S = 60.0
_ATTEMPTS = 3
_AHEAD = 512 * paramiko.SFTPFile.MAX_REQUEST_SIZE
"""Bytes of a file, 16 MB, that are asked for at a time. Too few and paramiko mostly waits; all of a large file is too many."""

_ASKING = "_prefetch_thread"
"""paramiko's own name for it, in 5.1.0."""

_HOME = "/~/"

Result = TypeVar("Result")


class _Files(SFTPFileSystem):  # type: ignore[misc] # fsspec has no type information
    """fsspec's, except that the server has to be a known one."""

    cachable = False  # a new one is a new connection

    def __init__(self, address: Address) -> None:
        self._address = address
        super().__init__(address.host)

    def _connect(self) -> None:
        self.client = connect(self._address)
        try:
            self.ftp: paramiko.SFTPClient = self.client.open_sftp()
        except BaseException:
            self.client.close()
            raise
        channel = self.ftp.get_channel()
        assert channel is not None  # noqa: S101 - it was just made
        channel.settimeout(_ANSWER_S)


class SftpStore(Store):
    """Connects when something is first asked of it, and again when the connection broke."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._files: _Files | None = None
        self._ahead_s: float | None = None

    def path_of(self, address: Address) -> str:
        """From the root; from the user's own folder where the path begins with `/~/`."""
        if f"{address.path}/".startswith(_HOME):
            return address.path[len(_HOME) :] or "."
        return address.path

    def is_folder(self, path: str) -> bool:
        return self._steadily(lambda: _is_folder(self._sftp, path))

    def listing(self, path: str) -> Listing:
        found = [item for item in self._steadily(lambda: _items(self._sftp, path)) if self.can_name(item.filename)]
        files = [item for item in found if _kind(item) == stat.S_IFREG]
        ahead = self._clock_ahead_s(path) if files else 0.0
        return Listing(
            tuple(Entry(item.filename, item.st_size or 0, (item.st_mtime or 0) - ahead) for item in files),
            tuple(item.filename for item in found if _kind(item) == stat.S_IFDIR),
        )

    def read(self, path: str, at_most: int | None) -> bytes:
        def read() -> bytes:
            with self._sftp.open(path, "rb") as file:
                size = file.stat().st_size or 0
                return _read_whole(file, size if at_most is None else min(size, at_most))

        return self._steadily(read)

    def put(self, content: bytes | Path, path: str, *, mode: int) -> None:
        folder, _, _ = path.rpartition("/")

        def put() -> None:
            sftp = self._sftp
            _make_folder(sftp, folder, folder_mode(mode))
            for item in _items(sftp, folder):
                if is_abandoned(item.filename, age_s=time.time() - (item.st_mtime or 0)):
                    with suppress(OSError):  # another user's
                        sftp.remove(f"{folder}/{item.filename}")
            with _on_its_way(sftp, folder) as temporary:
                with opened(content) as source:
                    sftp.putfo(source, temporary)  # which sees to it that all of it arrived
                _set_mode(sftp, temporary, mode)
                _replace(sftp, temporary, path)

        self._steadily(put)

    def move(self, source: str, target: str) -> None:
        asked = False

        def move() -> None:
            nonlocal asked
            sftp = self._sftp
            if asked and not _exists(sftp, source) and _exists(sftp, target):
                return  # the connection broke after it was done
            if _exists(sftp, target):
                raise FileExistsError
            _make_folder(sftp, target.rpartition("/")[0], folder_mode(0o600))
            asked = True
            try:
                sftp.rename(source, target)  # which replaces nothing
            except OSError as error:
                if error.errno is None and self._is_up() and _exists(sftp, target):
                    raise FileExistsError from error
                raise

        self._steadily(move)

    def remove(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._steadily(lambda: self._sftp.remove(path))

    def remove_tree(self, path: str) -> None:
        for item in self._steadily(lambda: _items(self._sftp, path)):
            if _kind(item) == stat.S_IFDIR:
                self.remove_tree(f"{path}/{item.filename}")
            else:
                self.remove(f"{path}/{item.filename}")
        with suppress(FileNotFoundError):
            self._steadily(lambda: self._sftp.rmdir(path))

    def describe_failure(self, error: Exception) -> StorageFailure:
        if self._is_lost(error):
            return StorageFailure(FailureKind.UNREACHABLE)
        if isinstance(error, OSError) and error.errno is None:
            return StorageFailure(
                FailureKind.FAILED, "the server says no more than that; is its disk full, or a quota used up?"
            )
        return super().describe_failure(error)

    @property
    def _sftp(self) -> paramiko.SFTPClient:
        if self._files is None or not self._is_up():
            self._files = _Files(self._address)
        return self._files.ftp

    def _is_up(self) -> bool:
        channel = self._files.ftp.get_channel() if self._files is not None else None
        return channel is not None and not channel.closed and channel.get_transport().is_active()

    def _steadily(self, operation: Callable[[], Result]) -> Result:
        """Do it, and where the connection broke make a new one and do it again. All that is done here can be done twice."""
        tries = Retrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            retry=retry_if_exception(self._is_lost),
            before_sleep=lambda _: self._hang_up(),
            reraise=True,
        )
        return tries(operation)

    def _is_lost(self, error: BaseException) -> bool:
        if isinstance(error, EOFError | TimeoutError | ConnectionError | paramiko.SSHException | NoConnection):
            return True
        return isinstance(error, OSError) and error.errno is None and not self._is_up()

    def _hang_up(self) -> None:
        files, self._files = self._files, None
        if files is not None:
            files.client.close()

    def _clock_ahead_s(self, path: str) -> float:
        """SFTP has no question for the time. The time of a new file is the server's; where none can be made, nobody knows."""
        if self._ahead_s is None:
            try:
                self._ahead_s = clock_ahead_s(lambda: self._steadily(lambda: self._time_of_new_file(path)))
            except OSError:
                self._ahead_s = 0.0
        return self._ahead_s

    def _time_of_new_file(self, folder: str) -> float:
        with _on_its_way(self._sftp, folder) as temporary:
            made_at = self._sftp.stat(temporary).st_mtime or time.time()
            self._sftp.remove(temporary)
        return float(made_at)


def _read_whole(file: paramiko.SFTPFile, size: int) -> bytes:
    """The first `size` bytes. Raises EOFError where fewer come, as of a file that has become shorter: never half a list."""
    _ask_quietly(file)
    content = bytearray()
    asked = 0
    while len(content) < size:
        if len(content) == asked:
            asked = min(size, asked + _AHEAD)
            file.prefetch(asked)
        # In parts, since a large file as a whole takes paramiko the square of its time.
        part = file.read(min(CHUNK, asked - len(content)))
        if not part:
            raise EOFError
        content += part
    return bytes(content)


def _ask_quietly(file: paramiko.SFTPFile) -> None:
    """Paramiko asks ahead in a thread of its own, which ends with a traceback on the screen where the connection breaks.

    Whoever reads notices the break by itself. The thread's own limit of questions in flight is not used either: it waits
    for ever for the answers of a connection that is gone.
    """
    ask: Callable[..., None] = getattr(file, _ASKING)

    def quietly(*arguments: object) -> None:
        with suppress(EOFError, OSError, paramiko.SSHException):
            ask(*arguments)

    setattr(file, _ASKING, quietly)


@contextmanager
def _on_its_way(sftp: paramiko.SFTPClient, folder: str) -> Iterator[str]:
    """The path of a new, empty file that is its owner's alone, to be filled and renamed. Deleted where that fails."""
    with temporary_name() as name:
        path = f"{folder}/{name}"
        sftp.open(path, "x").close()
        try:
            _set_mode(sftp, path, 0o600)
            yield path
        except BaseException:
            with suppress(Exception):  # where the connection is gone, the next run clears up
                sftp.remove(path)
            raise


def _set_mode(sftp: paramiko.SFTPClient, path: str, mode: int) -> None:
    with suppress(OSError):  # not every server has modes
        sftp.chmod(path, mode)


def _replace(sftp: paramiko.SFTPClient, source: str, target: str) -> None:
    """Give a file its name, over another if need be."""
    try:
        sftp.posix_rename(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        # A server that knows no more than the standard: the former file steps aside, and comes back if that fails.
        aside = f"{source}.former"
        with suppress(FileNotFoundError):
            sftp.rename(target, aside)
        try:
            sftp.rename(source, target)
        except OSError:
            with suppress(OSError):
                sftp.rename(aside, target)
            raise
        with suppress(FileNotFoundError):
            sftp.remove(aside)


def _items(sftp: paramiko.SFTPClient, path: str) -> list[paramiko.SFTPAttributes]:
    """All that stands in a folder, links as links; nothing where it is not there."""
    try:
        return sftp.listdir_attr(path or "/")
    except FileNotFoundError:
        return []


def _kind(item: paramiko.SFTPAttributes) -> int:
    """As `stat` has it. Where a server tells no modes, everything is taken for a file."""
    return stat.S_IFMT(item.st_mode) if item.st_mode else stat.S_IFREG


def _exists(sftp: paramiko.SFTPClient, path: str) -> bool:
    try:
        sftp.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _is_folder(sftp: paramiko.SFTPClient, path: str) -> bool:
    try:
        return stat.S_ISDIR(sftp.stat(path or "/").st_mode or 0)
    except FileNotFoundError:
        return False


def _make_folder(sftp: paramiko.SFTPClient, path: str, mode: int) -> None:
    """Make a folder, and any above it."""
    if path in ("", ".") or _is_folder(sftp, path):
        return
    _make_folder(sftp, path.rpartition("/")[0], mode)
    try:
        sftp.mkdir(path, mode)
    except OSError:
        if not _is_folder(sftp, path):  # somebody else was faster
            raise
    else:
        _set_mode(sftp, path, mode)  # the server's umask takes away what the group may
