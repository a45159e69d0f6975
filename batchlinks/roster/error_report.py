"""An error report that was fixed in place and is handed in again as a roster."""

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from batchlinks.columns.header_words import key
from batchlinks.row_codes import ErrorCode
from batchlinks.table import Table

COLUMNS = ("error_row", "error_code", "error_action", "error_message", "kept_row")
"""What the report adds in front of the roster's own columns."""

FIELD_COLUMN = "error_field_{number}"
"""Behind the roster's columns: the fields, one by one, of rows that had more or fewer than the header."""

_KEYS = frozenset(key(name) for name in COLUMNS)
_FIELD_KEY = re.compile(key("error_field_") + r"\d+")
_DIGITS = re.compile(r"has (\d+) digits, (?:but )?almost all others have (\d+)")


def without_report_columns(table: Table) -> Table:
    """The roster inside an error report; any other table as it is.

    Each row keeps the number that it had in the first roster (`error_row`), through any number of rounds; a row that was
    added by hand has the number it has in the report.
    """
    keys = [key(header) for header in table.headers]
    if key("error_row") not in keys or key("error_code") not in keys:
        return table
    row_numbers = table.row_numbers.copy()
    for position, text in enumerate(table.column(keys.index(key("error_row"))).to_pylist()):
        if text.isascii() and text.isdigit() and 0 < int(text) <= np.iinfo(np.int32).max:
            row_numbers[position] = int(text)
    kept = [position for position, name in enumerate(keys) if name not in _KEYS and not _FIELD_KEY.fullmatch(name)]
    number_here = {int(here): int(first) for here, first in zip(table.row_numbers, row_numbers, strict=True)}
    cells = table.cells.select([str(position) for position in kept])
    renumbered = {old: new for new, old in enumerate(kept)}
    return dataclasses.replace(
        table,
        is_error_report=True,
        refused_before=_refused_before(table, keys),
        headers=tuple(table.headers[position] for position in kept),
        cells=cells.rename_columns([str(position) for position in range(len(kept))]),
        kinds={renumbered[old]: kinds for old, kinds in table.kinds.items() if old in renumbered},
        misfits=_fields_apart(table, keys, kept)
        | {
            position: tuple(fields[old] for old in kept if old < len(fields)) + fields[len(keys) :]
            for position, fields in table.misfits.items()
        },
        row_numbers=row_numbers,
        hidden_rows=tuple(number_here[row] for row in table.hidden_rows),
    )


def _fields_apart(table: Table, keys: list[str], kept: list[int]) -> dict[int, tuple[str, ...]]:
    """Rows whose fields still stand apart, behind blank columns: nobody has put them where they belong."""
    apart = [position for position, name in enumerate(keys) if _FIELD_KEY.fullmatch(name)]
    if not apart:
        return {}
    fields = list(zip(*(table.column(column).to_pylist() for column in apart), strict=True))
    waiting = [position for position, row in enumerate(fields) if any(row)]
    blank = set(waiting)
    for column in kept:
        cells = table.column(column)
        blank -= {position for position in blank if cells[position].as_py()}
    return {position: tuple("\0".join(fields[position]).rstrip("\0").split("\0")) for position in blank}


def _refused_before(table: Table, keys: list[str]) -> dict[int, tuple[ErrorCode, Mapping[str, int]]]:
    """What the report says of rows that nobody may have fixed, and that would pass without the rest of the roster."""
    codes = table.column(keys.index(key("error_code"))).to_pylist()
    messages = [""] * len(codes)
    if key("error_message") in keys:
        messages = table.column(keys.index(key("error_message"))).to_pylist()
    refused: dict[int, tuple[ErrorCode, Mapping[str, int]]] = {}
    for position, (code, message) in enumerate(zip(codes, messages, strict=True)):
        if code == ErrorCode.EXCLUDED.value:
            refused[position] = ErrorCode.EXCLUDED, {}
        elif code == ErrorCode.LOST_ZEROS.value and (digits := _DIGITS.search(message)):
            refused[position] = ErrorCode.LOST_ZEROS, {"found": int(digits[1]), "expected": int(digits[2])}
    return refused
