"""What a night works with, and everything that can be known to be wrong before a roster is touched."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from batchlinks.config.paths import data_folder
from batchlinks.config.secrets import read_credentials, read_result_password, read_secret
from batchlinks.config.settings import NightlySettings, check_addresses, check_values, choose_project, deployment
from batchlinks.errors import SettingsError
from batchlinks.ledger import DoNotContact
from batchlinks.nightly import message, receipts
from batchlinks.nightly.inbox import Inbox
from batchlinks.nightly.tables import RosterTable, SettingsOf, read_tables
from batchlinks.pipeline.context import RunContext, RunHooks
from batchlinks.pipeline.run_ledger import open_run_ledger, refuse_other_ledgers
from batchlinks.results.publish.publisher import check_folder
from batchlinks.storage.folder import Folder
from batchlinks.storage.opening import open_folder


@dataclass(slots=True)
class NightlyContext:
    """What the night has to do with."""

    settings: NightlySettings
    tables: Sequence[RosterTable]
    run_context: RunContext
    hooks: RunHooks
    now: Callable[[], datetime]
    inbox: Inbox
    outbox: Folder
    refused: set[str] = field(default_factory=set)
    """Projects that HealthEx refused tonight."""

    status_calls: int = 0
    """Patients whom HealthEx was asked about tonight."""

    history: receipts.NightlyHistory = field(default_factory=receipts.NightlyHistory)
    """What came on earlier nights, and tonight."""

    @property
    def data(self) -> Path:
        return data_folder(self.run_context.environment)

    @property
    def staging(self) -> Path:
        """Where results are written that go elsewhere from there: a folder for each roster, gone when it is put away."""
        return self.data / "nightly" / "staging"

    def project_of(self, table: RosterTable) -> str:
        return choose_project(table.settings, self.run_context.config, self.run_context.environment) or ""

    def remember(self) -> None:
        """Write down what came. Raises FolderError."""
        receipts.remember(self.data, self.inbox.place.address, self.history)


def open_context(
    settings: NightlySettings,
    settings_of: SettingsOf,
    run_context: RunContext,
    hooks: RunHooks,
    now: Callable[[], datetime],
    sleep: Callable[[float], object],
) -> NightlyContext:
    """Everything that can be known to be wrong before a roster is touched. Raises SettingsError or FolderError."""
    check_values(settings)
    if settings.inbox is None or settings.outbox is None:
        missing = "--inbox" if settings.inbox is None else "--outbox"
        raise SettingsError(f"{missing} is missing. Give it, or put it into batchlinks.toml.")
    tables = read_tables(run_context.config, settings_of, ready=settings.ready, status=settings.status)
    shared = any(table.settings.share_with_group for table in tables)
    place = open_folder(settings.inbox)
    if not place.exists():
        raise SettingsError(f"The inbox {place.address} is not there. Make it, or correct --inbox.")
    outbox = open_folder(settings.outbox)
    inbox = Inbox(place, tables, settings.settle, now, sleep, share_with_group=shared)
    context = NightlyContext(settings, tables, run_context, hooks, now, inbox, outbox)
    if outbox.local is not None:
        _check_outbox(outbox.local, shared)
    else:
        outbox.entries()
    read_credentials(run_context.environment)
    if any(table.settings.protect for table in tables):
        read_result_password(run_context.environment)
    if addresses := notify_addresses(run_context):
        message.check_urls(addresses)
    check_tables(context)
    return context


def _check_outbox(folder: Path, shared: bool) -> None:
    """Raises SettingsError, in words of the night."""
    try:
        check_folder(folder, share_with_group=shared)
    except SettingsError as error:
        why = error.__cause__.strerror if isinstance(error.__cause__, OSError) else None
        raise SettingsError(
            f"No results can be written into the outbox {folder}{f': {why}' if why else ''}. Fix that, or choose another "
            "with --outbox."
        ) from error


def check_tables(context: NightlyContext) -> None:
    """What the runs of each table need besides their rosters. Raises SettingsError."""
    run_context = context.run_context
    for table in context.tables:
        if not (project := context.project_of(table)):
            raise SettingsError(
                f"{table.name}: no project. Give it in the [[roster]] table, or set HEALTHEX_PROJECT_ID."
            )
        if not table.settings.no_ledger:
            api = deployment(run_context.environment).api_url
            with open_run_ledger(table.settings, run_context, api=api, project_id=project) as ledger:
                refuse_other_ledgers(context.outbox, ledger, table.settings, run_context)
        DoNotContact.open(table.settings.do_not_contact, run_context.environment)
        if table.settings.exclude is not None and not table.settings.exclude.is_file():
            raise SettingsError(f"{table.name}: the exclude list {table.settings.exclude} is not there.")


def notify_addresses(run_context: RunContext) -> Sequence[str]:
    """Where the message goes: BATCHLINKS_NOTIFY, with white space between, or else `notify` in the settings file.

    Raises SettingsError for a file that cannot be read, and for what is beyond all bounds.
    """
    given = read_secret("BATCHLINKS_NOTIFY", run_context.environment, in_keyring=False).split()
    check_addresses(given, "BATCHLINKS_NOTIFY")
    return given or run_context.config.notify
