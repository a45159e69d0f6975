"""The XML inside an `.xlsx` workbook, for what the fast reader does not tell: number formats, errors, formulas
without a result, hidden rows, and how far a sheet reaches.

A sheet is surveyed while it is inflated, by searching the bytes: cheap, and on the safe side. Only where the
survey says so is it parsed a second time (`look_closely`), which costs about as much as the first reading.
"""

import re
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from batchlinks.errors import RosterError
from batchlinks.roster.guard import MAX_CELLS, Archive, too_far, xml_parser
from batchlinks.roster.number_format import BUILT_IN_FORMATS, NumberFormat, parse_format

NO_CACHED_VALUE = -1
_FIRST_ERROR = -2
ERROR_TEXTS = ("#N/A", "#VALUE!", "#REF!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#ERROR!")
"""What a failed formula shows; the last stands for all others."""

_UNREADABLE = parse_format("?")


def error_text(mark: int) -> str | None:
    """What the error shows that `mark` stands for; None where it stands for something else."""
    return ERROR_TEXTS[_FIRST_ERROR - mark] if mark <= _FIRST_ERROR else None


@dataclass(frozen=True, slots=True)
class WorkbookXml:
    """The parts of a workbook that say how its sheets are to be read."""

    sheet_parts: Mapping[str, str]
    """Name of a sheet -> name of its part in the archive."""

    formats: Mapping[int, NumberFormat]
    """Cell style -> its number format, where that changes what a number shows. Dates are the fast reader's."""

    calculated_on_opening: bool
    """The program that wrote it left all formulas to be calculated."""


def read_workbook_xml(archive: Archive) -> WorkbookXml:
    """Raises `RosterError` for an archive that is broken."""
    part = _workbook_part(archive)
    folder = part.rpartition("/")[0]
    targets = {
        attributes.get("Id", ""): _resolve(folder, attributes.get("Target", ""))
        for element, attributes in _elements(archive, f"{folder}/_rels/{part.rpartition('/')[2]}.rels")
        if element == "Relationship"
    }
    sheets: dict[str, str] = {}
    on_opening = False
    for element, attributes in _elements(archive, part):
        if element == "sheet":
            reference = next((value for key, value in attributes.items() if key.endswith(":id")), "")
            sheets[attributes.get("name", "")] = targets.get(reference, "")
        elif element == "calcPr":
            on_opening = attributes.get("fullCalcOnLoad") in ("1", "true")
    styles = next((target for target in targets.values() if target.endswith("styles.xml")), None)
    return WorkbookXml(sheets, _formats(archive, styles), on_opening)


def _workbook_part(archive: Archive) -> str:
    for element, attributes in _elements(archive, "_rels/.rels"):
        if element == "Relationship" and attributes.get("Type", "").endswith("/officeDocument"):
            return attributes.get("Target", "").lstrip("/")
    return "xl/workbook.xml"


def _resolve(folder: str, target: str) -> str:
    if target.startswith("/"):
        return target[1:]
    steps = folder.split("/")
    for step in target.split("/"):
        if step == "..":
            steps = steps[:-1]
        elif step != ".":
            steps.append(step)
    return "/".join(steps)


def _elements(archive: Archive, part: str) -> list[tuple[str, dict[str, str]]]:
    """All elements of a small part in the order of their beginnings: local name and attributes."""
    if part not in archive:
        return []
    found: list[tuple[str, dict[str, str]]] = []
    parser = xml_parser(archive.name)
    parser.StartElementHandler = lambda name, attributes: found.append((name.rpartition(":")[2], attributes))
    for chunk in archive.chunks(part):
        parser.Parse(chunk, False)
    parser.Parse(b"", True)
    return found


def _formats(archive: Archive, part: str | None) -> dict[int, NumberFormat]:
    codes = dict(BUILT_IN_FORMATS)
    formats: dict[int, NumberFormat] = {}
    section, style = "", -1
    for element, attributes in _elements(archive, part) if part else []:
        if element in ("numFmts", "cellStyleXfs", "cellXfs", "cellStyles", "dxfs"):
            section = element
        elif section == "numFmts" and element == "numFmt":
            codes[int(attributes["numFmtId"])] = attributes.get("formatCode", "")
        elif section == "cellXfs" and element == "xf":
            style += 1
            code = codes.get(int(attributes.get("numFmtId", "0")))
            number_format = _UNREADABLE if code is None else parse_format(code)
            if not number_format.is_plain and not number_format.is_date:
                formats[style] = number_format
    return formats


