"""The links of the stand-in, right ones and wrong ones."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias
from urllib.parse import quote, quote_plus

XidEncoding: TypeAlias = Literal["raw", "percent", "plus"]

_ENCODERS: dict[XidEncoding, Callable[[str], str]] = {
    "raw": str,
    "percent": partial(quote, safe=""),
    "plus": quote_plus,
}


class LinkMaker:
    """Makes links in the form of the public documentation. The same key and arguments make the same link."""

    def __init__(self, host: str, xid_encoding: XidEncoding, *, seed: int) -> None:
        self._host = host
        self._encode = _ENCODERS[xid_encoding]
        self._key = hashlib.sha256(f"links of the stand-in {seed}".encode()).digest()

    def right(self, project: str, external_id: str, issue: int = 1) -> str:
        """The link of this ID; another one for every `issue`."""
        return self._with_xid(project, external_id, self._signature(project, external_id, issue))

    def foreign_host(self, project: str, external_id: str) -> str:
        """On a host that only begins like the right one."""
        return self.right(project, external_id).replace(self._host, f"{self._host}.elsewhere.invalid", 1)

    def http(self, project: str, external_id: str) -> str:
        return "http" + self.right(project, external_id).removeprefix("https")

    def without_xid(self, project: str) -> str:
        return self._page(project)

    def same_for_all(self, project: str) -> str:
        return self._with_xid(project, "shared", self._signature(project, "shared", 0))

    def unnamed(self, project: str, external_id: str) -> str:
        """This ID's own, with an opaque value in the ID's place."""
        opaque = self._signature(project, external_id, 0)[:22]
        return self._with_xid(project, opaque, self._signature(project, external_id, 1))

    def short_xid(self, project: str, external_id: str) -> str:
        """Without the ID's last character, as in the documentation's own example."""
        return self._with_xid(project, external_id[:-1], self._signature(project, external_id, 1))

    def _page(self, project: str) -> str:
        return f"https://{self._host}/#/patient-consent/{project}/enrollment/link"

    def _with_xid(self, project: str, external_id: str, signature: str) -> str:
        return f"{self._page(project)}?xid={self._encode(external_id)}.{signature}"

    def _signature(self, project: str, external_id: str, issue: int) -> str:
        signed = hmac.digest(self._key, f"{issue}\n{project}\n{external_id}".encode(), "sha256")
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()
