"""Reading rosters of every kind, through the process that users' files are read in."""

import datetime as dt
import hashlib
import io
import random
import subprocess
import zipfile
from pathlib import Path

import msoffcrypto
import openpyxl
import pytest
from rosters import csv_table, raw_workbook, rows_of, text_cell, workbook

from batchlinks.errors import RosterError, SettingsError
from batchlinks.roster import read as reading
from batchlinks.roster.read import read_roster
from batchlinks.roster.source import ReadOptions, RosterBytes
from batchlinks.table import CellKind, Table

HEADER = ("MRN", "Name", "DOB")
ANN = ["00123456", "Ann", "1980-01-31"]
BOB = ["00123457", "Bob", "1975-12-01"]


def kinds_of(table: Table, column: int) -> list[CellKind]:
    return [CellKind(kind) for kind in table.kinds[column].tolist()]


# --- separated text -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "bar"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_separator_and_line_ends_are_found(separator: str, line_end: str) -> None:
    table = csv_table(line_end.join(separator.join(row) for row in (HEADER, ANN, BOB)))

    assert table.headers == HEADER
    assert rows_of(table) == [ANN, BOB]
    assert table.separator == separator
    assert table.row_numbers.tolist() == [2, 3]


def test_a_comma_inside_every_name_does_not_make_it_the_separator() -> None:
    table = csv_table("Name;MRN;DOB\nDoe, Ann;1001;1980-01-31\nLee, Bob;1002;1975-12-01\n")

    assert rows_of(table)[0] == ["Doe, Ann", "1001", "1980-01-31"]


@pytest.mark.parametrize(
    ("content", "encoding", "guessed"),
    [
        pytest.param("MRN,Name\n1,José\n".encode(), "utf-8", False, id="UTF-8"),
        pytest.param("MRN,Name\n1,José\n".encode("utf-8-sig"), "utf-8-sig", False, id="UTF-8 with mark"),
        pytest.param("MRN,Name\n1,José\n".encode("utf-16"), "utf-16", False, id="UTF-16 LE"),
        pytest.param(b"\xfe\xff" + "MRN,Name\n1,José\n".encode("utf-16-be"), "utf-16", False, id="UTF-16 BE"),
        pytest.param("MRN,Name\n1,José\n".encode("cp1252"), "cp1252", True, id="Windows-1252"),
    ],
)
def test_the_encoding_is_found(content: bytes, encoding: str, guessed: bool) -> None:
    table = csv_table(content)

    assert table.headers == ("MRN", "Name")
    assert rows_of(table) == [["1", "José"]]
    assert (table.encoding, table.encoding_guessed) == (encoding, guessed)


def test_a_byte_that_means_nothing_in_windows_1252_is_shown_as_such() -> None:
    assert rows_of(csv_table(b"MRN,Name\n1,Jos\xe9\x81\n")) == [["1", "José\ufffd"]]


def test_the_encoding_that_the_user_names_is_used() -> None:
    assert rows_of(csv_table("MRN,Name\n1,Łucja\n".encode("cp1250"), encoding="cp1250")) == [["1", "Łucja"]]
    with pytest.raises(RosterError, match="not in the encoding utf-8"):
        csv_table(b"MRN,Name\n1,Jos\xe9\n", encoding="utf-8")
    for name in ("no-such", "rot13"):
        with pytest.raises(SettingsError, match="--encoding"):
            csv_table("MRN\n1\n", encoding=name)


def test_blank_rows_count_and_line_breaks_inside_quotes_do_not() -> None:
    table = csv_table('MRN,Note,City\n\n1001,"two\nlines, and more",A\n , ,\n1002,x,B\n')

    assert table.row_numbers.tolist() == [3, 5]
    assert rows_of(table)[0] == ["1001", "two\nlines, and more", "A"]


def test_a_separator_line_is_obeyed_and_is_no_row_as_in_excel() -> None:
    table = csv_table("sep=;\r\nMRN;Name\r\n1001;Doe, Ann\r\n")

    assert rows_of(table) == [["1001", "Doe, Ann"]]
    assert (table.header_row, table.row_numbers.tolist()) == (1, [2])


