"""What came on earlier nights, so that a roster that should have come is missed (`expect_by`)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from batchlinks.errors import ExitCode
from batchlinks.logs import logger
from batchlinks.nightly.tables import RosterTable
from batchlinks.results.summary import Summary
from batchlinks.storage.local import LocalFolder

_NAME = "nights.json"
_DAYS_KEPT = 8


@dataclass(frozen=True, slots=True)
class Receipt:
    """A roster that came."""

    day: str
    """Local date of the night that took it."""

    sha256: str | None = None
    rows: int | None = None
    """Both None where it could not be run."""


@dataclass(slots=True)
class NightlyHistory:
    """Of one inbox: receipts by table, and when the nights were."""

    last_night: str | None = None
    first_night: dict[str, str] = field(default_factory=dict)
    """By table: the local date on which it was first there."""

    receipts: dict[str, list[Receipt]] = field(default_factory=dict)
    """By table, in the order in which they came; the last week's, and always the latest."""

    succeeded: dict[str, float] = field(default_factory=dict)
    """By table: when one last ended with exit code 0 or 3, in seconds since the epoch."""

    def take_in(self, table: str, now: datetime, day: str, summary: Summary | None, code: ExitCode) -> None:
        """A roster of this table was taken on this day, and has now come to this."""
        receipt = Receipt(day, summary.roster_sha256, summary.rows) if summary is not None else Receipt(day)
        self.receipts.setdefault(table, []).append(receipt)
        if code in (ExitCode.DONE, ExitCode.DONE_WITH_ERRORS):
            self.succeeded[table] = now.timestamp()

    def forget_old(self, today: date) -> None:
        oldest = (today - timedelta(days=_DAYS_KEPT)).isoformat()
        self.receipts = {
            table: [each for each in receipts[:-1] if each.day >= oldest] + receipts[-1:]
            for table, receipts in self.receipts.items()
        }


def missing(tables: Sequence[RosterTable], history: NightlyHistory, now: datetime) -> dict[str, str]:
    """Table -> what is wrong, in words, for each whose roster should have come by now and did not.

    A day's roster is due at `expect_by` of that day. One that is empty, or the same as the one before it, does not count.
    Before that time of day the day before is looked at, for a job that runs before the time that it is to watch.
    """
    found = {}
    for table in tables:
        if table.expect_by is None:
            continue
        due = now.date() if now.time() >= table.expect_by else now.date() - timedelta(days=1)
        first = history.first_night.setdefault(table.name, now.date().isoformat())
        if due.isoformat() >= first and (problem := _problem(history.receipts.get(table.name, []), due.isoformat())):
            found[table.name] = f"{problem} by {table.expect_by:%H:%M} of {due.isoformat()}"
    return found


def _problem(receipts: Sequence[Receipt], due: str) -> str | None:
    problem = "no patient list came"
    for number, receipt in enumerate(receipts):
        if receipt.day < due:
            continue
        if receipt.rows == 0:
            problem = "only an empty patient list came"
        elif number and receipt.sha256 is not None and receipts[number - 1].sha256 == receipt.sha256:
            problem = "only the same patient list as before came"
        else:
            return None
    return problem


def recall(folder: Path, inbox: str) -> NightlyHistory:
    """What is known of this inbox. Nothing where the file is not there or cannot be read: it is only a reminder."""
    written = _read(folder).get(inbox)
    if not isinstance(written, dict):
        return NightlyHistory()
    try:
        return NightlyHistory(
            last_night=written["last_night"],
            first_night=dict(written["first_night"]),
            receipts={table: [Receipt(**each) for each in receipts] for table, receipts in written["receipts"].items()},
            succeeded=dict(written.get("succeeded", {})),
        )
    except (KeyError, TypeError, AttributeError):
        return NightlyHistory()


def remember(folder: Path, inbox: str, history: NightlyHistory) -> None:
    """Write it down for the next night. Raises FolderError."""
    content = {**_read(folder), inbox: asdict(history)}
    LocalFolder(folder).write(_NAME, json.dumps(content, indent=1).encode())


def _read(folder: Path) -> Mapping[str, Any]:
    path = folder / _NAME
    try:
        content = json.loads(path.read_bytes()) if path.exists() else {}
    except (OSError, ValueError):
        logger().warning(f"{path} cannot be read, so it is not known what came on earlier nights.")
        return {}
    return content if isinstance(content, dict) else {}
