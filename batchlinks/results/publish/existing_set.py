"""What stands under a name already, whose it is, and whether it may be replaced.

A set is the files of one run that share a stem: `NAME.links.xlsx`, `NAME.errors.xlsx` and `NAME.summary.json`. The
summary lists the SHA-256 of the others and has a digest of itself, so that an edit by hand shows.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from batchlinks.errors import ExitCode

SummaryKind = Literal["summary", "check", "status"]


SUFFIXES: Mapping[SummaryKind, tuple[str, ...]] = {
    "summary": (
        "links.xlsx",
        "errors.xlsx",
        "links.csv",
        "errors.csv",
        "duplicates.csv",
        "corrections.csv",
        "files.csv",
        "letters.docx",
    ),
    "check": ("check.xlsx", "check.csv", "check.duplicates.csv", "check.corrections.csv"),
    "status": (
        "status.xlsx",
        "status.csv",
        "reminder.xlsx",
        "reminder.csv",
        "reminder.files.csv",
        "reminder.letters.docx",
    ),
}
"""Of the files that a set may have, in any format."""


FOLDERS: Mapping[SummaryKind, tuple[str, ...]] = {
    "summary": ("links", "qr", "letters"),
    "check": (),
    "status": ("reminder", "reminder.qr", "reminder.letters"),
}
"""Of the folders."""


LINKS_ENTRIES = frozenset(
    {"links.xlsx", "links.csv", "links", "files.csv", "qr", "letters.docx", "letters"}
    | {"reminder.xlsx", "reminder.csv", "reminder", "reminder.files.csv", "reminder.qr"}
    | {"reminder.letters.docx", "reminder.letters"}
)
"""Of a run: the links workbook, the folder of those of a list that was split, and what goes with them. Of a status: the same
of the reminder."""

_WITH_LINKS = frozenset(
    {"links.xlsx", "links.csv", "links", "letters.docx", "letters"}
    | {"reminder.xlsx", "reminder.csv", "reminder", "reminder.letters.docx", "reminder.letters"}
)

_OS_METADATA_FILES = frozenset({".DS_Store", "Thumbs.db", "ehthumbs.db", "desktop.ini", ".directory"})
"""What file managers leave in a folder that somebody only looked at."""


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


def name_in_set(stem: str, suffix: str) -> str:
    """The name of a file of the set: `patients.links.xlsx`."""
    return f"{stem}.{suffix}"


def top_level_entries(suffixes: Iterable[str]) -> list[str]:
    """The files and folders that stand beside the roster: `links` for `links/North.xlsx`."""
    return list(dict.fromkeys(PurePosixPath(suffix).parts[0] for suffix in suffixes))


def journal_path_of(folder: Path, stem: str, kind: SummaryKind) -> Path:
    """Where it is noted what is about to be put in place."""
    return folder / f".{name_in_set(stem, kind)}.pending"


@dataclass(frozen=True, slots=True)
class ExistingSet:
    """What stands under a stem already."""

    digests: Mapping[Path, str] = field(default_factory=dict)
    """Files -> SHA-256, when all of them may be replaced; those in folders too."""

    entries: frozenset[Path] = frozenset()
    """The files beside the roster, and the folders."""

    links: Mapping[str, str] = field(default_factory=dict)
    """Name in the folder -> SHA-256 of the files with links among `digests`."""

    left_alone: Mapping[str, str] = field(default_factory=dict)
    """The same of the links workbook and what goes with it, where these are to stay what they are."""

    obstacle: str | None = None
    """Why they may not, in words that follow a file's name; None if they may."""

    @classmethod
    def found(
        cls,
        folder: Path,
        stem: str,
        kind: SummaryKind,
        owner: Owner,
        new: Mapping[str, str],
        *,
        leave_links: bool = False,
    ) -> "ExistingSet":
        """`new`: suffixes of the files that are to come. `leave_links`: the links workbook that is there stays."""
        summary_path = folder / name_in_set(stem, f"{kind}.json")
        summary = read_json_object(summary_path)
        if summary is not None:
            if not _has_valid_seal(summary):
                return cls(obstacle=f"{summary_path.name} was changed since it was written, or is not ours")
            if summary.get("owner") != owner.digest:
                return cls(obstacle=f"{summary_path.name} belongs to another roster or project")
        journal = read_json_object(journal_path_of(folder, stem, kind))
        if journal is not None and journal.get("owner") != owner.digest:
            return cls(obstacle=f"{stem} is what an unfinished run of another roster or project calls its files")
        known = _known_hashes(summary, journal)
        digests: dict[Path, str] = {}
        links: dict[str, str] = {}
        entries = set()
        left = LINKS_ENTRIES if leave_links else frozenset()
        for entry in sorted({*SUFFIXES[kind], *FOLDERS[kind], *top_level_entries(new)} - left):
            path = folder / name_in_set(stem, entry)
            if not os.path.lexists(path):
                continue
            entries.add(path)
            for file in _files_in(path) if entry in FOLDERS[kind] else [path]:
                name = file.relative_to(folder).as_posix()
                if _is_lock_mark(file) or _is_open_elsewhere(file):
                    return cls(obstacle=describe_open_elsewhere(path))
                digest = _compute_digest(file)
                if digest is None or digest not in known:
                    return cls(obstacle=f"{name} was changed since it was written, or is another roster's")
                digests[file] = digest
                if entry in _WITH_LINKS:
                    links[name] = digest
        return cls(digests, frozenset(entries), links, _left_alone(folder, stem, summary) if leave_links else {})


