"""One roster of a night: run, and put away, whatever happens in it."""

import shutil
import time
from dataclasses import replace
from pathlib import Path, PurePath

from batchlinks.errors import BatchlinksError, ExitCode, FolderError, RosterError, SettingsError, defect
from batchlinks.logs import logger
from batchlinks.nightly.inbox import DONE, FAILED, Claim, numbered
from batchlinks.nightly.night_outcome import Night, RosterOutcome
from batchlinks.nightly.nightly_context import NightlyContext, check_tables
from batchlinks.nightly.tables import RosterTable
from batchlinks.pipeline.context import Preview
from batchlinks.pipeline.report import Report
from batchlinks.pipeline.run import run
from batchlinks.results.publish.existing_set import Owner, finished_summary
from batchlinks.results.publish.result_files import PublishedFiles
from batchlinks.results.summary import Summary
from batchlinks.roster.source import RosterBytes
from batchlinks.storage.folder import Folder

_RETRIED_NEXT_NIGHT = (ExitCode.BROKEN, ExitCode.REFUSED, ExitCode.UNREACHABLE, ExitCode.INTERRUPTED)
"""After these a roster stays in `working`."""


def process_roster(night: Night, context: NightlyContext, claim: Claim, table: RosterTable) -> RosterOutcome:
    """Run a roster and put it away, whatever happens in it.

    Raises SettingsError where a setting or the ledger has become unusable, and leaves the roster in `working` then.
    """
    started = time.monotonic()
    summary: Summary | None = None
    problem: str | None = None
    run_id: str | None = None
    renamed: str | None = None
    changed = False
    try:
        killed = claim.under_way
        summary = _read_finished_summary(context, claim, table) if killed else None
        if summary is not None and context.inbox.has_changed(claim):
            claim, summary, killed = claim.as_new(), None, False  # as below: the results that are there stay
        if summary is None or summary.exit_code in _RETRIED_NEXT_NIGHT:
            claim = _begin(night, context, claim, repeated=killed and summary is None)
            report = _run_roster(context, claim, table)
            summary, problem = report.summary, str(report.stopped_by) if report.stopped_by else None
            renamed = _describe_rename(report.published)
        code = summary.exit_code
        if changed := context.inbox.has_changed(claim):
            code = ExitCode.DONE_WITH_ERRORS
            problem = "It was still arriving while it was worked on, and is taken up again next time."
    except FolderError as error:  # not the roster's fault
        code, problem, run_id = ExitCode.BROKEN, str(error), error.run_id
    except BatchlinksError as error:
        code, problem, run_id = error.exit_code, str(error), error.run_id
        if code is ExitCode.UNUSABLE:
            _recheck_configuration(context, claim)
    except KeyboardInterrupt:
        code, problem = ExitCode.INTERRUPTED, "Interrupted. No link was asked for."
        night.stopped_by = code
    except Exception as error:
        code, problem = ExitCode.BROKEN, defect(error)
    try:
        # Before it is put away: the night after one that is killed then knows of it too.
        context.history.take_in(table.name, context.now(), night.day, summary, code)
        context.remember()
        if changed:
            context.inbox.note(claim.as_new())  # as another roster: the results of this one stay
        else:
            _put_away(context, claim, code)
    except FolderError as error:  # its results are in place: the next night finds them and only puts it away
        code, problem = ExitCode.BROKEN, problem or str(error)
    run_id = summary.run_id if summary is not None else run_id
    seconds = time.monotonic() - started
    return RosterOutcome(claim.original, table.name, code, summary, problem, run_id, seconds, renamed)


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


def _begin(night: Night, context: NightlyContext, claim: Claim, *, repeated: bool) -> Claim:
    """Note that an attempt begins. One that was killed is repeated where it was, so that its files are replaced."""
    claim = context.inbox.seen_now(claim)
    if claim.day != night.day and not repeated:
        claim = replace(claim, day=night.day, results=_find_free_name(context, claim, night.day))
    claim = replace(claim, under_way=True)
    context.inbox.note(claim)
    return claim


