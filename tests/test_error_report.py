"""An error report that is handed in again as it is sends nobody: what was refused stays refused until it is fixed."""

import datetime
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
import results
import xlsxwriter
from conftest import Ended

from batchlinks.simulator import RunningSimulator


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    """Thirty patients who are right, and one for each way in which a cell can be wrong."""
    path = tmp_path / "patients.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        shown = {
            code: book.add_format({"num_format": code}) for code in ("00000000", "#,##0", "0.00", "0.00E+00", "d-mmm")
        }
        sheet.write_row(0, 0, ["MRN", "First Name", "Birth Date"])
        for row in range(1, 31):
            sheet.write_number(row, 0, 10_000 + row, shown["00000000"])
        sheet.write_number(31, 0, 3000, shown["#,##0"])
        sheet.write_number(32, 0, 123456, shown["0.00"])
        sheet.write_number(33, 0, 123456, shown["0.00E+00"])
        sheet.write_number(34, 0, 12345678901234567)
        sheet.write_datetime(35, 0, datetime.datetime(2026, 1, 5), shown["d-mmm"])
        sheet.write_boolean(36, 0, True)
        sheet.write_string(37, 0, "2001")
        for row in range(1, 38):
            sheet.write_string(row, 1, f"Name{row}")
    return path


def test_numbers_refused_for_their_format_are_refused_again(command: Callable[..., Ended], workbook: Path) -> None:
    command("check", workbook)
    report = workbook.with_name("patients.check.xlsx")
    first = results.codes(report)

    again = command("check", report)

    assert again.code == 3
    assert set(results.codes(report.with_name("patients.check.check.xlsx"))) == set(first) == set(range(32, 39))
    assert first[38] == "lost_zeros"


def test_a_short_id_that_was_typed_in_full_is_sent(
    command: Callable[..., Ended], healthex: RunningSimulator, workbook: Path
) -> None:
    command("check", workbook)
    report = workbook.with_name("patients.check.xlsx")
    book = openpyxl.load_workbook(report)
    for row in book["Errors"].iter_rows(min_row=2):
        if row[1].value == "lost_zeros":
            row[6].value = "00002001"
    fixed = report.with_name("fixed.xlsx")
    book.save(fixed)

    command("run", fixed)

    assert set(healthex.links) == {"00002001"}


def test_short_ids_that_are_right_are_sent_when_the_one_who_knows_says_so(
    command: Callable[..., Ended], healthex: RunningSimulator, workbook: Path
) -> None:
    command("check", workbook)

    command("run", workbook.with_name("patients.check.xlsx"), "--any-length")

    assert set(healthex.links) == {"2001"}


def test_a_patient_on_the_exclude_list_stays_excluded_without_the_list(
    command: Callable[..., Ended], healthex: RunningSimulator, tmp_path: Path
) -> None:
    (tmp_path / "patients.csv").write_text("MRN,Name\n00417,Ann\n00418,Bob\n", encoding="utf-8")
    (tmp_path / "out.txt").write_text("00418\n", encoding="utf-8")
    command("check", tmp_path / "patients.csv", "--exclude", tmp_path / "out.txt")

    ended = command("run", tmp_path / "patients.check.xlsx")

    assert ended.code == 3
    assert healthex.link_calls == 0
    assert results.codes(tmp_path / "patients.check.errors.xlsx") == {3: "excluded"}


def test_fields_of_a_ragged_row_stand_apart_and_none_is_taken_for_an_id(
    command: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "patients.csv").write_text("Name,MRN\nAnn Lee,00417\nRay, Bob,00418\n", encoding="utf-8")
    command("check", tmp_path / "patients.csv")

    (row,) = results.errors(tmp_path / "patients.check.xlsx")
    again = command("check", tmp_path / "patients.check.xlsx", "--id-column", "MRN")

    assert (row["error_code"], row["Name"], row["MRN"]) == ("wrong_field_count", "", "")
    assert [row[f"error_field_{number}"] for number in (1, 2, 3)] == ["Ray", " Bob", "00418"]
    assert again.code == 3
    assert results.codes(tmp_path / "patients.check.check.xlsx") == {3: "wrong_field_count"}
    (row,) = results.errors(tmp_path / "patients.check.check.xlsx")
    assert [row[f"error_field_{number}"] for number in (1, 2, 3)] == ["Ray", " Bob", "00418"]


