"""Builds `.xls` workbooks record by record: Excel 97 (stream `Workbook`) and Excel 5/95 (stream `Book`)."""

import struct
from collections.abc import Sequence

_SECTOR = 512
_END, _FREE, _FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def xls_workbook(
    rows: Sequence[Sequence[object]],
    formats: Sequence[str],
    *,
    hidden: Sequence[int] = (),
    stream: str = "Workbook",
    state: int = 0,
) -> bytes:
    """One sheet, `P`, of texts and of numbers with the place of their format in `formats`; `hidden` rows from 0.

    `state` of the sheet: 0 visible, 1 hidden, 2 very hidden.
    """
    biff8 = stream == "Workbook"
    version = 0x0600 if biff8 else 0x0500
    tail = struct.pack("<HHII", 0x0DBB, 1996, 0, 6) if biff8 else struct.pack("<HH", 0x0DBB, 1996)
    sheet = _record(0x809, struct.pack("<HH", version, 0x10) + tail)
    sheet += _record(0x200, struct.pack("<IIHHH" if biff8 else "<HHHHH", 0, len(rows), 0, 16, 0))
    for number, row in enumerate(rows):
        flags = 0x0100 | (0x20 if number in hidden else 0)
        sheet += _record(0x208, struct.pack("<HHHHHHHH", number, 0, len(row), 255, 0, 0, flags, 0))
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            if isinstance(cell, tuple):
                sheet += _record(0x203, struct.pack("<HHHd", number, column, cell[1], cell[0]))
            elif cell:
                sheet += _record(0x204, struct.pack("<HHH", number, column, 0) + _text(str(cell), 2, biff8))
    sheet += _record(0x0A, b"")
    start = _record(0x809, struct.pack("<HH", version, 0x05) + tail) + _record(
        0x42, struct.pack("<H", 1200 if biff8 else 1252)
    )
    for number, code in enumerate(formats):
        start += _record(0x41E, struct.pack("<H", 164 + number) + _text(code, 2 if biff8 else 1, biff8))
    for number in range(len(formats)):
        start += _record(0xE0, struct.pack("<HHH", 0, 164 + number, 1) + b"\0" * (14 if biff8 else 10))
    name = _text("P", 1, biff8)
    offset = len(start) + 4 + 6 + len(name) + 4
    start += _record(0x85, struct.pack("<IH", offset, state) + name) + _record(0x0A, b"")
    return _compound_file(stream, start + sheet)


def _record(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def _text(text: str, length: int, biff8: bool) -> bytes:
    count = len(text).to_bytes(length, "little")
    return count + b"\0" + text.encode("latin-1") if biff8 else count + text.encode("cp1252")


def _compound_file(name: str, content: bytes) -> bytes:
    """A compound file with one stream ([MS-CFB]); padded to the size from which a stream has sectors of its own."""
    content = content.ljust(4096, b"\0")
    content += b"\0" * (-len(content) % _SECTOR)
    count = len(content) // _SECTOR
    chain = [*range(3, count + 2), _END]
    table = [_FAT, _END, *chain]
    assert len(table) <= _SECTOR // 4
    fat = struct.pack("<128I", *table, *[_FREE] * (128 - len(table)))
    directory = _entry("Root Entry", 5, 1, _END, 0) + _entry(name, 2, _FREE, 2, len(content))
    directory = directory.ljust(_SECTOR, b"\0")
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16 + struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIII", 0, 1, 1, 0, 4096, _END, 0, _END, 0)
    header += struct.pack("<109I", 0, *[_FREE] * 108)
    return header + fat + directory + content


def _entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
    encoded = (name + "\0").encode("utf-16-le")
    return (
        encoded.ljust(64, b"\0")
        + struct.pack("<HBBIII", len(encoded), kind, 1, _FREE, _FREE, child)
        + b"\0" * 36
        + struct.pack("<IQ", start, size)
    )
