"""How large a file may become while it is read.

A workbook is a zip archive, and a few kilobytes of it can claim or become gigabytes. Real rosters of a million
rows shrink to an eighth; the usual bombs to less than a four-hundredth. A million formatted empty rows shrink
nearly as much, so a high ratio alone is no crime: what counts is the size that such a file would reach.
"""

import io
import sys
import zipfile
from collections.abc import Iterator
from xml.parsers import expat

from batchlinks.errors import RosterError
from batchlinks.roster.file_kind import damaged
from batchlinks.zip_failures import ZIP_FAILURES

_MEGABYTE = 1_000_000
_MAX_ENTRIES = 10_000
_MAX_SIZE = 5_000 * _MEGABYTE
_MAX_SIZE_OF_HIGH_RATIO = 600 * _MEGABYTE
_HIGH_RATIO = 40
_BASE_MEMORY = 350 * _MEGABYTE
_MEMORY_PER_BYTE = 3  # measured: 2.1 bytes for each byte of a large sheet's XML
_CHUNK = 1 << 20

MAX_CELLS = 50_000_000
"""In the rectangle that a sheet's cells span: readers hold all of it in memory."""


class Archive:
    """A workbook's zip archive, checked against what it claims, its parts inflated in chunks."""

    def __init__(self, name: str, content: bytes) -> None:
        """Raises `RosterError` for an archive that is broken, or claims to be of an unreasonable size."""
        self.name = name
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
        except ZIP_FAILURES:
            raise damaged(name) from None
        entries = self._archive.infolist()
        size = sum(entry.file_size for entry in entries)
        high_ratio = size > _HIGH_RATIO * len(content)
        if len(entries) > _MAX_ENTRIES or size > (_MAX_SIZE_OF_HIGH_RATIO if high_ratio else _MAX_SIZE):
            raise expands_beyond_reason(name)
        self.memory_needed = _MEMORY_PER_BYTE * min(size, _HIGH_RATIO * len(content))
        """Bytes that reading it may honestly take: what a file's own size does not earn, it does not get."""

    def __contains__(self, part: str) -> bool:
        return part in self._archive.NameToInfo

    def parts(self) -> list[str]:
        """Names of all parts."""
        return self._archive.namelist()

    def size(self, part: str) -> int:
        """Bytes that `part` claims to have."""
        return self._archive.getinfo(part).file_size

    def chunks(self, part: str) -> Iterator[bytes]:
        """`part`, inflated. Raises `RosterError` when it breaks off, or is not of the size that it claims."""
        try:
            with self._archive.open(part) as stream:
                while chunk := stream.read(_CHUNK):
                    yield chunk
        except KeyError:
            raise damaged(self.name) from None
        except ZIP_FAILURES:
            raise damaged(self.name) from None

    def xml_chunks(self, part: str) -> Iterator[bytes]:
        """`chunks` of XML that declares no entities."""
        for position, chunk in enumerate(self.chunks(part)):
            if position == 0 and b"<!DOCTYPE" in chunk:
                raise declares_entities(self.name)
            yield chunk


def xml_parser(name: str) -> expat.XMLParserType:
    """A parser that refuses a document type, and with it every entity of the file's own."""

    def refuse(*_: object) -> None:
        raise declares_entities(name)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    return parser


def expands_beyond_reason(name: str) -> RosterError:
    """For a small file that is a very large one inside."""
    return RosterError(
        f"{name} would expand beyond reason when it is opened. Copy the patient list into a new workbook and use that."
    )


def declares_entities(name: str) -> RosterError:
    """For XML that defines abbreviations of its own, which can stand for anything."""
    return RosterError(
        f"{name} holds XML entity declarations, which no spreadsheet program writes. Copy the patient list into a new "
        "workbook and use that."
    )


def too_far(name: str, sheet: str, where: str) -> RosterError:
    """For a sheet whose cells span too large a rectangle; `where` names the farthest: `cell XFD1`."""
    return RosterError(
        f"{name}: sheet '{sheet}' has something in {where}, far from everything else, which is beyond what can be "
        "read. Delete what stands there, or copy the patient list into a new workbook."
    )


def limit_memory(needed: int) -> None:
    """Let this process take `needed` bytes more than it has now, and a fixed amount to work with.

    Only on Linux: elsewhere the address space of a process is no measure of its memory.
    """
    if sys.platform == "linux":
        import resource

        with open("/proc/self/statm") as sizes:  # noqa: PTH123 - shorter than pathlib for one number
            in_use = int(sizes.read().split()[0]) * resource.getpagesize()
        limit = in_use + _BASE_MEMORY + needed
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
