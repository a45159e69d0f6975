"""Corrections as a file brings them: an error report that somebody fixed, set beside the list that it came from."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from batchlinks.columns.header_words import key
from batchlinks.columns.id_column import display_names
from batchlinks.corrections.cell_correction import CellCorrection, apply_corrections
from batchlinks.errors import RosterError, SettingsError
from batchlinks.patients.identifier import clean
from batchlinks.roster.error_report import text_as_refused, without_report_columns
from batchlinks.roster.read import read_roster
from batchlinks.roster.source import ReadOptions, RosterBytes
from batchlinks.table import AnnotatedFrom, CellKind, ListProfile, Table, most_common_profile

CORRECTIONS_SHEET = "Corrections"
CORRECTION_COLUMNS = ("row", "column", "was", "is", "by")
"""What the error report's sheet holds, for whoever keeps the records, and for the next round."""

_CSV_ENDINGS = (".csv", ".tsv", ".txt")
_CUT = "[cut: the text is too long for a cell]"

Source = Path | RosterBytes


def read_corrections(source: Source, table: Table, *, by: str, password: str | None = None) -> list[CellCorrection]:
    """What a fixed error report, or the annotated workbook, changes in the list `table`.

    First what was corrected in earlier rounds, then what is new.

    Raises RosterError for a file that is neither, or that came from another list.
    """
    raw = read_roster(source, ReadOptions(password=password))
    if raw.annotated is not None:
        return _changes_of_annotated(raw, raw.annotated, table, by=by)
    report = without_report_columns(raw)
    if not report.is_error_report:
        raise RosterError(
            f"{source.name} is not an error report. Corrections come from the error report of {table.name}, with its cells "
            "fixed."
        )
    profile = most_common_profile(report.earlier)
    check_same_list(source.name, profile, table)
    earlier = _earlier_rounds(source, profile, password) if profile.corrections else []
    return [*earlier, *find_corrections(raw, report, apply_corrections(table, earlier), by=by)]


def _changes_of_annotated(annotated: Table, origin: AnnotatedFrom, table: Table, *, by: str) -> list[CellCorrection]:
    check_same_list(annotated.name, ListProfile(list_sha256=origin.list_sha256, sheet=annotated.sheet or ""), table)
    found = find_changes(annotated, table, by=by)
    if found is None:
        raise RosterError(
            f"Rows were moved in {annotated.name}, so nobody can tell what was corrected. Hand it in by itself: it is the whole "
            "list."
        )
    return found


def find_changes(annotated: Table, table: Table, *, by: str) -> list[CellCorrection] | None:
    """The cells in which an annotated workbook differs from its list, row by row; None where rows were moved."""
    names = display_names(table.headers)
    columns = [at for at, header in enumerate(annotated.headers[: len(names)]) if header == table.headers[at]]
    now = dict(zip(annotated.row_numbers.tolist(), _row_texts(annotated, columns), strict=True))
    was = dict(zip(table.row_numbers.tolist(), _row_texts(table, columns), strict=True))
    changed = {row: cells for row, cells in now.items() if cells != was.get(row)}
    elsewhere = {cells: row for row, cells in was.items()}
    if any(elsewhere.get(cells, row) != row for row, cells in changed.items()):
        return None
    position_of = {row: at for at, row in enumerate(annotated.row_numbers.tolist())}
    last = max(was, default=table.header_row)
    blank = [""] * len(columns)
    found = []
    for row, cells in sorted(changed.items()):
        if row not in was and row <= last:
            return None
        before = was.get(row, tuple(blank))
        for at, old, new in zip(columns, before, cells, strict=True):
            kind = _kind(annotated, at, position_of[row])
            if _plain(old) != _plain(new) and kind is not CellKind.NO_CACHED_VALUE:
                found.append(CellCorrection(row, names[at], old, new, by, kind))
    return found


def _row_texts(table: Table, columns: Sequence[int]) -> list[tuple[str, ...]]:
    if not columns:
        return [()] * len(table)
    return list(zip(*(table.column(at).to_pylist() for at in columns), strict=True))


def check_same_list(name: str, profile: ListProfile, table: Table) -> None:
    """Raises RosterError unless the report `name`, in whose rows `profile` stands, is this list's."""
    if not profile.list_sha256:
        raise RosterError(
            f"{name} doesn't say which list it came from, because a version before 0.3 wrote it. Run it by itself."
        )
    if profile.list_sha256 != table.sha256 or profile.sheet != (table.sheet or ""):
        raise RosterError(
            f"{name} doesn't belong to {table.name}: it came from another list or sheet, or {table.name} was changed since. "
            "Nothing was corrected."
        )


