"""How a table travels from the process that reads the file to the one that asked for it.

On the reader's standard output stand, one after the other: a line of JSON that says how many columns follow, the
rows as an Arrow stream, and a line of JSON with the facts that are known only at the end. A line that holds an
error may stand in place of either. Nothing of it ever goes through a file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batchlinks.errors import RosterError, SettingsError
from batchlinks.next_steps import part_as_json, part_of_json
from batchlinks.roster.sheet_choice import SheetUndecided
from batchlinks.table import CellKind, Table

BATCH_ROWS = 4_096
"""Rows that are held as Python objects at a time."""

Kinds = npt.NDArray[np.int8]

_LINE_LIMIT = 1 << 31


@dataclass(frozen=True, slots=True)
class TableInfo:
    """What is known of a table besides its cells; the fields mean what they mean in `Table`."""

    headers: list[str]
    sha256: str = ""
    sheet: str | None = None
    header_row: int = 0
    encoding: str | None = None
    encoding_guessed: bool = False
    separator: str | None = None
    hidden_rows: list[int] = field(default_factory=list)
    hidden_sheet: bool = False
    formats_unknown: bool = False
    date_formats: list[tuple[int, str]] = field(default_factory=list)
    total_rows: list[int] = field(default_factory=list)
    ragged_fields: list[tuple[int, list[str]]] = field(default_factory=list)
    sheets: list[str] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    """Custom properties of a workbook that we wrote."""

    rows_above: int = 0
    """How many of the rows stand above the header."""


class TableWriter:
    """The sending side."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._stream: pa.RecordBatchStreamWriter | None = None
        self._schema = pa.schema([])
        self.rows = 0
        """Rows sent so far."""

    def begin(self, columns: int) -> None:
        """Announce a table of `columns` columns."""
        fields = [pa.field(str(index), pa.string()) for index in range(columns)]
        fields += [pa.field(f"kind {index}", pa.int8()) for index in range(columns)]
        self._schema = pa.schema([*fields, pa.field("row", pa.int32())])
        _write_line(self._out, {"columns": columns})
        self._stream = pa.ipc.new_stream(self._out, self._schema)

    def write(
        self, numbers: Sequence[int], columns: Sequence[Sequence[str]], kinds: Mapping[int, Kinds] | None = None
    ) -> None:
        """Send rows: their numbers, the text of each column, and the kinds of the columns that hold not only text."""
        assert self._stream is not None  # noqa: S101 - `begin` comes first
        text_only = pa.array(np.zeros(len(numbers), dtype=np.int8))
        kinds = kinds or {}
        arrays = [pa.array(column, pa.string()) for column in columns]
        arrays += [pa.array(kinds[index]) if index in kinds else text_only for index in range(len(columns))]
        arrays.append(pa.array(numbers, pa.int32()))
        self._stream.write_batch(pa.record_batch(arrays, schema=self._schema))
        self.rows += len(numbers)

    def finish(self, facts: TableInfo) -> None:
        """End the table."""
        self._end_of_rows()
        _write_line(self._out, {"facts": asdict(facts)})

    def fail(self, error: RosterError | SettingsError) -> None:
        """Send `error` in place of what was still to come."""
        self._end_of_rows()
        kind = "settings" if isinstance(error, SettingsError) else "roster"
        sheets = error.sheets if isinstance(error, SheetUndecided) else ()
        _write_line(
            self._out, {"error": kind, "message": [part_as_json(part) for part in error.args], "sheets": sheets}
        )

    def _end_of_rows(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def receive_table(source: IO[bytes], name: str) -> tuple[Table, TableInfo] | None:
    """The table that a `TableWriter` sends through `source`, and what else is known of it.

    None when the sender went away before its end.

    Raises the error that was sent in place of a table.
    """
    opening = _read_line(source)
    if opening is None:
        return None
    try:
        with pa.ipc.open_stream(source) as stream:
            received = pa.Table.from_batches(list(stream), schema=stream.schema)
    except (pa.ArrowException, OSError, EOFError):
        return None
    closing = _read_line(source)
    if closing is None:
        return None
    facts = closing["facts"]
    assert isinstance(facts, dict)  # noqa: S101 - for the type checker
    known = TableInfo(**facts)
    return _table(received, known, name), known


def _table(received: pa.Table, facts: TableInfo, name: str) -> Table:
    kinds: dict[int, Kinds] = {}
    for index in range(len(facts.headers)):
        kind = received.column(f"kind {index}").to_numpy()
        if np.any(kind != CellKind.TEXT):
            kinds[index] = kind
    return Table(
        headers=tuple(facts.headers),
        cells=received.select([str(index) for index in range(len(facts.headers))]),
        row_numbers=received.column("row").to_numpy(),
        kinds=kinds,
        ragged_fields={position: tuple(fields) for position, fields in facts.ragged_fields},
        name=name,
        sha256=facts.sha256,
        sheet=facts.sheet,
        sheets=tuple(facts.sheets),
        header_row=facts.header_row,
        encoding=facts.encoding,
        encoding_guessed=facts.encoding_guessed,
        separator=facts.separator,
        hidden_rows=tuple(facts.hidden_rows),
        hidden_sheet=facts.hidden_sheet,
        formats_unknown=facts.formats_unknown,
        date_formats=dict(facts.date_formats),
        total_rows=tuple(facts.total_rows),
    )


def without_unused_columns(table: Table) -> Table:
    """The table up to the last column that has a header or a value.

    Blank ones before the table are kept, so that positions are those of the spreadsheet and its letters hold.
    """
    used = len(table.headers)
    while used and not table.headers[used - 1] and not _has_something(table, used - 1):
        used -= 1
    if used == len(table.headers):
        return table
    return replace(table, headers=table.headers[:used], cells=table.cells.select([str(index) for index in range(used)]))


def _has_something(table: Table, index: int) -> bool:
    import pyarrow.compute as pc  # slow to import, and no use to the sending side

    lengths = pc.binary_length(table.cells.column(index))
    return bool((pc.max(lengths).as_py() or 0) > 0) or index in table.kinds


def _write_line(out: IO[bytes], message: Mapping[str, object]) -> None:
    out.write(json.dumps(message).encode() + b"\n")
    out.flush()


def _read_line(source: IO[bytes]) -> dict[str, object] | None:
    line = source.readline(_LINE_LIMIT)
    if not line.endswith(b"\n"):
        return None
    message: dict[str, Any] = json.loads(line)
    if "error" in message:
        parts = [part_of_json(part) for part in message["message"]]
        if message["sheets"]:
            raise SheetUndecided(*parts, sheets=message["sheets"])
        raise {"roster": RosterError, "settings": SettingsError}[message["error"]](*parts)
    return message
