"""The record of links already issued, so that nothing answered is ever asked again. The only module with SQL.

SQLite in WAL mode, keyed by API, project and external ID. Answers are written by a thread of their own in batches, each
within a tenth of a second of its arrival, and are on disk before the next batch begins. The first link
recorded for an ID is the one that every run hands out.
"""

import queue
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.errors import BatchlinksError, SettingsError

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x6C6E6B73  # "lnks": what tells a ledger from any other SQLite file
_FLUSH_EVERY_S = 0.05
_BUSY_S = 30.0
_ROWS_AT_ONCE = 16384

_SCHEMA = """
CREATE TABLE project (
    number      INTEGER PRIMARY KEY,
    api         TEXT NOT NULL,
    project_id  TEXT NOT NULL,
    UNIQUE (api, project_id)
);
CREATE TABLE link (
    project     INTEGER NOT NULL REFERENCES project,
    external_id TEXT NOT NULL,
    link        TEXT NOT NULL,
    issued_at   TEXT NOT NULL,
    handed_out  TEXT,
    PRIMARY KEY (project, external_id)
) WITHOUT ROWID;
CREATE TABLE withdrawn (
    project     INTEGER NOT NULL REFERENCES project,
    external_id TEXT NOT NULL,
    at          TEXT NOT NULL,
    PRIMARY KEY (project, external_id)
) WITHOUT ROWID;
"""


_Answer = tuple[str, str, str, bool]
"""External ID, link, when it was issued, whether it replaces an earlier one."""


class LedgerError(BatchlinksError):
    """The ledger cannot be written any more (disk full, taken away): the run stops, what was answered is kept."""


