"""`batchlinks simulate`."""

from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

import click
import cloup

from batchlinks.cli.terminal import say, speak
from batchlinks.config.settings import flag
from batchlinks.errors import ExitCode
from batchlinks.simulator.behavior import SimulatorOptions


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

    serve_until_interrupted(SimulatorOptions(**options), host, port, say=say)
    return ExitCode.DONE
