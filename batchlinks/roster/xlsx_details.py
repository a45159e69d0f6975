"""The XML inside an `.xlsx` workbook.

It tells what the fast reader does not: number formats, errors, formulas without a result or that count other cells, hidden
rows, and how far a sheet reaches.

A sheet is surveyed while it is inflated, by searching the bytes: cheap, and on the safe side. Only where the
survey says so is it parsed a second time (`scan_cells`), which costs about as much as the first reading.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from batchlinks.columns.id_column import column_letters
from batchlinks.errors import RosterError
from batchlinks.roster.calamine_corrections import (
    AGGREGATE,
    NO_CACHED_VALUE,
    UNREADABLE,
    CellOverrides,
    Correction,
    MarkedCells,
    StyleSheet,
    date_mark,
    error_mark,
    is_aggregate,
    usual_codes,
)
from batchlinks.roster.file_kind import damaged
from batchlinks.roster.guard import MAX_CELLS, Archive, too_far, xml_parser
from batchlinks.roster.xlsx_package import Package, in_usual_form, read_elements, read_package


def read_styles(archive: Archive, package: Package) -> StyleSheet:
    """Raises `RosterError` for a part that is broken."""
    if not package.styles_known:
        return StyleSheet({})
    if package.styles is None:
        return StyleSheet({}, count=1)  # a cell's style is 0 unless it says otherwise, and that is General
    codes: dict[int, str] = {}
    format_numbers: list[int] = []
    section = ""
    for element, attributes in read_elements(archive, package.styles):
        if element in ("numFmts", "cellStyleXfs", "cellXfs", "cellStyles", "dxfs"):
            section = element
        elif section == "numFmts" and element == "numFmt":
            codes[int(attributes["numFmtId"])] = attributes.get("formatCode", "")
        elif section == "cellXfs" and element == "xf":
            format_numbers.append(int(attributes.get("numFmtId", "0")))
    return StyleSheet.of(format_numbers, codes)


def total_rows(archive: Archive, package: Package, sheet: str) -> list[int]:
    """Numbers of the total rows of the Excel tables on `sheet`."""
    found: list[int] = []
    for part in package.tables[sheet]:
        for element, attributes in read_elements(archive, part):
            last = re.fullmatch(r".*?(\d+)", attributes.get("ref", ""))
            if element == "table" and last and int(attributes.get("totalsRowCount", "0")):
                found += range(int(last[1]) - int(attributes["totalsRowCount"]) + 1, int(last[1]) + 1)
    return found


@dataclass(slots=True)
class Survey:
    """What a sheet says about itself."""

    last_row: int = 0
    last_column: int = 1
    row_seen: int = 0
    """Number of the last row that was surveyed."""

    disordered_row: int = 0
    """The first whose number is not above the one before it; 0 while there is none."""

    far_cell: str = ""
    """The one in the last column; none where the sheet is narrow."""

    hidden_rows: list[int] = field(default_factory=list)
    date_styles: dict[int, Counter[int]] = field(default_factory=dict)
    """By column, how many of the first cells have each style that shows a date."""

    has_formats: bool = False
    has_formulas_or_errors: bool = False
    is_unusual: bool = False
    """It is written so that a search of its bytes may miss something: only a close look tells."""

    @property
    def needs_a_closer_look(self) -> bool:
        return self.has_formats or self.has_formulas_or_errors or self.is_unusual


_WIDE_CELL = re.compile(rb""" r=["']([A-Z]{2,3})([0-9]{1,7})["'][^>]*(?<!/)>(?!</)""")
_CELL = re.compile(rb""" r=["']([A-Z]{1,3})([0-9]{1,7})["']""")
_ROW = re.compile(rb"""<row r=["'](\d+)["']([^>]*)""")
_HIDES_ROW = re.compile(rb"""\shidden=["'](?:1|true)["']|\sht=["']0?(?:\.\d*)?["']""")
_MANY_COLUMNS = 100
_VALUE_TAGS = (b"<v", b":v>", b"<is", b":is>")
_FORMULA_OR_ERROR = (re.compile(rb"<f[ >/]"), re.compile(rb' t="e"'))  # twice as fast as one, or as `in`
# Legal, but seen from few programs: prefixes, single quotes, attributes with white space about them, rows of no height.
_UNUSUAL = re.compile(
    rb"""<[\w.-]+:(?:row|sheetData)\b|<c[^>]*(?:='|[\t\r\n]| =|= )|<row[^>]*(?: =|= )|defaultRowHeight=["']0["'.]"""
)
_COLUMNS = re.compile(rb"""<col\s([^>]*)>""")
_ATTRIBUTE = re.compile(rb"""\b(min|max|style)=["'](\d+)["']""")
_ROW_STYLE = re.compile(rb"""<row\s[^>]*?\ss=["'](\d+)["'][^>]*?customFormat=["'](?:1|true)""")


def survey_sheet(archive: Archive, sheet: str, part: str, styles: StyleSheet) -> Survey:
    """Inflate `part`, which is `sheet`, once. Raises `RosterError` for a sheet that is broken or reaches too far."""
    survey = Survey()
    signs = _signs_of_formats(styles)
    if styles.count is None or 0 in styles.formats:
        survey.has_formats = True  # every cell without a style has that of number 0
    carried = b""
    for position, chunk in enumerate(archive.xml_chunks(part)):
        text = carried + chunk
        if position == 0:
            _count_date_styles(text, survey, styles)
            survey.is_unusual = _UNUSUAL.search(text) is not None
            signs += _signs_of_column_styles(text, styles)
        # The next search begins at the last cell of this one, so that no tag is seen in halves.
        end = text.rfind(b"<", 0, max(text.rfind(b" r="), 0))
        complete = text[:end] if end > 0 else b""
        carried = text[len(complete) :]
        _survey(complete, survey, signs)
        if b"customFormat=" in text and not survey.has_formats:
            survey.has_formats = any(not styles.look_alike(0, int(style)) for style in set(_ROW_STYLE.findall(text)))
    _survey(carried, survey, signs)
    if not survey.is_unusual:
        check_extent(archive.name, sheet, survey)
    return survey


_STYLED_CELL = re.compile(rb"""<c r="([A-Z]{1,3})\d+" s="(\d+)"(?: t="[nd]")?[ >]""")


def _count_date_styles(text: bytes, survey: Survey, styles: StyleSheet) -> None:
    """By a part of the sheet: it says in which form a column shows its dates."""
    for letters, number in _STYLED_CELL.findall(text) if styles.dates else ():
        if (style := int(number)) in styles.dates:
            survey.date_styles.setdefault(column_number(letters) - 1, Counter())[style] += 1


def check_extent(name: str, sheet: str, survey: Survey) -> None:
    """Raises `RosterError` for a sheet that reaches too far, or has a row twice."""
    if survey.disordered_row:
        # Of two rows with one number the fast reader keeps the later, and the other patient would be lost.
        raise RosterError(
            f"{name}: sheet '{sheet}' is damaged: row {survey.disordered_row} stands in it twice or out of order. "
            "Open it in Excel, which offers to repair it, check that nobody is missing, and save it again."
        )
    if survey.last_row * survey.last_column > MAX_CELLS:
        raise too_far(name, sheet, f"cell {survey.far_cell}" if survey.far_cell else f"row {survey.last_row}")


def _signs_of_formats(styles: StyleSheet) -> list[re.Pattern[bytes]]:
    """What cells look like whose format matters.

    A style that changes what is shown, a day after the last one, or a style that is not there.
    """
    odd = [*map(str, styles.formats)] + ([_at_least(max(styles.count, 1))] if styles.count is not None else [])
    signs = [rf' s="(?:{"|".join(odd)})"'] if odd else []
    if styles.dates:
        signs.append(rf' s="(?:{"|".join(map(str, styles.dates))})"[^>]*><v>\d{{7}}')
    return [re.compile(sign.encode()) for sign in signs]


def _at_least(number: int) -> str:
    """A pattern for the numbers from `number` on."""
    digits = str(number)
    more = [
        f"{digits[:place]}[{int(digit) + 1}-9]" + r"\d" * (len(digits) - place - 1)
        for place, digit in enumerate(digits)
        if digit != "9"
    ]
    return "|".join([digits, *more, rf"\d{{{len(digits) + 1},}}"])


def _signs_of_column_styles(text: bytes, styles: StyleSheet) -> list[re.Pattern[bytes]]:
    """What cells without a style look like in the columns whose style is not that of a cell without one."""
    letters: dict[bool, list[str]] = {False: [], True: []}  # by whether a text shows something else
    for column in _COLUMNS.findall(text):
        found = {name: int(value) for name, value in _ATTRIBUTE.findall(column)}
        style = found.get(b"style", 0)
        if not styles.look_alike(0, style):
            first, last = found.get(b"min", 1), found.get(b"max", 1)
            numbers = range(first, last + 1) if last - first < _MANY_COLUMNS else ()
            changes_text = style in styles.formats and styles.formats[style].changes_text
            letters[changes_text] += [column_letters(number - 1) for number in numbers] or ["[A-Z]+"]
    ends = {False: '(?: t="n")? *><v>', True: '(?: t="[a-zA-Z]+")? *>'}
    return [
        re.compile(rf'<c r="(?:{"|".join(here)})\d+"{ends[changes_text]}'.encode())
        for changes_text, here in letters.items()
        if here
    ]


def _survey(text: bytes, survey: Survey, signs: Sequence[re.Pattern[bytes]]) -> None:
    if not survey.has_formats:
        survey.has_formats = any(sign.search(text) for sign in signs)
    if not survey.has_formulas_or_errors:
        survey.has_formulas_or_errors = any(sign.search(text) for sign in _FORMULA_OR_ERROR)
    rows = _ROW.findall(text)
    if len(rows) != text.count(b"<row") - text.count(b"<rowBreaks"):
        survey.is_unusual = True
    hiding = {attributes for attributes in {attributes for _, attributes in rows} if _HIDES_ROW.search(attributes)}
    for number, attributes in rows:
        row = int(number)
        if row <= survey.row_seen and not survey.disordered_row:
            survey.disordered_row = row
        survey.row_seen = row
        if hiding and attributes in hiding:
            survey.hidden_rows.append(row)
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
class CloseLook:
    """What the elements of a sheet say, one by one."""

    marks: Mapping[int, CellOverrides]
    """By column; 0 is A."""

    survey: Survey
    """How far it reaches and which rows are hidden."""


def scan_cells(
    archive: Archive, part: str, styles: StyleSheet, *, values: bool, calculated_on_opening: bool, from_1904: bool
) -> CloseLook:
    """Take in a sheet again; with `values`, also its formulas, errors and dates. Raises `RosterError`."""
    closer = _CloserLook(archive.name, styles, values, calculated_on_opening, from_1904)
    for chunk in archive.chunks(part):
        closer.parser.Parse(chunk, False)
    closer.parser.Parse(b"", True)
    return CloseLook(closer.found.by_column(), closer.survey)


class _CloserLook:
    """Takes in the elements of a sheet one by one.

    Ten million cells pass through here, so most leave after one look into a dictionary.
    """

    def __init__(
        self, name: str, styles: StyleSheet, values: bool, calculated_on_opening: bool, from_1904: bool
    ) -> None:
        self._styles = styles
        self._of_numbers = {str(style): style for style in styles.of_numbers}
        self._of_texts = {str(style): style for style in styles.of_texts}
        self._calculated_on_opening = calculated_on_opening
        self._from_1904 = from_1904
        self._values = values
        self.found = MarkedCells()
        self.survey = Survey()
        self._default_height_is_0 = False
        self._column_styles: list[tuple[int, int, int]] = []
        self._row_style: int | None = None
        self._row = 0
        self._column = 0
        self._cell: dict[str, str] = {}
        self._is_formula = False
        self._shared: dict[str, bool] = {}
        self._in_value = self._in_formula = False
        self._value = self._formula = ""
        self._formula_index: str | None = None
        self.parser = xml_parser(name)
        self.parser.StartElementHandler = self._begin

    def _begin(self, root: str, _: dict[str, str]) -> None:
        """The root element shows whether the names of this file carry a prefix, as in `x:row`."""
        prefix = root[: len(root) - len(root.rpartition(":")[2])]
        names = ("c", "row", "v", "f", "is", "col", "sheetFormatPr")
        cell_tag, row_tag, value_tag, formula_tag, inline_tag, column_tag, format_tag = (
            prefix + name for name in names
        )
        of_numbers, of_texts = self._of_numbers, self._of_texts
        values = (value_tag, inline_tag)

        def start(name: str, attributes: dict[str, str]) -> None:
            if name == cell_tag:
                self._start_cell(attributes)
                style = attributes.get("s")
                kind = attributes.get("t", "n")
                if style is None:
                    self._mark_unstyled(kind)
                elif kind == "n":
                    if style in of_numbers:
                        self._mark(of_numbers[style])
                    elif not self._is_style(style):
                        self._mark(UNREADABLE)
                elif kind in _TEXT_KINDS and style in of_texts:
                    self._mark(of_texts[style])
            elif name in values:
                self._in_value = name == value_tag
                self._reach()
            elif name == row_tag:
                self._start_row(attributes)
            elif name == formula_tag:
                self._is_formula = self._in_formula = True
                self._formula_index = attributes.get("si")
            elif name == column_tag:
                if "style" in attributes:
                    first, last = int(attributes.get("min", "1")), int(attributes.get("max", "16384"))
                    self._column_styles.append((first, last, int(attributes["style"])))
            elif name == format_tag:
                self._default_height_is_0 = _is_no_height(attributes.get("defaultRowHeight"))

        def end(name: str) -> None:
            if name == value_tag:
                self._in_value = False
            elif name == formula_tag:
                self._in_formula = False
            elif name == cell_tag:
                self._end_of_cell()

        self.parser.StartElementHandler = start
        if self._values:
            self.parser.EndElementHandler = end
            self.parser.CharacterDataHandler = self._text

    def _start_row(self, attributes: dict[str, str]) -> None:
        survey = self.survey
        row = int(attributes.get("r", self._row + 1))
        if row <= survey.row_seen and not survey.disordered_row:
            survey.disordered_row = row
        survey.row_seen = self._row = row
        self._column = 0
        height = attributes.get("ht")
        no_height = self._default_height_is_0 if height is None else _is_no_height(height)
        if attributes.get("hidden") in ("1", "true") or no_height:
            survey.hidden_rows.append(row)
        has_style = attributes.get("customFormat") in ("1", "true")
        self._row_style = int(attributes.get("s", "0")) if has_style else None

    def _start_cell(self, attributes: dict[str, str]) -> None:
        self._column += 1
        self._cell = attributes
        self._is_formula = False
        self._value = self._formula = ""
        reference = attributes.get("r")
        if reference is not None:
            self._column = column_number(reference.rstrip("0123456789").encode())

    def _reach(self) -> None:
        """There is something in this cell."""
        survey = self.survey
        survey.last_row = max(survey.last_row, self._row)
        if self._column > survey.last_column:
            survey.last_column = self._column
            survey.far_cell = self._cell.get("r", "")

    def _mark_unstyled(self, kind: str) -> None:
        """A cell without a style has style 0; some programs give it that of its row or column, so these must agree."""
        of_kind = self._of_numbers if kind == "n" else self._of_texts
        if kind not in _TEXT_KINDS and kind != "n":
            return
        if self._styles.count is None:
            if kind == "n":
                self._mark(UNREADABLE)
            return
        default = self._row_style
        if default is None:
            default = next((style for first, last, style in self._column_styles if first <= self._column <= last), 0)
        if default and not self._styles.look_alike(0, default):
            if kind == "n" or str(default) in self._of_texts or "0" in self._of_texts:
                self._mark(UNREADABLE)
        elif "0" in of_kind:
            self._mark(of_kind["0"])

    def _is_style(self, style: str) -> bool:
        return self._styles.count is not None and style.isdigit() and int(style) < max(self._styles.count, 1)

    def _end_of_cell(self) -> None:
        kind = self._cell.get("t", "n")
        if self._is_formula and self._counts_others():
            self._mark(AGGREGATE)
        elif kind == "e":
            self._mark(error_mark(self._value))
        elif self._is_formula and kind == "n" and self._is_not_calculated():
            self._mark(NO_CACHED_VALUE)
        elif kind == "n" and self._value and (mark := self._date_mark()) is not None:
            self._mark(mark)

    def _counts_others(self) -> bool:
        """A formula that is shared stands in the first of its cells only."""
        if self._formula:
            counts = is_aggregate(self._formula)
            if self._formula_index is not None:
                self._shared[self._formula_index] = counts
            return counts
        return self._formula_index is not None and self._shared.get(self._formula_index, False)

    def _is_not_calculated(self) -> bool:
        # Some programs write 0 as the result of every formula and leave the calculation to Excel.
        return not self._value or (self._value == "0" and self._calculated_on_opening)

    def _date_mark(self) -> int | None:
        style = self._cell.get("s", "0")
        if not style.isdigit() or int(style) not in self._styles.dates:
            return None
        try:
            return date_mark(float(self._value), from_1904=self._from_1904)
        except ValueError:
            return None

    def _text(self, text: str) -> None:
        if self._in_value:
            self._value += text
        elif self._in_formula:
            self._formula += text

    def _mark(self, mark: int) -> None:
        self.found.add(self._row, self._column - 1, mark)


_TEXT_KINDS = frozenset({"s", "str", "inlineStr"})


def _is_no_height(height: str | None) -> bool:
    """Whether rows of this height, in points, cannot be seen."""
    try:
        return height is not None and float(height) < 0.5
    except ValueError:
        return False


class XlsxDetails:
    """What the XML of an `.xlsx` file says beyond the cells."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._package = read_package(archive)
        self._styles = read_styles(archive, self._package)
        self._surveys: dict[str, Survey] = {}
        self._looks: dict[str, CloseLook] = {}

    def content_to_read(self, content: bytes) -> bytes:
        """The workbook as the fast reader understands it: `content`, or its parts under other names."""
        return content if self._package.is_usual else in_usual_form(self._archive, self._package)

    def size(self, sheet: str) -> int:
        part = self._package.sheets.get(sheet)
        return self._archive.size(part.part) if part else 0

    def survey(self, sheet: str) -> None:
        part = self._part(sheet)
        survey = survey_sheet(self._archive, sheet, part, self._styles)
        if survey.needs_a_closer_look:
            date_styles = survey.date_styles
            look = scan_cells(
                self._archive,
                part,
                self._styles,
                values=survey.has_formulas_or_errors or survey.is_unusual or bool(self._styles.dates),
                calculated_on_opening=self._package.calculated_on_opening,
                from_1904=self._package.from_1904,
            )
            self._looks[sheet] = look
            survey = look.survey
            survey.date_styles = date_styles
            check_extent(self._archive.name, sheet, survey)
        self._surveys[sheet] = survey

    def correction(self, sheet: str) -> Correction:
        marks = self._looks[sheet].marks if sheet in self._looks else {}
        return Correction(
            marks,
            self._styles.formats,
            self._surveys[sheet].hidden_rows,
            total_rows(self._archive, self._package, sheet),
            date_formats=usual_codes(self._surveys[sheet].date_styles, self._styles.date_codes),
            formats_known=self._styles.count is not None,
        )

    def _part(self, sheet: str) -> str:
        if sheet not in self._package.sheets:
            raise damaged(self._archive.name)
        return self._package.sheets[sheet].part
