"""What a person, Excel and a mail merge find in a workbook that batchlinks wrote."""

import io
import tempfile
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.utils.escape import unescape
from openpyxl.worksheet.worksheet import Worksheet
from python_calamine import CalamineWorkbook

from batchlinks.results.xlsx.package import write_workbook
from batchlinks.results.xlsx.sheet import CUT_MARK, MAX_CELL_LENGTH, MAX_ROWS, Sheet, TooManyRows

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
LINK = "https://app.healthex.invalid/#/patient-consent/p1/enrollment/link?xid=00417.c2lnbmF0dXJl&a=<b>"


class WriteOnly(io.RawIOBase):
    """Takes bytes and can do nothing else: a pipe, an upload."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        taken = bytes(memoryview(data))  # type: ignore[arg-type]  # any buffer
        self.content += taken
        return len(taken)


def sheet(*rows: Sequence[str], headers: Sequence[str] | None = None, name: str = "Links") -> Sheet:
    width = len(rows[0]) if rows else len(headers or ["MRN"])
    columns = [pa.array([row[position] for row in rows], pa.string()) for position in range(width)]
    return Sheet(name, headers or [f"Column {position}" for position in range(width)], columns)


def written(*sheets: Sheet, title: str = "patients") -> io.BytesIO:
    target = io.BytesIO()
    write_workbook(target, sheets, title=title)
    target.seek(0)
    return target


def opened(*sheets: Sheet) -> openpyxl.Workbook:
    return openpyxl.load_workbook(written(*sheets))


def cells(worksheet: Worksheet) -> list[list[str]]:
    """As openpyxl reads them, with Excel's escapes undone (which openpyxl leaves to its caller)."""
    rows = worksheet.iter_rows(values_only=True)
    return [["" if value is None else unescape(str(value)) for value in row] for row in rows]


def part(workbook: io.BytesIO, name: str) -> ET.Element:
    with zipfile.ZipFile(workbook) as package:
        return ET.fromstring(package.read(name))


def found(element: ET.Element, path: str) -> ET.Element:
    child = element.find(path)
    assert child is not None, path
    return child


def test_every_cell_comes_back_as_the_text_it_was() -> None:
    rows = [
        ["00417", "O'Brien & Sons <Ltd>", "1980-02-29", LINK],
        ["417", "  spaces at both ends ", "José 日本 👩‍⚕️", "1.0"],
        ["=1+1", "+1 617 555 0100", "@SUM(A1)", "-12.5"],
        ["", "two\nlines", "tab\tin it", ""],
        ["", "", "", ""],
        ["TRUE", "#N/A", "1E5", "'apostrophe"],
    ]
    headers = ["MRN", "Name <&>", "", "link"]

    workbook = opened(sheet(*rows, headers=headers))

    assert workbook.sheetnames == ["Links"]
    assert cells(workbook["Links"]) == [headers, *rows]


def test_calamine_and_pandas_read_the_same_text() -> None:
    rows = [["00417", " padded ", LINK], ["=1+1", "", "1E5"]]
    content = written(sheet(*rows, headers=["MRN", "Name", "link"]))

    assert CalamineWorkbook.from_filelike(content).get_sheet_by_name("Links").to_python()[1:] == rows
    frame = pd.read_excel(content, dtype=str, keep_default_na=False, engine="openpyxl")
    assert frame.columns.to_list() == ["MRN", "Name", "link"]
    assert frame.to_numpy().tolist() == rows


def test_every_cell_is_text_and_none_a_formula_a_number_or_a_hyperlink() -> None:
    worksheet = opened(sheet(["=HYPERLINK(1)", "00417", LINK]))["Links"]

    for row in worksheet.iter_rows():
        for cell in row:
            assert cell.data_type in ("s", "inlineStr")
            assert cell.number_format == "@"
            assert cell.hyperlink is None


def test_a_cell_typed_below_the_rows_or_into_a_blank_one_is_text_too() -> None:
    content = written(sheet(["00417", ""]))

    columns = found(part(content, "xl/worksheets/sheet1.xml"), f"{MAIN}cols")
    styles = found(part(content, "xl/styles.xml"), f"{MAIN}cellXfs")
    assert {styles[int(column.attrib["style"])].attrib["numFmtId"] for column in columns} == {"49"}


def test_the_header_stays_in_sight_and_on_every_page_and_filters_all_rows() -> None:
    workbook = opened(sheet(*(["1", "2"] for _ in range(5)), name="Errors"))
    worksheet = workbook["Errors"]

    assert worksheet.freeze_panes == "A2"
    assert worksheet.auto_filter.ref == "A1:B6"
    assert worksheet.print_title_rows == "$1:$1"
    assert worksheet.page_setup.orientation == "landscape"
    assert worksheet["A1"].font.bold


