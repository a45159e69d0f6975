"""Which files hold which patients, and in which rows: noted as a file is put in its place, and told without reading any.

A file that stands there is one that batchlinks has not replaced since. One that a person moved, sent or deleted stands, as
far as the ledger knows: that was a decision, and its patients were handed out.

Who is in a file is kept in lists of some 2,000 patients, in the order of its rows and without row numbers of the file in
them. The same list is kept once however many files hold it, and a list ends where the ID of its last patient says so: a
million patients, of whom a hundred are new every night, cost a hundred lists a night and not five hundred.
"""

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchlinks.ledger.schema import check_value, now

_ENDS_ONE_IN = 2_048
_LONGEST = 4 * _ENDS_ONE_IN
_AT_ONCE = 500
"""Values that a statement gets at most."""


class FilePurpose(StrEnum):
    """What a file with patients in it is for."""

    LINKS = "links"
    """The links workbook, or a CSV in its place; of a list that was split, one for each value."""

    REMINDER = "reminder"
    LETTERS = "letters"
    MESSAGES = "messages"
    ANNOTATED = "annotated"
    STATUS = "status"
    FRAME = "frame"
    """No file: what a program in Python was given."""


@dataclass(frozen=True, slots=True)
class PatientFile:
    """A file that is in its place, to be noted: one entry in `external_ids` and in `rows` for each of its rows."""

    purpose: FilePurpose
    name: str
    """In its folder, such as `patients.links.xlsx` or `patients.links/North.xlsx`."""

    sha256: str
    """In hex."""

    external_ids: pa.Array = field(repr=False)
    rows: Sequence[int] | npt.NDArray[np.integer] = field(repr=False)
    """Of the patient list, as a spreadsheet numbers them."""

    split_by: str = ""
    """Column that the list was split by, in a form that does not change with capital letters and spaces."""

    value: str = ""
    """In that column, of all its patients."""

    hands_out: bool = False
    """Whether its patients count as handed out."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", as_noted(self.name))


@dataclass(frozen=True, slots=True)
class NotedFile:
    """A file as it was noted. Times are ISO 8601, UTC."""

    number: int
    project: int
    run_id: str | None
    owner: str
    """Digest of roster and project."""

    purpose: FilePurpose
    folder: str
    name: str
    sha256: str
    split_by: str
    value: str
    hands_out: bool
    placed_at: str | None
    """None of a run that was killed as it put the file there: perhaps it did, perhaps it did not."""

    replaced_at: str | None
    """When batchlinks put another in its place, or deleted it; None where it stands there, or a person took it away."""


@dataclass(frozen=True, slots=True)
class PatientRow:
    """A patient in a file."""

    external_id: str = field(repr=False)
    file: NotedFile
    row: int
    """Of the patient list, as a spreadsheet numbers it."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The files of a run that are in their place, and what became of those that were there before. Names -> in the folder."""

    folder: str
    files: Sequence[PatientFile]
    replaced: Collection[tuple[str, str]] = ()
    """Name and SHA-256 of the files that are gone."""

    renamed: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Name and SHA-256 -> new name of those that stay."""

    moved: pa.Array = field(default_factory=lambda: pa.array([], pa.string()), repr=False)
    """External IDs of patients in `files` who were handed out before under another value of the same column."""


# --- noting -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a file is noted: of which project, run and owner, and in which folder."""

    project: int
    run: int | None
    owner: str
    folder: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", as_noted(self.folder))