def test_the_sentence_is_wrapped_and_its_row_high_enough(command: Callable[..., Ended], workbook: Path) -> None:
    command("check", workbook)

    sheet = openpyxl.load_workbook(workbook.with_name("patients.check.xlsx"))["Errors"]
    message = sheet.cell(row=2, column=4)

    assert message.alignment.wrap_text
    assert (sheet.row_dimensions[2].height or 0) >= 15 * len(str(message.value)) // sheet.column_dimensions["D"].width


@pytest.mark.usefixtures("healthex")
def test_rows_of_one_cause_stand_together_in_the_order_of_the_list(
    command: Callable[..., Ended], workbook: Path
) -> None:
    ids = ["N/A", "1001", "2024-05-06", "unknown", "", "1e5 ", "2023-01-02", "#REF!x", "n/a", "1002", "1003"]
    with xlsxwriter.Workbook(workbook) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ("MRN", "Name"))
        for place, each in enumerate(ids):
            sheet.write_row(place + 1, 0, (each, f"Pat {place}"))

    command("run", workbook, "--id-column", "MRN")

    rows = results.errors(workbook.with_suffix(".errors.xlsx"))
    assert len({row["error_code"] for row in rows}) > 2
    assert rows == sorted(rows, key=lambda row: (row["error_action"], row["error_code"], int(row["error_row"])))
    for row in rows:
        number = int(row["error_row"]) - 2
        assert (row["Name"], row["MRN"].strip()) == (f"Pat {number}", ids[number].strip())


@pytest.mark.usefixtures("healthex")
def test_the_cells_to_look_at_are_coloured_and_no_other(command: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "patients.csv").write_text(
        "Site,MRN,First Name,DOB\nA,1001,Ann,1980-01-05\nB,1001,Ann,1990-02-03\nC,1002,Bob,\nD,1002,Cy,\nE,N/A,Di,\n"
        "F,10,03,Ed,1970-01-01\nG,1004,Flo,\nH,1005,Gus,\n",
        encoding="utf-8",
    )

    command("run", tmp_path / "patients.csv", "--limit", 1, "--id-column", "MRN")

    sheet = openpyxl.load_workbook(tmp_path / "patients.errors.xlsx")["Errors"]
    names = [str(cell.value) for cell in sheet[1]]
    coloured = {
        str(row[0].value): {name for name, cell in zip(names, row, strict=True) if cell.fill.fill_type == "solid"}
        for row in sheet.iter_rows(min_row=2)
    }
    assert coloured == {
        "2": {"MRN", "DOB"},
        "3": {"MRN", "DOB"},
        "4": {"MRN", "First Name"},
        "5": {"MRN", "First Name"},
        "6": {"MRN"},
        "7": {f"error_field_{number}" for number in range(1, 6)},
        "9": set(),  # not_attempted: nothing is wrong with it
    }
    assert sheet.auto_filter.ref == sheet.dimensions
    assert sheet.cell(1, 2).value == "error_code"  # what it is sorted and filtered by


# --- handed in again --------------------------------------------------------------------------------------------------

ROSTER = ["MRN,First Name,DOB", *(f"{10_000_000 + row},Ann{row},1980-01-05" for row in range(30))]


@pytest.fixture
def fix(tmp_path: Path) -> Callable[..., Path]:
    """Types IDs into the error report of `patients.csv`, by the row of the list, and saves it under another name."""

    def type_in(ids: dict[int, str], report: str = "patients.errors.xlsx") -> Path:
        book = openpyxl.load_workbook(tmp_path / report)
        sheet = book["Errors"]
        headers = [str(cell.value) for cell in sheet[1]]
        for row in sheet.iter_rows(min_row=2):
            if (number := int(str(row[headers.index("error_row")].value))) in ids:
                row[headers.index("MRN")].value = ids[number]
        book.save(tmp_path / "fixed.xlsx")
        return tmp_path / "fixed.xlsx"

    return type_in


def roster(folder: Path, *rows: str) -> Path:
    (folder / "patients.csv").write_text("\n".join([*ROSTER, *rows]) + "\n", encoding="utf-8")
    return folder / "patients.csv"


