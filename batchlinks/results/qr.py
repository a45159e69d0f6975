"""QR codes of links, for letters and for the screen."""

import struct
import zlib

import numpy as np

_MODULE = 8
"""Pixels of a module, the small square that a code is made of: sharp on every printer."""
_MODULE_MM = 0.5
"""As wide a module is printed, where a program goes by the picture's own size: phones read it at arm's length."""
_PIXELS_PER_METER = round(1_000 / _MODULE_MM * _MODULE)
_BORDER = 4
"""Modules of white around it, as ISO/IEC 18004 asks."""

_MASK = 6
"""Choosing the best of eight patterns takes four times as long as all the rest, and is 2 % better than always this one
(by the penalty of ISO/IEC 18004, over links of the usual length)."""


def qr_code(link: str) -> bytes:
    """The QR code of a link as a PNG in black and white, of some 28 mm when printed in its own size."""
    import segno  # needed with --qr and letters only

    code = segno.make(link, error="m", boost_error=False, micro=False, mask=_MASK)
    modules = np.pad(np.array([list(row) for row in code.matrix], dtype=np.uint8), _BORDER)
    return _png(np.kron(modules, np.ones((_MODULE, _MODULE), dtype=np.uint8)))


def _png(black: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    """A square picture, 1 for each black pixel, as PNG with one bit a pixel. (segno's own takes five times as long.)"""
    size = len(black)
    rows = np.packbits(1 - black, axis=1)
    lines = np.concatenate([np.zeros((size, 1), dtype=np.uint8), rows], axis=1)  # each begins with its filter: none
    header = struct.pack(">IIBBBBB", size, size, 1, 0, 0, 0, 0)
    resolution = struct.pack(">IIB", _PIXELS_PER_METER, _PIXELS_PER_METER, 1)
    chunks = ((b"IHDR", header), (b"pHYs", resolution), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