def test_text_written_as_a_formula_keeps_its_zeros() -> None:
    assert rows_of(csv_table('MRN,Name\n="00123",Ann\n"=""00124""",Bob\n')) == [["00123", "Ann"], ["00124", "Bob"]]


def test_a_row_of_another_width_is_never_shifted_or_cut() -> None:
    table = csv_table("MRN,Name,DOB\n1,Doe, Ann,1980\n2,Bob\n3,Cy,1990,,\n4,Di,1991\n")

    assert table.ragged_fields == {0: ("1", "Doe", " Ann", "1980"), 1: ("2", "Bob")}
    assert rows_of(table) == [["", "", ""], ["", "", ""], ["3", "Cy", "1990"], ["4", "Di", "1991"]]


def test_a_header_with_a_separator_too_many_asks_nothing_of_its_rows() -> None:
    assert csv_table("MRN,Name,\n1,Ann\n2,Bob,\n").headers == ("MRN", "Name")
    assert rows_of(csv_table("MRN,Name,\n1,Ann\n2,Bob,x\n")) == [["1", "Ann", ""], ["2", "Bob", "x"]]


LIST = 'MRN,Name,City\n1000,Ann,A\n1001,{}Bob,B\n1002,Cy,C\n1003,{}Di{},D\n1004,"Ed, Jr",E\n'


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(LIST.format('"', "", ""), id="closed by the next quote of another row"),
        pytest.param(LIST.format('"', "", '"'), id="closed by a stray quote at the end of a later field"),
        pytest.param('MRN,Name,City\n1000,Ann,A\n1001,"Bob,B\n1002,Cy",C\n', id="closed in the very next row"),
        pytest.param('MRN,Name,City\n1000,Ann,A\n1001,"Bob,B\n1002,Cy,C\n', id="never"),
        pytest.param("MRN,Name,City\n1000,Ann,A\n" + '1001,"Bob,B\n' + "1002,Cy,C\n" * 40_000, id="in a long file"),
    ],
)
def test_a_quote_that_swallows_rows_is_refused_with_its_row(text: str) -> None:
    with pytest.raises(RosterError, match=r"row 3 .*never closed"):
        csv_table(text)


def test_a_quote_in_the_header_that_swallows_the_file_is_refused() -> None:
    with pytest.raises(RosterError, match="row 1 and never closed"):
        csv_table('MRN,"Name,City\n1000,Ann,A\n1001,Bob,B\n')


def test_a_quote_in_the_middle_of_a_field_is_text() -> None:
    assert rows_of(csv_table('MRN,Name\n1001,5" tall\n1002,O"B"\n')) == [["1001", '5" tall'], ["1002", 'O"B"']]


def test_null_and_numbers_in_other_columns_stay_text() -> None:
    assert rows_of(csv_table("MRN,Last,Code\n1001,Null,007\n1002,NA,1e5\n")) == [
        ["1001", "Null", "007"],
        ["1002", "NA", "1e5"],
    ]


def test_titles_are_passed_over_and_empty_columns_keep_their_letters() -> None:
    table = csv_table(",Clinic North,,\n,Run,11/01/2026,\n\n,MRN,Name,DOB,\n,1001,Ann,1980-01-31,\n")

    assert table.headers == ("", *HEADER)
    assert (table.header_row, table.row_numbers.tolist()) == (4, [5])


def test_a_list_without_header_is_read_on_demand_only() -> None:
    text = "1001,Ann,1980-01-31\n1002,Bob,1975-12-01\n"

    with pytest.raises(RosterError, match="--header-row 0"):
        csv_table(text)
    table = csv_table(text, header_row=0)
    assert (table.headers, len(table), table.header_row) == (("", "", ""), 2, 0)


# --- workbooks ------------------------------------------------------------------------------------------------


