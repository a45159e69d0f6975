"""Corrections belong to their list: the whole of it is screened anew, and one links workbook holds everybody."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import openpyxl
import pytest
import results
from conftest import Ended

from batchlinks.simulator import RunningSimulator

HEADERS = ["MRN", "First Name", "Birth Date", "Phone"]


def write_list(path: Path, rows: Sequence[Sequence[object]], sheet: str = "List") -> Path:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.title = sheet
    for row in (HEADERS, *rows):
        book.active.append(list(row))
    book.save(path)
    return path


def fix(report: Path, changes: Mapping[tuple[int, str], object], to: str = "fixed.xlsx") -> Path:
    """The report with these cells typed over, by row of the list and header."""
    book = openpyxl.load_workbook(report)
    sheet = book["Errors"]
    columns = {str(cell.value): int(cell.column or 0) for cell in sheet[1]}
    for row in range(2, sheet.max_row + 1):
        for (number, header), value in changes.items():
            if sheet.cell(row, columns["error_row"]).value == str(number):
                sheet.cell(row, columns[header]).value = value  # type: ignore[assignment]
    path = report.with_name(to)
    book.save(path)
    return path


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Twenty-five patients with eight digits, one whose ID lost its zeros, one without, two who share one."""
    rows: list[list[object]] = [[f"0010{n:04}", f"Name{n}", f"1960-01-{n + 1:02}", "617-555-0101"] for n in range(25)]
    rows += [[2001, "Short", "1970-02-03", ""], ["", "Blank", "1970-02-04", ""]]
    rows += [["00990001", "Ann", "1950-01-01", ""], ["00990001", "Bob", "1951-01-01", ""]]
    return write_list(tmp_path / "patients.xlsx", rows)


def test_two_rounds_of_corrections_end_in_one_workbook_with_everybody_and_their_record(
    command: Callable[..., Ended], healthex: RunningSimulator, patients: Path
) -> None:
    first = command("run", patients)
    assert first.code == 3
    report = patients.with_suffix(".errors.xlsx")
    assert set(results.codes(report)) == {27, 28, 29, 30}
    fixed = fix(report, {(27, "MRN"): "00002001", (30, "MRN"): "990002", (30, "Phone"): "617-555-0199"})

    second = command("run", patients, "--corrections", fixed)

    assert second.code == 3, second.err
    assert "3 cells in 2 rows corrected" in second.err
    links = results.links(patients.with_suffix(".links.xlsx"))
    assert len(links) == 27
    assert links[25]["MRN"] == "00002001"
    assert results.codes(report) == {28: "blank_id", 30: "lost_zeros"}  # judged by the whole list
    record = results.sheet(report, "Corrections")
    assert [(row["row"], row["column"], row["was"], row["is"]) for row in record] == [
        ("27", "MRN", "2001", "00002001"),
        ("30", "MRN", "00990001", "990002"),
        ("30", "Phone", "", "617-555-0199"),
    ]
    assert all(row["by"] for row in record)

    again = fix(report, {(28, "MRN"): "00002002", (30, "MRN"): "00990002"}, "fixed again.xlsx")
    third = command("run", patients, "--corrections", again)

    assert third.code == 0, third.err
    links = results.links(patients.with_suffix(".links.xlsx"))
    assert len(links) == 29
    assert {row["First Name"]: row["MRN"] for row in links}["Bob"] == "00990002"
    assert {row["First Name"]: row["Phone"] for row in links}["Bob"] == "617-555-0199"
    assert len(results.sheet(report, "Corrections")) == 5
    assert healthex.link_calls == 29


def test_corrections_of_another_list_or_without_their_record_are_refused(
    command: Callable[..., Ended], healthex: RunningSimulator, patients: Path, tmp_path: Path
) -> None:
    command("check", patients)
    report = patients.with_name("patients.check.xlsx")
    fixed = fix(report, {(27, "MRN"): "00002001"})
    other = write_list(tmp_path / "other.xlsx", [["00100001", "Ann", "1950-01-01", ""]])
    command("check", patients, "--corrections", fixed)
    book = openpyxl.load_workbook(report)
    del book["Corrections"]
    book.save(tmp_path / "stripped.xlsx")
    conflicting = openpyxl.load_workbook(fixed)
    sheet = conflicting["Errors"]
    twice = [cell.value for cell in next(row for row in sheet.iter_rows(min_row=2) if row[0].value == "27")]
    sheet.append([*twice[:6], "00007777", *twice[7:]])
    conflicting.save(tmp_path / "twice.xlsx")

    for roster, corrections, why in (
        (other, fixed, "belong to other.xlsx"),
        (patients, patients, "not an error report"),
        (patients, tmp_path / "stripped.xlsx", "missing"),
        (patients, tmp_path / "twice.xlsx", "more than once"),
    ):
        ended = command("run", roster, "--corrections", corrections)
        assert ended.code == 2, ended.err
        assert why in ended.err
    assert healthex.link_calls == 0