def find_corrections(raw: Table, report: Table, table: Table, *, by: str) -> list[CellCorrection]:
    """The cells in which a fixed report differs from its list, row by row. Rows added to the report come behind the list.

    `raw`: the report as it was read, `report`: without its own columns. What white space or the file's format may have
    done to a cell is no change. Raises RosterError where two rows of the report change one row differently.
    """
    names = display_names(table.headers)
    keys = {key(name): position for position, name in enumerate(names)}
    columns = {
        here: names.index(name) if name in names else keys[key(name)]
        for here, name in enumerate(display_names(report.headers))
        if name in names or key(name) in keys
    }
    rows = _rows_of(raw)
    position_of = {int(row): position for position, row in reversed(list(enumerate(table.row_numbers.tolist())))}
    last = max(position_of, default=table.header_row)
    found: dict[tuple[int, str], CellCorrection] = {}
    typed = {here: report.column(here).to_pylist() for here in columns}
    for at, row in enumerate(rows):
        if at in raw.ragged_fields:
            raise RosterError(
                f"{raw.name}, row {raw.row_numbers[at]}: this row has too many or too few fields, so nobody can tell what was "
                "corrected in it. Correct the row."
            )
        if at in report.ragged_fields:  # its fields still stand apart
            continue
        if row is None:
            last += 1
        for here, column in columns.items():
            position = None if row is None else position_of.get(row)
            change = _change(typed[here][at], table, position, column)
            if change is None:
                continue
            if row is not None and row not in position_of:
                raise RosterError(f"{raw.name} has a row with error_row {row}, where {table.name} has no patient.")
            each = CellCorrection(
                last if row is None else row, names[column], *change, by=by, kind=_kind(report, here, at)
            )
            if found.setdefault((each.row, each.column), each).now != each.now:
                raise RosterError(
                    f"{raw.name} has row {row} more than once, with different corrections. Keep the right one, and remove the "
                    "others."
                )
    return sorted(found.values(), key=lambda each: each.row)


def _change(now: str, table: Table, position: int | None, column: int) -> tuple[str, str] | None:
    """What was and what is in a cell; None where nothing was changed."""
    was = "" if position is None else table.cells.column(column)[position].as_py()
    kinds = table.kinds.get(column)
    kind = int(kinds[position]) if kinds is not None and position is not None else int(CellKind.TEXT)
    if now.endswith(_CUT) or _plain(now) in {_plain(was), _plain(text_as_refused(was, kind))}:
        return None
    return was, now


def _plain(text: str) -> str:
    return " ".join(clean(text).split())


def _kind(report: Table, column: int, at: int) -> CellKind:
    kinds = report.kinds.get(column)
    return CellKind.TEXT if kinds is None else CellKind(int(kinds[at]))


def _rows_of(raw: Table) -> Iterator[int | None]:
    """The row of the list that each row of the report stands for; None where somebody added it."""
    column = [key(header) for header in raw.headers].index(key("error_row"))
    for text in raw.column(column).to_pylist():
        yield int(text) if text.isascii() and text.isdigit() else None


def _earlier_rounds(source: Source, profile: ListProfile, password: str | None) -> Sequence[CellCorrection]:
    """What the list had been corrected to when the report was written: its sheet, or the file beside a CSV."""
    where, options = source, ReadOptions(sheet=CORRECTIONS_SHEET, header_row=1, password=password)
    if isinstance(source, Path) and source.suffix.lower() in _CSV_ENDINGS:
        stem = source.name.removesuffix(source.suffix)
        where = source.with_name(f"{stem.removesuffix('.errors')}.corrections.csv")
        options = replace(options, sheet=None)
    try:
        table = read_roster(where, options)
    except (RosterError, SettingsError) as error:
        raise _missing(source.name) from error
    keys = [key(header) for header in table.headers]
    if [key(name) for name in CORRECTION_COLUMNS] != keys[: len(CORRECTION_COLUMNS)]:
        raise _missing(source.name)
    texts = zip(*(table.column(at).to_pylist() for at in range(len(CORRECTION_COLUMNS))), strict=True)
    found = [CellCorrection(int(row), *rest) for row, *rest in texts if row.isascii() and row.isdigit()]
    if len(found) < profile.corrections:
        raise _missing(source.name)
    return found


def _missing(name: str) -> RosterError:
    return RosterError(
        f"{name} was written for a list with corrections, and these are missing: its sheet {CORRECTIONS_SHEET} (for a CSV: the "
        "file that ends in .corrections.csv, beside it). Put them back, or use the report as it was written."
    )
