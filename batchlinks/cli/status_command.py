"""`batchlinks status`."""

from dataclasses import fields
from typing import Any

import cloup

from batchlinks.cli.options import config_of, run_settings, source_of, status_options
from batchlinks.cli.prestart_reader import head_start
from batchlinks.cli.terminal import ask_to_heed, progress, somebody_watches, speak, told_status
from batchlinks.config.settings import StatusSettings

_EXIT_CODES = (
    "Exit codes: 0 it is known what HealthEx shows of each patient; 1 batchlinks or this computer failed; 2 the command, a "
    "setting or the file cannot be used; 3 done, and of some patients it is not known; 4 HealthEx refused the credentials, the "
    "project or the question; 5 HealthEx could not be reached, run it again; 130 interrupted, run it again."
)


@cloup.command(epilog=_EXIT_CODES)
@cloup.argument("roster", metavar="ROSTER", help="The patient list whose links were handed out.")
@status_options
@cloup.pass_context
def status(context: Any, /, roster: str, yes: bool, log_format: Any, quiet: bool, verbose: bool, **options: Any) -> int:
    """See who has answered, and whom to remind.

    Asks HealthEx about every patient of the list who has a link. Asks for no link, and reads no medical record.
    """
    with head_start():
        speak(log_format, quiet=quiet, verbose=verbose)
        from batchlinks.pipeline.context import RunContext, RunHooks
        from batchlinks.pipeline.status import status as ask_status
        from batchlinks.signals import Interruption

        chosen = StatusSettings(**{entry.name: options.pop(entry.name) for entry in fields(StatusSettings)})
        settings = run_settings(context, options)
        source = source_of(roster, settings)
        interruption = Interruption()
        hooks = RunHooks(
            progress=progress(log_format, quiet=quiet, done="answered", failed="not known"),
            heed=ask_to_heed if not yes and somebody_watches() else lambda _: None,
            interruption=interruption,
        )
        with interruption.installed():
            return ask_status(
                source,
                settings,
                chosen,
                RunContext(config=config_of(context)),
                hooks,
                on_finished=lambda report: told_status(report, quiet=quiet),
            ).exit_code
