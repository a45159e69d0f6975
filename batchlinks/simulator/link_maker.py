"""The links of the stand-in, right ones and wrong ones."""

import base64
import hashlib
import hmac
import itertools
import re
import string
from collections.abc import Callable
from functools import partial
from urllib.parse import quote, quote_plus

from batchlinks.simulator.behavior import SimulatorOptions
from batchlinks.simulator.faults import draw

_ENCODERS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "space": lambda text: text.replace(" ", "%20"),
    "percent": partial(quote, safe=""),
    "percent-twice": lambda text: quote(quote(text, safe=""), safe=""),
    "plus": quote_plus,
}
_SPELLERS: dict[str, Callable[[str], str]] = {
    "exact": str,
    "lower": str.lower,
    "upper": str.upper,
    "no-zeros": partial(re.sub, r"(?<![0-9])0+(?=[0-9])", ""),
    "no-separators": partial(re.sub, r"[-\s_./:#*~]", ""),
}
_ALIKE = (string.digits, string.ascii_lowercase, string.ascii_uppercase)


class LinkMaker:
    """Makes links in the form of the public documentation. The same options and arguments make the same link."""

    def __init__(self, options: SimulatorOptions) -> None:
        self._host = options.link_host
        self._encode = _ENCODERS[options.xid_encoding]
        self._spell = _SPELLERS[options.xid_spelling]
        self._spelled = options.xid_spelled
        self._seed = options.seed
        self._listed = sorted(options.listed_ids)
        self._key = hashlib.sha256(f"links of the stand-in {options.seed}".encode()).digest()

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

    def stranger(self, project: str, external_id: str) -> str:
        """Of an ID that looks like this one, character by character, and is another."""
        others = (self._lookalike(external_id, attempt) for attempt in itertools.count())
        return self.right(project, next(other for other in others if other != external_id))

    def listed(self, project: str, external_id: str) -> str:
        """Of one of the listed IDs; a stranger's where none are."""
        if not self._listed:
            return self.stranger(project, external_id)
        return self.right(project, self._listed[int(draw(self._seed, external_id, 0)[0] * len(self._listed))])

    def _lookalike(self, external_id: str, attempt: int) -> str:
        def other(position: int, character: str) -> str:
            alike = next((characters for characters in _ALIKE if character in characters), "0123456789x")
            if alike not in _ALIKE and external_id.strip(string.punctuation + " "):
                return character
            return alike[int(draw(self._seed, f"{position} {external_id}", attempt)[1] * len(alike))]

        return "".join(itertools.starmap(other, enumerate(external_id)))

    def _page(self, project: str) -> str:
        return f"https://{self._host}/#/patient-consent/{project}/enrollment/link"

    def _with_xid(self, project: str, external_id: str, signature: str) -> str:
        spelled = draw(self._seed, external_id, 0)[2] < self._spelled
        xid = self._encode(self._spell(external_id) if spelled else external_id)
        return f"{self._page(project)}?xid={xid}.{signature}"

    def _signature(self, project: str, external_id: str, issue: int) -> str:
        signed = hmac.digest(self._key, f"{issue}\n{project}\n{external_id}".encode(), "sha256")
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()
