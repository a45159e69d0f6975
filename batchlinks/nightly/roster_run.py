"""One roster of a night: run, and put away, whatever happens in it."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from batchlinks.errors import BatchlinksError, ExitCode, FolderError, SettingsError, defect
from batchlinks.logs import logger
from batchlinks.nightly.archives import is_archive, split_endings, unpack
from batchlinks.nightly.inbox import DONE, FAILED, Claim, numbered
from batchlinks.nightly.limits import LimitExceeded, check_rows, check_work
from batchlinks.nightly.message import in_words
from batchlinks.nightly.night_outcome import Night, RosterOutcome, StatusOutcome
from batchlinks.nightly.night_record import GOOD
from batchlinks.nightly.nightly_context import NightlyContext, check_tables
from batchlinks.nightly.status_asking import ask_status
from batchlinks.nightly.tables import RosterTable
from batchlinks.pipeline.context import RunContext, RunHooks
from batchlinks.pipeline.preview import Preview
from batchlinks.pipeline.report import Report
from batchlinks.pipeline.run import run
from batchlinks.results.publish.existing_set import Owner, finished_summary
from batchlinks.results.publish.result_files import PublishedFiles
from batchlinks.results.summary import Summary
from batchlinks.roster.read import MAX_FILE_BYTES
from batchlinks.roster.source import RosterBytes
from batchlinks.storage.folder import Folder
from batchlinks.table import Table

_RETRIED_NEXT_NIGHT = (ExitCode.BROKEN, ExitCode.REFUSED, ExitCode.UNREACHABLE, ExitCode.INTERRUPTED)
"""After these a roster stays in `working`."""


@dataclass(slots=True)
class _Attempt:
    """What came of one attempt at a roster."""

    claim: Claim
    code: ExitCode = ExitCode.BROKEN
    summary: Summary | None = None
    problem: str | None = None
    run_id: str | None = None
    limit: str | None = None
    renamed: str | None = None
    status: StatusOutcome | None = None
    """Who has answered, where that was asked."""

    changed: bool = False
    """Somebody went on writing to the roster meanwhile."""


def process_roster(night: Night, context: NightlyContext, claim: Claim, table: RosterTable) -> RosterOutcome:
    """Run a roster and put it away, whatever happens in it.

    Raises SettingsError where a setting or the ledger has become unusable, and leaves the roster in `working` then.
    """
    started = time.monotonic()
    attempt = _Attempt(claim)
    _try_roster(attempt, night, context, table)
    put_into: str | None = f"{context.inbox.working.address}/{claim.name}"
    try:
        # Before it is put away: the night after one that is killed then knows of it too.
        context.history.take_in(table.name, context.now(), attempt.claim, attempt.summary, attempt.code)
        context.remember()
        if attempt.changed:
            context.inbox.note(attempt.claim.as_new())  # as another roster: the results of this one stay
        else:
            put_into = _put_away(context, attempt) or put_into
    except FolderError as error:  # its results are in place: the next night finds them and only puts it away
        attempt.code, attempt.problem = ExitCode.BROKEN, attempt.problem or str(error)
    return RosterOutcome(
        claim.original,
        table.name,
        attempt.code,
        attempt.summary,
        attempt.problem,
        attempt.summary.run_id if attempt.summary is not None else attempt.run_id,
        time.monotonic() - started,
        attempt.renamed,
        attempt.limit,
        f"{context.outbox.address}/{attempt.claim.day}" if attempt.summary is not None else None,
        put_into,
        attempt.status,
    )


def _try_roster(attempt: _Attempt, night: Night, context: NightlyContext, table: RosterTable) -> None:
    """Run it, unless an attempt that was killed had come to its end. What stops it stands in `attempt` then."""
    try:
        killed = attempt.claim.under_way
        summary = _read_finished_summary(context, attempt.claim, table) if killed else None
        if summary is not None and context.inbox.has_changed(attempt.claim):
            attempt.claim, summary, killed = attempt.claim.as_new(), None, False  # the results that are there stay
        if summary is None or summary.exit_code in _RETRIED_NEXT_NIGHT:
            attempt.claim = _begin(night, context, attempt.claim)
            report = _run_roster(context, attempt.claim, table)
            summary, attempt.problem = report.summary, str(report.stopped_by) if report.stopped_by else None
            attempt.renamed = _describe_rename(report.published)
        attempt.summary, attempt.code = summary, summary.exit_code
        if context.inbox.has_changed(attempt.claim):
            attempt.changed, attempt.code = True, ExitCode.DONE_WITH_ERRORS
            attempt.problem = "It was still arriving while it was worked on, and is taken up again next time."
        elif table.asks_status and attempt.code in GOOD:
            _ask_who_answered(attempt, night, context, table)
    except FolderError as error:  # not the roster's fault
        attempt.code, attempt.problem, attempt.run_id = ExitCode.BROKEN, str(error), error.run_id
    except BatchlinksError as error:
        attempt.code, attempt.problem, attempt.run_id = error.exit_code, str(error), error.run_id
        attempt.limit = error.limit if isinstance(error, LimitExceeded) else None
        if attempt.code is ExitCode.UNUSABLE:
            _recheck_configuration(context, attempt.claim)
            if _is_of_this_computer(error):
                attempt.code = ExitCode.BROKEN
    except KeyboardInterrupt:
        attempt.code, attempt.problem = ExitCode.INTERRUPTED, "Interrupted. No link was asked for."
        night.stopped_by = attempt.code
    except Exception as error:
        attempt.code, attempt.problem = ExitCode.BROKEN, defect(error)


def _ask_who_answered(attempt: _Attempt, night: Night, context: NightlyContext, table: RosterTable) -> None:
    """Whatever comes of it, the roster is done, and its links are in the outbox."""
    claim = attempt.claim
    asked = ask_status(
        context,
        table,
        lambda: _source_of(context, claim),
        _run_context_of(context, claim, table),
        _results_folder(context, claim),
        _deliverer(context, claim, table),
    )
    attempt.status = asked
    if asked.problem is not None:
        attempt.code = ExitCode.DONE_WITH_ERRORS
    if asked.interrupted:
        night.stopped_by = ExitCode.INTERRUPTED


def _is_of_this_computer(error: BatchlinksError) -> bool:
    """Whether something failed under a setting (a full disk, a file or folder that cannot be used), and not the roster.

    Such an error was raised from the system's own; what is wrong with a roster and its table is not.
    """
    return isinstance(error, SettingsError) and error.__cause__ is not None


def _recheck_configuration(context: NightlyContext, claim: Claim) -> None:
    """Raises SettingsError where it is the ledger or a setting that cannot be used any more, and not the roster."""
    try:
        check_tables(context)
    except SettingsError:
        context.inbox.note(replace(claim, under_way=False))
        raise


def _describe_rename(published: PublishedFiles) -> str | None:
    """What the results are called, where they could not be called after the roster, and why."""
    if published.obstacle is None:
        return None
    name = published.paths.get("links", published.paths["errors"]).name
    return f"The results are {name} and so on, since {published.obstacle}."


def _begin(night: Night, context: NightlyContext, claim: Claim) -> Claim:
    """Note that an attempt begins. All attempts at a roster have one date and one name, so that their files are replaced."""
    claim = context.inbox.seen_now(claim)
    if not claim.day or _is_about_to_be_cleared(claim.day, night.day, context.settings.keep_days):
        claim = replace(claim, day=night.day, results=_find_free_name(context, claim, night.day))
    claim = replace(claim, under_way=True)
    context.inbox.note(claim)
    return claim


def _is_about_to_be_cleared(day: str, today: str, keep_days: int) -> bool:
    """Whether results in that day's folder would soon be deleted, since their roster has waited for so long."""
    return date.fromisoformat(today) - date.fromisoformat(day) > timedelta(days=keep_days / 2)


