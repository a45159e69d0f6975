"""The records inside an `.xls` workbook.

They tell what the fast reader does not: number formats, hidden rows, errors, formulas that count other cells.

Records are those of [MS-XLS], for Excel 97 to 2003 (BIFF8) and for Excel 5 and 95 (BIFF5), whose stream is `Book`.
"""

import io
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import olefile

from batchlinks.roster.calamine_corrections import (
    AGGREGATE,
    UNREADABLE,
    Correction,
    MarkedCells,
    StyleSheet,
    date_mark,
    error_mark,
    usual_codes,
)

_FORMULA, _EOF, _BOUNDSHEET, _MULRK, _RSTRING, _XF, _LABELSST = 0x06, 0x0A, 0x85, 0xBD, 0xD6, 0xE0, 0xFD
_NUMBER, _LABEL, _BOOLERR, _ROW, _RK, _FORMAT, _BOF = 0x203, 0x204, 0x205, 0x208, 0x27E, 0x41E, 0x809
_BIFF8 = 0x0600
_DATE_1904 = 0x22
_TEXTS = frozenset({_LABELSST, _LABEL, _RSTRING})
_ERRORS = {0x00: "#NULL!", 0x07: "#DIV/0!", 0x0F: "#VALUE!", 0x17: "#REF!", 0x1D: "#NAME?", 0x24: "#NUM!", 0x2A: "#N/A"}
_HIDDEN_ROW = 0x20
_CELL = struct.Struct("<HHH")


@dataclass(frozen=True, slots=True)
class _BiffSheet:
    offset: int
    name: str


class XlsDetails:
    """What the records say beyond the cells."""

    def __init__(self, content: bytes) -> None:
        """Raises whatever a broken file makes it raise."""
        with olefile.OleFileIO(io.BytesIO(content)) as document:
            name = next(name for name in ("Workbook", "Book") if document.exists(name))
            self._stream: bytes = document.openstream(name).read()
        version = struct.unpack_from("<H", self._stream, 4)[0]
        self._is_biff8 = version == _BIFF8
        self._from_1904 = False
        codes: dict[int, str] = {}
        format_numbers: list[int] = []
        self._sheets: dict[str, _BiffSheet] = {}
        for kind, data in self._records(0):
            if kind == _FORMAT:
                codes[struct.unpack_from("<H", data)[0]] = self._text(data, 2, wide_length=self._is_biff8)
            elif kind == _XF:
                format_numbers.append(struct.unpack_from("<H", data, 2)[0])
            elif kind == _DATE_1904:
                self._from_1904 = struct.unpack_from("<H", data)[0] == 1
            elif kind == _BOUNDSHEET:
                sheet = _BiffSheet(struct.unpack_from("<I", data)[0], self._text(data, 6, wide_length=False))
                self._sheets[sheet.name] = sheet
        self._styles = StyleSheet.of(format_numbers, codes)

    def size(self, sheet: str) -> int:
        return self._sheets[sheet].offset if sheet in self._sheets else 0

    def survey(self, sheet: str) -> None:
        pass

    def correction(self, sheet: str) -> Correction:
        if sheet not in self._sheets:
            return Correction(formats_known=False)
        try:
            return self._read(self._sheets[sheet].offset)
        except (struct.error, IndexError):
            return Correction(formats_known=False)

    def _read(self, offset: int) -> Correction:
        cells = _BiffCells(self._styles, self._is_biff8, self._from_1904)
        hidden: list[int] = []
        for kind, data in self._records(offset):
            if kind == _ROW:
                row, height, flags = struct.unpack_from("<H4xH4xH", data)
                if flags & _HIDDEN_ROW or not height & 0x7FFF:
                    hidden.append(row + 1)
            else:
                cells.take(kind, data)
        return Correction(
            cells.marked.by_column(),
            self._styles.formats,
            hidden,
            date_formats=usual_codes(cells.date_styles, self._styles.date_codes),
        )

    def _records(self, offset: int) -> Iterator[tuple[int, bytes]]:
        """Kind and data of each record of the substream at `offset`; charts inside it are passed over."""
        stream, depth = self._stream, 0
        unpack = struct.Struct("<HH").unpack_from
        while offset + 4 <= len(stream):
            kind, length = unpack(stream, offset)
            data = stream[offset + 4 : offset + 4 + length]
            offset += 4 + length
            if kind == _BOF:
                depth += 1
            elif kind == _EOF:
                depth -= 1
                if depth <= 0:
                    return
            elif depth == 1:
                yield kind, data
        raise struct.error("the end is missing")

    def _text(self, data: bytes, at: int, *, wide_length: bool) -> str:
        length = struct.unpack_from("<H" if wide_length else "<B", data, at)[0]
        at += 2 if wide_length else 1
        if not self._is_biff8:
            return data[at : at + length].decode("cp1252", "replace")
        wide = data[at] & 1
        return data[at + 1 : at + 1 + length * (1 + wide)].decode("utf-16-le" if wide else "latin-1", "replace")


