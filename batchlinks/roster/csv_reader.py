"""CSV and its kin: separated text, whatever the separator, the encoding and the line ends.

Rows are numbered as Excel numbers them: a line break inside quotes starts no row, and a first line `sep=;` is an
instruction and no row either.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, product

from batchlinks.columns.id_column import possible_id_headers
from batchlinks.errors import RosterError, SettingsError
from batchlinks.next_steps import Advice, Do, Setting
from batchlinks.roster.header import (
    PREVIEW_ROWS,
    NoHeader,
    PreviewRow,
    TableStart,
    find_start,
    is_blank,
    is_filled,
    no_header,
    no_table,
    start_at_row,
)
from batchlinks.roster.source import ReadOptions
from batchlinks.roster.transfer import BATCH_ROWS, TableInfo, TableWriter

SEPARATORS = ",;\t|"

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n])"?\s*', re.IGNORECASE)
_TEXT_FORMULA = re.compile(r'\s*="((?:[^"]|"")*)"\s*')
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f]")
_MAX_CONTROL = 0.005  # share of control characters above which something is no text
_ESCAPED = re.compile(r'\\(["\\])')
_WRAPPED = re.compile(r'"((?:[^"]|"")*[,;\t|](?:[^"]|"")*)"(\s*)')
_FEWEST_FITTING = 0.1  # share of rows as wide as the header below which the rest is no matter of single rows
_DIGIT_COLUMN = 0.9  # share of its values with a digit that makes a column one of numbers
_CHUNK = 1 << 20

Lines = Sequence[str]


def read_delimited(name: str, content: bytes, options: ReadOptions, writer: TableWriter) -> TableInfo:
    """Send the table in `content` through `writer`. Raises `RosterError` and `SettingsError`."""
    encoding, guessed = find_encoding(name, content, options.encoding)
    if not encoding.startswith("utf-16"):
        content = content.rstrip(b"\x1a")  # how DOS programs end a file
    errors = "replace" if guessed else "strict"  # five bytes mean nothing in Windows-1252

    def text() -> Iterator[str]:
        return iter(io.TextIOWrapper(io.BytesIO(content), encoding, errors=errors, newline=""))

    sample = list(islice(text(), PREVIEW_ROWS + (options.header_row or 0)))
    declared = _SEPARATOR_LINE.fullmatch(sample[0].lstrip("\ufeff")) if sample else None
    lines_before = 1 if declared else 0
    headers_and_rows = sample[lines_before:]
    layout = _find_layout(name, headers_and_rows, declared[1] if declared else None, options)
    reader = _CsvRecords(name, map(layout.rewrite, islice(text(), lines_before, None)), layout)
    ragged_fields, above = _send_rows(reader, layout, writer)
    rows = writer.rows - above
    if len(ragged_fields) > rows * (1 - _FEWEST_FITTING):
        raise RosterError(f"{name}: {ragged_rows(dict(ragged_fields), rows, layout.most, layout.separator)}")
    return TableInfo(
        headers=list(layout.start.headers),
        header_row=layout.start.header_row,
        encoding=codecs.lookup(encoding).name,
        encoding_guessed=guessed,
        separator=layout.separator,
        ragged_fields=ragged_fields,
        rows_above=above,
    )


def find_encoding(name: str, content: bytes, wanted: str | None) -> tuple[str, bool]:
    """The encoding of `content`, and whether it was guessed.

    `wanted`, or a byte-order mark's, or UTF-8 where all of it is, or else Windows-1252.

    Raises `SettingsError` for an encoding that does not exist, `RosterError` where `content` is not in the one
    that was named or marked, or is no text at all.
    """
    marked = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if content.startswith(mark)), None)
    if wanted is not None:
        try:
            wanted = codecs.lookup(wanted).name
            " ".encode(wanted)
        except (LookupError, UnicodeError):
            raise SettingsError(
                Setting("encoding"),
                f" {wanted}: there is no such encoding. Common ones are utf-8, cp1252, latin-1, utf-16.",
            ) from None
        if marked and wanted in ("utf-8", "utf-16", "utf-16-le", "utf-16-be"):
            wanted = marked  # the mark itself is no text
    encoding = wanted or marked
    if encoding is not None:
        _check_text(name, content, encoding)
        return encoding, False
    try:
        _check_text(name, content, "utf-8", errors_too=True)
    except UnicodeDecodeError:
        _check_text(name, content, "cp1252", errors="replace")
        return "cp1252", True
    return "utf-8", False


def _check_text(name: str, content: bytes, encoding: str, *, errors: str = "strict", errors_too: bool = False) -> None:
    """Raises `RosterError` where `content` is no text in `encoding`; with `errors_too`, the decoder's own error."""
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    characters = control = 0
    try:
        for position in range(0, len(content), _CHUNK):
            chunk = decoder.decode(content[position : position + _CHUNK], position + _CHUNK >= len(content))
            if "\0" in chunk:
                raise RosterError(
                    f"{name} is not text that can be read. Export the patient list again as .xlsx or as CSV in UTF-8. ",
                    Advice(Do.TRY_UTF_16),
                )
            characters += len(chunk)
            control += len(_CONTROL.findall(chunk))
    except UnicodeDecodeError:
        if errors_too:
            raise
        raise RosterError(
            f"{name} is not in the encoding {encoding}. Leave out ",
            Setting("encoding"),
            ", or save the file as CSV UTF-8.",
        ) from None
    if control > _MAX_CONTROL * characters:
        raise RosterError(f"{name} is not text that can be read. Export the patient list again as .xlsx or .csv.")


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the lines of a file become rows of its table."""

    separator: str
    start: TableStart
    fewest: int
    """Fields that a row has at least."""

    digit_columns: frozenset[int]
    """Columns whose values have a digit, nearly all."""

    rewrite: Callable[[str], str] = str
    """A line of the file as a line of usual CSV."""

    @property
    def most(self) -> int:
        """Fields that a row has at most, blank ones at its end aside."""
        return len(self.start.headers)


def _find_layout(name: str, sample: Lines, declared: str | None, options: ReadOptions) -> _Layout:
    """The separator that makes a table of `sample`, and the table's start.

    Of several, one that makes more than one column, then one under which most rows are as wide as the header, then
    the one with the widest header.
    """
    best: tuple[tuple[bool, int, int, float, bool], _Layout] | None = None
    headerless = False
    for rewrite, separator in product(_ways_of_quoting(sample), declared or SEPARATORS):
        try:
            records = list(csv.reader(map(rewrite, sample), delimiter=separator))
        except csv.Error:
            continue
        preview = [PreviewRow(number, cells) for number, cells in enumerate(records, 1)]
        try:
            if options.header_row is not None:
                start: TableStart | None = start_at_row(preview, options.header_row)
            else:
                start = find_start(preview, id_headers=possible_id_headers, id_column=options.id_column)
        except NoHeader:
            headerless = True
            continue
        if start is None:
            continue
        layout = replace(_layout(separator, start, preview), rewrite=rewrite)
        score = (*_score(layout, preview), _is_strict(map(rewrite, sample), separator))
        if best is None or score > best[0]:
            best = score, layout
    if best is None:
        _check_sample(name, sample, declared or SEPARATORS[0])
        raise no_header(name, None) if headerless else no_table(name)
    return best[1]


def _is_strict(lines: Iterable[str], separator: str) -> bool:
    """Whether nothing stands behind a closing quote."""
    try:
        for _ in csv.reader(lines, delimiter=separator, strict=True):
            pass
    except csv.Error:
        return False
    return True


def _ways_of_quoting(sample: Lines) -> list[Callable[[str], str]]:
    """How the lines may have to be rewritten, the usual way first: it stands where no other fits better."""
    ways: list[Callable[[str], str]] = [str]
    if any('\\"' in line for line in sample):
        ways.append(_without_backslashes)
    filled = [line for line in sample if line.strip()]
    if 2 * sum(_unwrapped(line) != line for line in filled) > len(filled):
        ways.append(_unwrapped)
    return ways


def _without_backslashes(line: str) -> str:
    """A line in which a backslash stands before a quote, as MySQL writes it, with the quote doubled instead."""
    return _ESCAPED.sub(lambda match: '""' if match[1] == '"' else match[1], line)


def _unwrapped(line: str) -> str:
    """A line that stands in quotes as a whole, as Excel saves lines that it took for a single column, without them."""
    match = _WRAPPED.fullmatch(line)
    return match[1].replace('""', '"') + match[2] if match else line


def ragged_rows(ragged_fields: Mapping[int, Sequence[str]], rows: int, width: int, separator: str) -> str:
    """A sentence that says how many rows are wider or narrower than the header, and the likely reason."""
    fields = list(ragged_fields.values())
    count = "1 row has" if len(fields) == 1 else f"{len(fields):,} of {rows:,} rows have"
    return f"{count} more or fewer fields than the header ({width}). {_likely_reason(fields, width, separator)}"


def _likely_reason(fields: Sequence[Sequence[str]], width: int, separator: str) -> str:
    half = len(fields) / 2
    if sum(any("\\" in field for field in row) for row in fields) > half:
        return (
            'Most likely a backslash stands before a quote (\\") inside a field. Export the list with quotes doubled (""), or '
            "as .xlsx."
        )
    if sum(len(row) == 1 and separator in row[0] for row in fields) > half:
        return "Most likely whole lines stand in quotes. Export the list again as .xlsx or CSV."
    others = [other for other in SEPARATORS if other != separator]
    if sum(len(row) == 1 and any(other in row[0] for other in others) for row in fields) > half:
        return "Most likely the rows are separated by another character than the header. Export the list again."
    if all(len(row) < width for row in fields):
        return (
            "Most likely blank fields at the end of these rows were left out, or a line break divides a row. Export the list "
            "again as .xlsx."
        )
    if all(len(row) == width + 1 for row in fields):
        return (
            "Each has one field more: most likely a comma inside a name or an address without quotes, or a column that has no "
            "header. Put such text in quotes, or name the column."
        )
    return "Most likely a comma inside a name or an address. Put such text in quotes, or export the list as .xlsx."


def _check_sample(name: str, sample: Lines, separator: str) -> None:
    """Raises `RosterError` where the reason that no table is in `sample` is a quote."""
    row = 0
    try:
        for _ in csv.reader(sample, delimiter=separator):
            row += 1
    except csv.Error:
        raise _too_long(name, row + 1) from None
    if _is_open_at_end(sample, separator):
        raise _never_closed(name, row)


def _layout(separator: str, start: TableStart, preview: Sequence[PreviewRow]) -> _Layout:
    rows = [row.cells for row in preview if row.number > start.header_row and not is_blank(row.cells)]
    if start.header_row == 0 and rows:
        width = Counter(len(_without_blank_end(cells)) for cells in rows).most_common(1)[0][0]
        start = TableStart(0, ("",) * width)
    width = len(start.headers)
    digit_columns = frozenset(
        index
        for index in range(width)
        if (column := [cells[index] for cells in rows if index < len(cells) and _is_one_line(cells[index])])
        and sum(any(map(str.isdigit, cell)) for cell in column) >= _DIGIT_COLUMN * len(column)
    )
    return _Layout(separator, start, len(_without_blank_end(start.headers)) or width, digit_columns)


def _is_one_line(cell: str) -> bool:
    return is_filled(cell) and "\n" not in cell and "\r" not in cell


def _score(layout: _Layout, preview: Sequence[PreviewRow]) -> tuple[bool, int, int, float]:
    rows = [row.cells for row in preview if row.number > layout.start.header_row and not is_blank(row.cells)]
    fitting = sum(_fits(list(cells), layout) is not None for cells in rows)
    share = fitting / len(rows) if rows else 1.0
    return layout.most > 1, int(share >= 0.5) + int(share >= 0.9), layout.most, share


def _without_blank_end(cells: Sequence[str]) -> Sequence[str]:
    end = len(cells)
    while end and not is_filled(cells[end - 1]):
        end -= 1
    return cells[:end]


def _fits(cells: list[str], layout: _Layout) -> list[str] | None:
    """`cells` as a row of the table, exactly as wide as its header; None for a row that is wider or narrower."""
    width = layout.most
    if len(cells) < layout.fewest or not is_blank(cells[width:]):
        return None
    return cells[:width] + [""] * (width - len(cells))


class _CsvRecords:
    """Every record of a file with its row number, after making sure that its quotes are what they seem."""

    def __init__(self, name: str, lines: Iterable[str], layout: _Layout) -> None:
        self._name = name
        self._lines = lines
        self._layout = layout
        self._pending: list[str] = []
        """Lines of the record at hand."""

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        row = 0
        last: list[str] = []
        pending = self._pending
        records = csv.reader(self._keep_lines(), delimiter=self._layout.separator)
        try:
            for row, cells in enumerate(records, 1):
                if len(pending) > 1:
                    self._check_quotes(row, pending)
                if any('="' in line for line in pending):
                    cells = [_without_formula(cell) for cell in cells]
                last = pending[:]
                pending.clear()
                yield row, cells
        except csv.Error:
            raise _too_long(self._name, row + 1) from None
        if last and _is_open_at_end(last, self._layout.separator):
            raise _never_closed(self._name, row)

    def _keep_lines(self) -> Iterator[str]:
        keep = self._pending.append
        for line in self._lines:
            keep(line)
            yield line

    def _check_quotes(self, row: int, lines: Lines) -> None:
        """A record of several lines has line breaks in a field, or a stray quote that swallowed rows."""
        try:
            list(csv.reader(lines, delimiter=self._layout.separator, strict=True))
        except csv.Error:
            raise _never_closed(self._name, row) from None
        if any(map(self._is_row, lines[1:-1])) or all(map(self._is_row, lines)):
            raise _never_closed(self._name, row)

    def _is_row(self, line: str) -> bool:
        if self._layout.most < 3:
            return False
        cells = line.strip("\r\n").split(self._layout.separator)
        return len(cells) == self._layout.most and all(
            any(map(str.isdigit, cells[index])) or not is_filled(cells[index]) for index in self._layout.digit_columns
        )


def _is_open_at_end(lines: Lines, separator: str) -> bool:
    """Whether a quote is open at the end of `lines`: a line that followed would belong to the same record."""
    complete = sum(1 for _ in csv.reader([*lines, "\n"], delimiter=separator))
    return sum(1 for _ in csv.reader([*lines, "\n", "x"], delimiter=separator)) == complete


def _never_closed(name: str, row: int) -> RosterError:
    return RosterError(
        f'{name}: a quote (") is opened in row {row} and never closed, so the rows below it would be lost. Correct '
        "that row: remove the quote, or close it."
    )


def _too_long(name: str, row: int) -> RosterError:
    return RosterError(
        f'{name}: row {row} has a field of more than {csv.field_size_limit():,} characters. Most likely a quote (") '
        "in it is opened and never closed: correct that row."
    )


def _without_formula(cell: str) -> str:
    """`="00123"`, which keeps a spreadsheet from dropping the zeros, as the text that it stands for."""
    match = _TEXT_FORMULA.fullmatch(cell)
    return match[1].replace('""', '"') if match else cell


def _send_rows(
    records: Iterable[tuple[int, list[str]]], layout: _Layout, writer: TableWriter
) -> tuple[list[tuple[int, list[str]]], int]:
    """Send all rows but the header.

    Returns the ragged_fields (position, and fields as they stood), and how many rows stand above the header; of these no
    width is asked.
    """
    writer.begin(layout.most)
    ragged_fields: list[tuple[int, list[str]]] = []
    blank = [""] * layout.most
    numbers: list[int] = []
    rows: list[list[str]] = []
    above = 0
    header_row = layout.start.header_row
    for number, cells in chain(records, [(0, [])]):
        if number != header_row and not is_blank(cells):
            row = cells if len(cells) == layout.most else _fits(cells, layout)
            if number < header_row:
                above += 1
                if row is None and len(_without_blank_end(cells)) <= layout.most:
                    row = [*_without_blank_end(cells), *blank[len(_without_blank_end(cells)) :]]
            if row is None:
                ragged_fields.append((writer.rows + len(rows), list(_without_blank_end(cells))))
            rows.append(blank if row is None else row)
            numbers.append(number)
        if len(rows) == BATCH_ROWS or (rows and number == 0):
            writer.write(numbers, list(zip(*rows, strict=True)))
            numbers, rows = [], []
    return ragged_fields, above
