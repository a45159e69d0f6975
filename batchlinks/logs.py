"""What is said on standard error: sentences for people, or JSON lines for machines. Never a value of a roster.

A standard error that takes nothing (closed, on a full disk) ends no work: then nothing is said.

Libraries say nothing here: at their more talkative levels, HTTP clients log whole addresses.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import structlog

from batchlinks.next_steps import COMMAND, Door
from batchlinks.streams import forgiving

Level = Literal["quiet", "normal", "verbose"]
Form = Literal["text", "json"]

_LEVELS = {"quiet": logging.ERROR, "normal": logging.INFO, "verbose": logging.DEBUG}
_current: Any = None
_form: Form = "text"


@dataclass(frozen=True, slots=True)
class RunWarning:
    """What a run or check warns of: its rows are used all the same, unless the sentence says otherwise."""

    sentence: str
    """For a person. It holds no patient data."""

    code: str | None = None
    """One of the README's warning codes; None for what has none."""

    rows: tuple[int, ...] = ()
    """Of the roster, as a spreadsheet numbers them: the header is row 1."""

    def __str__(self) -> str:
        return self.sentence


Listener = Callable[[RunWarning], object]

# Of one run, also where several are at work in threads of one process.
_bound: ContextVar[Mapping[str, object]] = ContextVar("bound", default=MappingProxyType({}))
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_door: ContextVar[Door] = ContextVar("door", default=COMMAND)


def logger() -> Any:
    """A structlog logger: `.info("A sentence.", counts=…)`. Says only errors until `configure` was called."""
    global _current
    if _current is None:
        _current = _made("text", "quiet")
    facts, listener = _bound.get(), _listener.get()
    said = _current.bind(**facts) if facts else _current
    return said if listener is None else _Overheard(said, listener)


def door() -> Door:
    """Whose words a sentence is said in: the command's, unless somebody else listens."""
    return _door.get()


@contextmanager
def heard_by(listener: Listener, at: Door) -> Iterator[None]:
    """Within, `listener` hears every warning too, in the words of this door."""
    listening, speaking = _listener.set(listener), _door.set(at)
    try:
        yield
    finally:
        _door.reset(speaking)
        _listener.reset(listening)


class _Overheard:
    """A logger whose warnings somebody hears."""

    def __init__(self, said: Any, listener: Listener) -> None:
        self._said = said
        self._listener = listener

    def __getattr__(self, name: str) -> Any:
        return getattr(self._said, name)

    def warning(self, sentence: str, *, code: str | None = None, rows: object = (), **facts: object) -> None:
        numbers = tuple(int(row) for row in rows) if isinstance(rows, list | tuple) else ()
        self._listener(RunWarning(sentence, code, numbers))
        self._said.warning(sentence, code=code, rows=rows, **facts)


def configure(form: Form, level: Level, **always: str) -> None:
    """Set how this process speaks; `always` goes into every JSON line."""
    global _current, _form
    _current, _form = _made(form, level).bind(**always), form


@contextmanager
def bound(**facts: object) -> Iterator[None]:
    """Within, these stand in every JSON line too."""
    before = _bound.set({**_bound.get(), **facts})
    try:
        yield
    finally:
        _bound.reset(before)


def record(sentence: str, **facts: object) -> None:
    """A line for machines alone: where people read, the command says it in its own words."""
    if _form == "json":
        logger().info(sentence, **facts)


def warn_always(sentence: str, **facts: object) -> None:
    """A warning that somebody must see, also where only errors are asked for."""
    _made(_form, "normal").warning(sentence, **facts)


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