def test_a_number_is_read_as_its_format_shows_it(tmp_path: Path) -> None:
    numbers: list[tuple[float, str] | float | str] = [
        (123456, "00000000"),
        (123456, "General"),
        123456789012,
        (123456, "#,##0"),
        (12.5, "General"),
        (5, "0.00"),
        (5, "0.00E+00"),
        1234567890123456,
        (29252, "yyyy-mm-dd"),
        "00042",
    ]
    path = workbook(tmp_path / "patients.xlsx", {"P": [["Name", "MRN"], *(["Ann", number] for number in numbers)]})

    table = read_roster(path)

    assert list(zip(table.column(1).to_pylist(), kinds_of(table, 1), strict=True)) == [
        ("00123456", CellKind.NUMBER),
        ("123456", CellKind.NUMBER),
        ("123456789012", CellKind.NUMBER),
        ("123456", CellKind.UNREADABLE_FORMAT),
        ("12.5", CellKind.FRACTION),
        ("5", CellKind.FRACTION),
        ("5", CellKind.SCIENTIFIC),
        ("1.23457E+15", CellKind.LOST_DIGITS),
        ("1980-02-01", CellKind.DATE),
        ("00042", CellKind.TEXT),
    ]
    assert 0 not in table.kinds


def test_errors_and_formulas_without_a_result_are_told_apart(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["MRN", "Name"], ["=A9", "Ann"], ["#N/A", "Bob"], [True, "Cy"], [dt.datetime(1980, 1, 31, 8, 30), "D"]):
        sheet.append(row)
    book.save(tmp_path / "patients.xlsx")

    table = read_roster(tmp_path / "patients.xlsx")

    assert table.column(0).to_pylist() == ["", "#N/A", "TRUE", "1980-01-31 08:30"]
    assert kinds_of(table, 0) == [CellKind.NO_CACHED_VALUE, CellKind.ERROR, CellKind.BOOLEAN, CellKind.DATE]


@pytest.mark.parametrize("attribute", ['r="{}"', "r='{}'", ""], ids=["usual", "single quotes", "no references"])
@pytest.mark.parametrize("prefix", ["", "x:"], ids=["no prefix", "prefix"])
def test_unusual_xml_is_read_all_the_same(attribute: str, prefix: str) -> None:
    def cell(reference: str, inner: str, kind: str) -> str:
        return f"<{prefix}c {attribute.format(reference)} t='{kind}'>{inner}</{prefix}c>"

    def text(reference: str, value: str) -> str:
        return cell(reference, f"<{prefix}is><{prefix}t>{value}</{prefix}t></{prefix}is>", "inlineStr")

    rows = (
        f"<{prefix}row>{text('A1', 'MRN')}{text('B1', 'Name')}</{prefix}row>"
        f"<{prefix}row>{cell('A2', f'<{prefix}v>#REF!</{prefix}v>', 'e')}{text('B2', 'Ann')}</{prefix}row>"
    )
    content = raw_workbook(rows)
    if prefix:
        content = _with_prefix(content)

    table = read_roster(RosterBytes("patients.xlsx", content))

    assert rows_of(table) == [["#REF!", "Ann"]]
    assert kinds_of(table, 0) == [CellKind.ERROR]


