"""`do-not-contact.csv`: who is never asked for and never handed out, in a file that desks and computers may share.

People open it in Excel, so it is read as Excel may leave it: with semicolons or tabs, in another encoding, with blank lines,
with zeros lost, without its header. An entry that cannot be understood stops whoever asks, since it is somebody who said no.

Each door makes a `DoNotContact` (`DoNotContact.open`) and asks it before every call and every file: it looks whether the file
has changed, and reads it again then. Rows are added and taken away under a lock that other computers see too.
"""

import csv
import errno
import io
import os
import re
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Self

import pyarrow as pa
from filelock import Timeout

from batchlinks.config.installation import Installation
from batchlinks.config.paths import find_do_not_contact
from batchlinks.config.small_files import read_small_file
from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.next_steps import Setting
from batchlinks.patients.id_spelling import alike_to_any, likenesses
from batchlinks.patients.identifier import read_id
from batchlinks.row_codes import ErrorCode
from batchlinks.storage.locks import acquire
from batchlinks.storage.private_files import fsync_folder

COLUMNS = ("ID", "since", "by", "reason")

_ID_HEADERS = frozenset({"id", "patient id", "external id", "mrn", "member id"})
_DELIMITERS = ",;\t|"
_BYTE_ORDER_MARK = "\ufeff"
"""Without one, Excel takes a file that begins with `ID` for one of another kind, and says that it is damaged."""

_LARGEST = 100_000_000
_LOCK_PATIENCE_S = 30.0
_SECOND_LOOK_S = 0.05
"""A line without an end may be one that is still being written."""

_AS_FORMULA = re.compile(r'="(.*)"')
_RUNS_IN_EXCEL = ("=", "+", "-", "@", "\t", "\r")


class OptOutReason(StrEnum):
    """Why somebody is not to be contacted. The file may hold any other text too."""

    ASKED_US_NOT_TO = "asked us not to"
    DECEASED = "deceased"
    MAIL_RETURNED = "mail returned"
    CONSENTED_ON_PAPER = "consented on paper"
    WRONG_PERSON = "link went to somebody else"


@dataclass(frozen=True, slots=True)
class OptOut:
    """One entry: somebody who is not to be contacted, in any project."""

    external_id: str = field(repr=False)
    since: str = ""
    """The day, as it stands in the file: we write `2026-11-28`, and Excel what it likes."""

    by: str = ""
    reason: str = ""
    row: int = 0
    """As a spreadsheet numbers it."""


@dataclass(frozen=True, slots=True)
class _OptOutLayout:
    """How the file is written, so that what is added is written alike."""

    encoding: str = "utf-8"
    delimiter: str = ","
    places: Mapping[str, int] = field(default_factory=lambda: {name.lower(): at for at, name in enumerate(COLUMNS)})
    """Column, in lower case -> where it stands."""

    newline: str = "\r\n"


@dataclass(frozen=True, slots=True)
class _OptOutFile:
    """The file as it was read: its entries, and its text, of which an entry takes lines `first` to before `last`."""

    layout: _OptOutLayout = _OptOutLayout()
    entries: Sequence[OptOut] = ()
    text: str = ""
    lines: Sequence[tuple[int, int]] = ()
    """For each entry, where it begins and ends in `text`."""


