"""The inbox: which rosters have come, which is taken next, and where each goes when it is done.

A roster that a night takes moves to `working`, and a claim beside it says what is needed to go on after a crash. It
leaves `working` for `done/DATE` or `failed/DATE`, or stays for the next night. Nothing in the inbox goes unmentioned:
what is no roster, or still arriving, is named in the scan.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from itertools import count
from pathlib import PurePath
from typing import Self

from batchlinks.errors import FolderError, SettingsError
from batchlinks.logs import logger
from batchlinks.nightly.archives import is_archive, split_endings
from batchlinks.nightly.tables import RosterTable, table_for
from batchlinks.roster.source import ENDINGS
from batchlinks.storage.folder import Entry, Folder
from batchlinks.storage.private_files import make_folder

WORKING, DONE, FAILED = _FOLDERS = "working", "done", "failed"

_ARRIVING = (".tmp", ".part", ".filepart")
"""Endings of what other programs are still writing."""

REASON_ENDING = ".reason.txt"
"""Of the file beside a roster in `failed` that says why it is there."""

_OF_SYSTEMS = (".ds_store", "._", ".nfs", ".directory", "thumbs.db", "desktop.ini", "ehthumbs.db")
"""What operating systems put into every folder."""

_OURS = ".batchlinks-"

_SECOND_LOOK_S = 1.0
"""A program that copies a file's time along betrays itself by the size: that much later it has grown."""

_MARKER_LAGS_S = 60.0
"""A marker may be older than its list by so much: some programs write it first, and clocks differ."""

_CLAIM = ".{name}.claim"


@dataclass(frozen=True, slots=True)
class Claim:
    """A roster that was taken, until it is put away. Stands beside it in `working` as JSON."""

    name: str
    """In `working`: the roster's own, with a number where another of that name was there."""

    original: str
    """As it was called in the inbox."""

    id: str
    """Tells its results from those of any other roster of the same name."""

    modified: float
    size: int
    marker: str | None = None
    """The file that said that it had arrived whole."""

    day: str = ""
    """Local date on which the work on it began, which names the folder of its results; "" before the first attempt."""

    results: str = ""
    """What its results are named after, where that is not its own name."""

    under_way: bool = False
    """An attempt has begun. If a night finds it so, that attempt was killed."""

    taken: str = ""
    """Local date of the night that took it; "" where an older version did."""

    accepted: bool = False
    """Somebody has let it through: the limits of its table do not hold for it."""

    def as_new(self) -> Self:
        """The same file as if it had just come, so that results of it which are there already stay."""
        return replace(self, id=uuid.uuid4().hex, day="", results="", under_way=False)


@dataclass(frozen=True, slots=True)
class InboxScan:
    """What is in the inbox."""

    rosters: Sequence[Entry] = ()
    """That have arrived, the oldest first."""

    arriving: Sequence[str] = ()
    """Names of what is not there whole yet."""

    unmatched: Sequence[str] = ()
    """Names of rosters that no table is for."""

    ignored: Sequence[str] = ()
    """Names of files that are no rosters, and of folders (with a slash behind)."""


