"""The command line: a thin door. Settings in, one call, an exit code and one last line out.

Nothing heavy is imported before a command needs it, so that help answers at once.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import click
import cloup
from click.core import ParameterSource

from batchlinks import __version__
from batchlinks.codes import ErrorCode
from batchlinks.errors import BatchlinksError, ExitCode
from batchlinks.settings import (
    CONTRADICTIONS,
    Config,
    Group,
    Option,
    RunSettings,
    flag,
    is_secret_option,
    option_of,
    read_config,
)
from batchlinks.simulator.options import SimulatorOptions

if TYPE_CHECKING:
    from batchlinks.batch import Plan, Report
    from batchlinks.intake import Source
    from batchlinks.progress import Progress

Decorator = Callable[[Any], Any]

_speaking = False
"""Whether it is settled how standard error is written."""

_EXIT_CODES = (
    "Exit codes: 0 every patient has a link; 1 batchlinks or this computer failed; 2 the command, a setting or the file "
    "cannot be used; 3 done, and some rows are in the error report; 4 HealthEx refused the credentials or the project; "
    "5 HealthEx could not be reached, run it again; 130 interrupted, run it again."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. Whatever goes wrong becomes one sentence on standard error."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = batchlinks.main(args=given, prog_name="batchlinks", standalone_mode=False)
    except BatchlinksError as error:
        return _failed(str(error), error.exit_code, given)
    except click.UsageError as error:
        return _failed(_usage(error), ExitCode.UNUSABLE, given)
    except (KeyboardInterrupt, click.Abort):
        return _failed("Interrupted. No link was asked for.", ExitCode.INTERRUPTED, given)
    except Exception as error:
        return _failed(_defect(error), ExitCode.BROKEN, given)
    finally:
        _be_silent()
    return int(code or ExitCode.DONE)


def _failed(sentence: str, code: ExitCode, arguments: Sequence[str]) -> int:
    from batchlinks.logs import logger

    if not _speaking:  # the command was not understood, or its settings file
        wants_json = "--log-format json" in " ".join(arguments).replace("=", " ")
        wants_json = wants_json or os.environ.get(_variable("log_format")) == "json"
        _speak("json" if wants_json else "text", quiet=True, verbose=False)
    logger().error(sentence, exit_code=int(code))
    return code


def _usage(error: click.UsageError) -> str:
    """What is wrong with the command; never an argument that somebody typed, which may be an ID or a secret."""
    command = error.ctx.command_path if error.ctx else "batchlinks"
    match error:
        case click.NoSuchOption():
            return f"{_no_such_option(error)} See `{command} --help`."
        case click.MissingParameter():
            said = f"The patient list is missing, as in `{command} patients.xlsx`."
        case click.BadParameter(param=click.Option() as option):
            said = f"{option.opts[0]}{_whence(error.ctx, option)} takes {_takes(option)}."
        case click.BadOptionUsage():
            said = error.format_message()
        case click.exceptions.NoArgsIsHelpError():
            said = f"What is to be done? There is {_commands()}."
        case _ if "No such command" in error.message:
            said = f"There is no such command, but {_commands()}."
        case _ if "extra argument" in error.message:
            said = "There is one argument too many."
        case _:
            said = "The command cannot be understood."
    return f"{said} See `{command} --help`."


def _no_such_option(error: click.NoSuchOption) -> str:
    if is_secret_option(error.option_name):
        return (
            "A secret cannot be an option, since every program on this computer can read a command. Set "
            "HEALTHEX_API_KEY and HEALTHEX_API_SECRET, or the same with _FILE, or keep them in the system's keyring."
        )
    near = f" Did you mean {' or '.join(error.possibilities)}?" if error.possibilities else ""
    return f"There is no such option.{near}"


def _whence(context: click.Context | None, option: click.Option) -> str:
    """Where a value comes from that is not on the command line."""
    source = context.get_parameter_source(option.name) if context and option.name else None
    if source is ParameterSource.ENVIRONMENT:
        return f" (here from the environment, {_variable(str(option.name))})"
    return " (here from the settings file)" if source is ParameterSource.DEFAULT_MAP else ""


def _takes(option: click.Option) -> str:
    if option.is_flag:
        return "true or false"
    if isinstance(option.type, click.Choice):
        return f"one of {', '.join(option.type.choices)}"
    if isinstance(option.type, click.IntRange):
        return f"a whole number from {option.type.min} to {option.type.max}"
    try:
        return option_of(str(option.name)).takes
    except KeyError:
        return "a number" if option.type in (click.INT, click.FLOAT) else f"a value of the kind {option.type.name}"


def _commands() -> str:
    return ", ".join(f"`batchlinks {name}`" for name in batchlinks.commands)


def _defect(error: Exception) -> str:
    """Where it broke, and as what; never the values that it held, as a traceback or a message might."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "batchlinks" in Path(frame.filename).parts
    ]
    place = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "an unknown place"
    return (
        f"This is a defect in batchlinks {__version__} ({type(error).__name__} at {place}). Answers that had arrived are kept "
        "in the ledger. Please report it with this line."
    )