def test_a_report_handed_in_alone_says_that_the_list_with_it_is_better(
    command: Callable[..., Ended], patients: Path
) -> None:
    command("check", patients)

    ended = command("check", fix(patients.with_name("patients.check.xlsx"), {(27, "MRN"): "00002001"}))

    assert ended.code == 3
    assert "--corrections" in ended.err


@pytest.mark.usefixtures("healthex")
def test_a_csv_list_is_corrected_through_csv_reports_its_ragged_rows_and_added_rows_too(
    command: Callable[..., Ended], tmp_path: Path
) -> None:
    roster = tmp_path / "patients.csv"
    roster.write_text("MRN,Name,City\n00417,Ann,Boston\n00418,Lee, Bob,Salem\n,Cy,=1+1\n", encoding="utf-8")
    first = command("run", roster, "--format", "csv", "--id-column", "MRN")
    assert first.code == 3, first.err
    report = roster.with_suffix(".errors.csv")
    rows = results.csv_rows(report)
    for row in rows:
        if row["error_code"] == "wrong_field_count":
            row |= {"MRN": "00418", "Name": "Lee, Bob", "City": "Salem"}
            row |= {name: "" for name in row if name.startswith("error_field")}
        else:
            row["MRN"] = "00419"
    rows.append(dict.fromkeys(rows[0], "") | {"MRN": "00420", "Name": "New"})
    fixed = tmp_path / "fixed.csv"
    lines = [
        ",".join(rows[0]),
        *(",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row.values()) for row in rows),
    ]
    fixed.write_text("\n".join(lines), encoding="utf-8")

    ended = command("run", roster, "--corrections", fixed, "--format", "csv", "--id-column", "MRN")

    assert ended.code == 0, ended.err
    links = results.csv_rows(roster.with_suffix(".links.csv"))
    assert [(row["MRN"], row["Name"], row["City"]) for row in links] == [
        ("00417", "Ann", "Boston"),
        ("00418", "Lee, Bob", "Salem"),
        ("00419", "Cy", "'=1+1"),
        ("00420", "New", ""),
    ]
    record = results.csv_rows(roster.with_suffix(".corrections.csv"))
    assert {(row["row"], row["column"]) for row in record} == {
        ("3", "MRN"), ("3", "Name"), ("3", "City"), ("4", "MRN"), ("5", "MRN"), ("5", "Name"),
    }  # fmt: skip
    assert "corrections.csv" in " ".join(json.loads(roster.with_suffix(".summary.json").read_text())["outputs"])


@pytest.mark.usefixtures("healthex")
def test_a_typed_id_that_already_has_a_link_is_warned_of(command: Callable[..., Ended], patients: Path) -> None:
    command("run", patients)
    report = patients.with_suffix(".errors.xlsx")
    book = openpyxl.load_workbook(patients)
    assert book.active is not None
    book.active.delete_rows(2)
    book.save(patients.with_name("next.xlsx"))
    command("check", patients.with_name("next.xlsx"))
    next_report = patients.with_name("next.check.xlsx")
    (row,) = [row for row, code in results.codes(next_report).items() if code == "blank_id"]
    fixed = fix(next_report, {(row, "MRN"): "00100000"})

    command("run", patients.with_name("next.xlsx"), "--corrections", fixed)

    assert results.codes(patients.with_name("next.errors.xlsx"))[row] == "known_as_other"  # and was Name0 before
    same = {(row, "MRN"): "00100000", (row, "First Name"): "Name0", (row, "Birth Date"): "1/1/1960"}
    ended = command("run", patients.with_name("next.xlsx"), "--corrections", fix(next_report, same, "same.xlsx"))
    assert "already has a link" in ended.err
    assert report.exists()