class Ledger:
    """One project's part of the ledger. A context manager: leaving it writes what is still waiting.

    Raises SettingsError on opening when the file cannot be used, LedgerError when writing fails later.
    """

    def __init__(self, path: Path | None, *, api: str, project_id: str) -> None:
        """`path` None keeps the ledger in memory for this run only."""
        self._path = path
        self._read = _open(path)
        with _explained(path):
            self._project = _project_number(self._read, api, project_id)
        self._api = api
        self._waiting: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()
        self._failure: LedgerError | None = None
        self._told = False
        """Whether the failure was raised already: once is enough."""
        self._unsaved: list[_Answer] = []
        self._recorded = False
        self._writer = threading.Thread(target=self._write_answers, name="ledger", daemon=True)
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        except LedgerError:
            if kind is None and not self._told:
                raise
        finally:
            self._read.close()

    # --- what is known -----------------------------------------------------------------------------------------

    def links_for(self, external_ids: pa.Array) -> pa.Table:
        """Known links of these IDs: columns `external_id`, `link`, `issued_at` (ISO 8601, UTC), `handed_out` (or null)."""
        found = list(
            self._matching(
                external_ids,
                "SELECT link.external_id, link, issued_at, handed_out FROM wanted JOIN link USING (external_id)"
                " WHERE link.project = ?",
            )
        )
        known = _as_table(found)
        if not self._unsaved:
            return known
        # Where the disk failed in mid-run, this run's results still hold what could not be recorded.
        unsaved = {external_id: (link, issued_at) for external_id, link, issued_at, replace in self._unsaved if replace}
        known = known.filter(pc.invert(pc.is_in(known.column("external_id"), pa.array(list(unsaved), pa.string()))))
        for external_id, link, issued_at, _ in self._unsaved:
            unsaved.setdefault(external_id, (link, issued_at))
        asked = set(external_ids.to_pylist()) - set(known.column("external_id").to_pylist())
        rows = [(external_id, *answer, None) for external_id, answer in unsaved.items() if external_id in asked]
        return pa.concat_tables([known, _as_table([rows])])

    def withdrawn(self) -> frozenset[str]:
        """IDs of this project that are never to be sent or handed out."""
        with _explained(self._path):
            rows = self._read.execute("SELECT external_id FROM withdrawn WHERE project = ?", (self._project,))
            return frozenset(external_id for (external_id,) in rows)

    def known(self, texts: Collection[str]) -> set[str]:
        """Those of `texts` that are external IDs with a link in this project."""
        query = "SELECT external_id FROM wanted JOIN link USING (external_id) WHERE link.project = ?"
        return {external_id for rows in self._matching(pa.array(texts, pa.string()), query) for (external_id,) in rows}

    def in_other_projects(self, external_ids: pa.Array) -> set[str]:
        """Those of these IDs that have a link in another project of the same API, and none in this one."""
        query = (
            "SELECT other.external_id FROM wanted JOIN link AS other USING (external_id)"
            " JOIN project ON project.number = other.project"
            " WHERE other.project != ?1 AND project.api = ?2 AND NOT EXISTS"
            " (SELECT 1 FROM link WHERE link.project = ?1 AND link.external_id = other.external_id)"
        )
        with _explained(self._path):
            others = self._read.execute(
                "SELECT count(*) FROM project WHERE api = ? AND number != ?", (self._api, self._project)
            ).fetchone()
        if not others[0]:
            return set()
        return {external_id for rows in self._matching(external_ids, query, self._api) for (external_id,) in rows}

    def other_owners(self, links: Collection[str]) -> Mapping[str, Collection[str]]:
        """To which IDs of this project the ledger gives each of these links."""
        owners: dict[str, set[str]] = {}
        query = "SELECT link, link.external_id FROM link WHERE link.project = ? AND link IN (SELECT external_id FROM wanted)"
        for rows in self._matching(pa.array(links, pa.string()), query):
            for link, external_id in rows:
                owners.setdefault(link, set()).add(external_id)
        return owners

    def _matching(self, texts: pa.Array, query: str, *more: str) -> Iterator[list[tuple[Any, ...]]]:
        """What `query` finds for these texts, which stand in the table `wanted`: some rows at a time."""
        with _explained(self._path, LedgerError if self._recorded else SettingsError):
            self._read.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (external_id TEXT PRIMARY KEY) WITHOUT ROWID")
            for start in range(0, len(texts), _ROWS_AT_ONCE):
                batch = texts[start : start + _ROWS_AT_ONCE].to_pylist()
                self._read.executemany("INSERT OR IGNORE INTO wanted VALUES (?)", ((text,) for text in batch))
            cursor = self._read.execute(query, (self._project, *more))
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                yield rows
            self._read.execute("DELETE FROM wanted")
            self._read.commit()

    # --- what is new -------------------------------------------------------------------------------------------

    def record(self, external_id: str, link: str, *, replace: bool = False) -> None:
        """Keep an answer. It is on disk within a tenth of a second.

        Raises LedgerError once writing has failed; `links_for` knows the answer all the same.
        """
        self._recorded = True
        self._waiting.put((external_id, link, _now(), replace))
        self._raise_failure()

    def flush(self) -> None:
        """Wait until every answer is on disk; nothing can be recorded after that. Raises LedgerError."""
        self._waiting.put(None)
        self._writer.join()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._told = True
            raise self._failure

    def note_handed_out(self, external_ids: pa.Array) -> None:
        """These IDs stand in a links workbook that is in its place. Raises LedgerError, unless writing failed before."""
        if self._failure is not None:
            return
        now = _now()
        try:
            self._read.executemany(
                "UPDATE link SET handed_out = ? WHERE project = ? AND external_id = ? AND handed_out IS NULL",
                ((now, self._project, external_id) for external_id in external_ids.to_pylist()),
            )
            self._read.commit()
        except sqlite3.Error as error:
            raise _write_failed(self._path, error) from error

    def _write_answers(self) -> None:
        """The writer thread: whatever arrives within a twentieth of a second is one transaction."""
        try:
            # In memory there is one database a connection, so the reading connection does the writing too.
            shared = self._path is None
            connection = self._read if shared else _open(self._path)
            try:
                while (batch := self._next_batch()) is not None:
                    self._unsaved = batch
                    self._write(connection, batch)
                    self._unsaved = []
            finally:
                if not shared:
                    connection.close()
        except Exception as error:  # whatever it is: an answer that is not on disk must not be lost unseen
            self._failure = _write_failed(self._path, error)
            while (batch := self._next_batch()) is not None:
                self._unsaved += batch

    def _next_batch(self) -> list[_Answer] | None:
        """What has arrived by now, after waiting for the first; None at the end."""
        first = self._waiting.get()
        if first is None:
            return None
        batch = [first]
        time.sleep(_FLUSH_EVERY_S)
        with suppress(queue.Empty):
            while True:
                item = self._waiting.get_nowait()
                if item is None:
                    self._waiting.put(None)
                    break
                batch.append(item)
        return batch

    def _write(self, connection: sqlite3.Connection, batch: Sequence[_Answer]) -> None:
        with connection:
            connection.executemany(
                "INSERT INTO link (project, external_id, link, issued_at) VALUES (?1, ?2, ?3, ?4)"
                " ON CONFLICT DO UPDATE SET link = excluded.link, issued_at = excluded.issued_at, handed_out = NULL"
                " WHERE ?5",
                ((self._project, *answer) for answer in batch),
            )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _as_table(batches: Iterable[list[tuple[Any, ...]]]) -> pa.Table:
    """Rows of external ID, link, when it was issued and when it was handed out."""
    schema = pa.schema([(name, pa.string()) for name in ("external_id", "link", "issued_at", "handed_out")])
    arrays = ([pa.array(column, pa.string()) for column in zip(*rows, strict=True)] for rows in batches if rows)
    return pa.Table.from_batches([pa.RecordBatch.from_arrays(columns, schema=schema) for columns in arrays], schema)


