"""The options of the commands, made from the one table in `batchlinks.config.settings`."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import click
import cloup
from click.core import ParameterSource

from batchlinks.cli.terminal import read_standard_input
from batchlinks.config.settings import (
    CONTRADICTIONS,
    Config,
    Group,
    NightlySettings,
    Option,
    RunSettings,
    ServeSettings,
    StatusSettings,
    as_given,
    check_path,
    flag,
    option_of,
    read_config,
)
from batchlinks.errors import SettingsError

if TYPE_CHECKING:
    from batchlinks.pipeline.intake import Source

Decorator = Callable[[Any], Any]

EXIT_CODES = (
    "Exit codes: 0 every patient has a link; 1 batchlinks or this computer failed; 2 the command, a setting or the file "
    "cannot be used; 3 done, and some rows are in the error report; 4 HealthEx refused the credentials or the project; "
    "5 HealthEx could not be reached, run it again; 130 interrupted, run it again."
)


class AnyPath(click.Path):
    """A path, also one that no file can have: click itself looks whether there is a file, and would break on a NUL."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if param is not None:
            check_path(param.opts[0] if param.opts else "A path", Path(os.fspath(value)))
        return super().convert(value, param, ctx)


def _click_type(annotation: Any, option: Option) -> Any:
    """What click can tell; whether a number is in its bounds `settings.validate` says, for callers in Python too."""
    if option.choices:
        return click.Choice(option.choices)
    kind = next((part for part in get_args(annotation) if part is not type(None)), annotation)
    if kind is Path:
        return AnyPath(path_type=Path)
    return kind


class _ColumnName(click.types.StringParamType):
    """A header; in an environment variable several stand with commas between."""

    envvar_list_splitter = ","

    def split_envvar_value(self, rv: str) -> list[str]:
        """Without the spaces around them."""
        return [name.strip() for name in rv.split(",") if name.strip()]


def variable(name: str) -> str:
    """The environment variable of an option."""
    return f"BATCHLINKS_{name.upper()}"


def _option(entry: "Field[Any]", annotation: Any, *, hidden: bool = False) -> Decorator:
    option: Option = entry.metadata["option"]
    if annotation is bool:
        shape: dict[str, Any] = {"is_flag": True}
    elif option.names_columns:
        shape = {"multiple": True, "type": _ColumnName(), "metavar": option.metavar}
    elif get_origin(annotation) is tuple:
        shape = {"multiple": True, "callback": _several, "metavar": option.metavar}
    else:
        shape = {"type": _click_type(annotation, option), "metavar": option.metavar}
    on_unless_off = annotation is bool and entry.default is True
    return cloup.option(
        f"{flag(entry.name)}/{flag(f'no_{entry.name}')}" if on_unless_off else flag(entry.name),
        entry.name,
        default=entry.default,
        show_default=entry.default not in (None, False, "", ()),
        envvar=None if option.one_run else [variable(entry.name), *option.variables],
        help=option.help,
        hidden=hidden,
        **shape,
    )


def run_options(function: Any) -> Any:
    """The options of `run`, in the groups of its help."""
    return _in_groups(function, _of(RunSettings), {Group.EVERYDAY: [_yes()]})


def check_options(function: Any) -> Any:
    """The same for `check`: it takes every option of a run, so that one word turns the one command into the other."""
    hidden = {entry.name for entry in fields(RunSettings) if entry.metadata["option"].only_run}
    return _in_groups(function, _of(RunSettings, hidden=hidden), {Group.EVERYDAY: [_yes(hidden=True), CONNECT]})


def status_options(function: Any) -> Any:
    """Its own, and those of a run that fit; it takes them all, so that one word turns the one command into the other."""
    options = _of(StatusSettings)
    for group, of_run in _of(RunSettings, hidden=_NOT_OF_STATUS).items():
        options.setdefault(group, []).extend(of_run)
    return _in_groups(function, options, {Group.EVERYDAY: [_yes(hidden=True)]})


_NOT_OF_STATUS = frozenset(
    """leave_out_consented annotate keep_duplicates only_new limit workers cluster no_ledger ledger_keep_days new_ledger
    refresh""".split()
)


def nightly_options(function: Any) -> Any:
    """The same for `nightly`: its own, and those of its runs that make sense without anybody there."""
    options = _of(NightlySettings)
    for group, of_run in _of(RunSettings, without={"output_dir"}).items():
        options.setdefault(group, []).extend(of_run)
    return _in_groups(function, options, {})


def serve_options(function: Any) -> Any:
    """Those of `serve`. What is said of runs elsewhere than in its command holds for the page's runs too."""
    return _in_groups(function, _of(ServeSettings), {})


