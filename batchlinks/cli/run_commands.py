"""`batchlinks run`, `check`, `templates` and `demo`."""

from pathlib import Path
from typing import Any

import click
import cloup

from batchlinks.cli.options import EXIT_CODES, AnyPath, check_options, config_of, run_options, run_settings, source_of
from batchlinks.cli.prestart_reader import head_start
from batchlinks.cli.terminal import ask_person, ask_to_heed, progress, say, somebody_watches, speak, told
from batchlinks.errors import ExitCode


@cloup.command(epilog=EXIT_CODES)
@cloup.argument(
    "roster",
    metavar="ROSTER",
    help="The patient list: CSV or spreadsheet, or its address (s3://, sftp://); - for CSV on standard input.",
)
@run_options
@cloup.pass_context
def run(
    context: click.Context, /, roster: str, yes: bool, log_format: Any, quiet: bool, verbose: bool, **options: Any
) -> int:
    """Get the links: from your patient list to a workbook."""
    with head_start():
        speak(log_format, quiet=quiet, verbose=verbose)
        from batchlinks.pipeline.context import RunContext, RunHooks
        from batchlinks.pipeline.run import run as run_roster
        from batchlinks.signals import Interruption

        settings = run_settings(context, options)
        source = source_of(roster, settings)
        interruption = Interruption()
        hooks = RunHooks(
            progress=progress(log_format, quiet=quiet),
            confirm=ask_person if not yes and somebody_watches() else lambda _: True,
            heed=ask_to_heed if not yes and somebody_watches() else lambda _: None,
            interruption=interruption,
            on_finished=lambda report: told(report, quiet=quiet),
        )
        with interruption.installed():
            return run_roster(source, settings, RunContext(config=config_of(context)), hooks).exit_code


@cloup.command(epilog=EXIT_CODES)
@cloup.argument("roster", metavar="[ROSTER]", required=False, help="The patient list; not needed with --connect.")
@check_options
@cloup.pass_context
def check(
    context: click.Context,
    /,
    roster: str | None,
    connect: bool,
    yes: bool,
    log_format: Any,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> int:
    """Look at the list only: what would be sent or refused.

    Asks HealthEx for nothing, and needs no account.
    """
    speak(log_format, quiet=quiet, verbose=verbose)
    if roster is None and not connect:
        raise click.MissingParameter(ctx=context, param=context.command.params[0])
    settings = run_settings(context, options)
    if connect:
        from batchlinks.healthex.preflight import try_connection

        try_connection(timeout_s=settings.timeout, say=(lambda _: None) if quiet else say)
        if roster is None:
            return ExitCode.DONE
    with head_start():
        from batchlinks.pipeline.check import check as check_roster
        from batchlinks.pipeline.context import RunContext, RunHooks

        source = source_of(str(roster), settings)
        hooks = RunHooks(leave_cautions_open=not yes and somebody_watches())
        return told(check_roster(source, settings, RunContext(config=config_of(context)), hooks), quiet=quiet)


@cloup.command(epilog=EXIT_CODES)
@cloup.option(
    "--output-dir",
    type=AnyPath(path_type=Path),
    default=Path("demo_output"),
    show_default=True,
    metavar="DIR",
    help="Folder for the results.",
)
@cloup.option("--page", is_flag=True, help="Try the upload page instead; nothing of it stays.")
def demo(output_dir: Path, *, page: bool) -> int:
    """See it work, with invented patients and no account."""
    speak("text", quiet=False, verbose=False)
    if page:
        from batchlinks.cli.demo import serve_demo

        serve_demo(say)
        return ExitCode.DONE
    with head_start():
        from batchlinks.cli.demo import run_demo

        return told(run_demo(output_dir, progress=progress("text", quiet=False)), quiet=False)


@cloup.command(epilog="Exit codes: 0 done; 2 nothing was written.")
@cloup.argument("folder", type=AnyPath(path_type=Path), metavar="DIR", help="Folder for the files; made if need be.")
def templates(folder: Path) -> int:
    """Get templates to start from: letter, reminder, text, e-mail.

    In English and Spanish, as drafts to fill in and have approved. Use them with --letters and --message, or in Word.
    """
    speak("text", quiet=False, verbose=False)
    from batchlinks.outreach.drafts import write_templates
    from batchlinks.outreach.outreach_plan import require_extra

    require_extra()
    written = write_templates(folder)
    say(
        f"Drafts in {folder.resolve()}: {', '.join(path.name for path in written)}. Have them approved before you use them."
    )
    return ExitCode.DONE
