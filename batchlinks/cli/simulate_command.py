"""`batchlinks simulate`."""

from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import click
import cloup

from batchlinks.cli.terminal import say, speak
from batchlinks.config.settings import flag
from batchlinks.errors import ExitCode, SettingsError
from batchlinks.simulator.behavior import SimulatorOptions


def _simulator_options(function: Any) -> Any:
    annotations = get_type_hints(SimulatorOptions)
    for entry in reversed(fields(SimulatorOptions)):
        annotation = annotations[entry.name]
        sentence = f"{entry.metadata['help'][:1].upper()}{entry.metadata['help'][1:]}"
        if get_origin(annotation) is frozenset:  # external IDs, which no argument may hold
            function = cloup.option(
                flag(entry.name),
                entry.name,
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help=f"{sentence}: a file of them, one a line.",
            )(function)
            continue
        if entry.metadata["private"]:
            continue
        multiple = get_origin(annotation) is tuple
        kind = next((part for part in get_args(annotation) if part is not type(None)), annotation)
        choices = tuple(part for part in get_args(annotation) if isinstance(part, str))
        unit = f" ({entry.metadata['unit']})" if entry.metadata["unit"] else ""
        shape: dict[str, Any] = {"type": click.Choice(choices) if choices else kind, "multiple": multiple}
        is_on = entry.default is True  # then there must be a way to turn it off
        function = cloup.option(
            f"{flag(entry.name)}/--no-{entry.name.replace('_', '-')}" if is_on else flag(entry.name),
            entry.name,
            default=entry.default,
            show_default=entry.default not in (None, False, 0.0),
            help=f"{sentence}{unit}.",
            **({"is_flag": True} if annotation is bool else shape),
        )(function)
    return function


@cloup.command()
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
    speak("text", quiet=False, verbose=False)
    from batchlinks.simulator.foreground import serve_until_interrupted

    chosen: dict[str, Any] = {
        name: _ids_in(value) if isinstance(value, Path) else value for name, value in options.items()
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    serve_until_interrupted(SimulatorOptions(**given), host, port, say=say)
    return ExitCode.DONE


def _ids_in(path: Path) -> frozenset[str]:
    """Raises SettingsError for a file that is no text."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path.name} cannot be read as a list of IDs, one a line.") from error
    return frozenset(filter(None, map(str.strip, lines)))
