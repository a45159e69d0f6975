"""`batchlinks nightly`: every new roster in the inbox, once, results to the outbox.

The night as a whole stands in `run_night`. What has come and what is taken tells `inbox`, which settings a roster gets
`tables`, whether one should have come and did not `expected`, how it went `report`.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path, PurePath

from batchlinks.config.paths import data_folder, default_ledger
from batchlinks.config.secrets import read_credentials, read_result_password, read_secret
from batchlinks.config.settings import NightlySettings, check_values, chosen_project, deployment
from batchlinks.errors import BatchlinksError, ExitCode, FolderError, RosterError, SettingsError, defect
from batchlinks.ledger import Ledger
from batchlinks.logs import logger
from batchlinks.nightly import message as notice
from batchlinks.nightly import receipts as expected
from batchlinks.nightly.inbox import DONE, FAILED, Claim, Inbox, Look, clear, numbered
from batchlinks.nightly.lock import Holder, only_one
from batchlinks.nightly.outcome import Night, RosterOutcome
from batchlinks.nightly.tables import RosterTable, SettingsOf, read_tables, table_for
from batchlinks.pipeline import run as batch
from batchlinks.results.publish.existing_set import Owner, finished_summary
from batchlinks.results.publish.publisher import check_folder
from batchlinks.results.publish.result_files import PublishedFiles
from batchlinks.results.summary import Summary
from batchlinks.roster.source import RosterBytes
from batchlinks.storage.folder import Entry, Folder
from batchlinks.storage.opening import open_folder

__all__ = ["Night", "run_night"]

_TAKEN_UP_AGAIN = (ExitCode.BROKEN, ExitCode.REFUSED, ExitCode.UNREACHABLE, ExitCode.INTERRUPTED)
"""After these a roster stays in `working`."""


@dataclass(slots=True)
class _World:
    """What the night has to do with."""

    settings: NightlySettings
    tables: Sequence[RosterTable]
    around: batch.Surroundings
    now: Callable[[], datetime]
    inbox: Inbox
    outbox: Folder
    refused: set[str] = field(default_factory=set)
    """Projects that HealthEx refused tonight."""

    memory: expected.Memory = field(default_factory=expected.Memory)
    """What came on earlier nights, and tonight."""

    @property
    def data(self) -> Path:
        return data_folder(self.around.environment)

    @property
    def staging(self) -> Path:
        """Where results are written that go elsewhere from there: a folder for each roster, gone when it is put away."""
        return self.data / "nightly" / "staging"

    def project_of(self, table: RosterTable) -> str:
        return chosen_project(table.settings, self.around.config, self.around.environment) or ""

    def remember(self) -> None:
        """Write down what came. Raises FolderError."""
        expected.remember(self.data, self.inbox.place.address, self.memory)


def run_night(
    settings: NightlySettings,
    settings_of: SettingsOf,
    around: batch.Surroundings,
    *,
    now: Callable[[], datetime] | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Night:
    """Take each new roster once, the oldest first, and put its results into the outbox.

    Raises nothing that has an explanation: what stopped the night, or one roster, stands in what is returned.
    """
    now = now or local_now
    night = Night(now().date().isoformat())
    started = time.monotonic()
    try:
        world = _world(settings, settings_of, around, now, sleep)
        night.tables = [table.name for table in world.tables]
        with only_one(world.inbox.place, world.data, now()) as holder:
            if holder is None:
                _work(night, world)
            else:
                _leave_to(holder, night, settings.max_hours)
    except BatchlinksError as error:
        night.problems.append(str(error))
        night.stopped_by = error.exit_code
    except KeyboardInterrupt:
        night.stopped_by = ExitCode.INTERRUPTED
    except Exception as error:
        night.problems.append(defect(error))
        night.stopped_by = ExitCode.BROKEN
    if night.left_to_another is None or night.problems:
        with around.interruption.calls(lambda: None):
            _tell(night, settings, around, now(), time.monotonic() - started)
    return night


def local_now() -> datetime:
    """By the clock on the wall: a night belongs to the date on which it begins here."""
    return datetime.now().astimezone()


def _work(night: Night, world: _World) -> None:
    world.memory = memory = expected.recall(world.data, world.inbox.place.address)
    night.succeeded = memory.succeeded
    try:
        claims, look = world.inbox.left_over(), world.inbox.look()
        _clear_staging(world, claims)
        night.arriving, night.unmatched = look.arriving, look.unmatched
        for claim, table in _one_after_the_other(night, world, claims, look):
            outcome = _run_one(night, world, claim, table)
            night.outcomes.append(outcome)
            _say(outcome)
            if outcome.exit_code is ExitCode.REFUSED:
                world.refused.add(world.project_of(table))
        night.missing = expected.missing(world.tables, memory, world.now())
        _clear_old(night, world, memory)
    finally:
        memory.last_night = night.day
        memory.forget_old(date.fromisoformat(night.day))
        world.remember()


def _leave_to(holder: Holder, night: Night, max_hours: float) -> None:
    since = holder.since.astimezone().strftime("%Y-%m-%d %H:%M")
    night.left_to_another = f"Another nightly is at work in this inbox since {since}."
    if holder.hours >= max_hours:
        night.stopped_by = ExitCode.UNREACHABLE
        night.problems.append(f"{night.left_to_another} That is over {max_hours:g} hours: look what holds it up.")


# --- before ---------------------------------------------------------------------------------------------------


def _world(
    settings: NightlySettings,
    settings_of: SettingsOf,
    around: batch.Surroundings,
    now: Callable[[], datetime],
    sleep: Callable[[float], object],
) -> _World:
    """Everything that can be known to be wrong before a roster is touched. Raises SettingsError or FolderError."""
    check_values(settings)
    if settings.inbox is None or settings.outbox is None:
        missing = "--inbox" if settings.inbox is None else "--outbox"
        raise SettingsError(f"{missing} is missing. Give it, or put it into batchlinks.toml.")
    tables = read_tables(around.config, settings_of, ready=settings.ready)
    place = open_folder(settings.inbox)
    if not place.exists():
        raise SettingsError(f"The inbox {place.address} is not there. Make it, or correct --inbox.")
    outbox = open_folder(settings.outbox)
    world = _World(settings, tables, around, now, Inbox(place, tables, settings.settle, now, sleep), outbox)
    if outbox.local is not None:
        check_folder(outbox.local, share_with_group=any(table.settings.share_with_group for table in tables))
    else:
        outbox.entries()
    read_credentials(around.environment)
    if any(table.settings.protect for table in tables):
        read_result_password(around.environment)
    if addresses := _addresses(around):
        notice.check_urls(addresses)
    _check_tables(world)
    return world


def _check_tables(world: _World) -> None:
    """What the runs of each table need besides their rosters. Raises SettingsError."""
    around = world.around
    for table in world.tables:
        if not (project := world.project_of(table)):
            raise SettingsError(
                f"{table.name}: no project. Give it in the [[roster]] table, or set HEALTHEX_PROJECT_ID."
            )
        if not table.settings.no_ledger:
            path = table.settings.ledger or default_ledger(around.environment)
            with Ledger(path, api=deployment(around.environment).api_url, project_id=project):
                pass
        if table.settings.exclude is not None and not table.settings.exclude.is_file():
            raise SettingsError(f"{table.name}: the exclude list {table.settings.exclude} is not there.")


def _one_after_the_other(
    night: Night, world: _World, left_over: Sequence[Claim], look: Look
) -> Iterator[tuple[Claim, RosterTable]]:
    """What was left over by earlier nights, then each new roster, which is taken when its turn comes."""
    waiting: list[Claim | Entry] = [*left_over, *look.rosters]
    for number, found in enumerate(waiting):
        if world.around.interruption.happened:
            night.stopped_by = ExitCode.INTERRUPTED
            night.waiting += len(waiting) - number
            return
        table = table_for(found.original if isinstance(found, Claim) else found.name, world.tables)
        if table is None:
            night.unmatched = [*night.unmatched, found.name]
        elif world.project_of(table) in world.refused:
            night.waiting += 1
        elif isinstance(found, Claim):
            yield found, table
        else:
            try:
                claim = world.inbox.take(found)
            except FolderError as error:
                outcome = RosterOutcome(found.name, table.name, ExitCode.BROKEN, problem=str(error))
                night.outcomes.append(outcome)
                _say(outcome)
            else:
                yield claim, table


# --- one roster -----------------------------------------------------------------------------------------------


def _run_one(night: Night, world: _World, claim: Claim, table: RosterTable) -> RosterOutcome:
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
        summary = _finished(world, claim, table) if killed else None
        if summary is not None and world.inbox.has_changed(claim):
            claim, summary, killed = claim.anew(), None, False  # as below: the results that are there stay
        if summary is None or summary.exit_code in _TAKEN_UP_AGAIN:
            claim = _begun(night, world, claim, repeated=killed and summary is None)
            report = _run(world, claim, table)
            summary, problem = report.summary, str(report.stopped_by) if report.stopped_by else None
            renamed = _renamed(report.published)
        code = summary.exit_code
        if changed := world.inbox.has_changed(claim):
            code = ExitCode.DONE_WITH_ERRORS
            problem = "It was still arriving while it was worked on, and is taken up again next time."
    except FolderError as error:  # not the roster's fault
        code, problem, run_id = ExitCode.BROKEN, str(error), error.run_id
    except BatchlinksError as error:
        code, problem, run_id = error.exit_code, str(error), error.run_id
        if code is ExitCode.UNUSABLE:
            _blame_nobody_for_the_tables(world, claim)
    except KeyboardInterrupt:
        code, problem = ExitCode.INTERRUPTED, "Interrupted. No link was asked for."
        night.stopped_by = code
    except Exception as error:
        code, problem = ExitCode.BROKEN, defect(error)
    try:
        # Before it is put away: the night after one that is killed then knows of it too.
        world.memory.take_in(table.name, world.now(), night.day, summary, code)
        world.remember()
        if changed:
            world.inbox.note(claim.anew())  # as another roster: the results of this one stay
        else:
            _put_away(world, claim, code)
    except FolderError as error:  # its results are in place: the next night finds them and only puts it away
        code, problem = ExitCode.BROKEN, problem or str(error)
    run_id = summary.run_id if summary is not None else run_id
    seconds = time.monotonic() - started
    return RosterOutcome(claim.original, table.name, code, summary, problem, run_id, seconds, renamed)


def _blame_nobody_for_the_tables(world: _World, claim: Claim) -> None:
    """Raises SettingsError where it is the ledger or a setting that cannot be used any more, and not the roster."""
    try:
        _check_tables(world)
    except SettingsError:
        world.inbox.note(replace(claim, under_way=False))
        raise


def _renamed(published: PublishedFiles) -> str | None:
    """What the results are called, where they could not be called after the roster, and why."""
    if published.obstacle is None:
        return None
    return f"The results are {published.paths['links'].name} and so on, since {published.obstacle}."


def _begun(night: Night, world: _World, claim: Claim, *, repeated: bool) -> Claim:
    """Note that an attempt begins. One that was killed is repeated where it was, so that its files are replaced."""
    claim = world.inbox.seen_now(claim)
    if claim.day != night.day and not repeated:
        claim = replace(claim, day=night.day, results=_free_name(world, claim, night.day))
    claim = replace(claim, under_way=True)
    world.inbox.note(claim)
    return claim


def _free_name(world: _World, claim: Claim, day: str) -> str:
    """What the results are named after. (In a folder of this computer the release sees to that nothing is replaced.)"""
    if world.outbox.local is not None:
        return claim.name
    folder = world.outbox.folder(day)
    there = [*(entry.name for entry in folder.entries()), *folder.folders()]
    return next(
        name for name in numbered(claim.name) if not any(other.startswith(f"{PurePath(name).stem}.") for other in there)
    )


def _run(world: _World, claim: Claim, table: RosterTable) -> batch.Report:
    def deliver(published: PublishedFiles) -> None:
        if world.outbox.local is None:
            mode = 0o640 if table.settings.share_with_group else 0o600
            for path in published.paths.values():
                _upload(path, world.outbox.folder(claim.day), mode)

    around = replace(
        world.around,
        owner=_owner(world, claim, table).roster,
        confirm=lambda plan: _within_limits(plan, table),
        deliver=deliver,
    )
    return batch.run(_source(world, claim), replace(table.settings, output_dir=_results_of(world, claim)), around)


def _source(world: _World, claim: Claim) -> Path | RosterBytes:
    working = world.inbox.working
    if working.local is not None and claim.results == claim.name:
        return working.local / claim.name
    return RosterBytes(claim.results, working.read(claim.name))


def _results_of(world: _World, claim: Claim) -> Path:
    """The folder that the run writes into."""
    return world.staging / claim.id if world.outbox.local is None else world.outbox.local / claim.day


def _owner(world: _World, claim: Claim, table: RosterTable) -> Owner:
    """So that a second roster of the same name does not pass for the first."""
    return Owner(f"nightly {claim.id}", world.project_of(table))


def _finished(world: _World, claim: Claim, table: RosterTable) -> Summary | None:
    """How the attempt ended that a night began and did not put away; None where it did not come to its end."""
    stem = PurePath(claim.results).stem
    content = finished_summary(_results_of(world, claim), stem, _owner(world, claim, table))
    return None if content is None else Summary.from_json(content)


def _within_limits(plan: batch.Plan, table: RosterTable) -> bool:
    """What a table says must hold before anything is sent. Raises RosterError."""
    if table.max_error_share is not None and plan.refused > table.max_error_share * plan.rows:
        raise RosterError(
            f"{plan.refused:,} of {plan.rows:,} rows would be refused, more than max_error_share allows "
            f"({table.max_error_share:.0%}). Nothing was sent. Look at the list with `batchlinks check`."
        )
    if table.max_new is not None and plan.to_send > table.max_new:
        raise RosterError(
            f"{plan.to_send:,} links would have to be asked for, more than max_new allows ({table.max_new:,}). Nothing was "
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


def _put_away(world: _World, claim: Claim, code: ExitCode) -> None:
    if code in _TAKEN_UP_AGAIN:
        world.inbox.note(replace(claim, under_way=False))
        return
    world.inbox.put_away(claim, FAILED if code is ExitCode.UNUSABLE else DONE)
    shutil.rmtree(world.staging / claim.id, ignore_errors=True)


# --- after ----------------------------------------------------------------------------------------------------


def _tell(
    night: Night, settings: NightlySettings, around: batch.Surroundings, ended_at: datetime, seconds: float
) -> None:
    """Metrics, and the one message. That one of them fails is a problem, and changes nothing of how the night ended."""
    try:
        if settings.metrics is not None:
            from batchlinks.nightly import metrics  # its library is for those who have metrics

            metrics.write(settings.metrics, night, night.tables, ended_at=ended_at, seconds=seconds)
    except BatchlinksError as error:
        night.problems.append(f"The metrics were not written. {error}")
    try:
        if addresses := _addresses(around):
            night.problems += notice.send(addresses, *night.message())
    except BatchlinksError as error:
        night.problems.append(str(error))


def _addresses(around: batch.Surroundings) -> Sequence[str]:
    """Where the message goes: BATCHLINKS_NOTIFY, with white space between, or else `notify` in the settings file."""
    return read_secret("BATCHLINKS_NOTIFY", around.environment, in_keyring=False).split() or around.config.notify


def _say(outcome: RosterOutcome) -> None:
    say = logger().info if outcome.problem is None else logger().error
    sentence = outcome.problem or outcome.in_words
    named = sentence if sentence.startswith(outcome.name) else f"{outcome.name}: {sentence}"
    say(
        f"{named}{f'. {outcome.renamed}' if outcome.renamed else ''}",
        table=outcome.table,
        roster=outcome.name,
        run_id=outcome.run_id,
        exit_code=int(outcome.exit_code),
        seconds=round(outcome.seconds, 3),
    )


def _clear_staging(world: _World, claims: Sequence[Claim]) -> None:
    """Results of rosters that have been put away since: a crash came between."""
    kept = {claim.id for claim in claims}
    if world.staging.is_dir():
        for folder in world.staging.iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def _clear_old(night: Night, world: _World, memory: expected.Memory) -> None:
    """Delete what is older than `keep_days`; but not on the word of a clock that has just leapt over them."""
    today, kept = date.fromisoformat(night.day), timedelta(days=world.settings.keep_days)
    if memory.last_night is not None and today - date.fromisoformat(memory.last_night) >= kept:
        night.problems.append(
            f"By the clock the last night was on {memory.last_night}. If that is wrong, set the clock right: what is older "
            "than keep_days is deleted next time."
        )
        return
    for place in (world.inbox.place.folder(DONE), world.inbox.place.folder(FAILED), world.outbox):
        clear(place, today - kept)
