"""Files that nobody cleaned, made by tables of mutations: no wrong ID, no lost row, and a sentence that names the cause."""

import io
import itertools
import random
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msoffcrypto
import pytest
from biff import xls_workbook
from rosters import csv_table, rows_of, workbook

from batchlinks.errors import RosterError
from batchlinks.roster.other_tables import TablesUndecided
from batchlinks.roster.read import read_roster
from batchlinks.roster.source import ReadOptions, RosterBytes
from batchlinks.table import CellKind, Table

SEED = 20261128

# --- packages: the same workbook under other names ------------------------------------------------------------

_TYPES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_STRICT = "http://purl.oclc.org/ooxml/officeDocument/relationships"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_STRICT_MAIN = "http://purl.oclc.org/ooxml/spreadsheetml/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


def package(
    *,
    folder: str = "xl/",
    sheet: str = "worksheets/sheet1.xml",
    styles: str = "styles.xml",
    book: str = "workbook.xml",
    target: str = "{}",
    entry: Callable[[str], str] = str,
    strict: bool = False,
    prefix: str = "r",
    cell: str = 's="1"',
    code: str = "00000000",
    default: str = "General",
    rows: str | None = None,
    before_rows: str = "",
    with_styles: bool = True,
    with_relation: bool = True,
    state: str = "visible",
) -> bytes:
    """Five IDs 123450 … as number cells, in a package whose parts are called and found as the arguments say."""
    main, types = (_STRICT_MAIN, _STRICT) if strict else (_MAIN, _TYPES)
    cells = rows or "".join(f'<row r="{n}"><c r="A{n}" {cell}><v>{123448 + n}</v></c></row>' for n in range(2, 7))
    header = '<row r="1"><c r="A1" t="s"><v>0</v></c></row>'
    relations = [("s1", "worksheet", sheet), ("t1", "sharedStrings", "sharedStrings.xml")]
    relations += [("f1", "styles", styles)] if with_styles and with_relation else []
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Override '
        f'PartName="/{folder}{book}" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
        "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="r" Type="{types}/officeDocument" '
        f'Target="{folder}{book}"/></Relationships>',
        f"{folder}_rels/{book}.rels": f'<Relationships xmlns="{_PACKAGE}">'
        + "".join(
            f'<Relationship Id="{identity}" Type="{types}/{kind}" Target="{target.format(name)}"/>'
            for identity, kind, name in relations
        )
        + "</Relationships>",
        f"{folder}{book}": f'<workbook xmlns="{main}" xmlns:{prefix}="{types}"><sheets><sheet name="P" sheetId="1" '
        f'state="{state}" {prefix}:id="s1"/></sheets></workbook>',
        f"{folder}{sheet}": f'<worksheet xmlns="{main}">{before_rows}<sheetData>{header}{cells}</sheetData></worksheet>',
        f"{folder}sharedStrings.xml": f'<sst xmlns="{main}"><si><t>MRN</t></si></sst>',
    }
    if with_styles:
        parts[f"{folder}{styles}"] = (
            f'<styleSheet xmlns="{main}"><numFmts count="2"><numFmt numFmtId="164" formatCode="{code}"/>'
            f'<numFmt numFmtId="165" formatCode="{default}"/></numFmts><cellStyleXfs count="1"><xf/></cellStyleXfs>'
            '<cellXfs><xf numFmtId="165"/><xf numFmtId="164"/></cellXfs></styleSheet>'
        )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(entry(name), text)
    return content.getvalue()


def read(content: bytes, name: str = "patients.xlsx", **options: object) -> Table:
    return read_roster(RosterBytes(name, content), ReadOptions(**options))  # type: ignore[arg-type]


def shown(table: Table, column: int = 0) -> list[tuple[str, CellKind]]:
    kinds = table.kinds.get(column, [0] * len(table))
    return [(text, CellKind(kind)) for text, kind in zip(table.column(column).to_pylist(), kinds, strict=True)]


FORMATTED = [(f"0012345{n}", CellKind.NUMBER) for n in range(5)]
UNREADABLE = [(f"12345{n}", CellKind.UNREADABLE_FORMAT) for n in range(5)]

