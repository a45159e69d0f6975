"""Lists as people leave them, through the command: no row of a patient unsaid, no row of anybody else sent."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import results
from biff import xls_workbook
from conftest import Ended
from rosters import workbook
from test_reading import opendocument, opendocument_cell, opendocument_row

from batchlinks.roster.calamine_corrections import is_aggregate
from batchlinks.roster.read import read_roster
from batchlinks.roster.source import RosterBytes
from batchlinks.table import CellKind

Command = Callable[..., Ended]
Rows = Sequence[Sequence[str]]

HEADERS = ["MRN", "Last Name", "First Name", "DOB", "Phone"]
LAST = ["Smith", "Jones", "Brown", "Garcia", "Lopez", "Nguyen"]


def patients(count: int) -> list[list[str]]:
    return [
        [f"000{10203 + 7 * n}", LAST[n % 6], "Ann", f"0{1 + n % 9}/12/19{40 + n % 50}", f"617555{1000 + n}"]
        for n in range(count)
    ]


def as_csv(folder: Path, rows: Rows) -> Path:
    content = io.StringIO()
    csv.writer(content).writerows(rows)
    (folder / "patients.csv").write_text(content.getvalue(), encoding="utf-8")
    return folder / "patients.csv"


def as_workbook(folder: Path, rows: Rows) -> Path:
    return workbook(folder / "patients.xlsx", {"P": [[cell or None for cell in row] for row in rows]})


# --- formulas that count --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "formula",
    [
        "SUBTOTAL(3,A2:A9)", "SUBTOTAL(103,Table1[MRN])", "COUNTA(A:A)-1", 'COUNTA(A$2:A31)&""', "SUM(A2:A16,A17:A31)",
        'SUMPRODUCT(--(A2:A31<>""))', "COUNTA(_xlfn.UNIQUE(A2:A31))", "IF(TRUE,COUNTA(P!A2:A31),0)",
        "of:=SUBTOTAL(9;[.A2:.A9])", "of:=COUNTA([.A2:.A31])-1",
    ],
)  # fmt: skip
def test_a_formula_that_counts_is_known_however_it_is_written(formula: str) -> None:
    assert is_aggregate(formula)


@pytest.mark.parametrize(
    "formula",
    [
        "VLOOKUP(A2,B:C,2,0)", '"A"&COUNTA(B$2:B5)', "MAX(A$2:A5)+1", 'TEXT(ROWS(A$1:A5),"00000")', "ROW()-1",
        "INDEX(A2:A9,MATCH(1,B2:B9))", "CONCAT(A2:C2)", "A2+B2", "SUM(A2,B2)+1",
    ],
)  # fmt: skip
def test_a_formula_that_makes_an_id_does_not_count(formula: str) -> None:
    assert not is_aggregate(formula)


@pytest.mark.parametrize("formula", ["=SUBTOTAL(9,A2:A31)", "=COUNTA(A:A)-1", "=SUM(A2:A16,A17:A31)"])
def test_a_total_made_like_an_id_is_no_patient(command: Command, tmp_path: Path, formula: str) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(tmp_path / "patients.xlsx") as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, HEADERS)
        for row, cells in enumerate(patients(30), 1):
            sheet.write_number(row, 0, 40000 + row)
            sheet.write_row(row, 1, cells[1:])
        sheet.write_formula(31, 0, formula, None, 45678)

    command("check", tmp_path / "patients.xlsx")

    assert results.codes(tmp_path / "patients.check.xlsx") == {32: "not_a_patient"}


def test_an_opendocument_cell_that_counts_is_told() -> None:
    formula = 'office:value-type="float" office:value="2" table:formula="of:=SUBTOTAL(3;[.A2:.A3])"'
    rows = opendocument_row(opendocument_cell("MRN"), opendocument_cell("Name"))
    rows += "".join(opendocument_row(opendocument_cell(f"A100{n}"), opendocument_cell("Ann")) for n in range(2))
    rows += opendocument_row(opendocument_cell("2", formula), opendocument_cell(""))

    table = read_roster(RosterBytes("patients.ods", opendocument(rows)))

    assert [CellKind(kind) for kind in table.kinds[0]] == [CellKind.TEXT, CellKind.TEXT, CellKind.AGGREGATE]


@pytest.mark.parametrize("state", [1, 2])
def test_a_hidden_sheet_of_an_old_workbook_is_said(state: int) -> None:
    content = xls_workbook([["MRN", "Name"], ["A1001", "Ann"], ["A1002", "Bob"]], ["General"], state=state)

    assert read_roster(RosterBytes("patients.xls", content)).hidden_sheet


# --- records of two lines -------------------------------------------------------------------------------------

SECOND_LINES: dict[str, Callable[[int], list[str]]] = {
    "a full address": lambda n: [str(900000 + n), "12 Main St", "Boston", "02101", ""],
    "an account": lambda n: [f"AC{5000 + n}", "", "", "617", ""],
    "an account made like an ID": lambda n: [f"000{90000 + n}", "", "Aetna", "", ""],
    "another ID": lambda n: [f"617555{1000 + n}", "Contact: Mary", "", "", ""],
}


@pytest.mark.parametrize("second", SECOND_LINES)
def test_the_second_line_of_a_record_is_not_sent(command: Command, tmp_path: Path, second: str) -> None:
    rows = [row for n, patient in enumerate(patients(8)) for row in (patient, SECOND_LINES[second](n))]

    command("check", as_csv(tmp_path, [HEADERS, *rows]))

    assert results.codes(tmp_path / "patients.check.xlsx") == dict.fromkeys(range(3, 18, 2), "odd_shape")


def test_patients_of_whom_little_is_known_are_no_second_lines(command: Command, tmp_path: Path) -> None:
    rows = patients(20)
    for sparse in (3, 4, 9, 15, 16, 17):
        rows[sparse][2:] = ["", "", ""]

    command("check", as_csv(tmp_path, [HEADERS, *rows]))

    assert results.codes(tmp_path / "patients.check.xlsx") == {}


# --- other tables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "below",
    [
        [["NPI", "Provider", "Clinic", "Phone"], ["00070001", "House", "North", "5551"], ["00070002", "Wolf", "South", "5"]],
        [[""], ["Account", "Balance", "Aging"], ["00090001", "12.50", "30"], ["00090002", "15.50", "60"]],
        [["Vorgang"], ["Konto", "Saldo", "Alter"], ["00090001", "12.50", "30"], ["00090002", "15.50", "60"]],
    ],
    ids=["no gap", "a gap", "a title"],
)  # fmt: skip
@pytest.mark.parametrize("save", [as_workbook, as_csv])
def test_numbers_made_like_ids_below_other_headers_are_held_back(
    command: Command, tmp_path: Path, below: list[list[str]], save: Callable[[Path, Rows], Path]
) -> None:
    rows = [row + [""] * (5 - len(row)) for row in below]

    roster = save(tmp_path, [HEADERS, *patients(30), *rows])
    command("check", roster)
    found = results.errors(tmp_path / "patients.check.xlsx")

    assert {"00070001", "00070002"} <= {row["MRN"] for row in found} or {"00090001", "00090002"} <= {
        row["MRN"] for row in found
    }
    assert {row["error_code"] for row in found if row["MRN"].isdigit()} == {"other_table"}


@pytest.mark.usefixtures("healthex")
def test_a_row_of_another_table_stays_refused_in_a_report_handed_in_again(command: Command, tmp_path: Path) -> None:
    below = [["NPI", "Provider", "Clinic", "Phone", ""], ["00070001", "House", "North", "5551", ""]]
    roster = as_workbook(tmp_path, [HEADERS, *patients(30), *below])

    command("run", roster)
    again = command("run", tmp_path / "patients.errors.xlsx")

    assert again.code == 3
    assert results.codes(tmp_path / "patients.errors.errors.xlsx") == {32: "other_table", 33: "other_table"}


# --- sentences that name the cause ----------------------------------------------------------------------------


def test_rows_of_another_width_are_said_before_a_question_about_columns(command: Command, tmp_path: Path) -> None:
    lines = [f"{12000 + n},{77000 + n},Kim{', Jr.' if n % 3 == 0 else ''},Ann" for n in range(12)]
    roster = tmp_path / "patients.csv"
    roster.write_text("\n".join(["Patient ID,MRN,Last Name,First Name", *lines]) + "\n", encoding="utf-8")
    (tmp_path / "short.csv").write_text(
        "Patient ID,MRN,Last Name,First Name\n" + "\n".join([*lines[1:3], "12100,77100"]) + "\n", encoding="utf-8"
    )

    asked, of_short = command("check", roster), command("check", tmp_path / "short.csv")

    assert (asked.code, of_short.code) == (2, 2)
    assert "4 of 12 rows have more or fewer fields than the header (4). Each has one field more" in asked.err
    assert asked.err.index("4 of 12 rows") < asked.err.index("which column holds the patient ID")
    assert "1 row has more or fewer fields than the header (4). Most likely blank fields" in of_short.err


@pytest.mark.parametrize(
    "form",
    ["{} Main Street", "{} N. Elm St, Apt 4", "PO Box {}", "Hauptstraße {}", "{} rue de la Paix", "Calle Mayor {}"],
)
def test_street_addresses_are_no_ids_even_under_a_named_header(command: Command, tmp_path: Path, form: str) -> None:
    roster = as_csv(tmp_path, [["Key", "Last Name"], *([form.format(n + 1), "Kim"] for n in range(10))])

    ended = command("check", roster, "--id-column", "Key")

    assert ended.code == 2
    assert "holds street addresses, not patient IDs" in ended.err


def test_a_contact_preference_that_says_no_is_a_question(command: Command, tmp_path: Path) -> None:
    rows = [[*row, "Do not contact" if n == 3 else "Phone"] for n, row in enumerate(patients(8))]

    ended = command("check", as_csv(tmp_path, [[*HEADERS, "Contact Preference"], *rows]))

    assert "says in 1 row that the patient is not to be contacted" in ended.err


# --- as an office abroad, or over two months, keeps its list --------------------------------------------------


@pytest.mark.usefixtures("healthex")
def test_a_german_list_is_read_with_its_umlauts_and_zeros(command: Command, tmp_path: Path) -> None:
    header = "Patientennummer;Nachname;Vorname;Geburtsdatum;Straße;PLZ"
    rows = [f"00200{n};Müller;Jürgen;{n}.01.1950;Hauptstraße {n};01067" for n in range(10, 24)]
    (tmp_path / "patients.csv").write_bytes("\r\n".join([header, *rows, ""]).encode("cp1252"))

    ended = command("run", tmp_path / "patients.csv")
    linked = results.links(tmp_path / "patients.links.xlsx")

    assert ended.code == 0
    assert [(row["Patientennummer"], row["Vorname"], row["PLZ"]) for row in linked] == [
        (f"00200{n}", "Jürgen", "01067") for n in range(10, 24)
    ]
    assert results.summary(tmp_path / "patients.summary.json")["warnings"] == {"encoding_guessed": 1}


def test_a_sheet_for_each_month_is_a_question_that_names_both(command: Command, tmp_path: Path) -> None:
    sheets = {month: [HEADERS, *patients(5)] for month in ("October", "November")} | {"Notes": [["call Dana"]]}
    path = workbook(tmp_path / "patients.xlsx", sheets)

    asked = command("check", path)
    answered = command("check", path, "--sheet", "November")

    assert asked.code == 2
    assert "October" in asked.err and "November" in asked.err and "Notes" not in asked.err
    assert answered.code == 0