def test_the_report_has_the_columns_that_the_contract_names(command: Callable[..., Ended], tmp_path: Path) -> None:
    command("check", roster(tmp_path, "414402,Bob,1990-01-01", "N/A,Cy,1991-01-01"))

    rows = results.errors(tmp_path / "patients.check.xlsx")

    assert list(rows[0]) == [
        "error_row", "error_code", "error_action", "error_message", "error_cells", "screened_as", "MRN", "First Name", "DOB",
    ]  # fmt: skip
    assert [(row["error_code"], row["error_action"], row["error_cells"]) for row in rows] == [
        ("lost_zeros", "fix the row", "MRN"),
        ("placeholder_id", "fix the row", "MRN"),
    ]
    told = json.loads(rows[0]["screened_as"])
    assert (told["usual_length"], told["shapes"]) == (8, ["99999999"])
    assert told["list_sha256"] == hashlib.sha256((tmp_path / "patients.csv").read_bytes()).hexdigest()


def test_a_workbook_names_its_cells_as_a_spreadsheet_shows_them(command: Callable[..., Ended], tmp_path: Path) -> None:
    with xlsxwriter.Workbook(tmp_path / "patients.xlsx") as book:
        sheet = book.add_worksheet()
        sheet.write_row(2, 1, ["Clinic", "MRN", "First Name", "DOB"])
        sheet.write_row(3, 1, ["North", "N/A", "Ann", "1980-01-05"])
        sheet.write_row(4, 1, ["North", "1001", "Bob", "1980-01-05"])
        sheet.write_row(5, 1, ["North", "1001", "Bob", "1990-01-05"])

    command("check", tmp_path / "patients.xlsx")

    rows = results.errors(tmp_path / "patients.check.xlsx")
    assert [(row["error_row"], row["error_cells"]) for row in rows] == [("5", "C5, E5"), ("6", "C6, E6"), ("4", "C4")]


def test_a_report_that_nobody_has_touched_keeps_every_code(
    command: Callable[..., Ended], healthex: RunningSimulator, tmp_path: Path
) -> None:
    (tmp_path / "out.txt").write_text("10000003\n", encoding="utf-8")
    rows = [
        "414402,Bob,1990-01-01", "TRAILER2,,", "MRN,First Name,DOB", "10000007,Zoe,1999-09-09", "N/A,Cy,1991-01-01",
        "ab-1,Di,1992-01-01", "AB-1,Ed,1993-01-01",
    ]  # fmt: skip
    command("check", roster(tmp_path, *rows), "--exclude", tmp_path / "out.txt")
    first = results.codes(tmp_path / "patients.check.xlsx")

    command("run", tmp_path / "patients.check.xlsx")
    command("run", tmp_path / "patients.check.errors.xlsx")

    assert healthex.link_calls == 0
    assert results.codes(tmp_path / "patients.check.errors.xlsx") == first
    assert results.codes(tmp_path / "patients.check.errors.errors.xlsx") == first
    assert {"excluded", "lost_zeros", "conflicting_id", "not_a_patient"} <= set(first.values())


@pytest.mark.parametrize(
    ("typed", "code"),
    [("0414402", "lost_zeros"), ("41234", "lost_zeros"), ("414402", "lost_zeros"), ("00414402", None)],
)
def test_a_half_fixed_id_is_refused_as_it_would_be_in_the_list(
    command: Callable[..., Ended],
    healthex: RunningSimulator,
    fix: Callable[..., Path],
    tmp_path: Path,
    typed: str,
    code: str,
) -> None:
    command("run", roster(tmp_path, "414402,Bob,1990-01-01", "N/A,Cy,1991-01-01"))

    command("run", fix({32: typed, 33: "00417640"}))

    left = results.codes(tmp_path / "fixed.errors.xlsx")
    assert left == ({32: code} if code else {})
    assert ("00414402" in healthex.links) == (code is None)


def test_whoever_is_given_an_id_that_has_a_link_is_named(
    command: Callable[..., Ended], healthex: RunningSimulator, fix: Callable[..., Path], tmp_path: Path
) -> None:
    command("run", roster(tmp_path, "N/A,Ann0,1980-01-05", "unknown,Ida,1991-01-01", "N/A,A.,"))

    ended = command("run", fix({32: "10000000", 33: "10000099", 34: "10000000"}))

    assert "2 corrected rows have an ID that already has a link" in ended.err
    assert ": row 32 and 34." in ended.err
    assert results.summary(tmp_path / "fixed.summary.json")["warnings"] == {"had_a_link": 2}
    assert healthex.links["10000099"]