def test_the_parts_agree_on_how_far_the_rows_go() -> None:
    content = written(sheet(*(["1", "2"] for _ in range(5))))

    worksheet = part(content, "xl/worksheets/sheet1.xml")
    assert found(worksheet, f"{MAIN}dimension").attrib["ref"] == "A1:B6"
    assert found(worksheet, f"{MAIN}autoFilter").attrib["ref"] == "A1:B6"
    ignored = worksheet.findall(f"{MAIN}ignoredErrors/{MAIN}ignoredError")
    assert {error.attrib["sqref"] for error in ignored} == {"A1:B6"}
    assert any(error.attrib.get("numberStoredAsText") == "1" for error in ignored)
    names = part(content, "xl/workbook.xml").findall(f"{MAIN}definedNames/{MAIN}definedName")
    assert {name.attrib["name"]: name.text for name in names} == {
        "_xlnm._FilterDatabase": "Links!$A$1:$B$6",
        "_xlnm.Print_Area": "Links!$A$1:$B$6",
        "_xlnm.Print_Titles": "Links!$1:$1",
    }


def test_rows_and_cells_carry_their_places_across_batches() -> None:
    numbers = [str(number) for number in range(40_000)]
    content = written(Sheet("Links", ["n", "blank"], [pa.array(numbers), pa.array([""] * len(numbers))]))

    data = found(part(content, "xl/worksheets/sheet1.xml"), f"{MAIN}sheetData")
    assert [row.attrib["r"] for row in data] == [str(number) for number in range(1, 40_002)]
    assert [row[0].attrib["r"] for row in data] == [f"A{number}" for number in range(1, 40_002)]
    assert [text.text for text in data.iter(f"{MAIN}t")] == ["n", "blank", *numbers]


def test_columns_past_z_are_in_their_places() -> None:
    row = [f"v{position}" for position in range(60)]
    worksheet = opened(sheet(row))["Links"]

    assert worksheet["AA2"].value == "v26"
    assert worksheet["BH2"].value == "v59"


def test_columns_may_come_in_chunks_slices_and_with_nulls() -> None:
    chunks = pa.chunked_array([["a", None], [], ["b&", "c"]], pa.string())
    sliced = pa.array(["x", "1", "2", "3", "4", "y"]).slice(1, 4)

    worksheet = opened(Sheet("Links", ["p", "q"], [chunks, sliced]))["Links"]

    assert cells(worksheet)[1:] == [["a", "1"], ["", "2"], ["b&", "3"], ["c", "4"]]


def test_a_sheet_without_rows_has_its_header_and_its_filter() -> None:
    workbook = opened(sheet(headers=["MRN", "link"], name="Errors"), sheet(headers=["MRN"], name="Duplicates"))

    assert workbook.sheetnames == ["Errors", "Duplicates"]
    assert cells(workbook["Errors"]) == [["MRN", "link"]] or cells(workbook["Errors"]) == [["MRN"]]
    assert workbook["Duplicates"].auto_filter.ref == "A1:A1" or workbook["Duplicates"].auto_filter.ref == "A1"


def test_marked_cells_are_coloured_also_where_they_are_blank() -> None:
    rows = [["1", "a"], ["", "b"], ["3", "c"]]
    marked = {0: np.array([False, True, True])}
    plain = sheet(*rows)

    worksheet = opened(Sheet(plain.name, plain.headers, plain.columns, marked))["Links"]

    assert [worksheet.cell(row, 1).fill.fill_type for row in (2, 3, 4)] == [None, "solid", "solid"]
    assert [worksheet.cell(row, 2).fill.fill_type for row in (2, 3, 4)] == [None, None, None]
    assert cells(worksheet)[1:] == rows
    assert worksheet["A3"].number_format == "@"


def test_control_characters_and_texts_that_look_like_their_escapes_survive() -> None:
    texts = [
        "bell\x07",
        "cr\r\nlf",
        "\x00",
        "_x0041_",
        "_x0041_x0042_",
        "_x000D_",
        "\ufffe\uffff",
        "_x",
        "a_xyz_",
    ]
    content = written(sheet(*([text] for text in texts)))

    assert [row[0] for row in cells(openpyxl.load_workbook(content)["Links"])[1:]] == texts
    data = found(part(content, "xl/worksheets/sheet1.xml"), f"{MAIN}sheetData")
    raw = [text.text for text in data.iter(f"{MAIN}t")][1:]
    assert raw[:4] == ["bell_x0007_", "cr_x000D_\nlf", "_x0000_", "_x005F_x0041_"]