def _left_alone(folder: Path, stem: str, summary: Mapping[str, object] | None) -> dict[str, str]:
    """What the summary knows of the links workbook and what goes with it, as far as that is there."""
    known: dict[str, str] = {}
    for key in ("outputs", KEPT_OUTPUTS):
        listed = (summary or {}).get(key)
        known |= listed if isinstance(listed, dict) else {}
    tops = {name_in_set(stem, entry) for entry in LINKS_ENTRIES}
    return {
        name: digest
        for name, digest in known.items()
        if PurePosixPath(name).parts[0] in tops and os.path.lexists(folder / name)
    }


KEPT_OUTPUTS = "kept_outputs"
"""In a summary: files of earlier runs that stay part of the set, as in `outputs`."""


def finished_summary(folder: Path, stem: str, owner: Owner) -> Mapping[str, object] | None:
    """The latest summary of this owner's runs, if all of them have nothing left to do; None where there is none."""
    found = []
    for used in stems_in(folder, stem, "summary") if folder.is_dir() else ():
        journal = read_json_object(journal_path_of(folder, used, "summary"))
        if journal is not None and journal.get("owner") == owner.digest:
            return None
        path = folder / name_in_set(used, "summary.json")
        summary = read_json_object(path)
        if summary is not None and _has_valid_seal(summary) and summary.get("owner") == owner.digest:
            found.append((path.stat().st_mtime_ns, summary))
    return max(found, key=lambda each: each[0], default=(0, None))[1]


def _files_in(path: Path) -> list[Path]:
    """What has to be known before `path` may be replaced: itself, or all that is in the folder."""
    if path.is_symlink() or not path.is_dir():
        return [path]
    return [
        file
        for file in sorted(path.rglob("*"))
        if not _is_os_metadata(file) and (file.is_symlink() or not file.is_dir())
    ]


def _is_os_metadata(file: Path) -> bool:
    return file.name in _OS_METADATA_FILES or file.name.startswith("._")


def stopped_run_id(summary: Mapping[str, object] | None) -> str | None:
    """ID of the run whose summary it is, where that ended before all was asked."""
    if summary is None or summary.get("exit_code") in (ExitCode.DONE, ExitCode.DONE_WITH_ERRORS):
        return None
    run_id = summary.get("run_id")
    return run_id if isinstance(run_id, str) else None


def run_ids_in(journal: Mapping[str, object]) -> set[str]:
    """The run whose journal it is, and those whose place it took. One that an older version wrote names none."""
    replaces = journal.get("replaces")
    run_ids = [journal.get("run_id"), *(replaces if isinstance(replaces, list) else ())]
    return {run_id for run_id in run_ids if isinstance(run_id, str)}


def stems_in(folder: Path, stem: str, kind: SummaryKind) -> list[str]:
    """`stem`, `stem (2)` and so on, as far as they have a summary or a journal in the folder."""
    pattern = re.compile(rf"\.?({re.escape(stem)}(?: \(\d+\))?)\.{kind}\.(?:json|pending)")
    found = {match[1] for name in os.listdir(folder) if (match := pattern.fullmatch(name))}  # noqa: PTH208 names only
    return sorted(found)


def _known_hashes(summary: Mapping[str, object] | None, journal: Mapping[str, object] | None) -> set[str]:
    known: set[str] = set()
    for key in ("outputs", KEPT_OUTPUTS):
        if summary is not None and isinstance(outputs := summary.get(key), dict):
            known.update(outputs.values())
    if journal is not None:
        hashes = journal.get("hashes")
        known.update(hashes if isinstance(hashes, list) else ())
    return known


def read_json_object(path: Path) -> dict[str, object] | None:
    """None if the file is not there; empty, and so never ours, if it is anything but a JSON object."""
    if not os.path.lexists(path):
        return None
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def to_json(content: Mapping[str, object]) -> str:
    """A summary as it stands in its file."""
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def seal(summary: Mapping[str, object]) -> str:
    """The summary as JSON, with a digest of itself: an edit by hand shows."""
    as_read_back = json.loads(json.dumps(summary))
    return to_json({**as_read_back, "seal": _seal_of(as_read_back)})


def _has_valid_seal(summary: Mapping[str, object]) -> bool:
    return summary.get("seal") == _seal_of({key: value for key, value in summary.items() if key != "seal"})


def _seal_of(summary: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(summary, sort_keys=True).encode()).hexdigest()


def _compute_digest(path: Path) -> str | None:
    """None for what is no plain file or cannot be read: a folder, a symbolic link, another person's file."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _is_lock_mark(path: Path) -> bool:
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


def describe_open_elsewhere(path: Path) -> str:
    """Why a file is not replaced, as half a sentence."""
    return f"{path.name} is open in another program"
