"""A DataFrame as a roster: its cells as text, as a spreadsheet would show them without any format of its own.

Nothing is guessed that a DataFrame does not tell. Whole numbers are what General shows of them; whether they had leading
zeros nobody knows, and it is said. Floating-point numbers are no IDs: 123 beside a blank cell becomes 123.0, and a long
number loses its last digits.
"""

import datetime as dt
import hashlib
import json
import numbers
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batchlinks.arrow import combine_chunks
from batchlinks.columns.id_column import IdColumn, display_names
from batchlinks.errors import RosterError, SettingsError
from batchlinks.next_steps import Setting
from batchlinks.roster.header import clean_header
from batchlinks.roster.number_format import Shown, format_general
from batchlinks.roster.source import ReadOptions, RosterFrame
from batchlinks.table import CellKind, Table

if TYPE_CHECKING:
    import pandas

_FIRST_ROW = 2
"""As a spreadsheet would number it, below a header."""

_WHOLE_LIMIT = 10**15
_MOST_DIGITS = 400
_OF_FILES = ("sheet", "header_row", "encoding")
_BLANK: Shown = "", CellKind.TEXT


@runtime_checkable
class ArrowStream(Protocol):
    """A table that hands its columns over as Arrow arrays: of Polars, pyarrow, DuckDB and others."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@runtime_checkable
class InterchangeFrame(Protocol):
    """A table that speaks the DataFrame interchange protocol."""

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Column:
    """One column as text."""

    texts: pa.ChunkedArray
    kinds: npt.NDArray[np.int8] | None = None
    """Of each cell; None where all are text."""

    has_floats: bool = False


class _UnreadableColumn(Exception):
    """What a column holds, in words, that no cell of a list can be."""


def is_frame(roster: object) -> bool:
    """Whether it is a table that `read_frame` reads."""
    return _is_pandas(roster) or isinstance(roster, ArrowStream | InterchangeFrame)


def read_frame(source: RosterFrame, options: ReadOptions) -> Table:
    """The rows of a DataFrame. Blank ones are left out; its first is row 2, as if below a header in a spreadsheet.

    Raises SettingsError for an option that is about files, RosterError for a column that cannot be read.
    """
    for name in _OF_FILES:
        if getattr(options, name) is not None:
            raise SettingsError(Setting(name), " is about files, and the roster is a DataFrame. Leave it out.")
    named = list(_columns_of(source.data))
    if not named:
        raise RosterError("The DataFrame has no columns.")
    headers = tuple(clean_header(header) for header, _ in named)
    columns = [_read(name, column) for name, (_, column) in zip(display_names(headers), named, strict=True)]
    cells = pa.table([column.texts for column in columns], names=[str(index) for index in range(len(columns))])
    kinds = {index: column.kinds for index, column in enumerate(columns) if column.kinds is not None}
    filled = _filled_rows(cells)
    row_numbers = np.arange(_FIRST_ROW, _FIRST_ROW + len(cells), dtype=np.int32)
    if not filled.all():
        cells, row_numbers = cells.filter(pa.array(filled)), row_numbers[filled]
        kinds = {index: each[filled] for index, each in kinds.items()}
    return Table(
        headers=headers,
        cells=cells,
        row_numbers=row_numbers,
        kinds=kinds,
        float_columns=frozenset(index for index, column in enumerate(columns) if column.has_floats),
        name=source.name,
        sha256=digest_of(headers, cells),
        header_row=1,
    )


def require_certain_ids(table: Table, column: IdColumn) -> Table:
    """The table, which says that its formats are unknown where its IDs are numbers.

    Raises RosterError where they are floating-point numbers.
    """
    refuse_floats(table, column.parts)
    return replace(table, formats_unknown=any(part in table.kinds for part in column.parts))


def refuse_floats(table: Table, columns: Sequence[int]) -> None:
    """Raise RosterError where one of these columns holds floating-point numbers: no ID can be told from them."""
    for column in columns:
        if column in table.float_columns:
            raise RosterError(
                f"The IDs in {display_names(table.headers)[column]} are floating-point numbers, so it is not certain what "
                "they were. Read that column as text (dtype=str), or make it one of whole numbers (Int64)."
            )


# --- from the libraries ---------------------------------------------------------------------------------------


def _is_pandas(data: object) -> bool:
    pandas = sys.modules.get("pandas")  # where it was never imported, nothing is of it
    return pandas is not None and isinstance(data, pandas.DataFrame)


def _columns_of(data: Any) -> Iterator[tuple[str, Any]]:
    """Header and values of each column: a pandas Series, or a chunked array."""
    if _is_pandas(data):
        yield from _columns_of_pandas(data)
        return
    try:
        if isinstance(data, ArrowStream):
            table = pa.table(data)
        else:
            from pyarrow.interchange import from_dataframe

            table = from_dataframe(data)
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise SettingsError(
            Setting("roster"),
            f" cannot be read as a table (it is a {type(data).__name__}). Give a DataFrame of pandas.",
        ) from error
    yield from zip(table.column_names, table.columns, strict=True)


def _columns_of_pandas(frame: "pandas.DataFrame") -> Iterator[tuple[str, Any]]:
    """An index with a name is a column too; one without is only a count."""
    for level, name in enumerate(frame.index.names):
        if name is not None:
            yield _as_header(name), frame.index.get_level_values(level).to_series()
    for position, name in enumerate(frame.columns):
        yield _as_header(name), frame.iloc[:, position]


def _as_header(label: object) -> str:
    if isinstance(label, tuple):
        return " ".join(filter(None, map(_as_header, label)))
    return "" if label is None or label != label else str(label)


# --- a column -------------------------------------------------------------------------------------------------


def _read(name: str, column: Any) -> _Column:
    """Raises RosterError, which names the column."""
    try:
        if isinstance(column, pa.ChunkedArray):
            return _read_arrow(column)
        return _read_series(column)
    except _UnreadableColumn as error:
        raise RosterError(f"{name} holds {error}. Make it a column of text, or leave it out.") from None
    except UnicodeEncodeError:
        raise RosterError(
            f"{name} holds text that is no Unicode (half of an emoji). Correct it, or leave it out."
        ) from None


def _read_series(series: "pandas.Series[Any]") -> _Column:
    from pandas.api.types import infer_dtype

    if series.dtype != object:
        try:
            found = pa.array(series, from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, NotImplementedError):
            pass  # periods, intervals, categories of several kinds: one by one
        else:
            if not isinstance(found.type, pa.BaseExtensionType):  # whose storage is not what it shows
                return _read_arrow(found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found]))
        series = series.astype(object)
    if infer_dtype(series, skipna=True) == "string":
        return _Column(_as_text(pa.chunked_array([pa.array(series, pa.string(), from_pandas=True)])))
    return _read_objects(series.tolist())


def _read_arrow(array: pa.ChunkedArray) -> _Column:
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _read_objects(array.to_pylist())
    if pa.types.is_dictionary(kind):
        array = array.cast(kind.value_type)
        kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _Column(_as_text(array))
    if pa.types.is_integer(kind):
        return _read_integers(array)
    if pa.types.is_floating(kind):
        return _read_floats(array)
    if pa.types.is_boolean(kind):
        return _Column(_as_text(pc.if_else(array, "TRUE", "FALSE")), _where_filled(array, CellKind.BOOLEAN))
    if pa.types.is_date(kind):
        return _Column(_as_text(array), _where_filled(array, CellKind.DATE))
    if pa.types.is_timestamp(kind):
        return _read_timestamps(array)
    return _read_objects(array.to_pylist())


def _as_text(array: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(array.cast(pa.string()), "")


def _where_filled(array: pa.ChunkedArray, kind: CellKind) -> npt.NDArray[np.int8]:
    return np.where(_has_value(array), kind, CellKind.TEXT).astype(np.int8)


def _has_value(array: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    return np.asarray(array.is_valid().to_numpy(), dtype=bool)


def _read_integers(array: pa.ChunkedArray) -> _Column:
    texts = _as_text(array)
    digits = pc.utf8_length(pc.utf8_ltrim(texts, "-")).to_numpy()
    kinds = _where_filled(array, CellKind.NUMBER)
    kinds[digits > len(str(_WHOLE_LIMIT - 1))] = CellKind.LOST_DIGITS
    return _Column(texts, kinds)


def _read_floats(array: pa.ChunkedArray) -> _Column:
    shown = [_BLANK if value is None or value != value else format_general(value) for value in array.to_pylist()]
    return _of_shown(shown, has_floats=any(each is not _BLANK for each in shown))


def _read_timestamps(array: pa.ChunkedArray) -> _Column:
    """As wall clocks show them, where they were taken; days alone where no time of day is in the column."""
    if array.type.tz is not None:
        array = pc.local_timestamp(array)
    texts = _as_text(array.cast(pa.timestamp("s"), safe=False))
    days = pc.utf8_slice_codeunits(texts, 0, 10)
    times = pc.utf8_slice_codeunits(texts, 11, 16)
    on_the_day = pc.all(pc.or_(pc.equal(times, ""), pc.equal(times, "00:00"))).as_py() is not False
    shown = days if on_the_day else pc.utf8_slice_codeunits(texts, 0, 16)
    return _Column(shown, _where_filled(array, CellKind.DATE))


def _read_objects(values: Sequence[object]) -> _Column:
    """Any Python values. Raises _UnreadableColumn."""
    shown = [_show(value) for value in values]
    return _of_shown(shown, has_floats=any(_is_float(value) for value in values))


def _of_shown(shown: Sequence[Shown], *, has_floats: bool) -> _Column:
    texts = pa.chunked_array([pa.array([text for text, _ in shown], pa.string())])
    return _Column(texts, np.array([kind for _, kind in shown], dtype=np.int8), has_floats)


def _is_missing(value: object) -> bool:
    """None, and what the libraries have for it: NaN, NaT, NA."""
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, numbers.Real | dt.datetime):
        return bool(value != value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _is_float(value: object) -> bool:
    if _is_missing(value) or isinstance(value, numbers.Integral):
        return False
    return not _is_whole(value) if isinstance(value, Decimal) else isinstance(value, numbers.Real)


def _is_whole(value: Decimal) -> bool:
    return value.is_finite() and value == value.to_integral_value()


def _show(value: object) -> Shown:
    """A cell of a column of objects."""
    match value:
        case _ if _is_missing(value):
            return _BLANK
        case str() | UUID():
            return str(value), CellKind.TEXT
        case bool() | np.bool_():
            return ("TRUE" if value else "FALSE"), CellKind.BOOLEAN
        case numbers.Integral():
            return _show_whole(int(value))
        case Decimal() if _is_whole(value) and value.adjusted() < _MOST_DIGITS:
            return _show_whole(int(value))
        case Decimal() | numbers.Real():
            return format_general(float(value))
        case dt.datetime():
            day = value.date().isoformat()
            return (day if value.time() == dt.time() else f"{day} {value:%H:%M}"), CellKind.DATE
        case dt.date():
            return value.isoformat(), CellKind.DATE
        case dt.time():
            return value.isoformat("minutes"), CellKind.DATE
        case dt.timedelta():
            minutes = round(value.total_seconds() / 60)
            return f"{minutes // 60}:{minutes % 60:02d}", CellKind.DATE
        case _ if type(value).__module__.split(".")[0] == "pandas":  # a Period, an Interval: as pandas shows it
            return str(value), CellKind.DATE
        case _:
            raise _UnreadableColumn(f"values of the type {type(value).__name__}, which no cell of a list can be")


def _show_whole(number: int) -> Shown:
    if abs(number) >= 10**_MOST_DIGITS:
        raise _UnreadableColumn("numbers beyond all bounds")
    return str(number), CellKind.NUMBER if abs(number) < _WHOLE_LIMIT else CellKind.LOST_DIGITS


# --- the table ------------------------------------------------------------------------------------------------


def _filled_rows(cells: pa.Table) -> npt.NDArray[np.bool_]:
    """Which rows have something in a cell, white space aside."""
    filled = np.zeros(len(cells), dtype=bool)
    for column in cells.columns:
        if filled.all():
            break
        filled |= pc.not_equal(pc.utf8_trim_whitespace(column), "").to_numpy()
    return filled


def digest_of(headers: Sequence[str], cells: pa.Table) -> str:
    """SHA-256 of a table of texts, in hex: the same for the same headers and cells, by whichever library they came."""
    digest = hashlib.sha256(json.dumps([headers, len(cells)]).encode())
    for column in cells.columns:
        texts = combine_chunks(column)
        digest.update(pc.binary_length(texts).to_numpy(zero_copy_only=False).tobytes())
        _, offsets, content = texts.buffers()
        if content is not None and offsets is not None:
            bounds = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
            digest.update(memoryview(content)[bounds[0] : bounds[-1]])
    return digest.hexdigest()
