"""An error report that is handed in again as it is sends nobody: what was refused stays refused until it is fixed."""

import datetime
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
            row[4].value = "00002001"
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
