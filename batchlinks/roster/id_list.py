"""A plain list of IDs in a file: one a line, or a table with an ID column (an exclude list)."""

from pathlib import Path

from batchlinks.columns.id_column import IdColumn, IdColumnUndecided, choose_id_column
from batchlinks.errors import RosterError, SettingsError
from batchlinks.roster.read import read_roster
from batchlinks.roster.source import ReadOptions, RosterBytes
from batchlinks.table import CellKind, Table


def read_id_list(source: Path | RosterBytes, *, id_column: str | None = None) -> list[tuple[int, str, int]]:
    """Row number, text and `CellKind` of each entry, in order; blank ones are left out.

    A file with one column is taken whole: a header in it is an entry that no patient has. Raises RosterError for a file
    that cannot be read, or whose ID column is not certain.
    """
    plain = read_roster(source, ReadOptions(header_row=0))
    if len(plain.headers) == 1:
        table, column = plain, 0
    else:
        table, choice = _table_with_ids(source, id_column)
        if len(choice.parts) != 1:
            raise RosterError(
                f"{source.name}: IDs joined from two columns cannot be read from a list; make it one column."
            )
        column = choice.parts[0]
    kinds = table.kinds.get(column)
    texts = table.column(column).to_pylist()
    return [
        (int(table.row_numbers[position]), text, CellKind.TEXT if kinds is None else int(kinds[position]))
        for position, text in enumerate(texts)
        if text.strip()
    ]


def _table_with_ids(source: Path | RosterBytes, id_column: str | None) -> tuple[Table, IdColumn]:
    try:
        try:
            table = read_roster(source, ReadOptions(id_column=id_column))
            return table, choose_id_column(table, id_column, any_column=True)
        except SettingsError:  # it may be called otherwise here than in the patient list
            table = read_roster(source)
            return table, choose_id_column(table)
    except IdColumnUndecided as error:
        raise RosterError(
            f"{source.name}: it is not certain which of its columns is the patient ID. Leave only that column in it."
        ) from error
