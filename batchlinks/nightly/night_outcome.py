"""How a night went: an outcome for each roster, the exit code of all, and the message about it. No patient data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from batchlinks.errors import ExitCode
from batchlinks.plural import counted
from batchlinks.results.summary import Summary
from batchlinks.row_codes import ToDo

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

_IN_WORDS: Mapping[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.DONE_WITH_ERRORS: "done, with rows to fix",
    ExitCode.UNUSABLE: "cannot be used",
    ExitCode.BROKEN: "failed on this computer, and is taken up again next time",
    ExitCode.REFUSED: "refused by HealthEx, and is taken up again next time",
    ExitCode.UNREACHABLE: "not finished, since HealthEx could not be reached; it is taken up again next time",
    ExitCode.INTERRUPTED: "interrupted, and is taken up again next time",
}


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

    @property
    def in_words(self) -> str:
        """What became of it, with the run's ID and counts where there are any."""
        words = _IN_WORDS[self.exit_code]
        summary = self.summary
        if summary is None:
            return words
        return (
            f"{words}. Run {summary.run_id}: {summary.rows:,} rows, {summary.linked:,} linked, {summary.requested:,} asked "
            f"for, {summary.duplicates:,} duplicates, {ToDo.of(summary.errors).in_words()}"
        )


@dataclass(slots=True)
class Night:
    """All of it."""

    day: str
    """Local date of the start."""

    outcomes: list[RosterOutcome] = field(default_factory=list)
    tables: Sequence[str] = ()
    """Names of all tables."""

    succeeded: Mapping[str, float] = field(default_factory=dict)
    """Table -> when a roster of it last ended with exit code 0 or 3, tonight or on a night that was killed since."""

    missing: Mapping[str, str] = field(default_factory=dict)
    """Table -> what is wrong, for rosters that should have come."""

    unmatched: Sequence[str] = ()
    """Names of files that no table is for, and that stay where they are."""

    arriving: int = 0
    waiting: int = 0
    """Rosters that were left for the next night."""

    problems: list[str] = field(default_factory=list)
    """What went wrong beside the rosters, in sentences."""

    left_to_another: str | None = None
    """The sentence about the nightly that is at work already."""

    stopped_by: ExitCode = ExitCode.DONE
    """What ended the night as a whole before its time."""

    @property
    def exit_code(self) -> ExitCode:
        occurred = {outcome.exit_code for outcome in self.outcomes} | {self.stopped_by}
        if self.missing:
            occurred.add(ExitCode.DONE_WITH_ERRORS)
        return next(code for code in _RANKED if code in occurred)

    def last_line(self, results: str) -> str:
        """What happened and where the files are, for a person."""
        if self.left_to_another is not None:
            return self.left_to_another
        if not self.outcomes:
            begun = self.stopped_by is ExitCode.DONE
            said = "Night done: no new patient list." if begun else "Night over: no patient list was taken."
        else:
            linked = sum(outcome.summary.linked for outcome in self.outcomes if outcome.summary)
            new = sum(outcome.summary.requested for outcome in self.outcomes if outcome.summary)
            errors: Counter[str] = Counter()
            for outcome in self.outcomes:
                errors.update(outcome.summary.errors if outcome.summary else {})
            done = sum(outcome.exit_code in (ExitCode.DONE, ExitCode.DONE_WITH_ERRORS) for outcome in self.outcomes)
            word = "done" if self.exit_code in (ExitCode.DONE, ExitCode.DONE_WITH_ERRORS) else "over"
            said = (
                f"Night {word}: {done} of {counted(len(self.outcomes), 'patient list')} done, {linked:,} links "
                f"({new:,} asked for tonight), {ToDo.of(errors).in_words()}."
            )
            if any(outcome.summary for outcome in self.outcomes):
                said += f" Results in {results}."
        for outcome in self.outcomes:
            said += f" {outcome.name}: {outcome.renamed}" if outcome.renamed else ""
        if self.missing:
            said += f" Missing: {'; '.join(f'{table} ({problem})' for table, problem in self.missing.items())}."
        if self.unmatched:
            said += f" No [[roster]] table is for: {', '.join(self.unmatched)}."
        return said

    def message(self) -> tuple[str, str]:
        """Title and text of the message that may leave this computer: run IDs and counts, no name of a file."""
        lines = [f"{outcome.table}: {outcome.in_words}" for outcome in self.outcomes]
        lines += [f"{table}: {problem}" for table, problem in self.missing.items()]
        lines += self.problems
        if self.unmatched:
            lines.append(f"{counted(len(self.unmatched), 'file')} in the inbox that no [[roster]] table is for")
        if self.arriving:
            lines.append(f"{counted(self.arriving, 'patient list')} still arriving")
        if self.waiting:
            lines.append(f"{counted(self.waiting, 'patient list')} left for the next night")
        code = int(self.exit_code)
        verdict = {0: "all done", 3: "done, with something to look at"}.get(code, "needs attention")
        return f"batchlinks nightly {self.day}: {verdict} (exit code {code})", "\n".join(
            lines or ["No new patient list."]
        )
