"""The `[[roster]]` tables of `batchlinks.toml`: which file gets which settings, and what is expected of it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from batchlinks.config.settings import ROSTER_KEYS, Config, RunSettings, check_text, validate
from batchlinks.errors import SettingsError
from batchlinks.nightly.due import DueTime, read_due_time

_LONGEST_NAME = 100
_LONGEST_FILE_NAME = 255
_MOST_PATTERNS = 100
_HIGHEST_COUNT = 1_000_000_000


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

    min_rows: int | None = None
    """How many rows a list must have."""

    max_drop: float | None = None
    """By which share, from 0 to 1, a list may be shorter than the last one of the same name, digits aside."""

    trailer: Literal["count"] | None = None
    """`count`: the last row says how many rows there are, and a list in which it does not is not whole."""

    expect_by: DueTime | None = None
    """By when a roster must have come."""

    asks_status: bool = False
    """Whether HealthEx is asked who has answered, once a roster is done."""

    same_list_is_fine: bool = False
    """Whether the same list again counts as one that has come."""

    def matches(self, file_name: str) -> bool:
        return any(fnmatchcase(file_name.lower(), pattern.lower()) for pattern in self.patterns)


SettingsOf = Callable[[Mapping[str, Any]], RunSettings]
"""The settings of a run by what a table says of them, and the command, the environment and the file for the rest."""


def read_tables(
    config: Config, settings_of: SettingsOf, *, ready: str | None, status: bool = False
) -> list[RosterTable]:
    """The tables in their order; without any, one that takes every file with the settings of the command.

    Raises SettingsError for a table that cannot be used, and where no ID column is named: nothing is guessed at night.
    """
    if not config.rosters:
        settings = validate(settings_of({}))
        if not settings.id_column:
            raise SettingsError("At night nothing is guessed: name the patient ID's column with --id-column.")
        return [RosterTable("all", ("*",), settings, ready=_marker(ready, "--ready"), asks_status=status)]
    tables = [
        _read_table(number, {"status": status, **table}, config, settings_of, ready)
        for number, table in enumerate(config.rosters, 1)
    ]
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
    patterns = _patterns(table.get("match"), where)
    name = table.get("name", patterns[0])
    if not isinstance(name, str) or not name.strip():
        raise SettingsError(f"{where}: name is a text.")
    check_text(f"{where}: name", name, _LONGEST_NAME if "name" in table else _LONGEST_FILE_NAME)
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
        patterns=patterns,
        settings=settings,
        ready=_marker(table.get("ready", ready), f"{where}: ready"),
        max_error_share=_share(table, "max_error_share", where),
        max_new=_count(table, "max_new", where),
        min_rows=_count(table, "min_rows", where),
        max_drop=_share(table, "max_drop", where),
        trailer=_one_word(table, "trailer", "count", where),
        expect_by=read_due_time(table.get("expect_by"), where),
        asks_status=_yes_or_no(table, "status", where),
        same_list_is_fine=_one_word(table, "same_list", "fine", where) is not None,
    )


def _patterns(match: object, where: str) -> tuple[str, ...]:
    patterns = [match] if isinstance(match, str) else match
    if not isinstance(patterns, list) or not patterns or not all(isinstance(each, str) and each for each in patterns):
        raise SettingsError(f'{where}: match says which files it is for, as in match = "clinic_*.csv".')
    if len(patterns) > _MOST_PATTERNS:
        raise SettingsError(
            f"{where}: match takes at most {_MOST_PATTERNS} patterns. Right now it has {len(patterns):,}."
        )
    for pattern in patterns:
        check_text(f"{where}: match", pattern, _LONGEST_FILE_NAME)
    return tuple(patterns)


def _count(table: Mapping[str, Any], key: str, where: str) -> int | None:
    value = table.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _HIGHEST_COUNT:
        raise SettingsError(f"{where}: {key} is a whole number from 0 to {_HIGHEST_COUNT:,}.")
    return value


def _share(table: Mapping[str, Any], key: str, where: str) -> float | None:
    value = table.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise SettingsError(f"{where}: {key} is a number from 0 to 1.")
    return float(value)


def _yes_or_no(table: Mapping[str, Any], key: str, where: str) -> bool:
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise SettingsError(f"{where}: {key} is true or false.")
    return value


def _one_word(table: Mapping[str, Any], key: str, word: str, where: str) -> Any:
    """A key that says one thing, or is left out."""
    value = table.get(key)
    if value is not None and value != word:
        raise SettingsError(f'{where}: {key} can only be "{word}", or be left out.')
    return value


def _marker(value: object, where: str) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        check_text(where, value, _LONGEST_FILE_NAME)
    if isinstance(value, str) and ("{name}" in value or "{stem}" in value) and not set("/\\") & set(value):
        with suppress(KeyError, IndexError, ValueError):
            if value.format(name="a.csv", stem="a") not in ("a.csv", "a"):  # a list cannot be its own marker
                return value
    raise SettingsError(f"{where} is the name of a file with {{name}} or {{stem}} in it, such as {{name}}.done.")