FOLDERS = ["xl/", "", "XL/", "book/", "a/b/"]
SHEETS = ["worksheets/sheet1.xml", "worksheets/Sheet1.XML", "sheets/list 1.xml", "sheet22.xml"]
STYLES = ["styles.xml", "styles2.xml", "Styles.xml", "format/all.xml"]
BOOKS = ["workbook.xml", "workbook2.xml", "Workbook.xml"]
TARGETS = ["{}", "./{}", "x/../{}", "././{}"]


def backslashes(name: str) -> str:
    """As some programs write the names of a package's parts."""
    return name.replace("/", "\\")


ENTRIES: list[Callable[[str], str]] = [str, str.lower, str.upper, backslashes]


def packages() -> Iterator[tuple[object, ...]]:
    return itertools.product(FOLDERS, SHEETS, STYLES, BOOKS, TARGETS, ENTRIES, [False, True], ["r", "d3p1"])


def assert_package_is_read(case: tuple[object, ...]) -> None:
    names = ("folder", "sheet", "styles", "book", "target", "entry", "strict", "prefix")
    assert shown(read(package(**dict(zip(names, case, strict=True))))) == FORMATTED  # type: ignore[arg-type]


def package_name(case: tuple[object, ...]) -> str:
    """What makes this package unlike the usual one: the same text in every process."""
    return ", ".join(getattr(each, "__name__", str(each)) for each in case)


@pytest.mark.parametrize("case", random.Random(SEED).sample(list(packages()), 10), ids=package_name)
def test_a_package_is_read_whatever_its_parts_are_called(case: tuple[object, ...]) -> None:
    assert_package_is_read(case)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_four_hundred_packages_are_read_whatever_their_parts_are_called() -> None:
    for case in random.Random(SEED + 1).sample(list(packages()), 400):
        assert_package_is_read(case)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(package(cell="", default="00000000"), FORMATTED, id="no style attribute: style 0 counts"),
        pytest.param(package(cell='s="9"'), UNREADABLE, id="a style that is not there"),
        pytest.param(package(with_styles=False), UNREADABLE, id="styles that are not there"),
        pytest.param(package(with_relation=False), UNREADABLE, id="styles that no relationship leads to"),
        pytest.param(
            package(cell="", before_rows='<cols><col min="1" max="1" style="1"/></cols>'), UNREADABLE, id="column style"
        ),
        pytest.param(
            package(
                rows="".join(
                    f'<row r="{n}" s="1" customFormat="1"><c r="A{n}"><v>{123448 + n}</v></c></row>'
                    for n in range(2, 7)
                )
            ),
            UNREADABLE,
            id="row style",
        ),
        pytest.param(package(code=";;;"), UNREADABLE, id="a format that shows nothing"),
        pytest.param(
            package(code="0;-0;0;&quot;x&quot;@"), [(t.lstrip("0"), k) for t, k in FORMATTED], id="text section"
        ),
    ],
)
def test_no_information_is_not_plain(content: bytes, expected: list[tuple[str, CellKind]]) -> None:
    assert shown(read(content)) == expected


def test_a_package_without_styles_and_style_attributes_is_general() -> None:
    assert shown(read(package(with_styles=False, cell=""))) == [(f"12345{n}", CellKind.NUMBER) for n in range(5)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('"MRN-"@', ("MRN-777", CellKind.TEXT)),
        ("@", ("777", CellKind.TEXT)),
        ("0;0;0;\\A@", ("A777", CellKind.TEXT)),
        ("_(@_)", ("777", CellKind.TEXT)),
        ("@*-", ("777", CellKind.UNREADABLE_FORMAT)),
        (";;;", ("777", CellKind.UNREADABLE_FORMAT)),
        ('0;0;0;"none"', ("none", CellKind.TEXT)),
        ("00000;@", ("777", CellKind.TEXT)),
    ],
)
def test_a_text_is_read_as_its_format_shows_it(code: str, expected: tuple[str, CellKind]) -> None:
    code = code.replace('"', "&quot;")
    rows = '<row r="2"><c r="A2" s="1" t="inlineStr"><is><t>777</t></is></c></row>'

    assert shown(read(package(code=code, rows=rows))) == [expected]