class _BiffCells:
    """Takes in the records of a sheet's cells."""

    def __init__(self, styles: StyleSheet, is_biff8: bool, from_1904: bool) -> None:
        self.marked = MarkedCells()
        self.date_styles: dict[int, Counter[int]] = {}
        self._styles = styles
        self._of_numbers, self._of_texts = styles.of_numbers, styles.of_texts
        self._is_biff8 = is_biff8
        self._from_1904 = from_1904

    def take(self, kind: int, data: bytes) -> None:
        if kind in (_RK, _NUMBER):
            row, column, style = _CELL.unpack_from(data)
            self._number(row, column, style, data[6:], kind)
        elif kind in _TEXTS:
            row, column, style = _CELL.unpack_from(data)
            if style in self._of_texts:
                self.marked.add(row + 1, column, style)
        elif kind == _MULRK:
            row, first = struct.unpack_from("<HH", data)
            for place, at in enumerate(range(4, len(data) - 2, 6)):
                self._number(row, first + place, struct.unpack_from("<H", data, at)[0], data[at + 2 : at + 6], _RK)
        elif kind == _FORMULA:
            self._formula(data)
        elif kind == _BOOLERR and data[7]:
            row, column, _ = _CELL.unpack_from(data)
            self.marked.add(row + 1, column, error_mark(_ERRORS.get(data[6], "")))

    def _number(self, row: int, column: int, style: int, value: bytes, kind: int) -> None:
        if style in self._of_numbers:
            self.marked.add(row + 1, column, style)
        elif style >= (self._styles.count or 0):
            self.marked.add(row + 1, column, UNREADABLE)
        elif style in self._styles.dates:
            self.date_styles.setdefault(column, Counter())[style] += 1
            number = struct.unpack_from("<d", value)[0] if kind == _NUMBER else _rk(struct.unpack_from("<I", value)[0])
            mark = date_mark(number, from_1904=self._from_1904)
            if mark is not None:
                self.marked.add(row + 1, column, mark)

    def _formula(self, data: bytes) -> None:
        row, column, style = _CELL.unpack_from(data)
        result = data[6:14]
        length = struct.unpack_from("<H", data, 20)[0]
        if _counts_others(data[22 : 22 + length], self._is_biff8):
            self.marked.add(row + 1, column, AGGREGATE)
        elif result[6:] != b"\xff\xff":
            self._number(row, column, style, result, _NUMBER)
        elif result[0] == 2:
            self.marked.add(row + 1, column, error_mark(_ERRORS.get(result[2], "")))
        elif result[0] == 0 and style in self._of_texts:
            self.marked.add(row + 1, column, style)


def _rk(value: int) -> float:
    """A number packed into 30 bits ([MS-XLS] 2.5.218)."""
    if value & 2:
        number = float(value >> 2 if value < 1 << 31 else (value >> 2) - (1 << 30))
    else:
        number = float(struct.unpack("<d", b"\0\0\0\0" + struct.pack("<I", value & ~3))[0])
    return number / 100 if value & 1 else number


# Of the tokens of a formula ([MS-XLS] 2.5.198): length behind the first byte, in BIFF8 and in BIFF5.
_REFERENCE, _AREA, _AREA_ELSEWHERE, _FUNCTION, _FUNCTION_OF_ANY, _ATTRIBUTE, _NUMBER_TOKEN = 4, 5, 27, 1, 2, 0x19, 0x1E
_LENGTHS = {_REFERENCE: (4, 3), _AREA: (8, 6), _AREA_ELSEWHERE: (10, 20), _FUNCTION: (2, 2), _FUNCTION_OF_ANY: (3, 3)}
_AGGREGATES = frozenset({0, 4, 5, 6, 7, 76, 169, 227, 228, 344, 345, 346, 347})  # COUNT, SUM … SUBTOTAL, SUMIF, COUNTIF
_SUM_OF_ONE = 0x10


def _counts_others(tokens: bytes, is_biff8: bool) -> bool:
    """Whether all that a formula does is to count or add up a range of cells; no for one that is not understood."""
    at, has_area, ends_so = 0, False, False
    while at < len(tokens):
        token = tokens[at]
        base = token & 0x1F if token >= 0x20 else -1
        ends_so = False
        if token == _NUMBER_TOKEN:
            at += 3
        elif token == _ATTRIBUTE:
            ends_so = bool(tokens[at + 1] & _SUM_OF_ONE)
            at += 4
        elif base in _LENGTHS:
            has_area |= base in (_AREA, _AREA_ELSEWHERE)
            if base in (_FUNCTION, _FUNCTION_OF_ANY):
                number = at + (1 if base == _FUNCTION else 2)
                ends_so = struct.unpack_from("<H", tokens, number)[0] & 0x7FFF in _AGGREGATES
            at += 1 + _LENGTHS[base][0 if is_biff8 else 1]
        else:
            return False
    return has_area and ends_so
