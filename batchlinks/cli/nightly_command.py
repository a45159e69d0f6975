"""`batchlinks nightly`."""

import time
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click
import cloup

from batchlinks.cli.options import config_of, nightly_options, run_settings
from batchlinks.cli.terminal import progress, say, somebody_watches, speak
from batchlinks.config.settings import NightlySettings, RunSettings
from batchlinks.errors import BatchlinksError, ExitCode

if TYPE_CHECKING:
    from batchlinks.nightly.night_record import NightRecord

_EXIT_CODES = (
    "Exit codes: the first of 1, 4, 5, 130, 2, 3, 0 that occurred. 0 all done, or another nightly is at work; 1 batchlinks or "
    "this computer failed; 2 a list, a setting or the inbox cannot be used; 3 done, and there are rows to fix or a list is "
    "missing; 4 HealthEx refused the credentials or a project; 5 HealthEx could not be reached, or another nightly takes "
    "too long; 130 interrupted."
)


class _NightlyCommand(cloup.Command):
    """Tells metrics, message and outbox also of a night that could not begin, since a setting or the command is wrong."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        given = list(args)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except (BatchlinksError, click.UsageError) as error:
            if not somebody_watches():  # who types a command sees what is wrong with it
                from batchlinks.nightly.unbegun import report_unbegun

                report_unbegun(given, str(error) if isinstance(error, BatchlinksError) else _NOT_UNDERSTOOD)
            raise


_NOT_UNDERSTOOD = "There was no night: the command, or a variable of its environment, is wrong. The log says what."


@cloup.command(cls=_NightlyCommand, epilog=_EXIT_CODES)
@nightly_options
@cloup.pass_context
def nightly(context: click.Context, /, log_format: Any, quiet: bool, verbose: bool, **options: Any) -> int:
    """Take every new patient list in the inbox, once.

    Results go to the outbox. Meant for a timer: it asks nothing and guesses nothing.
    """
    speak(log_format, quiet=quiet, verbose=verbose)
    from batchlinks import arrow
    from batchlinks.nightly.night import local_now, run_night
    from batchlinks.pipeline.context import RunContext, RunHooks
    from batchlinks.signals import Interruption

    arrow.use_system_allocator()
    settings = NightlySettings(**{entry.name: options.pop(entry.name) for entry in fields(NightlySettings)})
    interruption = Interruption()
    hooks = RunHooks(progress=progress(log_format, quiet=quiet), interruption=interruption)

    def settings_of(table: Mapping[str, Any]) -> RunSettings:
        return run_settings(context, options, table)

    run_context = RunContext(config=config_of(context))
    if settings.dry_run:
        from batchlinks.nightly.dry_run import try_night

        return try_night(settings, settings_of, run_context, hooks, say, now=local_now, sleep=time.sleep)
    with interruption.installed():
        night = run_night(settings, settings_of, run_context, hooks)
    _tell(night, str(settings.outbox), quiet=quiet)
    return ExitCode(night.exit_code)


def _tell(night: "NightRecord", results: str, *, quiet: bool) -> None:
    """What was not said of each list as it ended: what went wrong beside them, and what somebody must see."""
    from batchlinks import logs
    from batchlinks.nightly.night_record import some_of

    for problem in night.problems:
        logs.logger().error(problem, exit_code=night.exit_code)
    for table, problem in night.missing.items():
        logs.warn_always(f"{table}: {problem}.", table=table)
    if night.unmatched:
        logs.warn_always(f"No [[roster]] table is for: {some_of(night.unmatched)}.", unmatched=night.unmatched)
    if night.ignored:
        logs.warn_always(
            f"Not patient lists, and left in the inbox: {some_of(night.ignored)}.", ignored=list(night.ignored)
        )
    if night.arriving:
        logs.logger().info(f"Still arriving: {some_of(night.arriving)}.", arriving=night.arriving)
    if night.waiting:
        logs.logger().info(f"Left for the next night: {some_of(night.waiting)}.", waiting=night.waiting)
    logs.record("Night ended.", **night.as_json())
    if not quiet or not night.is_good:
        say(night.last_line(results))
