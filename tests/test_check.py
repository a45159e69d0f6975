"""`batchlinks check`: every reason to hold a row back, with its row as a spreadsheet shows it and what to do about it."""

import json
import os
import stat
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import openpyxl
import pytest
import results
from conftest import PROJECT, Ended
from rosters import raw_workbook, text_cell, workbook

from batchlinks.config.paths import find_ledger
from batchlinks.row_codes import ErrorCode
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]

CODES = {code.value: code for code in ErrorCode}
DECIDED_ELSEWHERE = {
    ErrorCode.KNOWN_AS_OTHER,  # the ledger decides: test_whose_id.py
    ErrorCode.HAS_CONSENTED,  # HealthEx is asked: test_status.py
    ErrorCode.REJECTED_BY_HEALTHEX,
    ErrorCode.BAD_ANSWER,
    ErrorCode.LINK_MISMATCH,
    ErrorCode.GAVE_UP,
    ErrorCode.NOT_ATTEMPTED,
}


def csv_roster(folder: Path, *rows: str, header: str = "MRN,First Name,DOB", name: str = "patients.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def checked(roster: Path) -> Path:
    return roster.with_name(f"{roster.stem}.check.xlsx")


def summary(roster: Path) -> dict[str, object]:
    return results.summary(roster.with_name(f"{roster.stem}.check.json"))


def withdraw(command: Command, folder: Path, identifier: str) -> None:
    """As IT would."""
    listed = folder / "withdrawn.txt"
    listed.write_text(f"{identifier}\n", encoding="utf-8")
    assert command("ledger", "withdraw", "--ids", listed).code == 0


# --- every code, with row and sentence ------------------------------------------------------------------------


def test_each_cell_of_a_csv_that_is_no_id_is_named_by_row_code_and_sentence(command: Command, tmp_path: Path) -> None:
    (tmp_path / "excluded.txt").write_text("7001\n", encoding="utf-8")
    withdraw(command, tmp_path, "AB-7002")
    roster = csv_roster(
        tmp_path,
        "AB-1001,Ann,1980-01-05",  # row 2
        "",
        "AB-1002,Lee, Bob,1980-01-05",  # 4: one field too many
        "AB-1003,Bob",  # 5: one too few
        ",Ann,1980-01-05",
        "MRN,First Name,DOB",
        "#N/A,Ann,1980-01-05",
        "5-Jan,Ann,1980-01-05",
        "TRUE,Ann,1980-01-05",
        "12345.0,Ann,1980-01-05",
        "1.23457E+11,Ann,1980-01-05",
        '"unknown\n(asked)",Ann,1980-01-05',  # 13, a line break inside quotes
        "N/A,Ann,1980-01-05",
        "Ann,Ann,1980-01-05",
        "AB?1004,Ann,1980-01-05",
        f"{'AB1005' * 22},Ann,1980-01-05",
        "7001,Ann,1980-01-05",
        "ab-7002,Ann,1980-01-05",
        "AB-1006,Ann,1980-01-05",  # 20
        "AB-1006,Bob,1980-01-05",
        "AB-1007,Ann,1980-01-05",
        "ab-1007,Ann,1980-01-05",
        "AB-1001,ANN,1/5/1980",
        "Total: 22,,",
    )

    ended = command("check", roster, "--exclude", tmp_path / "excluded.txt", "--project-id", PROJECT)

    found = {int(row["error_row"]): row for row in results.errors(checked(roster))}
    assert ended.code == 3
    assert {row: line["error_code"] for row, line in found.items()} == {
        4: "wrong_field_count",
        5: "wrong_field_count",
        6: "blank_id",
        7: "not_a_patient",
        8: "formula_error",
        9: "date_in_id",
        10: "unreadable_format",
        11: "decimal_number",
        12: "scientific_notation",
        13: "no_digit",
        14: "placeholder_id",
        15: "no_digit",
        16: "unexpected_character",
        17: "too_long",
        18: "excluded",
        19: "withdrawn",
        20: "conflicting_id",
        21: "conflicting_id",
        22: "ambiguous_id",
        23: "ambiguous_id",
        25: "not_a_patient",
    }
    assert "4 fields, but the header has 3" in found[4]["error_message"]
    assert "Rows 20 and 21 have the same patient ID, but their first names differ" in found[20]["error_message"]
    assert "Rows 22 and 23 " in found[23]["error_message"]
    assert found[19]["error_action"] == "nothing to do"
    assert found[9]["error_action"] == "fix the row"
    for line in found.values():
        assert line["error_message"] == CODES[line["error_code"]].message(
            found=4 if line["error_row"] == "4" else 2,
            expected=3,
            rows="20 and 21" if line["error_row"] in ("20", "21") else "22 and 23",
            difference="first names",
        )
    assert [row["kept_row"] for row in results.duplicates(checked(roster))] == ["2"]


def test_each_cell_of_a_workbook_that_does_not_show_an_id_is_named(command: Command, tmp_path: Path) -> None:
    roster = workbook(
        tmp_path / "patients.xlsx",
        {
            "Patients": [
                ["Clinic North"],
                [],
                [None, "MRN", "Name"],
                [None, (123456, "00000000"), "shown with its zeros"],  # row 4
                [None, 654321.0, "a plain number"],
                [None, 123456789012345, "in full"],
                [None, (46000, "yyyy-mm-dd"), "a date"],  # 7
                [None, True, "TRUE"],
                [None, (123456, "#,##0"), "with a comma"],
                [None, 12345678901234567890, "too many digits"],
                [None, 123.5, "a fraction"],
                [None, (123456, "0.00E+00"), "scientific"],
            ]
        },
    )

    command("check", roster, "--id-column", "MRN")

    assert results.codes(checked(roster)) == {
        7: "date_in_id",
        8: "unreadable_format",
        9: "unreadable_format",
        10: "lost_digits",
        11: "decimal_number",
        12: "scientific_notation",
    }


def test_a_formula_that_failed_or_was_never_calculated_is_no_id(command: Command, tmp_path: Path) -> None:
    roster = tmp_path / "patients.xlsx"
    roster.write_bytes(
        raw_workbook(
            [
                f'<row r="1">{text_cell("A1", "MRN")}{text_cell("B1", "Name")}</row>',
                f'<row r="2">{text_cell("A2", "1001")}{text_cell("B2", "Ann")}</row>',
                f'<row r="3"><c r="A3"><f>B3</f></c>{text_cell("B3", "Bob")}</row>',
                f'<row r="4"><c r="A4" t="e"><f>NA()</f><v>#N/A</v></c>{text_cell("B4", "Cy")}</row>',
            ]
        )
    )

    command("check", roster, "--id-column", "MRN")

    assert results.codes(checked(roster)) == {3: "no_cached_value", 4: "formula_error"}


def test_lost_zeros_are_refused_and_given_back_on_demand(command: Command, tmp_path: Path) -> None:
    roster = csv_roster(tmp_path, *(f"00{number},Ann,1980-01-05" for number in range(1000, 1030)), "417,Bob,1990-02-03")

    command("check", roster)
    refused = results.errors(checked(roster))
    padded = command("check", roster, "--id-width", 6)
    codes_padded = results.codes(checked(roster))
    as_they_are = command("check", roster, "--any-length")

    assert [(row["error_row"], row["error_code"]) for row in refused] == [("32", "lost_zeros")]
    assert "has 3 digits, but almost all others have 6" in refused[0]["error_message"]
    assert "ask IT to add leading zeros up to 6 digits" in refused[0]["error_message"]
    assert (padded.code, codes_padded, as_they_are.code) == (0, {}, 0)


def test_a_pattern_says_what_an_id_of_this_organisation_is(command: Command, tmp_path: Path) -> None:
    roster = csv_roster(tmp_path, "ABCD,Ann,", "1001,Bob,", "none,Cy,")

    command("check", roster, "--id-column", "MRN", "--id-pattern", "[A-Z]{4}")

    assert results.codes(checked(roster)) == {3: "pattern_mismatch", 4: "placeholder_id"}


def test_what_is_unlike_the_list_or_of_another_table_is_left_to_somebody(command: Command, tmp_path: Path) -> None:
    rows = [f"00{number},Ann,1980-01-05" for number in range(1000, 1030)]
    roster = csv_roster(tmp_path, *rows, "001099 Smith,Bob,1990-02-03", "", "NPI,Provider,Phone", "70010,House,5551")

    command("check", roster)

    assert results.codes(checked(roster)) == {32: "odd_shape", 34: "other_table", 35: "other_table"}


def test_every_code_that_a_check_can_find_is_tested_here() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")

    missing = {code for code in ErrorCode if f'"{code.value}"' not in tested}
    assert missing == DECIDED_ELSEWHERE


# --- the exclude list -----------------------------------------------------------------------------------------


def plain_list(folder: Path) -> Path:
    path = folder / "opted_out.txt"
    path.write_text("00417\n\n 419 \n", encoding="utf-8")
    return path


def csv_with_header(folder: Path) -> Path:
    path = folder / "opted_out.csv"
    path.write_text("Name,Patient ID,Since\nAnn,00417,2026-01-01\nCy,419,2026-02-02\n", encoding="utf-8")
    return path


def one_column_with_header(folder: Path) -> Path:
    path = folder / "opted_out.csv"
    path.write_text("MRN\n00417\n419\n", encoding="utf-8")
    return path


def workbook_of_numbers(folder: Path) -> Path:
    return workbook(folder / "opted_out.xlsx", {"Deceased": [["MRN", "On"], [(417, "00000"), "May"], [419, "June"]]})


@pytest.mark.parametrize("make", [plain_list, csv_with_header, one_column_with_header, workbook_of_numbers])
def test_nobody_on_the_exclude_list_can_be_sent(command: Command, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    roster = csv_roster(tmp_path, "00417,Ann,", "00418,Bob,", "00419,Cy,")

    command("check", roster, "--id-column", "MRN", "--exclude", make(tmp_path))

    assert results.codes(checked(roster)) == {2: "excluded", 4: "excluded"}


@pytest.mark.parametrize("entry", ["5-Jan", "1.2E+11", "unknown", "12,5", "417.0"])
def test_an_exclude_list_with_an_entry_nobody_understands_stops_everything(
    command: Command, tmp_path: Path, entry: str
) -> None:
    roster = csv_roster(tmp_path, "00417,Ann,")
    listed = tmp_path / "opted_out.csv"
    listed.write_text(f'MRN,Name\n00418,Bob\n\n"{entry}",Cy\n', encoding="utf-8")

    ended = command("check", roster, "--id-column", "MRN", "--exclude", listed)

    assert ended.code == 2
    assert "opted_out.csv, row 4" in ended.err
    assert entry not in ended.err
    assert not checked(roster).exists()


def test_an_exclude_list_that_is_not_there_stops_everything(command: Command, tmp_path: Path) -> None:
    ended = command("check", csv_roster(tmp_path, "1,Ann,"), "--exclude", tmp_path / "gone.txt")

    assert (ended.code, "gone.txt" in ended.err) == (2, True)


def test_an_exclude_list_whose_ids_cannot_be_found_is_named(command: Command, tmp_path: Path) -> None:
    listed = csv_roster(tmp_path, "North,South", header="Clinic,City", name="opted_out.csv")

    ended = command("check", csv_roster(tmp_path, "1001,Ann,", "1002,Bob,"), "--exclude", listed)

    assert ended.code == 2
    assert "opted_out.csv: it is not certain which of its columns is the patient ID" in ended.err


# --- joined IDs -----------------------------------------------------------------------------------------------


def test_an_id_can_be_joined_from_two_columns(command: Command, healthex: RunningSimulator, tmp_path: Path) -> None:
    roster = csv_roster(
        tmp_path, "N,1001,Ann", "S,1001,Bob", ",1002,Cy", "N,,Di", "Site,Number,Name", header="Site,Number,Name"
    )

    command("run", roster, "--id-column", "Site+Number", "--id-join", "-")

    rows = results.links(tmp_path / "patients.links.xlsx")
    assert [row["Site+Number"] for row in rows] == ["N-1001", "S-1001"]
    assert [row["link"] for row in rows] == [healthex.links["N-1001"], healthex.links["S-1001"]]
    assert [row["Site"] for row in rows] == ["N", "S"]
    assert results.codes(tmp_path / "patients.errors.xlsx") == {4: "blank_id", 5: "blank_id", 6: "not_a_patient"}


# --- warnings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "header", "code", "said"),
    [
        (["1001,Ann,", "1002,Bob,", "1003,Cy,", "1004,Di,", "55,Ed,"], "MRN,First Name,DOB", "near_length", "row 6"),
        (["1001,Ann,Lee", "1001,Ann,Ray"], "MRN,First Name,Last Name", "other_last_name", "row 3"),
        (["1001,North,", "1001,South,"], "MRN,Clinic,Phone", "no_identity_columns", "row 3"),
    ],
)
def test_a_warning_is_counted_and_named_with_its_rows(
    command: Command, tmp_path: Path, rows: Sequence[str], header: str, code: str, said: str
) -> None:
    roster = csv_roster(tmp_path, *rows, header=header)

    ended = command("check", roster)

    assert ended.code == 0
    assert summary(roster)["warnings"] == {code: 1}
    assert [line for line in ended.err.splitlines() if line.startswith("Warning: ") and said in line]


def test_a_guessed_encoding_is_a_warning_without_rows(command: Command, tmp_path: Path) -> None:
    roster = tmp_path / "patients.csv"
    roster.write_bytes("MRN,Name\n1001,José\n".encode("cp1252"))

    ended = command("check", roster)

    assert summary(roster)["warnings"] == {"encoding_guessed": 1}
    assert "Windows-1252" in ended.err


def test_hidden_rows_are_read_and_named(command: Command, tmp_path: Path) -> None:
    roster = workbook(tmp_path / "patients.xlsx", {"P": [["MRN", "Name"], ["1001", "Ann"], ["1002", "Bob"]]})
    book = openpyxl.load_workbook(roster)
    book["P"].row_dimensions[3].hidden = True
    book.save(roster)

    ended = command("check", roster)

    assert summary(roster)["warnings"] == {"hidden_rows": 1}
    assert summary(roster)["sendable"] == 2
    assert "row 3" in ended.err


# --- what a check leaves behind -------------------------------------------------------------------------------


def test_a_check_touches_no_result_of_a_run_and_makes_no_call(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    roster = csv_roster(tmp_path, "1001,Ann,", "1002,Bob,", "N/A,Cy,")
    command("run", roster)
    calls = len(healthex.calls)
    before = {path: path.read_bytes() for path in tmp_path.glob("patients.*")}

    ended = command("check", roster)

    assert ended.code == 3
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in tmp_path.glob("patients.*")} - {path.name for path in before} == {
        "patients.check.xlsx",
        "patients.check.json",
    }
    assert len(healthex.calls) == calls


def test_a_check_needs_no_account_no_project_and_makes_no_ledger(command: Command, tmp_path: Path) -> None:
    ended = command("check", csv_roster(tmp_path, "1001,Ann,", "1002,Bob,"))

    assert (ended.code, ended.err.count("Warning")) == (0, 0)
    assert "2 of 2 patients can be sent" in ended.last_line
    assert "patients.check.xlsx" in ended.last_line
    assert not find_ledger(None, os.environ).exists()


def test_the_summary_of_a_check_has_the_same_keys_as_a_runs_with_sendable_for_linked(
    command: Command, tmp_path: Path
) -> None:
    roster = csv_roster(tmp_path, "1001,Ann,", "1001,Ann,", "N/A,Bob,")

    command("check", roster)

    found = summary(roster)
    assert set(found) - {"owner", "seal"} == set(
        "run_id version roster roster_sha256 project_id id_column started_at finished_at rows sendable written requested "
        "reused duplicates errors warnings calls retries exit_code outputs api ledger_id".split()
    )
    assert (found["rows"], found["sendable"], found["duplicates"], found["errors"]) == (3, 1, 1, {"placeholder_id": 1})
    assert (found["calls"], found["exit_code"], found["id_column"]) == (0, 3, "MRN")


def test_every_check_leaves_a_line_in_the_audit_log(command: Command, private_home: Path, tmp_path: Path) -> None:
    roster = csv_roster(tmp_path, "1001,Ann,")
    command("check", roster)
    command("check", roster)

    log = private_home / "data" / "audit.jsonl"
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [(line["command"], line["event"]) for line in lines] == [("check", "begun"), ("check", "ended")] * 2
    assert lines[1].keys() >= {"time", "user", "host", "version", "roster", "roster_sha256", "exit_code", "outputs"}
    assert lines[0]["time"][:4] >= str(date(2024, 1, 1).year)
    assert "1001" not in {str(value) for line in lines for value in line.values()}
    if os.name == "posix":
        assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_an_empty_table_is_no_error(command: Command, tmp_path: Path) -> None:
    roster = csv_roster(tmp_path)

    ended = command("check", roster)

    assert ended.code == 0
    assert "0 of 0 patients" in ended.last_line


def test_a_check_takes_every_option_of_a_run(command: Command, tmp_path: Path) -> None:
    ended = command(
        "check", csv_roster(tmp_path, "1001,Ann,"), "--limit", 1, "--rate", 5, "--yes", "--only-new", "--link-dates"
    )

    assert ended.code == 0


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("2,,", "odd_shape"),
        ("T0002,,", "odd_shape"),
        ("Clinic 12,,", "odd_shape"),
        ("5,,", "not_a_patient"),  # as many as stand above
        ("T0005,,", "not_a_patient"),
        ("TRAILER2,,", "not_a_patient"),
    ],
)
def test_a_line_of_the_report_that_looks_like_an_id_is_not_sent(
    command: Callable[..., Ended], tmp_path: Path, line: str, code: str
) -> None:
    rows = "".join(f"{1000 + number},Name{number},1980-01-05\n" for number in range(1, 6))
    (tmp_path / "patients.csv").write_text(f"MRN,Name,DOB\n{rows}{line}\n", encoding="utf-8")

    command("check", tmp_path / "patients.csv")

    assert results.codes(tmp_path / "patients.check.xlsx") == {7: code}


def test_a_patient_of_whom_only_the_id_is_known_is_sent(command: Callable[..., Ended], tmp_path: Path) -> None:
    rows = "".join(f"{1000 + number},Name{number},1980-01-05\n" for number in range(1, 6))
    (tmp_path / "patients.csv").write_text(f"MRN,Name,DOB\n{rows}1009,,\n", encoding="utf-8")

    assert command("check", tmp_path / "patients.csv").code == 0


@pytest.mark.parametrize(
    "header", ["MRN Updated", "MRN Check Digit", "Member ID Expires", "Patient ID Version", "MRN masked"]
)
def test_a_column_that_may_only_speak_of_the_id_is_asked_about(
    command: Callable[..., Ended], tmp_path: Path, header: str
) -> None:
    (tmp_path / "patients.csv").write_text(
        f"Name,DOB,{header}\nAnn Lee,1980-01-05,4711\nBob Ray,1981-01-05,4712\n", encoding="utf-8"
    )

    ended = command("check", tmp_path / "patients.csv")

    assert ended.code == 2
    assert "--id-column" in ended.err
