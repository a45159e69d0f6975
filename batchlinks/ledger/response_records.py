"""What HealthEx showed of each patient when it was asked last, and who was reminded when.

Of responses the latest alone is kept, and of HealthEx's own IDs of a patient a keyed hash: enough to see that two IDs of ours
are one patient there. Both are forgotten with the patient.
"""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchlinks.ledger.schema import check_value, days_ago


@dataclass(frozen=True, slots=True)
class ResponseRecord:
    """The latest answer about one patient and one kind of consent. Times are ISO 8601, UTC."""

    external_id: str = field(repr=False)
    consent_type: str
    response: str
    asked_at: str
    expires_at: str = ""
    """When the consent ends; "" where it does not, or there is none."""

    patients: str = field(default="", repr=False)
    """Keyed hashes of HealthEx's own IDs of the patient, in their order, with spaces between."""


@dataclass(frozen=True, slots=True)
class ReminderRecord:
    """How often a patient was reminded, and when last (ISO 8601, UTC)."""

    external_id: str = field(repr=False)
    times: int
    last_at: str


RESPONSE = "response.external_id, consent_type, response, asked_at, expires_at, patients, response.check_value"
"""What `response_of` takes."""

REMINDER = "reminder.external_id, run_id, reminded_at, reminder.check_value"


def response_of(project: int, row: Sequence[Any]) -> ResponseRecord:
    """From a row of `RESPONSE`. Raises ValueError where it does not hold any more what was written."""
    *fields, value = row
    if value != check_value(project, *fields):
        raise ValueError("a record does not fit its check value")
    return ResponseRecord(*fields)


def reminders_of(project: int, rows: Iterable[Sequence[Any]], *, but: Collection[str]) -> Iterator[ReminderRecord]:
    """One for each patient in rows of `REMINDER`, leaving out what these runs did. Raises ValueError for damage."""
    found: dict[str, list[str]] = {}
    for external_id, run_id, reminded_at, value in rows:
        if value != check_value(project, external_id, run_id, reminded_at):
            raise ValueError("a record does not fit its check value")
        if run_id not in but:
            found.setdefault(external_id, []).append(reminded_at)
    for external_id, times in found.items():
        yield ReminderRecord(external_id, len(times), max(times))


def note_responses(connection: sqlite3.Connection, project: int, records: Iterable[ResponseRecord]) -> None:
    """Within a transaction: these are the latest."""
    connection.executemany(
        "INSERT OR REPLACE INTO response (project, external_id, consent_type, response, asked_at, expires_at, patients,"
        " check_value) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        ((project, *_fields(record), check_value(project, *_fields(record))) for record in records),
    )


def note_reminders(
    connection: sqlite3.Connection,
    project: int,
    external_ids: Iterable[str],
    *,
    run_id: str,
    moment: str,
    instead_of: Collection[str],
) -> None:
    """Within a transaction: these patients were reminded by this run, and nobody by the runs `instead_of` which it is."""
    connection.executemany(
        "DELETE FROM reminder WHERE project = ? AND run_id = ?", ((project, gone) for gone in instead_of)
    )
    connection.executemany(
        "INSERT OR REPLACE INTO reminder (project, external_id, run_id, reminded_at, check_value) VALUES (?, ?, ?, ?, ?)",
        (
            (project, external_id, run_id, moment, check_value(project, external_id, run_id, moment))
            for external_id in external_ids
        ),
    )


def forget_responses(connection: sqlite3.Connection, project: int, *, older_than_days: int) -> int:
    """Within a transaction: delete what was asked so long ago. Returns how many patients that were."""
    condition = "FROM response WHERE project = ? AND asked_at <= ?"
    values = (project, days_ago(older_than_days))
    (number,) = connection.execute(f"SELECT count(DISTINCT external_id) {condition}", values).fetchone()
    connection.execute(f"DELETE {condition}", values)
    return int(number)


def _fields(record: ResponseRecord) -> tuple[str, ...]:
    return (
        record.external_id,
        record.consent_type,
        record.response,
        record.asked_at,
        record.expires_at,
        record.patients,
    )
