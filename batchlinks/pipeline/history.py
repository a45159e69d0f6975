"""What `audit.jsonl` tells of the past: a run, check or night is one entry, made of its lines at the beginning and the end.

Lines of versions before 0.3 have no `event` where they mean that something ended. One that began and never ended was killed, or
is still at work.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from batchlinks.errors import SettingsError
from batchlinks.ledger import Records
from batchlinks.ledger.key import LedgerKey
from batchlinks.patients.id_spelling import likenesses
from batchlinks.pipeline.audit import NAME


class FileState(StrEnum):
    """What has become of a file that was written."""

    THERE = "there"
    CHANGED = "changed since"
    GONE = "gone"
    ELSEWHERE = "not looked at: it was taken to another place"


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file with patients in it that a run wrote, and what has become of it."""

    path: str
    state: FileState


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """Something that was done."""

    at: datetime
    """When it began; of what takes no time, when it was done."""

    what: str
    """`run`, `check`, `status`, `nightly`; of anything else the command and the event, as in `ledger withdraw`."""

    event: str
    """`ended`; `begun` where no end is known; of what takes no time its name, such as `deleted`."""

    user: str
    host: str
    facts: Mapping[str, Any] = field(repr=False)
    """Of its lines in the audit log, the latter counting."""

    @property
    def exit_code(self) -> int | None:
        """None where it did not end."""
        return self.facts.get("exit_code") if self.event == "ended" else None

    @property
    def run_id(self) -> str | None:
        """Of a run, check, status or night."""
        return self.facts.get("run_id")

    @property
    def reason(self) -> str | None:
        """Why it was refused or stopped, in a sentence."""
        if self.event == "begun":
            return "It began and has not ended: it was killed, or is still at work."
        return self.facts.get("reason")

    def files(self) -> list[WrittenFile]:
        """The files that it wrote, and what has become of each."""
        outputs, folder = self.facts.get("outputs"), self.facts.get("folder")
        if not isinstance(outputs, dict):
            return []
        return [
            WrittenFile(f"{folder}/{name}" if folder else name, _state_of(folder, name, str(digest)))
            for name, digest in outputs.items()
        ]

    def as_json(self, *, with_files: bool) -> dict[str, object]:
        """For programs."""
        facts = {name: value for name, value in self.facts.items() if name not in ("patient_hashes", "outputs", "time")}
        told = {"at": self.at.isoformat(), "what": self.what, **facts, "event": self.event, "reason": self.reason}
        if with_files:
            told["files"] = [{"path": each.path, "state": each.state.value} for each in self.files()]
        return told


def read_history(folder: Path, *, since: datetime | None = None) -> list[HistoryEntry]:
    """What was done, the newest first; from `since` on. Raises SettingsError where the audit log cannot be read."""
    path = folder / NAME
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise SettingsError(f"The audit log {path} cannot be read ({error.strerror}).") from error
    entries = list(_entries(_lines(content)))[::-1]
    entries.sort(key=lambda entry: entry.at, reverse=True)  # of those within a second, the later line stays first
    return [entry for entry in entries if since is None or entry.at >= since]


def of_patient(entries: Iterable[HistoryEntry], external_id: str, ledger: Path) -> list[HistoryEntry]:
    """Those about one patient: looked up, withdrawn, restored; and the runs that made or handed out the link, or wrote a file.

    Raises SettingsError where the ledger or its key cannot be used.
    """
    key = LedgerKey.find(ledger)
    hashes = set() if key is None else {key.digest(text, "audit") for text in likenesses(external_id)}
    runs = _runs_of(external_id, ledger) if ledger.exists() else set()
    return [
        entry
        for entry in entries
        if not (
            runs.isdisjoint((entry.run_id, entry.facts.get("of_run")))
            and hashes.isdisjoint(entry.facts.get("patient_hashes") or ())
        )
    ]


def _runs_of(external_id: str, ledger: Path) -> set[str | None]:
    found: set[str | None] = set()
    with Records(ledger) as records:
        for known in records.links(None, [external_id]):
            found |= {known.issued_by, known.handed_out_by}
        for project in records.projects():
            found |= {row.file.run_id for row in records.rows_in_files(project, [external_id])}
    return found - {None}


def _lines(content: bytes) -> Iterator[Mapping[str, Any]]:
    """What was written whole. Half a line, from a full disk, tells nothing."""
    for text in content.decode("utf-8", "replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("time"), str) and isinstance(line.get("command"), str):
            yield line


def _entries(lines: Iterable[Mapping[str, Any]]) -> Iterator[HistoryEntry]:
    open_ones: dict[str, Mapping[str, Any]] = {}
    for line in lines:
        event, run_id = line.get("event", "ended"), line.get("run_id")
        if event == "begun" and isinstance(run_id, str):
            open_ones[run_id] = line
            continue
        begun = open_ones.pop(run_id, {}) if event == "ended" and isinstance(run_id, str) else {}
        yield _entry(event, begun, line)
    for line in open_ones.values():
        yield _entry("begun", line, line)


def _entry(event: str, begun: Mapping[str, Any], line: Mapping[str, Any]) -> HistoryEntry:
    facts = {**begun, **line}
    at = datetime.fromisoformat(str(facts.get("started_at") or begun.get("time") or line["time"])).astimezone()
    command = str(line["command"])
    what = command if event in ("begun", "ended") else f"{command} {event}"
    return HistoryEntry(at, what, event, str(line.get("user", "")), str(line.get("host", "")), facts)


def _state_of(folder: object, name: str, digest: str) -> FileState:
    if not isinstance(folder, str) or "://" in folder:
        return FileState.ELSEWHERE
    path = Path(folder) / name
    if not path.exists():
        return FileState.GONE
    if path.is_dir():  # of pictures
        return FileState.THERE
    try:
        with path.open("rb") as file:
            return FileState.THERE if hashlib.file_digest(file, "sha256").hexdigest() == digest else FileState.CHANGED
    except OSError:
        return FileState.CHANGED
