"""The side that asks for a roster: it starts the process that reads the file, and takes the table from it.

Files come from outside. What a hostile or damaged one can do to a reader (run out of memory, abort, never end)
happens to a process that can be spared, and becomes a sentence here.
"""

import json
import stat
from dataclasses import asdict
from pathlib import Path

from batchlinks.errors import RosterError
from batchlinks.roster.annotations import without_annotations
from batchlinks.roster.other_tables import sort_out_tables
from batchlinks.roster.reader_process import reading_process
from batchlinks.roster.source import ENDINGS, ReadOptions, RosterBytes, RosterFrame
from batchlinks.roster.transfer import receive_table, without_unused_columns
from batchlinks.table import Table

_WHEREVER = ReadOptions()
_MEGABYTE = 1_000_000
MAX_FILE_BYTES = 1_000 * _MEGABYTE
_SECONDS = 30.0
_SECONDS_PER_MEGABYTE = 6.0  # the slowest real workbooks, all numbers, take about one


def read_roster(source: Path | RosterBytes | RosterFrame, options: ReadOptions = _WHEREVER) -> Table:
    """The rows of the one table in `source` that can be a roster.

    Raises `RosterError` for a file that cannot be used, and `SettingsError` for a sheet, a header row or an
    encoding that is not there. Blocks until the file is read, seconds for a million rows.
    """
    if isinstance(source, RosterFrame):
        from batchlinks.roster.data_frame import read_frame

        return sort_out_tables(read_frame(source, options), 0, id_column=options.id_column, may_leave_out=False)
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
    if ending in (".gsheet", ".gdoc", ".gslides"):
        raise RosterError(
            f"{name} is a shortcut to a Google document; the patients are not in it. Open it, download it as "
            "Microsoft Excel (.xlsx), and use that file."
        )
    if ending in (".lnk", ".url", ".webloc"):
        raise RosterError(f"{name} is a shortcut; the patients are not in it. Use the file to which it leads.")
    if ending and ending not in ENDINGS:
        raise RosterError(f"{name} ends in {ending}, which is no kind of patient list. {_ADVICE.get(ending, _SAVE_AS)}")


_SAVE_AS = f"Save it as one of: {' '.join(ENDINGS)}."
_EXPORT = "Ask whoever made it, or the program it comes from, for the list itself as .xlsx or .csv."
_COPY = (
    "If the patients are in a table in it, copy the table into a new Excel workbook, save that as .xlsx, and use it."
)
_UNPACK = "Unpack it, and use the patient list that is in it."
_NUMBERS = "Open it in Numbers, choose File > Export To > Excel, and use that file."
_EXCEL = "Open it in Excel and save it as .xlsx."
_ADVICE = (
    dict.fromkeys((".pdf", ".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".heic", ".bmp", ".webp"), _EXPORT)
    | dict.fromkeys(
        (".ppt", ".pptx", ".json", ".parquet", ".sav", ".db", ".sqlite", ".mdb", ".accdb", ".msg", ".eml"), _EXPORT
    )
    | dict.fromkeys((".doc", ".docx", ".rtf", ".odt", ".pages"), _COPY)
    | dict.fromkeys((".zip", ".gz", ".7z", ".rar", ".tar", ".tgz", ".bz2", ".xz"), _UNPACK)
    | dict.fromkeys((".htm", ".html", ".mht", ".xml", ".xltx", ".xltm", ".xlt", ".slk", ".dif", ".fods"), _EXCEL)
    | {".numbers": _NUMBERS}
)


def _size_of(path: Path) -> int:
    try:
        if path.is_dir():
            raise RosterError(f"{path.name} is a folder. Name the file in it that is the patient list.")
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise RosterError(
                f"{path.name} is a device or a pipe, not a file. Save the patient list as a file, or give - for standard input."
            )
        return state.st_size
    except FileNotFoundError:
        raise RosterError(f"There is no file {path.name} there. Check the name and the folder.") from None
    except OSError as error:
        raise RosterError(f"{path.name} cannot be opened: {error.strerror}.") from None
    except ValueError:
        raise RosterError("The patient list has a name that no file can have. Check the name.") from None


def _read_in_child(source: Path | RosterBytes, options: ReadOptions, time_limit: float) -> Table:
    request: dict[str, object] = {"name": source.name, "options": asdict(options)}
    if isinstance(source, RosterBytes):
        request["length"] = len(source.content)
    else:
        request["path"] = str(source.absolute())
    opening = json.dumps(request).encode() + b"\n"
    content = [source.content] if isinstance(source, RosterBytes) else []
    with reading_process() as child, child.limited_to(time_limit):
        child.send(opening, *content)
        import pandas  # noqa: F401  # takes a third of a second, and is needed next: while the other process reads

        received = receive_table(child.source, source.name)
    if received is None:
        reason = "reading it took too long" if child.out_of_time else "it is damaged"
        raise RosterError(
            f"{source.name} cannot be read: {reason}, or it would expand beyond reason. Open it in Excel, copy the "
            "patient list into a new workbook, and use that."
        )
    table, known = received
    table = sort_out_tables(
        table, known.rows_above, id_column=options.id_column, may_leave_out=options.header_row is not None
    )
    return without_unused_columns(without_annotations(table, known.properties))
