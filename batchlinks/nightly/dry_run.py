"""A night tried out: settings, sign-in, ledger, inbox, outbox, metrics, message, and what would become of each list.

Nothing is taken, no link is asked for, and the record of the last night stays as it is.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from batchlinks.config.settings import NightlySettings
from batchlinks.errors import BatchlinksError, ExitCode, defect
from batchlinks.healthex.preflight import try_connection
from batchlinks.nightly import message, receipts
from batchlinks.nightly.archives import is_archive, unpack
from batchlinks.nightly.limits import check_rows, check_work
from batchlinks.nightly.lock import exclusive_run
from batchlinks.nightly.night_record import some_of
from batchlinks.nightly.nightly_context import NightlyContext, notify_addresses, open_context
from batchlinks.nightly.tables import RosterTable, SettingsOf, table_for
from batchlinks.pipeline.check import check
from batchlinks.pipeline.context import RunContext, RunHooks
from batchlinks.plural import counted
from batchlinks.roster.read import MAX_FILE_BYTES
from batchlinks.roster.source import RosterBytes
from batchlinks.row_codes import ToDo
from batchlinks.storage.folder import Folder
from batchlinks.storage.opening import open_folder
from batchlinks.table import Table

_TRIAL_FILE = ".batchlinks-dry-run"


@dataclass(slots=True)
class _Trial:
    """What was said so far, and the worst of it."""

    say: Callable[[str], object]
    codes: set[ExitCode] = field(default_factory=set)

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """One thing that is tried: what goes wrong with it is said, and the next is tried all the same."""

        def tell(text: str) -> None:
            self.say(f"{name:<12} {text}")

        try:
            yield tell
        except BatchlinksError as error:
            self.codes.add(error.exit_code)
            tell(f"PROBLEM: {error}")
        except Exception as error:
            self.codes.add(ExitCode.BROKEN)
            tell(f"PROBLEM: {defect(error)}")


def try_night(
    settings: NightlySettings,
    settings_of: SettingsOf,
    run_context: RunContext,
    hooks: RunHooks,
    say: Callable[[str], object],
    *,
    now: Callable[[], datetime],
    sleep: Callable[[float], object],
) -> ExitCode:
    """Say how each step of a night would go. The exit code is the first of 1, 4, 5, 2, 3, 0 that occurred."""
    trial = _Trial(say)
    context: NightlyContext | None = None
    with trial.step("Settings") as tell:
        context = open_context(settings, settings_of, run_context, hooks, now, sleep)
        tell(f"{counted(len(context.tables), 'table')}: {some_of([table.name for table in context.tables])}")
        for table in context.tables:
            tell(f"{table.name}: project {context.project_of(table)}, patient ID in {table.settings.id_column}")
    with trial.step("HealthEx"):
        try_connection(timeout_s=30.0, say=say)
    with trial.step("Metrics") as tell:
        if settings.metrics is not None:
            _try_to_write(open_folder(str(settings.metrics.parent)))
            tell(f"{settings.metrics} can be written")
    with trial.step("Message") as tell:
        _try_message(run_context, now(), tell)
    if context is not None:
        with trial.step("Outbox") as tell:
            _try_to_write(context.outbox)
            tell(f"{context.outbox.address} can be written")
        with trial.step("Inbox") as tell, exclusive_run(context.inbox.place, context.data, now()) as owner:
            if owner is None:
                _try_inbox(context, trial, tell)
            else:
                tell(f"another nightly is at work since {owner.since.astimezone():%Y-%m-%d %H:%M}")
    codes = (ExitCode.BROKEN, ExitCode.REFUSED, ExitCode.UNREACHABLE, ExitCode.UNUSABLE, ExitCode.DONE_WITH_ERRORS)
    return next((code for code in codes if code in trial.codes), ExitCode.DONE)


def _try_to_write(folder: Folder) -> None:
    """Raises FolderError."""
    folder.write(_TRIAL_FILE, b"")
    folder.remove(_TRIAL_FILE)


def _try_message(run_context: RunContext, now: datetime, tell: Callable[[str], None]) -> None:
    addresses = notify_addresses(run_context)
    if not addresses:
        tell("goes to nobody: notify is not set")
        return
    title = f"batchlinks nightly {now.date().isoformat()}: dry run"
    sent = message.send(addresses, title, "This is a test. No patient list was taken, and nothing went wrong.")
    for problem in sent:
        tell(f"PROBLEM: {problem}")
    tell(f"{len(addresses) - len(sent)} of {counted(len(addresses), 'address', 'addresses')} took a test message")


def _try_inbox(context: NightlyContext, trial: _Trial, tell: Callable[[str], None]) -> None:
    _try_to_write(context.inbox.place)
    claims, look = context.inbox.left_over(), context.inbox.look()
    tell(f"{context.inbox.place.address}: {counted(len(claims) + len(look.rosters), 'patient list')} to take")
    for what, names in (
        ("no [[roster]] table is for", look.unmatched),
        ("not patient lists, left alone:", look.ignored),
        ("still arriving:", look.arriving),
    ):
        if names:
            tell(f"{what} {some_of(names)}")
    history = receipts.recall(context.data, context.inbox.place.address)
    for table_name, problem in receipts.missing(context.tables, history, context.now()).items():
        tell(f"missing unless it is among the lists below: {table_name} ({problem})")
    waiting = [(context.inbox.working, claim.name, claim.original) for claim in claims]
    waiting += [(context.inbox.place, entry.name, entry.name) for entry in look.rosters]
    for folder, name, original in waiting:
        if (table := table_for(original, context.tables)) is not None:
            with trial.step("List") as tell_list:
                tell_list(f"{original}: {_try_list(context, history, folder, name, original, table, trial)}")


def _try_list(
    context: NightlyContext,
    history: receipts.NightlyHistory,
    folder: Folder,
    name: str,
    original: str,
    table: RosterTable,
    trial: _Trial,
) -> str:
    """What would become of a list, in words. Raises RosterError for one that would fail."""
    content = folder.read(name, at_most=MAX_FILE_BYTES + 1)
    source = unpack(original, content) if is_archive(original) else RosterBytes(original, content)

    def check_table(read: Table) -> None:
        check_rows(read, table, history.rows_before(table.name, original))

    with tempfile.TemporaryDirectory(prefix="batchlinks-") as place:  # its owner's alone
        settings = replace(table.settings, output_dir=Path(place))
        hooks = replace(context.hooks, on_table=check_table)
        report = check(source, settings, context.run_context, hooks)
    summary = report.summary
    new = summary.linked - report.known
    check_work(
        table,
        rows=summary.rows,
        to_fix=ToDo.of(summary.errors).fix,
        to_send=new,
        is_first=table.name not in history.succeeded,
        name=original,
    )
    if ToDo.of(summary.errors).fix:
        trial.codes.add(ExitCode.DONE_WITH_ERRORS)
    return (
        f"{counted(summary.rows, 'row')}, {counted(summary.linked, 'patient')} to hand out, {new:,} of them to ask for, "
        f"{counted(summary.duplicates, 'duplicate')}, {ToDo.of(summary.errors).in_words()}"
    )
