"""The options of the commands, made from the one table in `batchlinks.settings`."""

import sys
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import click
import cloup
from click.core import ParameterSource

from batchlinks.settings import CONTRADICTIONS, Config, Group, Option, RunSettings, flag, read_config

if TYPE_CHECKING:
    from batchlinks.intake import Source

Decorator = Callable[[Any], Any]

EXIT_CODES = (
    "Exit codes: 0 every patient has a link; 1 batchlinks or this computer failed; 2 the command, a setting or the file "
    "cannot be used; 3 done, and some rows are in the error report; 4 HealthEx refused the credentials or the project; "
    "5 HealthEx could not be reached, run it again; 130 interrupted, run it again."
)


def _click_type(annotation: Any, option: Option) -> Any:
    """What click can tell; whether a number is in its bounds `settings.validated` says, for callers in Python too."""
    if option.choices:
        return click.Choice(option.choices)
    kind = next((part for part in get_args(annotation) if part is not type(None)), annotation)
    if kind is Path:
        return click.Path(path_type=Path)
    return kind


def variable(name: str) -> str:
    """The environment variable of an option."""
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
        envvar=[variable(entry.name), *option.variables],
        help=option.help,
        hidden=hidden,
        **shape,
    )


def settings_options(*, check: bool) -> Decorator:
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
            options += SPEECH if group is Group.IT else [_yes(hidden=check)]
            options += [CONNECT] if check and group is Group.EVERYDAY else []
            function = cloup.option_group(group.value, *options)(function)
        return function

    return decorate


def _use_config(context: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    config = read_config(path, _all_option_names(context))
    context.default_map = dict(config.options)
    context.obj = config


def run_settings(context: click.Context, options: dict[str, Any]) -> RunSettings:
    """Of two options that contradict each other, the one that was said closer to the command counts."""
    for pair in CONTRADICTIONS:
        ranks = {name: _RANKS.index(context.get_parameter_source(name)) for name in pair if options[name]}
        if len(set(ranks.values())) == 2:
            weaker = max(ranks, key=lambda name: ranks[name])
            options[weaker] = False if options[weaker] is True else None
    return RunSettings(**options)


_RANKS = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)


def _all_option_names(context: click.Context) -> set[str]:
    """Of every command that reads settings, so that one file serves them all."""
    group = context.find_root().command
    commands = group.commands.values() if isinstance(group, click.Group) else [context.command]
    return {
        parameter.name
        for command in commands
        if any(parameter.name == "config" for parameter in command.params)
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name and parameter.expose_value
    }


def _yes(*, hidden: bool) -> Decorator:
    return cloup.option("--yes", is_flag=True, envvar=variable("yes"), help="Do not ask before sending.", hidden=hidden)


CONNECT = cloup.option(
    "--connect", is_flag=True, help="Try network, proxy, certificate, clock and sign-in; sends no patient ID."
)
SPEECH = [
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
        envvar=variable("log_format"),
        help="How standard error is written.",
    ),
    cloup.option("--quiet", is_flag=True, envvar=variable("quiet"), help="Say nothing but errors."),
    cloup.option("--verbose", is_flag=True, envvar=variable("verbose"), help="Say more. Never IDs, links or secrets."),
]


def config_of(context: click.Context) -> Config:
    """What `batchlinks.toml` said to this command."""
    found = context.find_object(Config)
    return found if found is not None else Config()


def source_of(roster: str) -> "Source":
    """The roster that an argument names."""
    if roster != "-":
        return Path(roster)
    from batchlinks.roster import RosterBytes

    return RosterBytes("roster", sys.stdin.buffer.read())
