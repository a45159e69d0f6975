"""Workbooks that open with a password only, as Excel itself protects them (ECMA-376 agile encryption, AES-256)."""

import io
from collections.abc import Callable
from typing import BinaryIO


def write_protected(target: BinaryIO, write: Callable[[BinaryIO], object], password: str) -> None:
    """Give `target` the workbook that `write` writes, encrypted. In clear it is in memory only, never in a file."""
    from msoffcrypto.format.ooxml import OOXMLFile  # slow to import

    clear = io.BytesIO()
    write(clear)
    clear.seek(0)
    OOXMLFile(clear).encrypt(password, target)
