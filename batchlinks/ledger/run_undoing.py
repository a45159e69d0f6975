"""What undoes a run in the ledger: its patients withdrawn together, and links that went to somebody else."""

import sqlite3
from collections.abc import Collection

from batchlinks.ledger.schema import check_value, now


def withdraw_patients_of_run(connection: sqlite3.Connection, run: int) -> int:
    """Within a transaction: everybody whom this run handed out first. Returns how many were not withdrawn like that before."""
    moment = now()
    query = "SELECT link.project, external_id FROM link WHERE handed_by = ? AND handed_out IS NOT NULL"
    rows = [(project, external_id, run, moment) for project, external_id in connection.execute(query, (run,))]
    return connection.executemany(
        "INSERT OR IGNORE INTO run_withdrawal VALUES (?, ?, ?, ?, ?)", ((*row, check_value(*row)) for row in rows)
    ).rowcount


def restore_patients_of_run(connection: sqlite3.Connection, run: int) -> set[str]:
    """Within a transaction: undo `withdraw_patients_of_run`. Returns the IDs that had been withdrawn like that."""
    found = {one for (one,) in connection.execute("SELECT external_id FROM run_withdrawal WHERE run = ?", (run,))}
    connection.execute("DELETE FROM run_withdrawal WHERE run = ?", (run,))
    return found


def restore_patients(connection: sqlite3.Connection, project: int | None, external_ids: Collection[str]) -> set[str]:
    """Within a transaction: these patients, whatever run it was. Returns the IDs that had been withdrawn with one."""
    where = "external_id = ? AND (? IS NULL OR project = ?)"
    found = set()
    for external_id in external_ids:
        deleted = connection.execute(f"DELETE FROM run_withdrawal WHERE {where}", (external_id, project, project))  # noqa: S608
        if deleted.rowcount > 0:
            found.add(external_id)
    return found


def run_withdrawals(connection: sqlite3.Connection, project: int | None = None) -> list[tuple[str, int, str, str]]:
    """External ID, number of the project, when, and ID of the run. Raises ValueError where a record is damaged."""
    query = (
        "SELECT run_withdrawal.project, external_id, run, withdrawn_at, check_value, run_id FROM run_withdrawal"
        " LEFT JOIN run ON run.number = run WHERE ? IS NULL OR run_withdrawal.project = ?"
    )
    rows = connection.execute(query, (project, project)).fetchall()
    if any(value != check_value(*fields) for *fields, value, _ in rows):
        raise ValueError("a record does not fit its check value")
    return [(external_id, number, at, run_id) for number, external_id, _, at, _, run_id in rows]


def withdrawn_by_run(connection: sqlite3.Connection, project: int) -> frozenset[str]:
    """IDs that were withdrawn together with others of a run, in this project. Raises ValueError for damage."""
    return frozenset(external_id for external_id, *_ in run_withdrawals(connection, project))


def expose_link(connection: sqlite3.Connection, project: int, external_id: str, link: str) -> bool:
    """Within a transaction: this link went to somebody else. Returns whether that is new."""
    fields = (project, external_id, link, now())
    statement = "INSERT OR IGNORE INTO exposed_link VALUES (?, ?, ?, ?, ?)"
    return connection.execute(statement, (*fields, check_value(*fields))).rowcount > 0


def exposed_ids(connection: sqlite3.Connection, project: int) -> frozenset[str]:
    """Patients whose link of now went to somebody else. Raises ValueError for damage."""
    query = (
        "SELECT exposed_link.project, external_id, exposed_link.link, exposed_at, exposed_link.check_value"
        " FROM exposed_link JOIN link USING (project, external_id, link) WHERE project = ?"
    )
    rows = connection.execute(query, (project,)).fetchall()
    if any(value != check_value(*fields) for *fields, value in rows):
        raise ValueError("a record does not fit its check value")
    return frozenset(external_id for _, external_id, *_ in rows)