def _find_free_name(context: NightlyContext, claim: Claim, day: str) -> str:
    """What the results are named after. (In a folder of this computer the release sees to that nothing is replaced.)"""
    if context.outbox.local is not None:
        return claim.name
    folder = context.outbox.folder(day)
    there = [*(entry.name for entry in folder.entries()), *folder.folders()]
    return next(
        name
        for name in numbered(claim.name)
        if not any(other.startswith(f"{split_endings(name)[0]}.") for other in there)
    )


def _run_roster(context: NightlyContext, claim: Claim, table: RosterTable) -> Report:
    hooks = replace(_hooks_with_limits(context, claim, table), on_published=_deliverer(context, claim, table))
    settings = replace(table.settings, output_dir=_results_folder(context, claim))
    return run(_source_of(context, claim), settings, _run_context_of(context, claim, table), hooks)


def _run_context_of(context: NightlyContext, claim: Claim, table: RosterTable) -> RunContext:
    outbox = context.outbox
    elsewhere = None if outbox.local is not None else outbox.folder(claim.day).address
    owner = _owner_of(context, claim, table).roster
    return replace(context.run_context, owner=owner, table=table.name, delivered_to=elsewhere)


def _deliverer(context: NightlyContext, claim: Claim, table: RosterTable) -> Callable[[PublishedFiles], None]:
    """Takes results to the outbox, where that is not on this computer."""

    def deliver(published: PublishedFiles) -> None:
        if context.outbox.local is None:
            mode = 0o640 if table.settings.share_with_group else 0o600
            for path in published.paths.values():
                _upload(path, context.outbox.folder(claim.day), mode)

    return deliver


