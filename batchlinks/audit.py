"""`audit.jsonl`: a line for every run, to answer later who ran what, when, and with what outcome.

Counts, names of files and hashes; no external ID and nothing else of a patient.
"""

import getpass
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from batchlinks.errors import BatchlinksError
from batchlinks.results.summary import Summary

NAME = "audit.jsonl"


def append(folder: Path, summary: Summary) -> None:
    """Add a line. Raises BatchlinksError when the data folder cannot be written."""
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "user": _user(),
        "host": socket.gethostname(),
        "command": "check" if summary.check else "run",
        **summary.as_json(),
        "outputs": summary.outputs,
    }
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One write to a file opened for appending: lines of two runs at once do not mix.
        descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "ab", buffering=0) as file:
            file.write(text.encode())
    except OSError as error:
        raise BatchlinksError(
            f"The results are in place, but the audit log in {folder} cannot be written ({error.strerror})."
        ) from error


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a user without an entry, as in a container
