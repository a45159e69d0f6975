"""The ledger's file: opened, found to be one and sound, brought up to date; and what SQLite complains of, in words."""

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.ledger import schema
from batchlinks.ledger.file_system import network_share
from batchlinks.logs import logger
from batchlinks.next_steps import Advice, Do, Part, Setting

_BUSY_S = 30.0


class LedgerError(BatchlinksError):
    """The ledger cannot be written any more (disk full, taken away): the run stops, what was answered is kept."""


def open_ledger(path: Path | None, *, examine: bool = False) -> sqlite3.Connection:
    """Open a ledger, and make it where there is none; None: in memory. Raises SettingsError.

    `examine` reads the whole file to see that it is sound (a fifth of a second for a million links).
    """
    with explained(path):
        share = None
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create_private(path)
            share = network_share(path.parent)
        connection = sqlite3.connect(path or ":memory:", timeout=_BUSY_S, check_same_thread=False)
        try:
            _check_is_ledger(connection, path)
            if path is not None:
                mode = _set_journal_mode(connection, "DELETE" if share else "WAL")
                if examine:
                    _tell_journal_mode(path, mode, share)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA cell_size_check = ON")
            if examine:
                _check_is_sound(connection, path)
            if path is not None:
                _keep_copy(connection, path)
            schema.migrate(connection)
            _check_indexes(connection, path)
            _check_projects(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _create_private(path: Path) -> None:
    """SQLite gives its side files the mode of the database, so only the database need be made private."""
    with suppress(FileExistsError):
        path.touch(mode=0o600, exist_ok=False)


def _check_is_ledger(connection: sqlite3.Connection, path: Path | None) -> None:
    """Before anything is changed: another program's database stays as it is."""
    connection.execute("BEGIN")  # so that a ledger that is being made is seen before or after, and not half
    application, version, tables = (
        connection.execute(query).fetchone()[0]
        for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_schema")
    )
    connection.commit()
    if application != schema.APPLICATION_ID and (tables or application or version):
        raise SettingsError(f"The file {path} is not a ledger. Give another place with ", Setting("ledger"), ".")
    if version < 0:
        raise SettingsError(*damaged(path))
    if version > schema.VERSION:
        raise SettingsError(f"The ledger {path} was made by a newer batchlinks. Update batchlinks.")


def _keep_copy(connection: sqlite3.Connection, path: Path) -> None:
    """Before a ledger is brought up to date: it stays, as it is, in a file beside it that is named after its version."""
    version = schema.version_of(connection)
    if not 0 < version < schema.VERSION:
        return
    kept = path.with_name(f"{path.name}.{version}")
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{kept.name}.", suffix=".tmp")  # for its owner only
    os.close(descriptor)
    unfinished = Path(name)
    try:
        with closing(sqlite3.connect(unfinished)) as copy:
            connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, and none beside it
            is_older = schema.version_of(copy) == version
        if is_older:  # as a rule; or else another run was faster, and has kept its copy
            with unfinished.open("rb") as file:
                os.fsync(file.fileno())
            unfinished.replace(kept)
            logger().info(f"The ledger is brought up to date. As it was before, it stays in {kept}.")
    finally:
        for side in ("", "-journal", "-wal", "-shm"):
            unfinished.with_name(f"{unfinished.name}{side}").unlink(missing_ok=True)


def _set_journal_mode(connection: sqlite3.Connection, wanted: str) -> str:
    """The mode that it has then. SQLite does not wait by itself where another run does the same in this moment."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            return str(connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0]).upper()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _tell_journal_mode(path: Path, mode: str, share: str | None) -> None:
    if mode != "WAL":
        why = f"lies on a network share ({share})" if share else "lies where SQLite's write-ahead log does not work"
        logger().warning(
            f"The ledger {path} {why}, so it is kept with a rollback journal: slower, and safe only as far as the locks of "
            "that file system work. A disk of this computer is the better place (--ledger).",
            journal_mode=mode.lower(),
            file_system=share,
        )


def _check_is_sound(connection: sqlite3.Connection, path: Path | None) -> None:
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise SettingsError(*damaged(path))


def _check_indexes(connection: sqlite3.Connection, path: Path | None) -> None:
    """An entry of an index that is damaged would not be found: a project, and all its links with it, taken for a new one.

    `quick_check` leaves that out. The tables that have an index beside them are small.
    """
    for table in ("project", "run"):
        if connection.execute(f"PRAGMA integrity_check({table})").fetchone()[0] != "ok":
            raise SettingsError(*damaged(path))


def _check_projects(connection: sqlite3.Connection, path: Path | None) -> None:
    """A project whose name is damaged would be taken for a new one, and all its links asked for again."""
    for *fields, value in connection.execute("SELECT number, api, project_id, check_value FROM project"):
        if value is not None and value != schema.check_value(*fields):
            raise SettingsError(*damaged(path))


def leave_no_trace(connection: sqlite3.Connection, *, tidy: bool = False) -> None:
    """What was deleted is overwritten in the file (`secure_delete`); it also has to leave the log beside it.

    `tidy` makes the file anew, without the free pages: for a command, not for a run.
    """
    with suppress(sqlite3.OperationalError):  # no room for a copy, or a run is reading: it is deleted all the same
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if tidy:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


# --- complaints -----------------------------------------------------------------------------------------------

_RESTORE = Advice(Do.MEND_LEDGER)
_ELSEWHERE = Advice(Do.CHANGE_LEDGER)
_DAMAGED: tuple[Part, ...] = ("it is damaged, or no ledger. ", _RESTORE)

_REASONS: dict[int, tuple[Part, ...]] = {
    sqlite3.SQLITE_BUSY: ("another program keeps it locked. Try again when that is done.",),
    sqlite3.SQLITE_LOCKED: ("another program keeps it locked. Try again when that is done.",),
    sqlite3.SQLITE_FULL: ("the disk is full. Free some disk space, then try again.",),
    sqlite3.SQLITE_READONLY: ("it or its folder is read-only. ", _ELSEWHERE),
    sqlite3.SQLITE_PERM: ("it or its folder is read-only. ", _ELSEWHERE),
    sqlite3.SQLITE_CANTOPEN: ("the file, or one beside it, cannot be opened or made. ", _ELSEWHERE),
    sqlite3.SQLITE_IOERR: ("the disk is full, or cannot be read or written. ", _ELSEWHERE),
    sqlite3.SQLITE_CORRUPT: ("it is damaged. ", _RESTORE),
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}


def damaged(path: Path | None) -> tuple[Part, ...]:
    """What is said of a file, or a record in it, that does not hold any more what was written."""
    return f"The ledger {path} cannot be used: it is damaged. ", _RESTORE


@contextmanager
def explained(path: Path | None, kind: type[BatchlinksError] = SettingsError) -> Iterator[None]:
    """SQLite's and the file system's complaints, which may quote data, as a sentence that quotes none."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        name = getattr(error, "sqlite_errorname", "") or "SQLITE_ERROR"
        reason = _REASONS.get(code, _DAMAGED)
        raise kind(f"The ledger {path} cannot be used ({name}): ", *reason) from error
    except UnicodeDecodeError as error:  # text that is none any more
        raise kind(*damaged(path)) from error
    except OSError as error:
        raise kind(f"The ledger {path} cannot be opened ({error.strerror}). ", _ELSEWHERE) from error


def write_failed(path: Path | None, error: Exception) -> LedgerError:
    """For what goes wrong after calls began."""
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    return LedgerError(
        f"The ledger {path} cannot be written any more ({name}): is the disk full? The run was stopped, and what was "
        "answered before is kept. Free some disk space, then try again."
    )
