"""The coordinator's own workbook with `link`, `link_status` and notes in it, by openpyxl; nothing of theirs is emptied."""

import io
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from batchlinks.columns.id_column import display_names
from batchlinks.corrections.cell_correction import CellCorrection
from batchlinks.errors import RosterError
from batchlinks.roster.annotations import (
    COLUMNS_PROPERTY,
    LIST_PROPERTY,
    SHA256_PROPERTY,
    SHEET_PROPERTY,
    STATUS_COLUMN,
)
from batchlinks.row_codes import Action
from batchlinks.table import Table

if TYPE_CHECKING:
    from openpyxl.cell.cell import Cell

MAX_ROWS_ANNOTATED = 50_000
"""Of a list: openpyxl holds every cell as an object, and takes a minute for as many."""

NOTE_MARK = "batchlinks:"
"""The line between their note and ours."""

_YELLOW = "FFFFF2A8"
_LINK_WIDTH, _STATUS_WIDTH = 44, 18
_NOTE_SIZE = (320, 120)  # points: a sentence or two without scrolling
_FAILURES = (KeyError, ValueError, TypeError, AttributeError, IndexError, OSError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True)
class RowAnnotation:
    """What stands beside one row of the list."""

    row: int
    link: str
    """ "" where the row has none."""

    status: str
    note: str = ""
    """What is wrong with its ID, and what to do; "" where nothing is."""


