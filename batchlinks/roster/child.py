"""The process that reads one roster: a request on standard input, the table on standard output.

It is started by `batchlinks.roster.reader_process`. It holds no secret but a workbook's password, which arrives with the
request, and it dies at its memory limit rather than take the machine along.
"""

import gc
import hashlib
import json
import sys
import traceback
import warnings
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import IO

import pyarrow as pa

from batchlinks.errors import RosterError, SettingsError
from batchlinks.roster.file_kind import FileKind, file_kind
from batchlinks.roster.guard import limit_memory
from batchlinks.roster.source import ReadOptions
from batchlinks.roster.transfer import TableWriter


def _do_without_pandas() -> None:
    """Arrow imports pandas at its first array, a third of a second that this process has no use for.

    One that is too old for Arrow it leaves alone.
    """
    too_old = ModuleType("pandas")
    too_old.__dict__["__version__"] = "0"
    sys.modules["pandas"] = too_old
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pa.array([])  # the look, which is taken once


def main() -> None:
    """Read the roster that standard input asks for, and send it to standard output."""
    gc.disable()  # millions of cells and no cycles among them: looking for some costs a quarter of the time
    _do_without_pandas()
    writer = TableWriter(sys.stdout.buffer)
    try:
        _serve(sys.stdin.buffer, writer)
    except (RosterError, SettingsError) as error:
        writer.fail(error)
    except MemoryError:
        writer.fail(
            RosterError("The file would expand beyond reason when it is read. Copy the patient list into a new file.")
        )
    except Exception as error:  # what it says may quote patients, so only its place is told
        place = traceback.extract_tb(error.__traceback__)[-1]
        writer.fail(
            RosterError(
                "The file cannot be read: it is damaged or unusual. Open it in Excel, copy the patient list into a new "
                f"workbook, and use that ({type(error).__name__}, {Path(place.filename).name}, line {place.lineno})."
            )
        )


def _serve(source: IO[bytes], writer: TableWriter) -> None:
    request = json.loads(source.readline())
    name, options = str(request["name"]), ReadOptions(**request["options"])
    content = source.read(request["length"]) if "length" in request else _content_of(Path(request["path"]))
    sha256 = hashlib.sha256(content).hexdigest()
    kind, content = file_kind(name, content, password=options.password)
    if kind is FileKind.TEXT:
        from batchlinks.roster.csv_reader import read_delimited

        limit_memory(3 * len(content))
        facts = read_delimited(name, content, options, writer)
    elif kind is FileKind.ODS:
        from batchlinks.roster.ods_reader import read_opendocument

        facts = read_opendocument(name, content, options, writer)
    else:
        from batchlinks.roster.workbook_reader import read_workbook

        facts = read_workbook(name, content, kind, options, writer)
    writer.finish(replace(facts, sha256=sha256))


def _content_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RosterError(f"{path.name} cannot be opened: {error.strerror}.") from None


if __name__ == "__main__":
    main()