# --- options --------------------------------------------------------------------------------------------------


def _click_type(annotation: Any, option: Option) -> Any:
    """What click can tell; whether a number is in its bounds `settings.validated` says, for callers in Python too."""
    if option.choices:
        return click.Choice(option.choices)
    kind = next((part for part in get_args(annotation) if part is not type(None)), annotation)
    if kind is Path:
        return click.Path(path_type=Path)
    return kind


def _variable(name: str) -> str:
    return f"BATCHLINKS_{name.upper()}"


def _run_option(entry: "Field[Any]", annotation: Any, *, hidden: bool) -> Decorator:
    option: Option = entry.metadata["option"]
    if annotation is bool:
        shape: dict[str, Any] = {"is_flag": True}
    else:
        shape = {"type": _click_type(annotation, option), "metavar": option.metavar}
    return cloup.option(
        flag(entry.name),
        entry.name,
        default=entry.default,
        show_default=entry.default not in (None, False, ""),
        envvar=[_variable(entry.name), *option.variables],
        help=option.help,
        hidden=hidden,
        **shape,
    )


def _settings_options(*, check: bool) -> Decorator:
    """The options of `run` or `check`, in the two groups of their help.

    A check takes every option of a run, so that one word turns the one command into the other.
    """
    annotations = get_type_hints(RunSettings)

    def decorate(function: Any) -> Any:
        for group in reversed(Group):
            options = [
                _run_option(entry, annotations[entry.name], hidden=check and entry.metadata["option"].only_run)
                for entry in fields(RunSettings)
                if entry.metadata["option"].group is group
            ]
            options += _SPEECH if group is Group.IT else [_yes(hidden=check)]
            options += [_CONNECT] if check and group is Group.EVERYDAY else []
            function = cloup.option_group(group.value, *options)(function)
        return function

    return decorate


def _use_config(context: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    config = read_config(path, _all_option_names())
    context.default_map = dict(config.options)
    context.obj = config


def _run_settings(context: click.Context, options: dict[str, Any]) -> RunSettings:
    """Of two options that contradict each other, the one that was said closer to the command counts."""
    for pair in CONTRADICTIONS:
        ranks = {name: _RANKS.index(context.get_parameter_source(name)) for name in pair if options[name]}
        if len(set(ranks.values())) == 2:
            weaker = max(ranks, key=lambda name: ranks[name])
            options[weaker] = False if options[weaker] is True else None
    return RunSettings(**options)


_RANKS = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)


def _all_option_names() -> set[str]:
    """Of every command, so that one file serves them all."""
    return {
        parameter.name
        for command in batchlinks.commands.values()
        if command.name in ("run", "check")
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name and parameter.expose_value
    }


def _yes(*, hidden: bool) -> Decorator:
    return cloup.option(
        "--yes", is_flag=True, envvar=_variable("yes"), help="Do not ask before sending.", hidden=hidden
    )


