"""How the files of a run get to their place: whole or not at all, and never over a file that someone changed.

A set is the files of one run that share a stem: `NAME.links.xlsx`, `NAME.errors.xlsx` and `NAME.summary.json`.
The summary is renamed into place last and lists the SHA-256 of the others, so that the next run of the same
roster knows its own files again and replaces them. Any other set stays, and the new one is `NAME (2)`, `NAME (3)`.

A set may hold folders too, such as `NAME.links`. A folder is replaced as a whole, and only where every file in it is
known: one that somebody changed or added keeps it where it is.

While a set is on its way, and until its run is finished, its journal `.NAME.summary.pending` lies beside it. It lists the
hashes of the new files and of those that they replace, which are therefore known to be ours after a kill too; the
IDs of the runs of whose results the set is, so that what they noted as handed out can be told from what stays; and what
became of the files with links that were there: replaced, or kept under another name.

A links workbook in which somebody stands who would be in none afterwards is not replaced: it becomes
`NAME.links (before DATE TIME).xlsx`, and is no part of the set any more.

Files are private to their owner (0600) from their first byte. Windows has no such modes: there they are as private
as the folder they are in.
"""

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from batchlinks.errors import BatchlinksError, SettingsError
from batchlinks.next_steps import Advice, Do
from batchlinks.results.publish.existing_set import (
    KEPT_OUTPUTS,
    LINKS_ENTRIES,
    ExistingSet,
    Owner,
    SummaryKind,
    describe_open_elsewhere,
    journal_path_of,
    name_in_set,
    read_json_object,
    run_ids_in,
    seal,
    stems_in,
    stopped_run_id,
    to_json,
    top_level_entries,
)
from batchlinks.results.publish.workspace import Workspace, folder_lock, remove_entry
from batchlinks.storage.private_files import fsync_folder, make_folder, private

_LONGEST_SUFFIX: Mapping[SummaryKind, str] = {
    "summary": "links (before 2026-12-31 23.59.59).xlsx",
    "check": "links (before 2026-12-31 23.59.59).xlsx",
    "status": "reminder (before 2026-12-31 23.59.59).letters.docx",
}
_LONGEST_NAME = 255
"""Bytes in a file name that every usual file system takes."""


@dataclass(frozen=True, slots=True)
class PublishedSet:
    """Where a set now is."""

    paths: Mapping[str, Path]
    """By suffix, as given to `Publisher.open`; a folder by its own, such as `links`."""

    summary: Path
    outputs: Mapping[str, str]
    """File name, such as `NAME.errors.xlsx` or `NAME.links/North.xlsx` -> SHA-256 in hex, as in the summary."""

    stem_used: str
    obstacle: str | None
    """Why the set could not have the stem it was to have, as in `NAME.links.xlsx was changed …`; None if it has."""

    outgoing: "OutgoingLinks"
    """What became of the files with links that were there."""


NamedContent = tuple[str, str]
"""A file: its name in the folder, and its SHA-256."""


@dataclass(frozen=True, slots=True)
class OutgoingLinks:
    """Files with links that a new set meets in its place."""

    replaced: frozenset[NamedContent] = frozenset()
    renamed: Mapping[NamedContent, str] = field(default_factory=dict)
    """Those that stay -> their new name."""

    patients: int = 0
    """Who would be in no links workbook otherwise."""

    entries: Mapping[Path, Path] = field(default_factory=dict)
    """The files and folders that are to get another name -> that name."""

    def joined(self, other: "OutgoingLinks") -> "OutgoingLinks":
        """Both. What stays, of one, is not replaced, of the other."""
        renamed = {**self.renamed, **other.renamed}
        return OutgoingLinks(
            (self.replaced | other.replaced) - renamed.keys(),
            renamed,
            self.patients + other.patients,
            {**self.entries, **other.entries},
        )

    def as_json(self) -> dict[str, object]:
        """For a journal; `from_journal` reads it."""
        return {
            "replaced": sorted(map(list, self.replaced)),
            "kept": sorted([*content, name] for content, name in self.renamed.items()),
            "kept_patients": self.patients,
        }

    @classmethod
    def from_journal(cls, journal: Mapping[str, Any], folder: Path) -> Self:
        """What a run that was killed had done or was about to do. One that an older version wrote tells nothing."""
        kept = [each for each in journal.get("kept", ()) if os.path.lexists(folder / each[2])]
        return cls(
            frozenset((name, digest) for name, digest in journal.get("replaced", ())),
            {(name, digest): new_name for name, digest, new_name in kept},
            int(journal.get("kept_patients", 0)) if kept else 0,
        )


