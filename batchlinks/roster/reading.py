"""The side that asks for a roster: it starts the process that reads the file, and takes the table from it.

Files come from outside. What a hostile or damaged one can do to a reader (run out of memory, abort, never end)
happens to a process that can be spared, and becomes a sentence here.
"""

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from batchlinks.errors import RosterError
from batchlinks.roster import ENDINGS, ReadOptions, RosterBytes
from batchlinks.roster.table import Table
from batchlinks.roster.transfer import receive_table

_MEGABYTE = 1_000_000
MAX_FILE_BYTES = 1_000 * _MEGABYTE
_SECONDS = 30.0
_SECONDS_PER_MEGABYTE = 6.0  # the slowest real workbooks, all numbers, take about one

# Few threads and memory arenas: each sets aside address space, which is what a memory limit counts.
_CHILD_ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "ARROW_IO_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONIOENCODING": "utf-8",
}
if sys.platform == "win32":
    _CREATION_FLAGS = subprocess.CREATE_NO_WINDOW
else:
    _CREATION_FLAGS = 0
_SECRET_PREFIXES = ("HEALTHEX_", "BATCHLINKS_")


def read(source: Path | RosterBytes, options: ReadOptions) -> Table:
    """See `batchlinks.roster.read_roster`."""
    _refuse_by_name(source.name)
    size = len(source.content) if isinstance(source, RosterBytes) else _size_of(source)
    if size == 0:
        raise RosterError(f"{source.name} is empty: there is nothing in the file. Export the patient list again.")
    if size > MAX_FILE_BYTES:
        raise RosterError(
            f"{source.name} is larger than {MAX_FILE_BYTES // _MEGABYTE:,} MB. Split it into several files."
        )
    time_limit = _SECONDS + _SECONDS_PER_MEGABYTE * size / _MEGABYTE
    return _read_in_child(source, options, time_limit)


def _refuse_by_name(name: str) -> None:
    ending = Path(name).suffix.lower()
    if name.startswith(("~$", ".~lock.")):
        raise RosterError(
            f"{name} only marks that somebody has the file open; it holds no patients. Use the file itself."
        )
    if ending in (".gsheet", ".gdoc"):
        raise RosterError(
            f"{name} is a shortcut to a Google document; the patients are not in it. Open it, download it as "
            "Microsoft Excel (.xlsx), and use that file."
        )
    if ending and ending not in ENDINGS:
        raise RosterError(
            f"{name} ends in {ending}, which is no kind of patient list. Save it as one of: {' '.join(ENDINGS)}."
        )


def _size_of(path: Path) -> int:
    try:
        if path.is_dir():
            raise RosterError(f"{path.name} is a folder. Name the file in it that is the patient list.")
        return path.stat().st_size
    except FileNotFoundError:
        raise RosterError(f"There is no file {path.name} there. Check the name and the folder.") from None
    except OSError as error:
        raise RosterError(f"{path.name} cannot be opened: {error.strerror}.") from None


def _read_in_child(source: Path | RosterBytes, options: ReadOptions, time_limit: float) -> Table:
    request: dict[str, object] = {"name": source.name, "options": asdict(options)}
    if isinstance(source, RosterBytes):
        request["length"] = len(source.content)
    else:
        request["path"] = str(source.absolute())
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "batchlinks.roster.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a traceback there could quote patients
        env=_environment(),
        creationflags=_CREATION_FLAGS,
    )
    out_of_time = threading.Event()

    def stop() -> None:
        out_of_time.set()
        child.kill()

    timer = threading.Timer(time_limit, stop)
    timer.daemon = True
    timer.start()
    try:
        assert child.stdin is not None  # noqa: S101 - for the type checker
        assert child.stdout is not None  # noqa: S101 - for the type checker
        with suppress(BrokenPipeError, ConnectionResetError, OSError):  # why it went away shows on its output
            child.stdin.write(json.dumps(request).encode() + b"\n")
            if isinstance(source, RosterBytes):
                child.stdin.write(source.content)
            child.stdin.flush()
        table = receive_table(child.stdout, source.name)
    finally:
        timer.cancel()
        child.kill()
        for pipe in (child.stdin, child.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]  # both were asked for above
        child.wait()
    if table is None:
        reason = "reading it took too long" if out_of_time.is_set() else "it is damaged"
        raise RosterError(
            f"{source.name} cannot be read: {reason}, or it would expand beyond reason. Open it in Excel, copy the "
            "patient list into a new workbook, and use that."
        )
    return table


def _environment() -> dict[str, str]:
    """That of this process without its secrets, and with the same places to import from, in the same order."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SECRET_PREFIXES)}
    places = [place for place in sys.path if place]
    package_home = str(Path(__file__).parents[2])
    if package_home not in places:
        places.insert(0, package_home)
    return kept | _CHILD_ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(places)}
