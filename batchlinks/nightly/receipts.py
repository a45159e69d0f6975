"""What came on earlier nights, so that a roster that should have come is missed, and one that has shrunk is noticed."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from batchlinks.errors import ExitCode
from batchlinks.logs import logger
from batchlinks.nightly.inbox import Claim
from batchlinks.nightly.tables import RosterTable
from batchlinks.results.summary import Summary
from batchlinks.storage.local import LocalFolder

_NAME = "nights.json"
_DAYS_KEPT = 8
_NAMES_KEPT = 500


@dataclass(frozen=True, slots=True)
class Receipt:
    """A roster that came."""

    day: str
    """Local date of the night that took it."""

    sha256: str | None = None
    rows: int | None = None
    """Both None where it could not be run."""

    claim: str = ""
    """The ID of its claim: one that is taken up again on a later night is still the same one."""


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

    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    """By table and name (digits aside): the rows of the last list that was done; the latest last."""

    def take_in(self, table: str, now: datetime, claim: Claim, summary: Summary | None, code: ExitCode) -> None:
        """A roster of this table has now come to this."""
        receipt = Receipt(claim.taken or now.date().isoformat(), claim=claim.id)
        if summary is not None:
            receipt = replace(receipt, sha256=summary.roster_sha256, rows=summary.rows)
        known = self.receipts.setdefault(table, [])
        earlier = next((place for place, each in enumerate(known) if each.claim == claim.id), None)
        if earlier is None:
            known.append(receipt)
        else:
            known[earlier] = receipt
        if code in (ExitCode.DONE, ExitCode.DONE_WITH_ERRORS):
            self.succeeded[table] = now.timestamp()
            if summary is not None:
                sizes = self.rows.setdefault(table, {})
                sizes.pop(_without_digits(claim.original), None)
                sizes[_without_digits(claim.original)] = summary.rows

    def rows_before(self, table: str, name: str) -> int | None:
        """The rows of the last list of this name (digits aside) that was done; None where there was none."""
        return self.rows.get(table, {}).get(_without_digits(name))

    def forget_old(self, today: date) -> None:
        oldest = (today - timedelta(days=_DAYS_KEPT)).isoformat()
        self.receipts = {
            table: [each for each in receipts[:-1] if each.day >= oldest] + receipts[-1:]
            for table, receipts in self.receipts.items()
        }
        self.rows = {table: dict([*sizes.items()][-_NAMES_KEPT:]) for table, sizes in self.rows.items()}


def _without_digits(name: str) -> str:
    """`Clinic_2026-11-24.csv` → `clinic_--.csv`: the same for the list of every day."""
    return re.sub(r"\d+", "", name).lower()


def missing(tables: Sequence[RosterTable], history: NightlyHistory, now: datetime) -> dict[str, str]:
    """Table -> what is wrong, in words, for each whose roster should have come by now and did not.

    A day's roster is due at `expect_by` of that day. One that is empty does not count; nor does the same as the one before
    it, unless the table says that this is fine. Before that time the last day on which one was due is looked at, for a job
    that runs before the time that it is to watch.
    """
    found = {}
    for table in tables:
        first = history.first_night.setdefault(table.name, now.date().isoformat())
        if table.expect_by is None:
            continue
        due = table.expect_by.latest(now).isoformat()
        receipts = history.receipts.get(table.name, [])
        if due >= first and (problem := _problem(receipts, due, same_list_is_fine=table.same_list_is_fine)):
            found[table.name] = f"{problem} by {table.expect_by.at:%H:%M} of {due}"
    return found


def _problem(receipts: Sequence[Receipt], due: str, *, same_list_is_fine: bool) -> str | None:
    problem = "no patient list came"
    for number, receipt in enumerate(receipts):
        if receipt.day < due:
            continue
        same = number and receipt.sha256 is not None and receipts[number - 1].sha256 == receipt.sha256
        if receipt.rows == 0:
            problem = "only an empty patient list came"
        elif same and not same_list_is_fine:
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
            rows={table: dict(sizes) for table, sizes in written.get("rows", {}).items()},
        )
    except (KeyError, TypeError, AttributeError, ValueError):
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
