"""Builds rosters for tests: the ordinary ones with the libraries that users' programs use, the odd ones by hand."""

import io
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import xlsxwriter

from batchlinks.roster.read import read_roster
from batchlinks.roster.source import ReadOptions, RosterBytes
from batchlinks.table import Table


def csv_table(text: str | bytes, **options: object) -> Table:
    """The table in a CSV with this content."""
    content = text.encode() if isinstance(text, str) else text
    return read_roster(RosterBytes("patients.csv", content), ReadOptions(**options))  # type: ignore[arg-type]


def rows_of(table: Table) -> list[list[str]]:
    """The cells row by row."""
    return [list(row.values()) for row in table.cells.to_pylist()]


def workbook(path: Path, sheets: Mapping[str, Iterable[Sequence[object]]]) -> Path:
    """Write an `.xlsx`; a cell is a value, None, or a number with its number format."""
    with xlsxwriter.Workbook(path, {"strings_to_formulas": False}) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for row, cells in enumerate(rows):
                for column, cell in enumerate(cells):
                    if isinstance(cell, tuple):
                        sheet.write_number(row, column, cell[0], book.add_format({"num_format": cell[1]}))
                    elif isinstance(cell, str):
                        sheet.write_string(row, column, cell)
                    elif cell is not None:
                        sheet.write(row, column, cell)
    return path


_TYPES = """<?xml version="1.0" encoding="UTF-8"?>
<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="xml" ContentType="application/xml"/>
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Override PartName="/xl/workbook.xml"
 ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>
<Override PartName="/xl/worksheets/sheet1.xml"
 ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>"""
_RELATIONS = """<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1"
 Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}" Target="{target}"/></Relationships>"""
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_WORKBOOK = f"""<workbook xmlns="{_MAIN}"
 xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>
<sheet name="Patients" sheetId="1" r:id="r1"/></sheets></workbook>"""


def raw_workbook(rows: str | Iterable[str], *, before: str = "") -> bytes:
    """An `.xlsx` whose only sheet, `Patients`, has this XML as its rows, and `before` ahead of the root element."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", _TYPES)
        archive.writestr("_rels/.rels", _RELATIONS.format(kind="officeDocument", target="xl/workbook.xml"))
        archive.writestr("xl/workbook.xml", _WORKBOOK)
        archive.writestr(
            "xl/_rels/workbook.xml.rels", _RELATIONS.format(kind="worksheet", target="worksheets/sheet1.xml")
        )
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(f'{before}<worksheet xmlns="{_MAIN}"><sheetData>'.encode())
            for part in [rows] if isinstance(rows, str) else rows:
                sheet.write(part.encode())
            sheet.write(b"</sheetData></worksheet>")
    return content.getvalue()


def text_cell(reference: str, text: str) -> str:
    """XML of a text cell."""
    return f'<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>'
