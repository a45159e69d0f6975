"""Places on other computers: `s3://bucket/path`, `sftp://host/path`, and whatever else fsspec opens.

`address` says what an address means, `place` is the folder that the rest of batchlinks sees, `store` is what every kind
of storage can do, and `s3` and `sftp` do it their own way. Comes with the extra `remote`.
"""

from typing import TYPE_CHECKING

from batchlinks.errors import SettingsError
from batchlinks.storage.address import Address

if TYPE_CHECKING:
    from batchlinks.storage.remote_folder import RemotePlace
    from batchlinks.storage.store import Store

_OF_THE_EXTRA = ("fsspec", "paramiko", "s3fs")


def open_remote(text: str) -> "RemotePlace":
    """The folder at an address. Nothing is asked of it yet. Raises SettingsError."""
    address = Address.of(text)
    store = _store_for(address)
    from batchlinks.storage.remote_folder import RemotePlace

    return RemotePlace(store, store.path_of(address), str(address))


def fetch(text: str, *, at_most: int) -> tuple[Address, bytes]:
    """What the file at an address holds, no more than the first `at_most` bytes. Raises SettingsError or PlaceError."""
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