def test_one_of_two_people_with_one_id_can_be_given_the_right_one(
    command: Callable[..., Ended], healthex: RunningSimulator, fix: Callable[..., Path], tmp_path: Path
) -> None:
    command("run", roster(tmp_path, "20000001,Bob,1990-01-01", "20000001,Cy,1991-01-01"))

    command("run", fix({33: "20000002"}))

    assert {"20000001", "20000002"} <= set(healthex.links)


def test_whoever_is_left_of_two_people_with_one_id_stays_in_doubt(
    command: Callable[..., Ended], healthex: RunningSimulator, tmp_path: Path
) -> None:
    command("run", roster(tmp_path, "20000001,Bob,1990-01-01", "20000001,Cy,1991-01-01"))
    book = openpyxl.load_workbook(tmp_path / "patients.errors.xlsx")
    book["Errors"].delete_rows(3)
    book.save(tmp_path / "fixed.xlsx")

    command("run", tmp_path / "fixed.xlsx")

    assert results.codes(tmp_path / "fixed.errors.xlsx") == {32: "conflicting_id"}
    assert "20000001" not in healthex.links


OLD = "error_row,error_code,error_action,error_message,MRN,First Name"
LOST = "The patient ID has 6 digits, almost all others have 8: it has probably lost its leading zeros. Type it in full as text."


def test_a_report_of_an_older_version_is_not_believed_where_it_cannot_tell(
    command: Callable[..., Ended], healthex: RunningSimulator, tmp_path: Path
) -> None:
    rows = [
        f'11,lost_zeros,fix the row,"{LOST}",0414402,Finn', f'34,lost_zeros,fix the row,"{LOST}",00417640,Xenia',
        "17,placeholder_id,fix the row,The patient ID is a placeholder.,41234,Lena",
        "18,placeholder_id,fix the row,The patient ID is a placeholder.,00418000,Mia",
        "5,excluded,fix the row,This patient is on your list.,00410001,Ann", "61,not_a_patient,fix the row,It looks so.,45,",
    ]  # fmt: skip
    (tmp_path / "old.csv").write_text("\n".join([OLD, *rows]) + "\n", encoding="utf-8")

    ended = command("run", tmp_path / "old.csv")

    assert results.codes(tmp_path / "old.errors.xlsx") == {
        11: "lost_zeros", 17: "lost_zeros", 5: "excluded", 61: "not_a_patient",
    }  # fmt: skip
    assert set(healthex.links) == {"00417640", "00418000"}
    assert "3 rows of this error report stay refused, because it doesn't tell what was changed in them" in ended.err


@pytest.mark.parametrize(
    "told", ["", "{", "[]", '{"usual_length":"8","shapes":7,"id":5,"gaps":[],"of":"x"}', "null", "[" * 9_999]
)
def test_what_somebody_made_of_the_column_for_programs_breaks_nothing(
    command: Callable[..., Ended], healthex: RunningSimulator, tmp_path: Path, told: str
) -> None:
    command("check", roster(tmp_path, "414402,Bob,1990-01-01", "20000001,Bob,1990-01-01", "20000001,Cy,1991-01-01"))
    book = openpyxl.load_workbook(tmp_path / "patients.check.xlsx")
    for row in book["Errors"].iter_rows(min_row=2):
        row[5].value = told
    book.save(tmp_path / "fixed.xlsx")

    command("run", tmp_path / "fixed.xlsx")

    assert results.codes(tmp_path / "fixed.errors.xlsx") == {
        32: "lost_zeros",
        33: "conflicting_id",
        34: "conflicting_id",
    }
    assert healthex.link_calls == 0