class DoNotContact:
    """The people who are not to be contacted, as the file says at the moment of each question.

    Every question raises SettingsError for a file that is not there although it must be, cannot be read, or has an entry
    that cannot be understood.
    """

    def __init__(self, path: Path, *, must_exist: bool) -> None:
        """`must_exist`: it was named, or was there before. Else a file that is not there lists nobody."""
        self.path = path
        self._must_exist = must_exist
        self._installation: Installation | None = None
        """Where it is noted that the list of the data folder is there, so that it is missed once it is gone."""

        self._stamp: tuple[int, ...] | None = None
        self._content: _OptOutFile | None = None
        self._ids: frozenset[str] = frozenset()
        self._likenesses: frozenset[str] | None = None

    @classmethod
    def open(cls, path: Path | None, environment: Mapping[str, str]) -> Self:
        """The file that a setting names, or else the one in the data folder. Raises SettingsError where it cannot be used."""
        installation = Installation.of(environment)
        must_exist = path is not None or installation.had_do_not_contact
        found = cls(find_do_not_contact(path, environment), must_exist=must_exist)
        if path is None:
            found._installation = installation
        found.entries()
        return found

    # --- asking ------------------------------------------------------------------------------------------------

    def entries(self) -> Sequence[OptOut]:
        """Everybody who is listed now, in the file's order."""
        return self._now().entries

    def ids(self) -> frozenset[str]:
        """Their IDs, as they stand in the file: compare them with `mask` or `holds`, not letter by letter."""
        self._now()
        return self._ids

    def holds(self, external_id: str) -> bool:
        """Whether this patient is listed now, however the ID is spelled: case, zeros and separators do not count."""
        self._now()
        if self._likenesses is None:
            self._likenesses = frozenset().union(*map(likenesses, self._ids)) if self._ids else frozenset()
        return not self._likenesses.isdisjoint(likenesses(external_id))

    def mask(self, ids: pa.Array) -> pa.Array:
        """The same for many IDs at once: true or false for each."""
        return alike_to_any(ids, pa.array(sorted(self.ids()), pa.string()))

    def find(self, external_id: str) -> list[OptOut]:
        """Every entry that holds this patient back."""
        wanted = likenesses(external_id)
        return [entry for entry in self.entries() if not wanted.isdisjoint(likenesses(entry.external_id))]

    def refresh(self) -> None:
        """Read the file again at the next question, even where it looks unchanged: a network share may be slow to tell."""
        self._content = None

    # --- changing ----------------------------------------------------------------------------------------------

    def add(
        self,
        external_ids: Collection[str],
        *,
        by: str,
        reason: str = OptOutReason.ASKED_US_NOT_TO,
        since: Mapping[str, str] | None = None,
    ) -> int:
        """List these patients, from today on; or since the day that `since` gives for each (`2026-11-28`).

        Returns how many were not listed before, letter by letter. Raises BatchlinksError where the file cannot be written:
        then nobody was added.
        """
        with self._exclusive():
            self.refresh()
            content = self._now()
            there = {entry.external_id for entry in content.entries}
            new = [each for each in dict.fromkeys(external_ids) if each not in there]
            if new:
                days = since or dict.fromkeys(new, date.today().isoformat())
                added = [OptOut(external_id, days[external_id], by, reason) for external_id in new]
                if self.path.exists():
                    self._append(content, added)
                else:
                    header = content.layout.delimiter.join(COLUMNS) + content.layout.newline
                    text = _BYTE_ORDER_MARK + header + _lines_of(added, content.layout)
                    self._replace(text.encode())
                if self._installation is not None:
                    with self._explain_failure():
                        self._installation.remember_do_not_contact()
        return len(new)

    def remove(self, external_ids: Collection[str]) -> set[str]:
        """Take these patients off the list. Returns those of the IDs that stood on it.

        An entry that has only lost its leading zeros, as Excel does to it, is meant too where none is spelled exactly so.
        """
        with self._exclusive():
            self.refresh()
            content = self._now()
            exact = {entry.external_id for entry in content.entries}
            bare = {each.lstrip("0") for each in external_ids if each not in exact}
            gone = [
                number
                for number, entry in enumerate(content.entries)
                if entry.external_id in external_ids or entry.external_id.lstrip("0") in bare
            ]
            if not gone:
                return set()
            pieces, start = [], 0
            for number in gone:
                first, last = content.lines[number]
                pieces.append(content.text[start:first])
                start = last
            self._replace("".join([*pieces, content.text[start:]]).encode(content.layout.encoding))
            taken = {content.entries[number].external_id for number in gone}
            bare_taken = {each.lstrip("0") for each in taken}
            return {
                each for each in external_ids if each in taken or (each not in exact and each.lstrip("0") in bare_taken)
            }

    # --- the file ----------------------------------------------------------------------------------------------

    def _now(self) -> _OptOutFile:
        """What the file holds at this moment: read again where it has changed."""
        stamp = _stamp_of(self.path)
        if self._content is None or stamp != self._stamp:
            self._content = self._read()
            self._stamp = stamp
            self._ids = frozenset(entry.external_id for entry in self._content.entries)
            self._likenesses = None
        return self._content

    def _read(self) -> _OptOutFile:
        try:
            content = read_small_file(self.path, _LARGEST)
            if not content.endswith((b"\n", b"\n\0")):
                time.sleep(_SECOND_LOOK_S)
                content = read_small_file(self.path, _LARGEST)
        except FileNotFoundError as error:
            if not self._must_exist:
                return _OptOutFile()
            raise SettingsError(
                f"The list of people not to contact is not there: {self.path}. Nobody is asked for without it. Put it back, or "
                "correct ",
                Setting("do_not_contact"),
                f". If nobody is on it so far, make a file with the one line {','.join(COLUMNS)}.",
            ) from error
        except OSError as error:
            raise SettingsError(
                f"The list of people not to contact, {self.path}, cannot be read ({error.strerror}). Nobody is asked for "
                "without it. Fix that, then try again."
            ) from error
        return _parse(content, self.path)

    def _append(self, content: _OptOutFile, added: Sequence[OptOut]) -> None:
        """In one write at the file's end, so that whoever reads meanwhile sees all of a line or nothing."""
        layout = content.layout
        begin = "" if not content.text or content.text.endswith(("\n", "\r")) else layout.newline
        line = (begin + _lines_of(added, layout)).encode(layout.encoding, "replace")
        with self._explain_failure():
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0))
            try:
                before = os.fstat(descriptor).st_size
                try:
                    if os.write(descriptor, line) != len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, before)
                    raise
            finally:
                os.close(descriptor)

    def _replace(self, content: bytes) -> None:
        """The file as a whole, with the mode and the group that it had. Where it is new it is its owner's alone."""
        target = self.path.resolve()
        with self._explain_failure():
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
            unfinished = Path(name)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                with suppress(FileNotFoundError):
                    state = target.stat()
                    if hasattr(os, "chown"):
                        with suppress(OSError):
                            os.chown(unfinished, -1, state.st_gid)
                    unfinished.chmod(state.st_mode & 0o777)
                unfinished.replace(target)
                fsync_folder(target.parent)
            finally:
                unfinished.unlink(missing_ok=True)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Nobody else changes the file within, on whichever computer. Raises BatchlinksError."""
        target = self.path.resolve()
        path = target.with_name(f".{target.name}.lock")
        with self._explain_failure():
            if not self._must_exist:
                target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._now()
            try:
                # It stays: taken away, it could be locked twice, under its old name and its new one.
                lock = acquire(path, timeout_s=_LOCK_PATIENCE_S, mode=0o666)
            except Timeout as error:
                raise BatchlinksError(_busy(self.path)) from error
        if lock is not None:
            try:
                yield
            finally:
                lock.release()
            return
        with _marked(path.with_suffix(".busy"), self.path):  # the file system has no locks
            yield

    @contextmanager
    def _explain_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BatchlinksError(
                f"The list of people not to contact, {self.path}, cannot be changed ({error.strerror}), and was left as it is. "
                "If it is open in another program, close it there, then try again."
            ) from error


@contextmanager
def _marked(mark: Path, listed: Path) -> Iterator[None]:
    """As a lock, but by a file that is there or not. One that a killed process has left is for a person to remove."""
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                raise BatchlinksError(f"{_busy(listed)} If nobody is, delete {mark}.") from None
        time.sleep(0.05)
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def _busy(path: Path) -> str:
    return f"Somebody else has been changing {path} for {_LOCK_PATIENCE_S:g} seconds. Try again when they are done."


def _stamp_of(path: Path) -> tuple[int, ...] | None:
    """What changes whenever the file does; None where there is none to be seen."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


