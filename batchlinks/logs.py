"""What is said on standard error: sentences for people, or JSON lines for machines. Never a value of a roster.

A standard error that takes nothing (closed, on a full disk) ends no work: then nothing is said.

Libraries say nothing here: at their more talkative levels, HTTP clients log whole addresses.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import structlog

from batchlinks.streams import forgiving

Level = Literal["quiet", "normal", "verbose"]
Form = Literal["text", "json"]

_LEVELS = {"quiet": logging.ERROR, "normal": logging.INFO, "verbose": logging.DEBUG}
_current: Any = None
_form: Form = "text"


def logger() -> Any:
    """A structlog logger: `.info("A sentence.", counts=…)`. Says only errors until `configure` was called."""
    global _current
    if _current is None:
        _current = _made("text", "quiet")
    return _current


def configure(form: Form, level: Level, **always: str) -> None:
    """Set how this process speaks; `always` goes into every JSON line."""
    global _current, _form
    _current, _form = _made(form, level).bind(**always), form


@contextmanager
def bound(**facts: object) -> Iterator[None]:
    """Within, these stand in every JSON line too."""
    global _current
    before = logger()
    _current = before.bind(**facts)
    try:
        yield
    finally:
        _current = before


def record(sentence: str, **facts: object) -> None:
    """A line for machines alone: where people read, the command says it in its own words."""
    if _form == "json":
        logger().info(sentence, **facts)


def forget() -> None:
    """Say only errors again, on whatever standard error is by then: for a command that has ended."""
    global _current, _form
    _current, _form = None, "text"


def _made(form: Form, level: Level) -> Any:
    """A logger of our own: a program that uses batchlinks as a library keeps its structlog as it is."""
    processors: list[Any] = [structlog.processors.add_log_level]
    if form == "json":
        processors += [
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        processors.append(_sentence)
    return structlog.wrap_logger(
        structlog.PrintLogger(forgiving(sys.stderr)),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
    )


def _sentence(_logger: object, _method: str, event: dict[str, Any]) -> str:
    """The sentence alone; what follows it as keys is for machines."""
    prefix = {"warning": "Warning: ", "error": "Error: "}.get(event["level"], "")
    return f"{prefix}{event['event']}"
