"""How the files of a run get to their place: whole or not at all, and never over a file that someone changed.

A set is the files of one run that share a stem: `NAME.links.xlsx`, `NAME.errors.xlsx` and `NAME.summary.json`.
The summary is renamed into place last and lists the SHA-256 of the others, so that the next run of the same
roster knows its own files again and replaces them. Any other set stays, and the new one is `NAME (2)`, `NAME (3)`.

A set may hold folders too, such as `NAME.links`. A folder is replaced as a whole, and only where every file in it is
known: one that somebody changed or added keeps it where it is.

While a set is on its way, and until its run is finished, its journal `.NAME.summary.pending` lies beside it. It lists the
hashes of the new files and of those that they replace, which are therefore known to be ours after a kill too; and the
IDs of the runs of whose results the set is, so that what they noted as handed out can be told from what stays.

Files are private to their owner (0600) from their first byte. Windows has no such modes: there they are as private
as the folder they are in.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO, Literal, Self

from filelock import BaseFileLock, Timeout

from batchlinks.errors import BatchlinksError, ExitCode, SettingsError
from batchlinks.storage.locks import acquire, release
from batchlinks.storage.private_files import fsync_folder, make_folder, private

SummaryKind = Literal["summary", "check"]

_SUFFIXES: Mapping[SummaryKind, tuple[str, ...]] = {
    "summary": ("links.xlsx", "errors.xlsx", "links.csv", "errors.csv", "duplicates.csv", "files.csv"),
    "check": ("check.xlsx", "check.csv", "check.duplicates.csv"),
}
"""Of the files that a set may have, in any format."""

_FOLDERS: Mapping[SummaryKind, tuple[str, ...]] = {"summary": ("links", "qr"), "check": ()}
"""Of the folders."""

_DROPPINGS = frozenset({".DS_Store", "Thumbs.db", "ehthumbs.db", "desktop.ini", ".directory"})
"""What file managers leave in a folder that somebody only looked at."""

_LONGEST_NAME = 255
"""Bytes in a file name that every usual file system takes."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose results these are. The same roster and project may replace them; no other may."""

    roster: str
    """Its absolute, resolved path or its address; `-` for standard input."""

    project_id: str | None

    @property
    def digest(self) -> str:
        """Recognises the owner in a summary without telling where the roster was."""
        return hashlib.sha256(json.dumps([self.roster, self.project_id]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Published:
    """Where a set now is."""

    paths: Mapping[str, Path]
    """By suffix, as given to `Release.open`; a folder by its own, such as `links`."""

    summary: Path
    outputs: Mapping[str, str]
    """File name, such as `NAME.errors.xlsx` or `NAME.links/North.xlsx` -> SHA-256 in hex, as in the summary."""

    stem_used: str
    obstacle: str | None
    """Why the set could not have the stem it was to have, as in `NAME.links.xlsx was changed …`; None if it has."""


def check_folder(folder: Path, *, share_with_group: bool = False) -> None:
    """Make sure that results can be written into `folder`, by creating it if need be and then a file in it.

    A folder made here, and any above it, is its owner's alone (0700), or 2750 with `share_with_group`; the mode
    of one that is already there is left alone. Raises SettingsError.
    """
    try:
        make_folder(folder, 0o2750 if share_with_group else 0o700)
        with _folder_lock(folder):
            pass
    except OSError as error:
        raise SettingsError(
            f"No results can be written into {folder}: {error.strerror or error}. Mend that, or choose another "
            "folder with --output-dir."
        ) from error


class Release:
    """A context manager that takes the files of one run and publishes them as a set.

    ```
    with Release(folder, "patients", owner) as release:
        with release.open("links.xlsx") as file:
            write_workbook(file, …)
        published = release.publish(summary)
    …  # all that has to be noted of it elsewhere
    release.finish()
    ```

    Nothing is seen under a final name before `publish`, and no temporary file is left when the context ends.
    Those of a run that was killed are removed by the next in the same folder, once its process is gone.
    """

    def __init__(
        self,
        folder: Path,
        stem: str,
        owner: Owner,
        *,
        summary_kind: SummaryKind = "summary",
        share_with_group: bool = False,
    ) -> None:
        """Raises SettingsError if `folder` or a name made from `stem` cannot be used."""
        if len(os.fsencode(_in_set(f"{stem} (99)", "check.duplicates.csv"))) > _LONGEST_NAME:
            raise SettingsError("The patient list's file name is too long to name results after it. Shorten it.")
        check_folder(folder, share_with_group=share_with_group)
        self._folder = folder
        self._stem = stem
        self._owner = owner
        self._kind: SummaryKind = summary_kind
        self._mode = 0o640 if share_with_group else 0o600
        self._folder_mode = 0o2750 if share_with_group else 0o700
        self._workspace = _Workspace(folder)
        self._digests: dict[str, str] = {}
        self._folders: list[str] = []
        self._run_id: object = None
        self._replaced: frozenset[str] = frozenset()
        self._journals: list[Path] = []
        """Of the runs that this one replaces, and last its own: what `finish` removes."""

        self._given_way: set[str] = set()
        """Stems under which these runs left their sets."""

    def __enter__(self) -> Self:
        with _explained(self._folder):
            self._workspace.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workspace.leave()

    @property
    def owner(self) -> str:
        """The digest that stands for the owner in summaries and journals."""
        return self._owner.digest

    def unfinished_runs(self) -> frozenset[str]:
        """IDs of this owner's earlier runs that did not finish, and whose files in the folder this set is to replace.

        They were killed before `finish`, and have left their journal; or they ended before all was asked, as their
        summary says, and nobody has changed their files since.
        """
        found: set[str] = set()
        with _explained(self._folder):
            for stem in _stems_in(self._folder, self._stem, self._kind):
                path = _journal_path(self._folder, stem, self._kind)
                journal = _read_json(path)
                if journal is not None and journal.get("owner") == self._owner.digest:
                    found |= _run_ids_in(journal)
                    self._journals.append(path)
                    self._given_way.add(stem)
                stopped = _stopped_run(_read_json(self._folder / _in_set(stem, f"{self._kind}.json")))
                if stopped is not None and self._former(stem).obstacle is None:
                    found.add(stopped)
                    self._given_way.add(stem)
        self._replaced = frozenset(found)
        return self._replaced

    @contextmanager
    def open(self, suffix: str) -> Iterator[BinaryIO]:
        """A new file of the set, such as `links.xlsx` or `links/North.xlsx`, open for writing and reading.

        It is private from the start, and belongs to the set once the block ends without an exception. Raises
        BatchlinksError if it cannot be written.
        """
        path = self._workspace.path(suffix)
        try:
            with _explained(self._folder):
                path.parent.mkdir(0o700, parents=True, exist_ok=True)
            with _explained(self._folder), open(path, "x+b", opener=private) as file:
                yield file
                # Read again rather than hashed on the way: a workbook's writer goes back to fill in sizes.
                file.seek(0)
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._digests[suffix] = digest

    def folder(self, suffix: str) -> None:
        """A folder of the set, such as `links`, that is there even if no file is opened in it."""
        with _explained(self._folder):
            self._workspace.path(suffix).mkdir(0o700, exist_ok=True)
        self._folders.append(suffix)

    def publish(self, summary: Mapping[str, object]) -> Published:
        """Bring the set to its place and write `summary` (JSON values) beside it, with `outputs` added.

        Raises BatchlinksError if that is not possible. The same command publishes again then, as after a kill.
        """
        with _explained(self._folder), _folder_lock(self._folder):
            first_obstacle: str | None = None
            for number in count(1):
                stem = _numbered(self._stem, number)
                former = self._former(stem)
                obstacle = former.obstacle
                if obstacle is None:
                    try:
                        return self._publish_as(stem, former, summary, first_obstacle)
                    except _InUse as in_use:
                        obstacle = str(in_use)
                first_obstacle = first_obstacle or obstacle
        raise AssertionError("a free stem is always found")

    def _former(self, stem: str) -> "_FormerSet":
        return _FormerSet.found(self._folder, stem, self._kind, self._owner, self._digests)

    def finish(self) -> None:
        """All is done that the run had to do, and the set stays what it is: its journal goes. Cannot fail.

        Takes a few microseconds, so that it can be the very last thing that a run does.
        """
        *others, own = self._journals
        for path in others:
            with suppress(OSError):
                if path != own:
                    path.unlink()
        with suppress(OSError):
            # The same command may run twice at once, and the journal be the other's by now.
            if (_read_json(own) or {}).get("run_id") == self._run_id:
                own.unlink()

    def _publish_as(
        self, stem: str, former: "_FormerSet", summary: Mapping[str, object], obstacle: str | None
    ) -> Published:
        paths = {suffix: self._folder / _in_set(stem, suffix) for suffix in self._digests}
        outputs = {_in_set(stem, suffix): digest for suffix, digest in self._digests.items()}
        entries = {entry: self._folder / _in_set(stem, entry) for entry in _entries([*self._folders, *self._digests])}
        summary_path = self._folder / _in_set(stem, f"{self._kind}.json")
        journal_path = _journal_path(self._folder, stem, self._kind)

        sealed = _sealed({**summary, "outputs": outputs, "owner": self._owner.digest})
        new_summary = self._write("summary", sealed)
        self._run_id = summary.get("run_id")
        journal = {
            "owner": self._owner.digest,
            "hashes": sorted({*outputs.values(), *former.digests.values()}),
            "run_id": self._run_id,
            "replaces": sorted(self._replaced),
        }
        self._write("journal", _as_json(journal)).replace(journal_path)
        fsync_folder(self._folder)

        try:
            self._move_into_place(entries)
        except _InUse:
            journal_path.unlink()
            raise
        for stale in former.entries - set(entries.values()):
            _remove(stale)
        fsync_folder(self._folder)
        new_summary.chmod(self._mode)
        new_summary.replace(summary_path)
        fsync_folder(self._folder)
        self._journals.append(journal_path)
        for other in sorted(self._given_way - {stem}):
            self._withdraw(other)
        return Published(paths | entries, summary_path, outputs, stem, obstacle)

    def _withdraw(self, stem: str) -> None:
        """Remove a set whose patients are in this one now. (It has another stem, as that of this one was not free then.)"""
        former = self._former(stem)
        if former.obstacle is None:
            for entry in former.entries:
                _remove(entry)
            (self._folder / _in_set(stem, f"{self._kind}.json")).unlink(missing_ok=True)

    def _move_into_place(self, entries: Mapping[str, Path]) -> None:
        moved: list[tuple[Path, Path]] = []
        for entry, path in entries.items():
            source = self._workspace.path(entry)
            self._open_to_readers(source)
            try:
                if (aside := self._set_aside(path, entry)) is not None:
                    moved.append((path, aside))
                source.replace(path)
            except PermissionError as error:
                if not path.exists():
                    raise
                # On Windows a program has opened the file since it was looked at. The set stays together.
                for back, place in reversed(moved):
                    if not back.exists():
                        place.replace(back)
                raise _InUse(_open_elsewhere_words(path)) from error
            moved.append((source, path))

    def _set_aside(self, path: Path, entry: str) -> Path | None:
        """Keep what stands in the place of a new file or folder, until all are in theirs; None if nothing is kept."""
        aside = self._workspace.path(f"former-{entry}")
        if path.is_dir():  # nothing can be renamed over a folder that is not empty
            path.replace(aside)
            return aside
        try:
            aside.hardlink_to(path)
        except OSError:  # nothing there, or a file system without hard links
            return None
        return aside

    def _open_to_readers(self, entry: Path) -> None:
        """Give a file, or a folder and all that is in it, the mode that it is to have in its place."""
        if not entry.is_dir():
            entry.chmod(self._mode)
            return
        for path in sorted(entry.rglob("*")):
            path.chmod(self._folder_mode if path.is_dir() else self._mode)
            if path.is_dir():
                fsync_folder(path)
        entry.chmod(self._folder_mode)
        fsync_folder(entry)

    def _write(self, name: str, text: str) -> Path:
        path = self._workspace.path(name)
        with open(path, "wb", opener=private) as file:
            # JSON knows the halves of surrogate pairs, which file names can have, as escapes.
            file.write(text.encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        return path


class _InUse(Exception):
    """A file of the set could not be replaced because a program has it open."""


def _in_set(stem: str, suffix: str) -> str:
    return f"{stem}.{suffix}"


def _entries(suffixes: Iterable[str]) -> list[str]:
    """The files and folders that stand beside the roster: `links` for `links/North.xlsx`."""
    return list(dict.fromkeys(PurePosixPath(suffix).parts[0] for suffix in suffixes))


def _numbered(stem: str, number: int) -> str:
    return stem if number == 1 else f"{stem} ({number})"


def _journal_path(folder: Path, stem: str, kind: SummaryKind) -> Path:
    return folder / f".{_in_set(stem, kind)}.pending"


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BatchlinksError(
            f"The results could not be written into {folder}: {error.strerror or type(error).__name__}. Mend that "
            "and run the same command again: no link that was answered is lost."
        ) from error


def finished_summary(folder: Path, stem: str, owner: Owner) -> Mapping[str, object] | None:
    """The latest summary of this owner's runs, if all of them have nothing left to do; None where there is none."""
    found = []
    for used in _stems_in(folder, stem, "summary") if folder.is_dir() else ():
        journal = _read_json(_journal_path(folder, used, "summary"))
        if journal is not None and journal.get("owner") == owner.digest:
            return None
        path = folder / _in_set(used, "summary.json")
        summary = _read_json(path)
        if summary is not None and _is_sealed(summary) and summary.get("owner") == owner.digest:
            found.append((path.stat().st_mtime_ns, summary))
    return max(found, key=lambda each: each[0], default=(0, None))[1]


# --- the set that is there ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _FormerSet:
    """What stands under a stem already."""

    digests: Mapping[Path, str] = field(default_factory=dict)
    """Files -> SHA-256, when all of them may be replaced; those in folders too."""

    entries: frozenset[Path] = frozenset()
    """The files beside the roster, and the folders."""

    obstacle: str | None = None
    """Why they may not, in words that follow a file's name; None if they may."""

    @classmethod
    def found(cls, folder: Path, stem: str, kind: SummaryKind, owner: Owner, new: Mapping[str, str]) -> "_FormerSet":
        summary_path = folder / _in_set(stem, f"{kind}.json")
        summary = _read_json(summary_path)
        if summary is not None:
            if not _is_sealed(summary):
                return cls(obstacle=f"{summary_path.name} was changed since it was written, or is not ours")
            if summary.get("owner") != owner.digest:
                return cls(obstacle=f"{summary_path.name} belongs to another roster or project")
        journal = _read_json(_journal_path(folder, stem, kind))
        if journal is not None and journal.get("owner") != owner.digest:
            return cls(obstacle=f"{stem} is what an unfinished run of another roster or project calls its files")
        known = _known_hashes(summary, journal)
        digests: dict[Path, str] = {}
        entries = set()
        for entry in sorted({*_SUFFIXES[kind], *_FOLDERS[kind], *_entries(new)}):
            path = folder / _in_set(stem, entry)
            if not os.path.lexists(path):
                continue
            entries.add(path)
            for file in _files_in(path) if entry in _FOLDERS[kind] else [path]:
                name = file.relative_to(folder).as_posix()
                if _is_mark(file) or _is_open_elsewhere(file):
                    return cls(obstacle=_open_elsewhere_words(path))
                digest = _digest_of(file)
                if digest is None or digest not in known:
                    return cls(obstacle=f"{name} was changed since it was written, or is another roster's")
                digests[file] = digest
        return cls(digests, frozenset(entries))


def _files_in(path: Path) -> list[Path]:
    """What has to be known before `path` may be replaced: itself, or all that is in the folder."""
    if path.is_symlink() or not path.is_dir():
        return [path]
    return [
        file for file in sorted(path.rglob("*")) if not _is_dropping(file) and (file.is_symlink() or not file.is_dir())
    ]


def _is_dropping(file: Path) -> bool:
    return file.name in _DROPPINGS or file.name.startswith("._")


def _remove(entry: Path) -> None:
    """Remove a file or folder that has been looked through."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)


def _stopped_run(summary: Mapping[str, object] | None) -> str | None:
    """ID of the run whose summary it is, where that ended before all was asked."""
    if summary is None or summary.get("exit_code") in (ExitCode.DONE, ExitCode.DONE_WITH_ERRORS):
        return None
    run_id = summary.get("run_id")
    return run_id if isinstance(run_id, str) else None


def _run_ids_in(journal: Mapping[str, object]) -> set[str]:
    """The run whose journal it is, and those whose place it took. One that an older version wrote names none."""
    replaces = journal.get("replaces")
    run_ids = [journal.get("run_id"), *(replaces if isinstance(replaces, list) else ())]
    return {run_id for run_id in run_ids if isinstance(run_id, str)}


def _stems_in(folder: Path, stem: str, kind: SummaryKind) -> list[str]:
    """`stem`, `stem (2)` and so on, as far as they have a summary or a journal in the folder."""
    pattern = re.compile(rf"\.?({re.escape(stem)}(?: \(\d+\))?)\.{kind}\.(?:json|pending)")
    found = {match[1] for name in os.listdir(folder) if (match := pattern.fullmatch(name))}  # noqa: PTH208 names only
    return sorted(found)


def _known_hashes(summary: Mapping[str, object] | None, journal: Mapping[str, object] | None) -> set[str]:
    known: set[str] = set()
    if summary is not None and isinstance(outputs := summary.get("outputs"), dict):
        known.update(outputs.values())
    if journal is not None:
        hashes = journal.get("hashes")
        known.update(hashes if isinstance(hashes, list) else ())
    return known


def _read_json(path: Path) -> dict[str, object] | None:
    """None if the file is not there; empty, and so never ours, if it is anything but a JSON object."""
    if not os.path.lexists(path):
        return None
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _as_json(content: Mapping[str, object]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def _sealed(summary: Mapping[str, object]) -> str:
    """The summary as JSON, with a digest of itself: an edit by hand shows."""
    as_read_back = json.loads(json.dumps(summary))
    return _as_json({**as_read_back, "seal": _seal_of(as_read_back)})


def _is_sealed(summary: Mapping[str, object]) -> bool:
    return summary.get("seal") == _seal_of({key: value for key, value in summary.items() if key != "seal"})


def _seal_of(summary: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(summary, sort_keys=True).encode()).hexdigest()


def _digest_of(path: Path) -> str | None:
    """None for what is no plain file or cannot be read: a folder, a symbolic link, another person's file."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _is_mark(path: Path) -> bool:
    """Whether this only says that a file beside it is open."""
    return path.name.startswith((".~lock.", "~$"))


def _is_open_elsewhere(path: Path) -> bool:
    """Whether LibreOffice or Excel says so with a file beside it, or Windows by refusing it."""
    marks = (f".~lock.{path.name}#", f"~${path.name}")
    if any(path.with_name(mark).exists() for mark in marks):
        return True
    if sys.platform == "win32":
        try:
            path.open("r+b").close()
        except PermissionError:
            return True
    return False


def _open_elsewhere_words(path: Path) -> str:
    return f"{path.name} is open in another program"


# --- temporary files and locks -----------------------------------------------------------------------------

_PREFIX = ".batchlinks-"
_LOCK_ENDING = ".lock"
_LOCK_PATIENCE_S = 60.0
"""For another run to publish in the same folder, which takes it a moment."""


class _Workspace:
    """The temporary files of one release, and a lock that tells the living from the dead.

    All are in the folder of the results, so that a rename brings them to their place, and are named
    `.batchlinks-TOKEN.…`. The lock is held until the end; the system frees it when the process dies. Where the
    file system has no locks, the files of a run that was killed stay: nobody can tell that it is dead.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"{_PREFIX}{secrets.token_hex(8)}"
        self._lock: BaseFileLock | None = None

    def path(self, name: str) -> Path:
        return self._folder / f"{self._name}.{name}"

    def enter(self) -> None:
        # Under the folder's lock, so that nobody takes the new lock file for a dead one before it is held.
        with _folder_lock(self._folder):
            for lock_file in self._folder.glob(f"{_PREFIX}*{_LOCK_ENDING}"):
                _clear_if_dead(lock_file)
            self._lock = acquire(self._lock_file, timeout_s=0, mode=0o600)

    def leave(self) -> None:
        lock, self._lock = self._lock, None
        _remove_workspace(self._lock_file)
        release(self._lock_file, lock)

    @property
    def _lock_file(self) -> Path:
        return self._folder / f"{self._name}{_LOCK_ENDING}"


def _clear_if_dead(lock_file: Path) -> None:
    try:
        lock = acquire(lock_file, timeout_s=0, mode=0o600)
    except (Timeout, OSError):  # alive, or another person's
        return
    if lock is not None:
        _remove_workspace(lock_file)
        release(lock_file, lock)


def _remove_workspace(lock_file: Path) -> None:
    """Remove the files of the workspace whose lock file this is, which itself goes last: see `locks.release`."""
    workspace = f"{lock_file.name.removesuffix(_LOCK_ENDING)}."
    with suppress(OSError):
        for path in lock_file.parent.iterdir():
            if path.name.startswith(workspace) and path != lock_file:
                _remove(path)


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """One publish at a time in a folder. Raises BatchlinksError when another takes more than a minute."""
    path = folder / ".batchlinks.lock"
    try:
        # Open to everyone who may write here: it is empty, and gone in a moment.
        lock = acquire(path, timeout_s=_LOCK_PATIENCE_S, mode=0o666)
    except Timeout as error:
        raise BatchlinksError(
            f"Another batchlinks has been writing results into {folder} for over a minute. Run the same command "
            "again when it is done: no link that was answered is lost."
        ) from error
    try:
        yield
    finally:
        release(path, lock)
