"""What a table says must hold before anything is sent: how many rows, how many new patients, how many refused ones.

A list beyond a limit is not run; `batchlinks nightly --accept NAME` lets it through once.
"""

import re
from collections.abc import Iterator

from batchlinks.errors import RosterError
from batchlinks.nightly.tables import RosterTable
from batchlinks.plural import counted
from batchlinks.table import Table

_NUMBER = re.compile(r"\d[\d,]*")
_ALLOWED_LINES_MORE = 2
"""A trailer may count the header, and itself."""


class LimitExceeded(RosterError):
    """A list is beyond a limit of its table; no link was asked for."""

    def __init__(self, limit: str, sentence: str) -> None:
        super().__init__(f"{sentence} Nothing was sent.")
        self.limit = limit
        """The key in its table."""


def check_rows(table: Table, limits: RosterTable, rows_before: int | None) -> None:
    """What can be told as soon as the list is read. Raises LimitExceeded.

    `rows_before` is how many rows the last list of the same name had; None where there was none.
    """
    rows = len(table)
    if limits.min_rows is not None and rows < limits.min_rows:
        raise LimitExceeded(
            "min_rows", f"The list needs {limits.min_rows:,} rows (min_rows). Right now it has {rows:,}."
        )
    if limits.max_drop is not None and rows_before and rows < (1 - limits.max_drop) * rows_before:
        raise LimitExceeded(
            "max_drop",
            f"The list has {counted(rows, 'row')}, and the last one of its name had {rows_before:,}: that is "
            f"{1 - rows / rows_before:.0%} fewer, and max_drop allows {limits.max_drop:.0%}. Is it whole?",
        )
    if limits.trailer == "count":
        _check_trailer(table)


def check_work(limits: RosterTable, *, rows: int, to_fix: int, to_send: int, is_first: bool, name: str) -> None:
    """What can be told once the rows are screened: how many are refused, how many are new. Raises LimitExceeded."""
    if limits.max_error_share is not None and to_fix > limits.max_error_share * rows:
        raise LimitExceeded(
            "max_error_share",
            f"{to_fix:,} of {rows:,} rows would have to be fixed, more than max_error_share allows "
            f"({limits.max_error_share:.0%}). Look at the list with `batchlinks check`.",
        )
    if limits.max_new is not None and to_send > limits.max_new:
        why = (
            f"No list of the table {limits.name} has been done yet, so all of its patients are new. If the list and the "
            f"project are right, let it through once: `batchlinks nightly --accept '{name}'`."
            if is_first
            else "Is it the right list and the right project? If so, let it through once: `batchlinks nightly --accept "
            f"'{name}'`."
        )
        raise LimitExceeded(
            "max_new",
            f"{to_send:,} links would have to be asked for, more than max_new allows ({limits.max_new:,}). {why}",
        )


def _check_trailer(table: Table) -> None:
    rows = len(table) - 1
    cells = list(_cells_of_last_row(table)) if rows >= 0 else []
    numbers = [
        int(number.replace(",", "")) for cell in cells for number in _NUMBER.findall(cell)[:5] if len(number) < 15
    ]
    if not _could_be_trailer(table, cells):
        raise LimitExceeded(
            "trailer",
            "The list needs a last row that says how many rows there are (trailer). Right now its last row is like the "
            "others. Was it cut off?",
        )
    if not any(rows <= number <= rows + _ALLOWED_LINES_MORE for number in numbers):
        raise LimitExceeded(
            "trailer",
            f"The last row of the list gives another number of rows than the {rows:,} above it (trailer). Is it whole?",
        )


def _cells_of_last_row(table: Table) -> Iterator[str]:
    """What is filled in it."""
    last = len(table) - 1
    if last in table.ragged_fields:
        fields = table.ragged_fields[last]
    else:
        fields = tuple(str(column[last].as_py()) for column in table.cells.columns)
    return (cell.strip() for cell in fields if cell.strip())


def _could_be_trailer(table: Table, cells: list[str]) -> bool:
    """Whether the last row is unlike a patient's: of another width, less filled, or beginning with a word."""
    last = len(table) - 1
    if last < 0 or last in table.ragged_fields:
        return bool(cells)
    filled_above = max(
        (sum(bool(str(column[row].as_py()).strip()) for column in table.cells.columns) for row in range(min(last, 20))),
        default=0,
    )
    begins_with_word = bool(cells) and not any(sign.isdigit() for sign in cells[0])
    return bool(cells) and (len(cells) < filled_above or begins_with_word or last == 0)
