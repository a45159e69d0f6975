"""QR codes of links, for letters and for the screen."""

import io

_MODULE = 8
"""Pixels of a module, the small square that a code is made of: sharp on every printer."""
_MODULE_MM = 0.5
"""As wide a module is printed, where a program goes by the picture's own size: phones read it at arm's length."""
_DOTS_PER_INCH = round(25.4 / _MODULE_MM * _MODULE)
_BORDER = 4
"""Modules of white around it, as ISO/IEC 18004 asks."""

_MASK = 6
"""Choosing the best of eight patterns takes four times as long as all the rest, and is 2 % better than always this one
(by the penalty of ISO/IEC 18004, over links of the usual length)."""


def qr_code(link: str) -> bytes:
    """The QR code of a link as a PNG in black and white, of some 28 mm when printed in its own size."""
    import segno  # needed with --qr only

    code = segno.make(link, error="m", boost_error=False, micro=False, mask=_MASK)
    picture = io.BytesIO()
    code.save(picture, kind="png", scale=_MODULE, border=_BORDER, dpi=_DOTS_PER_INCH, compresslevel=6)
    return picture.getvalue()