def test_a_part_that_is_there_twice_is_a_sentence() -> None:
    content = io.BytesIO(package())
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("xl/Styles.xml", "<styleSheet/>")

    with pytest.raises(RosterError, match="which of the file's parts belong together"):
        read(content.getvalue())


def test_a_number_beyond_the_last_day_is_no_id() -> None:
    rows = '<row r="2"><c r="A2" s="1"><v>12345678</v></c></row>'

    assert shown(read(package(code="mm/dd/yyyy", rows=rows))) == [("########", CellKind.UNREADABLE_FORMAT)]


@pytest.mark.parametrize(
    ("rows", "before"),
    [
        ('<row r="2"{0}><c r="A2"><v>1001</v></c></row><row r="3"><c r="A3"><v>1002</v></c></row>', ""),
        ("<row{0}><c><v>1001</v></c></row><row><c><v>1002</v></c></row>", ""),
        ('<row{0} r="2"><c r="A2"><v>1001</v></c></row><row spans="1:1" r="3"><c r="A3"><v>1002</v></c></row>', ""),
    ],
    ids=["usual", "no numbers", "number last"],
)
@pytest.mark.parametrize("hidden", [' hidden="1"', ' hidden="true"', ' ht="0" customHeight="1"', ' ht="0.0"'])
def test_hidden_rows_are_said_however_they_are_written(rows: str, before: str, hidden: str) -> None:
    table = read(package(rows=rows.format(hidden), before_rows=before, cell=""))

    assert (len(table), table.hidden_rows) == (2, (2,))


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
@pytest.mark.parametrize("folder", ["xl/", "elsewhere/"])
def test_a_hidden_sheet_is_said(state: str, folder: str) -> None:
    assert read(package(state=state, folder=folder)).hidden_sheet


def test_aggregates_and_total_rows_are_told(tmp_path: Path) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(tmp_path / "patients.xlsx") as book:
        sheet = book.add_worksheet()
        columns = [{"header": "MRN", "total_function": "count"}, {"header": "Name", "total_string": "Total"}]
        sheet.add_table(
            0, 0, 3, 1, {"columns": columns, "total_row": True, "data": [["A1001", "Ann"], ["A1002", "Bob"]]}
        )
        sheet.write_formula(5, 0, "=SUM(C1:C4)", None, 12345)
        sheet.write_formula(6, 0, "=C1+5", None, 1005)

    table = read_roster(tmp_path / "patients.xlsx")

    assert table.total_rows == (2,)
    assert [kind for _, kind in shown(table)][2:] == [CellKind.AGGREGATE, CellKind.AGGREGATE, CellKind.NUMBER]


# --- .xls -----------------------------------------------------------------------------------------------------

XLS_ROWS: list[list[object]] = [["MRN", "Zip"], [(123456, 1), (2101, 2)], ["00123457", (2102, 2)], [(123458, 0), "x"]]


@pytest.mark.parametrize("stream", ["Workbook", "Book"])
def test_an_old_workbook_shows_its_formats_and_hidden_rows(stream: str) -> None:
    content = xls_workbook(XLS_ROWS, ["General", "00000000", "00000"], hidden=[2], stream=stream)

    table = read(content, "patients.xls")

    assert shown(table) == [("00123456", CellKind.NUMBER), ("00123457", CellKind.TEXT), ("123458", CellKind.NUMBER)]
    assert table.column(1).to_pylist() == ["02101", "02102", "x"]
    assert (table.hidden_rows, table.formats_unknown) == ((3,), True)  # somebody is to look where a format adds zeros


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_old_workbooks_show_their_formats() -> None:
    chance = random.Random(SEED + 2)
    for _ in range(100):
        numbers = [chance.randrange(1, 10**6) for _ in range(6)]
        width = chance.randrange(6, 12)
        rows: list[list[object]] = [["MRN"]]
        rows += [[(number, 1)] for number in numbers]
        hidden = sorted(chance.sample(range(1, 7), 2))
        content = xls_workbook(
            rows, ["General", "0" * width], hidden=hidden, stream=chance.choice(["Workbook", "Book"])
        )

        table = read(content, "patients.xls")

        assert table.column(0).to_pylist() == [str(number).zfill(width) for number in numbers]
        assert table.hidden_rows == tuple(row + 1 for row in hidden)