_CONNECT = cloup.option(
    "--connect", is_flag=True, help="Try network, proxy, certificate, clock and sign-in; sends no patient ID."
)
_SPEECH = [
    cloup.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_use_config,
        metavar="FILE",
        help="Settings file; else batchlinks.toml in the current folder.",
    ),
    cloup.option(
        "--log-format",
        type=click.Choice(("text", "json")),
        default="text",
        show_default=True,
        envvar=_variable("log_format"),
        help="How standard error is written.",
    ),
    cloup.option("--quiet", is_flag=True, envvar=_variable("quiet"), help="Say nothing but errors."),
    cloup.option("--verbose", is_flag=True, envvar=_variable("verbose"), help="Say more. Never IDs, links or secrets."),
]


# --- commands -------------------------------------------------------------------------------------------------


@cloup.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@cloup.version_option(__version__, prog_name="batchlinks")
def batchlinks() -> None:
    """Get a HealthEx link for every patient on a list.

    Takes the patient list you have (Excel or CSV), finds the patient ID, checks every row, asks HealthEx for each
    patient's own link, and writes a workbook with the links and a report of the rows to fix.
    """


@batchlinks.command(epilog=_EXIT_CODES)
@cloup.argument("roster", metavar="ROSTER", help="The patient list: CSV or spreadsheet; - for CSV on standard input.")
@_settings_options(check=False)
@cloup.pass_context
def run(
    context: click.Context, /, roster: str, yes: bool, log_format: Any, quiet: bool, verbose: bool, **options: Any
) -> int:
    """Get the links: from your patient list to a workbook."""
    _speak(log_format, quiet=quiet, verbose=verbose)
    from batchlinks import batch
    from batchlinks.interruption import Interruption

    source = _source(roster)
    interruption = Interruption()
    around = batch.Surroundings(
        config=_config(context),
        progress=_progress(log_format, quiet=quiet),
        confirm=_ask_person if not yes and _somebody_watches() else lambda _: True,
        interruption=interruption,
    )
    with interruption.installed():
        report = batch.run(source, _run_settings(context, options), around)
    return _told(report, quiet=quiet)


@batchlinks.command(epilog=_EXIT_CODES)
@cloup.argument("roster", metavar="[ROSTER]", required=False, help="The patient list; not needed with --connect.")
@_settings_options(check=True)
@cloup.pass_context
def check(
    context: click.Context,
    /,
    roster: str | None,
    connect: bool,
    yes: bool,  # noqa: ARG001 nothing is sent
    log_format: Any,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> int:
    """Look at the list only: what would be sent or refused.

    Asks HealthEx for nothing, and needs no account.
    """
    _speak(log_format, quiet=quiet, verbose=verbose)
    if roster is None and not connect:
        raise click.MissingParameter(ctx=context, param=context.command.params[0])
    settings = _run_settings(context, options)
    if connect:
        from batchlinks.connection import try_connection

        try_connection(timeout_s=settings.timeout, say=(lambda _: None) if quiet else click.echo)
        if roster is None:
            return ExitCode.DONE
    from batchlinks import batch

    source = _source(str(roster))
    return _told(batch.check(source, settings, batch.Surroundings(config=_config(context))), quiet=quiet)


@batchlinks.command(epilog=_EXIT_CODES)
@cloup.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    default=Path("demo_output"),
    show_default=True,
    metavar="DIR",
    help="Folder for the results.",
)
def demo(output_dir: Path) -> int:
    """See it work, with invented patients and no account."""
    _speak("text", quiet=False, verbose=False)
    from batchlinks.demo import run_demo

    return _told(run_demo(output_dir, progress=_progress("text", quiet=False)), quiet=False)


def _simulator_options(function: Any) -> Any:
    annotations = get_type_hints(SimulatorOptions)
    for entry in reversed(fields(SimulatorOptions)):
        if entry.metadata["private"]:
            continue
        annotation = annotations[entry.name]
        multiple = get_origin(annotation) is tuple
        kind = next((part for part in get_args(annotation) if part is not type(None)), annotation)
        choices = tuple(part for part in get_args(annotation) if isinstance(part, str))
        unit = f" ({entry.metadata['unit']})" if entry.metadata["unit"] else ""
        shape: dict[str, Any] = {"type": click.Choice(choices) if choices else kind, "multiple": multiple}
        function = cloup.option(
            flag(entry.name),
            entry.name,
            default=entry.default,
            show_default=entry.default not in (None, False, 0.0),
            help=f"{entry.metadata['help'][:1].upper()}{entry.metadata['help'][1:]}{unit}.",
            **({"is_flag": True} if annotation is bool else shape),
        )(function)
    return function


