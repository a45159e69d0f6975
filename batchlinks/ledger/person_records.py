"""Whose ID it is: what a project's part of the ledger remembers of the people whom its IDs stand for.

The first list that had an ID tells; what it told stays until somebody confirms another person. It goes with the link.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.errors import SettingsError
from batchlinks.ledger.database import LedgerError, damaged, explained, leave_no_trace
from batchlinks.ledger.key import LedgerKey, key_path
from batchlinks.ledger.person_tags import PersonTagger
from batchlinks.ledger.schema import check_value, days_ago, now
from batchlinks.logs import logger

PEOPLE = pa.schema(
    [(name, pa.string()) for name in ("external_id", "first_name", "birth_date")]
    + [(name, pa.int64()) for name in ("seen_in", "seen_row")]
)
"""What is known of the people of some IDs: their tags, and where they were seen first."""

_PERSON = (
    "CAST(external_id || char(10) || first_name || char(10) || birth_date || char(10) || seen_in || char(10) || seen_row"
    " AS BLOB), check_value"
)
_ROWS_AT_ONCE = 4_096
_SCAN_FROM = 20_000
_UNFINISHED_FOR_DAYS = 2
"""After so long a run that never ended is not under way any more."""


@dataclass(frozen=True, slots=True)
class SeenList:
    """A list in which IDs were seen with their people."""

    name: str
    seen_at: str
    """ISO 8601, UTC."""


class PersonRecords:
    """Of one project of a ledger, on its open connection. Raises SettingsError where the file cannot be used."""

    def __init__(self, connection: sqlite3.Connection, path: Path | None, project: int) -> None:
        self._connection, self._path, self._project = connection, path, project

    def tagger(self, *, make_key: bool = True) -> PersonTagger | None:
        """What makes tags that can be compared with those in the ledger; None where there is nothing to compare with.

        Where the key is lost, or is another one, all tags are dropped and said to be, and one is made; without `make_key`
        nothing is changed. A ledger in memory remembers nobody.
        """
        if self._path is None:
            return None
        key = LedgerKey.load(self._path) if make_key else LedgerKey.find(self._path)
        if key is None or (not self._fits(key) and not make_key):
            return None
        if not self._fits(key):
            self._begin_anew(key)
        return PersonTagger(key)

    def find(self, external_ids: pa.Array) -> pa.Table:
        """What `PEOPLE` names, of those of these IDs whose person is known; each is given once.

        Somebody whom a run was about to send when it was killed is not known, unless a link came of it.
        """
        if len(external_ids) < _SCAN_FROM or not self._holds_at_most(2 * len(external_ids)):
            batches = self._looked_up(external_ids)
        else:
            batches = self._all()
        with explained(self._path):
            try:
                start = crc32(f"{self._project}\n".encode())
                found = pa.Table.from_batches([_as_people(rows, start) for rows in batches], PEOPLE)
            except (pa.ArrowException, TypeError, ValueError) as error:
                raise SettingsError(*damaged(self._path)) from error
            unfinished = self._lists("finished = 0")
        in_doubt = pc.is_in(found.column("seen_in"), pa.array(unfinished, pa.int64()))
        if not pc.any(in_doubt).as_py():
            return found
        ids = found.column("external_id")
        without = pa.array(sorted(self._without_link(ids.filter(in_doubt).to_pylist())), pa.string())
        return found.filter(pc.invert(pc.is_in(ids, without)))

    def lists(self, numbers: Collection[int]) -> dict[int, SeenList]:
        """The lists with these numbers (`seen_in`)."""
        with explained(self._path):
            query = "SELECT number, name, seen_at, check_value FROM seen_list WHERE number = ?"
            rows = [self._connection.execute(query, (number,)).fetchone() for number in set(numbers)]
        if any(row is None or row[-1] != check_value(*row[:-1]) for row in rows):
            raise SettingsError(*damaged(self._path))
        return {number: SeenList(name, seen_at) for number, name, seen_at, _ in rows}

    def learn(self, people: pa.Table, list_name: str) -> int:
        """Remember people that are not known so far, before they are sent. Returns the number of their list.

        `people` has the columns of `PEOPLE` but `seen_in`. Until `finish` is told of the list, only those count who have a
        link.
        """
        with explained(self._path), self._connection:
            self._clean_up()
            seen_in = self._new_list(list_name, finished=False)
            self._connection.executemany(
                "INSERT INTO person VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " first_name = excluded.first_name, birth_date = excluded.birth_date, seen_in = excluded.seen_in,"
                " seen_row = excluded.seen_row, check_value = excluded.check_value"
                " WHERE NOT EXISTS (SELECT 1 FROM link"
                " WHERE link.project = person.project AND link.external_id = person.external_id)",
                self._records(people, seen_in),
            )
        return seen_in

    def complete(self, people: pa.Table) -> None:
        """Put tags where a blank was: `people` has all columns of `PEOPLE`, as they are to be."""
        self._replace(people.drop_columns(["seen_in"]), people.column("seen_in").to_pylist())

    def confirm(self, people: pa.Table, list_name: str) -> None:
        """These people stand for their IDs from now on, whoever did before. `people`: as for `learn`."""
        with explained(self._path), self._connection:
            seen_in = self._new_list(list_name, finished=True)
        self._replace(people, repeat(seen_in))

    def finish(self, seen_in: int, unlinked: Collection[str]) -> None:
        """All of a list is done. Those of its people who got no link, among `unlinked`, are forgotten. Raises LedgerError."""
        with explained(self._path, LedgerError):
            gone = self._without_link(unlinked)
            with self._connection:
                self._forget(gone, seen_in)
                self._connection.execute("UPDATE seen_list SET finished = 1 WHERE number = ?", (seen_in,))

    # --- SQL ---------------------------------------------------------------------------------------------------

    def _fits(self, key: LedgerKey) -> bool:
        """Whether the tags were made with this key, or there are none."""
        with explained(self._path):
            found = self._connection.execute("SELECT fingerprint FROM tag_key").fetchone()
        return found is not None and found[0] == key.fingerprint

    def _begin_anew(self, key: LedgerKey) -> None:
        with explained(self._path):
            with self._connection:
                dropped = self._connection.execute("DELETE FROM person").rowcount
                for table in ("seen_list", "tag_key"):
                    self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 our own words
                self._connection.execute("INSERT INTO tag_key VALUES (?)", (key.fingerprint,))
            if not dropped:
                return
            leave_no_trace(self._connection)
        logger().warning(
            f"The ledger's key {key_path(self._path or Path())} was lost or is another one, so whose IDs these are isn't known "
            f"any more ({dropped:,} forgotten). It is learned anew from your lists. Until then, an ID that was given to "
            "somebody else isn't noticed.",
            forgotten=dropped,
        )

    def _looked_up(self, external_ids: pa.Array) -> Iterator[list[tuple[Any, ...]]]:
        query = (
            f"SELECT {_PERSON} FROM json_each(?) AS wanted CROSS JOIN person"  # noqa: S608 our own words
            " ON person.project = ? AND person.external_id = wanted.value"
        )
        for start in range(0, len(external_ids), _ROWS_AT_ONCE):
            wanted = json.dumps(external_ids[start : start + _ROWS_AT_ONCE].to_pylist())
            if rows := self._connection.execute(query, (wanted, self._project)).fetchall():
                yield rows

    def _all(self) -> Iterator[list[tuple[Any, ...]]]:
        cursor = self._connection.execute(f"SELECT {_PERSON} FROM person WHERE project = ?", (self._project,))  # noqa: S608
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            yield rows

    def _holds_at_most(self, number: int) -> bool:
        query = "SELECT count(*) FROM (SELECT 1 FROM person WHERE project = ? LIMIT ?)"
        with explained(self._path):
            return bool(self._connection.execute(query, (self._project, number + 1)).fetchone()[0] <= number)

    def _lists(self, condition: str, *values: str) -> list[int]:
        query = f"SELECT number FROM seen_list WHERE {condition}"  # noqa: S608 our own words
        return [number for (number,) in self._connection.execute(query, values)]

    def _without_link(self, external_ids: Collection[str]) -> list[str]:
        query = "SELECT EXISTS (SELECT 1 FROM link WHERE project = ? AND external_id = ?)"
        with explained(self._path):
            return [
                one for one in external_ids if not self._connection.execute(query, (self._project, one)).fetchone()[0]
            ]

    def _forget(self, external_ids: Iterable[str], seen_in: int) -> None:
        self._connection.executemany(
            "DELETE FROM person WHERE project = ? AND external_id = ? AND seen_in = ?",
            ((self._project, one, seen_in) for one in external_ids),
        )

    def _clean_up(self) -> None:
        """What runs that were killed have left behind."""
        for number in self._lists("finished = 0 AND seen_at <= ?", days_ago(_UNFINISHED_FOR_DAYS)):
            self._connection.execute(
                "DELETE FROM person WHERE seen_in = ? AND NOT EXISTS (SELECT 1 FROM link"
                " WHERE link.project = person.project AND link.external_id = person.external_id)",
                (number,),
            )
            self._connection.execute("UPDATE seen_list SET finished = 1 WHERE number = ?", (number,))

    def _new_list(self, name: str, *, finished: bool) -> int:
        moment = now()
        statement = "INSERT INTO seen_list (name, seen_at, finished, check_value) VALUES (?, ?, ?, 0)"
        number = int(self._connection.execute(statement, (name, moment, finished)).lastrowid or 0)
        self._connection.execute(
            "UPDATE seen_list SET check_value = ? WHERE number = ?", (check_value(number, name, moment), number)
        )
        return number

    def _replace(self, people: pa.Table, seen_in: Iterable[int]) -> None:
        with explained(self._path), self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO person VALUES (?, ?, ?, ?, ?, ?, ?)", self._records(people, seen_in)
            )

    def _records(self, people: pa.Table, seen_in: int | Iterable[int]) -> Iterator[tuple[Any, ...]]:
        seen_in = repeat(seen_in) if isinstance(seen_in, int) else seen_in
        names = ("external_id", "first_name", "birth_date", "seen_row")
        columns = (people.column(name).to_pylist() for name in names)
        for (external_id, first_name, birth_date, row), number in zip(
            zip(*columns, strict=True), seen_in, strict=False
        ):
            fields = (external_id, first_name, birth_date, number, row)
            yield self._project, *fields, check_value(self._project, *fields)


def forget_lists(connection: sqlite3.Connection) -> None:
    """Within a transaction: lists of which nobody is known any more."""
    connection.execute("DELETE FROM seen_list WHERE finished AND number NOT IN (SELECT seen_in FROM person)")


def _as_people(rows: list[tuple[Any, ...]], start: int) -> pa.RecordBatch:
    """What `PEOPLE` names, of rows of `_PERSON`; `start` is the check value of what stands before each record.

    Raises ValueError, TypeError or an Arrow exception for a record that does not hold any more what was written.
    """
    records, values = zip(*rows, strict=True)
    found = np.fromiter(map(crc32, records, repeat(start)), np.int64, len(records))
    if not np.array_equal(found, np.array(values, dtype=np.int64)):
        raise ValueError("a record does not fit its check value")
    # From the end: no other field has a line break in it, and an ID may.
    texts = pa.array(records, pa.binary()).view(pa.string())  # as they were written: the check value says so
    fields = pc.split_pattern(texts, "\n", max_splits=4, reverse=True)
    columns = [pc.list_element(fields, place) for place in range(5)]
    return pa.record_batch([*columns[:3], *(column.cast(pa.int64()) for column in columns[3:])], schema=PEOPLE)