@dataclass(slots=True)
class Survey:
    """What the bytes of a sheet say about it."""

    last_row: int = 0
    last_column: int = 1
    row_seen: int = 0
    """Number of the last row that was surveyed."""

    disordered_row: int = 0
    """The first whose number is not above the one before it; 0 while there is none."""

    far_cell: str = ""
    """The one in the last column; none where the sheet is narrow."""

    hidden_rows: list[int] = field(default_factory=list)
    has_formats: bool = False
    has_formulas_or_errors: bool = False


_WIDE_CELL = re.compile(rb""" r=["']([A-Z]{2,3})([0-9]{1,7})["'][^>]*(?<!/)>(?!</)""")
_CELL = re.compile(rb""" r=["']([A-Z]{1,3})([0-9]{1,7})["']""")
_HIDDEN = re.compile(rb"""hidden=["'](?:1|true)["']""")
_VALUE_TAGS = (b"<v", b":v>", b"<is", b":is>")
_ROW_TAG = re.compile(rb"""<(?:[\w.-]+:)?row\s[^>]*""")
_ROW_NUMBER = re.compile(rb"""\sr=["'](\d+)["']""")
_NUMBERED_ROW = re.compile(rb"""<row\s(?:[^>]*?\s)?r=["'](\d+)["']""")
_FORMULA_OR_ERROR = (re.compile(rb"<f[ >/]"), re.compile(rb' t="e"'))  # twice as fast as one, or as `in`
# Legal, but seen from few programs: prefixes, single quotes, attributes with white space about them. Sheets written so are
# not searched for formats and formulas but looked at closely.
_UNUSUAL = re.compile(rb"""<[\w.-]+:row\b|<c[^>]*(?:='|[\t\r\n]| =|= )""")


def survey_sheet(archive: Archive, sheet: str, part: str, formats: Iterable[int]) -> Survey:
    """Inflate `part`, which is `sheet`, once. Raises `RosterError` for a sheet that is broken or reaches too far.

    `formats` are the styles whose number format matters.
    """
    survey = Survey()
    styles = "|".join(map(str, formats)).encode()
    formatted = re.compile(rb' s="(?:%b)"' % styles) if styles else None
    carried = b""
    for position, chunk in enumerate(archive.xml_chunks(part)):
        text = carried + chunk
        if position == 0 and _UNUSUAL.search(text):
            survey.has_formats = survey.has_formulas_or_errors = True
        # The next search begins at the last cell of this one, so that no tag is seen in halves.
        end = text.rfind(b"<", 0, max(text.rfind(b" r="), 0))
        complete = text[:end] if end > 0 else b""
        carried = text[len(complete) :]
        _survey(complete, survey, formatted)
    _survey(carried, survey, formatted)
    if survey.disordered_row:
        # Of two rows with one number the fast reader keeps the later, and the other patient would be lost.
        raise RosterError(
            f"{archive.name}: sheet '{sheet}' is damaged: row {survey.disordered_row} stands in it twice or out of order. "
            "Open it in Excel, which offers to repair it, check that nobody is missing, and save it again."
        )
    if survey.last_row * survey.last_column > MAX_CELLS:
        raise too_far(archive.name, sheet, f"cell {survey.far_cell}" if survey.far_cell else f"row {survey.last_row}")
    return survey


def _survey(text: bytes, survey: Survey, formatted: re.Pattern[bytes] | None) -> None:
    if formatted and not survey.has_formats:
        survey.has_formats = formatted.search(text) is not None
    if not survey.has_formulas_or_errors:
        survey.has_formulas_or_errors = any(sign.search(text) for sign in _FORMULA_OR_ERROR)
    for row in map(int, _NUMBERED_ROW.findall(text)):
        if row <= survey.row_seen and not survey.disordered_row:
            survey.disordered_row = row
        survey.row_seen = row
    for match in _HIDDEN.finditer(text):
        tag = _ROW_TAG.match(text, text.rfind(b"<", 0, match.start()))
        number = tag and _ROW_NUMBER.search(tag[0])
        if number:
            survey.hidden_rows.append(int(number[1]))
    for match in _WIDE_CELL.finditer(text):
        column = column_number(match[1])
        if column > survey.last_column or (column == survey.last_column and survey.far_cell == ""):
            survey.last_column = column
            survey.far_cell = (match[1] + match[2]).decode()
    last_value = max(map(text.rfind, _VALUE_TAGS))
    before = text.rfind(b" r=", 0, max(last_value, 0))
    last_cell = _CELL.match(text, before) if before >= 0 else None
    if last_cell:
        survey.last_row = max(survey.last_row, int(last_cell[2]))
        survey.last_column = max(survey.last_column, column_number(last_cell[1]))


