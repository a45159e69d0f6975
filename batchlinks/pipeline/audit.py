"""`audit.jsonl`: a line for every run, every use of the upload page and of the ledger: who did what, when, and with what outcome.

Counts, names of files and hashes; no external ID and nothing else of a patient.
"""

import getpass
import hashlib
import json
import os
import socket
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from batchlinks.errors import BatchlinksError
from batchlinks.results.summary import Summary
from batchlinks.version import __version__

NAME = "audit.jsonl"


def append(folder: Path, summary: Summary, *, user: str | None = None) -> None:
    """Add the line of a run or check, once. Raises BatchlinksError when the data folder cannot be written."""
    if summary.audited:
        return
    line = {
        "command": "check" if summary.check else "run",
        **summary.as_json(),
        "outputs": _pictures_as_one(summary.outputs),
    }
    try:
        _add(folder, user, line)
        summary.audited = True
    except OSError as error:
        raise BatchlinksError(
            f"The results are in place, but the audit log in {folder} cannot be written ({error.strerror})."
        ) from error


def _pictures_as_one(outputs: Mapping[str, str]) -> dict[str, str]:
    """The outputs with each folder of pictures, which may be ten thousand, as one: `NAME.qr` and the SHA-256 of its list."""
    folders: defaultdict[str, list[str]] = defaultdict(list)
    kept = {}
    for name, digest in outputs.items():
        if name.endswith(".png"):
            folders[name.partition("/")[0]].append(f"{digest}  {name}\n")  # as sha256sum lists files
        else:
            kept[name] = digest
    return kept | {name: hashlib.sha256("".join(sorted(lines)).encode()).hexdigest() for name, lines in folders.items()}


def note(
    folder: Path, event: str, *, command: str = "serve", user: str | None = None, **facts: str | int | None
) -> None:
    """Add a line on something that somebody did beside a run. Raises BatchlinksError, so that it can be left undone."""
    try:
        _add(folder, user, {"command": command, "event": event, **facts})
    except OSError as error:
        raise BatchlinksError(f"The audit log in {folder} cannot be written ({error.strerror}).") from error


def _add(folder: Path, user: str | None, what: Mapping[str, object]) -> None:
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "user": user or _user(),
        "host": socket.gethostname(),
        "version": __version__,
        **what,
    }
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # One write to a file opened for appending: lines of two runs at once do not mix.
    descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab", buffering=0) as file:
        file.write(text.encode("utf-8", "backslashreplace"))  # a file's name need not be UTF-8


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a user without an entry, as in a container
