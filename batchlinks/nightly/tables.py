"""The `[[roster]]` tables of `batchlinks.toml`: which file gets which settings, and what is expected of it."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import time
from fnmatch import fnmatchcase
from typing import Any

from batchlinks.config.settings import ROSTER_KEYS, Config, RunSettings, validate
from batchlinks.errors import SettingsError


@dataclass(frozen=True, slots=True)
class RosterTable:
    """Files whose name matches, and how they are run."""

    name: str
    """For messages and metrics."""

    patterns: tuple[str, ...]
    """With `*`, `?` and `[…]`, in which upper and lower case are the same."""

    settings: RunSettings
    ready: str | None = None
    """Name of the file that says that a roster has arrived whole; `{name}` is the roster's, `{stem}` that without ending."""

    max_error_share: float | None = None
    """The largest share of rows, from 0 to 1, that may be refused before anything is sent."""

    max_new: int | None = None
    """How many links may be asked for."""

    expect_by: time | None = None
    """When, each day by the local clock, a roster must have come."""

    def matches(self, file_name: str) -> bool:
        return any(fnmatchcase(file_name.lower(), pattern.lower()) for pattern in self.patterns)


SettingsOf = Callable[[Mapping[str, Any]], RunSettings]
"""The settings of a run by what a table says of them, and the command, the environment and the file for the rest."""


def read_tables(config: Config, settings_of: SettingsOf, *, ready: str | None) -> list[RosterTable]:
    """The tables in their order; without any, one that takes every file with the settings of the command.

    Raises SettingsError for a table that cannot be used, and where no ID column is named: nothing is guessed at night.
    """
    if not config.rosters:
        settings = validate(settings_of({}))
        if not settings.id_column:
            raise SettingsError("At night nothing is guessed: name the patient ID's column with --id-column.")
        return [RosterTable("all", ("*",), settings, ready=_marker(ready, "--ready"))]
    tables = [_read_table(number, table, config, settings_of, ready) for number, table in enumerate(config.rosters, 1)]
    names = [table.name for table in tables]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise SettingsError(f"{config.name}: two [[roster]] tables are called {repeated}. Give each its own name.")
    return tables


def table_for(file_name: str, tables: Sequence[RosterTable]) -> RosterTable | None:
    """The first whose pattern fits."""
    return next((table for table in tables if table.matches(file_name)), None)


def _read_table(
    number: int, table: Mapping[str, Any], config: Config, settings_of: SettingsOf, ready: str | None
) -> RosterTable:
    where = f"{config.name}, [[roster]] table {number}"
    match = table.get("match")
    patterns = [match] if isinstance(match, str) else match
    if not isinstance(patterns, list) or not patterns or not all(isinstance(each, str) and each for each in patterns):
        raise SettingsError(f'{where}: match says which files it is for, as in match = "clinic_*.csv".')
    name = table.get("name", patterns[0])
    if not isinstance(name, str) or not name.strip():
        raise SettingsError(f"{where}: name is a text.")
    settings = settings_of({key: value for key, value in table.items() if key not in ROSTER_KEYS})
    try:
        settings = validate(settings)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from error
    if not settings.id_column:
        raise SettingsError(
            f'{where}: at night nothing is guessed: name the patient ID\'s column, as in id-column = "MRN".'
        )
    return RosterTable(
        name=name.strip(),
        patterns=tuple(patterns),
        settings=settings,
        ready=_marker(table.get("ready", ready), f"{where}: ready"),
        max_error_share=_number(table, "max_error_share", where, float, at_most=1.0),
        max_new=_number(table, "max_new", where, int),
        expect_by=_time(table.get("expect_by"), where),
    )


def _number(table: Mapping[str, Any], key: str, where: str, kind: type, *, at_most: float | None = None) -> Any:
    value = table.get(key)
    if value is None:
        return None
    fits = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool) and value >= 0
    if not fits or (at_most is not None and value > at_most):
        sort = "a whole number" if kind is int else f"a number from 0 to {at_most:g}"
        raise SettingsError(f"{where}: {key} is {sort}.")
    return kind(value)


def _time(value: object, where: str) -> time | None:
    if value is None or isinstance(value, time):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d{1,2}:\d{2}", value.strip()):
        try:
            return time.fromisoformat(value.strip().zfill(5))
        except ValueError:
            pass
    raise SettingsError(f'{where}: expect_by is a time of day, such as "05:00".')


def _marker(value: object, where: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and ("{name}" in value or "{stem}" in value) and not set("/\\") & set(value):
        with suppress(KeyError, IndexError, ValueError):
            if value.format(name="a.csv", stem="a") not in ("a.csv", "a"):  # a list cannot be its own marker
                return value
    raise SettingsError(f"{where} is the name of a file with {{name}} or {{stem}} in it, such as {{name}}.done.")
