"""What stands in a ledger, and how one of an older version becomes one of this: a function for each step.

A step and the note that it was done are one transaction, so that a ledger is of one version or the next.
"""

import hashlib
import secrets
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zlib import crc32

APPLICATION_ID = 0x6C6E6B73
""""lnks": what tells a ledger from any other SQLite file."""


def check_value(*fields: object) -> int:
    """What is stored beside a record to tell later whether it still holds what was written: its CRC-32.

    SQLite notices damage to the structure of its file, and not to what stands in it. A damaged byte, and any few beside
    each other, always change a CRC.
    """
    return crc32("\n".join(map(str, fields)).encode("utf-8", "surrogatepass"))


def link_check_value(project: int, external_id: str, link: str, issued_at: str) -> int:
    """`check_value` of a link, in half the time: a million of them are held against theirs in a run."""
    return crc32(f"{project}\n{external_id}\n{link}\n{issued_at}".encode("utf-8", "surrogatepass"))


def now() -> str:
    """The time as the ledger has it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def days_ago(days: int) -> str:
    """That moment, as the ledger has it."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")


def _first_tables(connection: sqlite3.Connection) -> None:
    connection.execute(
        """
        CREATE TABLE project (
            number      INTEGER PRIMARY KEY,
            api         TEXT NOT NULL,
            project_id  TEXT NOT NULL,
            UNIQUE (api, project_id)
        )
        """
    )
    connection.execute(
        """
        CREATE TABLE link (
            project     INTEGER NOT NULL REFERENCES project,
            external_id TEXT NOT NULL,
            link        TEXT NOT NULL,
            issued_at   TEXT NOT NULL,
            handed_out  TEXT,
            PRIMARY KEY (project, external_id)
        ) WITHOUT ROWID
        """
    )
    connection.execute(
        """
        CREATE TABLE withdrawn (
            project     INTEGER NOT NULL REFERENCES project,
            external_id TEXT NOT NULL,
            at          TEXT NOT NULL,
            PRIMARY KEY (project, external_id)
        ) WITHOUT ROWID
        """
    )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _runs_and_check_values(connection: sqlite3.Connection) -> None:
    """Which run issued a link and which handed it out; a check value in each record; withdrawals for every project."""
    connection.execute(
        """
        CREATE TABLE run (
            number      INTEGER PRIMARY KEY,
            run_id      TEXT NOT NULL UNIQUE,
            project     INTEGER NOT NULL REFERENCES project,
            owner       TEXT NOT NULL,     -- whose results: the digest of roster and project
            refresh     INTEGER NOT NULL,  -- whether it asked again for links that were known
            started_at  TEXT NOT NULL,
            settled_by  INTEGER            -- the run in which all that it had to ask was answered and handed out
        )
        """
    )
    connection.execute("CREATE INDEX unsettled_run ON run (project, owner) WHERE settled_by IS NULL")
    for column in ("issued_by INTEGER REFERENCES run", "handed_by INTEGER REFERENCES run", "check_value INTEGER"):
        connection.execute(f"ALTER TABLE link ADD COLUMN {column}")
    connection.execute("ALTER TABLE project ADD COLUMN check_value INTEGER")
    connection.execute(
        """
        CREATE TABLE withdrawal (
            external_id  TEXT NOT NULL,
            project      INTEGER NOT NULL,  -- 0: every project, also those to come
            withdrawn_at TEXT NOT NULL,
            check_value  INTEGER NOT NULL,
            PRIMARY KEY (external_id, project)
        ) WITHOUT ROWID
        """
    )
    connection.create_function("check_value", -1, check_value, deterministic=True)
    connection.execute(
        "INSERT INTO withdrawal SELECT external_id, project, at, check_value(external_id, project, at) FROM withdrawn"
    )
    connection.execute("DROP TABLE withdrawn")
    connection.execute("UPDATE project SET check_value = check_value(number, api, project_id)")
    connection.execute("UPDATE link SET check_value = check_value(project, external_id, link, issued_at)")