@dataclass(slots=True)
class Inbox:
    """One inbox. Raises FolderError where it cannot be used."""

    place: Folder
    tables: Sequence[RosterTable]
    settle_s: float
    now: Callable[[], datetime]
    sleep: Callable[[float], object]
    share_with_group: bool = False
    """Whether the group may read what lies in `working`, `done` and `failed`."""

    accepted: set[str] = field(default_factory=set)
    """Names of rosters in the inbox that are let through when they are taken."""

    working: Folder = field(init=False)

    def __post_init__(self) -> None:
        self.working = self.place.folder(WORKING)

    @property
    def _mode(self) -> int:
        return 0o640 if self.share_with_group else 0o600

    def look(self) -> InboxScan:
        """What has arrived, and everything else that is there. Takes a second where anything has arrived."""
        entries = {entry.name: entry for entry in self.place.entries()}
        rosters = [entry for entry in entries.values() if self._is_taken(entry.name)]
        unmatched = sorted(entry.name for entry in rosters if table_for(entry.name, self.tables) is None)
        rosters = [entry for entry in rosters if entry.name not in unmatched]
        arrived = [entry for entry in rosters if self._has_arrived(entry, entries)]
        if any(self._marker(entry.name) is None for entry in arrived) and self.settle_s:
            self.sleep(min(_SECOND_LOOK_S, self.settle_s))
            arrived = sorted(set(arrived) & set(self.place.entries()), key=lambda entry: entry.name)
        arrived.sort(key=lambda entry: (entry.modified, entry.name))
        arriving = sorted(
            {entry.name for entry in rosters}.difference(entry.name for entry in arrived)
            | {name for name in entries if _is_arriving(name)}
        )
        explained = {entry.name for entry in rosters} | {*unmatched, *arriving}
        explained |= {marker for entry in rosters if (marker := self._marker(entry.name)) is not None}
        ignored = [name for name in entries if name not in explained and not _is_of_no_interest(name)]
        folders = [f"{name}/" for name in self.place.folders() if name not in _FOLDERS and not name.startswith(".")]
        return InboxScan(arrived, arriving, unmatched, [*ignored, *folders])

    def _is_taken(self, name: str) -> bool:
        """Whether it is a roster by its name; an archive is one where a table's pattern fits its own name."""
        return _is_roster(name) or (_is_archived_roster(name) and table_for(name, self.tables) is not None)

    def _has_arrived(self, entry: Entry, entries: dict[str, Entry]) -> bool:
        marker = self._marker(entry.name)
        if marker is not None:
            # One that is much older than the list was left over from another of that name.
            return marker in entries and entries[marker].modified + _MARKER_LAGS_S >= entry.modified
        # A time far in the future is a clock that is wrong, and no reason to wait for it.
        return abs(self.now().timestamp() - entry.modified) >= self.settle_s

    def _marker(self, name: str) -> str | None:
        table = table_for(name, self.tables)
        if table is None or table.ready is None:
            return None
        return table.ready.format(name=name, stem=PurePath(name).stem)

    # --- taking ------------------------------------------------------------------------------------------------

    def left_over(self) -> list[Claim]:
        """Rosters in `working`, the oldest first: of nights that crashed, were stopped, or could not reach HealthEx."""
        entries = self.working.entries()
        names = {entry.name for entry in entries}
        claims = []
        for entry in sorted(entries, key=lambda entry: (entry.modified, entry.name)):
            if _is_roster(entry.name) or _is_archived_roster(entry.name):
                claims.append(self._read_claim(entry) if _claim_name(entry.name) in names else _new_claim(entry))
            elif entry.name.startswith(".") and entry.name.endswith(".claim"):
                roster = entry.name.removeprefix(".").removesuffix(".claim")
                if roster not in names:  # killed between two moves
                    self.working.remove(entry.name)
        return claims

    def _read_claim(self, entry: Entry) -> Claim:
        try:
            claim = Claim(**json.loads(self.working.read(_claim_name(entry.name))))
        except (ValueError, TypeError):
            return _new_claim(entry)  # half of one, from a power cut
        if claim.marker is not None and claim.marker in {each.name for each in self.place.entries()}:
            self._remove_marker(claim)
        return claim

    def take(self, entry: Entry) -> Claim:
        """Move a roster to `working`. Raises FolderError, and leaves it where it is then."""
        claim = self._bring_to_working(entry, self.place)
        self._remove_marker(claim)
        return claim

    def accept(self, name: str) -> None:
        """Let a roster through once, whatever the limits of its table: one that failed is brought back to `working`.

        Raises SettingsError where there is none of this name.
        """
        for claim in self.left_over():
            if name in (claim.name, claim.original):
                self.note(replace(claim, accepted=True))
                return
        for entry in self.place.entries():
            if entry.name == name and self._is_taken(name):
                self.accepted.add(name)
                return
        failed = self.place.folder(FAILED)
        for day in reversed(failed.folders()):
            for entry in failed.folder(day).entries():
                if entry.name == name and not name.endswith(REASON_ENDING):
                    claim = self._bring_to_working(entry, failed.folder(day))
                    self.note(replace(claim, accepted=True))
                    failed.folder(day).remove(f"{name}{REASON_ENDING}")
                    return
        raise SettingsError(
            "There is no patient list of the name that --accept gives, neither in the inbox nor among the failed ones. "
            f"Give the name as it stands in {self.place.address} or in its folder failed."
        )

    def _bring_to_working(self, entry: Entry, source: Folder) -> Claim:
        self._make_shared(self.working)
        for name in numbered(entry.name):
            claim = replace(
                _new_claim(entry),
                name=name,
                marker=self._marker(entry.name),
                taken=self.now().date().isoformat(),
                accepted=entry.name in self.accepted,
            )
            if any(each.name == name for each in self.working.entries()):
                continue
            self.note(claim)
            try:
                source.move(entry.name, self.working, name)
            except FileExistsError:
                continue
            return claim
        raise AssertionError("a free name is always found")

    def _make_shared(self, folder: Folder) -> None:
        """Make a folder of the inbox that its group may read, where it may. (Elsewhere the place has its own rules.)"""
        if folder.local is None or not self.share_with_group:
            return
        with suppress(OSError):  # whoever writes into it next says what is wrong
            make_folder(folder.local, 0o2750)
            if folder.local.stat().st_mode & 0o050 != 0o050:
                folder.local.chmod(0o2750)  # made by an older version

    def _remove_marker(self, claim: Claim) -> None:
        """So that it does not speak for the next roster of that name; one that is newer than this roster may."""
        still_coming = {entry.name for entry in self.place.entries()}
        if claim.marker is not None and claim.original not in still_coming:
            self.place.remove(claim.marker)

    def note(self, claim: Claim) -> None:
        """Write the claim down. Raises FolderError."""
        self.working.write(_claim_name(claim.name), json.dumps(asdict(claim)).encode(), mode=self._mode)

    def seen_now(self, claim: Claim) -> Claim:
        """The claim with the roster's size and time as they are. Raises FolderError where it is gone."""
        here = next((entry for entry in self.working.entries() if entry.name == claim.name), None)
        if here is None:
            raise FolderError(f"A patient list was taken out of {self.working.address} while it was worked on.")
        return replace(claim, size=here.size, modified=here.modified)

    def has_changed(self, claim: Claim) -> bool:
        """Whether somebody was still writing to a roster after the attempt began."""
        return self.seen_now(claim) != claim

    # --- putting away ------------------------------------------------------------------------------------------

    def put_away(self, claim: Claim, kind: str, reason: str | None = None) -> str:
        """Move a roster to `done/DATE` or `failed/DATE`, never over another, and say there where it is.

        `reason` goes into a text file beside it. Raises FolderError.
        """
        folder = self.place.folder(kind)
        target = folder.folder(claim.day)
        for each in (folder, target):
            self._make_shared(each)
        name = self._move_away(claim, target)
        if reason is not None:
            try:
                target.write(f"{name}{REASON_ENDING}", reason.encode(), mode=self._mode)
            except FolderError as error:  # a name that is too long with our ending; the reason is in night.json too
                logger().warning(f"The reason could not be written beside a patient list that failed. {error}")
        self.working.remove(_claim_name(claim.name))
        return f"{target.address}/{name}"

    def _move_away(self, claim: Claim, target: Folder) -> str:
        for name in numbered(claim.original):
            try:
                self.working.move(claim.name, target, name)
            except FileExistsError:
                continue
            if self.share_with_group and target.local is not None:
                with suppress(OSError):  # somebody else's file: whoever delivered it can read it
                    path = target.local / name
                    path.chmod(path.stat().st_mode & 0o777 | 0o040)
            return name
        raise AssertionError("a free name is always found")


