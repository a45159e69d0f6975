"""`batchlinks serve`."""

from dataclasses import fields
from typing import Any

import click
import cloup

from batchlinks.cli.options import config_of, run_settings, serve_options
from batchlinks.cli.run_commands import run
from batchlinks.cli.terminal import say, speak
from batchlinks.config.settings import RunSettings, ServeSettings
from batchlinks.errors import ExitCode, SettingsError


@cloup.command()
@serve_options
@cloup.pass_context
def serve(context: click.Context, /, log_format: Any, quiet: bool, verbose: bool, **options: Any) -> int:
    """Serve the upload page, for people without a command line.

    It prints the address to open. What batchlinks.toml and the environment say of `run` holds for its runs too.
    """
    speak(log_format, quiet=quiet, verbose=verbose)
    from batchlinks.web.serve_options import checked

    settings = checked(ServeSettings(**options))
    try:
        from batchlinks.web.application import serve_until_interrupted
    except ModuleNotFoundError as error:
        raise SettingsError('The upload page is not installed: pip install "batchlinks[web]".') from error
    serve_until_interrupted(settings, _of_runs(context), config_of(context), say=(lambda _: None) if quiet else say)
    return ExitCode.DONE


def _of_runs(serving: click.Context) -> RunSettings:
    """What settings file and environment say of runs; a call of the page changes it for its own run."""
    context = run.make_context("run", ["-"], parent=serving)
    names = {entry.name for entry in fields(RunSettings)}
    return run_settings(context, {name: value for name, value in context.params.items() if name in names})