def _naming(connection: sqlite3.Connection) -> None:
    """Whether a project's links name their patients. What its links say of that is found out when it is opened."""
    connection.execute(
        """
        CREATE TABLE naming (
            project     INTEGER PRIMARY KEY REFERENCES project,
            names_ids   INTEGER,           -- 1: a link has named a patient; 0: of many, none has
            accepted_at TEXT,              -- since when links that name nobody are used all the same
            decided_at  TEXT NOT NULL,
            check_value INTEGER NOT NULL
        )
        """
    )


def _patient_files(connection: sqlite3.Connection) -> None:
    """Which files hold which patients; for each link the file in which it was handed out."""
    connection.execute(
        """
        CREATE TABLE patient_file (
            number      INTEGER PRIMARY KEY,
            project     INTEGER NOT NULL REFERENCES project,
            run         INTEGER REFERENCES run,
            owner       TEXT NOT NULL,     -- whose results: as that of a run
            purpose     TEXT NOT NULL,
            folder      TEXT NOT NULL,
            name        TEXT NOT NULL,
            sha256      TEXT NOT NULL,
            split_by    TEXT NOT NULL,     -- the column and value of one of several workbooks; else empty
            value       TEXT NOT NULL,
            hands_out   INTEGER NOT NULL,  -- whether its patients count as handed out
            placed_at   TEXT,              -- NULL: about to be placed, by a run that was perhaps killed meanwhile
            replaced_at TEXT,
            check_value INTEGER NOT NULL
        )
        """
    )
    connection.execute("CREATE INDEX file_by_content ON patient_file (project, sha256)")
    connection.execute(
        """
        CREATE TABLE member_list (
            number      INTEGER PRIMARY KEY,
            project     INTEGER NOT NULL REFERENCES project,
            digest      BLOB NOT NULL,
            content     BLOB NOT NULL      -- compressed JSON: IDs, and their rows counted from the first
        )
        """
    )
    connection.execute("CREATE INDEX list_by_content ON member_list (project, digest)")
    connection.execute(
        """
        CREATE TABLE patient_file_part (
            file        INTEGER NOT NULL REFERENCES patient_file,
            place       INTEGER NOT NULL,
            first_row   INTEGER NOT NULL,
            list        INTEGER NOT NULL REFERENCES member_list,
            PRIMARY KEY (file, place)
        ) WITHOUT ROWID
        """
    )
    connection.execute("CREATE INDEX part_by_list ON patient_file_part (list)")
    connection.execute("ALTER TABLE link ADD COLUMN handed_in INTEGER REFERENCES patient_file")


def _identity(connection: sqlite3.Connection) -> None:
    """The ledger's ID, by which a new one is told from the one that was there, and which every copy keeps.

    That of a ledger of an older version is made of its first run, so that an old copy of it, brought up to date later, has the
    same.
    """
    connection.execute("CREATE TABLE identity (ledger_id TEXT NOT NULL, check_value INTEGER NOT NULL)")
    first = connection.execute("SELECT run_id, started_at FROM run ORDER BY number LIMIT 1").fetchone()
    ledger_id = hashlib.sha256("\n".join(first).encode()).hexdigest()[:16] if first else secrets.token_hex(8)
    connection.execute("INSERT INTO identity VALUES (?, ?)", (ledger_id, check_value(ledger_id)))


def read_identity(connection: sqlite3.Connection) -> str:
    """The ledger's ID. Raises ValueError where it is damaged."""
    ((ledger_id, value),) = connection.execute("SELECT ledger_id, check_value FROM identity").fetchall()
    if value != check_value(ledger_id):
        raise ValueError("the ledger's ID does not fit its check value")
    return str(ledger_id)