class AnnotatedWorkbook:
    """A workbook that is open in memory."""

    def __init__(self, content: bytes, table: Table, link_column: str) -> None:
        """`content`: the list's file, not encrypted; `table`: what was read from it.

        Raises RosterError where openpyxl cannot open it.
        """
        import openpyxl

        self._table = table
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what it cannot keep was said in words of ours
                self._book: Any = openpyxl.load_workbook(io.BytesIO(content), rich_text=True)
            self._sheet: Any = self._book[table.sheet or ""]
        except _FAILURES:
            raise RosterError(
                f"{table.name} can't be annotated: it is built in an unusual way. Open it in Excel, save it as a new workbook "
                "(.xlsx), and use that; or leave out the annotated workbook."
            ) from None
        self._headers = (link_column, STATUS_COLUMN)
        self._first = self._place()
        self.sorted_apart = self._extend_tables()
        """Whether the list can be sorted in Excel without our columns, since other cells stand between."""

    def _place(self) -> int:
        """Column number of `link`: where it stands from an earlier time, or behind the last used column."""
        if self._table.annotated is not None:
            return self._table.annotated.first_column + 1
        return self._last_used() + 1

    def _last_used(self) -> int:
        filled = max(
            (cell.column for row in self._sheet.iter_rows() for cell in row if cell.value is not None), default=1
        )
        merged = max((area.max_col for area in self._sheet.merged_cells.ranges), default=1)
        tables = max((_bounds(table.ref)[2] for table in self._sheet.tables.values()), default=1)
        return max(filled, merged, tables)

    def _extend_tables(self) -> bool:
        """Take our columns into the Excel table and the filter, so that whoever sorts the list sorts the links with it."""
        if self._table.annotated is not None or not self._table.header_row:
            return False
        from openpyxl.worksheet.table import TableColumn

        apart = False
        for table in self._sheet.tables.values():
            left, top, right, bottom = _bounds(table.ref)
            if not top <= self._table.header_row <= bottom:
                continue
            if right != self._first - 1 or table.headerRowCount == 0:
                apart = True
                continue
            table.ref = _area(left, top, right + 2, bottom)
            if table.autoFilter is not None:
                table.autoFilter.ref = (
                    table.ref if table.totalsRowCount in (None, 0) else _area(left, top, right + 2, bottom - 1)
                )
            number = max(column.id for column in table.tableColumns)
            table.tableColumns += [
                TableColumn(id=number + place, name=name) for place, name in enumerate(self._headers, start=1)
            ]
        if self._sheet.auto_filter.ref:
            left, top, right, bottom = _bounds(self._sheet.auto_filter.ref)
            if right == self._first - 1:
                self._sheet.auto_filter.ref = _area(left, top, right + 2, bottom)
            else:
                apart = True
        return apart

    def annotate(self, rows: Sequence[RowAnnotation], id_columns: Sequence[int]) -> None:
        """Write links, statuses and notes. `id_columns`: positions in the list of the ID column or its parts."""
        sheet, first = self._sheet, self._first
        if self._table.header_row:
            for place, header in enumerate(self._headers):
                cell = sheet.cell(self._table.header_row, first + place, header)
                if first > 1:
                    cell._style = copy(sheet.cell(self._table.header_row, first - 1)._style)
        for place, width in enumerate((_LINK_WIDTH, _STATUS_WIDTH)):
            sheet.column_dimensions[_letter(first + place)].width = width
        plain = self._book.create_sheet()["A1"]
        plain.number_format = "@"
        for row in rows:
            for place, text in enumerate((row.link, row.status)):
                cell = sheet.cell(row.row, first + place)
                cell.value = text or None
                cell._style = copy(plain._style)
            self._write_note(sheet.cell(row.row, id_columns[0] + 1), row.note)
        self._book.remove(plain.parent)
        if rows:
            self._mark(min(row.row for row in rows), max(row.row for row in rows), id_columns)
        self._name_its_list()
        if self._book.calculation is not None:
            self._book.calculation.fullCalcOnLoad = True

    def correct(self, corrections: Iterable[CellCorrection]) -> None:
        """Type the corrected cells in, as text."""
        names = display_names(self._table.headers)
        for each in corrections:
            cell = self._sheet.cell(each.row, names.index(each.column) + 1)
            cell.value = each.now or None
            cell.number_format = "@"

    def _write_note(self, cell: Any, note: str) -> None:
        """Ours below theirs; where there is nothing to say, what we said before goes."""
        from openpyxl.cell.cell import MergedCell
        from openpyxl.comments import Comment

        if isinstance(cell, MergedCell):
            return
        theirs = _their_note(cell)
        if not note and (cell.comment is None or theirs == cell.comment.text):
            return
        if not note:
            cell.comment = Comment(theirs, cell.comment.author) if theirs else None
            return
        text = f"{theirs}\n{NOTE_MARK}\n{note}" if theirs else f"{NOTE_MARK}\n{note}"
        author = cell.comment.author if theirs and cell.comment else "batchlinks"
        cell.comment = Comment(text, author, width=_NOTE_SIZE[0], height=_NOTE_SIZE[1])

    def _mark(self, top: int, bottom: int, id_columns: Sequence[int]) -> None:
        """One conditional format, in place of an earlier one: yellow as long as the row is to be fixed."""
        from openpyxl.formatting.formatting import ConditionalFormattingList
        from openpyxl.formatting.rule import FormulaRule
        from openpyxl.styles import PatternFill

        status = _letter(self._first + 1)
        ending = f'="{Action.FIX}"'
        kept = ConditionalFormattingList()
        for area in self._sheet.conditional_formatting:
            for rule in area.rules:
                if not (
                    rule.formula and str(rule.formula[0]).endswith(ending) and str(rule.formula[0]).startswith("$")
                ):
                    kept.add(str(area.sqref), rule)
        self._sheet.conditional_formatting = kept
        fill = PatternFill(bgColor=_YELLOW, fill_type="solid")
        columns = [_letter(position + 1) for position in id_columns] + [status]
        areas = " ".join(f"{column}{top}:{column}{bottom}" for column in columns)
        kept.add(areas, FormulaRule(formula=[f"${status}{top}{ending}"], fill=fill))  # type: ignore[no-untyped-call]

    def _name_its_list(self) -> None:
        from openpyxl.packaging.custom import StringProperty

        table, properties = self._table, self._book.custom_doc_props
        before = table.annotated
        told: Mapping[str, str] = {
            LIST_PROPERTY: before.list_name if before else table.name,
            SHA256_PROPERTY: before.list_sha256 if before else table.sha256,
            SHEET_PROPERTY: table.sheet or "",
            COLUMNS_PROPERTY: "\t".join(self._headers),
        }
        for name, text in told.items():
            if name in properties.names:
                del properties[name]
            properties.append(StringProperty(name=name, value=text))

    def save(self, target: BinaryIO) -> None:
        """Write it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._book.save(target)


def _their_note(cell: "Cell") -> str:
    if cell.comment is None:
        return ""
    lines = str(cell.comment.text).split("\n")
    return "\n".join(lines[: lines.index(NOTE_MARK)] if NOTE_MARK in lines else lines).rstrip("\n")


def _bounds(ref: str) -> tuple[int, int, int, int]:
    """Left, top, right, bottom."""
    from openpyxl.utils import range_boundaries

    left, top, right, bottom = range_boundaries(ref)
    return left or 1, top or 1, right or 1, bottom or 1


def _area(left: int, top: int, right: int, bottom: int) -> str:
    return f"{_letter(left)}{top}:{_letter(right)}{bottom}"


def _letter(column: int) -> str:
    from openpyxl.utils import get_column_letter

    return get_column_letter(column)