def _several(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """An option that takes several: given several times, or with commas between."""
    if context.get_parameter_source(str(parameter.name)) is ParameterSource.DEFAULT_MAP:
        given = ("".join(given),)  # click has taken the one text of the settings file apart
    return tuple(each for text in given for each in text.replace(",", " ").split())


def _of(
    kind: type[RunSettings] | type[StatusSettings] | type[NightlySettings] | type[ServeSettings],
    *,
    hidden: Collection[str] = (),
    without: Collection[str] = (),
) -> dict[Group, list[Decorator]]:
    annotations = get_type_hints(kind)
    options: dict[Group, list[Decorator]] = {}
    for entry in fields(kind):
        if entry.name not in without:
            made = _option(entry, annotations[entry.name], hidden=entry.name in hidden)
            options.setdefault(entry.metadata["option"].group, []).append(made)
    return options


def _in_groups(function: Any, options: Mapping[Group, list[Decorator]], more: Mapping[Group, list[Decorator]]) -> Any:
    more = {Group.IT: SPEECH, **more}
    for group in reversed(Group):
        if members := [*options.get(group, ()), *more.get(group, ())]:
            function = cloup.option_group(group.value, *members)(function)
    return function


def _use_config(context: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    inherited = context.obj if path is None and isinstance(context.obj, Config) else None  # by `serve`, for its runs
    config = inherited or read_config(path, _all_option_names(context))
    context.default_map = dict(config.options)
    context.obj = config


def run_settings(
    context: click.Context, options: Mapping[str, Any], table: Mapping[str, Any] = MappingProxyType({})
) -> RunSettings:
    """What was said closest to the command counts, also of two options that contradict each other.

    `table` is a `[[roster]]` table's part of it. Raises SettingsError where it holds a value that an option does not take.
    """
    values = dict(options)
    ranks = {name: _rank(context, name) for name in options}
    for name, value in table.items():
        if ranks[name] > _TABLE:
            values[name], ranks[name] = _converted(context, name, value), _TABLE
    for pair in CONTRADICTIONS:
        closeness = {name: ranks[name] for name in pair if values.get(name)}
        if len(set(closeness.values())) == 2:
            weaker = max(closeness, key=lambda name: closeness[name])
            values[weaker] = False if values[weaker] is True else None
    return RunSettings(**values)


_FLAG, _VARIABLE, _TABLE, _COMMON_VARIABLE, _FILE, _DEFAULT = range(6)
"""Where a value comes from, the closest to the command first. A variable such as HEALTHEX_PROJECT_ID, which is not named
after the option, is meant for everything that does not say otherwise."""


def _rank(context: click.Context, name: str) -> int:
    match context.get_parameter_source(name):
        case ParameterSource.COMMANDLINE:
            return _FLAG
        case ParameterSource.ENVIRONMENT:
            return _VARIABLE if variable(name) in os.environ else _COMMON_VARIABLE
        case ParameterSource.DEFAULT_MAP:
            return _FILE
        case _:
            return _DEFAULT


def _converted(context: click.Context, name: str, value: object) -> Any:
    parameter = next(each for each in context.command.params if each.name == name)
    where = f"{config_of(context).name}, a [[roster]] table"
    try:
        return parameter.type_cast_value(context, as_given(value, name.replace("_", "-"), where))
    except click.BadParameter as error:
        raise SettingsError(f"{where}: {name.replace('_', '-')} takes {takes(parameter)}.") from error


def takes(parameter: click.Parameter) -> str:
    """What can be an option's value, in words."""
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return "true or false"
    if isinstance(parameter.type, click.Choice):
        return f"one of {', '.join(parameter.type.choices)}"
    if isinstance(parameter.type, click.IntRange):
        return f"a whole number from {parameter.type.min} to {parameter.type.max}"
    try:
        return option_of(str(parameter.name)).takes
    except KeyError:
        number = parameter.type in (click.INT, click.FLOAT)
        return "a number" if number else f"a value of the kind {parameter.type.name}"


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


def _yes(*, hidden: bool = False) -> Decorator:
    return cloup.option("--yes", is_flag=True, envvar=variable("yes"), help="Do not ask before sending.", hidden=hidden)


CONNECT = cloup.option(
    "--connect", is_flag=True, help="Try network, proxy, certificate, clock and sign-in; sends no patient ID."
)
SPEECH = [
    cloup.option(
        "--config",
        type=AnyPath(path_type=Path),
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


def source_of(roster: str, settings: RunSettings) -> "Source":
    """The roster that an argument names. Raises SettingsError or FolderError for one elsewhere that cannot be fetched."""
    from batchlinks.pipeline.intake import open_source
    from batchlinks.roster.read import MAX_FILE_BYTES
    from batchlinks.roster.source import RosterBytes

    if roster != "-":
        return open_source(roster, settings)

    return RosterBytes("roster", read_standard_input(MAX_FILE_BYTES))