def _lines_of(entries: Sequence[OptOut], layout: _OptOutLayout) -> str:
    """The entries as lines of the file, in its columns and with its separator."""
    target = io.StringIO()
    writer = csv.writer(target, delimiter=layout.delimiter, lineterminator=layout.newline)
    width = max(layout.places.values()) + 1
    for entry in entries:
        cells = [""] * width
        for name, text in zip(COLUMNS, (entry.external_id, entry.since, entry.by, entry.reason), strict=True):
            if (place := layout.places.get(name.lower())) is not None:
                cells[place] = f"'{text}" if text.startswith(_RUNS_IN_EXCEL) else text
        writer.writerow(cells)
    return target.getvalue()


# --- reading it -----------------------------------------------------------------------------------------------


def _parse(content: bytes, path: Path) -> _OptOutFile:
    """Raises SettingsError, naming rows and no ID."""
    encoding, text = _decode(content, path)
    if not text.strip(f"{_BYTE_ORDER_MARK} \r\n"):
        raise SettingsError(
            f"The list of people not to contact, {path}, is empty, without even its headers. Restore it from a backup. If "
            f"nobody is on it so far, write the one line {','.join(COLUMNS)} into it."
        )
    bare = text.removeprefix(_BYTE_ORDER_MARK)
    lines = list(io.StringIO(bare, newline=""))
    delimiter, skipped = _find_delimiter(lines)
    newline = "\n" if lines[0].endswith("\n") and not lines[0].endswith("\r\n") else "\r\n"
    offsets = [len(text) - len(bare)]
    for line in lines:
        offsets.append(offsets[-1] + len(line))
    reader = csv.reader(iter(lines[skipped:]), delimiter=delimiter, strict=True)
    places: Mapping[str, int] | None = None
    entries: list[OptOut] = []
    spans: list[tuple[int, int]] = []
    row, end = skipped, skipped
    try:
        for cells in reader:
            row, begin, end = row + 1, end, skipped + reader.line_num
            filled = [cell.strip() for cell in cells]
            if not any(filled):
                continue
            if places is None:
                places, is_header = _find_columns(filled, path)
                if is_header:
                    continue
            entries.append(_entry(filled, places, row, path))
            spans.append((offsets[begin], offsets[end]))
    except csv.Error as error:
        raise SettingsError(
            f"The list of people not to contact, {path}, is damaged: what begins in row {row + 1} cannot be read. Open it in "
            "Excel and correct it, or restore it from a backup."
        ) from error
    layout = _OptOutLayout(encoding, delimiter, places or _OptOutLayout().places, newline)
    return _OptOutFile(layout, entries, text, spans)


