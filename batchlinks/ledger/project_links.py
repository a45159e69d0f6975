"""One project's part of the ledger, as a run uses it.

Keyed by API, project and external ID. Answers are written by a thread of their own in batches, each within a tenth of a
second of its arrival, and are on disk before the next batch begins. The first link recorded for an ID is the one that
every run hands out.

A run is *settled* once all that it had to ask is answered and what it handed out is noted, by itself or by a later one for
the same owner (the same roster and project) that went on where it stopped: to that one, what the stopped one asked for is
new, and is not asked for again by a `refresh` either.
"""

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.arrow import combine_chunks, positions_among, release_unused_memory
from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.ledger.database import LedgerError, damaged, explained, leave_no_trace, open_ledger, write_failed
from batchlinks.ledger.key import LedgerKey
from batchlinks.ledger.link_naming import Naming, note_naming, read_naming
from batchlinks.ledger.patient_files import (
    FilePlace,
    FilePurpose,
    PatientFile,
    PatientRow,
    Placement,
    announce_file,
    as_noted,
    drop_announced,
    forget_patients,
    note_file,
    note_renamed,
    note_replaced,
    noted_files,
    patients_in,
    rows_of_patients,
)
from batchlinks.ledger.person_records import PersonRecords, forget_lists
from batchlinks.ledger.response_records import (
    REMINDER,
    RESPONSE,
    ReminderRecord,
    ResponseRecord,
    forget_responses,
    note_reminders,
    note_responses,
    reminders_of,
    response_of,
)
from batchlinks.ledger.run_undoing import exposed_ids, withdrawn_by_run
from batchlinks.ledger.schema import check_value, days_ago, link_check_value, now, read_identity

_Record = TypeVar("_Record", ResponseRecord, ReminderRecord)

_FLUSH_EVERY_S = 0.05
_ROWS_AT_ONCE = 4_096
_CHECKED_WHOLE = 50_000
"""Links of a project up to which all are checked at the start; a tenth of a second."""

_SCAN_FROM = 20_000
"""IDs from which on it may be faster to read a project's links from one end to the other than to look each up."""

_Answer = tuple[str, str, str, bool, str | None]
"""External ID, link, when it was issued, whether it replaces any earlier one, the earlier one that it replaces."""


@dataclass(slots=True)
class _Batch:
    """What goes to disk together."""

    answers: list[_Answer] = field(default_factory=list)
    named: bool = False
    """Whether a link has named its patient."""

    responses: list[ResponseRecord] = field(default_factory=list)
    """What HealthEx shows of patients' consents."""

    waiting: list[threading.Event] = field(default_factory=list)
    """To be set once it is on disk."""

    ends: bool = False
    """Nothing comes after it."""

    def add(self, item: "_Answer | ResponseRecord | threading.Event | _Mark") -> None:
        match item:
            case ResponseRecord():
                self.responses.append(item)
            case threading.Event():
                self.waiting.append(item)
            case _Mark.NAMED:
                self.named = True
            case _Mark.END:
                self.ends = True
            case _:
                self.answers.append(item)


class _Mark(Enum):
    """What the writer is told besides answers."""

    NAMED = 1
    END = 2


_LINK = (
    "CAST(link.external_id || char(10) || link.link || char(10) || link.issued_at AS BLOB), link.check_value,"
    " link.handed_out IS NOT NULL AND (link.handed_by IN ({given_way})) IS NOT TRUE, link.issued_by"
)
"""What `_as_known` takes of a link. The first is what, with the project before it, the check value is the check of: fetched as
one text, checked and taken apart all at once, a million links take half the time that their fields would one by one."""

_KNOWN = pa.schema(
    [(name, pa.string()) for name in ("external_id", "link", "issued_at")]
    + [("handed_out", pa.bool_()), ("issued_by", pa.int64())]
)


