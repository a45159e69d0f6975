"""The inbox: which rosters have come, which is taken next, and where each goes when it is done.

A roster that a night takes moves to `working`, and a claim beside it says what is needed to go on after a crash. It
leaves `working` for `done/DATE` or `failed/DATE`, or stays for the next night.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime
from itertools import count
from pathlib import PurePath
from typing import Self

from batchlinks.errors import FolderError
from batchlinks.logs import logger
from batchlinks.nightly.tables import RosterTable, table_for
from batchlinks.roster.source import ENDINGS
from batchlinks.storage.folder import Entry, Folder

WORKING, DONE, FAILED = "working", "done", "failed"

_ARRIVING = (".tmp", ".part", ".filepart")
"""Endings of what other programs are still writing."""

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
    """Local date on which the latest attempt began, which names the folder of its results; "" before the first."""

    results: str = ""
    """What its results are named after, where that is not its own name."""

    under_way: bool = False
    """An attempt has begun. If a night finds it so, that attempt was killed."""

    def as_new(self) -> Self:
        """The same file as if it had just come, so that results of it which are there already stay."""
        return replace(self, id=uuid.uuid4().hex, day="", results="", under_way=False)


@dataclass(frozen=True, slots=True)
class InboxScan:
    """What is in the inbox."""

    rosters: Sequence[Entry] = ()
    """That have arrived, the oldest first."""

    arriving: int = 0
    unmatched: Sequence[str] = ()
    """Names of rosters that no table is for."""


@dataclass(slots=True)
class Inbox:
    """One inbox. Raises FolderError where it cannot be used."""

    place: Folder
    tables: Sequence[RosterTable]
    settle_s: float
    now: Callable[[], datetime]
    sleep: Callable[[float], object]
    working: Folder = field(init=False)

    def __post_init__(self) -> None:
        self.working = self.place.folder(WORKING)

    def look(self) -> InboxScan:
        """What has arrived. Takes a second where anything has."""
        entries = {entry.name: entry for entry in self.place.entries()}
        rosters = [entry for entry in entries.values() if _is_roster(entry.name)]
        unmatched = sorted(entry.name for entry in rosters if table_for(entry.name, self.tables) is None)
        rosters = [entry for entry in rosters if entry.name not in unmatched]
        arrived = [entry for entry in rosters if self._has_arrived(entry, entries)]
        if any(self._marker(entry.name) is None for entry in arrived) and self.settle_s:
            self.sleep(min(_SECOND_LOOK_S, self.settle_s))
            arrived = sorted(set(arrived) & set(self.place.entries()), key=lambda entry: entry.name)
        arrived.sort(key=lambda entry: (entry.modified, entry.name))
        return InboxScan(arrived, len(rosters) - len(arrived), unmatched)

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
            if _is_roster(entry.name):
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
        for name in numbered(entry.name):
            claim = replace(_new_claim(entry), name=name, marker=self._marker(entry.name))
            if any(each.name == name for each in self.working.entries()):
                continue
            self.note(claim)
            try:
                self.place.move(entry.name, self.working, name)
            except FileExistsError:
                continue
            self._remove_marker(claim)
            return claim
        raise AssertionError("a free name is always found")

    def _remove_marker(self, claim: Claim) -> None:
        """So that it does not speak for the next roster of that name; one that is newer than this roster may."""
        still_coming = {entry.name for entry in self.place.entries()}
        if claim.marker is not None and claim.original not in still_coming:
            self.place.remove(claim.marker)

    def note(self, claim: Claim) -> None:
        """Write the claim down. Raises FolderError."""
        self.working.write(_claim_name(claim.name), json.dumps(asdict(claim)).encode())

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

    def put_away(self, claim: Claim, kind: str) -> None:
        """Move a roster to `done/DATE` or `failed/DATE`, never over another. Raises FolderError."""
        target = self.place.folder(kind).folder(claim.day)
        for name in numbered(claim.original):
            try:
                self.working.move(claim.name, target, name)
                break
            except FileExistsError:
                continue
        self.working.remove(_claim_name(claim.name))


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
    return not lowered.startswith((".", "~$")) and lowered.endswith(ENDINGS) and not lowered.endswith(_ARRIVING)


def _new_claim(entry: Entry) -> Claim:
    return Claim(entry.name, entry.name, uuid.uuid4().hex, entry.modified, entry.size)


def _claim_name(name: str) -> str:
    return _CLAIM.format(name=name)


def numbered(name: str) -> Iterator[str]:
    """`patients.csv`, `patients (2).csv`, `patients (3).csv` …"""
    yield name
    path = PurePath(name)
    for number in count(2):
        yield f"{path.stem} ({number}){path.suffix}"
