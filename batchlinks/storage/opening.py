"""Which kind of storage an address or a path means. The only file that knows all kinds.

What is elsewhere (`s3://bucket/path`, `sftp://host/path`, and whatever else fsspec opens) comes with the extra `remote`,
and is imported when an address asks for it.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from batchlinks.errors import SettingsError
from batchlinks.storage.address import Address
from batchlinks.storage.folder import Folder
from batchlinks.storage.local import LocalFolder

if TYPE_CHECKING:
    from batchlinks.storage.remote_folder import RemoteFolder
    from batchlinks.storage.store import Store

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters at least: `C://` is a drive


def is_address(text: str) -> bool:
    """Whether this speaks of a place as `s3://bucket/in` does, and not of a path on this computer."""
    return _SCHEME.match(text) is not None


def open_folder(address: str) -> Folder:
    """The folder that an address or a path names; whether it is there is not looked at. Raises SettingsError."""
    found = _SCHEME.match(address)
    if found is None:
        return LocalFolder(Path(address).absolute())
    if found[1].lower() == "file":
        return LocalFolder(Path(unquote(urlsplit(address).path)))
    return _open_remote(address)


_OF_THE_EXTRA = ("fsspec", "paramiko", "s3fs")


def _open_remote(text: str) -> "RemoteFolder":
    """The folder at an address. Nothing is asked of it yet. Raises SettingsError."""
    address = Address.of(text)
    store = _store_for(address)
    from batchlinks.storage.remote_folder import RemoteFolder

    return RemoteFolder(store, store.path_of(address), str(address))


def fetch(text: str, *, at_most: int) -> tuple[Address, bytes]:
    """What the file at an address holds, no more than the first `at_most` bytes. Raises SettingsError or FolderError."""
    address = Address.of(text)
    if text.endswith("/") or not address.name:
        raise SettingsError(f"{address} is the address of a folder. Name the file in it that is the patient list.")
    store = _store_for(address)
    from batchlinks.storage.remote_folder import read_file

    return address, read_file(store, address, at_most=at_most)


def _store_for(address: Address) -> "Store":
    try:
        if address.scheme == "s3":
            from batchlinks.storage.s3 import S3Store

            return S3Store(address)
        if address.scheme == "sftp":
            from batchlinks.storage.sftp import SftpStore

            return SftpStore(address)
        from batchlinks.storage.store import AnyStore

        return AnyStore(address)
    except ImportError as error:
        what = "batchlinks[remote]" if error.name in _OF_THE_EXTRA else f"What fsspec needs for {address.scheme}://"
        raise SettingsError(f'{what} is not installed. Try: pip install "batchlinks[remote]"') from error
