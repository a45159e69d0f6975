"""`installation.jsonl` in the data folder: what this installation has had, so that it is missed when it is gone.

A line for each ledger in which links of a project were recorded, the latest counting; lines are only ever added, so that two
runs at once do not undo each other's. No patient is in it.
"""

import json
import os
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from batchlinks.config.paths import data_folder

NAME = "installation.jsonl"


class Installation:
    """What is remembered in one data folder. Reading never fails: what is damaged is as if it had not been written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """That of this user, or of BATCHLINKS_DATA_DIR."""
        return cls(data_folder(environment))

    def expected_ledger(self, ledger: Path, api: str, project_id: str) -> str | None:
        """ID of the ledger at this path in which links of the project were recorded last; None where none were."""
        key = self._key(ledger), api, project_id
        found = [line["ledger_id"] for line in self._ledgers() if _key_of(line) == key]
        return found[-1] if found else None

    def had_ledger(self, ledger: Path, api: str | None = None) -> bool:
        """Whether links were recorded at this path, of whichever project; of this API, or any."""
        place = self._key(ledger)
        return any(line["ledger"] == place and api in (None, line["api"]) for line in self._ledgers())

    def ledger_ids(self) -> frozenset[str]:
        """Of all ledgers that were ever here, and of those that somebody said are fine."""
        return frozenset(line["ledger_id"] for line in self._lines() if isinstance(line.get("ledger_id"), str))

    def remember_ledger(self, ledger: Path, api: str, project_id: str, ledger_id: str) -> None:
        """Links of this project are recorded in this ledger. Raises OSError."""
        if self.expected_ledger(ledger, api, project_id) != ledger_id:
            self._add(ledger=self._key(ledger), api=api, project_id=project_id, ledger_id=ledger_id)

    def accept_ledgers(self, ledger_ids: Collection[str]) -> None:
        """Results of these ledgers of elsewhere are no surprise any more. Raises OSError."""
        for ledger_id in sorted(set(ledger_ids) - self.ledger_ids()):
            self._add(ledger_id=ledger_id)

    @property
    def had_do_not_contact(self) -> bool:
        """Whether somebody was ever put onto the list of people not to contact in this folder."""
        return any(line.get("do_not_contact") is True for line in self._lines())

    def remember_do_not_contact(self) -> None:
        """Somebody is on that list. Raises OSError."""
        if not self.had_do_not_contact:
            self._add(do_not_contact=True)

    def _key(self, ledger: Path) -> str:
        """The path, so that a data folder that was moved as a whole still knows what is in it."""
        resolved, folder = ledger.resolve(), self._folder.resolve()
        return resolved.relative_to(folder).as_posix() if resolved.is_relative_to(folder) else str(resolved)

    def _ledgers(self) -> Iterator[Mapping[str, Any]]:
        names = ("ledger", "api", "project_id", "ledger_id")
        return (line for line in self._lines() if all(isinstance(line.get(name), str) for name in names))

    def _lines(self) -> Iterator[Mapping[str, Any]]:
        try:
            content = (self._folder / NAME).read_bytes()
        except OSError:
            return
        for text in content.splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # half a line, from a power cut
                continue
            if isinstance(line, dict):
                yield line

    def _add(self, **facts: str | bool) -> None:
        moment = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        # A line break before it too: the line before may have been cut off.
        line = f"\n{json.dumps({'time': moment, **facts}, separators=(',', ':'))}\n".encode()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _key_of(line: Mapping[str, Any]) -> tuple[str, str, str]:
    return line["ledger"], line["api"], line["project_id"]