def as_noted(name: str) -> str:
    """A name as the ledger has it: one that is no UTF-8, as POSIX allows, with backslashes in place of what is none."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def note_file(connection: sqlite3.Connection, at: FilePlace, file: PatientFile) -> int:
    """Within a transaction: it is in its place. Returns its number.

    One for the same purpose that hands nobody out and had the same name in the folder is replaced from then on.
    """
    moment = now()
    connection.execute(
        "UPDATE patient_file SET replaced_at = ? WHERE project = ? AND owner = ? AND folder = ? AND name = ? AND purpose = ?"
        " AND NOT hands_out AND placed_at IS NOT NULL AND replaced_at IS NULL",
        (moment, at.project, at.owner, at.folder, file.name, file.purpose),
    )
    number = _announced(connection, at, file)
    if number is None:
        return announce_file(connection, at, file, placed_at=moment)
    connection.execute("UPDATE patient_file SET placed_at = ? WHERE number = ?", (moment, number))
    _check_anew(connection, number)
    return number


def _announced(connection: sqlite3.Connection, at: FilePlace, file: PatientFile) -> int | None:
    found = connection.execute(
        "SELECT number FROM patient_file WHERE project = ? AND sha256 = ? AND run = ? AND folder = ? AND name = ?"
        " AND placed_at IS NULL",
        (at.project, file.sha256, at.run, at.folder, file.name),
    ).fetchone()
    return None if found is None else int(found[0])


def drop_announced(connection: sqlite3.Connection, run: int | None) -> None:
    """Within a transaction: what a run was about to place under a name that it did not get."""
    numbers = "SELECT number FROM patient_file WHERE run = ? AND placed_at IS NULL"
    connection.execute(f"DELETE FROM patient_file_part WHERE file IN ({numbers})", (run,))  # noqa: S608 our own words
    connection.execute("DELETE FROM patient_file WHERE run = ? AND placed_at IS NULL", (run,))


def announce_file(
    connection: sqlite3.Connection, at: FilePlace, file: PatientFile, *, placed_at: str | None = None
) -> int:
    """Within a transaction: it is about to be placed, so that it is known after a kill as well. Returns its number."""
    project, moment = at.project, placed_at
    named = (file.name, file.sha256, file.split_by, file.value, int(file.hands_out))
    fields = (project, at.run, at.owner, str(file.purpose), at.folder, *named, moment)
    number = connection.execute(
        "INSERT INTO patient_file (project, run, owner, purpose, folder, name, sha256, split_by, value, hands_out, placed_at,"
        " check_value) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*fields, check_value(*fields)),
    ).lastrowid
    assert number is not None  # noqa: S101 for the type checker
    for place, (first_row, content) in enumerate(_as_lists(file.external_ids, file.rows)):
        kept = _keep_list(connection, project, content)
        connection.execute("INSERT INTO patient_file_part VALUES (?, ?, ?, ?)", (number, place, first_row, kept))
    return number


def _as_lists(external_ids: pa.Array, rows: Sequence[int] | npt.NDArray[np.integer]) -> Iterator[tuple[int, bytes]]:
    """The first row of each list, and the list: IDs, and their rows counted from the first."""
    numbers, count = np.asarray(rows, dtype=np.int64), len(external_ids)
    checks = np.fromiter(map(zlib.crc32, external_ids.cast(pa.binary()).to_pylist()), np.int64, count)
    start = 0
    for natural in [*(np.flatnonzero(checks % _ENDS_ONE_IN == 0) + 1).tolist(), count]:
        for end in [*range(start + _LONGEST, natural, _LONGEST), natural]:
            if end > start:
                ids = external_ids.slice(start, end - start).to_pylist()
                yield int(numbers[start]), _content(ids, (numbers[start:end] - numbers[start]).tolist())
                start = end


def _content(ids: Sequence[str], rows: Sequence[int]) -> bytes:
    return json.dumps([ids, rows], separators=(",", ":")).encode()


def _keep_list(connection: sqlite3.Connection, project: int, content: bytes) -> int:
    """Its number; that of an earlier one that is the same, if there is one."""
    digest = _digest(content)
    query = "SELECT number FROM member_list WHERE project = ? AND digest = ?"
    found = connection.execute(query, (project, digest)).fetchone()
    if found is not None:
        return int(found[0])
    statement = "INSERT INTO member_list (project, digest, content) VALUES (?, ?, ?)"
    return int(connection.execute(statement, (project, digest, zlib.compress(content, 1))).lastrowid or 0)


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:16]


def note_replaced(connection: sqlite3.Connection, at: FilePlace, files: Collection[tuple[str, str]]) -> list[int]:
    """Within a transaction: these files (name and SHA-256) are gone. Returns their numbers, of those that were noted."""
    numbers = [number for name, digest in sorted(files) for number in _standing(connection, at, name, digest)]
    moment = now()
    connection.executemany(
        "UPDATE patient_file SET replaced_at = ? WHERE number = ?", ((moment, number) for number in numbers)
    )
    return numbers


def note_renamed(connection: sqlite3.Connection, at: FilePlace, files: Mapping[tuple[str, str], str]) -> None:
    """Within a transaction: these files (name and SHA-256 -> new name) have another name now."""
    for (name, digest), new_name in files.items():
        for number in _standing(connection, at, name, digest):
            connection.execute("UPDATE patient_file SET name = ? WHERE number = ?", (as_noted(new_name), number))
            _check_anew(connection, number)


def _check_anew(connection: sqlite3.Connection, number: int) -> None:
    fields = connection.execute(f"SELECT {_CHECKED} FROM patient_file WHERE number = ?", (number,)).fetchone()  # noqa: S608 our own words
    connection.execute("UPDATE patient_file SET check_value = ? WHERE number = ?", (check_value(*fields), number))


def _standing(connection: sqlite3.Connection, at: FilePlace, name: str, digest: str) -> list[int]:
    """Numbers of files that other runs placed there, or were about to."""
    query = (
        "SELECT number FROM patient_file WHERE project = ? AND sha256 = ? AND owner = ? AND folder = ? AND name = ?"
        " AND replaced_at IS NULL AND (run IS NOT ? OR placed_at IS NOT NULL)"
    )
    values = (at.project, digest, at.owner, at.folder, as_noted(name), at.run)
    return [number for (number,) in connection.execute(query, values)]


_CHECKED = "project, run, owner, purpose, folder, name, sha256, split_by, value, hands_out, placed_at"


# --- looking ----------------------------------------------------------------------------------------------------


def noted_files(
    connection: sqlite3.Connection, condition: str = "1", values: Sequence[str | int] = ()
) -> list[NotedFile]:
    """Those that fulfill an SQL condition on `patient_file`, the oldest first. Raises ValueError where one is damaged."""
    query = (
        f"SELECT {_CHECKED}, replaced_at, patient_file.number, check_value,"  # noqa: S608 our own words
        " (SELECT run_id FROM run WHERE run.number = patient_file.run)"
        f" FROM patient_file WHERE {condition} ORDER BY patient_file.number"
    )
    return [_as_noted(row) for row in connection.execute(query, values)]


def _as_noted(row: Sequence[Any]) -> NotedFile:
    *fields, replaced_at, number, value, run_id = row
    if value != check_value(*fields):
        raise ValueError("a record does not fit its check value")
    project, _, owner, purpose, folder, name, sha256, split_by, split_value, hands_out, placed_at = fields
    return NotedFile(
        number, project, run_id, owner, FilePurpose(purpose), folder, name, sha256, split_by, split_value,
        bool(hands_out), placed_at, replaced_at,
    )  # fmt: skip


def patients_in(
    connection: sqlite3.Connection, numbers: Collection[int], *, and_not_in: Collection[int] = ()
) -> Iterator[list[str]]:
    """The IDs in these files, some at a time, and some of them perhaps several times. Raises ValueError for damage.

    `and_not_in`: lists that these other files have too are passed over, which costs nothing.
    """
    numbers_of_lists = _lists_in(connection, numbers) - _lists_in(connection, and_not_in)
    for few in _few(sorted(numbers_of_lists), 50):
        for ids, _ in _lists(connection, few).values():
            yield ids


def _lists_in(connection: sqlite3.Connection, numbers: Collection[int]) -> set[int]:
    found: set[int] = set()
    for few in _few(numbers):
        query = f"SELECT list FROM patient_file_part WHERE file IN ({_marks(few)})"  # noqa: S608 our own words
        found.update(number for (number,) in connection.execute(query, few))
    return found


def rows_of_patients(connection: sqlite3.Connection, project: int, external_ids: Collection[str]) -> list[PatientRow]:
    """Every row of these patients in any file of the project, the oldest file first. Raises ValueError for damage.

    All lists of the project are looked through: for a few patients at a time, not within a run.
    """
    wanted = frozenset(external_ids)
    found: dict[int, list[tuple[str, int]]] = {}
    for number, (ids, rows) in _lists_of_project(connection, project):
        if not wanted.isdisjoint(ids):
            found[number] = [each for each in zip(ids, rows, strict=True) if each[0] in wanted]
    holding: list[tuple[int, str, int]] = []
    for few in _few(found):
        query = f"SELECT file, list, first_row FROM patient_file_part WHERE list IN ({_marks(few)})"  # noqa: S608 our own words
        holding += [
            (file, external_id, first_row + row)
            for file, number, first_row in connection.execute(query, few)
            for external_id, row in found[number]
        ]
    files = {file.number: file for file in noted_files(connection, "project = ?", (project,))}
    return [PatientRow(external_id, files[file], row) for file, external_id, row in sorted(holding)]


def rows_of_file(connection: sqlite3.Connection, file: NotedFile) -> Iterator[PatientRow]:
    """Everybody in it, in the order of its rows. Raises ValueError for damage."""
    query = "SELECT list, first_row FROM patient_file_part WHERE file = ? ORDER BY place"
    for number, first_row in connection.execute(query, (file.number,)).fetchall():
        ids, rows = _lists(connection, [number])[number]
        for external_id, row in zip(ids, rows, strict=True):
            yield PatientRow(external_id, file, first_row + row)


def _lists_of_project(
    connection: sqlite3.Connection, project: int
) -> Iterator[tuple[int, tuple[list[str], list[int]]]]:
    numbers = [
        number for (number,) in connection.execute("SELECT number FROM member_list WHERE project = ?", (project,))
    ]
    for few in _few(numbers, 50):
        yield from _lists(connection, few).items()


def _lists(connection: sqlite3.Connection, numbers: Collection[int]) -> dict[int, tuple[list[str], list[int]]]:
    found = {}
    for few in _few(numbers):
        query = f"SELECT number, digest, content FROM member_list WHERE number IN ({_marks(few)})"  # noqa: S608 our own words
        for number, digest, packed in connection.execute(query, few):
            try:
                content = zlib.decompress(packed)
            except (zlib.error, TypeError) as error:
                raise ValueError("a list of patients is damaged") from error
            if _digest(content) != digest:
                raise ValueError("a list of patients is damaged")
            ids, rows = json.loads(content)
            found[number] = (ids, rows)
    return found


# --- forgetting -------------------------------------------------------------------------------------------------


def forget_patients(connection: sqlite3.Connection, project: int, external_ids: Collection[str]) -> None:
    """Within a transaction: nobody can tell any more in which files these patients are."""
    gone = frozenset(external_ids)
    if not gone:
        return
    for number, (ids, rows) in _lists_of_project(connection, project):
        if not gone.isdisjoint(ids):
            left = [each for each in zip(ids, rows, strict=True) if each[0] not in gone]
            content = _content([external_id for external_id, _ in left], [row for _, row in left])
            connection.execute(
                "UPDATE member_list SET digest = ?, content = ? WHERE number = ?",
                (_digest(content), zlib.compress(content, 1), number),
            )


def _few(values: Collection[int], at_once: int = _AT_ONCE) -> Iterator[list[int]]:
    all_of_them = list(values)
    for start in range(0, len(all_of_them), at_once):
        yield all_of_them[start : start + at_once]


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