def column_number(letters: bytes) -> int:
    """1 for A, 27 for AA."""
    number = 0
    for letter in letters:
        number = 26 * number + letter - 64
    return number


@dataclass(frozen=True, slots=True)
class Marks:
    """Cells of one column that are not what the fast reader says: row numbers, ascending, and a mark for each.

    A mark is a cell style, `NO_CACHED_VALUE`, or one that `error_text` knows.
    """

    rows: npt.NDArray[np.int32]
    marks: npt.NDArray[np.int32]


def look_closely(archive: Archive, part: str, workbook: WorkbookXml, *, formulas_and_errors: bool) -> dict[int, Marks]:
    """Column (0 is A) -> its marks. Number formats always, the rest on demand. Raises `RosterError`."""
    closer = _CloserLook(archive.name, workbook, formulas_and_errors)
    for chunk in archive.chunks(part):
        closer.parser.Parse(chunk, False)
    closer.parser.Parse(b"", True)
    return closer.marks()


class _CloserLook:
    """Takes in the elements of a sheet one by one.

    Ten million cells pass through here, so most leave after one look into a dictionary.
    """

    def __init__(self, name: str, workbook: WorkbookXml, formulas_and_errors: bool) -> None:
        self._formats = {str(style): style for style in workbook.formats}
        self._calculated_on_opening = workbook.calculated_on_opening
        self._formulas_and_errors = formulas_and_errors
        self._found = (array("i"), array("i"), array("i"))
        self._row = 0
        self._column = 0
        self._cell: dict[str, str] = {}
        self._is_formula = False
        self._in_value = False
        self._value = ""
        self.parser = xml_parser(name)
        self.parser.StartElementHandler = self._begin

    def marks(self) -> dict[int, Marks]:
        """Of what was taken in so far."""
        rows, columns, marks = (np.array(part, dtype=np.int32) for part in self._found)
        result: dict[int, Marks] = {}
        for column in np.unique(columns):
            here = np.flatnonzero(columns == column)
            here = here[np.argsort(rows[here], kind="stable")]
            result[int(column)] = Marks(rows[here], marks[here])
        return result

    def _begin(self, root: str, _: dict[str, str]) -> None:
        """The root element shows whether the names of this file move_between a prefix, as in `x:row`."""
        prefix = root[: len(root) - len(root.rpartition(":")[2])]
        cell_tag, row_tag, value_tag, formula_tag = (prefix + name for name in ("c", "row", "v", "f"))
        formats = self._formats

        def start(name: str, attributes: dict[str, str]) -> None:
            if name == cell_tag:
                self._column += 1
                self._cell = attributes
                self._is_formula = False
                self._value = ""
                if attributes.get("s") in formats and attributes.get("t", "n") == "n":
                    self._mark(formats[attributes["s"]])
            elif name == value_tag:
                self._in_value = True
            elif name == row_tag:
                self._row = int(attributes.get("r", self._row + 1))
                self._column = 0
            elif name == formula_tag:
                self._is_formula = True

        def end(name: str) -> None:
            if name == value_tag:
                self._in_value = False
            elif name == cell_tag:
                self._end_of_cell()

        self.parser.StartElementHandler = start
        if self._formulas_and_errors:
            self.parser.EndElementHandler = end
            self.parser.CharacterDataHandler = self._text

    def _end_of_cell(self) -> None:
        kind = self._cell.get("t", "n")
        if kind == "e":
            shown = self._value if self._value in ERROR_TEXTS else ERROR_TEXTS[-1]
            self._mark(_FIRST_ERROR - ERROR_TEXTS.index(shown))
        elif self._is_formula and kind == "n" and self._is_not_calculated():
            self._mark(NO_CACHED_VALUE)

    def _is_not_calculated(self) -> bool:
        # Some programs write 0 as the result of every formula and leave the calculation to Excel.
        return not self._value or (self._value == "0" and self._calculated_on_opening)

    def _text(self, text: str) -> None:
        if self._in_value:
            self._value += text

    def _mark(self, mark: int) -> None:
        reference = self._cell.get("r")
        if reference is not None:
            self._column = column_number(reference.rstrip("0123456789").encode())
        rows, columns, marks = self._found
        rows.append(self._row)
        columns.append(self._column - 1)
        marks.append(mark)
