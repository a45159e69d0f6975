"""What is recorded of a project's links as such: whether they name their patients, and what IT has said about it."""

import sqlite3
from dataclasses import dataclass

from batchlinks.ledger.schema import check_value, now


@dataclass(frozen=True, slots=True)
class Naming:
    """Of one project."""

    names: bool | None = None
    """Whether a link of it has named a patient. None: not decided so far, as too few were seen."""

    accepted_at: str | None = None
    """Since when links that name nobody are used all the same (ISO 8601, UTC); None where IT has not said so."""


def read_naming(connection: sqlite3.Connection, project: int) -> Naming:
    """Raises ValueError where it is damaged."""
    query = "SELECT names_ids, accepted_at, decided_at, check_value FROM naming WHERE project = ?"
    found = connection.execute(query, (project,)).fetchone()
    if found is None:
        return Naming()
    *fields, value = found
    if value != check_value(project, *fields):
        raise ValueError("a record does not fit its check value")
    names, accepted_at, _ = fields
    return Naming(None if names is None else bool(names), accepted_at)


def note_naming(connection: sqlite3.Connection, project: int, names: bool) -> None:
    """Within a transaction: whether the project's links name their patients. Once one has, that stays."""
    before = read_naming(connection, project)
    if before.names is None or (names and not before.names):
        _write(connection, project, Naming(names, before.accepted_at))


def note_acceptance(connection: sqlite3.Connection, project: int, *, accepted: bool) -> bool:
    """Within a transaction: links of this project that name nobody are used all the same, or not any more.

    Returns whether that is another than before.
    """
    before = read_naming(connection, project)
    if accepted == (before.accepted_at is not None):
        return False
    _write(connection, project, Naming(before.names, now() if accepted else None))
    return True


def _write(connection: sqlite3.Connection, project: int, naming: Naming) -> None:
    fields = (None if naming.names is None else int(naming.names), naming.accepted_at, now())
    connection.execute(
        "INSERT OR REPLACE INTO naming (project, names_ids, accepted_at, decided_at, check_value) VALUES (?, ?, ?, ?, ?)",
        (project, *fields, check_value(project, *fields)),
    )