def _find_free_name(context: NightlyContext, claim: Claim, day: str) -> str:
    """What the results are named after. (In a folder of this computer the release sees to that nothing is replaced.)"""
    if context.outbox.local is not None:
        return claim.name
    folder = context.outbox.folder(day)
    there = [*(entry.name for entry in folder.entries()), *folder.folders()]
    return next(
        name for name in numbered(claim.name) if not any(other.startswith(f"{PurePath(name).stem}.") for other in there)
    )


def _run_roster(context: NightlyContext, claim: Claim, table: RosterTable) -> Report:
    def deliver(published: PublishedFiles) -> None:
        if context.outbox.local is None:
            mode = 0o640 if table.settings.share_with_group else 0o600
            for path in published.paths.values():
                _upload(path, context.outbox.folder(claim.day), mode)

    hooks = replace(context.hooks, confirm=lambda preview: _check_limits(preview, table), on_published=deliver)
    outbox = context.outbox
    elsewhere = None if outbox.local is not None else outbox.folder(claim.day).address
    run_context = replace(context.run_context, owner=_owner_of(context, claim, table).roster, delivered_to=elsewhere)
    settings = replace(table.settings, output_dir=_results_folder(context, claim))
    return run(_source_of(context, claim), settings, run_context, hooks)


def _source_of(context: NightlyContext, claim: Claim) -> Path | RosterBytes:
    working = context.inbox.working
    if working.local is not None and claim.results == claim.name:
        return working.local / claim.name
    return RosterBytes(claim.results, working.read(claim.name))


def _results_folder(context: NightlyContext, claim: Claim) -> Path:
    """The folder that the run writes into."""
    return context.staging / claim.id if context.outbox.local is None else context.outbox.local / claim.day


def _owner_of(context: NightlyContext, claim: Claim, table: RosterTable) -> Owner:
    """So that a second roster of the same name does not pass for the first."""
    return Owner(f"nightly {claim.id}", context.project_of(table))


def _read_finished_summary(context: NightlyContext, claim: Claim, table: RosterTable) -> Summary | None:
    """How the attempt ended that a night began and did not put away; None where it did not come to its end."""
    stem = PurePath(claim.results).stem
    content = finished_summary(_results_folder(context, claim), stem, _owner_of(context, claim, table))
    return None if content is None else Summary.from_json(content)


def _check_limits(preview: Preview, table: RosterTable) -> bool:
    """What a table says must hold before anything is sent. Raises RosterError."""
    if table.max_error_share is not None and preview.to_do.fix > table.max_error_share * preview.rows:
        raise RosterError(
            f"{preview.to_do.fix:,} of {preview.rows:,} rows would have to be fixed, more than max_error_share allows "
            f"({table.max_error_share:.0%}). Nothing was sent. Look at the list with `batchlinks check`."
        )
    if table.max_new is not None and preview.to_send > table.max_new:
        raise RosterError(
            f"{preview.to_send:,} links would have to be asked for, more than max_new allows ({table.max_new:,}). Nothing was "
            "sent. Is it the right list and the right project?"
        )
    return True


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


def _put_away(context: NightlyContext, claim: Claim, code: ExitCode) -> None:
    if code in _RETRIED_NEXT_NIGHT:
        context.inbox.note(replace(claim, under_way=False))
        return
    context.inbox.put_away(claim, FAILED if code is ExitCode.UNUSABLE else DONE)
    shutil.rmtree(context.staging / claim.id, ignore_errors=True)


def log_outcome(outcome: RosterOutcome) -> None:
    say = logger().info if outcome.problem is None else logger().error
    say(
        f"{outcome.name}: {outcome.problem or outcome.in_words}{f'. {outcome.renamed}' if outcome.renamed else ''}",
        table=outcome.table,
        roster=outcome.name,
        run_id=outcome.run_id,
        exit_code=int(outcome.exit_code),
        seconds=round(outcome.seconds, 3),
    )