def _decode(content: bytes, path: Path) -> tuple[str, str]:
    """Its encoding, for what is added too, and its text, whose byte order mark stays where it is."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16-le" if content[0] == 0xFF else "utf-16-be"]
    else:
        encodings = ["utf-8", "cp1252"]
    for encoding in encodings:
        with suppress(UnicodeDecodeError):
            text = content.decode(encoding)
            if "\0" not in text:
                return encoding, text
    raise SettingsError(
        f"The list of people not to contact, {path}, is damaged: it is no text any more. Restore it from a backup."
    )


def _find_delimiter(lines: Sequence[str]) -> tuple[str, int]:
    """What separates the columns, and how many lines stand before the header to say so (`sep=;`)."""
    first = lines[0].strip()
    if first.lower().startswith("sep=") and len(first) == len("sep=,"):
        return first[-1], 1
    header = next((line.strip() for line in lines if line.strip(f"{_DELIMITERS} \r\n")), "")
    for delimiter in _DELIMITERS:
        if any(_is_id_header(cell) for cell in header.split(delimiter)):
            return delimiter, 0
    return max(_DELIMITERS, key=header.count), 0


def _is_id_header(cell: str) -> bool:
    return cell.strip("\"' ").replace("_", " ").casefold() in _ID_HEADERS


def _find_columns(cells: Sequence[str], path: Path) -> tuple[Mapping[str, int], bool]:
    """Where each column stands, by the first row with anything in it; and whether that is the header."""
    at = next((place for place, cell in enumerate(cells) if _is_id_header(cell)), None)
    if at is not None:
        names = [cell.casefold() for cell in cells]
        others = {name: names.index(name) for name in map(str.lower, COLUMNS[1:]) if name in names}
        return {"id": at, **others}, True
    places = _OptOutLayout().places
    if read_id(_plain(cells[0]))[1] is not None:
        raise SettingsError(
            f"The list of people not to contact, {path}, has no column {COLUMNS[0]}. It needs the headers {', '.join(COLUMNS)}."
        )
    return {name: place for name, place in places.items() if place < len(cells)}, False


def _entry(cells: Sequence[str], places: Mapping[str, int], row: int, path: Path) -> OptOut:
    def cell(name: str) -> str:
        place = places.get(name)
        return cells[place] if place is not None and place < len(cells) else ""

    external_id, code = read_id(_plain(cell("id")))
    if code is not None:
        what = "has no ID" if code is ErrorCode.BLANK_ID else "has an ID that cannot be read"
        raise SettingsError(
            f"The list of people not to contact, {path}: row {row} {what}, so somebody who is to be left alone might not be. "
            "Correct it (if Excel changed the ID, format the column as text and type it again), or delete the row."
        )
    return OptOut(external_id, cell("since"), cell("by"), cell("reason"), row)


def _plain(cell: str) -> str:
    """Without what keeps Excel from changing an ID: `="00417"`."""
    match = _AS_FORMULA.fullmatch(cell)
    return match[1] if match else cell
