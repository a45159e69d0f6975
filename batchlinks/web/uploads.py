"""Where uploaded lists and their results rest: a folder for each run, readable by its owner only.

    uploads/ID/run.json          what the server knows of it; written by the server alone
               roster            the list as it was uploaded
               stop              tells the process at work on it to end
               working.lock      held by that process
               work/N/…          what that process says of the Nth attempt: progress.json, then outcome.json
               asking.json       that HealthEx is to be asked who has answered; asking.lock is held by who does
               answered.json     what that came to
               results/          what the run wrote

Whoever is killed in mid-work leaves a state that the next one understands: each file is written whole or not at all.
"""

import json
import re
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self

from filelock import Timeout

from batchlinks.errors import BatchlinksError
from batchlinks.outreach.languages import Language, path_in
from batchlinks.storage.local import LocalFolder
from batchlinks.storage.locks import acquire, release
from batchlinks.storage.private_files import private
from batchlinks.web.check_result import CheckResult

_ID = re.compile(r"[0-9a-f]{32}")
_LONGEST_NAME = 150
_CHUNK = 1 << 20
_ABANDONED_S = 3_600.0
"""No list takes longer to arrive and to be checked."""

_SIGNS_FOR_NO_NAME = re.compile(
    r'[\x00-\x1f\x7f-\x9f<>:"|?*\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]'
)