def _open(path: Path | None) -> sqlite3.Connection:
    """Open a ledger, and make it where there is none. Raises SettingsError."""
    with _explained(path):
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create_private(path)
        connection = sqlite3.connect(path or ":memory:", timeout=_BUSY_S, check_same_thread=False)
        _check_is_ledger(connection, path)
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        _migrate(connection)
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
    if application != _APPLICATION_ID and (tables or application or version):
        raise SettingsError(f"The file {path} is not a ledger. Give another place with --ledger.")
    if version > SCHEMA_VERSION:
        raise SettingsError(f"The ledger {path} was made by a newer batchlinks. Update batchlinks.")


def _use_wal(connection: sqlite3.Connection) -> None:
    """SQLite does not wait by itself here where another run does the same in this moment."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version < 1:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.commit()


def _project_number(connection: sqlite3.Connection, api: str, project_id: str) -> int:
    with connection:
        connection.execute("INSERT OR IGNORE INTO project (api, project_id) VALUES (?, ?)", (api, project_id))
    with closing(
        connection.execute("SELECT number FROM project WHERE api = ? AND project_id = ?", (api, project_id))
    ) as row:
        return int(row.fetchone()[0])


@contextmanager
def _explained(path: Path | None, kind: type[BatchlinksError] = SettingsError) -> Iterator[None]:
    """SQLite's and the file system's complaints, which may quote data, as a sentence that quotes none."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = getattr(error, "sqlite_errorname", "") or "SQLITE_ERROR"
        raise kind(
            f"The ledger {path} cannot be read ({name}): it is damaged, locked, or no ledger. Restore it from a backup, or "
            "give another place with --ledger; links recorded in it would be asked for again."
        ) from error
    except OSError as error:
        raise kind(
            f"The ledger {path} cannot be opened ({error.strerror}). Give another place with --ledger."
        ) from error


def _write_failed(path: Path | None, error: Exception) -> LedgerError:
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    return LedgerError(
        f"The ledger {path} cannot be written any more ({name}): is the disk full? The run was stopped, and what was "
        "answered before is kept. Make room and run the same command again."
    )
