"""`audit.jsonl`: what was done, by whom, when, and with what outcome: runs, nights, the upload page, the ledger.

A run has a line before the first ID leaves (`event` begun) and one at its end (ended), so that one that was killed shows as
begun. Lines of versions before 0.3 have no `event` where they mean ended. `pipeline.history` reads them.

Counts, names of files and hashes; no external ID and nothing else of a patient. Where a line is about single patients, it has a
keyed hash of each (`patient_hashes`), which tells nothing without the ledger's key.
"""

import getpass
import hashlib
import json
import os
import socket
import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from batchlinks import logs
from batchlinks.config.paths import data_folder
from batchlinks.errors import BatchlinksError, defect, exit_code_of
from batchlinks.ledger.key import LedgerKey
from batchlinks.patients.id_spelling import likenesses
from batchlinks.pipeline.context import RunContext
from batchlinks.results.status_summary import StatusSummary
from batchlinks.results.summary import Summary
from batchlinks.version import __version__

NAME = "audit.jsonl"
_MOST_PATIENTS = 5_000
"""Of whom a line has hashes."""


@contextmanager
def audited(roster: str, context: RunContext, *, check: bool) -> Iterator[Summary]:
    """The summary of a run or check that begins. However it ends, the log and the audit log have a line on it."""
    summary = Summary(run_id=_new_run_id(), version=__version__, started_at=datetime.now(UTC), check=check)
    with _recorded(summary, roster, context):
        yield summary


@contextmanager
def audited_status(roster: str, context: RunContext) -> Iterator[StatusSummary]:
    """The same of a status."""
    summary = StatusSummary(run_id=_new_run_id(), version=__version__, started_at=datetime.now(UTC), check=False)
    with _recorded(summary, roster, context):
        yield summary


def _new_run_id() -> str:
    return uuid.uuid4().hex[:12]


@contextmanager
def _recorded(summary: Summary, roster: str, context: RunContext) -> Iterator[None]:
    summary.roster = roster
    began = time.monotonic()
    with logs.bound(run_id=summary.run_id):
        try:
            yield
        except BaseException as error:
            if isinstance(error, BatchlinksError):
                error.run_id = summary.run_id
            summary.exit_code, summary.reason = exit_code_of(error), _reason_of(error)
            summary.finished_at = datetime.now(UTC)
            with suppress(BatchlinksError):  # what is raised matters more
                append(summary, context)
            raise
        finally:
            seconds = round(time.monotonic() - began, 3)
            logs.record(f"{summary.command.capitalize()} ended.", seconds=seconds, **summary.as_json())


def begin(summary: Summary, context: RunContext, *, to_send: int = 0) -> None:
    """Add the line of a run, check or status that goes on from here: before the first ID leaves.

    Raises BatchlinksError where the data folder cannot be written: then nothing may be sent.
    """
    folder = data_folder(context.environment)
    begun = ("run_id", "roster", "roster_sha256", "project_id", "id_column", "started_at", "api", "ledger_id")
    known = summary.as_json()
    line = {"table": context.table, "rows_read": summary.rows_read, "to_send": to_send}
    try:
        _add(folder, context.user, summary.command, "begun", {**{name: known.get(name) for name in begun}, **line})
    except OSError as error:
        raise BatchlinksError(
            f"The audit log in {folder} cannot be written ({error.strerror}), so nothing was sent."
        ) from error


def append(summary: Summary, context: RunContext) -> None:
    """Add the line of a run or check, once. Raises BatchlinksError when the data folder cannot be written."""
    if summary.audited:
        return
    folder = data_folder(context.environment)
    line = {
        "table": context.table,
        "rows_read": summary.rows_read,
        "reason": summary.reason,
        **summary.as_json(),
        "folder": context.delivered_to or summary.folder,
        "outputs": _pictures_as_one(summary.outputs),
    }
    try:
        _add(folder, context.user, summary.command, "ended", line)
        summary.audited = True
    except OSError as error:
        raise BatchlinksError(
            f"The results are in place, but the audit log in {folder} cannot be written ({error.strerror})."
        ) from error


def _reason_of(error: BaseException) -> str:
    """In a sentence that may be kept: no value that the program held."""
    if isinstance(error, BatchlinksError):
        return str(error)
    return defect(error) if isinstance(error, Exception) else "Interrupted."


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
    folder: Path,
    event: str,
    *,
    command: str = "serve",
    user: str | None = None,
    **facts: object,
) -> None:
    """Add a line on something that somebody did beside a run; `facts` are JSON values.

    Raises BatchlinksError, so that it can be left undone.
    """
    try:
        _add(folder, user, command, event, facts)
    except OSError as error:
        raise BatchlinksError(f"The audit log in {folder} cannot be written ({error.strerror}).") from error


def patient_hashes(external_ids: Collection[str], ledger: Path) -> list[str]:
    """What tells these patients again, however their IDs are spelled, by the key of the ledger at this path.

    Of thousands only the first. Raises SettingsError where there is no key and none can be made.
    """
    key = LedgerKey.load(ledger)
    return [
        key.digest(text, "audit") for each in islice(external_ids, _MOST_PATIENTS) for text in sorted(likenesses(each))
    ]


def _add(folder: Path, user: str | None, command: str, event: str, facts: Mapping[str, object]) -> None:
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "user": user or user_name(),
        "host": socket.gethostname(),
        "version": __version__,
        "command": command,
        "event": event,
        **facts,
    }
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # One write to a file opened for appending: lines of two runs at once do not mix.
    descriptor = os.open(folder / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab", buffering=0) as file:
        file.write(text.encode("utf-8", "backslashreplace"))  # a file's name need not be UTF-8


def user_name() -> str:
    """Of this process's own user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a user without an entry, as in a container