def _people(connection: sqlite3.Connection) -> None:
    """Who each ID stands for, as tags (`person_tags`): gone with the link, whoever deletes that."""
    connection.execute(
        """
        CREATE TABLE seen_list (
            number      INTEGER PRIMARY KEY,
            name        TEXT NOT NULL,
            seen_at     TEXT NOT NULL,
            finished    INTEGER NOT NULL,  -- 0: of its people only those count who have a link
            check_value INTEGER NOT NULL
        )
        """
    )
    connection.execute(
        """
        CREATE TABLE person (
            project     INTEGER NOT NULL REFERENCES project,
            external_id TEXT NOT NULL,
            first_name  TEXT NOT NULL,
            birth_date  TEXT NOT NULL,
            seen_in     INTEGER NOT NULL REFERENCES seen_list,
            seen_row    INTEGER NOT NULL,
            check_value INTEGER NOT NULL,
            PRIMARY KEY (project, external_id)
        ) WITHOUT ROWID
        """
    )
    connection.execute("CREATE TABLE tag_key (fingerprint TEXT NOT NULL)")  # of the key that the tags were made with
    connection.execute(
        """
        CREATE TRIGGER person_goes_with_link AFTER DELETE ON link BEGIN
            DELETE FROM person WHERE project = OLD.project AND external_id = OLD.external_id;
        END
        """
    )


def _undoing(connection: sqlite3.Connection) -> None:
    """Patients withdrawn because of a run, whatever else holds them back; links that went to somebody else."""
    connection.execute(
        """
        CREATE TABLE run_withdrawal (
            project      INTEGER NOT NULL REFERENCES project,
            external_id  TEXT NOT NULL,
            run          INTEGER NOT NULL REFERENCES run,
            withdrawn_at TEXT NOT NULL,
            check_value  INTEGER NOT NULL,
            PRIMARY KEY (project, external_id, run)
        ) WITHOUT ROWID
        """
    )
    connection.execute(
        """
        CREATE TABLE exposed_link (
            project     INTEGER NOT NULL REFERENCES project,
            external_id TEXT NOT NULL,
            link        TEXT NOT NULL,
            exposed_at  TEXT NOT NULL,
            check_value INTEGER NOT NULL,
            PRIMARY KEY (project, external_id, link)
        ) WITHOUT ROWID
        """
    )


def _responses(connection: sqlite3.Connection) -> None:
    """What HealthEx showed of each patient last, and who was reminded: gone with the link, whoever deletes that."""
    connection.execute(
        """
        CREATE TABLE response (
            project      INTEGER NOT NULL REFERENCES project,
            external_id  TEXT NOT NULL,
            consent_type TEXT NOT NULL,
            response     TEXT NOT NULL,
            asked_at     TEXT NOT NULL,
            expires_at   TEXT NOT NULL,     -- empty: never, or nothing was shown
            patients     TEXT NOT NULL,     -- keyed hashes of HealthEx's own IDs of the patient
            check_value  INTEGER NOT NULL,
            PRIMARY KEY (project, external_id, consent_type)
        ) WITHOUT ROWID
        """
    )
    connection.execute(
        """
        CREATE TABLE reminder (
            project     INTEGER NOT NULL REFERENCES project,
            external_id TEXT NOT NULL,
            run_id      TEXT NOT NULL,
            reminded_at TEXT NOT NULL,
            check_value INTEGER NOT NULL,
            PRIMARY KEY (project, external_id, run_id)
        ) WITHOUT ROWID
        """
    )
    connection.execute(
        """
        CREATE TRIGGER response_goes_with_link AFTER DELETE ON link BEGIN
            DELETE FROM response WHERE project = OLD.project AND external_id = OLD.external_id;
            DELETE FROM reminder WHERE project = OLD.project AND external_id = OLD.external_id;
        END
        """
    )


_STEPS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    _first_tables,
    _runs_and_check_values,
    _naming,
    _patient_files,
    _identity,
    _people,
    _undoing,
    _responses,
)
"""In their order: the first makes version 1 of an empty file."""

VERSION = len(_STEPS)


def version_of(connection: sqlite3.Connection) -> int:
    """0 for an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the ledger to this version. Two runs may do this at once: the second finds it done."""
    while version_of(connection) < VERSION:
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            done = version_of(connection)
            if done < VERSION:
                _STEPS[done](connection)
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY, step TEXT, at TEXT)"
                )
                step = _STEPS[done].__name__.strip("_")
                connection.execute("INSERT INTO migration VALUES (?, ?, ?)", (done + 1, step, now()))
                connection.execute(f"PRAGMA user_version = {done + 1}")