def _with_prefix(content: bytes) -> bytes:
    """The same workbook, its sheet's elements under the prefix `x:`."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            if name.endswith("sheet1.xml"):
                part = part.replace(b"<worksheet xmlns=", b"<x:worksheet xmlns:x=")
                part = part.replace(b"sheetData>", b"x:sheetData>").replace(b"</x:", b"</x:").replace(b"<x:x:", b"<x:")
                part = part.replace(b"</worksheet", b"</x:worksheet")
            new.writestr(name, part)
    return changed.getvalue()


def test_titles_empty_columns_and_blank_rows_keep_the_spreadsheets_row_numbers(tmp_path: Path) -> None:
    rows = [[], [None, None, "Clinic North"], [], [None, None, *HEADER], [None, None, *ANN], [], [None, None, *BOB]]

    table = read_roster(workbook(tmp_path / "patients.xlsx", {"P": rows}))

    assert table.headers == ("", "", *HEADER)
    assert rows_of(table) == [["", "", *ANN], ["", "", *BOB]]
    assert (table.header_row, table.row_numbers.tolist()) == (4, [5, 7])


def test_the_sheet_with_the_patients_is_found(tmp_path: Path) -> None:
    sheets: dict[str, list[list[object]]] = {
        "Read me": [["Call us on Monday"]],
        "Codes": [["Code", "Meaning"], [1, "a"]],
        "List": [[*HEADER], [*ANN]],
    }

    assert read_roster(workbook(tmp_path / "patients.xlsx", sheets)).sheet == "List"


def test_two_sheets_with_patients_are_asked_about(tmp_path: Path) -> None:
    path = workbook(tmp_path / "patients.xlsx", {"North": [HEADER, ANN], "South": [HEADER, BOB]})

    with pytest.raises(RosterError, match=r"'North', 'South'.*--sheet"):
        read_roster(path)
    assert rows_of(read_roster(path, ReadOptions(sheet="south"))) == [BOB]
    with pytest.raises(SettingsError, match="'North', 'South'"):
        read_roster(path, ReadOptions(sheet="West"))


def test_of_an_error_report_the_rows_to_fix_are_read(tmp_path: Path) -> None:
    own = ["error_row", "error_code", "error_action", "error_message"]
    sheets: dict[str, list[list[object]]] = {
        "Errors": [[*own, *HEADER], [7, "blank_id", "fix the row", "…", *ANN]],
        "Duplicates": [[*own, "kept_row", *HEADER], [9, "duplicate", "fix the row", "…", 2, *BOB]],
    }

    assert read_roster(workbook(tmp_path / "patients.errors.xlsx", sheets)).sheet == "Errors"


def test_hidden_rows_are_read_and_named() -> None:
    rows = "".join(
        f'<row r="{row}"{hidden}>{text_cell(f"A{row}", text)}</row>'
        for row, text, hidden in [
            (1, "MRN", ""),
            (2, "1001", ' hidden="1"'),
            (3, "1002", ""),
            (4, "1003", ' hidden="1"'),
        ]
    )

    table = read_roster(RosterBytes("patients.xlsx", raw_workbook(rows)))

    assert (len(table), table.hidden_rows) == (3, (2, 4))


def test_a_protected_workbook_opens_with_its_password_only(tmp_path: Path) -> None:
    clear = workbook(tmp_path / "clear.xlsx", {"P": [HEADER, ANN]})
    protected = io.BytesIO()
    with clear.open("rb") as file:
        msoffcrypto.OfficeFile(file).encrypt("correct horse", protected)
    source = RosterBytes("patients.xlsx", protected.getvalue())

    with pytest.raises(RosterError, match="Set BATCHLINKS_ROSTER_PASSWORD"):
        read_roster(source)
    with pytest.raises(RosterError, match="does not open") as refusal:
        read_roster(source, ReadOptions(password="battery staple"))
    assert "battery" not in str(refusal.value)
    assert rows_of(read_roster(source, ReadOptions(password="correct horse"))) == [ANN]


def opendocument(rows: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr(
            "content.xml",
            '<office:document-content xmlns:office="o" xmlns:table="t" xmlns:text="x" xmlns:calcext="c"><office:body>'
            f'<office:spreadsheet><table:table table:name="Patients">{rows}</table:table></office:spreadsheet>'
            "</office:body></office:document-content>",
        )
    return content.getvalue()


def opendocument_row(*cells: str, attributes: str = "") -> str:
    return f"<table:table-row {attributes}>{''.join(cells)}</table:table-row>"


def opendocument_cell(text: str, attributes: str = 'office:value-type="string"') -> str:
    return f"<table:table-cell {attributes}><text:p>{text}</text:p></table:table-cell>"


@pytest.mark.parametrize(
    ("attributes", "text", "shown", "kind"),
    [
        ('office:value-type="float" office:value="123456"', "00123456", "00123456", CellKind.NUMBER),
        ('office:value-type="float" office:value="123456"', "123456", "123456", CellKind.NUMBER),
        ('office:value-type="float" office:value="123456"', "123,456", "123456", CellKind.UNREADABLE_FORMAT),
        ('office:value-type="float" office:value="123456"', "123456.00", "123456", CellKind.FRACTION),
        ('office:value-type="float" office:value="123456"', "1.23E+05", "123456", CellKind.SCIENTIFIC),
        ('office:value-type="date" office:date-value="1980-01-31"', "01/31/80", "1980-01-31", CellKind.DATE),
        ('table:formula="of:=NA()" office:value-type="string"', "#N/A", "#N/A", CellKind.ERROR),
        ('office:value-type="boolean" office:boolean-value="true"', "TRUE", "TRUE", CellKind.BOOLEAN),
    ],
)
def test_an_opendocument_cell_is_read_as_it_is_shown(attributes: str, text: str, shown: str, kind: CellKind) -> None:
    rows = opendocument_row(opendocument_cell("Name"), opendocument_cell("MRN"))
    rows += opendocument_row(opendocument_cell("Ann"), opendocument_cell(text, attributes))

    table = read_roster(RosterBytes("patients.ods", opendocument(rows)))

    assert (table.column(1).to_pylist(), kinds_of(table, 1)) == ([shown], [kind])


def test_repeated_and_hidden_rows_of_an_opendocument_sheet_are_counted() -> None:
    rows = opendocument_row(opendocument_cell("MRN"))
    rows += opendocument_row("<table:table-cell/>", attributes='table:number-rows-repeated="5"')
    rows += opendocument_row(opendocument_cell("1001"), attributes='table:number-rows-repeated="2"')
    rows += opendocument_row(opendocument_cell("1002"), attributes='table:visibility="filter"')
    rows += opendocument_row("<table:table-cell/>", attributes='table:number-rows-repeated="1048000"')

    table = read_roster(RosterBytes("patients.ods", opendocument(rows)))

    assert table.row_numbers.tolist() == [7, 8, 9]
    assert table.hidden_rows == (9,)


# --- files that cannot be read --------------------------------------------------------------------------------

PATIENT_ROWS = f'<row r="1">{text_cell("A1", "MRN")}</row><row r="2">{text_cell("A2", "1001")}</row>'


def hostile(name: str, content: bytes, match: str) -> object:
    return pytest.param(name, content, match, id=f"{match} ({len(content)} bytes)")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        hostile("a.csv", b"", "is empty"),
        hostile("a.csv", b"\n\n\n", "no table"),
        hostile("a.csv", b"MRN,Name\n1,\0\n", "not text"),
        hostile("a.csv", random.Random(1).randbytes(20_000), "not text"),
        hostile("a.csv", b"MRN,Name\n1," + b"x" * 1_000_000, "row 2 has a field"),
        hostile("a.csv", raw_workbook(PATIENT_ROWS), "is named .csv, but it is an Excel workbook"),
        hostile("a.xlsx", b"MRN,Name\n1,Ann\n", "is named .xlsx, but it is plain text"),
        hostile("a.xls", b"<html><table><tr><td>MRN</td></tr></table></html>", "web page"),
        hostile("a.xlsx", b"%PDF-1.7", "PDF"),
        hostile("a.docx", b"PK", "ends in .docx"),
        hostile("~$a.xlsx", b"x", "has the file open"),
        hostile("a.gsheet", b"{}", "Google"),
        hostile("a.xlsx", random.Random(1).randbytes(20_000), "no workbook"),
        hostile("a.xlsx", raw_workbook(PATIENT_ROWS)[:-100], "damaged or cut short"),
        hostile("a.xlsx", raw_workbook(PATIENT_ROWS)[:200], "damaged or cut short"),
        hostile("a.xlsx", raw_workbook(PATIENT_ROWS + "<row><c r="), "damaged"),
        hostile("a.xlsx", raw_workbook(PATIENT_ROWS * 2), "row 1 stands in it twice or out of order"),
        hostile(
            "a.xlsx",
            raw_workbook(PATIENT_ROWS + f'<row spans="1:1" r="2">{text_cell("A2", "1002")}</row>'),
            "row 2 stands in it twice",
        ),
        hostile("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + random.Random(1).randbytes(20_000), "damaged"),
        hostile(
            "a.xlsx",
            raw_workbook(PATIENT_ROWS + f'<row r="1048576">{text_cell("XFD1048576", " ")}</row>'),
            "'Patients' has something in cell XFD1048576",
        ),
        hostile("a.xlsx", raw_workbook(PATIENT_ROWS, before='<!DOCTYPE x [<!ENTITY a "b">]>'), "entity"),
        hostile("a.xlsx", raw_workbook([PATIENT_ROWS, *[" " * 1_000_000] * 700]), "expand beyond reason"),
        hostile(
            "a.ods",
            opendocument(opendocument_row(opendocument_cell("1"), attributes='table:number-rows-repeated="99999999"')),
            "has something in row 99999999",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_a_sentence(name: str, content: bytes, match: str) -> None:
    with pytest.raises(RosterError, match=match):
        read_roster(RosterBytes(name, content))


def test_a_reader_that_dies_is_a_sentence() -> None:
    # Written so that only the parser itself sees how far the sheet reaches; it then asks for more memory than exists.
    far = " " * 1_100_000 + '<row r="1048576"><c r = "XFD1048576"><v>1</v></c></row>'

    with pytest.raises(RosterError, match="expand beyond reason"):
        read_roster(RosterBytes("a.xlsx", raw_workbook(PATIENT_ROWS + far)))


def test_formatted_empty_rows_cost_nothing() -> None:
    empty = (f'<row r="{row}" s="1" customFormat="1"><c r="A{row}" s="1"/></row>' for row in range(3, 200_000))

    assert len(read_roster(RosterBytes("a.xlsx", raw_workbook([PATIENT_ROWS, *empty])))) == 1


def test_a_path_that_is_no_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RosterError, match=r"no file patients\.csv"):
        read_roster(tmp_path / "patients.csv")
    with pytest.raises(RosterError, match="is a folder"):
        read_roster(tmp_path)


def test_what_goes_wrong_says_nothing_about_a_patient() -> None:
    for text in (
        'MRN,Name\n98765,"Zebedee\n',
        "98765,Zebedee\n98766,Zoe\n",
        'MRN,Name\n98765,"Zebedee' + "x" * 200_000,
    ):
        with pytest.raises(RosterError) as refusal:
            csv_table(text)
        assert "98765" not in str(refusal.value)
        assert "Zebedee" not in str(refusal.value)


# --- the reader's process -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("started_anew")
def test_the_reader_gets_no_secret_and_is_gone_after_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    environments: list[dict[str, str]] = []

    class Observed(subprocess.Popen):  # type: ignore[type-arg]  # bytes, as it is called
        def __init__(self, *args: object, **options: object) -> None:
            environments.append(options["env"])  # type: ignore[arg-type]
            super().__init__(*args, **options)  # type: ignore[call-overload]
            started.append(self)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("HEALTHEX_API_SECRET", "s3cret")
    monkeypatch.setenv("BATCHLINKS_ROSTER_PASSWORD", "s3cret")
    monkeypatch.setattr(subprocess, "Popen", Observed)
    monkeypatch.setattr(reading, "receive_table", interrupted)

    with pytest.raises(KeyboardInterrupt):
        csv_table("MRN\n1\n")

    assert started[0].poll() is not None
    assert "s3cret" not in environments[0].values()


@pytest.mark.usefixtures("started_anew")
def test_nothing_is_imported_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "csv.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)

    assert len(csv_table("MRN\n1\n")) == 1


def test_a_file_is_known_by_its_name_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_bytes(b"MRN\n1\n")

    table = read_roster(path)

    assert table.name == "patients.csv"
    assert table.sha256 == hashlib.sha256(b"MRN\n1\n").hexdigest()
