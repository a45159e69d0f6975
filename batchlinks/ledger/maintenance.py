"""What people do with the ledger beside runs: count, look up, withdraw, restore, forget, export, copy. Of one project, or all."""

import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.ledger.database import damaged, explained, leave_no_trace, open_ledger
from batchlinks.ledger.link_naming import note_acceptance
from batchlinks.ledger.patient_files import (
    NotedFile,
    PatientRow,
    forget_patients,
    noted_files,
    rows_of_file,
    rows_of_patients,
)
from batchlinks.ledger.person_records import PersonRecords, forget_lists
from batchlinks.ledger.project_links import project_number
from batchlinks.ledger.response_records import (
    REMINDER,
    RESPONSE,
    ReminderRecord,
    ResponseRecord,
    reminders_of,
    response_of,
)
from batchlinks.ledger.run_undoing import (
    expose_link,
    exposed_ids,
    restore_patients,
    restore_patients_of_run,
    run_withdrawals,
    withdraw_patients_of_run,
)
from batchlinks.ledger.schema import check_value, days_ago, now
from batchlinks.next_steps import Setting
from batchlinks.patients.identifier import fold

EVERY = 0
"""Stands for every project in a withdrawal, also those to come."""

_ROWS_AT_ONCE = 16384
_FOLDED = "lower(ltrim({}, '0'))"
"""As `patients.identifier.fold`: what IDs share that differ only in case or leading zeros."""


@dataclass(frozen=True, slots=True)
class Project:
    """One that the ledger has links of, by which API, and its number in the file."""

    number: int
    api: str
    project_id: str


@dataclass(frozen=True, slots=True)
class Day:
    """How many links of a project were issued on a day (UTC), and how many of these a links workbook has held."""

    project: Project
    day: str
    links: int
    handed_out: int