def _source_of(context: NightlyContext, claim: Claim) -> Path | RosterBytes:
    working = context.inbox.working
    if is_archive(claim.name):
        return unpack(claim.results, _read_claimed(context, claim))
    if working.local is not None and claim.results == claim.name:
        return working.local / claim.name
    return RosterBytes(claim.results, _read_claimed(context, claim))


def _read_claimed(context: NightlyContext, claim: Claim) -> bytes:
    """A roster's bytes; of one that is larger than any may be, only so many that this is noticed."""
    return context.inbox.working.read(claim.name, at_most=MAX_FILE_BYTES + 1)


def _results_folder(context: NightlyContext, claim: Claim) -> Path:
    """The folder that the run writes into."""
    return context.staging / claim.id if context.outbox.local is None else context.outbox.local / claim.day


def _owner_of(context: NightlyContext, claim: Claim, table: RosterTable) -> Owner:
    """So that a second roster of the same name does not pass for the first."""
    return Owner(f"nightly {claim.id}", context.project_of(table))


def _read_finished_summary(context: NightlyContext, claim: Claim, table: RosterTable) -> Summary | None:
    """How the attempt ended that a night began and did not put away; None where it did not come to its end."""
    stem = split_endings(claim.results)[0]
    content = finished_summary(_results_folder(context, claim), stem, _owner_of(context, claim, table))
    return None if content is None else Summary.from_json(content)


def _hooks_with_limits(context: NightlyContext, claim: Claim, table: RosterTable) -> RunHooks:
    """They stop a run that is beyond a limit of its table, unless somebody has let the roster through."""
    if claim.accepted:
        return context.hooks
    before = context.history.rows_before(table.name, claim.original)

    def check_preview(preview: Preview) -> bool:
        logger().info(preview.in_words, table=table.name)
        check_work(
            table,
            rows=preview.rows,
            to_fix=preview.to_do.fix,
            to_send=preview.to_send,
            is_first=table.name not in context.history.succeeded,
            name=claim.original,
        )
        return True

    def check_table(read: Table) -> None:
        check_rows(read, table, before)

    return replace(context.hooks, confirm=check_preview, on_table=check_table)


def _upload(path: Path, to: Folder, mode: int) -> None:
    """A file, or a folder with what is in it and nothing else."""
    if not path.is_dir():
        to.upload(path, path.name, mode=mode)
        return
    folder = to.folder(path.name)
    files = sorted(path.iterdir())
    for file in files:
        _upload(file, folder, mode)
    for stale in {entry.name for entry in folder.entries()} - {file.name for file in files}:
        folder.remove(stale)


def _put_away(context: NightlyContext, attempt: _Attempt) -> str | None:
    """Where the roster lies then; None where it stays in `working`."""
    claim = attempt.claim
    if attempt.code in _RETRIED_NEXT_NIGHT:
        context.inbox.note(replace(claim, under_way=False))
        return None
    failed = attempt.code is ExitCode.UNUSABLE
    reason = _reason_text(attempt) if failed else None
    put_into = context.inbox.put_away(claim, FAILED if failed else DONE, reason)
    shutil.rmtree(context.staging / claim.id, ignore_errors=True)
    return put_into


def _reason_text(attempt: _Attempt) -> str:
    """What stands beside a roster that failed."""
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return (
        f"{attempt.problem}\n\nRun {attempt.run_id or 'none'}, {now}, exit code {int(attempt.code)}.\n"
        "Fix the list and put it into the inbox again. If it is right as it is, let it through once with "
        f"`batchlinks nightly --accept '{attempt.claim.original}'`.\n"
    )


def log_outcome(outcome: RosterOutcome) -> None:
    """Say what became of a roster."""
    say = logger().info if outcome.problem is None else logger().error
    say(
        f"{outcome.name}: {outcome.problem or in_words(outcome.record())}{f'. {outcome.renamed}' if outcome.renamed else ''}",
        table=outcome.table,
        roster=outcome.name,
        run_id=outcome.run_id,
        exit_code=int(outcome.exit_code),
        seconds=round(outcome.seconds, 3),
    )
