"""The secret key beside a ledger: with it, what is remembered of patients can be compared and not read.

A hash of an ID or of a birth year alone is guessed in a second, by trying all of them; one with a key that lies in
another file is not. A copy of the ledger without this file tells nothing of who its patients are.
"""

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Self

from batchlinks.config.small_files import read_small_file
from batchlinks.errors import SettingsError
from batchlinks.next_steps import Advice, Do
from batchlinks.storage.private_files import fsync_folder, private

_HEADING = "batchlinks ledger key 1"
_BYTES = 32
_AT_MOST = 4_096


def key_path(ledger: Path) -> Path:
    """The file of a ledger's key: beside it, named after it."""
    return ledger.with_name(f"{ledger.name}.key")


class LedgerKey:
    """Makes keyed hashes of what must not be kept in clear. The same key makes the same hash of the same text."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """`secret`: 32 random bytes."""
        if len(secret) != _BYTES:
            raise ValueError("a key has 32 bytes")
        self._secret = secret

    def __repr__(self) -> str:
        return "LedgerKey(***)"

    @classmethod
    def new(cls) -> Self:
        """One that is kept nowhere: for a ledger in memory."""
        return cls(secrets.token_bytes(_BYTES))

    @classmethod
    def load(cls, ledger: Path) -> Self:
        """The key of the ledger at this path, made where there is none. Raises SettingsError where that cannot be done.

        Two runs may do this at once: both have the key of the first.
        """
        path = key_path(ledger)
        try:
            found = cls.find(ledger)
            if found is not None:
                return found
            made = cls.new()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            made._write(ledger)
            return cls.find(ledger) or made
        except OSError as error:
            raise _cannot_be_used(path, f"it cannot be made ({error.strerror})") from error

    @classmethod
    def find(cls, ledger: Path) -> Self | None:
        """The key of the ledger at this path; None where there is none, or it is damaged. Makes nothing.

        Raises SettingsError for a file in its place that is no key, or that cannot be read.
        """
        path = key_path(ledger)
        try:
            content = read_small_file(path, _AT_MOST)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _cannot_be_used(path, f"it cannot be read ({error.strerror})") from error
        lines = content.decode("ascii", "replace").strip("\0 \r\n").splitlines()
        if lines and lines[0] != _HEADING:  # never to be written over: it may be somebody's own
            raise _cannot_be_used(path, "it holds something else")
        try:
            return cls(bytes.fromhex(lines[1]))
        except (IndexError, ValueError):
            return None

    @property
    def fingerprint(self) -> str:
        """Tells this key from others, and nothing about it: 16 hexadecimal digits."""
        return self.digest("", kind="fingerprint")[:16]

    def digest(self, text: str, kind: str = "id") -> str:
        """Stands for one text, and no other: 32 hexadecimal digits. `kind`: as for `tag`."""
        return self._hash(kind, text, 16).hex()

    def tag(self, kind: str, text: str, bits: int) -> int:
        """A number of so many bits (16 at most), which many texts share, so that it tells little about any of them.

        `kind` says what the text is, in 16 bytes at most: the same text has unrelated hashes as two kinds.
        """
        return int.from_bytes(self._hash(kind, text, 2)) >> (16 - bits)

    def _hash(self, kind: str, text: str, size: int) -> bytes:
        content = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(content, digest_size=size, key=self._secret, person=kind.encode()).digest()

    def _write(self, ledger: Path) -> None:
        """Into a file that comes whole. Where another run is faster, its key stays."""
        path = key_path(ledger)
        unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            with open(unfinished, "x", encoding="ascii", opener=private) as file:
                file.write(f"{_HEADING}\n{self._secret.hex()}\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                path.hardlink_to(unfinished)
            except FileExistsError:
                if self.find(ledger) is None:  # damaged: it has been seen that it is nothing else
                    unfinished.replace(path)
            except OSError:  # a file system without hard links
                unfinished.replace(path)
            fsync_folder(path.parent)
        finally:
            with suppress(OSError):
                unfinished.unlink()


def _cannot_be_used(path: Path, why: str) -> SettingsError:
    return SettingsError(f"The ledger's key {path} cannot be used: {why}. ", Advice(Do.CHANGE_LEDGER))