@pytest.mark.parametrize("how", ["emptied", "edited", "moved", "all gone", "codes emptied"])
def test_no_refusal_is_lifted_by_what_somebody_does_to_the_columns_for_programs(
    command: Callable[..., Ended], tmp_path: Path, how: str
) -> None:
    """`moved`: as by somebody who sorts the columns that are shown, and not the hidden one."""
    (tmp_path / "out.txt").write_text("10000003\n", encoding="utf-8")
    rows = [
        "414402,Bob,1990-01-01", "TRAILER2,,", "20000001,Cy,1991-01-01", "20000001,Di,1992-01-01", "ab-1,Ed,1993-01-01",
        "AB-1,Flo,1994-01-01",
    ]  # fmt: skip
    command("check", roster(tmp_path, *rows), "--exclude", tmp_path / "out.txt")
    before = results.codes(tmp_path / "patients.check.xlsx")
    book = openpyxl.load_workbook(tmp_path / "patients.check.xlsx")
    sheet = book["Errors"]
    sheet.delete_rows([str(cell.value) for cell in sheet["A"]].index("35") + 1)  # whoever shares an ID with row 34
    sheet.delete_rows([str(cell.value) for cell in sheet["A"]].index("37") + 1)
    told = [str(cell.value) for cell in sheet["F"][1:]]
    for at, (code, cell) in enumerate(zip(sheet["B"][1:], sheet["F"][1:], strict=True)):
        match how:
            case "emptied":
                cell.value = None
            case "edited":
                cell.value = told[at].replace('"id":"', '"id":"0').replace('"usual_length":8', '"usual_length":6')
            case "moved":
                cell.value = told[at - 1]
            case "codes emptied":
                code.value = None
    if how == "all gone":
        sheet.delete_cols(6)
    book.save(tmp_path / "fixed.xlsx")

    command("check", tmp_path / "fixed.xlsx")

    after = results.codes(tmp_path / "fixed.check.xlsx")
    if how == "all gone":  # as in a report of version 0.2, which never had it
        assert {32: "lost_zeros", 5: "excluded"}.items() <= after.items()
    else:
        assert after == {row: code for row, code in before.items() if row not in (35, 37)}
    assert len(before) == 7


def test_nobody_is_sent_again_for_zeros_that_excel_has_taken(command: Callable[..., Ended], tmp_path: Path) -> None:
    """Who is left out on purpose, and whose cell was only written otherwise."""
    (tmp_path / "patients.csv").write_text("MRN,First Name\n00418-1,Ann\n00419,Bob\n", encoding="utf-8")
    (tmp_path / "out.txt").write_text("00418-1\n00419\n", encoding="utf-8")
    command("check", tmp_path / "patients.csv", "--exclude", tmp_path / "out.txt")
    book = openpyxl.load_workbook(tmp_path / "patients.check.xlsx")
    for row, typed in ((2, "4181"), (3, 419)):
        book["Errors"].cell(row, 7).value = typed
    book.save(tmp_path / "fixed.xlsx")

    command("check", tmp_path / "fixed.xlsx")

    assert results.codes(tmp_path / "fixed.check.xlsx") == {2: "excluded", 3: "excluded"}


@pytest.mark.needs("soffice")
@pytest.mark.parametrize("form", ["ods", "xlsx", "csv"])
def test_a_report_that_went_through_libreoffice_is_judged_as_before(
    command: Callable[..., Ended], healthex: RunningSimulator, fix: Callable[..., Path], tmp_path: Path, form: str
) -> None:
    command("run", roster(tmp_path, "414402,Bob,1990-01-01", "N/A,Cy,1991-01-01", "TRAILER2,,"))
    fix({32: "0414402", 33: "00417640"})

    subprocess.run(
        ["soffice", f"-env:UserInstallation=file://{tmp_path}/office", "--headless", "--convert-to", form, "--outdir",
         tmp_path / form, tmp_path / "fixed.xlsx"],
        check=True, capture_output=True, timeout=100,
    )  # fmt: skip
    command("run", tmp_path / form / f"fixed.{form}")

    left = results.codes(tmp_path / form / "fixed.errors.xlsx")
    assert (left[32], left.get(34)) == ("lost_zeros", "not_a_patient")
    assert "00417640" in healthex.links


def test_rows_that_are_left_out_on_purpose_are_not_to_be_fixed(command: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("10000003\n10000004\n", encoding="utf-8")

    ended = command("check", roster(tmp_path, "Total patients: 30,,"), "--exclude", tmp_path / "out.txt")

    assert ended.code == 3
    assert "Checked: 28 of 30 patients can be sent (0 duplicates, 0 to fix, 3 left out on purpose)." in ended.last_line
    rows = results.errors(tmp_path / "patients.check.xlsx")
    assert {row["error_action"] for row in rows} == {"nothing to do"}
    assert {row["error_cells"] for row in rows} == {""}