class Ledger:
    """A context manager: leaving it writes what is still waiting.

    Raises SettingsError on opening when the file cannot be used, LedgerError when writing fails later.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        api: str,
        project_id: str,
        on_first_answer: Callable[["Ledger"], object] = lambda _: None,
    ) -> None:
        """`path` None keeps the ledger in memory for this run only. `on_first_answer` hears of the first that is recorded."""
        self._path = path
        self.api, self.project_id = api, project_id
        self._on_first_answer = on_first_answer
        self._read = open_ledger(path, examine=True)
        with explained(path):
            try:
                self.ledger_id = None if path is None else read_identity(self._read)
            except ValueError as error:
                raise SettingsError(*damaged(path)) from error
            self._project = project_number(self._read, api, project_id)
            self._read.execute("BEGIN IMMEDIATE")  # a file that cannot be written is refused before any call
            self._read.rollback()
        self._run: int | None = None
        self._owner = ""
        self._unsettled: frozenset[int] = frozenset()
        """Numbers of the runs that this one goes on with."""

        self._refreshing: frozenset[int] | None = None
        """Where this run asks again for all: the runs among `_unsettled` that did so too."""

        self._replaced: frozenset[int] = frozenset()
        """Numbers of the runs whose links workbook gives way to this run's."""

        self._recorded = False
        self._check_links()
        self._waiting: queue.SimpleQueue[_Answer | ResponseRecord | threading.Event | _Mark] = queue.SimpleQueue()
        self._failure: LedgerError | None = None
        self._told = False
        """Whether the failure was raised already: once is enough."""
        self._unsaved: list[_Answer] = []
        self._writer = threading.Thread(target=self._write_answers, name="ledger", daemon=True)
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def close(self) -> None:
        """Leave it, where no run has begun."""
        self.__exit__(None, None, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        except LedgerError:
            if kind is None and not self._told:
                raise
        finally:
            self._waiting.put(_Mark.END)
            self._writer.join()
            self._read.close()

    def _check_links(self) -> None:
        """An ID that is damaged would not be found, and be asked for again. Raises SettingsError.

        Not of a large project: there only what is looked up is checked, since every run would take seconds longer.
        """
        if self._holds_at_most(_CHECKED_WHOLE):
            self._as_table(self._all())

    @property
    def _columns(self) -> str:
        return _LINK.format(given_way=", ".join(map(str, self._replaced)))

    # --- runs --------------------------------------------------------------------------------------------------

    def begin(self, run_id: str, owner: str, *, refresh: bool = False, replaced: Collection[str] = ()) -> None:
        """A run begins for `owner`. `replaced` are the IDs of unfinished runs whose links workbook gives way to this one's.

        With `refresh` nothing is known but what runs that this one goes on with have asked for anew.
        """
        with explained(self._path), self._read:
            gone = self._runs(f"run_id IN ({_marks(replaced)})", *replaced)
            open_runs = self._runs("owner = ? AND settled_by IS NULL", owner)
            open_runs |= self._runs(f"settled_by IN ({_marks(gone)})", *gone) | gone
            self._unsettled, self._replaced, self._owner = frozenset(open_runs), frozenset(gone), owner
            self._refreshing = frozenset(number for number, again in open_runs.items() if again) if refresh else None
            self._run = self._read.execute(
                "INSERT INTO run (run_id, project, owner, refresh, started_at) VALUES (?, ?, ?, ?, ?)",
                (run_id, self._project, owner, refresh, now()),
            ).lastrowid

    def _runs(self, condition: str, *values: str | int) -> dict[int, bool]:
        """Number of each such run of this project -> whether it asked again for all."""
        query = f"SELECT number, refresh FROM run WHERE project = ? AND {condition}"  # noqa: S608 our own words
        return {number: bool(again) for number, again in self._read.execute(query, (self._project, *values))}

    def mark_complete(self, handed_out: pa.Array, *, all_asked: bool, placement: Placement | None = None) -> None:
        """These IDs stand in a links workbook that is in its place, for the first time.

        `all_asked`: the run is settled, and with it those that it went on with. `placement`: the files, which are noted with
        their patients. Raises LedgerError, unless writing failed before.
        """
        if self._failure is not None:
            return
        with self._writing():
            for number in sorted(self._replaced):
                self._read.execute(
                    "UPDATE link SET handed_out = NULL, handed_by = NULL, handed_in = NULL"
                    " WHERE project = ? AND handed_by = ?",
                    (self._project, number),
                )
            if placement is None:
                self._note_handed_out(handed_out, None)
            else:
                self._note_placement(placement, handed_out)
            if all_asked:
                self._read.executemany(
                    "UPDATE run SET settled_by = ? WHERE number = ?",
                    ((self._run, number) for number in {self._run, *self._unsettled}),
                )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction. Raises LedgerError."""
        try:
            with self._read:
                yield
        except (sqlite3.Error, ValueError) as error:
            raise write_failed(self._path, error) from error

    def _note_handed_out(self, external_ids: pa.Array, file: int | None, *, again: bool = False) -> None:
        moment, only = now(), "" if again else " AND handed_out IS NULL"
        self._read.executemany(
            "UPDATE link SET handed_out = ?, handed_by = ?, handed_in = ?"  # noqa: S608 our own words
            f" WHERE project = ? AND external_id = ?{only}",
            ((moment, self._run, file, self._project, external_id) for external_id in external_ids.to_pylist()),
        )

    # --- responses ---------------------------------------------------------------------------------------------

    def begin_beside(self, run_id: str, owner: str) -> None:
        """Something begins for `owner` that asks for no link, and leaves runs that did not finish as they are."""
        with explained(self._path), self._read:
            self._owner = owner
            self._run = self._read.execute(
                "INSERT INTO run (run_id, project, owner, refresh, started_at) VALUES (?, ?, ?, 0, ?)",
                (run_id, self._project, owner, now()),
            ).lastrowid
            self._read.execute("UPDATE run SET settled_by = number WHERE number = ?", (self._run,))

    def record_responses(self, records: Iterable[ResponseRecord]) -> None:
        """Keep what HealthEx shows of a patient, in place of what it showed before. On disk within a tenth of a second.

        Raises LedgerError once writing has failed.
        """
        self._recorded = True
        for record in records:
            self._waiting.put(record)
        self._raise_failure()

    def responses_for(self, external_ids: pa.Array) -> dict[str, dict[str, ResponseRecord]]:
        """ID -> kind of consent -> the latest response, of those of these IDs that were asked about."""
        query = f"SELECT {RESPONSE} FROM wanted JOIN response USING (external_id) WHERE response.project = ?"  # noqa: S608
        found: dict[str, dict[str, ResponseRecord]] = {}
        for record in self._checked(response_of(self._project, row) for row in self._rows_of(external_ids, query)):
            found.setdefault(record.external_id, {})[record.consent_type] = record
        return found

    def reminders_for(self, external_ids: pa.Array, *, but: Collection[str] = ()) -> dict[str, ReminderRecord]:
        """Of those of these IDs that were reminded; what the runs `but` did does not count."""
        query = f"SELECT {REMINDER} FROM wanted JOIN reminder USING (external_id) WHERE reminder.project = ?"  # noqa: S608
        rows = self._rows_of(external_ids, query)
        return {record.external_id: record for record in self._checked(reminders_of(self._project, rows, but=but))}

    def handed_out_at(self, external_ids: pa.Array) -> dict[str, str]:
        """ID -> when (ISO 8601, UTC) the links workbook was in its place that handed the patient out."""
        query = (
            "SELECT link.external_id, handed_out FROM wanted JOIN link USING (external_id)"
            " WHERE link.project = ? AND handed_out IS NOT NULL"
        )
        return dict(self._rows_of(external_ids, query))

    def has_response(self, response: str) -> bool:
        """Whether this is the latest response of anybody in the project."""
        query = "SELECT EXISTS (SELECT 1 FROM response WHERE project = ? AND response = ?)"
        with self._reading():
            return bool(self._read.execute(query, (self._project, response)).fetchone()[0])

    def ids_of_patients(self, hashes: Collection[str]) -> dict[str, set[str]]:
        """Keyed hash of HealthEx's own ID -> our IDs that it stands for, of these hashes."""
        owners: dict[str, set[str]] = {}
        with self._reading():
            rows = self._read.execute(
                "SELECT external_id, patients FROM response WHERE project = ? AND patients != ''", (self._project,)
            )
            for external_id, patients in rows:
                for each in patients.split():
                    if each in hashes:
                        owners.setdefault(each, set()).add(external_id)
        return owners

    def record_reminders(self, external_ids: Iterable[str], *, run_id: str, instead_of: Collection[str]) -> None:
        """These patients stand in a reminder that is in its place. It takes the place of those of the runs `instead_of`.

        Raises LedgerError, unless writing failed before.
        """
        if self._failure is not None:
            return
        with self._writing():
            note_reminders(self._read, self._project, external_ids, run_id=run_id, moment=now(), instead_of=instead_of)

    def forget_responses(self, *, older_than_days: int) -> int:
        """Delete what was asked so long ago. Returns of how many patients. Raises LedgerError."""
        if self._failure is not None:
            return 0
        with self._writing():
            number = forget_responses(self._read, self._project, older_than_days=older_than_days)
        if number:
            with self._writing():
                leave_no_trace(self._read)
        return number

    @cached_property
    def key(self) -> LedgerKey:
        """Makes the keyed hashes that stand in this ledger. Raises SettingsError."""
        return LedgerKey.new() if self._path is None else LedgerKey.load(self._path)

    def _rows_of(self, external_ids: pa.Array, query: str) -> Iterator[tuple[Any, ...]]:
        for rows in self._matching(external_ids, query):
            yield from rows

    def _checked(self, records: Iterable[_Record]) -> Iterator[_Record]:
        """Raises for a record that does not hold any more what was written."""
        try:
            yield from records
        except ValueError as error:
            raise self._kind()(*damaged(self._path)) from error

    # --- files -------------------------------------------------------------------------------------------------

    def note_files(
        self,
        folder: str,
        files: Sequence[PatientFile],
        *,
        replaced: Collection[tuple[str, str]] = (),
        renamed: Mapping[tuple[str, str], str] = MappingProxyType({}),
    ) -> None:
        """These files with patients in them are in their place in `folder`. Raises LedgerError, unless writing failed before.

        `replaced`, `renamed`: as in `Placement`. Of a run only once it has begun. For a links workbook that hands patients out
        see `mark_complete`.
        """
        if self._failure is not None:
            return
        with self._writing():
            note_renamed(self._read, self._at(folder), renamed)
            note_replaced(self._read, self._at(folder), replaced)
            for file in files:
                note_file(self._read, self._at(folder), file)

    def announce_files(self, folder: str, files: Sequence[PatientFile]) -> None:
        """These files are about to be placed: they are known then however the run ends. What cannot be noted is not."""
        with suppress(sqlite3.Error), self._read:
            for file in files:
                announce_file(self._read, self._at(folder), file)

    def _at(self, folder: str) -> FilePlace:
        return FilePlace(self._project, self._run, self._owner, folder)

    def rows_in_files(self, external_ids: Collection[str]) -> list[PatientRow]:
        """Every row of these patients in every file that was noted, the oldest file first. For a few: not within a run."""
        with self._reading_files():
            return rows_of_patients(self._read, self._project, external_ids)

    def patients_standing_in(self, owner: str, folder: str, files: Mapping[str, str]) -> pa.Array | None:
        """External IDs in these files of an owner (name -> SHA-256); None where one of them was not noted."""
        with self._reading_files():
            condition = "project = ? AND owner = ? AND folder = ? AND replaced_at IS NULL"
            standing = noted_files(self._read, condition, (self._project, owner, as_noted(folder)))
            noted = {(file.name, file.sha256): file.number for file in standing}
            given = [(as_noted(name), digest) for name, digest in files.items()]
            numbers = [noted[each] for each in given if each in noted]
            if len(numbers) < len(files):
                return None
            return _in_one(patients_in(self._read, numbers))

    def handed_out_to_owner(self) -> pa.Array | None:
        """External IDs that earlier runs for this owner handed out first; None where there was no such run."""
        with self._reading():
            condition = "project = ? AND owner = ? AND number IS NOT ?"
            owners = (self._project, self._owner, self._run)
            if self._read.execute(f"SELECT 1 FROM run WHERE {condition} LIMIT 1", owners).fetchone() is None:  # noqa: S608
                return None
            query = (
                "SELECT external_id FROM link WHERE project = ? AND handed_out IS NOT NULL"  # noqa: S608 our own words
                f" AND handed_by IN (SELECT number FROM run WHERE {condition})"
            )
            rows = self._read.execute(query, (self._project, *owners)).fetchall()
            return pa.array([external_id for (external_id,) in rows], pa.string())

    def patients_of_list(self, owner: str, folder: str | None = None) -> pa.Array:
        """External IDs, each once, in the links workbooks of this owner that still stand where they were put.

        `folder`: only in those that were put there.
        """
        condition = "project = ? AND owner = ? AND purpose = ? AND placed_at IS NOT NULL AND replaced_at IS NULL"
        values: list[str | int] = [self._project, owner, FilePurpose.LINKS.value]
        if folder is not None:
            condition, values = f"{condition} AND folder = ?", [*values, folder]
        with self._reading_files():
            files = noted_files(self._read, condition, values)
            found = {one for ids in patients_in(self._read, [file.number for file in files]) for one in ids}
        return pa.array(sorted(found), pa.string())

    def handed_out_by_others(self, external_ids: pa.Array, run_ids: Collection[str]) -> bool:
        """Whether one of these patients was handed out first by another run than these."""
        query = (
            "SELECT 1 FROM wanted JOIN link USING (external_id) LEFT JOIN run ON run.number = link.handed_by"  # noqa: S608
            " WHERE link.project = ? AND link.handed_out IS NOT NULL"
            f" AND (run.run_id IN ({_marks(run_ids)})) IS NOT TRUE"
        )
        return sum(len(rows) for rows in self._matching(external_ids, query, *run_ids)) > 0

    def handed_out_under(self, split_by: str) -> pa.Table:
        """Columns `external_id` and `value`: who was handed out last in a workbook of which value of this column."""
        query = (
            "SELECT external_id, value FROM link JOIN patient_file ON patient_file.number = link.handed_in"
            " WHERE link.project = ? AND patient_file.split_by = ? AND link.handed_out IS NOT NULL"
        )
        with self._reading():
            rows = self._read.execute(query, (self._project, split_by)).fetchall()
        columns = list(zip(*rows, strict=True)) or [(), ()]
        return pa.table([pa.array(column, pa.string()) for column in columns], names=["external_id", "value"])

    def _note_placement(self, placement: Placement, handed_out: pa.Array) -> None:
        at = self._at(placement.folder)
        note_renamed(self._read, at, placement.renamed)
        gone = note_replaced(self._read, at, placement.replaced)
        new = []
        for file in placement.files:
            number = note_file(self._read, at, file)
            new.append(number)
            if file.hands_out:
                for chosen, again in ((handed_out, False), (placement.moved, True)):
                    if len(chosen):
                        ids = file.external_ids.filter(pc.is_in(file.external_ids, value_set=chosen)).unique()
                        self._note_handed_out(ids, number, again=again)
        drop_announced(self._read, self._run)
        self._take_back(gone, new, placement.files)

    def _take_back(self, gone: Collection[int], new: Collection[int], files: Sequence[PatientFile]) -> None:
        """Who stood in files that are gone, and stands in no other, does not count as handed out any more."""
        if not gone:
            return
        left = _in_one(patients_in(self._read, gone, and_not_in=new))
        for file in files:
            left = left.filter(pc.invert(pc.is_in(left, value_set=file.external_ids)))
        if not len(left):
            return
        nowhere = set(left.to_pylist())
        standing = noted_files(
            self._read,
            "project = ? AND purpose IN ('links', 'frame') AND placed_at IS NOT NULL AND replaced_at IS NULL",
            (self._project,),
        )
        for ids in patients_in(self._read, [file.number for file in standing]):
            nowhere.difference_update(ids)
        self._read.executemany(
            "UPDATE link SET handed_out = NULL, handed_by = NULL, handed_in = NULL WHERE project = ? AND external_id = ?",
            ((self._project, external_id) for external_id in nowhere),
        )

    @contextmanager
    def _reading_files(self) -> Iterator[None]:
        with self._reading():
            try:
                yield
            except ValueError as error:
                raise self._kind()(*damaged(self._path)) from error

    # --- forgetting --------------------------------------------------------------------------------------------

    def forget(self, *, older_than_days: int) -> int:
        """Delete this project's links that were issued so long ago. Returns how many. Withdrawals stay."""
        if self._failure is not None:
            return 0
        forgotten: list[str] = []
        with self._writing():
            condition, values = "WHERE project = ? AND issued_at <= ?", (self._project, days_ago(older_than_days))
            found = self._read.execute(f"SELECT external_id FROM link {condition}", values)  # noqa: S608 our own words
            forgotten += [external_id for (external_id,) in found]
            self._read.execute(f"DELETE FROM link {condition}", values)  # noqa: S608 our own words
            forget_patients(self._read, self._project, forgotten)
            if forgotten:
                forget_lists(self._read)
        if forgotten:
            with self._writing():
                leave_no_trace(self._read)
        return len(forgotten)

    # --- what is known -----------------------------------------------------------------------------------------

    @property
    def people(self) -> PersonRecords:
        """Who this project's IDs stand for."""
        return PersonRecords(self._read, self._path, self._project)

    def links_for(self, external_ids: pa.Array, *, earlier_too: bool = False) -> pa.Table:
        """Known links of these IDs, each of which is given once; in their order, unless writing failed.

        `earlier_too`: also those that this run asks for anew, as they were before.

        Columns `external_id`, `link`, `issued_at` (ISO 8601, UTC), `handed_out` and `is_new` (true or false): a link is
        handed out if a links workbook that stays has held it, and new if issued by this run or one that it goes on with.
        """
        known = self._records_of(external_ids)
        if self._refreshing is not None and not earlier_too:
            anew = pc.is_in(known.column("issued_by"), pa.array(list(self._refreshing), pa.int64()))
            # Whoever began after this run and asked too has got a newer link still.
            known = known.filter(pc.or_(anew, pc.greater_equal(known.column("issued_by"), self._run)))
        if self._unsaved:
            known = self._with_unsaved(known, external_ids)
        recent = pa.array([*self._unsettled, *self._own()], pa.int64())
        is_new = pc.is_in(known.column("issued_by"), recent)
        return known.drop_columns(["issued_by"]).append_column("is_new", is_new)

    def _own(self) -> tuple[int, ...]:
        """This run's number, once it has begun."""
        return () if self._run is None else (self._run,)

    def _records_of(self, external_ids: pa.Array) -> pa.Table:
        """What `_KNOWN` names, of each of these IDs that the ledger has, in their order."""
        if len(external_ids) < _SCAN_FROM or not self._holds_at_most(2 * len(external_ids)):
            query = f"SELECT {self._columns} FROM wanted JOIN link USING (external_id) WHERE link.project = ?"  # noqa: S608
            found = self._as_table(self._matching(external_ids, query))
        else:
            found = self._as_table(self._all())
        places = positions_among(external_ids, found.column("external_id")).drop_null()
        if places.equals(pa.array(np.arange(len(found), dtype=np.int32))):
            return found
        columns = []
        while found.num_columns:  # one by one, so that no two of them are there twice, and none three times
            whole, found = combine_chunks(found.column(0)), found.remove_column(0)
            release_unused_memory()
            columns.append(whole.take(places))
        return pa.table(columns, schema=_KNOWN)

    def _holds_at_most(self, number: int) -> bool:
        query = "SELECT count(*) FROM (SELECT 1 FROM link WHERE project = ? LIMIT ?)"
        with self._reading():
            return bool(self._read.execute(query, (self._project, number + 1)).fetchone()[0] <= number)

    def _all(self) -> Iterator[list[tuple[Any, ...]]]:
        """Every link of the project, some at a time. A million are read in half the time that looking each up takes."""
        with self._reading():
            cursor = self._read.execute(f"SELECT {self._columns} FROM link WHERE project = ?", (self._project,))  # noqa: S608
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                yield rows

    def _as_table(self, batches: Iterable[list[tuple[Any, ...]]]) -> pa.Table:
        """What `_KNOWN` names, of rows of `_LINK`. Raises for a record that does not hold any more what was written."""
        start = crc32(f"{self._project}\n".encode())
        try:
            return pa.Table.from_batches([_as_known(rows, start) for rows in batches], _KNOWN)
        except (pa.ArrowException, TypeError, ValueError) as error:  # another kind of value than was ever written, too
            raise self._kind()(*damaged(self._path)) from error

    def _with_unsaved(self, known: pa.Table, external_ids: pa.Array) -> pa.Table:
        """Where the disk failed in mid-run, this run's results still hold what could not be recorded."""
        unsaved = {
            external_id: (link, issued_at)
            for external_id, link, issued_at, replace, instead_of in self._unsaved
            if replace or instead_of is not None
        }
        known = known.filter(pc.invert(pc.is_in(known.column("external_id"), pa.array(list(unsaved), pa.string()))))
        for external_id, link, issued_at, *_ in self._unsaved:
            unsaved.setdefault(external_id, (link, issued_at))
        asked = set(external_ids.to_pylist()) - set(known.column("external_id").to_pylist())
        rows = [
            dict(zip(_KNOWN.names, (external_id, *answer, False, self._run), strict=True))
            for external_id, answer in unsaved.items()
            if external_id in asked
        ]
        return pa.concat_tables([known, pa.Table.from_pylist(rows, _KNOWN)])

    def has_links(self) -> bool:
        """Whether any link of the project is recorded."""
        return not self._holds_at_most(0)

    def withdrawn(self) -> frozenset[str]:
        """IDs that are never to be sent or handed out in this project; nor those whose link went to somebody else."""
        listed = frozenset(one for one, project, _ in self._withdrawals() if project in (0, self._project))
        with explained(self._path):
            try:
                return listed | withdrawn_by_run(self._read, self._project) | exposed_ids(self._read, self._project)
            except ValueError as error:
                raise SettingsError(*damaged(self._path)) from error

    def withdrawn_everywhere(self) -> Mapping[str, str]:
        """ID -> when it was withdrawn (ISO 8601, UTC) in every project, as versions before 0.3 recorded it."""
        return {one: moment for one, project, moment in self._withdrawals() if project == 0}

    def forget_withdrawn_everywhere(self, external_ids: Collection[str]) -> None:
        """These stand on the list of people not to contact now."""
        with explained(self._path), self._read:
            self._read.executemany(
                "DELETE FROM withdrawal WHERE project = 0 AND external_id = ?", ((one,) for one in external_ids)
            )

    def _withdrawals(self) -> Sequence[tuple[str, int, str]]:
        """External ID, number of the project (0: every one), and when."""
        with explained(self._path):
            rows = self._read.execute(
                "SELECT external_id, project, withdrawn_at, check_value FROM withdrawal"
            ).fetchall()
        if any(value != check_value(*fields) for *fields, value in rows):  # a damaged one may name another project
            raise SettingsError(*damaged(self._path))
        return [(external_id, project, moment) for external_id, project, moment, _ in rows]

    def known(self, texts: Collection[str]) -> set[str]:
        """Those of `texts` that are IDs of a patient with a link, or a withdrawn one, in any project of this API.

        A look-up each: for a few, also while answers are recorded.
        """
        query = (
            "SELECT EXISTS (SELECT 1 FROM project JOIN link ON link.project = project.number"
            " WHERE project.api = ? AND link.external_id = ?)"
            " OR EXISTS (SELECT 1 FROM withdrawal WHERE external_id = ?)"
        )
        with self._reading():
            return {text for text in texts if self._read.execute(query, (self.api, text, text)).fetchone()[0]}

    def all_known(self) -> pa.Array:
        """All of the IDs that `known` knows, some perhaps more than once."""
        query = (
            "SELECT link.external_id FROM project JOIN link ON link.project = project.number WHERE project.api = ?"
            " UNION ALL SELECT external_id FROM withdrawal"
        )
        found = [pa.array([], pa.string())]
        with self._reading():
            cursor = self._read.execute(query, (self.api,))
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                found.append(pa.array([external_id for (external_id,) in rows], pa.string()))
        return pa.concat_arrays(found)

    def all_links(self) -> Iterator[pa.Table]:
        """Every link of the project, some at a time: what `_KNOWN` names. Read it to its end, or close it."""
        for rows in self._all():
            yield self._as_table([rows])

    def in_other_projects(self, external_ids: pa.Array) -> set[str]:
        """Those of these IDs that have a link in another project of the same API, and none in this one."""
        query = (
            "SELECT other.external_id FROM wanted JOIN link AS other USING (external_id)"
            " JOIN project ON project.number = other.project"
            " WHERE other.project != ? AND project.api = ? AND NOT EXISTS"
            " (SELECT 1 FROM link WHERE link.project = ? AND link.external_id = other.external_id)"
        )
        with explained(self._path):
            others = self._read.execute(
                "SELECT count(*) FROM project WHERE api = ? AND number != ?", (self.api, self._project)
            ).fetchone()
        if not others[0]:
            return set()
        found = self._matching(external_ids, query, self.api, self._project)
        return {external_id for rows in found for (external_id,) in rows}

    def other_owners(self, links: Collection[str]) -> Mapping[str, Collection[str]]:
        """To which IDs, in any project of this API, the ledger gives each of these links."""
        owners: dict[str, set[str]] = {}
        query = (
            "SELECT link, link.external_id FROM link JOIN project ON project.number = link.project"
            " WHERE project.api = (SELECT api FROM project WHERE number = ?) AND link IN (SELECT external_id FROM wanted)"
        )
        for rows in self._matching(pa.array(links, pa.string()), query):
            for link, external_id in rows:
                owners.setdefault(link, set()).add(external_id)
        return owners

    def _matching(self, texts: pa.Array, query: str, *more: str | int) -> Iterator[list[tuple[Any, ...]]]:
        """What `query` finds for these texts, which stand in the table `wanted`: some rows at a time."""
        with self._reading():
            self._read.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (external_id TEXT PRIMARY KEY) WITHOUT ROWID")
            for start in range(0, len(texts), _ROWS_AT_ONCE):
                batch = texts[start : start + _ROWS_AT_ONCE].to_pylist()
                self._read.executemany("INSERT OR IGNORE INTO wanted VALUES (?)", ((text,) for text in batch))
            cursor = self._read.execute(query, (self._project, *more))
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                yield rows
            self._read.execute("DELETE FROM wanted")
            self._read.commit()

    def _reading(self) -> AbstractContextManager[None]:
        return explained(self._path, self._kind())

    def _kind(self) -> type[BatchlinksError]:
        """Of a failure to read: whether calls have begun is for the exit code to tell."""
        return LedgerError if self._recorded else SettingsError

    # --- what is new -------------------------------------------------------------------------------------------

    def naming(self) -> Naming:
        """Whether this project's links name their patients, as far as that is recorded, and what IT has said about it."""
        with self._reading():
            try:
                return read_naming(self._read, self._project)
            except ValueError as error:
                raise self._kind()(*damaged(self._path)) from error

    def decide_naming(self, names: bool) -> None:
        """Record it, before any answer is. Once a link has named a patient, that stays."""
        with self._reading(), self._read:
            note_naming(self._read, self._project, names)

    def record_named(self) -> None:
        """A link has named a patient. On disk together with the next answers."""
        self._waiting.put(_Mark.NAMED)

    def record(self, external_id: str, link: str, *, replace: bool = False, instead_of: str | None = None) -> None:
        """Keep an answer. It is on disk within a tenth of a second.

        It takes the place of an earlier link with `replace`, and of that link alone with `instead_of`. Raises LedgerError
        once writing has failed; `links_for` knows the answer all the same.
        """
        if not self._recorded:
            self._on_first_answer(self)
        self._recorded = True
        self._waiting.put((external_id, link, now(), replace, instead_of))
        self._raise_failure()

    def flush(self) -> None:
        """Wait until every answer is on disk. Raises LedgerError."""
        written = threading.Event()
        self._waiting.put(written)
        written.wait()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._told = True
            raise self._failure

    def _write_answers(self) -> None:
        """The writer thread: whatever arrives within a twentieth of a second is one transaction."""
        batch = _Batch()
        try:
            # In memory there is one database a connection, so the reading connection does the writing too.
            shared = self._path is None
            connection = self._read if shared else open_ledger(self._path)
            try:
                while not batch.ends:
                    batch = self._next_batch()
                    self._unsaved = batch.answers
                    self._write(connection, batch)
                    self._unsaved = []
                    _wake(batch)
            finally:
                if not shared:
                    connection.close()
        except Exception as error:  # whatever it is: an answer that is not on disk must not be lost unseen
            self._failure = write_failed(self._path, error)
            _wake(batch)
            while not batch.ends:
                batch = self._next_batch()
                self._unsaved += batch.answers
                _wake(batch)

    def _next_batch(self) -> _Batch:
        """What has arrived by now, after waiting for the first."""
        batch = _Batch()
        batch.add(self._waiting.get())
        if not (batch.ends or batch.waiting):
            time.sleep(_FLUSH_EVERY_S)
        with suppress(queue.Empty):
            while not batch.ends:
                batch.add(self._waiting.get_nowait())
        return batch

    def _write(self, connection: sqlite3.Connection, batch: _Batch) -> None:
        if not (batch.answers or batch.named or batch.responses):
            return
        with connection:
            note_responses(connection, self._project, batch.responses)
            connection.executemany(
                "INSERT INTO link (project, external_id, link, issued_at, issued_by, check_value)"
                " VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET link = excluded.link, issued_at = excluded.issued_at, handed_out = NULL,"
                " issued_by = excluded.issued_by, handed_by = NULL, handed_in = NULL, check_value = excluded.check_value"
                " WHERE ? OR link.link = ?",
                (
                    (self._project, *link, self._run, link_check_value(self._project, *link), replace, instead_of)
                    for *link, replace, instead_of in batch.answers
                ),
            )
            if batch.named:
                note_naming(connection, self._project, True)


def _wake(batch: _Batch) -> None:
    for written in batch.waiting:
        written.set()


def _as_known(rows: Sequence[tuple[Any, ...]], start: int) -> pa.RecordBatch:
    """What `_KNOWN` names, of rows of `_LINK`; `start` is the check value of what stands before each record.

    Raises ValueError, TypeError or an Arrow exception for a record that does not hold any more what was written.
    """
    records, values, handed_out, issued_by = (list(map(itemgetter(place), rows)) for place in range(4))
    found = pa.array(np.fromiter(map(crc32, records, repeat(start)), np.int64, len(records)))
    # One of version 1 that still runs leaves no value behind.
    if not pc.all(pc.fill_null(pc.equal(pa.array(values, pa.int64()), found), True)).as_py():
        raise ValueError("a record does not fit its check value")
    # From the end: no link has a line break in it, and an ID may.
    fields = pc.split_pattern(pa.array(records, pa.binary()).cast(pa.string()), "\n", max_splits=2, reverse=True)
    return pa.record_batch(
        [
            *(pc.list_element(fields, place) for place in range(3)),
            pa.array(np.array(handed_out, dtype=bool)),
            pa.array(issued_by, pa.int64()),
        ],
        schema=_KNOWN,
    )


def _in_one(some_at_a_time: Iterable[list[str]]) -> pa.Array:
    """All of the IDs, each once."""
    pieces = [pa.array(ids, pa.string()) for ids in some_at_a_time]
    return pa.chunked_array(pieces, pa.string()).unique() if pieces else pa.array([], pa.string())


def _marks(values: Collection[object]) -> str:
    """As many places for values as there are, for SQL's IN."""
    return ", ".join("?" * len(values))


def project_number(connection: sqlite3.Connection, api: str, project_id: str) -> int:
    """Of a project, which is recorded if it is new."""
    query = "SELECT number, check_value FROM project WHERE api = ? AND project_id = ?"
    found = connection.execute(query, (api, project_id)).fetchone()
    if found is None or found[1] is None:
        with connection:
            connection.execute("INSERT OR IGNORE INTO project (api, project_id) VALUES (?, ?)", (api, project_id))
            found = connection.execute(query, (api, project_id)).fetchone()
            connection.execute(
                "UPDATE project SET check_value = ? WHERE number = ?",
                (check_value(found[0], api, project_id), found[0]),
            )
    return int(found[0])