@dataclass(frozen=True, slots=True)
class UnfinishedSet:
    """Files of this owner's runs that did not finish: a new set may take their place."""

    stem: str
    run_ids: frozenset[str]
    links: Mapping[str, str]
    """Name in the folder -> SHA-256 of the files with links in it that are there, and as they were written."""

    killed: bool
    """Whether the run was killed, perhaps in the midst of bringing its files to their place; else it ended early."""


LostPatients = Callable[[Mapping[str, str]], int]
"""How many patients in these files with links (name -> SHA-256) would be in no links workbook if they were replaced."""


def check_folder(folder: Path, *, share_with_group: bool = False) -> None:
    """Make sure that results can be written into `folder`, by creating it if need be and then a file in it.

    A folder made here, and any above it, is its owner's alone (0700), or 2750 with `share_with_group`; the mode
    of one that is already there is left alone. Raises SettingsError.
    """
    try:
        make_folder(folder, 0o2750 if share_with_group else 0o700)
        with folder_lock(folder):
            pass
    except OSError as error:
        raise SettingsError(
            f"No results can be written into {folder}: {error.strerror or error}. ", Advice(Do.CHANGE_FOLDER)
        ) from error


class Publisher:
    """A context manager that takes the files of one run and publishes them as a set.

    ```
    with Publisher(folder, "patients", owner) as release:
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
        if len(os.fsencode(name_in_set(f"{stem} (99)", _LONGEST_SUFFIX[summary_kind]))) > _LONGEST_NAME:
            raise SettingsError("The patient list's file name is too long to name results after it. Shorten it.")
        check_folder(folder, share_with_group=share_with_group)
        self._folder = folder
        self._stem = stem
        self._owner = owner
        self._kind: SummaryKind = summary_kind
        self._mode = 0o640 if share_with_group else 0o600
        self._folder_mode = 0o2750 if share_with_group else 0o700
        self._workspace = Workspace(folder)
        self._digests: dict[str, str] = {}
        self._folders: list[str] = []
        self._run_id: object = None
        self._replaced: frozenset[str] = frozenset()
        self._journals: list[Path] = []
        """Of the runs that this one replaces, and last its own: what `finish` removes."""

        self._superseded: frozenset[str] = frozenset()
        """Stems under which these runs left their sets."""

        self._earlier = OutgoingLinks()
        """What runs that were killed had done with the files of before."""

    def __enter__(self) -> Self:
        with _explain_errors(self._folder):
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

    def unfinished_sets(self) -> list[UnfinishedSet]:
        """Files in the folder of this owner's earlier runs that did not finish.

        They were killed before `finish`, and have left their journal; or they ended before all was asked, as their
        summary says, and nobody has changed their files since.
        """
        found = []
        with _explain_errors(self._folder):
            for stem in stems_in(self._folder, self._stem, self._kind):
                run_ids: set[str] = set()
                former = self._former(stem)
                path = journal_path_of(self._folder, stem, self._kind)
                journal = read_json_object(path)
                killed = journal is not None and journal.get("owner") == self._owner.digest
                if journal is not None and killed:
                    run_ids |= run_ids_in(journal)
                    self._journals.append(path)
                    self._earlier = self._earlier.joined(OutgoingLinks.from_journal(journal, self._folder))
                stopped = stopped_run_id(read_json_object(self._folder / name_in_set(stem, f"{self._kind}.json")))
                if stopped is not None and former.obstacle is None:
                    run_ids.add(stopped)
                if run_ids:
                    found.append(UnfinishedSet(stem, frozenset(run_ids), former.links, killed))
        return found

    def supersede(self, sets: Collection[UnfinishedSet]) -> frozenset[str]:
        """The set of this run takes the place of these. Returns the IDs of their runs."""
        self._replaced = frozenset(run_id for each in sets for run_id in each.run_ids)
        self._superseded = frozenset(each.stem for each in sets)
        return self._replaced

    @contextmanager
    def open(self, suffix: str) -> Iterator[BinaryIO]:
        """A new file of the set, such as `links.xlsx` or `links/North.xlsx`, open for writing and reading.

        It is private from the start, and belongs to the set once the block ends without an exception. Raises
        BatchlinksError if it cannot be written.
        """
        path = self._workspace.path(suffix)
        try:
            with _explain_errors(self._folder):
                path.parent.mkdir(0o700, parents=True, exist_ok=True)
            with _explain_errors(self._folder), open(path, "x+b", opener=private) as file:
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
        with _explain_errors(self._folder):
            self._workspace.path(suffix).mkdir(0o700, exist_ok=True)
        self._folders.append(suffix)

    def discard(self) -> None:
        """Forget what was written so far: the files of the set are written anew."""
        with _explain_errors(self._folder):
            self._workspace.clear()
        self._digests.clear()
        self._folders.clear()

    def publish(
        self,
        summary: Mapping[str, object],
        *,
        lost: LostPatients = lambda _: 0,
        leave_links: bool = False,
        last_look: Callable[[], object] = lambda: None,
        on_placing: Callable[[Mapping[str, str], str], object] = lambda _outputs, _stem: None,
    ) -> PublishedSet:
        """Bring the set to its place and write `summary` (JSON values) beside it, with `outputs` added.

        `last_look` is called right before, and may raise: then nothing has changed. `lost` decides which files with links
        get another name rather than make room. `leave_links`: the set has no links workbook, and one that is there stays.
        `on_placing` hears of the files (name -> SHA-256) and their stem before any is in its place; of another stem again
        where that one turns out not to be free. Raises BatchlinksError if that is not possible. The same command publishes
        again then, as after a kill.
        """
        with _explain_errors(self._folder), folder_lock(self._folder):
            first_obstacle: str | None = None
            for number in count(1):
                stem = _number_stem(self._stem, number)
                former = self._former(stem, leave_links=leave_links)
                obstacle = former.obstacle
                if obstacle is None:
                    try:
                        last_look()
                        return self._publish_as(stem, former, summary, first_obstacle, lost, on_placing)
                    except _InUse as in_use:
                        obstacle = str(in_use)
                first_obstacle = first_obstacle or obstacle
        raise AssertionError("a free stem is always found")

    def _former(self, stem: str, *, leave_links: bool = False) -> "ExistingSet":
        return ExistingSet.found(self._folder, stem, self._kind, self._owner, self._digests, leave_links=leave_links)

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
            if (read_json_object(own) or {}).get("run_id") == self._run_id:
                own.unlink()

    def _publish_as(
        self,
        stem: str,
        former: "ExistingSet",
        summary: Mapping[str, object],
        obstacle: str | None,
        lost: LostPatients,
        on_placing: Callable[[Mapping[str, str], str], object],
    ) -> PublishedSet:
        paths = {suffix: self._folder / name_in_set(stem, suffix) for suffix in self._digests}
        outputs = {name_in_set(stem, suffix): digest for suffix, digest in self._digests.items()}
        entries = {
            entry: self._folder / name_in_set(stem, entry)
            for entry in top_level_entries([*self._folders, *self._digests])
        }
        summary_path = self._folder / name_in_set(stem, f"{self._kind}.json")
        journal_path = journal_path_of(self._folder, stem, self._kind)

        moment = datetime.now()
        outgoing = self._outgoing(stem, former, lost, moment)
        superseded = {other: self._former(other) for other in sorted(self._superseded - {stem})}
        leaving = {other: self._outgoing(other, former, lost, moment) for other, former in superseded.items()}
        all_outgoing = self._earlier.joined(outgoing)
        for each in leaving.values():
            all_outgoing = all_outgoing.joined(each)

        kept = {KEPT_OUTPUTS: dict(former.left_alone)} if former.left_alone else {}
        sealed = seal({**summary, "outputs": outputs, **kept, "owner": self._owner.digest})
        new_summary = self._write("summary", sealed)
        self._run_id = summary.get("run_id")
        journal = {
            "owner": self._owner.digest,
            "hashes": sorted({*outputs.values(), *former.digests.values(), *former.left_alone.values()}),
            "run_id": self._run_id,
            "replaces": sorted(self._replaced),
            **all_outgoing.as_json(),
        }
        self._write("journal", to_json(journal)).replace(journal_path)
        fsync_folder(self._folder)

        on_placing(outputs, stem)
        try:
            self._move_into_place(entries, outgoing.entries)
        except _InUse:
            journal_path.unlink()
            raise
        for stale in former.entries - set(entries.values()):
            remove_entry(stale)
        fsync_folder(self._folder)
        new_summary.chmod(self._mode)
        new_summary.replace(summary_path)
        fsync_folder(self._folder)
        self._journals.append(journal_path)
        for other, old in superseded.items():
            self._withdraw(other, old, leaving[other])
        return PublishedSet(paths | entries, summary_path, outputs, stem, obstacle, all_outgoing)

    def _outgoing(self, stem: str, former: "ExistingSet", lost: LostPatients, moment: datetime) -> OutgoingLinks:
        """What is to become of the files with links of a set that another takes the place of."""
        patients = lost(former.links) if former.links else 0
        if not patients:
            return OutgoingLinks(frozenset(former.links.items()))
        before = self._free_mark(stem, moment)
        entries = {
            path: self._folder / _marked(stem, entry, before)
            for entry in sorted(LINKS_ENTRIES)
            if (path := self._folder / name_in_set(stem, entry)) in former.entries
        }
        new_names = {old.name: new.name for old, new in entries.items()}
        renamed = {}
        for name, digest in former.links.items():
            top, slash, rest = name.partition("/")
            renamed[name, digest] = f"{new_names[top]}{slash}{rest}"
        return OutgoingLinks(frozenset(), renamed, patients, entries)

    def _free_mark(self, stem: str, moment: datetime) -> str:
        """` (before 2026-07-29 14.05)`, or one that tells the second where that is taken."""
        to_the_minute, to_the_second = (
            f" (before {moment:{form}})" for form in ("%Y-%m-%d %H.%M", "%Y-%m-%d %H.%M.%S")
        )
        for mark in (to_the_minute, to_the_second, *(f"{to_the_second} ({number})" for number in range(2, 99))):
            if not any(os.path.lexists(self._folder / _marked(stem, entry, mark)) for entry in LINKS_ENTRIES):
                return mark
        raise BatchlinksError(
            f"There are too many older results in {self._folder}. Move some elsewhere, then try again."
        )

    def _withdraw(self, stem: str, former: "ExistingSet", outgoing: OutgoingLinks) -> None:
        """Remove a set whose patients are in this one now. (It has another stem, as that of this one was not free then.)"""
        if former.obstacle is None:
            for old, new in outgoing.entries.items():
                old.replace(new)
            for entry in former.entries - outgoing.entries.keys():
                remove_entry(entry)
            (self._folder / name_in_set(stem, f"{self._kind}.json")).unlink(missing_ok=True)

    def _move_into_place(self, entries: Mapping[str, Path], kept: Mapping[Path, Path]) -> None:
        """`kept`: what gets another name first."""
        moved: list[tuple[Path, Path]] = []
        for path, new_path in kept.items():
            try:
                path.replace(new_path)
            except PermissionError as error:
                self._move_back(moved)
                raise _InUse(describe_open_elsewhere(path)) from error
            moved.append((path, new_path))
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
                self._move_back(moved)
                raise _InUse(describe_open_elsewhere(path)) from error
            moved.append((source, path))

    @staticmethod
    def _move_back(moved: Sequence[tuple[Path, Path]]) -> None:
        for back, place in reversed(moved):
            if not back.exists():
                place.replace(back)

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


def _marked(stem: str, entry: str, mark: str) -> str:
    """`NAME.links (before …).xlsx` for `links.xlsx`."""
    name, dot, ending = entry.partition(".")
    return f"{name_in_set(stem, name)}{mark}{dot}{ending}"


def _number_stem(stem: str, number: int) -> str:
    return stem if number == 1 else f"{stem} ({number})"


@contextmanager
def _explain_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BatchlinksError(
            f"The results could not be written into {folder}: {error.strerror or type(error).__name__}. Fix "
            "that, then try again. Links already received are saved."
        ) from error
