"""What a run hands out: the links workbook, the rows to fix, the summary, and that nothing of anybody's is lost."""

import csv
import io
import json
import os
import random
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
import results
from conftest import Ended
from rosters import workbook

from batchlinks.results.xlsx import package
from batchlinks.simulator import RunningSimulator

Command = Callable[..., Ended]
pytestmark = pytest.mark.usefixtures("healthex")


def csv_roster(folder: Path, content: str, name: str = "patients.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def headers(path: Path, sheet: str = "Links") -> list[str]:
    return [str(cell.value) for cell in openpyxl.load_workbook(path)[sheet][1]]


def summary(folder: Path) -> dict[str, object]:
    return results.summary(folder / "patients.summary.json")


# --- the links workbook: columns ------------------------------------------------------------------------------


def test_the_rosters_columns_come_in_its_order_and_then_the_link(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    roster = csv_roster(tmp_path, "Clinic,MRN,,Name,Clinic\nNorth,1001,x,Ann,N\nSouth,1002,y,Bob,S\n")

    command("run", roster)

    links = tmp_path / "patients.links.xlsx"
    assert headers(links) == ["Clinic", "MRN", "Column C", "Name", "Clinic (2)", "link"]
    assert list(results.links(links)[1].values()) == ["South", "1002", "y", "Bob", "S", healthex.links["1002"]]
    assert openpyxl.load_workbook(links).sheetnames == ["Links"]


def test_a_table_beside_empty_columns_keeps_the_spreadsheets_letters(command: Command, tmp_path: Path) -> None:
    roster = workbook(
        tmp_path / "patients.xlsx",
        {"P": [["List of November"], [], [None, None, "Clinic", None, "No."], [None, None, "North", "x", "1001"]]},
    )

    ended = command("run", roster, "--id-column", "E")

    assert ended.code == 0
    assert headers(tmp_path / "patients.links.xlsx") == ["Clinic", "Column D", "No.", "link"]
    assert results.links(tmp_path / "patients.links.xlsx")[0]["No."] == "1001"


SSN_ROSTER = "MRN,SSN,Name,Tax\n1001,078-05-1120,Ann,123-45-6789\n1002,078-05-1121,Bob,123-45-6780\n"


def test_social_security_numbers_are_left_out_of_every_file(command: Command, tmp_path: Path) -> None:
    command("run", csv_roster(tmp_path, SSN_ROSTER + "N/A,078-05-1122,Cy,123-45-6781\n"))

    assert headers(tmp_path / "patients.links.xlsx") == ["MRN", "Name", "link"]
    assert headers(tmp_path / "patients.errors.xlsx", "Errors")[4:] == ["error_cells", "screened_as", "MRN", "Name"]


def test_staff_get_the_columns_that_were_named_in_that_order(command: Command, tmp_path: Path) -> None:
    command("run", csv_roster(tmp_path, SSN_ROSTER), "--columns", "ssn, MRN")

    assert headers(tmp_path / "patients.links.xlsx") == ["SSN", "MRN", "link"]


def test_a_column_is_the_one_that_is_called_exactly_so_before_one_that_is_nearly(
    command: Command, tmp_path: Path
) -> None:
    command("run", csv_roster(tmp_path, "MRN,NAME,Name\n1001,first,second\n"), "--columns", "Name,name")

    assert headers(tmp_path / "patients.links.xlsx") == ["Name", "NAME", "link"]


def test_a_header_with_a_comma_is_named_in_quotes(command: Command, tmp_path: Path) -> None:
    command(
        "run", csv_roster(tmp_path, 'MRN,"Last, First",City\n1001,"Lee, Ann",X\n'), "--columns", '"Last, First",City'
    )

    assert headers(tmp_path / "patients.links.xlsx") == ["Last, First", "City", "link"]


def test_a_column_that_is_not_there_stops_the_run_before_any_call(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    ended = command("run", csv_roster(tmp_path, SSN_ROSTER), "--columns", "MRN,Nmae")

    assert ended.code == 2
    assert "the second name in it is no column of the list (did you mean Name?)" in ended.err
    assert healthex.link_calls == 0


@pytest.mark.parametrize(
    ("header", "options", "called"),
    [
        ("MRN,Name", ["--link-column", "Consent link"], "Consent link"),
        ("MRN,Link", [], "healthex_link"),
        ("MRN,Consent  LINK", ["--link-column", "consent link"], "healthex_link"),
    ],
)
def test_the_new_column_has_a_name_of_its_own(
    command: Command, tmp_path: Path, header: str, options: list[str], called: str
) -> None:
    command("run", csv_roster(tmp_path, f"{header}\n1001,x\n"), *options)

    assert headers(tmp_path / "patients.links.xlsx") == [*header.replace("  ", " ").split(","), called]


@pytest.mark.parametrize(
    ("roster", "expected", "is_said"),
    [
        ("MRN,link,Name\n1001,{link},Ann\n1002,,Bob\n", ["MRN", "Name", "link"], False),
        ("MRN,Link \n1001,\n1002,\n", ["MRN", "link"], False),
        ("MRN,link\n1001,{link}\n1002,see note\n", ["MRN", "link", "healthex_link"], True),
        ("MRN,link,healthex_link\n1001,see note,{link}\n1002,x,\n", ["MRN", "link", "healthex_link"], True),
        (
            "MRN,link,link_is_new\n1001,https://elsewhere.example/x,x\n",
            ["MRN", "link", "link_is_new", "healthex_link", "link_issued_on", "link_is_new (2)"], True,
        ),
        (
            "MRN,link,link_issued_on,link_is_new\n1001,{link},2026-01-01,yes\n",
            ["MRN", "link", "link_issued_on", "link_is_new"], False,
        ),
    ],
    ids=["links and blanks", "blank", "a note among them", "its own and ours", "another host", "dates of last time too"],
)  # fmt: skip
def test_a_column_of_links_from_last_time_gives_way_and_any_other_of_its_name_stays(
    command: Command, healthex: RunningSimulator, tmp_path: Path, roster: str, expected: list[str], is_said: bool
) -> None:
    command("run", csv_roster(tmp_path, "MRN\n1001\n", name="first.csv"))
    link = healthex.links["1001"]
    dates = ["--link-dates"] if "link_is_new" in roster else []

    ended = command("run", csv_roster(tmp_path, roster.format(link=link)), *dates)

    assert headers(tmp_path / "patients.links.xlsx") == expected
    assert ("something else in it" in ended.err) == is_said
    rows = results.links(tmp_path / "patients.links.xlsx")
    assert {row["MRN"]: row["healthex_link" if is_said else "link"] for row in rows} == healthex.links


def test_link_dates_tell_new_links_from_known_ones(command: Command, tmp_path: Path) -> None:
    command("run", csv_roster(tmp_path, "MRN\n1001\n"))
    command("run", csv_roster(tmp_path, "MRN\n1001\n1002\n"), "--link-dates")

    rows = results.links(tmp_path / "patients.links.xlsx")
    assert [row["link_is_new"] for row in rows] == ["no", "yes"]
    assert all(len(row["link_issued_on"]) == len("2026-11-01") for row in rows)


# --- the links workbook: cells --------------------------------------------------------------------------------


def test_the_id_stands_as_it_was_sent_and_every_other_cell_as_it_was(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    roster = csv_roster(
        tmp_path, "MRN,Name,ZIP,Note\n\u00a000417 ,  Ann ,02139,=1+2\n'00418,Null,007,+1 617 555 0100\n"
    )

    command("run", roster)

    first, second = results.links(tmp_path / "patients.links.xlsx")
    assert set(healthex.links) == {"00417", "00418"}
    assert list(first.values())[:4] == ["00417", "  Ann ", "02139", "=1+2"]
    assert list(second.values())[:4] == ["00418", "Null", "007", "+1 617 555 0100"]
    cells = [cell for row in openpyxl.load_workbook(tmp_path / "patients.links.xlsx")["Links"] for cell in row]
    assert {cell.data_type for cell in cells} <= {"s", "inlineStr"}
    assert {cell.number_format for cell in cells} == {"@"}


def test_csv_results_run_nothing_in_a_spreadsheet(command: Command, healthex: RunningSimulator, tmp_path: Path) -> None:
    roster = csv_roster(tmp_path, "MRN,Note\n1001,=cmd()\n1002,+1 617 555 0100\n1002,twice\nN/A,@SUM(1)\n1003,é\n")

    ended = command("run", roster, "--format", "csv")

    assert (tmp_path / "patients.links.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    links = results.csv_rows(tmp_path / "patients.links.csv")
    assert [row["Note"] for row in links] == ["'=cmd()", "+1 617 555 0100", "é"]
    assert [row["link"] for row in links] == [healthex.links[number] for number in ("1001", "1002", "1003")]
    assert [row["Note"] for row in results.csv_rows(tmp_path / "patients.errors.csv")] == ["'@SUM(1)"]
    assert [row["kept_row"] for row in results.csv_rows(tmp_path / "patients.duplicates.csv")] == ["3"]
    assert "patients.duplicates.csv" in ended.last_line
    assert not list(tmp_path.glob("*.xlsx"))


# --- which rows -----------------------------------------------------------------------------------------------

REPEATED = "MRN,Name,DOB\n1001,Ann,1980-01-05\n1002,Bob,1990-02-03\n1001,ANN,1/5/1980\n"


def test_a_duplicate_gets_no_row_unless_asked_for(command: Command, healthex: RunningSimulator, tmp_path: Path) -> None:
    roster = csv_roster(tmp_path, REPEATED)
    command("run", roster)
    without, counted = results.links(tmp_path / "patients.links.xlsx"), summary(tmp_path)
    again = command("run", roster, "--keep-duplicates")

    assert [row["MRN"] for row in without] == ["1001", "1002"]
    assert (counted["linked"], counted["duplicates"]) == (2, 1)
    kept = results.links(tmp_path / "patients.links.xlsx")
    assert [(row["Name"], row["link"]) for row in kept] == [
        ("Ann", healthex.links["1001"]), ("Bob", healthex.links["1002"]), ("ANN", healthex.links["1001"]),
    ]  # fmt: skip
    assert (summary(tmp_path)["linked"], summary(tmp_path)["duplicates"], again.code) == (3, 0, 0)


def test_only_new_leaves_out_whoever_stood_in_a_finished_workbook(command: Command, tmp_path: Path) -> None:
    command("run", csv_roster(tmp_path, "MRN\n1001\n1002\n", "october.csv"))

    ended = command("run", csv_roster(tmp_path, "MRN\n1002\n1003\n"), "--only-new")

    assert [row["MRN"] for row in results.links(tmp_path / "patients.links.xlsx")] == ["1003"]
    assert (summary(tmp_path)["linked"], summary(tmp_path)["written"], summary(tmp_path)["reused"]) == (2, 1, 1)
    assert "1 row" in ended.last_line


def test_a_limit_sends_the_first_that_can_be_sent_and_says_what_is_left(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    roster = csv_roster(tmp_path, "MRN,Name\nN/A,Di\n1001,Ann\n1001,Ann\n1002,Bob\n1003,Cy\n1003,Cy\n")

    ended = command("run", roster, "--limit", 2)

    assert set(healthex.links) == {"1001", "1002"}
    assert results.codes(tmp_path / "patients.errors.xlsx") == {2: "placeholder_id", 6: "not_attempted"}
    assert [row["error_row"] for row in results.duplicates(tmp_path / "patients.errors.xlsx")] == ["4", "7"]
    assert "limited to the first 2" in results.errors(tmp_path / "patients.errors.xlsx")[-1]["error_message"]
    assert ended.code == 3


# --- the rows to fix ------------------------------------------------------------------------------------------


def edit(path: Path, changes: dict[str, dict[str, str]], added: dict[str, str] | None = None) -> None:
    """In the sheet `Errors` or in the CSV: error_row -> header -> new text; and a row that somebody adds."""
    if path.suffix == ".csv":
        rows = results.csv_rows(path)
        for row in rows:
            row.update(changes.get(row["error_row"], {}))
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows([*rows, *([added] if added else [])])
        return
    book = openpyxl.load_workbook(path)
    sheet = book["Errors"]
    names = [cell.value for cell in sheet[1]]
    for cells in sheet.iter_rows(min_row=2):
        for header, text in changes.get(str(cells[0].value), {}).items():
            cells[names.index(header)].value = text
    if added:
        sheet.append([added.get(str(name), "") for name in names])
    book.save(path)


@pytest.mark.parametrize("kind", ["xlsx", "csv"])
def test_the_rows_to_fix_are_fixed_in_place_and_run_again_through_two_rounds(
    command: Command, healthex: RunningSimulator, tmp_path: Path, kind: str
) -> None:
    good = "".join(f"20{number:02},Pat {number},Clinic\n" for number in range(12))
    roster = csv_roster(
        tmp_path, f"MRN,Name,Site\n{good}N/A,Ann,North\n\n5-Jan,Bob,South\n2000,Pat 0,Clinic\nTBD,Cy,East\n"
    )
    command("run", roster, "--format", kind)
    first = tmp_path / f"patients.errors.{kind}"
    edit(first, {"14": {"MRN": "3001"}, "16": {"MRN": "see chart"}}, {"MRN": "3009", "Name": "Ed", "Site": "West"})

    second_end = command("run", first, "--format", kind)
    second = tmp_path / f"patients.errors.errors.{kind}"
    edit(second, {"16": {"MRN": "3002"}, "18": {"MRN": "3003"}})
    third_end = command("run", second, "--format", kind)

    read = results.csv_rows if kind == "csv" else results.links
    assert [row["error_row"] for row in results.csv_rows(second)] == ["16", "18"] if kind == "csv" else True
    assert (second_end.code, third_end.code) == (3, 0)
    assert [(row["MRN"], row["Name"]) for row in read(tmp_path / f"patients.errors.links.{kind}")] == [
        ("3001", "Ann"), ("3009", "Ed"),
    ]  # fmt: skip
    final = read(tmp_path / f"patients.errors.errors.links.{kind}")
    assert [list(row) for row in final] == [["MRN", "Name", "Site", "link"]] * 2
    assert [row["link"] for row in final] == [healthex.links["3002"], healthex.links["3003"]]


def test_error_row_is_the_first_rosters_row_in_the_second_round_too(command: Command, tmp_path: Path) -> None:
    good = "".join(f"20{number:02},Pat {number}\n" for number in range(12))
    command("run", csv_roster(tmp_path, f"MRN,Name\n{good}N/A,Ann\n\n5-Jan,Bob\n"))
    command("run", tmp_path / "patients.errors.xlsx")

    rows = results.errors(tmp_path / "patients.errors.errors.xlsx")
    assert [(row["error_row"], row["error_code"]) for row in rows] == [("16", "date_in_id"), ("14", "placeholder_id")]
    of_the_report = ["error_row", "error_code", "error_action", "error_message", "error_cells", "screened_as"]
    assert list(rows[0]) == [*of_the_report, "MRN", "Name"]


def test_a_row_with_too_many_or_too_few_fields_keeps_them_all(command: Command, tmp_path: Path) -> None:
    roster = csv_roster(tmp_path, "MRN,Name,City\n1001,Ann,X\n1002,Lee, Bob,Y,Z\n1003,Cy\n")

    command("run", roster, "--id-column", "MRN")

    report = tmp_path / "patients.errors.xlsx"
    fields = ["error_field_1", "error_field_2", "error_field_3", "error_field_4", "error_field_5"]
    assert headers(report, "Errors")[4:] == ["error_cells", "screened_as", "MRN", "Name", "City", *fields]
    assert [[row[field] for field in fields] for row in results.errors(report)] == [
        ["1002", "Lee", " Bob", "Y", "Z"],
        ["1003", "Cy", "", "", ""],
    ]


def test_a_duplicate_names_the_row_that_was_used(command: Command, tmp_path: Path) -> None:
    command("run", csv_roster(tmp_path, REPEATED))

    (row,) = results.duplicates(tmp_path / "patients.errors.xlsx")
    assert row == {
        "error_row": "4",
        "error_code": "duplicate",
        "error_action": "nothing to do",
        "error_message": "The same patient ID as in row 2, which is the one that was used.",
        "kept_row": "2",
        "MRN": "1001",
        "Name": "ANN",
        "DOB": "1/5/1980",
    }


def test_the_error_report_is_there_though_it_has_no_row(command: Command, tmp_path: Path) -> None:
    command("run", csv_roster(tmp_path, "MRN,Name\n1001,Ann\n"))

    assert results.errors(tmp_path / "patients.errors.xlsx") == []
    assert headers(tmp_path / "patients.errors.xlsx", "Errors")[-2:] == ["MRN", "Name"]
    assert headers(tmp_path / "patients.errors.xlsx", "Duplicates")[4] == "kept_row"


# --- the summary and the audit log ----------------------------------------------------------------------------


def test_the_summary_counts_everything_and_names_nobody(command: Command, tmp_path: Path, private_home: Path) -> None:
    command("run", csv_roster(tmp_path, f"{REPEATED}N/A,Cyrus,2001-01-01\n"))

    found = summary(tmp_path)
    assert [key for key in found if key not in ("owner", "seal")] == (
        "run_id version roster roster_sha256 project_id id_column started_at finished_at rows linked written requested reused "
        "duplicates errors warnings calls retries exit_code api ledger_id outputs".split()
    )
    counts = {
        key: found[key] for key in "rows linked written requested reused duplicates calls retries exit_code".split()
    }
    assert counts == {
        "rows": 4, "linked": 2, "written": 2, "requested": 2, "reused": 0, "duplicates": 1, "calls": 2, "retries": 0,
        "exit_code": 3,
    }  # fmt: skip
    assert found["errors"] == {"placeholder_id": 1}
    assert str(found["started_at"]).endswith("Z")
    begun, line = (private_home / "data" / "audit.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["outputs"] == found["outputs"]
    for text in (json.dumps(found), begun, line):
        readable = text.replace(str(found["roster_sha256"]), "")
        assert not [private for private in ("1001", "1002", "Cyrus", "xid=") if private in readable]


@pytest.mark.parametrize("seed", range(3))
def test_every_row_is_accounted_for_however_messy_the_list_and_the_answers(
    command: Command, start_healthex: Callable[..., RunningSimulator], tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    ids = [
        "N/A",
        "",
        "Total",
        "5-Jan",
        "a7",
        "A7",
        "0700",
        "700",
        *map(str, range(1000, 1060)),
        *map(str, range(1000, 1020)),
    ]
    rows = [
        [chance.choice(ids), chance.choice(["Ann", "A.", "Bob", ""]), chance.choice(["1980-01-05", "1/5/1980", ""])]
        for _ in range(150)
    ]
    rows += [["1001", "too", "many", "fields"], ["1002"]]
    roster = tmp_path / "patients.csv"
    with roster.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["MRN", "First Name", "DOB"], *rows])
    healthex = start_healthex(
        seed=seed, reject_pattern="10.[37]", other_patient_share=0.1, html_share=0.1, server_error_share=0.1
    )

    command("run", roster, "--id-column", "MRN", "--max-attempts", 2, "--concurrency", 4)

    found = summary(tmp_path)
    links = results.links(tmp_path / "patients.links.xlsx")
    report = tmp_path / "patients.errors.xlsx"
    filled = [row for row in rows if any(row)]
    assert found["rows"] == len(filled) == len(links) + len(results.errors(report)) + len(results.duplicates(report))
    assert found["linked"] == len(links) > 0
    assert sum(found["errors"].values()) == len(results.errors(report)) > 0  # type: ignore[attr-defined]
    assert all(row["link"] == healthex.links[row["MRN"]] for row in links)


# --- where the files go ---------------------------------------------------------------------------------------


def test_standard_input_needs_a_folder_to_write_to(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def typed() -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"MRN,Name\n1001,Ann\n")))

    typed()
    without = command("run", "-")
    typed()
    with_folder = command("run", "-", "--output-dir", tmp_path / "new" / "folder")

    assert (without.code, "--output-dir" in without.err) == (2, True)
    assert with_folder.code == 0
    assert [row["MRN"] for row in results.links(tmp_path / "new" / "folder" / "roster.links.xlsx")] == ["1001"]
    assert results.summary(tmp_path / "new" / "folder" / "roster.summary.json")["roster"] == "roster"


def test_a_workbook_that_somebody_worked_in_is_never_replaced(command: Command, tmp_path: Path) -> None:
    roster = csv_roster(tmp_path, "MRN,Name\n1001,Ann\n")
    command("run", roster)
    links = tmp_path / "patients.links.xlsx"
    book = openpyxl.load_workbook(links)
    book["Links"]["D2"] = "called on Monday"
    book.save(links)
    touched = links.read_bytes()

    ended = command("run", roster)

    assert links.read_bytes() == touched
    assert (tmp_path / "patients (2).links.xlsx").exists()
    assert "patients.links.xlsx was changed" in ended.last_line
    assert "patients (2).links.xlsx" in ended.last_line


@pytest.mark.parametrize("other", ["roster", "project"])
def test_results_of_another_roster_or_project_are_never_replaced(
    command: Command, start_healthex: Callable[..., RunningSimulator], tmp_path: Path, other: str
) -> None:
    start_healthex(projects=("demo-project", "second-project"))
    (tmp_path / "out").mkdir()
    (tmp_path / "clinic").mkdir()
    here, there = csv_roster(tmp_path, "MRN\n1001\n"), csv_roster(tmp_path / "clinic", "MRN\n1002\n")
    command("run", here, "--output-dir", tmp_path / "out")

    if other == "roster":
        ended = command("run", there, "--output-dir", tmp_path / "out")
    else:
        ended = command("run", here, "--output-dir", tmp_path / "out", "--project-id", "second-project")

    assert [row["MRN"] for row in results.links(tmp_path / "out" / "patients.links.xlsx")] == ["1001"]
    assert (tmp_path / "out" / "patients (2).links.xlsx").exists()
    assert "belongs to another roster or project" in ended.last_line


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_results_are_their_owners_alone_unless_shared_with_the_group(command: Command, tmp_path: Path) -> None:
    def modes(folder: Path) -> set[int]:
        return {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if not path.name.startswith(".")}

    roster = csv_roster(tmp_path, "MRN\n1001\n")
    umask = os.umask(0)
    try:
        command("run", roster, "--output-dir", tmp_path / "private")
        command("run", roster, "--output-dir", tmp_path / "shared", "--share-with-group")
    finally:
        os.umask(umask)

    assert modes(tmp_path / "private") == {0o600}
    assert modes(tmp_path / "shared") == {0o640}
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o2750


def test_a_folder_that_cannot_be_written_stops_the_run_before_any_call(
    command: Command, healthex: RunningSimulator, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")

    ended = command("run", csv_roster(tmp_path, "MRN\n1001\n"), "--output-dir", tmp_path / "taken" / "results")

    assert ended.code == 2
    assert "--output-dir" in ended.err
    assert (healthex.link_calls, healthex.token_calls) == (0, 0)


def test_more_rows_than_a_workbook_holds_go_to_csv(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "MAX_ROWS", 2)

    ended = command("run", csv_roster(tmp_path, "MRN\n1001\n1002\n1003\n"))

    assert len(results.csv_rows(tmp_path / "patients.links.csv")) == 3
    assert not (tmp_path / "patients.links.xlsx").exists()
    assert (tmp_path / "patients.errors.xlsx").exists()
    assert "The links are more than a workbook holds" in ended.err
    assert "patients.links.csv" in ended.last_line
