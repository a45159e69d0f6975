"""How a night goes: an outcome for each roster, the exit code of all, and at its end the record of it."""

import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from batchlinks.errors import ExitCode
from batchlinks.nightly.night_record import GOOD, ListRecord, NightRecord, Severity
from batchlinks.results.summary import Summary
from batchlinks.row_codes import ToDo
from batchlinks.version import __version__

_RANKED = (
    ExitCode.BROKEN,
    ExitCode.REFUSED,
    ExitCode.UNREACHABLE,
    ExitCode.INTERRUPTED,
    ExitCode.UNUSABLE,
    ExitCode.DONE_WITH_ERRORS,
    ExitCode.DONE,
)
"""The first that occurred is the night's."""


@dataclass(frozen=True, slots=True)
class StatusOutcome:
    """What came of asking who has answered, for one list."""

    responses: Mapping[str, int] = field(default_factory=dict)
    responses_from: str = ""
    responses_until: str = ""
    """The first and the last day on which HealthEx showed them."""

    left_for_later: int = 0
    files: tuple[str, ...] = ()
    problem: str | None = None
    """The sentence of what went wrong; the list's links are what they are."""

    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class RosterOutcome:
    """What became of one roster."""

    name: str
    """Of the file. For this computer's own log; in no message that leaves it."""

    table: str
    exit_code: ExitCode
    summary: Summary | None = None
    """Of a run that went through to its files."""

    problem: str | None = None
    """The sentence of what stopped it."""

    run_id: str | None = None
    seconds: float = 0.0
    renamed: str | None = None
    """The sentence about results that could not be called after the roster."""

    limit: str | None = None
    """The key of its table that stopped it."""

    results_in: str | None = None
    """The folder of its results."""

    put_into: str | None = None
    """Where the roster lies now."""

    status: StatusOutcome | None = None
    """Who has answered, where that was asked."""

    def record(self) -> ListRecord:
        """The same as values."""
        summary = self.summary
        common: dict[str, Any] = {
            "table": self.table,
            "roster": self.name,
            "exit_code": int(self.exit_code),
            "reason": self.problem,
            "limit": self.limit,
            "put_into": self.put_into,
            "seconds": round(self.seconds, 3),
            "renamed": self.renamed,
        }
        files: Sequence[str] = ()
        if self.status is not None:
            files = self.status.files
            common |= {
                "responses": dict(self.status.responses),
                "responses_from": self.status.responses_from,
                "responses_until": self.status.responses_until,
                "status_left_for_later": self.status.left_for_later,
                "status_problem": self.status.problem,
            }
        if summary is None:
            return ListRecord(**common, run_id=self.run_id)
        return ListRecord(
            **common,
            run_id=summary.run_id,
            project_id=summary.project_id,
            roster_sha256=summary.roster_sha256,
            rows=summary.rows,
            linked=summary.linked,
            requested=summary.requested,
            reused=summary.reused,
            duplicates=summary.duplicates,
            errors=dict(summary.errors),
            calls=summary.calls,
            retries=summary.retries,
            to_fix=ToDo.of(summary.errors).fix,
            results=sorted({*files, *(name.partition("/")[0] for name in summary.outputs)}),
            results_in=self.results_in,
        )


@dataclass(slots=True)
class Night:
    """All of it, while it goes on."""

    day: str
    """Local date of the start."""

    outcomes: list[RosterOutcome] = field(default_factory=list)
    tables: Sequence[str] = ()
    """Names of all tables."""

    succeeded: Mapping[str, float] = field(default_factory=dict)
    """Table -> when a roster of it last ended with exit code 0 or 3, tonight or on a night that was killed since."""

    known_since: Mapping[str, float] = field(default_factory=dict)
    """Table -> when a night first knew it."""

    missing: Mapping[str, str] = field(default_factory=dict)
    """Table -> what is wrong, for rosters that should have come."""

    unmatched: Sequence[str] = ()
    """Names of rosters that no table is for, and that stay where they are."""

    ignored: Sequence[str] = ()
    """Names of what is no roster."""

    arriving: Sequence[str] = ()
    waiting: list[str] = field(default_factory=list)
    """Names of rosters that were left for the next night."""

    problems: list[str] = field(default_factory=list)
    """What went wrong beside the rosters, in sentences."""

    left_to_another: str | None = None
    """The sentence about the nightly that is at work already."""

    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    """For the audit log."""

    stopped_by: ExitCode = ExitCode.DONE
    """What ended the night as a whole before its time."""

    @property
    def exit_code(self) -> ExitCode:
        """Of all codes that occurred the first in the ranking."""
        occurred = {outcome.exit_code for outcome in self.outcomes} | {self.stopped_by}
        if self.missing:
            occurred.add(ExitCode.DONE_WITH_ERRORS)
        return next(code for code in _RANKED if code in occurred)

    @property
    def severity(self) -> Severity:
        """How urgent it is that somebody looks."""
        code = self.exit_code
        if code not in GOOD:
            return "failure"
        quiet = code is ExitCode.DONE and not (self.unmatched or self.ignored or self.problems)
        return "success" if quiet else "warning"

    def record(self, ended_at: datetime, seconds: float) -> NightRecord:
        """The night as values, once it is over."""
        lists = [outcome.record() for outcome in self.outcomes]
        last_success = dict(self.succeeded) | {each.table: ended_at.timestamp() for each in lists if each.is_good}
        return NightRecord(
            night_id=self.id,
            night=self.day,
            started_at=_utc(datetime.fromtimestamp(ended_at.timestamp() - seconds, UTC)),
            ended_at=_utc(ended_at.astimezone(UTC)),
            ended_timestamp=ended_at.timestamp(),
            seconds=round(seconds, 3),
            host=socket.gethostname(),
            version=__version__,
            exit_code=int(self.exit_code),
            severity=self.severity,
            lists=lists,
            tables=tuple(self.tables),
            missing=dict(self.missing),
            unmatched=tuple(self.unmatched),
            ignored=tuple(self.ignored),
            arriving=tuple(self.arriving),
            waiting=tuple(self.waiting),
            problems=tuple(self.problems),
            left_to_another=self.left_to_another,
            last_success=last_success,
            known_since=dict(self.known_since),
        )


def _utc(when: datetime) -> str:
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")