# --- several tables on one sheet ------------------------------------------------------------------------------

HEADERS = ["MRN", "Last Name", "First Name", "DOB", "Phone"]
NAMES = ["Smith", "Jones", "Brown", "Garcia", "Lopez", "Nguyen", "Patel", "Kim"]
Rows = list[list[str]]


def patients(count: int, first: int = 10001) -> Rows:
    return [
        [f"000{first + n}", NAMES[n % 8], "Ann", f"19{50 + n % 40}-03-01", f"617555{n % 9000 + 1000}"]
        for n in range(count)
    ]


def as_csv(rows: Sequence[Sequence[str]], separator: str) -> Table:
    return csv_table("\n".join(separator.join(row) for row in rows) + "\n")


def as_workbook(rows: Sequence[Sequence[str]], folder: Path) -> Table:
    return read_roster(workbook(folder / "patients.xlsx", {"P": [[cell or None for cell in row] for row in rows]}))


KINDS = ["csv ,", "csv ;", "xlsx", "xls"]


def read_as(kind: str, rows: Rows, folder: Path) -> Table:
    if kind.startswith("csv"):
        return as_csv(rows, kind[-1])
    if kind == "xls":
        return read(xls_workbook([list(row) for row in rows], ["General"]), "patients.xls")
    return as_workbook(rows, folder)


OTHER_HEADERS = [
    ["Provider ID", "Provider Name", "Clinic", "Phone", ""],
    ["NPI", "Name", "Specialty", "Address", "Phone"],
    ["Acct #", "MRN", "Last Name", "First Name", "DOB"],
    ["Member ID", "Last Name", "First Name", "DOB", ""],
    ["Arzt-Nr", "Nachname", "Vorname", "Telefon", "Ort"],
    ["Kod", "Nazwisko", "Imie", "Miasto", "Telefon"],
]
GAPS: list[Rows] = [[[""] * 5], [[""] * 5, ["South clinic", "", "", "", ""]]]
OTHER_ROWS = [["70010", "Hart", "North", "555-0101", ""], ["70011", "Wolf", "South", "555-0102", ""]]


def assert_other_table_is_held_back(kind: str, headers: list[str], gap: Rows, rows: int, folder: Path) -> None:
    table = read_as(kind, [HEADERS, *patients(rows), *gap, headers, *OTHER_ROWS], folder)

    held_back = {table.column(0)[position].as_py() for position in table.other_table}
    assert {"70010", "70011"} <= held_back
    assert not held_back & {row[0] for row in patients(rows)}
    assert len(table) >= rows + 2


def two_tables() -> list[tuple[str, list[str], Rows, int]]:
    return list(itertools.product(KINDS, OTHER_HEADERS, GAPS, range(30, 36)))


