"""What may be set for a run on the upload page: the options of `run`, but for those that are its server's own affair."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from batchlinks.config.settings import CONTRADICTIONS, RunSettings, check_settings, option_of
from batchlinks.errors import SettingsError
from batchlinks.next_steps import Setting

_THE_SERVERS_OWN = frozenset({"no_ledger", "ledger_keep_days", "share_with_group", "cluster", "workers"})
"""The ledger is everybody's, and without it a run could not be taken up again; whom files and calls are shared with is for IT
to say."""

_LONGEST_TEXT = 10_000
"""Of any field; each option has a bound of its own."""

_HINTS = get_type_hints(RunSettings)


def is_path(name: str) -> bool:
    """Whether this option of `RunSettings` is a place on the server."""
    return Path in (_HINTS[name], *get_args(_HINTS[name]))


SETTABLE: Mapping[str, Any] = MappingProxyType(
    {
        entry.name: _HINTS[entry.name]
        for entry in fields(RunSettings)
        if entry.name not in _THE_SERVERS_OWN and not is_path(entry.name)
    }
)
"""Name -> annotation of every option that can be set from elsewhere; no path of the server's is among them."""

_DEFINITIONS: dict[str, Any] = {
    name: (annotation | None, Field(default=None, description=option_of(name).help))
    for name, annotation in SETTABLE.items()
}

RunFields: type[BaseModel] = create_model(
    "RunFields",
    __config__=ConfigDict(extra="forbid", str_max_length=_LONGEST_TEXT),
    __doc__="Options of a run, named like those of `batchlinks run`. `null` goes back to what the server has set up.",
    **_DEFINITIONS,
)
"""What a call may hold. What is not given stays as it is."""


def given(model: BaseModel) -> dict[str, Any]:
    """Only what the call held."""
    return {name: getattr(model, name) for name in model.model_fields_set}


def from_form(texts: Mapping[str, str]) -> dict[str, Any]:
    """From the text fields of a form, where a blank one says nothing. Raises SettingsError."""
    try:
        return given(RunFields.model_validate({name: _of_form(name, text) for name, text in texts.items() if text}))
    except ValidationError as error:
        raise error_of(error.errors()) from None


def _of_form(name: str, text: str) -> str | list[str]:
    """A text field's value; of an option that names columns, a column a line."""
    if name in SETTABLE and get_origin(SETTABLE[name]) is tuple:
        return [line.strip() for line in text.splitlines() if line.strip()]
    return text


def error_of(complaints: Sequence[Any]) -> SettingsError:
    """The first of pydantic's complaints for a person; never the value that somebody gave."""
    kind = str(complaints[0]["type"])
    name = next((part for part in reversed(complaints[0]["loc"]) if isinstance(part, str) and part != "body"), "")
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(name, SETTABLE, n=1)
        return SettingsError(f"There is no such field.{f' Did you mean {near[0]}?' if near else ''}")
    if name not in SETTABLE:
        name = next((part for part in complaints[0]["loc"] if part in SETTABLE), "")
    if not name:
        return SettingsError("What was sent cannot be understood: /docs on this server has the fields of each call.")
    if kind == "string_too_long":
        return SettingsError(Setting(name), " is too long.")
    return SettingsError(
        Setting(name), f" takes {'true or false' if SETTABLE[name] is bool else option_of(name).takes}."
    )


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run after a call with these changes; None takes one back."""
    return {name: value for name, value in {**settings, **changes}.items() if value is not None}


def effective(base: RunSettings, settings: Mapping[str, Any]) -> RunSettings:
    """What a run obeys: what IT has set up, changed by what was set for this run. Raises SettingsError."""
    aside: dict[str, Any] = {
        other: False if getattr(base, other) is True else None
        for pair in CONTRADICTIONS
        for one, other in (pair, pair[::-1])
        if settings.get(one) and other not in settings and getattr(base, other)
    }
    added = {  # what IT leaves out stays left out
        name: (*getattr(base, name), *value)
        for name, value in settings.items()
        if name in SETTABLE and get_origin(SETTABLE[name]) is tuple
    }
    found = replace(base, **aside, **{**settings, **added})
    check_settings(found)
    return found
