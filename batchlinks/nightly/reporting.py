"""Who hears of a night: `night.json` in the outbox, the metrics, the message, the audit log. All say what its record says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from batchlinks.config.paths import data_folder
from batchlinks.errors import BatchlinksError
from batchlinks.nightly import message
from batchlinks.nightly.night_outcome import Night
from batchlinks.nightly.night_record import NightRecord
from batchlinks.pipeline import audit
from batchlinks.pipeline.context import RunContext
from batchlinks.storage.opening import open_folder

NAME = "night.json"


@dataclass(frozen=True, slots=True)
class Recipients:
    """Where a night is told; None and nothing where there is no such place, or it is not known."""

    outbox: str | None = None
    share_with_group: bool = False
    metrics: Path | None = None
    addresses: Callable[[], Sequence[str]] = field(default=tuple, repr=False)
    """Gives the addresses of the message, which may hold passwords. May raise SettingsError."""


def send_report(night: Night, to: Recipients, ended_at: datetime, seconds: float) -> NightRecord:
    """Tell all of them, once the night is over.

    That one of them cannot be told is a problem, which the others hear of, and changes nothing of how the night ended.
    """
    known = len(night.problems)
    record = night.record(ended_at, seconds)
    _note_problem(night, "The file night.json was not written.", lambda: _write(record, to))
    _note_problem(night, "The metrics were not written.", lambda: _write_metrics(record, to))
    _note_problem(night, "", lambda: _send(night, night.record(ended_at, seconds), to))
    if len(night.problems) > known:
        record = night.record(ended_at, seconds)
        _note_problem(Night(night.day), "", lambda: _write(record, to))
    return record


def note_night(night: Night, event: str, run_context: RunContext, **facts: Any) -> None:
    """A line in the audit log. That it cannot be written is a problem, and changes nothing of how the night ends."""
    _note_problem(
        night,
        "",
        lambda: audit.note(
            data_folder(run_context.environment),
            event,
            command="nightly",
            user=run_context.user,
            run_id=night.id,
            **facts,
        ),
    )


def _note_problem(night: Night, what: str, tell: Callable[[], object]) -> None:
    try:
        tell()
    except BatchlinksError as error:
        if str(error) not in night.problems:
            night.problems.append(f"{what} {error}".strip())


def _write(record: NightRecord, to: Recipients) -> None:
    """Into an outbox that is there: a night that could not begin makes none."""
    if to.outbox is None:
        return
    folder = open_folder(to.outbox)
    if folder.local is None or folder.exists():
        folder.write(
            NAME, record.as_text().encode("utf-8", "backslashreplace"), mode=0o640 if to.share_with_group else 0o600
        )


def _write_metrics(record: NightRecord, to: Recipients) -> None:
    if to.metrics is not None:
        from batchlinks.nightly import metrics  # its library is for those who have metrics

        metrics.write(to.metrics, record)


def _send(night: Night, record: NightRecord, to: Recipients) -> None:
    if addresses := to.addresses():
        night.problems += message.send(addresses, *message.compose(record), severity=record.severity)
