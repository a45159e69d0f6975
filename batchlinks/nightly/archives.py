"""A zip or gzip archive that holds one roster: its name without both endings, and what is in it, within bounds.

An archive comes from outside, so nothing that it says of itself is believed: not the size of what it holds, not the
name, which is never used as a path.
"""

import gzip
import io
import zipfile
from pathlib import PurePath
from typing import IO

from batchlinks.errors import RosterError
from batchlinks.roster.read import MAX_FILE_BYTES
from batchlinks.roster.source import ENDINGS, RosterBytes
from batchlinks.zip_failures import ZIP_FAILURES

ARCHIVE_ENDINGS = (".zip", ".gz")

_CHUNK = 1 << 20
_ALWAYS_ALLOWED = 64_000_000
"""Bytes that any archive may hold, however small it is."""

_HIGHEST_RATIO = 100
"""Real lists shrink to a tenth, repetitive ones to a fiftieth; the usual bombs to a thousandth."""

_MOST_ENTRIES = 1_000
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def is_archive(name: str) -> bool:
    """Whether a file is one by its ending."""
    return name.lower().endswith(ARCHIVE_ENDINGS)


def split_endings(name: str) -> tuple[str, str]:
    """`clinic.csv.gz` → (`clinic`, `.csv.gz`), `clinic.zip` → (`clinic`, `.zip`), `clinic.csv` → (`clinic`, `.csv`)."""
    path = PurePath(name)
    stem, endings = path.stem, path.suffix
    if is_archive(name) and stem.lower().endswith(ENDINGS):
        inner = PurePath(stem)
        stem, endings = inner.stem, inner.suffix + endings
    return stem, endings


def unpack(name: str, content: bytes) -> RosterBytes:
    """The one roster in an archive, under the archive's own name and the roster's own ending.

    Raises RosterError for an archive that is damaged, encrypted, of an unreasonable size, or holds anything else.
    """
    stem, endings = split_endings(name)
    try:
        if name.lower().endswith(".gz"):
            ending = endings[: -len(".gz")]
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
                unpacked = _read_within_bounds(name, packed, len(content))
        else:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                entry = _only_entry(name, archive)
                ending = PurePath(entry.filename.replace("\\", "/")).suffix
                with archive.open(entry) as packed:
                    unpacked = _read_within_bounds(name, packed, len(content))
    except ZIP_FAILURES as error:
        raise RosterError(f"{name} is damaged, or is no archive. Ask for it to be sent again.") from error
    return RosterBytes(f"{stem}{ending.lower()}", unpacked)


def _only_entry(name: str, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise RosterError(f"{name} needs one patient list in it. Right now it has {len(entries):,} files.")
    files = [entry for entry in entries if not entry.is_dir() and not _is_metadata(entry.filename)]
    if len(files) != 1:
        has = f"{len(files):,} files" if files else "no file"
        raise RosterError(f"{name} needs one patient list in it, and nothing else. Right now it has {has}.")
    (entry,) = files
    if entry.flag_bits & _ENCRYPTED:
        raise RosterError(f"{name} is protected with a password, and nobody can type one at night. Ask for it without.")
    if not entry.filename.lower().endswith(ENDINGS):
        raise RosterError(
            f"{name} needs a patient list in it (a file that ends in {', '.join(ENDINGS)}). Right now it has something else."
        )
    if entry.compress_type not in _METHODS:
        raise RosterError(f"{name} is compressed in an unusual way. Ask for a plain zip file.")
    return entry


def _is_metadata(path: str) -> bool:
    """What macOS packs beside every file."""
    return path.startswith("__MACOSX/") or PurePath(path).name in (".DS_Store", "Thumbs.db", "desktop.ini")


def _read_within_bounds(name: str, packed: IO[bytes] | gzip.GzipFile, size: int) -> bytes:
    limit = min(MAX_FILE_BYTES, max(_ALWAYS_ALLOWED, _HIGHEST_RATIO * size))
    unpacked = bytearray()
    while chunk := packed.read(_CHUNK):
        unpacked += chunk
        if len(unpacked) > limit:
            raise RosterError(
                f"{name} expands to an unsafe size when opened: over {limit // 1_000_000:,} MB. Ask for the list itself."
            )
    return bytes(unpacked)