@pytest.mark.parametrize("case", random.Random(SEED).sample(two_tables(), 10), ids=str)
def test_rows_under_other_headers_are_held_back(case: tuple[str, list[str], Rows, int], tmp_path: Path) -> None:
    assert_other_table_is_held_back(*case, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_rows_under_other_headers_are_held_back_in_hundreds_of_lists(tmp_path: Path) -> None:
    for case in two_tables():
        assert_other_table_is_held_back(*case, tmp_path)


def orders() -> list[tuple[str, tuple[int, ...]]]:
    return list(itertools.product(KINDS, itertools.permutations(range(5))))


def assert_put_into_order(kind: str, order: Sequence[int], folder: Path) -> None:
    again = [[row[column] for column in order] for row in [HEADERS, *patients(4, 20001)]]

    table = read_as(kind, [HEADERS, *patients(4), *again], folder)

    assert rows_of(table) == [*patients(4), HEADERS, *patients(4, 20001)]
    assert table.other_table == ()


@pytest.mark.parametrize("case", random.Random(SEED).sample(orders(), 10), ids=str)
def test_columns_that_change_places_are_read_by_their_own_headers(
    case: tuple[str, tuple[int, ...]], tmp_path: Path
) -> None:
    assert_put_into_order(*case, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_columns_that_change_places_in_any_order(tmp_path: Path) -> None:
    for case in orders():
        assert_put_into_order(*case, tmp_path)


TOPS: list[tuple[Rows, set[str]]] = [
    ([["00020234", "Smith", "", "", ""], ["00020241", "Jones", "", "", ""], [""] * 5], {"00020234", "00020241"}),
    ([["Priority", "", "", "", ""], ["MRN", "Name", "", "", ""], ["00020234", "Smith", "", "", ""]], {"00020234"}),
    ([["Clinic North", "", "", "", ""], ["00020234", "", "", "", ""]], {"00020234"}),
    ([["20234", "Smith", "", "", ""]], {"20234"}),
    ([["Clinic North 2026", "", "", "", ""], ["Run date", "11/01/2026", "", "", ""]], set()),
    ([["Report 12", "Page 1", "", "", ""], ["Printed 11/01/2026 08:00", "", "", "", ""]], set()),
    ([["Run", "20261101", "", "", ""]], set()),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", range(len(TOPS)))
def test_what_stands_above_the_header_counts_if_it_could_be_a_patient(kind: str, case: int, tmp_path: Path) -> None:
    top, expected = TOPS[case]

    table = read_as(kind, [*top, HEADERS, *patients(30)], tmp_path)

    assert {table.column(0)[position].as_py() for position in table.other_table} == expected
    assert len(table) == 30 + len(expected)
    assert table.row_numbers.tolist()[-30:] == list(range(len(top) + 2, len(top) + 32))


def test_more_than_a_tenth_elsewhere_is_a_question_that_the_header_row_answers(tmp_path: Path) -> None:
    rows = [["00020234", "Smith", "", "", ""], ["", "", "", "", ""], HEADERS, *patients(4)]
    path = workbook(tmp_path / "patients.xlsx", {"P": [[cell or None for cell in row] for row in rows]})

    with pytest.raises(TablesUndecided, match=r"row 3, but 1 of 5 rows are above them .*--header-row 3"):
        read_roster(path)
    table = read_roster(path, ReadOptions(header_row=3))
    assert (table.other_table, table.row_numbers.tolist()) == ((0,), [1, 4, 5, 6, 7])


def test_headers_of_every_page_and_lines_of_headers_hold_nobody_back() -> None:
    pages = [[HEADERS, *patients(5, 10001 + 10 * page), ["Page", str(page), "", "", ""]] for page in range(6)]
    table = as_csv([row for page in pages for row in page], ",")
    assert (table.other_table, len(table)) == ((), 6 * 7 - 1)

    spanish = ["Expediente", "Apellido", "Nombre", "Nacimiento", "Telefono"]
    assert as_csv([HEADERS, spanish, *patients(5)], ",").other_table == ()
    assert as_csv([["Patient", "", "", "", "Contact"], HEADERS, *patients(5)], ",").other_table == ()


@pytest.mark.parametrize(
    "odd",
    [
        ["", "Bill", "Ward", "Active", "English"],
        ["N/A", "Doe", "Ann", "unknown", "none"],
        ["pending", "Price", "Grace", "", ""],
        ["Unit 4B", "12 patients", "", "", ""],
        ["see chart", "Street", "Sue", "refused", "no phone"],
    ],
)
def test_a_patient_without_an_id_begins_no_table(odd: list[str]) -> None:
    assert as_csv([HEADERS, *patients(5), odd, *patients(5, 20001)], ",").other_table == ()


# --- CSV that was quoted otherwise ----------------------------------------------------------------------------


def quoted(field: str) -> str:
    return '"' + field.replace('"', '\\"') + '"'


def csv_dialects() -> list[tuple[str, str, str]]:
    return list(
        itertools.product(
            ["backslash", "whole", "whole header too"], [",", ";", "\t", "|"], ['O"Lee, Jr', "Lee", "Ng, A"]
        )
    )


def assert_dialect_is_read(dialect: str, separator: str, name: str) -> None:
    rows = [["MRN", "LAST", "FIRST"], *([f"0001{n}", name, "Ann"] for n in range(6))]
    if dialect == "backslash":
        text = "\n".join(separator.join(map(quoted, row)) for row in rows)
    else:
        lines = [
            separator.join('"' + f.replace('"', '""') + '"' if separator in f or '"' in f else f for f in row)
            for row in rows
        ]
        text = "\n".join(
            line if number == 0 and dialect == "whole" else '"' + line.replace('"', '""') + '"'
            for number, line in enumerate(lines)
        )

    table = csv_table(text + "\n")

    assert rows_of(table) == rows[1:]
    assert table.ragged_fields == {}


@pytest.mark.parametrize("case", random.Random(SEED).sample(csv_dialects(), 10), ids=str)
def test_other_ways_of_quoting_are_read(case: tuple[str, str, str]) -> None:
    assert_dialect_is_read(*case)


@pytest.mark.slow
def test_other_ways_of_quoting_are_read_in_every_combination() -> None:
    for case in csv_dialects():
        assert_dialect_is_read(*case)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("1,Doe, Ann,1980\n2,Lee, Bob,1975\n3,Fox, Cy,1990\n", "comma inside a name"),
        ("1;Ann;1980\n2;Bob;1975\n3;Cy;1990\n", "another character"),
    ],
)
def test_where_no_row_fits_the_header_the_likely_reason_is_said(rows: str, reason: str) -> None:
    with pytest.raises(RosterError, match=f"more or fewer fields than the header.*{reason}"):
        csv_table("MRN,Name,DOB\n" + rows)


# --- what the file is -----------------------------------------------------------------------------------------


def test_excels_own_password_needs_none_and_a_label_is_named(tmp_path: Path) -> None:
    clear = workbook(tmp_path / "clear.xlsx", {"P": [["MRN", "Name"], ["00123", "Ann"]]})
    protected = io.BytesIO()
    with clear.open("rb") as file:
        msoffcrypto.OfficeFile(file).encrypt("VelvetSweatshop", protected)
    assert rows_of(read(protected.getvalue())) == [["00123", "Ann"]]

    name, other = ("EncryptionInfo".encode("utf-16-le"), "EncryptionInfX".encode("utf-16-le"))
    with pytest.raises(RosterError, match="sensitivity label"):
        read(protected.getvalue().replace(name, other))


def zipped(**parts: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), text)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.pdf", b"%PDF-1.7", "Ask whoever made it"),
        ("a.xlsx", b"%PDF-1.7", "PDF document.*Ask whoever made it"),
        ("a.docx", b"PK", "copy the table into a new Excel workbook"),
        ("a.zip", b"PK", "Unpack it"),
        ("a.numbers", b"PK", "Export To > Excel"),
        ("a.heic", b"x", "Ask whoever made it"),
        ("a.xlsx", zipped(mimetype="application/vnd.oasis.opendocument.text", content_dot_xml="<x/>"), "Word"),
        ("a.xlsx", zipped(Index__Document_dot_iwa="x"), "Apple Numbers"),
        ("a.xlsx", zipped(list_dot_csv="MRN\n1\n"), "zip archive with a list in it.*Unpack"),
        ("a.xls", b"<html><table><tr><td>MRN</td></tr></table></html>", "web page.*Open it in Excel"),
        ("a.xls", b"\x09\x04\x06\x00\x00\x00\x10\x00", "Excel 4.*Open it in Excel"),
        ("a.xlsx", b"", "is empty"),
        ("a.url", b"x", "is a shortcut"),
    ],
)
def test_advice_fits_the_file(name: str, content: bytes, match: str) -> None:
    with pytest.raises(RosterError, match=match):
        read(content, name)


def test_an_empty_workbook_is_called_empty(tmp_path: Path) -> None:
    with pytest.raises(RosterError, match="is empty: there is nothing in any of its sheets"):
        read_roster(workbook(tmp_path / "patients.xlsx", {"A": [], "B": []}))