@batchlinks.command()
@cloup.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@cloup.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 for any free one."
)
@_simulator_options
def simulate(host: str, port: int, **options: Any) -> int:
    """Start a stand-in for HealthEx on this computer.

    It answers as HealthEx would, or misbehaves as told. Its key is simulator-key and its secret simulator-secret, its
    project demo-project; its links lead nowhere.
    """
    _speak("text", quiet=False, verbose=False)
    from batchlinks.simulator.command import serve_until_interrupted

    serve_until_interrupted(SimulatorOptions(**options), host, port, say=click.echo)
    return ExitCode.DONE


# --- what a person sees ---------------------------------------------------------------------------------------


def _speak(log_format: Any, *, quiet: bool, verbose: bool) -> None:
    from batchlinks import logs

    global _speaking
    _speaking = True
    logs.configure(log_format, "quiet" if quiet else "verbose" if verbose else "normal")


def _be_silent() -> None:
    """For the next command in this process, or a program that uses batchlinks beside it."""
    global _speaking
    if _speaking:
        from batchlinks import logs

        logs.forget()
        _speaking = False


def _config(context: click.Context) -> Config:
    found = context.find_object(Config)
    return found if found is not None else Config()


def _source(roster: str) -> "Source":
    if roster != "-":
        return Path(roster)
    from batchlinks.roster import RosterBytes

    return RosterBytes("roster", sys.stdin.buffer.read())


def _somebody_watches() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _progress(log_format: str, *, quiet: bool) -> "Progress":
    from batchlinks.logs import logger
    from batchlinks.progress import Bar, Lines, Silent

    if quiet:
        return Silent()
    if sys.stderr.isatty() and log_format == "text":
        return Bar(sys.stderr)
    return Lines(logger().info)


def _ask_person(plan: "Plan") -> bool:
    lines = [
        "",
        f"  Patient list   {plan.roster}: {plan.rows:,} rows, patient ID in {plan.id_column}",
        f"  Without a link {plan.refused:,} rows to fix, {plan.duplicates:,} duplicates",
        f"  Links known    {plan.known:,}",
        f"  To be sent     {plan.to_send:,} patient IDs, and nothing else, to {plan.host}",
        f"  Project        {plan.project_id}",
        "",
    ]
    if plan.refresh:
        lines.insert(-1, "  --refresh asks again for all: links that patients were sent before may stop working.")
    click.echo("\n".join(lines), err=True)
    return plan.to_send == 0 or click.confirm("Send?", err=True, default=False)


def _told(report: "Report", *, quiet: bool) -> int:
    """Say what happened and where the files are: for a person, as the last line."""
    from batchlinks.logs import logger

    if report.stopped_by is not None:
        logger().error(str(report.stopped_by), exit_code=int(report.exit_code))
    if not quiet:
        click.echo(last_line(report))
    return report.exit_code


def last_line(report: "Report") -> str:
    """What happened and where the files are, in one line."""
    summary, published = report.summary, report.published
    refused = sum(summary.errors.values())
    patients = summary.rows - summary.duplicates - summary.errors.get(ErrorCode.NOT_A_PATIENT.value, 0)
    aside = f"{_counted(summary.duplicates, 'duplicate')}, {_counted(refused, 'row')} in the error report"
    if summary.check:
        said = f"Checked: {summary.linked:,} of {patients:,} patients can be sent ({aside})."
    else:
        word = "Stopped" if report.stopped_by else "Done"
        said = f"{word}: {summary.linked:,} of {patients:,} patients have a link ({aside})."
        if summary.written != summary.linked:
            said += f" {summary.written:,} rows are in the links workbook."
    if published.obstacle:
        said += f" They have another name, since {published.obstacle}."
    names = ", ".join(path.name for path in published.paths.values())
    return f"{said} Files in {published.folder.resolve()}: {names}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
