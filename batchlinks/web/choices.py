"""What a person chose for lists with the same columns, so that it need not be chosen again: column, sheet, header, encoding.

Overrides (lengths, shapes, columns that hold something else) are never remembered: the next list may be wrong where this one
was right. A project is remembered only to be proposed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batchlinks.errors import BatchlinksError
from batchlinks.storage.local import LocalFolder

REMEMBERED = ("id_column", "id_join", "sheet", "header_row", "encoding")
PROPOSED = ("project", "project_id")
_NAME = "choices.json"
_MOST = 1_000


class RememberedChoices:
    """In a file of the data folder, by digests of user and headers; a damaged file is an empty one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def recall(self, user: str | None, headers: Sequence[str]) -> Mapping[str, Any]:
        """The settings that this user chose for a list with these headers; empty where there are none."""
        found = self._read().get(_key(user, headers), {})
        return found if isinstance(found, dict) else {}

    def remember(self, user: str | None, headers: Sequence[str], settings: Mapping[str, Any]) -> None:
        """Keep the choices among these settings, for a list that was sent with them."""
        chosen = {name: settings[name] for name in (*REMEMBERED, *PROPOSED) if name in settings}
        known = self._read()
        known.pop(_key(user, headers), None)
        known[_key(user, headers)] = chosen
        latest = dict(list(known.items())[-_MOST:])
        LocalFolder(self._folder).write(_NAME, json.dumps(latest).encode())

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads((self._folder / _NAME).read_bytes())
        except (OSError, ValueError, BatchlinksError):
            return {}
        return content if isinstance(content, dict) else {}


def _key(user: str | None, headers: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([user, *headers]).encode()).hexdigest()[:32]
