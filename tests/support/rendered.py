"""What LibreOffice makes of a document on paper: pages, their text, and the QR codes on them."""

import io
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import zxingcpp
from PIL import Image

_DPI = 150
BLANK_PAGES = 'pdf:writer_pdf_Export:{"IsSkipEmptyPages":{"type":"boolean","value":"false"}}'
"""Keeps the pages that stay blank so that the next one is odd, as a printer does."""


@dataclass(frozen=True, slots=True)
class Code:
    """A QR code on a page."""

    text: str
    top_mm: float
    width_mm: float
    """Without the white around it."""


def as_pdf(folder: Path, *documents: Path, kind: str = "pdf") -> list[Path]:
    """The documents printed by LibreOffice, in its order of names."""
    target = folder / "printed"
    profile = (folder / "profile").as_uri()
    office = ["soffice", f"-env:UserInstallation={profile}", "--headless", "--convert-to", kind, "--outdir"]
    subprocess.run([*office, target, *documents], check=True, capture_output=True, timeout=100)
    return [target / f"{document.stem}.pdf" for document in documents]


def pages_of(pdf: Path) -> int:
    told = subprocess.run(["pdfinfo", pdf], check=True, capture_output=True, text=True, timeout=60).stdout
    found = re.search(r"^Pages: +(\d+)$", told, re.MULTILINE)
    assert found is not None
    return int(found[1])


def texts_of(pdf: Path) -> list[str]:
    """The text of each page."""
    told = subprocess.run(["pdftotext", "-layout", pdf, "-"], check=True, capture_output=True, text=True, timeout=60)
    return told.stdout.split("\f")[:-1]


def codes_of(pdf: Path) -> list[list[Code]]:
    """The QR codes on each page, from its top down, read from its picture."""
    drawn: list[str | Path] = ["pdftoppm", "-r", str(_DPI), "-gray", pdf]
    pictures = subprocess.run(drawn, check=True, capture_output=True, timeout=100).stdout
    found = []
    for page in _pictures(pictures):
        codes = zxingcpp.read_barcodes(page, formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode))
        found.append(sorted(map(_code, codes), key=lambda code: code.top_mm))
    return found


def _pictures(stream: bytes) -> list[Image.Image]:
    """Of a run of PGM files, one after the other."""
    pages: list[Image.Image] = []
    at = 0
    while at < len(stream):
        header = re.compile(rb"P5\s+(\d+)\s+(\d+)\s+255\s").match(stream, at)
        assert header is not None
        end = header.end() + int(header[1]) * int(header[2])
        pages.append(Image.open(io.BytesIO(stream[at:end])))
        at = end
    return pages


def _code(found: zxingcpp.Barcode) -> Code:
    corners = found.position
    millimeters = 25.4 / _DPI
    return Code(
        found.text,
        corners.top_left.y * millimeters,
        (corners.top_right.x - corners.top_left.x) * millimeters,
    )