def test_half_a_surrogate_pair_in_a_header_or_title_does_no_harm() -> None:
    content = written(sheet(["1"], headers=["na\ud83dme"]), title="list\udcff\x01")

    assert openpyxl.load_workbook(content)["Links"]["A1"].value == "na\ufffdme"


def test_a_text_too_long_for_a_cell_is_cut_and_says_so() -> None:
    fits, too_long = "x" * MAX_CELL_LENGTH, "é" * (MAX_CELL_LENGTH + 1)
    astral = "👩" * MAX_CELL_LENGTH  # two UTF-16 code units each

    values = [row[0] for row in cells(opened(sheet([fits], ["short"], [too_long], [astral]))["Links"])[1:]]

    assert values[:2] == [fits, "short"]
    for value, whole in zip(values[2:], (too_long, astral), strict=True):
        assert value.endswith(CUT_MARK)
        assert whole.startswith(value.removesuffix(CUT_MARK))
        assert MAX_CELL_LENGTH - 1 <= len(value.encode("utf-16-le")) // 2 <= MAX_CELL_LENGTH


@pytest.mark.parametrize("surplus", ["rows", "columns"])
def test_more_than_a_sheet_holds_is_refused_before_anything_is_written(surplus: str) -> None:
    target = io.BytesIO()
    too_many = {
        "rows": Sheet("Links", ["MRN"], [pa.repeat("1", MAX_ROWS + 1)]),
        "columns": Sheet("Links", ["MRN"] * 16_385, [pa.array(["1"])] * 16_385),
    }[surplus]

    with pytest.raises(TooManyRows, match=rf"Sheet Links would have [\d,]+ {surplus}"):
        write_workbook(target, [sheet(["1"], name="Errors"), too_many], title="x")

    assert target.getvalue() == b""


def test_a_target_that_cannot_seek_gets_the_same_cells() -> None:
    target = WriteOnly()

    write_workbook(target, [sheet(["00417", LINK])], title="x")  # type: ignore[arg-type]  # all that is called

    workbook = openpyxl.load_workbook(io.BytesIO(target.content))
    assert cells(workbook["Links"])[1:] == [["00417", LINK]]


def test_sixty_four_bit_sizes_are_announced_only_where_a_sheet_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def extra_fields(*rows: list[str]) -> bytes:
        content = written(sheet(*rows))
        with zipfile.ZipFile(content) as package:
            content.seek(package.getinfo("xl/worksheets/sheet1.xml").header_offset + 28)
        return content.read(2)  # their length in the part's own header

    ordinary, growing = ["x" * 15_000], ["&_x0041" * 2_142]
    assert extra_fields(growing) == b"\0\0"
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 20_000)

    assert extra_fields(ordinary) == b"\0\0"
    assert extra_fields(growing) != b"\0\0"


def test_nothing_is_written_outside_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    monkeypatch.chdir(tmp_path)

    written(sheet(["00417", LINK]))

    assert list(tmp_path.iterdir()) == []


def test_the_document_names_nobody() -> None:
    properties = openpyxl.load_workbook(written(sheet(["1"]), title="clinic & co")).properties

    assert properties.title == "clinic & co"
    assert not properties.creator
    assert not properties.lastModifiedBy


def test_columns_are_as_wide_as_their_values_within_reason() -> None:
    worksheet = opened(sheet(["1", "x" * 25, LINK * 3], headers=["a", "b", "link"]))["Links"]

    narrow, fitting, link = (worksheet.column_dimensions[letter].width for letter in "ABC")
    assert 8 <= narrow < 12
    assert 25 < fitting < 30
    assert link < 45


def test_widths_can_be_given() -> None:
    plain = sheet(["1"])
    worksheet = opened(Sheet(plain.name, plain.headers, plain.columns, widths=[30]))["Links"]

    assert worksheet.column_dimensions["A"].width == pytest.approx(30, abs=1)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["_x0041_", "_x005F_x0041_", "_x000d", "]]>", "&amp;", "\r", " ", "x" * 300]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(texts, texts), max_size=8))
def test_any_text_comes_back_from_a_workbook(rows: list[tuple[str, str]]) -> None:
    content = written(sheet(*rows, headers=["a", "b"]))

    read = cells(openpyxl.load_workbook(content)["Links"])[1:]
    read += [["", ""]] * (len(rows) - len(read))  # rows with nothing in them at the end
    assert [[*row, ""][:2] for row in read] == [list(row) for row in rows]
