"""`batchlinks nightly`: every new roster in the inbox, once, results to the outbox.

The night as a whole stands in `run_night`. What has come and what is taken tells `inbox`, what becomes of one roster
`roster_run`, which settings it gets `tables`, whether one should have come and did not `receipts`, how it went
`night_outcome` while it goes on and `night_record` once it is over, and who hears of it `reporting`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime

from batchlinks.config.settings import NightlySettings
from batchlinks.errors import BatchlinksError, ExitCode, FolderError, SettingsError, defect
from batchlinks.nightly import receipts
from batchlinks.nightly.housekeeping import clear_old, clear_staging
from batchlinks.nightly.inbox import Claim, InboxScan
from batchlinks.nightly.lock import LockOwner, exclusive_run
from batchlinks.nightly.night_outcome import Night, RosterOutcome
from batchlinks.nightly.night_record import NightRecord
from batchlinks.nightly.nightly_context import NightlyContext, notify_addresses, open_context
from batchlinks.nightly.reporting import Recipients, note_night, send_report
from batchlinks.nightly.roster_run import log_outcome, process_roster
from batchlinks.nightly.tables import RosterTable, SettingsOf, table_for
from batchlinks.pipeline.context import RunContext, RunHooks
from batchlinks.storage.folder import Entry


def run_night(
    settings: NightlySettings,
    settings_of: SettingsOf,
    run_context: RunContext,
    hooks: RunHooks,
    *,
    now: Callable[[], datetime] | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> NightRecord:
    """Take each new roster once, the oldest first, and put its results into the outbox.

    Raises nothing that has an explanation: what stopped the night, or one roster, stands in what is returned.
    """
    now = now or local_now
    night = Night(now().date().isoformat())
    started = time.monotonic()
    shared = False
    try:
        context = open_context(settings, settings_of, run_context, hooks, now, sleep)
        night.tables = [table.name for table in context.tables]
        shared = context.inbox.share_with_group
        with exclusive_run(context.inbox.place, context.data, now()) as owner:
            if owner is None:
                _process_inbox(night, context)
            else:
                _leave_to_other_nightly(owner, night, settings.max_hours)
    except BatchlinksError as error:
        night.problems.append(str(error))
        night.stopped_by = error.exit_code
    except KeyboardInterrupt:
        night.stopped_by = ExitCode.INTERRUPTED
    except Exception as error:
        night.problems.append(defect(error))
        night.stopped_by = ExitCode.BROKEN
    seconds = time.monotonic() - started
    note_night(night, "ended", run_context, **night.record(now(), seconds).audit_facts())
    if night.left_to_another is not None and not night.problems:
        return night.record(now(), seconds)
    outbox = settings.outbox if night.left_to_another is None else None  # night.json is the other's
    to = Recipients(outbox, shared, settings.metrics, lambda: notify_addresses(run_context))
    with hooks.interruption.calls(lambda: None):
        return send_report(night, to, now(), seconds)


def local_now() -> datetime:
    """By the clock on the wall: a night belongs to the date on which it begins here."""
    return datetime.now().astimezone()


def _process_inbox(night: Night, context: NightlyContext) -> None:
    note_night(night, "begun", context.run_context, day=night.day)
    context.history = history = receipts.recall(context.data, context.inbox.place.address)
    night.succeeded = history.succeeded
    try:
        accepted = context.settings.accept
        if accepted is not None:
            context.inbox.accept(accepted)
        claims, look = context.inbox.left_over(), context.inbox.look()
        if accepted in look.arriving:
            raise SettingsError("The patient list that --accept names is still arriving. Try again in a minute.")
        clear_staging(context, claims)
        night.arriving, night.unmatched, night.ignored = look.arriving, look.unmatched, look.ignored
        for claim, table in _claims_in_order(night, context, claims, look):
            outcome = process_roster(night, context, claim, table)
            night.outcomes.append(outcome)
            log_outcome(outcome)
            if outcome.exit_code is ExitCode.REFUSED:
                context.refused.add(context.project_of(table))
        night.missing = receipts.missing(context.tables, history, context.now())
        night.known_since = {table: _midnight(day) for table, day in history.first_night.items()}
        clear_old(night, context, history)
    finally:
        history.last_night = night.day
        history.forget_old(date.fromisoformat(night.day))
        context.remember()


def _midnight(day: str) -> float:
    """Seconds since the epoch when that day began here."""
    return datetime.fromisoformat(day).astimezone().timestamp()


def _leave_to_other_nightly(owner: LockOwner, night: Night, max_hours: float) -> None:
    since = owner.since.astimezone().strftime("%Y-%m-%d %H:%M")
    night.left_to_another = f"Another nightly is at work in this inbox since {since}."
    if owner.hours >= max_hours:
        night.stopped_by = ExitCode.UNREACHABLE
        night.problems.append(f"{night.left_to_another} That is over {max_hours:g} hours: look what holds it up.")


def _claims_in_order(
    night: Night, context: NightlyContext, left_over: Sequence[Claim], look: InboxScan
) -> Iterator[tuple[Claim, RosterTable]]:
    """What was left over by earlier nights, then each new roster, which is taken when its turn comes."""
    waiting: list[Claim | Entry] = [*left_over, *look.rosters]
    for number, found in enumerate(waiting):
        if context.hooks.interruption.happened:
            night.stopped_by = ExitCode.INTERRUPTED
            night.waiting += [each.original if isinstance(each, Claim) else each.name for each in waiting[number:]]
            return
        name = found.original if isinstance(found, Claim) else found.name
        table = table_for(name, context.tables)
        if table is None:
            night.unmatched = [*night.unmatched, name]
        elif context.project_of(table) in context.refused:
            night.waiting.append(name)
        elif isinstance(found, Claim):
            yield found, table
        else:
            try:
                claim = context.inbox.take(found)
            except FolderError as error:
                outcome = RosterOutcome(found.name, table.name, ExitCode.BROKEN, problem=str(error))
                night.outcomes.append(outcome)
                log_outcome(outcome)
            else:
                yield claim, table
