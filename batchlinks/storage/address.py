"""What an address such as `sftp://host/path` means, and how it is shown: never with anything that lets somebody in."""

import re
from dataclasses import dataclass, field
from typing import Self

from batchlinks.config.settings import THIS_MACHINE
from batchlinks.errors import SettingsError

_SHAPE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+)://(?P<authority>[^/]*)(?P<path>(?:/.*)?)", re.DOTALL)
_AUTHORITY = re.compile(r"(?:(?P<user>[^@]*)@)?(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:@]*)(?::(?P<port>\d{1,5}))?")
_IN_CLEAR = {"http": "https", "ftp": "sftp"}
"""Kinds that send everything in clear, and what to use in their place."""

_WHERE_PASSWORDS_BELONG = {
    "sftp": "Use a key, or set BATCHLINKS_SFTP_PASSWORD (or the same with _FILE)",
    "s3": "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
}


@dataclass(frozen=True, slots=True)
class Address:
    """An address, taken apart. Its text (`str`) is for messages."""

    scheme: str
    host: str
    """Or bucket; without the brackets of IPv6."""

    path: str
    """From the root, `/in/lists`; "" for the root itself. Characters stand as they are: nothing is percent-decoded."""

    user: str | None = None
    port: int | None = None
    query: str = field(default="", repr=False)
    """Of a web address, with its `?`: signed ones have their signature there."""

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises SettingsError for what is no address, holds a password, or would send patients in clear."""
        found = _SHAPE.fullmatch(text)
        if found is None:
            raise SettingsError("The address of a folder elsewhere looks like s3://bucket/path or sftp://host/path.")
        scheme = {"ssh": "sftp", "s3a": "s3"}.get(found["scheme"].lower(), found["scheme"].lower())
        _refuse_password(scheme, found["authority"])
        parts = _AUTHORITY.fullmatch(found["authority"])
        if parts is None or not parts["host"] or int(parts["port"] or 1) not in range(1, 65_536):
            raise SettingsError(f"The address that begins with {scheme}:// does not name a host or bucket.")
        path, query = found["path"], ""
        if scheme in ("http", "https"):
            path, mark, query = path.partition("?")
            query = mark + query
        address = cls(
            scheme,
            parts["host"].strip("[]"),
            path.rstrip("/"),
            parts["user"] or None,
            int(parts["port"] or 0) or None,
            query,
        )
        refuse_clear(scheme, address.host, "The address")
        return address

    @property
    def origin(self) -> str:
        """Without path, user and query."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{f':{self.port}' if self.port else ''}"

    def __str__(self) -> str:
        return f"{self.origin}{self.path}"

    @property
    def name(self) -> str:
        """The last part of the path: that of a file, where the address is a file's."""
        return self.path.rpartition("/")[2]

    @property
    def identity(self) -> str:
        """Tells this file or folder from every other. Not for messages."""
        user = f"{self.user}@" if self.user else ""
        return f"{self.origin.replace('://', f'://{user}', 1)}{self.path}"

    @property
    def whole(self) -> str:
        """As the storage's own library takes it. Not for messages."""
        return f"{self.identity}{self.query}"


def refuse_clear(scheme: str, host: str, what: str) -> None:
    """Raise SettingsError where patients' data would travel in clear to another computer."""
    if scheme in _IN_CLEAR and host not in THIS_MACHINE:
        raise SettingsError(
            f"{what} begins with {scheme}://, so patients' data would travel in clear. Use {_IN_CLEAR[scheme]}:// "
            f"({scheme}:// is for this computer only)."
        )


def _refuse_password(scheme: str, authority: str) -> None:
    user, at, _ = authority.rpartition("@")
    if at and (":" in user or scheme == "s3"):
        instead = _WHERE_PASSWORDS_BELONG.get(scheme, "Give it where this kind of storage keeps it")
        raise SettingsError(
            f"The address that begins with {scheme}:// holds a password or key, which others could read. {instead}."
        )