@dataclass(frozen=True, slots=True)
class Known:
    """A link, and what became of it. Times are ISO 8601, UTC."""

    external_id: str = field(repr=False)
    project: Project
    link: str = field(repr=False)
    issued_at: str
    issued_by: str | None
    """ID of the run."""

    handed_out_at: str | None
    handed_out_by: str | None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A patient who is not to be contacted, in one project or (None) in every one."""

    external_id: str = field(repr=False)
    project: Project | None
    withdrawn_at: str
    run_id: str | None = None
    """Of the run whose patients were withdrawn together; None of one who was withdrawn for a reason of their own."""


@dataclass(frozen=True, slots=True)
class NotedRun:
    """A run that the ledger knows. Times are ISO 8601, UTC."""

    number: int
    run_id: str
    project: Project
    started_at: str


class Records:
    """A context manager on a ledger's file. Raises SettingsError where there is none (unless `make`) or it cannot be used."""

    def __init__(self, path: Path, *, make: bool = False) -> None:
        if not make and not path.exists():
            raise SettingsError(
                f"There is no ledger at {path}: no link was made yet, or it is elsewhere (", Setting("ledger"), ")."
            )
        self._path = path
        self._connection = open_ledger(path, examine=True)

    @property
    def path(self) -> Path:
        """Of the ledger's file."""
        return self._path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    # --- looking -----------------------------------------------------------------------------------------------

    def projects(self) -> list[Project]:
        """All that the ledger knows, also those without a link."""
        return [
            Project(*row) for row in self._rows("SELECT number, api, project_id FROM project ORDER BY api, project_id")
        ]

    def project(self, api: str, project_id: str) -> Project | None:
        """None where no run was ever made for it."""
        return next((each for each in self.projects() if (each.api, each.project_id) == (api, project_id)), None)

    def new_project(self, api: str, project_id: str) -> Project:
        """The same, recorded where it is new."""
        with explained(self._path):
            return Project(project_number(self._connection, api, project_id), api, project_id)

    def days(self) -> list[Day]:
        """Counts by project and day of issue, in this order."""
        by_number = {project.number: project for project in self.projects()}
        rows = self._rows(
            "SELECT project, substr(issued_at, 1, 10), count(*), count(handed_out) FROM link GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return [Day(by_number[number], day, links, handed_out) for number, day, links, handed_out in rows]

    def links(self, project: Project | None, external_ids: Collection[str] | None = None) -> Iterator[Known]:
        """Those of these IDs, or all, by project and ID. Raises SettingsError at one that is damaged."""
        by_number = {each.number: each for each in self.projects()}
        query = (
            "SELECT link.external_id, link.project, link, issued_at, link.check_value, issuer.run_id, handed_out, giver.run_id"
            " FROM link LEFT JOIN run AS issuer ON issuer.number = link.issued_by"
            " LEFT JOIN run AS giver ON giver.number = link.handed_by"
        )
        for row in self._chosen(query, "link.project, external_id", project, external_ids):
            external_id, number, link, issued_at, value, issued_by, handed_out_at, handed_out_by = row
            if value is not None and value != check_value(number, external_id, link, issued_at):
                raise SettingsError(*damaged(self._path))
            yield Known(external_id, by_number[number], link, issued_at, issued_by, handed_out_at, handed_out_by)

    def people(self, project: Project) -> PersonRecords:
        """Who the IDs of a project stand for."""
        return PersonRecords(self._connection, self._path, project.number)

    def withdrawals(
        self, project: Project | None, external_ids: Collection[str] | None = None, *, alike: bool = False
    ) -> list[Withdrawal]:
        """Those of these IDs, or all, in this project (with those in every one), or in any.

        `alike`: also of IDs that differ only in case or leading zeros, which screening holds back too.
        """
        by_number: dict[int, Project | None] = {each.number: each for each in self.projects()} | {EVERY: None}
        query = "SELECT external_id, project, withdrawn_at, check_value FROM withdrawal"
        rows = list(self._chosen(query, "external_id, project", project, external_ids, alike=alike))
        if any(value != check_value(*fields) for *fields, value in rows):
            raise SettingsError(*damaged(self._path))
        found = [Withdrawal(external_id, by_number[number], at) for external_id, number, at, _ in rows]
        return found + self._withdrawn_with_a_run(project, external_ids, alike=alike)

    def _withdrawn_with_a_run(
        self, project: Project | None, external_ids: Collection[str] | None, *, alike: bool
    ) -> list[Withdrawal]:
        by_number = {each.number: each for each in self.projects()}
        with explained(self._path), self._undamaged():
            rows = run_withdrawals(self._connection, None if project is None else project.number)
        as_written = fold if alike else str
        wanted = None if external_ids is None else {as_written(one) for one in external_ids}
        return [
            Withdrawal(external_id, by_number[number], at, run_id)
            for external_id, number, at, run_id in rows
            if wanted is None or as_written(external_id) in wanted
        ]

    def run(self, run_id: str) -> NotedRun:
        """Raises SettingsError where the ledger knows no such run."""
        by_number = {each.number: each for each in self.projects()}
        rows = self._rows("SELECT number, run_id, project, started_at FROM run WHERE run_id = ?", run_id)
        if not rows:
            raise SettingsError(
                "The ledger knows no run of this ID. It stands in the summary of a run and in `batchlinks history`."
            )
        number, run_id, project, started_at = rows[0]
        return NotedRun(number, run_id, by_number[project], started_at)

    def owners_of(self, link: str) -> list[Known]:
        """Whose link it is, as far as the ledger has it now. Reads every link: for one question at a time."""
        rows = self._rows("SELECT project, external_id FROM link WHERE link = ?", link)
        by_number = {each.number: each for each in self.projects()}
        return [known for number, one in rows for known in self.links(by_number[number], [one]) if known.link == link]

    def handed_out_by(self, run: NotedRun) -> list[str]:
        """External IDs of patients whom this run handed out first."""
        rows = self._rows("SELECT external_id FROM link WHERE handed_by = ? AND handed_out IS NOT NULL", run.number)
        return [external_id for (external_id,) in rows]

    def alike(self, project: Project | None, external_ids: Collection[str]) -> list[str]:
        """IDs with a link that differ from these only in case or leading zeros."""
        rows = self._chosen("SELECT DISTINCT external_id FROM link", "external_id", project, external_ids, alike=True)
        return [external_id for (external_id,) in rows if external_id not in external_ids]

    def rows_in_files(self, project: Project, external_ids: Collection[str]) -> list[PatientRow]:
        """Every row of these patients in every file that was noted, the oldest file first. Raises SettingsError for damage."""
        with explained(self._path), self._undamaged():
            return rows_of_patients(self._connection, project.number, external_ids)

    def everybody_in(self, files: Sequence[NotedFile]) -> list[PatientRow]:
        """Every row of these files, in order. Raises SettingsError for damage."""
        with explained(self._path), self._undamaged():
            return [row for file in files for row in rows_of_file(self._connection, file)]

    def files_of_run(self, run_id: str) -> list[NotedFile]:
        """What a run put in its place. Raises SettingsError for damage."""
        with explained(self._path), self._undamaged():
            condition = "run = (SELECT number FROM run WHERE run_id = ?)"
            return noted_files(self._connection, condition, (run_id,))

    def responses(self, project: Project, external_id: str) -> tuple[list[ResponseRecord], ReminderRecord | None]:
        """What HealthEx showed of this patient last, by kind of consent; and the reminders. Raises SettingsError for damage."""
        values = (project.number, external_id)
        query = "SELECT {} FROM {} WHERE project = ? AND external_id = ?"
        responses = self._rows(query.format(RESPONSE, "response"), *values)
        reminders = self._rows(query.format(REMINDER, "reminder"), *values)
        with self._undamaged():
            found = [response_of(project.number, row) for row in responses]
            return found, next(reminders_of(project.number, reminders, but=()), None)

    # --- changing ----------------------------------------------------------------------------------------------

    def withdraw(self, project: Project | None, external_ids: Collection[str]) -> int:
        """Nobody of these is asked for or handed out any more. Returns how many were not withdrawn like that before."""
        number = EVERY if project is None else project.number
        moment = now()
        with explained(self._path, BatchlinksError), self._connection:
            return self._connection.executemany(
                "INSERT OR IGNORE INTO withdrawal VALUES (?, ?, ?, ?)",
                ((one, number, moment, check_value(one, number, moment)) for one in external_ids),
            ).rowcount

    def restore(self, project: Project | None, external_ids: Collection[str]) -> set[str]:
        """Undo `withdraw`, in one project or (None) wherever it was done. Returns the IDs that had been withdrawn like that."""
        found = {
            withdrawal.external_id
            for withdrawal in self.withdrawals(project, external_ids)
            if project is None or withdrawal.project == project
        }
        condition, values = ("", ()) if project is None else (" AND project = ?", (project.number,))
        with explained(self._path, BatchlinksError), self._connection:
            self._connection.executemany(
                f"DELETE FROM withdrawal WHERE external_id = ?{condition}",  # noqa: S608 our own words
                ((one, *values) for one in found),
            )
            restore_patients(self._connection, None if project is None else project.number, found)
        return found

    def withdraw_run(self, run: NotedRun) -> int:
        """Withdraw everybody whom this run handed out first, in its project. Returns how many were not, with it, before."""
        with explained(self._path, BatchlinksError), self._connection:
            return withdraw_patients_of_run(self._connection, run.number)

    def restore_run(self, run: NotedRun) -> set[str]:
        """Undo `withdraw_run`, and nothing else. Returns the IDs that had been withdrawn with it."""
        with explained(self._path, BatchlinksError), self._connection:
            return restore_patients_of_run(self._connection, run.number)

    def expose(self, known: Known) -> bool:
        """This link went to somebody else: it is not handed out again. Returns whether that is new."""
        with explained(self._path, BatchlinksError), self._connection:
            return expose_link(self._connection, known.project.number, known.external_id, known.link)

    def is_exposed(self, known: Known) -> bool:
        """Whether this link went to somebody else (`expose`). Raises SettingsError for damage."""
        with explained(self._path), self._undamaged():
            return known.external_id in exposed_ids(self._connection, known.project.number)

    def accept_unnamed(self, project: Project, *, accepted: bool) -> bool:
        """Links of this project that name nobody are used all the same, or not any more. Returns whether that is new."""
        with explained(self._path, BatchlinksError), self._connection:
            try:
                return note_acceptance(self._connection, project.number, accepted=accepted)
            except ValueError as error:
                raise SettingsError(*damaged(self._path)) from error

    def count(
        self,
        project: Project | None,
        *,
        older_than_days: int | None = None,
        external_ids: Collection[str] | None = None,
    ) -> int:
        """Links that `forget` would delete."""
        condition, values = self._condition(project, older_than_days)
        query = f"SELECT count(*) FROM link WHERE {condition}"  # noqa: S608 our own words
        if external_ids is None:
            return int(self._rows(query, *values)[0][0])
        return sum(self._rows(f"{query} AND external_id = ?", *values, one)[0][0] for one in external_ids)

    def forget(
        self,
        project: Project | None,
        *,
        older_than_days: int | None = None,
        external_ids: Collection[str] | None = None,
    ) -> int:
        """Delete links for good: of a project, of an age, of some IDs. Withdrawals stay. Returns how many there were."""
        condition, values = self._condition(project, older_than_days)
        with explained(self._path, BatchlinksError):
            with self._connection:
                forgotten = self._links_among(condition, values, external_ids)
                self._connection.executemany("DELETE FROM link WHERE project = ? AND external_id = ?", forgotten)
                of_project: dict[int, set[str]] = {}
                for number, external_id in forgotten:
                    of_project.setdefault(number, set()).add(external_id)
                for number, ids in of_project.items():
                    with self._undamaged():
                        forget_patients(self._connection, number, ids)
                forget_lists(self._connection)
            leave_no_trace(self._connection, tidy=True)
        return len(forgotten)

    def _links_among(
        self, condition: str, values: Sequence[str | int], external_ids: Collection[str] | None
    ) -> list[tuple[int, str]]:
        query = f"SELECT project, external_id FROM link WHERE {condition}"  # noqa: S608 our own words
        if external_ids is None:
            return self._connection.execute(query, values).fetchall()
        query += " AND external_id = ?"
        return [row for one in external_ids for row in self._connection.execute(query, (*values, one))]

    def copy_to(self, target: Path) -> None:
        """Write a copy, whole and for its owner alone, while others go on with the ledger. Raises BatchlinksError, OSError."""
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with explained(self._path, BatchlinksError), closing(sqlite3.connect(target)) as copy:
            self._connection.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, and none beside it

    # --- SQL ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _undamaged(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise SettingsError(*damaged(self._path)) from error

    @staticmethod
    def _condition(project: Project | None, older_than_days: int | None) -> tuple[str, tuple[str | int, ...]]:
        conditions, values = ["1"], list[str | int]()
        if project is not None:
            conditions.append("project = ?")
            values.append(project.number)
        if older_than_days is not None:
            conditions.append("issued_at <= ?")
            values.append(days_ago(older_than_days))
        return " AND ".join(conditions), tuple(values)

    def _chosen(
        self,
        query: str,
        order: str,
        project: Project | None,
        external_ids: Collection[str] | None,
        *,
        alike: bool = False,
    ) -> Iterator[tuple[Any, ...]]:
        """What `query` finds in one project or all, of some IDs or all."""
        table = query.rsplit(" FROM ", 1)[1].split()[0]
        conditions, values = ["1"], list[str | int]()
        if project is not None:
            conditions.append(f"{table}.project IN (?, {EVERY})")
            values.append(project.number)
        with explained(self._path):
            if external_ids is not None:
                self._connection.execute(
                    "CREATE TEMP TABLE IF NOT EXISTS wanted (external_id TEXT PRIMARY KEY) WITHOUT ROWID"
                )
                self._connection.execute("DELETE FROM wanted")
                self._connection.executemany(
                    "INSERT OR IGNORE INTO wanted VALUES (?)", ((one,) for one in external_ids)
                )
                self._connection.commit()
                as_written = _FOLDED if alike else "{}"
                column, wanted = as_written.format(f"{table}.external_id"), as_written.format("wanted.external_id")
                conditions.append(f"{column} IN (SELECT {wanted} FROM wanted)")  # noqa: S608 our own words
            cursor = self._connection.execute(f"{query} WHERE {' AND '.join(conditions)} ORDER BY {order}", values)
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                yield from rows

    def _rows(self, query: str, *values: str | int) -> Sequence[tuple[Any, ...]]:
        with explained(self._path):
            return self._connection.execute(query, values).fetchall()