@dataclass(frozen=True, slots=True)
class Upload:
    """One list that somebody uploaded, and what is to become of it."""

    id: str
    name: str
    """Of the file; never a path."""

    owner: str | None
    """Who uploaded it, where people sign in; None where the access token lets everybody in alike."""

    size: int
    uploaded_at: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What was set for this run, by the names of `RunSettings`."""

    checked: CheckResult | None = field(default=None, repr=False)
    """What the last check found; None until the first is done."""

    corrections: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    """Cells that somebody corrected, as `CellCorrection.as_json` has them."""

    confirmed: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Rows whose patients somebody has said to be those whose IDs they have: see `RunContext.confirmed`."""

    recalled: Sequence[str] = ()
    """Names of the settings that are as they were last time with these columns."""

    attempt: int = 0
    """How often it was started."""

    started_at: str | None = None
    """Of the last attempt; None when its settings were changed since, or it never was."""

    def as_json(self) -> dict[str, Any]:
        """For `run.json` and for the job; `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """What `as_json` wrote; keys of a later version are passed over."""
        known = {entry.name for entry in fields(cls)}
        values = {name: value for name, value in told.items() if name in known}
        if values.get("checked") is not None:
            values["checked"] = CheckResult.from_json(values["checked"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """That HealthEx is to be asked who of a list has answered: `asking.json`."""

    asked_at: str
    """When somebody wanted it; tells one request from the next."""

    reminder: bool = False
    after_days: int = 14


class Uploads:
    """All of them. Methods raise BatchlinksError when the folder cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Make the folder."""
        LocalFolder(self.folder).write("README.txt", _NOTE.encode())

    def remove_abandoned(self) -> None:
        """Delete what a server that was killed had not finished taking in."""
        limit = time.time() - _ABANDONED_S
        for name in LocalFolder(self.folder).folders():
            if not (self.folder / name / "run.json").exists() and _modified(self.folder / name) < limit:
                self.remove(name)

    def receive(self, name: str, content: IO[bytes], owner: str | None) -> Upload:
        """Keep an uploaded file. It is not among `all` until it was checked and saved."""
        upload = Upload(secrets.token_hex(16), plain_name(name), owner, 0, now())
        folder = self.of(upload)
        try:
            folder.mkdir(mode=0o700)
            with open(folder / "roster", "xb", opener=private) as file:
                shutil.copyfileobj(content, file, _CHUNK)
                return replace(upload, size=file.tell())
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise BatchlinksError(f"We can't save the list on the server ({error.strerror}). Contact IT.") from error

    def save(self, upload: Upload) -> Upload:
        """Note what is now known of it."""
        LocalFolder(self.of(upload)).write("run.json", json.dumps(upload.as_json()).encode())
        return upload

    def find(self, id: str) -> Upload | None:  # noqa: A002 what everybody calls it
        """The one of this ID, if it is there."""
        if _ID.fullmatch(id) is None:
            return None
        found = _read(self.folder / id / "run.json")
        return None if found is None else Upload.from_json(found)

    def all(self) -> list[Upload]:
        """The latest first. One that a broken disk made unreadable does not hide the others."""
        found = []
        for name in LocalFolder(self.folder).folders():
            with suppress(BatchlinksError):
                found.append(self.find(name))
        return sorted((upload for upload in found if upload), key=lambda upload: upload.uploaded_at, reverse=True)

    def remove(self, id: str) -> None:  # noqa: A002 as above
        """Delete upload and results."""
        if _ID.fullmatch(id):
            LocalFolder(self.folder / id).remove_folder()

    def expired(self, keep_s: float) -> list[Upload]:
        """Those to which nothing has happened for so long."""
        limit = time.time() - keep_s
        return [upload for upload in self.all() if self.last_change(upload) < limit]

    def last_change(self, upload: Upload) -> float:
        """Seconds since the epoch, when somebody changed or started it last, or its run ended."""
        folder = self.of(upload)
        paths = (
            folder / "run.json",
            self.work(upload) / "outcome.json",
            folder / "asking.json",
            folder / "answered.json",
        )
        return max((_modified(path) for path in paths), default=0.0)

    def of(self, upload: Upload) -> Path:
        """Its folder."""
        return self.folder / upload.id

    def work(self, upload: Upload) -> Path:
        """Where the process at work on the last attempt says how far it is."""
        return self.of(upload) / "work" / str(upload.attempt)

    def results(self, upload: Upload) -> Path:
        """Where the run writes its files."""
        return self.of(upload) / "results"

    def progress(self, upload: Upload) -> dict[str, Any]:
        """How far the last attempt is, as `job.FileProgress` tells it; empty before it says anything."""
        return (_read(self.work(upload) / "progress.json") if upload.started_at else None) or {}

    def outcome(self, upload: Upload) -> dict[str, Any] | None:
        """How the last attempt ended (`job.JobOutcome`); None while it has not, or was not started."""
        return _read(self.work(upload) / "outcome.json") if upload.started_at else None

    def last_outcome(self, upload: Upload) -> dict[str, Any] | None:
        """How the last attempt ended, also where the list was checked again since: its files are there still."""
        return _read(self.work(upload) / "outcome.json")

    def ask(self, upload: Upload, wanted: StatusRequest) -> None:
        """Note that HealthEx is to be asked who has answered. What it came to last time stays until then."""
        LocalFolder(self.of(upload)).write("asking.json", json.dumps(asdict(wanted)).encode())

    def status_request(self, upload: Upload) -> StatusRequest | None:
        """What was wanted last; None where nobody ever asked."""
        found = _read(self.of(upload) / "asking.json")
        return None if found is None else StatusRequest(**found)

    def end_asking(self, upload: Upload, outcome: Mapping[str, Any]) -> None:
        """Say what it came to."""
        LocalFolder(self.of(upload)).write("answered.json", json.dumps(outcome).encode())

    def answered(self, upload: Upload) -> dict[str, Any] | None:
        """What asking came to last (`job.AnswersOutcome`); None where it never did."""
        return _read(self.of(upload) / "answered.json")

    def is_asking(self, upload: Upload) -> bool:
        """Whether HealthEx is to be asked, and that has come to nothing yet."""
        wanted = self.status_request(upload)
        return wanted is not None and wanted.asked_at != (self.answered(upload) or {}).get("of")

    def asking_lock(self, upload: Upload) -> Path:
        """Held by the process that asks."""
        return self.of(upload) / "asking.lock"

    def copy(self, upload: Upload) -> Upload:
        """The same list once more, with its settings and corrections, and without results. It is not saved yet."""
        again = replace(upload, id=secrets.token_hex(16), uploaded_at=now(), attempt=0, started_at=None)
        try:
            self.of(again).mkdir(mode=0o700)
            with (
                (self.of(upload) / "roster").open("rb") as source,
                open(self.of(again) / "roster", "xb", opener=private) as to,
            ):
                shutil.copyfileobj(source, to, _CHUNK)
            self.keep_templates(again, self.templates(upload))
        except OSError as error:
            shutil.rmtree(self.of(again), ignore_errors=True)
            raise BatchlinksError(f"We can't save the list on the server ({error.strerror}). Contact IT.") from error
        return again

    def template(self, upload: Upload, language: Language = Language.ENGLISH) -> Path:
        """Where the template of its letters lies, if one was uploaded."""
        return path_in(language, self.of(upload) / "letter.docx")

    def keep_templates(self, upload: Upload, templates: Mapping[Language, bytes]) -> None:
        """The templates of its letters, in place of those that there were."""
        for language in Language:
            if language in templates:
                LocalFolder(self.of(upload)).write(self.template(upload, language).name, templates[language])
            else:
                self.template(upload, language).unlink(missing_ok=True)

    def templates(self, upload: Upload) -> dict[Language, bytes]:
        """Those that are kept."""
        paths = {language: self.template(upload, language) for language in Language}
        return {language: path.read_bytes() for language, path in paths.items() if path.is_file()}

    def report_path(self, upload: Upload, name: str) -> Path:
        """Where a fixed report lies while its corrections are read from it."""
        return self.of(upload) / f"report{Path(plain_name(name)).suffix.lower()}"

    def end(self, upload: Upload, outcome: Mapping[str, Any]) -> None:
        """Say how the last attempt ended, for whoever was at work on it."""
        LocalFolder(self.work(upload)).write("outcome.json", json.dumps(outcome).encode())

    def tell_to_stop(self, upload: Upload) -> None:
        """Let the process at work on it end in good order."""
        LocalFolder(self.of(upload)).write("stop", b"")

    def worker_lock(self, upload: Upload) -> Path:
        """Held by the process at work on it."""
        return self.of(upload) / "working.lock"

    def wait_until_idle(self, upload: Upload, patience_s: float) -> None:
        """Until no process is at work on it, or for so long."""
        with suppress(Timeout, OSError):
            release(self.worker_lock(upload), acquire(self.worker_lock(upload), timeout_s=patience_s, mode=0o600))

    def start(self, upload: Upload) -> Upload:
        """Begin the next attempt. What the last one said is forgotten; its results stay until new ones replace them."""
        shutil.rmtree(self.of(upload) / "work", ignore_errors=True)
        with suppress(FileNotFoundError):
            (self.of(upload) / "stop").unlink()
        return self.save(replace(upload, attempt=upload.attempt + 1, started_at=now()))


def now() -> str:
    """This moment in UTC, to the microsecond, so that it sorts."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def plain_name(name: str) -> str:
    """The name of a file that somebody uploaded, as one that leads nowhere and that every system takes."""
    last = re.split(r"[/\\]", name)[-1]
    plain = _SIGNS_FOR_NO_NAME.sub("", last).strip(" .") or "patients"
    stem, dot, ending = plain.rpartition(".")
    if not stem:
        stem, dot, ending = plain, "", ""
    while len(f"{stem}{dot}{ending}".encode()) > _LONGEST_NAME and stem:
        stem = stem[:-1]
    return f"{stem}{dot}{ending}"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BatchlinksError(f"We can't read what was saved of a list in {path.parent.parent}. Contact IT.") from error
    return content


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


_NOTE = (
    "Patient lists that were uploaded to batchlinks, and their results: one folder for each run.\n"
    "They are deleted by themselves after the days that `batchlinks serve --keep-days` says.\n"
)
