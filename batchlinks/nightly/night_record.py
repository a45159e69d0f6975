"""The night as data: what happened, in values. `night.json`, the last line, the log, the message and the metrics are made of it.

It holds names of files, and sentences that may name headers: it is for this computer and the outbox. What leaves them
(`nightly.message`, `nightly.metrics`) takes only names of tables, codes, run IDs and counts.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from batchlinks.errors import ExitCode
from batchlinks.plural import counted
from batchlinks.row_codes import ToDo

Severity = Literal["success", "warning", "failure"]
"""As apprise calls them."""

GOOD = (ExitCode.DONE, ExitCode.DONE_WITH_ERRORS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRecord:
    """What became of one patient list."""

    table: str
    roster: str
    """Name of the file."""

    exit_code: int
    reason: str | None = None
    """What stopped it, in a sentence or two."""

    limit: str | None = None
    """The key of its table that stopped it: `max_new`."""

    run_id: str | None = None
    project_id: str | None = None
    roster_sha256: str | None = None
    rows: int | None = None
    """Counts are those of its summary; None where it did not get so far."""

    linked: int | None = None
    requested: int | None = None
    reused: int | None = None
    duplicates: int | None = None
    errors: Mapping[str, int] = field(default_factory=dict)
    calls: int = 0
    retries: int = 0
    to_fix: int | None = None
    results: Sequence[str] = ()
    """Names of the files in `results_in`."""

    results_in: str | None = None
    """The folder of its results."""

    put_into: str | None = None
    """Where the list itself lies now."""

    responses: Mapping[str, int] = field(default_factory=dict)
    """A count for each response, where HealthEx was asked who has answered."""

    responses_from: str = ""
    responses_until: str = ""
    """The first and the last day on which HealthEx showed them."""

    status_left_for_later: int = 0
    """Patients about whom it was not asked tonight."""

    status_problem: str | None = None
    """What went wrong with that, in a sentence; the links are what they are."""

    seconds: float = 0.0
    renamed: str | None = None
    """The sentence about results that could not be called after the list."""

    @property
    def is_good(self) -> bool:
        """Whether it went through to its end."""
        return self.exit_code in GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class NightRecord:
    """What a night was."""

    night_id: str
    """As `run_id` in the audit log."""

    night: str
    """Local date of its start."""

    started_at: str
    ended_at: str
    """Both in UTC."""

    ended_timestamp: float
    """The same in seconds since the epoch."""

    seconds: float
    host: str
    version: str
    exit_code: int
    severity: Severity
    lists: Sequence[ListRecord] = ()
    tables: Sequence[str] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    """Table -> what is wrong, for lists that should have come."""

    unmatched: Sequence[str] = ()
    """Lists that no table is for, by name; they stay where they are, as do the next three."""

    ignored: Sequence[str] = ()
    """What is no patient list."""

    arriving: Sequence[str] = ()
    waiting: Sequence[str] = ()
    """Lists that were left for the next night."""

    problems: Sequence[str] = ()
    """What went wrong beside the lists, in sentences."""

    left_to_another: str | None = None
    last_success: Mapping[str, float] = field(default_factory=dict)
    """Table -> when a list of it last ended with exit code 0 or 3, in seconds since the epoch."""

    known_since: Mapping[str, float] = field(default_factory=dict)
    """Table -> when a night first knew it, in seconds since the epoch."""

    def as_json(self) -> dict[str, object]:
        """As `night.json` and the last line of the log hold it."""
        return asdict(self)

    def audit_facts(self) -> dict[str, object]:
        """What the audit log keeps of it for good; each list has lines of its own there."""
        kept = ("table", "roster", "exit_code", "run_id", "reason", "limit")
        reasons = [*self.problems, *([self.left_to_another] if self.left_to_another else [])]
        return {
            "day": self.night,
            "lists": [{name: getattr(each, name) for name in kept} for each in self.lists],
            "missing": dict(self.missing),
            "unmatched": list(self.unmatched),
            "ignored": list(self.ignored),
            "arriving": list(self.arriving),
            "waiting": list(self.waiting),
            "reason": " ".join(dict.fromkeys(reasons)) or None,
            "exit_code": self.exit_code,
        }

    def as_text(self) -> str:
        """The content of `night.json`."""
        return json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n"

    @property
    def is_good(self) -> bool:
        """Whether it ended as a night should, whatever there is to fix in lists."""
        return self.exit_code in GOOD

    @property
    def wants_attention(self) -> bool:
        """Whether somebody has to look, beside the rows to fix."""
        return not self.is_good or bool(self.missing or self.unmatched or self.ignored or self.problems)

    def last_line(self, results: str) -> str:
        """What happened and where the files are, for a person at this computer."""
        if self.left_to_another is not None:
            return self.left_to_another
        said = self._of_the_lists(results)
        for each in self.lists:
            said += f" {each.roster}: {each.renamed}" if each.renamed else ""
        if self.missing:
            said += f" Missing: {'; '.join(f'{table} ({problem})' for table, problem in self.missing.items())}."
        if self.unmatched:
            said += f" No [[roster]] table is for: {some_of(self.unmatched)}."
        if self.ignored:
            said += f" Not patient lists, and left in the inbox: {some_of(self.ignored)}."
        return said

    def _of_the_lists(self, results: str) -> str:
        if not self.lists:
            nothing_wrong = self.is_good and not self.problems
            return "Night done: no new patient list." if nothing_wrong else "Night over: no patient list was taken."
        linked = sum(each.linked or 0 for each in self.lists)
        new = sum(each.requested or 0 for each in self.lists)
        errors: Counter[str] = Counter()
        for each in self.lists:
            errors.update(each.errors)
        done = sum(each.is_good for each in self.lists)
        said = (
            f"Night {'done' if self.is_good else 'over'}: {done} of {counted(len(self.lists), 'patient list')} done, "
            f"{linked:,} links ({new:,} asked for tonight), {ToDo.of(errors).in_words()}."
        )
        return f"{said} Results in {results}." if any(each.rows is not None for each in self.lists) else said


_MOST_NAMED = 20


def some_of(names: Sequence[str]) -> str:
    """The names, or the first of them and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")
