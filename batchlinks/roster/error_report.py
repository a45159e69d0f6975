"""An error report that was fixed in place and is handed in again as a roster."""

import dataclasses

import numpy as np

from batchlinks.roster.header_words import key
from batchlinks.roster.table import Table

COLUMNS = ("error_row", "error_code", "error_action", "error_message", "kept_row")
"""What the report adds in front of the roster's own columns."""

_KEYS = frozenset(key(name) for name in COLUMNS)


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
    kept = [position for position, name in enumerate(keys) if name not in _KEYS]
    cells = table.cells.select([str(position) for position in kept])
    renumbered = {old: new for new, old in enumerate(kept)}
    return dataclasses.replace(
        table,
        headers=tuple(table.headers[position] for position in kept),
        cells=cells.rename_columns([str(position) for position in range(len(kept))]),
        kinds={renumbered[old]: kinds for old, kinds in table.kinds.items() if old in renumbered},
        misfits={
            position: tuple(fields[old] for old in kept if old < len(fields)) + fields[len(keys) :]
            for position, fields in table.misfits.items()
        },
        row_numbers=row_numbers,
    )