def clear(place: Folder, before: date) -> int:
    """Delete the folders of days before this one, and nothing else. How many there were."""
    old = [name for name in place.folders() if (day := _day(name)) is not None and day < before]
    for name in old:
        try:
            place.folder(name).remove_folder()
        except FolderError as error:
            logger().warning(f"What is too old to be kept could not be deleted. {error}")
    return len(old)


def _day(name: str) -> date | None:
    try:
        day = date.fromisoformat(name)
    except ValueError:
        return None
    return day if day.isoformat() == name else None


def _is_roster(name: str) -> bool:
    lowered = name.lower()
    return lowered.endswith(ENDINGS) and not (_is_unfinished(lowered) or lowered.endswith(REASON_ENDING))


def _is_archived_roster(name: str) -> bool:
    return is_archive(name) and not _is_unfinished(name.lower())


def _is_unfinished(lowered: str) -> bool:
    """Whether a name says that somebody is still writing the file, or has it open."""
    return lowered.startswith((".", "~$")) or lowered.endswith(_ARRIVING)


def _is_arriving(name: str) -> bool:
    return _is_unfinished(name.lower()) and not _is_of_no_interest(name)


def _is_of_no_interest(name: str) -> bool:
    """What batchlinks itself and operating systems put there."""
    return name.startswith(_OURS) or name.lower().startswith(_OF_SYSTEMS)


def _new_claim(entry: Entry) -> Claim:
    return Claim(entry.name, entry.name, uuid.uuid4().hex, entry.modified, entry.size)


def _claim_name(name: str) -> str:
    return _CLAIM.format(name=name)


def numbered(name: str) -> Iterator[str]:
    """`patients.csv`, `patients (2).csv`, `patients (3).csv` …; an archive keeps both its endings."""
    yield name
    stem, endings = split_endings(name)
    for number in count(2):
        yield f"{stem} ({number}){endings}"
